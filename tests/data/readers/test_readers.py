"""What all readers do alike: refuse what is no file of theirs, and never fail but with an InputError."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers import READERS
from tunesmith.errors import InputError

from ..tiny import STEADY
from .rows import error, rows

TEXT = [".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".md"]
OWN = [extension for extension in READERS if extension != ".pdf"]  # PDF files are no matter of bytes alone


def test_missing_file_suggests_the_nearest_name(tmp_path):
    (tmp_path / "training_data.json").write_text("[]")
    message = error(tmp_path / "trainingdata.json")
    assert "no such file" in message
    assert "The nearest name in that folder is training_data.json." in message


def test_missing_folder_is_named(tmp_path):
    assert "the folder" in error(tmp_path / "nowhere" / "rows.json")


def test_extension_may_be_in_capitals(tmp_path):
    (tmp_path / "ROWS.JSONL").write_text('{"a": 1}')
    (row,) = rows(tmp_path / "ROWS.JSONL")
    assert (row.value, row.place.line, row.place.row) == ({"a": 1}, 1, 1)


@pytest.mark.parametrize("extension", TEXT)
@pytest.mark.parametrize("content", [b"", b" \r\n\n", b"\xef\xbb\xbf"])
def test_empty_file_is_said_to_be_empty(tmp_path, extension, content):
    path = tmp_path / f"rows{extension}"
    path.write_bytes(content)
    assert "the file is empty" in error(path)


@pytest.mark.parametrize("extension", [".parquet", ".arrow"])
def test_empty_binary_file_is_said_to_be_empty(tmp_path, extension):
    path = tmp_path / f"rows{extension}"
    path.touch()
    assert "the file is empty" in error(path)


@pytest.mark.parametrize("extension", TEXT)
def test_first_bad_byte_is_told_with_offset_and_line(tmp_path, extension):
    path = tmp_path / f"rows{extension}"
    start = b'{"a": "ok"}\n{"a": "'
    path.write_bytes(start + "春".encode("gbk") + b'"}')
    message = error(path)
    assert message.startswith(f"{path}:2: the file is not UTF-8: byte {len(start)} is 0xb4")


@pytest.mark.parametrize("extension", TEXT)
def test_offset_counts_the_byte_order_mark(tmp_path, extension):
    path = tmp_path / f"rows{extension}"
    path.write_bytes(b"\xef\xbb\xbf[\xff")
    assert "byte 4 is 0xff" in error(path)


def no_traceback(path, **options) -> None:
    """Rows, or an InputError that can be printed."""
    try:
        found = rows(path, **options)
    except InputError as refused:
        str(refused)
    else:
        assert found
        assert all(row.problem is None or (row.value is None and str(row.problem)) for row in found)


JSON_LIKE = st.text(alphabet='[]{}",:\\ \n\r\tu0d8enNaI-1.truefals诗\u2028\0;', max_size=60)


@pytest.mark.parametrize("extension", OWN)
@STEADY
@given(content=st.one_of(st.binary(max_size=60), JSON_LIKE.map(lambda text: text.encode())))
def test_no_content_raises_anything_but_input_errors(tmp_path_factory, extension, content):
    path = tmp_path_factory.getbasetemp() / f"fuzz{extension}"
    path.write_bytes(content)
    no_traceback(path)
    if extension.endswith(".gz"):
        path.write_bytes(gzip.compress(content))
        no_traceback(path)


@STEADY
@given(
    content=st.binary(min_size=2, max_size=60),
    encoding=st.sampled_from(
        ["gb18030", "big5", "utf-16", "utf-32", "utf-7", "hz", "iso2022_jp", "cp037", "latin-1"]
    ),
    extension=st.sampled_from(TEXT),
)
def test_nor_does_it_in_other_encodings(tmp_path_factory, content, encoding, extension):
    path = tmp_path_factory.getbasetemp() / f"fuzz{extension}"
    path.write_bytes(content)
    no_traceback(path, encoding=encoding)


def binary_files() -> dict[str, bytes]:
    table = pa.table({"text": ["春天", None, "abc"], "list": [[1], [], [2, 3]], "deep": [{"a": "x"}] * 3})
    whole: dict[str, bytes] = {}
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    whole["damaged.parquet"] = sink.getvalue().to_pybytes()
    for name, new in (("damaged-file.arrow", pa.ipc.new_file), ("damaged-stream.arrow", pa.ipc.new_stream)):
        sink = pa.BufferOutputStream()
        with new(sink, table.schema) as writer:
            writer.write_table(table)
        whole[name] = sink.getvalue().to_pybytes()
    return whole


@pytest.mark.parametrize("name", ["damaged.parquet", "damaged-file.arrow", "damaged-stream.arrow"])
@STEADY
@given(at=st.floats(0, 1, exclude_max=True), bytes_=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_damaged_tables_raise_nothing_else_either(tmp_path_factory, name, at, bytes_, cut):
    content = binary_files()[name]
    place = int(at * len(content))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content[:place] + bytes_ + (b"" if cut else content[place + len(bytes_) :]))
    no_traceback(path)

"""What all readers do alike: find the file, refuse what is none, and never fail but with an InputError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers import READERS, read
from tunesmith.errors import InputError

from ..tiny import STEADY


def rows_of(path):
    return [(row.value, row.place.line, row.place.row) for row in read(path)]


def error_of(path) -> str:
    with pytest.raises(InputError) as caught:
        list(read(path))
    return str(caught.value)


def test_missing_file_suggests_the_nearest_name(tmp_path):
    (tmp_path / "training_data.json").write_text("[]")
    message = error_of(tmp_path / "trainingdata.json")
    assert "no such file" in message
    assert "The nearest name in that folder is training_data.json." in message


def test_missing_folder_is_named(tmp_path):
    assert "the folder" in error_of(tmp_path / "nowhere" / "rows.json")


def test_folder_where_a_file_is_expected_names_a_file_in_it(tmp_path):
    (tmp_path / "data.json").mkdir()
    (tmp_path / "data.json" / "rows.jsonl").write_text("{}")
    message = error_of(tmp_path / "data.json")
    assert "folder" in message
    assert "rows.jsonl" in message


@pytest.mark.parametrize("name", ["rows.csv", "rows"])
def test_unknown_extension_lists_those_there_are(tmp_path, name):
    (tmp_path / name).write_text("x")
    message = error_of(tmp_path / name)
    assert ".json, .jsonl" in message


def test_extension_may_be_in_capitals(tmp_path):
    (tmp_path / "ROWS.JSONL").write_text('{"a": 1}')
    assert rows_of(tmp_path / "ROWS.JSONL") == [({"a": 1}, 1, 1)]


@pytest.mark.parametrize("extension", READERS)
@pytest.mark.parametrize("content", [b"", b" \r\n\n", b"\xef\xbb\xbf"])
def test_empty_file_is_said_to_be_empty(tmp_path, extension, content):
    path = tmp_path / f"rows{extension}"
    path.write_bytes(content)
    assert "the file is empty" in error_of(path)


@pytest.mark.parametrize("extension", READERS)
def test_first_bad_byte_is_told_with_offset_and_line(tmp_path, extension):
    path = tmp_path / f"rows{extension}"
    start = b'{"a": "ok"}\n{"a": "'
    path.write_bytes(start + "春".encode("gbk") + b'"}')
    message = error_of(path)
    assert message.startswith(f"{path}:2: the file is not UTF-8: byte {len(start)} is 0xb4")


@pytest.mark.parametrize("extension", READERS)
def test_offset_counts_the_byte_order_mark(tmp_path, extension):
    path = tmp_path / f"rows{extension}"
    path.write_bytes(b"\xef\xbb\xbf[\xff")
    assert "byte 4 is 0xff" in error_of(path)


def test_utf_16_is_recognised(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes('[{"a": 1}]'.encode("utf-16"))
    assert "as in UTF-16" in error_of(path)


JSON_LIKE = st.text(alphabet='[]{}",:\\ \n\r\tu0d8enNaI-1.truefals诗\u2028', max_size=60)


@pytest.mark.parametrize("extension", READERS)
@STEADY
@given(content=st.one_of(st.binary(max_size=60), JSON_LIKE.map(lambda text: text.encode())))
def test_no_content_raises_anything_but_input_errors(tmp_path_factory, extension, content):
    path = tmp_path_factory.getbasetemp() / f"fuzz{extension}"
    path.write_bytes(content)
    try:
        rows = list(read(path))
    except InputError as error:
        str(error)
    else:
        assert rows

"""Text in its encoding: strict, with the byte and line of the first fault, block by block."""

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers import text as text_reader

from ..tiny import STEADY
from .rows import error, lines, values

POEM = "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。"


@pytest.mark.parametrize(
    "encoding", ["gb18030", "GB18030", "big5", "utf-16", "utf-16-le", "utf-32", "UTF_8", "utf-8-sig", "hz"]
)
def test_other_encodings_on_request(tmp_path, encoding):
    path = tmp_path / "rows.txt"
    text = "春天\nabc\r\n" if encoding == "big5" else POEM
    path.write_bytes(text.encode(encoding))
    assert values(path, encoding=encoding) == [{"text": text.replace("\r\n", "\n")}]


def test_json_lines_in_another_encoding_know_their_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('\ufeff{"a": "春"}\r\n\r\n{"a": "\u2028"}'.encode("utf-16-be"))
    assert values(path, encoding="utf-16-be") == [{"a": "春"}, {"a": "\u2028"}]
    assert lines(path, encoding="utf-16-be") == [1, 3]


@pytest.mark.parametrize(
    ("encoding", "near"),
    [
        ("gb1803", "gb18030"),
        ("utf8x", "utf"),
        ("a\0", None),
        ("", None),
    ],
)
def test_an_encoding_that_there_is_not(tmp_path, encoding, near):
    path = tmp_path / "rows.txt"
    path.write_text("a")
    message = error(path, encoding=encoding)
    assert f"there is no encoding {encoding!r}" in message
    assert near is None or f"The nearest name is {near}" in message


@pytest.mark.parametrize("codec", ["hex", "rot13", "zlib", "base64", "unicode_escape", "idna", "undefined"])
def test_a_codec_that_encodes_no_text_is_told(tmp_path, codec):
    path = tmp_path / "rows.txt"
    path.write_text("a")
    assert f"{codec!r} is no text encoding; expected one that Python knows" in error(path, encoding=codec)


def test_chinese_in_gb18030_is_recognised(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(("ok\n" + POEM).encode("gb18030"))
    message = error(path)
    assert message.startswith(f"{path}:2: the file is not UTF-8: byte 3 is 0xb4.")
    assert "say `encoding: gb18030`" in message


def test_latin_letters_are_not_taken_for_chinese(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes("Ein schöner Tag für déjà vu".encode("latin-1"))
    assert error(path).endswith("byte 7 is 0xf6. Save the file as UTF-8.")


def test_utf_16_and_gzip_are_recognised(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes('[{"a": 1}]'.encode("utf-16"))
    assert "as in UTF-16" in error(path) and "`encoding: utf-16`" in error(path)
    path.write_bytes(b"\x1f\x8b\x08\x00")
    assert "give its name the ending .gz" in error(path)


def test_utf_16_without_its_mark_asks_for_the_byte_order(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes("春天".encode("utf-16-be"))
    assert "utf-16-le or utf-16-be" in error(path, encoding="utf-16")


def test_bytes_that_the_encoding_has_not_are_told_with_their_offset(tmp_path):
    path = tmp_path / "rows.jsonl"
    start = '{"a": "春"}\n{"a": "'.encode("gb18030")
    path.write_bytes(start + b'\xff"}')
    message = error(path, encoding="gb18030")
    assert message.startswith(f"{path}:2: the file is not gb18030: byte {len(start)} is 0xff.")
    path.write_bytes('{"a": "春'.encode("gb18030")[:-1])
    assert "byte 7 is 0xb4" in error(path, encoding="gb18030")


@STEADY
@given(
    text=st.text(st.sampled_from("a\n\r春😀\u2028"), max_size=40),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "gb18030"]),
    size=st.integers(1, 9),
)
def test_blocks_of_any_size_make_the_same_lines(tmp_path_factory, text, encoding, size):
    path = tmp_path_factory.getbasetemp() / "blocks.txt"
    path.write_bytes(text.encode(encoding))
    with mock.patch.object(text_reader, "BLOCK", size):
        found = list(text_reader.lines(path, encoding))
    expected = text.split("\n")
    if not expected[-1]:
        expected.pop()
    assert found == list(enumerate(expected, start=1))


@STEADY
@given(
    start=st.text(st.sampled_from("a\n春"), max_size=20),
    bad=st.sampled_from([b"\xff", b"\xc0\x80", b"\xe6\x98"]),
    size=st.integers(1, 9),
)
def test_blocks_of_any_size_find_the_same_bad_byte(tmp_path_factory, start, bad, size):
    path = tmp_path_factory.getbasetemp() / "bad.txt"
    path.write_bytes(start.encode() + bad)
    with mock.patch.object(text_reader, "BLOCK", size):
        message = error(path)
    line, offset = start.count("\n") + 1, len(start.encode())
    assert message.startswith(f"{path}:{line}: the file is not UTF-8: byte {offset} is 0x{bad[0]:02x}")

"""Plain text and Markdown: a row a file, and a large file as several that together are the file."""

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers import documents

from ..tiny import STEADY
from .rows import error, rows, values


@pytest.mark.parametrize("extension", ["txt", "md"])
def test_a_file_is_one_row(tmp_path, extension):
    path = tmp_path / f"poem.{extension}"
    path.write_bytes("\ufeff春眠不觉晓，\r\n处处闻啼鸟。\r\n\r\n# 孟浩然\n".encode())
    (row,) = rows(path)
    assert row.value == {"text": "春眠不觉晓，\n处处闻啼鸟。\n\n# 孟浩然\n"}
    assert (row.place.line, row.place.row) == (1, 1)


def test_a_large_file_is_cut_at_blank_lines_then_line_ends_then_blanks(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LONGEST", 12)
    path = tmp_path / "book.txt"
    path.write_text("one two\n\nthirty\nfour five\nsix seven eight nine tenelevenTWELVE")
    pieces = ["one two\n\n", "thirty\n", "four five\n", "six seven ", "eight nine ", "tenelevenTWE", "LVE"]
    assert [row.value["text"] for row in rows(path)] == pieces
    assert [row.place.line for row in rows(path)] == [1, 3, 4, 5, 5, 5, 5]


def test_a_file_of_ordinary_size_is_not_cut(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("a line\n\n" * 100_000)
    assert len(rows(path)) == 1


def test_a_null_character_is_told_with_its_line(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"a\nb\0c")
    assert error(path) == f"{path}:2: a null character stands here; this is no text file."


@STEADY
@given(
    text=st.text(st.sampled_from("ab \n\r诗"), min_size=1, max_size=80).filter(str.strip),
    longest=st.integers(4, 20),
    size=st.integers(1, 9),
)
def test_the_rows_together_are_the_file(tmp_path_factory, text, longest, size):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(text.encode())
    with (
        mock.patch.object(documents, "LONGEST", longest),
        mock.patch("tunesmith.data.readers.text.BLOCK", size),
    ):
        found = rows(path)
    whole = text.replace("\r\n", "\n")
    at = 0
    for row in found:
        piece = row.value["text"]
        assert len(piece) <= longest
        skipped = whole.index(piece, at) - at
        assert not whole[at : at + skipped].strip(), "only blanks may stand between two rows"
        at += skipped
        assert row.place.line == whole.count("\n", 0, at) + 1
        at += len(piece)
    assert not whole[at:].strip()
    assert values(path) == [{"text": whole}]

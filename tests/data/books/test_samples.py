"""The sample books: what comes out of the PDF is, word for word, the text that it was typeset from."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from tunesmith.data.books.book import Book, read_book

SAMPLES = Path(str(files("tunesmith"))) / "samples" / "book"


def sample(name: str, first: str) -> tuple[Book, str]:
    """The book, and its text from the first heading on, without the typesetter's marks."""
    path = SAMPLES / f"{name}.pdf"
    text = (SAMPLES / f"{name}.md").read_text("utf-8")
    text = text[text.index(f"## {first}") :]
    text = re.split(r"(?m)^## .*\{bibliography\}", text)[0]
    return read_book(path, path.read_bytes()), re.sub(r"(?m)\{\w+( \w+)?\}|^\|[-| ]+\|$", "", text)


@pytest.mark.parametrize(
    ("name", "first", "number"),
    [("clockmender", "Before the First Page", r"\d+"), ("lightkeeper", "写在前面", "第.{1,3}章")],
)
def test_a_sample_book_comes_out_word_for_word(name, first, number):
    book, text = sample(name, first)
    read = " ".join(
        paragraph.text
        for paragraph in book.paragraphs
        if not (paragraph.starts_chapter and re.fullmatch(number, paragraph.text))
    )
    plain = (
        (lambda words: re.findall(r"\w+", words))
        if name == "clockmender"
        else (lambda words: re.findall(r"\w", words))
    )
    assert plain(read) == plain(text)
    assert {one.reason for one in book.dropped} == {
        *("title page", "copyright", "dedication", "contents", "bibliography", "index")
    }

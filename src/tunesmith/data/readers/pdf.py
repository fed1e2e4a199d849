"""PDF: one row a chapter, cleaned as `tunesmith data from-pdf` cleans it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.books.book import read_book
from tunesmith.data.books.passages import chapters, whole_text
from tunesmith.data.readers.file import must_be_a_file, read_bytes
from tunesmith.data.schema import Place, SourceRow


def read_pdf(path: Path, password: str | None = None) -> Iterator[SourceRow]:
    """Read a book's chapters; a book without headings is one row. A place's line is the chapter's first page.

    Raises:
        InputError: the file cannot be read, or holds no text to learn from; says which of the two and why.
    """
    must_be_a_file(path)
    book = read_book(path, read_bytes(path), password)
    for number, chapter in enumerate(chapters(book.paragraphs), start=1):
        place = Place(str(path), chapter[0].marks[0].page, number)
        yield SourceRow({"text": whole_text(chapter)}, place)

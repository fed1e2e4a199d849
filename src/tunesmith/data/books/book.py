"""A PDF file -> a book: the whole way from characters on pages to paragraphs, on one page."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config.words import counted
from tunesmith.data.books import layout
from tunesmith.data.books.glyphs import BadPdf, glyph_pages
from tunesmith.data.books.matter import Dropped, drop_matter
from tunesmith.data.books.passages import whole_text
from tunesmith.data.books.prose import Paragraph, Words, body_size, paragraphs
from tunesmith.data.books.running import Running, take_out_running

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Book:
    """What a PDF file says, and what was left out of it."""

    name: str
    pages: int
    paragraphs: tuple[Paragraph, ...]
    dropped: tuple[Dropped, ...]
    running: Running
    mended: int  # hyphens at line ends
    unreadable: int  # characters that the file draws without saying which they are

    @property
    def text(self) -> str:
        return whole_text(self.paragraphs)


def read_book(path: Path, content: bytes, password: str | None = None, *, keep_matter: bool = False) -> Book:
    """Read a book, a PDF file whose bytes are `content`.

    Raises:
        BadPdf: the file is empty, damaged, encrypted or scanned, or nothing is left once front and back matter went.
        InputError: the package that reads PDF files is not installed.
    """
    sheets = [layout.sheet(page) for page in glyph_pages(path, content, password)]
    _must_have_text(sheets, path)
    _warn_of_lost_text(sheets, path)
    dropped = _without_text(sheets)
    running = take_out_running(sheets)
    lines = [layout.lines(page) for page in sheets]
    size = body_size(lines)
    if not keep_matter:
        lines, matter = drop_matter(lines, size)
        dropped += matter
    flat = [line for page in lines for line in page]
    words = Words(flat)
    text = paragraphs(flat, size, words)
    if not text:
        reasons = ", ".join(dict.fromkeys(one.reason for one in dropped)) or "running heads and page numbers"
        raise BadPdf(
            "matter", f"nothing is left of the book: all of it is {reasons}", path, "use --keep-matter"
        )
    unreadable = sum(page.unreadable for page in sheets)
    dropped.sort(key=lambda one: one.pages)
    name = path.stem.encode("utf-8", "replace").decode("utf-8")  # a name of odd bytes has no letters for them
    return Book(name, len(sheets), tuple(text), tuple(dropped), running, words.mended, unreadable)


def _must_have_text(sheets: list[layout.Sheet], path: Path) -> None:
    if any(page.body for page in sheets):
        return
    many = f"{len(sheets)} page" + ("s" if len(sheets) > 1 else "")
    if any(page.unreadable for page in sheets):
        found = f"the text on its {many} cannot be read: the fonts do not say which letters they draw"
        raise BadPdf("unreadable", found, path, "run it through OCR first")
    if any(page.pictures for page in sheets):
        found = f"the PDF is scanned: its {many} hold pictures and no text"
        raise BadPdf("scanned", found, path, "run it through OCR first, such as with ocrmypdf")
    raise BadPdf("empty", f"the PDF is empty: its {many} hold neither text nor pictures", path)


def _warn_of_lost_text(sheets: list[layout.Sheet], path: Path) -> None:
    lost = [page for page in sheets if page.lost]
    if lost:
        log.warning(
            "%s: %s of text cannot be read, the first on page %d: the file does not bring the font, and this machine has "
            "none for these letters; install one (for Chinese such as Noto Sans CJK) and read the file again",
            path,
            counted(sum(page.lost for page in lost), "piece"),
            lost[0].number,
        )


def _without_text(sheets: list[layout.Sheet]) -> list[Dropped]:
    """Pages that have nothing to read, with neighbours of one kind as one entry."""
    found: list[Dropped] = []
    for page in sheets:
        if page.body:
            continue
        unreadable = "its letters cannot be read" if page.unreadable else None
        reason = unreadable or ("a picture without text" if page.pictures else "blank")
        last = found[-1] if found else None
        if last and last.reason == reason and last.pages[-1] == page.number - 1:
            found[-1] = Dropped((*last.pages, page.number), reason)
        else:
            found.append(Dropped((page.number,), reason))
    return found

"""A PDF's characters with their places on the page, each turned so that its own text stands upright."""

from __future__ import annotations

import ctypes
import math
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.errors import InputError
from tunesmith.optional import require

# PDFium's FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY.
_PASSWORD, _SECURITY = 4, 5
# Directions are told apart in steps of 5 degrees: more than a crooked scan, less than a slanted stamp.
_STEP = 5
_SLANTED = 0.75  # about the width of a letter, in units of its size
_STANDARD_FONTS = ("Helvetica", "Times", "Courier", "Symbol", "ZapfDingbats", "Arial")
_HYPHENS = "\u00ad\u2010\u2011"  # drawn as a hyphen, whatever they are called


class Glyph(NamedTuple):
    """A character, in points, in the frame where its text runs to the right and `y` (its baseline) grows upwards.

    `blank` says that a blank stands before it: a real one, or one that PDFium infers from the gap.
    """

    text: str
    x0: float
    x1: float
    y: float
    size: float
    blank: str  # "", "inferred" or "real"


@dataclass
class GlyphPage:
    """A page: its characters by the direction of their text (in degrees), in the order in which they were drawn."""

    number: int  # from 1
    turns: dict[int, list[Glyph]] = field(default_factory=dict)
    pictures: int = 0
    unreadable: int = 0  # characters that the file draws without saying which they are
    lost: int = (
        0  # pieces of text that PDFium passes over, in fonts that neither the file nor this machine has
    )


class BadPdf(InputError):
    """A PDF file that holds nothing to learn from; `kind` is one word for the ledger."""

    def __init__(self, kind: str, found: str, path: Path, remedy: str | None = None) -> None:
        super().__init__(found, where=str(path), remedy=remedy)
        self.kind = kind


def glyph_pages(path: Path, content: bytes, password: str | None = None) -> Iterator[GlyphPage]:
    """The pages of a PDF file one by one, whose bytes are `content`; `path` is for the errors.

    Raises:
        BadPdf: it is empty, damaged, or encrypted and the password is missing or wrong.
        InputError: the package that reads PDF files is not installed.
    """
    pdfium = require("pypdfium2", wanted_by=f"reading {path.name}")
    if not content:
        raise BadPdf("empty", "the file is empty", path)
    with _opened(pdfium, content, path, password) as document:
        for index in range(len(document)):
            yield _page(pdfium, document, index, path)


@contextmanager
def _opened(pdfium: Any, content: bytes, path: Path, password: str | None) -> Iterator[Any]:
    try:
        document = pdfium.PdfDocument(content, password=password)
    except pdfium.PdfiumError as error:
        raise _refused(getattr(error, "err_code", None), content, path, password) from None
    try:
        yield document
    finally:
        document.close()


def _refused(code: int | None, content: bytes, path: Path, password: str | None) -> BadPdf:
    if code == _PASSWORD and password is None:
        return BadPdf(
            "encrypted",
            "the PDF is encrypted and needs a password",
            path,
            "give it with --password, or in a recipe as `password`",
        )
    if code == _PASSWORD:
        return BadPdf("encrypted", "the PDF is encrypted, and this password does not open it", path)
    if code == _SECURITY:
        return BadPdf("encrypted", "the PDF is locked in a way that no password opens here", path)
    if b"%PDF-" not in content[:1024]:
        return BadPdf("damaged", "this is no PDF file: it does not begin with %PDF-", path)
    if not code:  # PDFium opened it and found not one page
        return BadPdf("empty", "the PDF has no pages", path)
    remedy = "get the file again; if other programs open it, print it to a new PDF"
    return BadPdf("damaged", "the PDF is damaged: its structure cannot be read", path, remedy)


def _page(pdfium: Any, document: Any, index: int, path: Path) -> GlyphPage:
    page = GlyphPage(index + 1)
    try:
        source = document[index]
        text = source.get_textpage()
    except pdfium.PdfiumError:
        found = f"the PDF is damaged: its page {page.number} cannot be read"
        raise BadPdf("damaged", found, path, "print its good pages to a new PDF") from None
    blank = ""
    for character, glyph_index in _characters(pdfium.raw, text):
        if character.isspace():
            real = not pdfium.raw.FPDFText_IsGenerated(text, glyph_index)
            blank = "real" if real or blank == "real" else "inferred"
            continue
        if _is_unreadable(character):
            page.unreadable += 1
            continue
        turn, glyph = _glyph(pdfium.raw, text, glyph_index, character, blank)
        page.turns.setdefault(turn, []).append(glyph)
        blank = ""
    page.lost = _lost(pdfium.raw, source, text)
    if not page.turns:
        images = source.get_objects(filter=[pdfium.raw.FPDF_PAGEOBJ_IMAGE])
        page.pictures = sum(1 for _ in images)
    text.close()
    source.close()
    return page


def _lost(raw: Any, page: Any, text: Any) -> int:
    """How many pieces of text PDFium does not give.

    It passes over text without extent, and so takes letters for nothing where the file does not bring their font and
    the machine has none that could stand in: single letters, and text that runs upwards.
    """
    empty = 2  # bytes: the end mark of UTF-16 alone
    return sum(
        raw.FPDFTextObj_GetText(piece.raw, text, None, 0) <= empty
        and not raw.FPDFFont_GetIsEmbedded(font := raw.FPDFTextObj_GetFont(piece.raw))
        and not _is_standard(raw, font)
        for piece in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT])
    )


def _is_standard(raw: Any, font: Any) -> bool:
    """Whether it is one of the fonts that every PDF reader brings; a blank in one of these is no loss."""
    name = ctypes.create_string_buffer(100)
    raw.FPDFFont_GetBaseFontName(font, name, len(name))
    return name.value.decode("utf-8", "replace").startswith(_STANDARD_FONTS)


def _characters(raw: Any, text: Any) -> Iterator[tuple[str, int]]:
    """Each character with its index; PDFium gives those beyond U+FFFF as one code, and line-end hyphens as U+0002."""
    for index in range(raw.FPDFText_CountChars(text)):
        code = raw.FPDFText_GetUnicode(text, index)
        if raw.FPDFText_IsHyphen(text, index):
            yield "-", index
        elif code <= 0x10FFFF:
            yield chr(code), index


def _is_unreadable(character: str) -> bool:
    return character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn")


def _glyph(raw: Any, text: Any, index: int, character: str, blank: str) -> tuple[int, Glyph]:
    box, matrix = raw.FS_RECTF(), raw.FS_MATRIX()
    x, y = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetLooseCharBox(text, index, box)
    raw.FPDFText_GetCharOrigin(text, index, x, y)
    raw.FPDFText_GetMatrix(text, index, matrix)
    degrees = math.degrees(raw.FPDFText_GetCharAngle(text, index))
    turn = round(degrees / _STEP) * _STEP % 360
    # Some files give every font the size 1 and stretch it with a matrix.
    size = raw.FPDFText_GetFontSize(text, index) * (math.hypot(matrix.c, matrix.d) or 1.0)
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = [(box.left, box.bottom), (box.left, box.top), (box.right, box.bottom), (box.right, box.top)]
    xs = [a * cos - b * sin for a, b in corners]
    baseline = x.value * sin + y.value * cos
    start, end = min(xs), max(xs)
    if turn % 90:  # the box of a slanted letter is wider than the letter
        start = x.value * cos - y.value * sin
        end = start + _SLANTED * size
    return turn, Glyph(plain(character), start, end, baseline, max(size, 1.0), blank)


def plain(character: str) -> str:
    """The letters of a glyph: `ﬁ` is `fi`, and a Kangxi radical is the character it is drawn as.

    Both are codes for shapes, which some fonts give instead of letters; nothing else is changed, full-width
    punctuation included.
    """
    if character in _HYPHENS:
        return "-"
    code = ord(character)
    is_shape = 0xFB00 <= code <= 0xFB06 or 0x2E80 <= code <= 0x2FD5
    return unicodedata.normalize("NFKC", character) if is_shape else character

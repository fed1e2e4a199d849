"""A page's characters -> its lines in reading order: columns are found, and read one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tunesmith.data.books.glyphs import Glyph, GlyphPage
from tunesmith.data.books.script import is_wide

# All in units of the letters' size.
_SAME_LINE = 0.45  # baselines nearer than this are one line: a raised footnote mark is, the next line is not
_NEW_PIECE = 1.0  # a wider gap may be a gutter
_GAP = 0.25  # a wider gap is a blank, even if PDFium saw none
_WIDE_GAP = 1.5  # a wider gap is a blank between Han characters too
_HALF_GUTTER = 0.4
_NARROWEST = 12  # a narrower page has no columns

# A column has at least so many lines, and so many letters in each; a table's cells and page numbers have fewer.
_LINES_A_COLUMN, _LETTERS_A_LINE = 3, 6
_FILLED = 0.4  # the share of its column that a usual line fills; a column may itself be two


class Piece(NamedTuple):
    """Characters that were drawn side by side; a line is one or several of them."""

    text: str
    x0: float
    x1: float
    y: float
    size: float


@dataclass(frozen=True)
class Line:
    """A line of text. `left` and `right` are the edges of its column, `block` the column's number on the page."""

    text: str
    page: int
    x0: float
    x1: float
    y: float
    size: float
    left: float
    right: float
    block: int


@dataclass
class Sheet:
    """A page as pieces: those in the direction of most of its text, and those that run another way."""

    number: int
    turn: int
    body: list[Piece]
    others: dict[int, list[Piece]] = field(default_factory=dict)
    pictures: int = 0
    unreadable: int = 0
    lost: int = 0

    def rows(self) -> list[list[Piece]]:
        """The body's pieces that share a baseline, from the top down, whatever the columns."""
        return rows(self.body)


def sheet(page: GlyphPage) -> Sheet:
    """Put a page's characters together as far as they were drawn side by side."""
    by_length = sorted(page.turns.items(), key=lambda item: (-len(item[1]), item[0]))
    pieces = {turn: list(_pieces(glyphs)) for turn, glyphs in by_length}
    turn = next(iter(pieces), 0)
    body = pieces.pop(turn, [])
    return Sheet(page.number, turn, body, pieces, page.pictures, page.unreadable, page.lost)


def lines(page: Sheet) -> list[Line]:
    """The lines in reading order; text that runs another way comes last."""
    found: list[Line] = []
    number = 0
    for pieces in (page.body, *page.others.values()):
        for block in _blocks(pieces):
            left, right = min(piece.x0 for piece in block), max(piece.x1 for piece in block)
            for row in rows(block):
                size = max(row, key=lambda piece: len(piece.text)).size
                found.append(
                    Line(joined(row), page.number, row[0].x0, row[-1].x1, row[0].y, size, left, right, number)
                )
            number += 1
    return found


def rows(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces that share a baseline, each row from left to right, the rows from the top down."""
    found: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: (-piece.y, piece.x0)):
        if found and found[-1][0].y - piece.y <= _SAME_LINE * max(found[-1][0].size, piece.size):
            found[-1].append(piece)
        else:
            found.append([piece])
    return [sorted(row, key=lambda piece: piece.x0) for row in found]


def joined(row: Sequence[Piece]) -> str:
    """The text of a row."""
    text = row[0].text
    for before, piece in pairwise(row):
        gap = piece.x0 - before.x1
        narrow = is_wide(before.text[-1]) and is_wide(piece.text[0]) and gap < _WIDE_GAP * piece.size
        tight = gap < _GAP * min(before.size, piece.size)
        text += piece.text if narrow or tight else " " + piece.text
    return text


def _pieces(glyphs: Sequence[Glyph]) -> Iterator[Piece]:
    run: list[Glyph] = []
    for glyph in glyphs:
        if run and not _side_by_side(run[-1], glyph):
            yield _piece(run)
            run = []
        run.append(glyph)
    if run:
        yield _piece(run)


def _side_by_side(a: Glyph, b: Glyph) -> bool:
    size = max(a.size, b.size)
    return abs(a.y - b.y) <= _SAME_LINE * size and -0.5 * size <= b.x0 - a.x1 <= _NEW_PIECE * size


def _piece(run: Sequence[Glyph]) -> Piece:
    text = run[0].text
    for before, glyph in pairwise(run):
        both_wide = is_wide(before.text[-1]) and is_wide(glyph.text[0])
        gap = glyph.x0 - before.x1 > _GAP * min(before.size, glyph.size)
        blank = glyph.blank == "real" if both_wide else bool(glyph.blank) or gap
        text += " " + glyph.text if blank else glyph.text
    size = statistics.median_low(glyph.size for glyph in run)
    main = next(glyph for glyph in run if glyph.size == size)
    return Piece(text, run[0].x0, max(glyph.x1 for glyph in run), main.y, size)


def _blocks(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Columns in reading order. What crosses the gutter, such as a title, is read between what is above and below.

    TITLE OVER BOTH             1
    left     right           2     3
    left     right
    A HEADING IN BETWEEN        4
    left     right           5     6
    """
    if not pieces:
        return
    gutter = _gutter(pieces)
    if gutter is None:
        yield list(pieces)
        return
    across: list[Piece] = []
    left: list[Piece] = []
    right: list[Piece] = []
    for row in rows(pieces):
        crossing = [piece for piece in row if piece.x0 < gutter < piece.x1]
        if crossing:
            yield from _blocks(left)
            yield from _blocks(right)
            left, right = [], []
            across += row
            continue
        if across:
            yield across
            across = []
        left += [piece for piece in row if piece.x1 <= gutter]
        right += [piece for piece in row if piece.x0 >= gutter]
    yield from _blocks(left)
    yield from _blocks(right)
    if across:
        yield across


def _gutter(pieces: Sequence[Piece]) -> float | None:
    """Where two columns part, or None: the x that fewest pieces cross and that has enough text on both sides."""
    size = statistics.median(piece.size for piece in pieces)
    left, right = min(piece.x0 for piece in pieces), max(piece.x1 for piece in pieces)
    width, half = right - left, _HALF_GUTTER * size
    if width < _NARROWEST * size:
        return None
    candidates: list[tuple[float, int]] = []  # x, and how many pieces cross it
    for step in range(int(width / size * 4) + 1):
        x = left + step * size / 4
        if not 0.12 * width <= x - left <= 0.88 * width:
            continue
        before = [piece for piece in pieces if piece.x1 <= x - half]
        behind = [piece for piece in pieces if piece.x0 >= x + half]
        crossing = len(pieces) - len(before) - len(behind)
        columns = crossing <= min(len(before), len(behind)) and _read_down(before) and _read_down(behind)
        if columns and _overlap(before, behind):
            candidates.append((x, crossing))
    if not candidates:
        return None
    # A title that reaches a little over the middle of the gutter must not push it aside: so the middle is taken of
    # the widest stretch that hardly more pieces cross than the best x.
    fewest = min(crossing for _, crossing in candidates) + 1 + len(pieces) // 40
    stretches: list[list[float]] = []
    for x, crossing in candidates:
        if crossing > fewest:
            continue
        if not stretches or x - stretches[-1][-1] > 0.3 * size:
            stretches.append([])
        stretches[-1].append(x)
    widest = max(stretches, key=len)
    return widest[len(widest) // 2]


def _read_down(pieces: Sequence[Piece]) -> bool:
    """Whether this is a column of text, not one of a table's figures."""
    if len(pieces) < _LINES_A_COLUMN or len(rows(pieces)) < _LINES_A_COLUMN:
        return False
    letters = sum(
        2 if is_wide(character) else character.isalpha() for piece in pieces for character in piece.text
    )
    wide = max(piece.x1 for piece in pieces) - min(piece.x0 for piece in pieces)
    filled = statistics.median(piece.x1 - piece.x0 for piece in pieces) >= _FILLED * wide
    return filled and letters >= _LETTERS_A_LINE * len(pieces)


def _overlap(before: Sequence[Piece], behind: Sequence[Piece]) -> bool:
    """Whether the two stand side by side, for at least half the height of the shorter."""
    tops = [max(piece.y for piece in side) for side in (before, behind)]
    feet = [min(piece.y for piece in side) for side in (before, behind)]
    shorter = min(top - foot for top, foot in zip(tops, feet, strict=True))
    return min(tops) - max(feet) >= 0.5 * shorter

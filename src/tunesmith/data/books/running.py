"""Running heads, running feet and page numbers: found by where and how they repeat over the pages, and taken out."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tunesmith.data.books.layout import Piece, Sheet, joined

_SAME_HEIGHT = 3.0  # points
_GAP = 1.6  # in units of the letters' size: more than from one line of a text to the next
_OUTER_ROWS = 2  # at the top and at the bottom
_SHORT_BOOK = 5  # pages: in a book this short two pages are enough to say that something repeats
_ROMAN = re.compile(r"(?=[ivxlc])(c{0,3})(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])(\d{1,4}|[ivxlc]{1,8}|[IVXLC]{1,8})(?![\w])|(?<=第)\d{1,4}(?=[页頁])")
_AROUND = re.compile(r"(?i:page|of|p\.)|[第页頁共\s\W_]+")
_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}


@dataclass
class Running:
    """What was taken out: how many lines, and each text once with the number of its lines."""

    lines: int = 0
    texts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Row:
    sheet: Sheet
    pieces: tuple[Piece, ...]
    text: str
    at_top: bool
    outermost: bool
    apart: bool  # a wide gap parts it, or the two outer rows, from the text

    @property
    def y(self) -> float:
        return self.pieces[0].y

    @property
    def size(self) -> float:
        return self.pieces[0].size


def take_out_running(sheets: Sequence[Sheet]) -> Running:
    """Take them off the sheets.

    A row of the outer two at the top or the bottom goes if

    - the same text stands at the same height on several pages, or the same but for a number that grows with the pages;
    - it is a number that fits the book's page numbers;
    - it is the outermost and stands at the height where this book has its heads (one of a chapter of two pages).

    "Chapter 1", "Chapter 2" at the top of their first pages stay: their numbers do not grow with the pages.
    """
    running = Running()
    written = [page for page in sheets if page.body]
    enough = 2 if len(written) <= _SHORT_BOOK else 3
    candidates = [row for page in written for row in _outer_rows(page)]
    gone: dict[int, _Row] = {}
    offsets: Counter[int] = Counter()
    for key, group in _alike(candidates).items():
        found = len({row.sheet.number for row in group})
        # What stands as near to the text as its own lines do must repeat on nearly every page.
        everywhere = found >= max(3, 0.8 * len(written))
        if found >= enough and (everywhere or all(row.apart for row in group)):
            gone |= {id(row): row for row in group}
            if key[1] is not None and _is_number(group[0].text):
                offsets[key[1]] += len(group)
    usual = offsets.most_common(1)[0][0] if offsets else None
    for row in candidates:
        if _is_number(row.text) and row.outermost:
            fits = usual is not None and any(value - row.sheet.number == usual for value in _values(row.text))
            if fits or (row.apart and len(written) <= 2):
                gone[id(row)] = row
    size = statistics.median([row.size for row in gone.values()]) if gone else 0.0
    heights = _head_heights(list(gone.values()), len(written))
    for row in candidates:
        is_head = row.outermost and row.apart and _key_height(row) in heights
        if is_head and row.size <= 1.1 * size and not _fills_the_page(row):
            gone[id(row)] = row
    bare = {(row.sheet.number, row.at_top) for row in gone.values() if row.outermost}
    for row in gone.values():
        if (row.sheet.number, row.at_top) in bare:  # what stands below a line of the text is text
            _take(row, running)
    _take_stamps(sheets, enough, running)
    return running


def _outer_rows(page: Sheet) -> Iterator[_Row]:
    rows = page.rows()
    half = len(rows) // 2
    for at_top, ordered in ((True, rows), (False, rows[::-1])):
        # A page of one row has a top but no bottom, and no row is looked at twice.
        reach = min(_OUTER_ROWS, max(half, 1) if at_top else len(rows) - max(half, 1))
        for place in range(reach):
            row = ordered[place]
            apart = any(_gap_behind(ordered, outer) for outer in range(place, _OUTER_ROWS))
            yield _Row(page, tuple(row), joined(row), at_top, place == 0, apart)


def _gap_behind(ordered: Sequence[Sequence[Piece]], place: int) -> bool:
    if place + 1 >= len(ordered):
        return place + 1 == len(ordered)
    return abs(ordered[place][0].y - ordered[place + 1][0].y) > _GAP * ordered[place][0].size


def _alike(rows: Sequence[_Row]) -> dict[tuple[str, int | None, int], list[_Row]]:
    """Rows by their text and height; a number in it may grow with the pages, the key then holds its offset."""
    by_text: dict[tuple[str, int | None], list[_Row]] = defaultdict(list)
    for row in rows:
        if any(character.isalnum() for character in row.text):
            by_text[row.text, None].append(row)
        for match in _NUMBER.finditer(row.text):
            value = _value(match[0])
            if value is not None:
                pattern = f"{row.text[: match.start()]}#{row.text[match.end() :]}"
                by_text[pattern, value - row.sheet.number].append(row)
    found: dict[tuple[str, int | None, int], list[_Row]] = {}
    for (text, offset), alike in by_text.items():
        for level, group in enumerate(_by_height(alike)):
            found[text, offset, level] = group
    return found


def _by_height(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    group: list[_Row] = []
    for row in sorted(rows, key=lambda row: (row.sheet.turn, row.y)):
        if group and (row.sheet.turn != group[-1].sheet.turn or row.y - group[-1].y > _SAME_HEIGHT):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _key_height(row: _Row) -> tuple[int, bool, int]:
    return row.sheet.turn, row.at_top, round(row.y / _SAME_HEIGHT)


def _head_heights(gone: Sequence[_Row], pages: int) -> set[tuple[int, bool, int]]:
    """Heights at which one of seven pages has something running: a book may have heads on every second page only, and
    half of its pages may begin chapters.
    """
    counts = Counter(_key_height(row) for row in gone if row.outermost)
    return {height for height, count in counts.items() if count >= max(3, pages / 7)}


def _fills_the_page(row: _Row) -> bool:
    left = min(piece.x0 for piece in row.sheet.body)
    right = max(piece.x1 for piece in row.sheet.body)
    return row.pieces[-1].x1 - row.pieces[0].x0 > 0.8 * (right - left) and not any(map(str.isdigit, row.text))


def _take(row: _Row, running: Running) -> None:
    pieces = set(row.pieces)
    row.sheet.body = [piece for piece in row.sheet.body if piece not in pieces]
    running.lines += 1
    running.texts["a page number" if _is_number(row.text) else _NUMBER.sub("#", row.text)] += 1


def _take_stamps(sheets: Sequence[Sheet], enough: int, running: Running) -> None:
    """Text that runs another way than the page and repeats, such as DRAFT across it."""
    seen = Counter(
        (turn, piece.text) for page in sheets for turn, some in page.others.items() for piece in some
    )
    stamps = {key for key, count in seen.items() if count >= enough}
    for page in sheets:
        for turn, pieces in page.others.items():
            for piece in pieces:
                if (turn, piece.text) in stamps:
                    running.lines += 1
                    running.texts[piece.text] += 1
            page.others[turn] = [piece for piece in pieces if (turn, piece.text) not in stamps]


def _is_number(text: str) -> bool:
    """Whether a row is nothing but a page number: `12`, `- xii -`, `Page 3 of 90`, `第12页`."""
    rest = _AROUND.sub(" ", text).split()
    return 1 <= len(rest) <= 2 and all(_value(part) is not None for part in rest)


def _values(text: str) -> list[int]:
    return [value for part in _AROUND.sub(" ", text).split() if (value := _value(part)) is not None]


def _value(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= 4 else None
    if not _ROMAN.fullmatch(text):
        return None
    values = [_VALUES[letter] for letter in text.lower()]
    return sum(
        -value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True)
    )

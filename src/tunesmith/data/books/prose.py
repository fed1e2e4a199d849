"""Lines -> paragraphs: joined over columns and pages, hyphens at line ends mended."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from tunesmith.data.books.headings import ends_a_sentence, is_chapter, is_heading
from tunesmith.data.books.layout import Line
from tunesmith.data.books.script import is_wide

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST_PART = re.compile(r"([^\W\d_]+)-$")
_NUMBER = re.compile(r"\W*(?:\d{1,3}|[IVXLCivxlc]{1,7}|[一二三四五六七八九十]{1,3})\W*")
_FIRST_PART = re.compile(r"[^\W\d_]+")


class Mark(NamedTuple):
    """From this character of a paragraph on, the text stands on this page."""

    offset: int
    page: int


@dataclass(frozen=True)
class Paragraph:
    """A paragraph. `starts_chapter` is true for the heading of a chapter."""

    text: str
    marks: tuple[Mark, ...]
    starts_chapter: bool = False


class Words:
    """The words inside of the book's lines, which tell what a word broken at a line's end was."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.seen: Counter[str] = Counter()
        self.mended = 0
        broken = False  # the line before ends in a hyphen, so that this one begins with half a word
        for line in lines:
            words = _WORD.findall(line.text)[broken:]
            broken = line.text.endswith("-")
            self.seen.update(word.lower() for word in (words[:-1] if broken else words))

    def without_hyphen(self, before: str, behind: str) -> bool:
        """Whether the hyphen between the two was only put there by the end of the line.

        The book itself decides where it has the word elsewhere. Otherwise two halves that are both words of the book
        are taken for a compound (`lamp-light`), which keeps its hyphen, and all others for one broken word.
        """
        whole, compound = self.seen[before + behind], self.seen[f"{before}-{behind}"]
        if whole or compound:
            return whole >= compound
        return not (self.seen[before] and self.seen[behind])


def body_size(pages: Sequence[Sequence[Line]]) -> float:
    """The size of the letters that most of the text is set in."""
    counts: Counter[float] = Counter()
    for page in pages:
        for line in page:
            counts[round(line.size * 2) / 2] += len(line.text)
    return counts.most_common(1)[0][0] if counts else 0.0


def paragraphs(lines: Sequence[Line], size: float, words: Words) -> list[Paragraph]:
    """Put the lines together."""
    leading = _leading(lines)
    found: list[Paragraph] = []
    group: list[Line] = []
    for line in lines:
        if group and _breaks(group, line, leading, size):
            found.append(_paragraph(group, size, words))
            group = []
        group.append(line)
    if group:
        found.append(_paragraph(group, size, words))
    return _with_numbers(found)


def _leading(lines: Sequence[Line]) -> float:
    """From a baseline to the next, in units of the letters' size, as it is in most of the book."""
    steps = [
        round((a.y - b.y) / a.size, 1)
        for a, b in pairwise(lines)
        if (a.page, a.block) == (b.page, b.block) and a.y > b.y
    ]
    return statistics.mode(sorted(steps)) if steps else 1.2


def _breaks(group: Sequence[Line], line: Line, leading: float, size: float) -> bool:
    """Whether a new paragraph begins with `line`."""
    last = group[-1]
    if abs(line.size - last.size) > 0.1 * last.size:
        return True
    together = (last.page, last.block) == (line.page, line.block)
    if together and last.y - line.y > (leading + 0.35) * last.size:
        return True
    if is_chapter(line.text) or (is_chapter(last.text) and len(group) == 1):
        return True
    if _NUMBER.fullmatch(line.text) and line.x0 - line.left > 3 * line.size:  # over a chapter
        return True
    if _LAST_PART.search(last.text) and line.text[0].islower():
        return False
    indented = line.x0 - line.left > 0.8 * line.size
    if together and indented and not (len(group) > 1 and abs(line.x0 - last.x0) < 0.3 * line.size):
        return True
    # A line that ended although the next word still had room there was ended by the author.
    had_room = last.x1 + _first_word(line) < last.right - 0.1 * last.size
    if together:
        return had_room and (
            ends_a_sentence(last.text) or last.x1 - last.left < 0.7 * (last.right - last.left)
        )
    return ends_a_sentence(last.text) and (had_room or indented or is_heading(line, size))


def _with_numbers(found: Sequence[Paragraph]) -> list[Paragraph]:
    """A number that stands alone over a chapter's heading belongs to the chapter."""
    return [
        replace(one, starts_chapter=True) if after.starts_chapter and _NUMBER.fullmatch(one.text) else one
        for one, after in pairwise([*found, Paragraph("", ())])
    ]


def _first_word(line: Line) -> float:
    """The width of a line's first word and the blank before it, in points."""
    word = line.text[:1] if is_wide(line.text[0]) else line.text.split(" ", 1)[0] + " "
    return len(word) * (line.x1 - line.x0) / len(line.text)


def _paragraph(group: Sequence[Line], size: float, words: Words) -> Paragraph:
    text, marks = group[0].text, [Mark(0, group[0].page)]
    for line in group[1:]:
        text = _join(text, line.text, words)
        if line.page != marks[-1].page:
            marks.append(Mark(len(text) - len(line.text), line.page))
    large = group[0].size >= 1.25 * size and is_heading(group[0], size)
    return Paragraph(text, tuple(marks), is_chapter(group[0].text) or large)


def _join(text: str, line: str, words: Words) -> str:
    before, behind = _LAST_PART.search(text), _FIRST_PART.match(line)
    if text.endswith("-") and before and behind:
        both_small = before[1][-1].islower() and behind[0][0].islower()
        if both_small and words.without_hyphen(before[1].lower(), behind[0].lower()):
            words.mended += 1
            return text[:-1] + line
        return text + line
    if re.search(r"\w-$", text):  # 1914-
        return text + line
    if is_wide(text[-1]) or is_wide(line[0]):
        return text + line
    return f"{text} {line}"

"""Text -> passages of about one length, which overlap and end where sentences end wherever that is possible."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tunesmith.data.books.prose import Paragraph
from tunesmith.data.books.script import WIDE, is_chinese

Unit = Literal["words", "characters"]
PARAGRAPH_BREAK = "\n\n"

# Behind a Chinese full stop a sentence ends whatever follows; behind an English one only before a blank.
_SENTENCE_END = re.compile(r"[。！？…]+[”’」』）》]*|[.!?]+[\"'”’)\]]*(?=\s)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Rev|Jr|Sr|vs|etc|e\.g|i\.e|No|vol|pp?|cf|ca|[A-Z]))\.$"
)
# A unit of text that is not cut: a Han character with the marks behind it, or a word with the blank behind it.
_WORD = re.compile(rf"[^\s{WIDE}]+\s*|[{WIDE}]\s*|\s+")


@dataclass(frozen=True)
class Cut:
    """How to cut: the length of a passage, what neighbours share, and the fewest new units of a last passage."""

    unit: Unit
    size: int = 350
    overlap: int = 50
    least: int = 50


@dataclass(frozen=True)
class Passage:
    """A passage and the pages that it stands on."""

    text: str
    pages: tuple[int, ...]
    units: int


@dataclass(frozen=True)
class Passages:
    """What came of a text: its passages, and what was left over at the ends of chapters."""

    passages: tuple[Passage, ...]
    short_tails: int = 0
    units_dropped: int = 0


class _Sentence(NamedTuple):
    text: str
    units: int
    page: int
    opens: bool  # the first of its paragraph


def unit_of(text: str) -> Unit:
    """The unit that a text's script is counted in."""
    return "characters" if is_chinese(text) else "words"


def count(text: str, unit: Unit) -> int:
    """The length of a text. By words, a stretch of Han characters without blanks counts one each."""
    if unit == "characters":
        return sum(not character.isspace() for character in text)
    return sum(any(map(str.isalnum, word)) for word in _WORD.findall(text))


def cut_passages(paragraphs: Sequence[Paragraph], cut: Cut) -> Passages:
    """Cut a text; no passage runs from one chapter into the next."""
    found: list[Passage] = []
    tails = dropped = 0
    for chapter in chapters(paragraphs):
        sentences = [piece for paragraph in chapter for piece in _sentences(paragraph, cut)]
        windows, rest = _windows(sentences, cut)
        found += [_passage(sentences[start:end]) for start, end in windows]
        tails += rest > 0
        dropped += rest
    return Passages(tuple(found), tails, dropped)


def chapters(paragraphs: Sequence[Paragraph]) -> list[list[Paragraph]]:
    """Paragraphs by chapter; headings one under another (`Chapter 1`, `Dust`) begin one chapter."""
    found: list[list[Paragraph]] = []
    after_heading = False
    for paragraph in paragraphs:
        if not found or (paragraph.starts_chapter and not after_heading):
            found.append([])
        found[-1].append(paragraph)
        after_heading = paragraph.starts_chapter
    return found


def _sentences(paragraph: Paragraph, cut: Cut) -> list[_Sentence]:
    """The sentences; one longer than a passage is cut between words."""
    offsets = [mark.offset for mark in paragraph.marks]
    found: list[_Sentence] = []
    start = 0
    for end in _ends(paragraph.text):
        for piece in _short_enough(paragraph.text[start:end], cut):
            page = paragraph.marks[bisect.bisect_right(offsets, start) - 1].page
            found.append(_Sentence(piece, count(piece, cut.unit), page, not found))
            start += len(piece)
    return found


def _ends(text: str) -> list[int]:
    """Where sentences end, the blank behind each included."""
    ends = []
    for match in _SENTENCE_END.finditer(text):
        if match[0][0] == "." and _ABBREVIATION.search(text, max(0, match.start() - 8), match.end()):
            continue
        end = match.end()
        while end < len(text) and text[end].isspace():
            end += 1
        ends.append(end)
    return [end for end in ends if end < len(text)] + [len(text)]


def _short_enough(sentence: str, cut: Cut) -> list[str]:
    if count(sentence, cut.unit) <= cut.size:
        return [sentence]
    pieces, piece, units = [], "", 0
    for word in _WORD.findall(sentence):
        length = count(word, cut.unit)
        if piece and units + length > cut.size:
            pieces.append(piece)
            piece, units = "", 0
        while length > cut.size:  # a single "word" longer than a passage, such as a stretch of dashes or code
            pieces.append(word[: cut.size])
            word = word[cut.size :]
            length = count(word, cut.unit)
        piece += word
        units += length
    return [*pieces, piece] if piece else pieces


def _windows(sentences: Sequence[_Sentence], cut: Cut) -> tuple[list[tuple[int, int]], int]:
    """From which to which sentence each passage goes, and how many units at the end are dropped."""
    windows: list[tuple[int, int]] = []
    covered = 0
    while covered < len(sentences):
        start = _back(sentences, covered, cut)
        end, units = covered, sum(sentence.units for sentence in sentences[start:covered])
        while end < len(sentences) and (end == covered or units + sentences[end].units <= cut.size):
            units += sentences[end].units
            end += 1
        new = sum(sentence.units for sentence in sentences[covered:end])
        if end == len(sentences) and new < cut.least:
            return windows, new
        windows.append((start, end))
        covered = end
    return windows, 0


def _back(sentences: Sequence[_Sentence], end: int, cut: Cut) -> int:
    """Where the passage that goes on at `end` begins: so many sentences back that it shares at most `overlap` units.

    Fewer, where the first new sentence is so long that both would not fit.
    """
    start, shared = end, 0
    most = min(cut.overlap, cut.size - sentences[end].units)
    while start > 0 and shared + sentences[start - 1].units <= most:
        start -= 1
        shared += sentences[start].units
    return start


def _passage(sentences: Sequence[_Sentence]) -> Passage:
    text = ""
    for sentence in sentences:
        text = text.rstrip() + PARAGRAPH_BREAK if sentence.opens and text else text
        text += sentence.text
    pages = tuple(sorted({sentence.page for sentence in sentences}))
    return Passage(text.strip(), pages, sum(sentence.units for sentence in sentences))


def whole_text(paragraphs: Sequence[Paragraph]) -> str:
    """Paragraphs as one text."""
    return PARAGRAPH_BREAK.join(paragraph.text for paragraph in paragraphs)

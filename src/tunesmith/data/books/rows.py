"""Books -> rows of a JSON Lines file: passages as an author's answers, or as plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith.data.books.book import Book, read_book
from tunesmith.data.books.glyphs import BadPdf
from tunesmith.data.books.passages import Cut, Passages, Unit, count, cut_passages, unit_of
from tunesmith.data.books.script import is_chinese
from tunesmith.data.readers.file import decode_utf8, must_be_a_file, read_bytes
from tunesmith.data.readers.strict import BrokenJson, after_blanks, parse_value
from tunesmith.data.writing import written_whole
from tunesmith.errors import InputError, Problems

Form = Literal["passages", "text"]

_PERSONA = "You are the author of the book “{}”. You write in your own voice."
_PERSONA_CHINESE = "你是《{}》一书的作者，用你自己的笔调写作。"
_PROMPTS = (
    "Write a passage in your own voice.",
    "Tell me something, the way you would tell it in your book.",
    "Go on writing.",
    "What is on your mind?",
    "Write about something that you know well.",
    "Share a thought with your readers.",
    "Describe something that you have seen.",
    "Write the next page.",
)
_PROMPTS_CHINESE = (
    "请用你自己的笔调写一段文字。",
    "像在书里那样，给我讲点什么吧。",
    "请接着写下去。",
    "你在想些什么？",
    "写一写你熟悉的事。",
    "和读者分享一个想法。",
    "描写一件你见过的事物。",
    "请写下一页。",
)


@dataclass(frozen=True)
class Wanted:
    """What is to be made of the books. `unit` is auto, words or characters; auto is settled book by book."""

    form: Form = "passages"
    persona: str | None = None
    prompts: tuple[str, ...] = ()
    unit: str = "auto"
    size: int = 350
    overlap: int = 50
    least: int = 50
    keep_matter: bool = False
    password: str | None = None


@dataclass(frozen=True)
class Done:
    """A book that gave rows."""

    file: str
    book: Book
    unit: Unit
    cut: Passages

    @property
    def units(self) -> int:
        return sum(count(paragraph.text, self.unit) for paragraph in self.book.paragraphs)

    def as_dict(self) -> dict[str, Any]:
        lengths = [passage.units for passage in self.cut.passages]
        return {
            "file": self.file,
            "status": "kept",
            "book": self.book.name,
            "pages": self.book.pages,
            self.unit: self.units,
            "passages": len(lengths),
            "passage_length": {
                "min": min(lengths, default=0),
                "mean": round(sum(lengths) / max(len(lengths), 1), 1),
                "max": max(lengths, default=0),
            },
            "short_tails": self.cut.short_tails,
            f"{self.unit}_in_short_tails": self.cut.units_dropped,
            "hyphens_mended": self.book.mended,
            "unreadable_characters": self.book.unreadable,
            "dropped_pages": [one.as_dict() for one in self.book.dropped],
            "running_lines": {"lines": self.book.running.lines, "texts": dict(self.book.running.texts)},
        }


def make_rows(
    files: Sequence[Path], output: Path, wanted: Wanted, *, skip_bad: bool
) -> tuple[list[Done], list[BadPdf]]:
    """Read the books and write their rows; the output appears when it is whole, or not at all.

    Raises:
        Problems: files that cannot be used, all of them at once; with `skip_bad` only if no file can be.
        InputError: there is no such file, or the output is no file.
        WorkError: the output can't be written.
    """
    done: list[Done] = []
    bad: list[BadPdf] = []
    number = 0
    with written_whole(output) as rows:
        for file in files:
            try:
                done.append(_cut(file, wanted))
            except BadPdf as error:
                bad.append(error)
                continue
            for row in _rows(done[-1], wanted, number):
                rows.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                number += 1
        if bad and (not skip_bad or not done):
            raise Problems([*bad])
        if not number:
            raise InputError(
                "not one passage came of these books: each is shorter than --min",
                where=str(files[0]),
                remedy="lower --min",
            )
    return done, bad


def _cut(file: Path, wanted: Wanted) -> Done:
    must_be_a_file(file)
    book = read_book(file, read_bytes(file), wanted.password, keep_matter=wanted.keep_matter)
    unit: Unit
    if wanted.unit == "auto":
        unit = unit_of(book.text)
    else:
        unit = "words" if wanted.unit == "words" else "characters"
    cut = Cut(unit, wanted.size, wanted.overlap, wanted.least)
    return Done(str(file), book, unit, cut_passages(book.paragraphs, cut))


def _rows(done: Done, wanted: Wanted, number: int) -> Iterator[dict[str, Any]]:
    """The rows of a book; `number` rows were made before it, for the prompts to go on cycling."""
    chinese = is_chinese(done.book.text)
    persona = wanted.persona or (_PERSONA_CHINESE if chinese else _PERSONA).format(done.book.name)
    prompts = wanted.prompts or (_PROMPTS_CHINESE if chinese else _PROMPTS)
    for place, passage in enumerate(done.cut.passages, start=number):
        about = {"book": done.book.name, "pages": list(passage.pages)}
        if wanted.form == "text":
            yield {"text": passage.text} | about
            continue
        turns = (("system", persona), ("user", prompts[place % len(prompts)]), ("assistant", passage.text))
        yield {"messages": [{"role": role, "content": content} for role, content in turns]} | about


def read_prompts(path: Path) -> tuple[str, ...]:
    """Prompts from a file: one a line, or a JSON list of texts.

    Raises:
        InputError: there is no such file, it is not UTF-8, or holds no prompts.
    """
    must_be_a_file(path)
    text = decode_utf8(read_bytes(path), path)
    if path.suffix.lower() != ".json":
        prompts = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        prompts = _prompts_in_json(text, path)
    if not prompts:
        raise InputError("the file holds no prompts", where=str(path), expected="one prompt a line")
    return tuple(prompts)


def _prompts_in_json(text: str, path: Path) -> list[str]:
    try:
        value, end = parse_value(text, after_blanks(text, 0))
        if after_blanks(text, end) != len(text):
            raise BrokenJson("more text after the list", end)
    except BrokenJson as error:
        raise InputError(f"broken JSON: {error.message}", where=str(path)) from None
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise InputError(
            "the file holds something else than texts", where=str(path), expected="a list of texts"
        )
    return value

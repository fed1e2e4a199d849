"""A file of questions -> a file of answers. A question may have pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.config.method import Generation
from tunesmith.config.schema import Source
from tunesmith.data.readers import find, read
from tunesmith.data.readers.file import decode_utf8, must_be_a_file, read_bytes
from tunesmith.data.schema import Place, SourceRow
from tunesmith.errors import InputError
from tunesmith.infer.pictures import Question, picture, question
from tunesmith.infer.speaker import Speaker
from tunesmith.rundir import FREE_AND_REPEAT, write_json

_EXPECTED = (
    'a JSON array of strings or of {"question": ...}, the same one a line (.jsonl), a column `question` (.csv), or one '
    "question a line (.txt)"
)


@dataclass(frozen=True)
class Asked:
    """A question of the file: its text, the pictures as the file names them, and what the model is asked."""

    text: str
    images: tuple[str, ...]
    content: Question


def read_questions(path: str) -> list[Asked]:
    """The questions of a file.

    Raises:
        InputError: the file is missing, is not UTF-8 or not JSON, or an entry is no question, or its picture cannot
            be used; says which.
    """
    file = Path(path)
    if file.suffix.lower() == ".txt":
        must_be_a_file(file)
        lines = decode_utf8(read_bytes(file), file).splitlines()
        questions = [Asked(line, (), line) for line in lines if line.strip()]
    else:
        questions = [_question(row) for row in read(find(Source(path=path)), seed=0)]
    if not questions:
        raise InputError("the file holds no questions", where=path, expected=_EXPECTED)
    return questions


def _question(row: SourceRow) -> Asked:
    if row.problem is not None:
        raise row.problem
    entry = row.value if isinstance(row.value, dict) else {"question": row.value}
    text, images = entry.get("question"), _images(entry, row.place)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"entry {row.place.row} holds no question", where=str(row.place), expected=_EXPECTED)
    beside = Path(row.place.file).parent
    pictures = [picture(str(beside / path), where=str(row.place)) for path in images]
    return Asked(text, images, question(text, pictures, where=str(row.place)))


def _images(row: dict[str, Any], place: Place) -> tuple[str, ...]:
    """What an entry names as its pictures: `image`, or a list `images` (in a CSV file as JSON)."""
    named = row.get("images", row.get("image"))
    if isinstance(named, str) and named.lstrip().startswith("["):
        with suppress(ValueError):  # then it is a path, if an odd one
            named = json.loads(named)
    images = [named] if isinstance(named, str) else named or []
    if not isinstance(images, list) or not all(isinstance(path, str) for path in images):
        raise InputError(
            f"entry {place.row} names no pictures in `images`",
            where=str(place),
            expected="a path, or a list of paths",
        )
    return tuple(path for path in images if path)


def answer_file(
    speaker: Speaker,
    questions: Sequence[Asked],
    options: Generation,
    output: Path,
    *,
    system: str | None = None,
) -> list[dict[str, Any]]:
    """Answer questions and write `[{"question", "answer"}]`, with `images` where there are some, non-ASCII kept."""
    replies = speaker.answer([asked.content for asked in questions], options, system=system)
    answers = [
        {
            "question": asked.text,
            **({"images": list(asked.images)} if asked.images else {}),
            "answer": reply.text,
        }
        for asked, reply in zip(questions, replies, strict=True)
    ]
    write_json(output, answers, remedy=FREE_AND_REPEAT)
    return answers

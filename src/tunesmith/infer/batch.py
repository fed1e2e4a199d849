"""A file of questions -> a file of answers."""

from __future__ import annotations

from pathlib import Path

from tunesmith.config.schema import Generation, Source
from tunesmith.data.readers import find, read
from tunesmith.data.readers.file import decode_utf8, must_be_a_file, read_bytes
from tunesmith.data.schema import SourceRow
from tunesmith.errors import InputError
from tunesmith.infer.speaker import Speaker
from tunesmith.rundir import FREE_AND_REPEAT, write_json

_EXPECTED = 'a JSON array of strings or of {"question": ...}, the same one a line (.jsonl), or one question a line (.txt)'


def read_questions(path: str) -> list[str]:
    """The questions of a file.

    Raises:
        InputError: the file is missing, is not UTF-8 or not JSON, or an entry is no question; says which.
    """
    file = Path(path)
    if file.suffix.lower() == ".txt":
        must_be_a_file(file)
        lines = decode_utf8(read_bytes(file), file).splitlines()
        questions = [line for line in lines if line.strip()]
    else:
        questions = [_question(row) for row in read(find(Source(path=path)), seed=0)]
    if not questions:
        raise InputError("the file holds no questions", where=path, expected=_EXPECTED)
    return questions


def _question(row: SourceRow) -> str:
    if row.problem is not None:
        raise row.problem
    question = row.value.get("question") if isinstance(row.value, dict) else row.value
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"entry {row.place.row} holds no question", where=str(row.place), expected=_EXPECTED)
    return question


def answer_file(
    speaker: Speaker, questions: list[str], options: Generation, output: Path, *, system: str | None = None
) -> list[dict[str, str]]:
    """Answer questions and write `[{"question", "answer"}]`, indented, non-ASCII kept."""
    replies = speaker.answer(questions, options, system=system)
    answers = [
        {"question": question, "answer": reply.text}
        for question, reply in zip(questions, replies, strict=True)
    ]
    write_json(output, answers, remedy=FREE_AND_REPEAT)
    return answers

"""Converters: a row -> a sample type. A new format is one file and one line in the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tunesmith.config.schema import Source
from tunesmith.config.words import nearest
from tunesmith.data.converters import (
    alpaca,
    captions,
    classification,
    conversation,
    labelled,
    messages,
    ner,
    poetry,
    preference,
    prompt,
    prompt_completion,
    qa_keywords,
    query_response,
    question_answer,
    sharegpt,
    text,
)
from tunesmith.data.converters.base import Format, Row, bad_row, named
from tunesmith.data.converters.columns import check_columns, renamed
from tunesmith.data.converters.judged import is_judged, is_preference
from tunesmith.data.schema import Conversation, Converted, Place, SourceRow
from tunesmith.data.words import kind_of, quoted
from tunesmith.errors import InputError

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        messages.FORMAT,
        sharegpt.FORMAT,
        sharegpt.VISION_FORMAT,
        conversation.FORMAT,
        alpaca.FORMAT,
        query_response.FORMAT,
        question_answer.FORMAT,
        prompt_completion.FORMAT,
        preference.FORMAT,
        labelled.FORMAT,
        classification.FORMAT,
        ner.FORMAT,
        qa_keywords.FORMAT,
        captions.FORMAT,
        poetry.FORMAT,
        prompt.FORMAT,
        text.FORMAT,
    )
}


_NOT_READABLE = frozenset(("video", "videos", "audio", "audios"))
# What other tools call the fields; told where no format fits.
_ALSO_CALLED = {
    "input": ("context",),
    "output": ("response", "answer", "completion", "corrected"),
    "prompt": ("question", "instruction", "query", "input"),
    "question": ("query", "prompt", "instruction"),
    "answer": ("response", "output", "completion", "solution"),
    "response": ("answer", "output", "completion"),
    "completion": ("response", "answer", "output"),
    "system": ("system_prompt", "system_message"),
}


def detect(rows: Sequence[SourceRow], source: Source) -> Format:
    """The format of a file's rows: the named one, else the one that fits the first row that any format fits.

    The rows before that one are not passed over: they are checked against the format like all others, and their
    errors can then say which field is missing.

    Args:
        rows: the file's first rows, at least one.
        source: its `format` and `columns` count here.

    Raises:
        InputError: the name is unknown, no format fits, several do, `columns` speaks of what is not there, or no format
            is named and none of the rows could be parsed: then the first one's problem.
    """
    parsed = [row for row in rows if row.problem is None]
    chosen = _by_name(source.format, rows[0].place.file) if source.format is not None else None
    check_columns(parsed, source, [chosen] if chosen else list(FORMATS.values()))
    if chosen is None:
        if not parsed and rows[0].problem is not None:
            raise rows[0].problem
        chosen = _detected(parsed, source)
        check_columns(parsed, source, [chosen])
    return chosen


def convert(row: SourceRow, format: Format, source: Source) -> Converted:
    """Convert one row. A field that may be missing is missing too where it is null.

    Raises:
        BadRow: the row could not be parsed, is no object, is not what the format says, or holds what would be lost:
            videos, audio, or a judgement of its answer where the file's first rows have none.
    """
    if row.problem is not None:
        raise row.problem
    value = row.value
    if not isinstance(value, dict):
        raise bad_row(f"row {row.place.row} is {kind_of(value)}", row.place, expected="an object")
    if source.columns:
        must_be_there = [column for field, column in source.columns.items() if field in format.fields]
        for column in must_be_there:
            if column not in value:
                raise _no_column(value, column, row)
        value = renamed(value, source.columns)
    if None in value.values():
        value = {name: held for name, held in value.items() if held is not None or name in format.fields}
    if not _NOT_READABLE.isdisjoint(value):
        _must_hold_no_media(value, row.place)
    if source.format is None and format.makes is Conversation and is_judged(value):
        raise _judged(value, format, row.place)
    return format.convert(value, row.place, source)


def _no_column(value: Row, column: str, row: SourceRow) -> InputError:
    alike = nearest(column, value)
    return bad_row(
        f"row {row.place.row} has no field {column!r}, which the recipe's `columns` names; it has "
        f"{quoted(value) or 'none'}",
        row.place,
        remedy=f"the nearest is {alike!r}" if alike else None,
    )


def _must_hold_no_media(value: Row, place: Place) -> None:
    name = next((name for name in value if name in _NOT_READABLE and value[name]), None)
    if name is not None:
        raise bad_row(
            f"{named(name, place)} holds {'audio' if name.startswith('audio') else 'video'}",
            place,
            expected="text and pictures, which are all that can be read",
            remedy=f"take {name!r} out of the rows whose text makes sense without it; `on_bad_row: skip` under data drops "
            "the others",
        )


def _judged(value: Row, format: Format, place: Place) -> InputError:
    judged = "preference" if is_preference(value) else "labelled"
    return bad_row(
        f"row {place.row} has a judgement of its answer, and the row that told the format {format.name} has none",
        place,
        expected="the same form in all rows of a file",
        remedy=f"say in the recipe what the file is, beside its `path`: `format: {judged}`, or `format: {format.name}` to "
        "read the chats alone",
    )


def _detected(parsed: Sequence[SourceRow], source: Source) -> Format:
    # Where no row is whole, one with nulls in the place of fields still tells which format is meant.
    for null in (None, ""):
        least: Format | None = None
        for row in parsed:
            fitting = _fitting(row.value, source, null)
            if len(fitting) > 1:
                raise _several_fit(fitting, row.place)
            if fitting and not fitting[0].is_part_of_others:
                return fitting[0]
            least = fitting[0] if fitting else least
        if least is not None:
            return least
    raise _none_fits(parsed[0], source)


def _several_fit(fitting: Sequence[Format], place: Place) -> InputError:
    names = [format.name for format in fitting]
    return InputError(
        f"{len(names)} formats fit this row: {' and '.join(names)}",
        where=str(place),
        expected="one",
        remedy="say which in the recipe, with this line beside the file's `path`: "
        + " or ".join(f"`format: {name}`" for name in names),
    )


def _fitting(value: Any, source: Source, null: str | None) -> list[Format]:
    """The formats that fit a row, with `null` in the place of its nulls."""
    if not isinstance(value, dict):
        return []
    row = renamed(value, source.columns or {})
    if null is not None:
        row = {name: null if held is None else held for name, held in row.items()}
    return [format for format in FORMATS.values() if format.fits(row)]


def _by_name(name: str, file: str) -> Format:
    if name in FORMATS:
        return FORMATS[name]
    alike = nearest(name, FORMATS)
    raise InputError(
        f"unknown data format {name!r}",
        where=file,
        expected=f"one of {quoted(FORMATS)}",
        remedy=f"the nearest is {alike!r}" if alike else None,
    )


def _none_fits(row: SourceRow, source: Source) -> InputError:
    """The error that shows what was found beside what is known."""
    if not isinstance(row.value, dict):
        found = f"no known format fits: row {row.place.row} is {kind_of(row.value)}"
        return InputError(found, where=str(row.place), expected=f"an object, in the form of {_known()}")
    fields = renamed(row.value, source.columns or {})
    found = f"no known format fits the fields of row {row.place.row}: {quoted(fields) or 'there are none'}"
    remedy = (
        _of_another_tool(fields)
        or _what_the_nearest_lacks(fields)
        or (
            "`columns: {prompt: ..., completion: ...}` beside the file's `path` names the columns of a question and its answer"
        )
    )
    return InputError(found, where=str(row.place), expected=f"the fields of {_known()}", remedy=remedy)


def _known() -> str:
    """The formats' names; their rows are too long for a message. docs/formats.md shows them."""
    names = list(FORMATS)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _of_another_tool(row: Row) -> str | None:
    """A sentence about forms that are known and not read."""
    if isinstance(row.get("segments"), list):
        return (
            "segments with a `label` each, Axolotl's input_output, are not read: write the text before the answer as "
            '`prompt` and the answer as `completion`, or the turns as `messages`, with `"weight": 0` on those not to learn'
        )
    return None


def _what_the_nearest_lacks(row: Row) -> str | None:
    """A sentence about the format that shares most fields with the row, misspelt ones counted half.

    The line for the recipe names also the columns that the format would read under other names and that would be lost.
    """

    def likeness(format: Format) -> tuple[float, int]:
        hits = [1.0 if name in row else 0.5 if _called(name, row) else 0.0 for name in format.fields]
        return sum(hits) / len(hits), len(hits)

    best = max(FORMATS.values(), key=likeness)
    if not likeness(best)[0]:
        return None
    lacking = {name: _called(name, row) for name in best.fields if name not in row}
    if not lacking:
        return None
    free = [name for name in row if name not in best.known and name not in lacking.values()]
    might_be_lost = [name for name in ("input", "system") if name in best.others and name not in row]
    lost = {name: alike for name in might_be_lost if (alike := _called(name, free))}
    needs = ", ".join(
        f"{name!r} (here {alike!r}?)" if alike else repr(name) for name, alike in lacking.items()
    )
    mapping = ", ".join(f"{name}: {alike or '...'}" for name, alike in [*lacking.items(), *lost.items()])
    return (
        f"the nearest is {best.name} ({best.shape}), which also needs {needs}; a column of another name is named "
        f"beside the file's `path`: `columns: {{{mapping}}}`"
    )


def _called(name: str, candidates: Iterable[str]) -> str | None:
    """What the row calls a field: by a misspelt name, or by that of another tool."""
    there = list(candidates)
    alike = nearest(name, there)
    if alike is not None:
        return alike
    small = {column.lower(): column for column in there}
    return next((small[other] for other in (name, *_ALSO_CALLED.get(name, ())) if other in small), None)

"""A source's rows -> the keys and strata that a split goes by, and then one JSON Lines file a part."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith.config.schema import Source
from tunesmith.config.words import nearest
from tunesmith.data import split
from tunesmith.data.convert import rows_and_format
from tunesmith.data.converters import convert
from tunesmith.data.converters.base import Format
from tunesmith.data.readers import find, read
from tunesmith.data.schema import BadRow, Conversation, Converted, Image, Labelled, Pair, SourceRow, Text
from tunesmith.data.words import kind_of, quoted
from tunesmith.data.writing import json_line, written_whole
from tunesmith.errors import InputError, Problems

_TOLD_AT_ONCE = 20


class Looked(NamedTuple):
    """What a split goes by, a row: its keys and its stratum. `pictures`: whether rows name image files."""

    keys: list[list[str]]
    strata: list[str]
    pictures: bool
    notes: list[str]


def look(source: Source, *, by: str | None, group: str | None, same_prompt: bool) -> Looked:
    """Read all rows once. Rows are like where their contents are (case, blanks and punctuation aside), where the user
    asks the same, and where the field `group` is the same.

    Args:
        by: the field to stratify by; else the label, where the format has one.

    Raises:
        InputError: a row can't be parsed, or lacks a field that was named.
    """
    rows, format, notes = _rows(source)
    keys: list[list[str]] = []
    strata: list[str] = []
    prompts: list[str | None] = []
    broken: list[InputError] = []
    pictures = False
    for row in rows:
        if row.problem is not None:
            broken.append(row.problem)
            continue
        converted = _converted(row, format, source)
        content = split.content_of(row.value) if converted is None else split.content_of_converted(converted)
        keys.append([split.key_of("content", content)])
        if group is not None:
            keys[-1].append(split.key_of("group", _field(row, group)))
        prompt = split.prompt_of(converted) if converted is not None and same_prompt else None
        prompts.append(None if prompt is None else split.key_of("prompt", prompt))
        label = "" if converted is None or format is None else split.label_of(converted, format.name)
        strata.append(_field(row, by) if by is not None else label)
        pictures = pictures or (converted is not None and _has_pictures(converted))
    if broken:
        raise Problems([*broken[:_TOLD_AT_ONCE], _more(broken, len(broken) + len(keys))])
    bound, instructions = split.without_instructions(prompts)
    for row_keys, bound_prompt in zip(keys, bound, strict=True):
        if bound_prompt is not None:
            row_keys.append(bound_prompt)
    if instructions:
        notes.append(
            f"{instructions} prompt{'s are' if instructions > 1 else ' is'} shared by so many rows that they are taken "
            "for instructions; rows are not kept together by them"
        )
    return Looked(keys, strata, pictures, notes)


def write_parts(source: Source, files: Sequence[Path], parts: Sequence[int]) -> None:
    """Read the rows again and write each, as it is, to the file of its part.

    Raises:
        InputError: the source changed meanwhile, or a row can't be written as JSON.
    """
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(written_whole(file)) for file in files]
        written = 0
        for row in read(find(source), 0):
            if written < len(parts):
                opened[parts[written]].write(json_line(row.value, row.place))
            written += 1
        if written != len(parts):
            raise InputError(
                f"there were {len(parts)} rows at first and {written} a moment later",
                where=source.path,
                remedy="run the same again when nothing writes to it",
            )


def _rows(source: Source) -> tuple[Iterator[SourceRow], Format | None, list[str]]:
    """The rows, and their format if one is known; a split needs none."""
    found = find(source)
    try:
        rows, format = rows_and_format(found)
    except InputError as error:
        if source.format is not None or source.columns is not None:
            raise
        notes = [*found.notes, f"no format is known ({error.found}); rows are compared field by field"]
        return read(found, 0), None, notes
    return rows, format, [*found.notes, f"the format is {format.name}"]


def _converted(row: SourceRow, format: Format | None, source: Source) -> Converted | None:
    """The row as its format reads it; None where it is bad, which is for training to judge and not for a split."""
    if format is None:
        return None
    try:
        return convert(row, format, source)
    except BadRow:
        return None


def _field(row: SourceRow, name: str) -> str:
    if not isinstance(row.value, dict):
        raise InputError(
            f"row {row.place.row} is {kind_of(row.value)}", where=str(row.place), expected="an object"
        )
    if name not in row.value:
        alike = nearest(name, row.value)
        raise InputError(
            f"row {row.place.row} has no field {name!r}; it has {quoted(row.value) or 'none'}",
            where=str(row.place),
            remedy=f"the nearest is {alike!r}" if alike else None,
        )
    value = row.value[name]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _has_pictures(converted: Converted) -> bool:
    if isinstance(converted, Text):
        return False
    if isinstance(converted, Pair):
        messages = (*converted.prompt, *converted.chosen, *converted.rejected)
    elif isinstance(converted, Labelled):
        messages = converted.conversation.messages
    else:
        assert isinstance(converted, Conversation)
        messages = converted.messages
    parts = [part for message in messages if not isinstance(message.content, str) for part in message.content]
    return any(isinstance(part, Image) for part in parts)


def _more(broken: list[InputError], count: int) -> InputError:
    rest = len(broken) - _TOLD_AT_ONCE
    return InputError(
        (f"and {rest} more: " if rest > 0 else "") + f"{len(broken)} of {count} rows cannot be parsed",
        remedy="mend them; nothing was written",
    )

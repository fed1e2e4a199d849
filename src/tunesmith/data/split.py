"""Splitting rows into training and held-out parts so that nothing leaks: like rows stay together, shares hold."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tunesmith.data.schema import Conversation, Converted, Labelled, Message, Pair, Text

# A user's prompt that more rows share than this many, and than this share of all, is an instruction ("Write a passage
# about the sea") and no question: rows are not bound by it, or a book's passages would all be one group.
_INSTRUCTION_ROWS = 20
_INSTRUCTION_SHARE = 0.05


def assign(
    keys: Sequence[Sequence[str]], strata: Sequence[str], shares: Sequence[float], seed: int
) -> list[int]:
    """Which part each row goes to; a pure function of its arguments, the same on every platform.

    Rows that share a key form a group, through other rows too, and a group goes to one part. Groups are laid out
    stratum by stratum, within one the largest first and else in an order drawn by the seed; each goes to the part
    that is furthest behind its share of the rows laid out so far. So with G the largest group's size and K the number
    of parts, every part is within (K - 1) G rows of its share, and within 2 (K - 1) G of its share of each stratum
    (a group with rows of several strata counts for the most frequent of them).

    Args:
        keys: each row's keys.
        strata: each row's stratum.
        shares: each part's share; they sum to 1.

    Returns:
        For each row the index of its share.
    """
    groups = _groups(keys)
    stratum_of = [_most_frequent(strata[row] for row in rows) for rows in groups]
    order = sorted(
        range(len(groups)),
        key=lambda group: (
            _drawn(seed, "stratum", stratum_of[group]),
            -len(groups[group]),
            _drawn(seed, "group", str(groups[group][0])),
        ),
    )
    assigned = [0] * len(shares)
    parts = [0] * len(keys)
    laid_out = 0
    for group in order:
        laid_out += len(groups[group])
        behind = [share * laid_out - rows for share, rows in zip(shares, assigned, strict=True)]
        part = max(range(len(shares)), key=behind.__getitem__)
        assigned[part] += len(groups[group])
        for row in groups[group]:
            parts[row] = part
    return parts


def _groups(keys: Sequence[Sequence[str]]) -> list[list[int]]:
    """The rows of each group, both in the order of the file (union-find)."""
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first_with: dict[str, int] = {}
    for row, row_keys in enumerate(keys):
        for key in row_keys:
            one, other = sorted((root(first_with.setdefault(key, row)), root(row)))
            parent[other] = one
    groups: dict[int, list[int]] = {}
    for row in range(len(keys)):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def _most_frequent(strata: Iterator[str]) -> str:
    counts = Counter(strata)
    return min(counts, key=lambda stratum: (-counts[stratum], stratum))


def _drawn(seed: int, *what: str) -> bytes:
    """A number that the seed draws for a thing: no generator's state, no platform's `hash`."""
    return hashlib.sha256(json.dumps([seed, *what]).encode()).digest()


def without_instructions(prompts: Sequence[str | None]) -> tuple[list[str | None], int]:
    """The prompts, but those that so many rows share that they are instructions; and how many different ones those are."""
    counts = Counter(prompt for prompt in prompts if prompt is not None)
    at_most = max(_INSTRUCTION_ROWS, _INSTRUCTION_SHARE * len(prompts))
    common = {prompt for prompt, rows in counts.items() if rows > at_most}
    return [None if prompt in common else prompt for prompt in prompts], len(common)


def key_of(kind: str, content: str) -> str:
    """A short key for equal contents of one kind; 128 bits, so that a million rows do not collide."""
    return f"{kind}:{hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


class _Fold(dict[int, int | None]):
    """A table for `str.translate` that drops blanks, punctuation and control characters; it grows as they are met."""

    def __missing__(self, code: int) -> int | None:
        kept = unicodedata.category(chr(code))[0] not in "ZPC"
        self[code] = code if kept else None
        return self[code]


_FOLD = _Fold()


def folded(text: str) -> str:
    """A text without what does not make it another text: case, width, blanks, punctuation. Text of signs alone stays."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return plain.casefold().translate(_FOLD) or text.strip()


def content_of(value: Any) -> str:
    """A row's folded content where no format is known: all that is in it, field by field."""
    if isinstance(value, str):
        return folded(value)
    if isinstance(value, dict):
        return json.dumps([[name, content_of(value[name])] for name in sorted(value)])
    if isinstance(value, list):
        return json.dumps([content_of(entry) for entry in value])
    return json.dumps(value, default=str)


def content_of_converted(converted: Converted) -> str:
    """A row's folded content as its format reads it, so that an id beside it makes it no other row."""
    if isinstance(converted, Text):
        return folded(converted.text)
    if isinstance(converted, Pair):
        sides = (converted.prompt, converted.chosen, converted.rejected)
        return json.dumps([[_of_message(message) for message in side] for side in sides])
    conversation = converted.conversation if isinstance(converted, Labelled) else converted
    return json.dumps([_of_message(message) for message in conversation.messages])


def prompt_of(converted: Converted) -> str | None:
    """What the user says in all turns, folded, pictures by their names; None for plain text."""
    if isinstance(converted, Text):
        return None
    if isinstance(converted, Pair):
        messages = converted.prompt
    elif isinstance(converted, Labelled):
        messages = converted.conversation.messages
    else:
        messages = converted.messages
    said = [_of_message(message) for message in messages if message.role == "user"]
    return json.dumps(said) if said else None


def label_of(converted: Converted, format_name: str) -> str:
    """What the rows are stratified by unless a field is named: the class, or whether the answer was good."""
    if isinstance(converted, Labelled):
        return str(converted.good)
    if isinstance(converted, Conversation) and format_name == "classification":
        return converted.messages[-1].text
    return ""


def _of_message(message: Message) -> list[str]:
    parts = (message.content,) if isinstance(message.content, str) else message.content
    said = [part if isinstance(part, str) else f"picture {part.path}" for part in parts]
    calls = [f"{call.name} {json.dumps(call.arguments, sort_keys=True)}" for call in message.tool_calls]
    return [message.role, folded(" ".join(said)), *calls]

"""Which rows hold a judgement of answers besides a chat: preference pairs and labelled rows go first."""

from __future__ import annotations

from typing import Any

from tunesmith.data.converters.base import Row, has, has_all

# The better answer's field and the worse one's.
SIDES = (
    ("chosen", "rejected"),
    ("chosen_messages", "rejected_messages"),
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
)
# The worse answer's field, where the better one is the chat's own end.
ONLY_REJECTED = ("rejected_response", "rejected_messages")
LABELS = ("label", "kto_tag")
JUDGEMENTS = frozenset((*LABELS, *ONLY_REJECTED, *(name for names in SIDES for name in names)))
# What a labelled row's chat may look like.
_CHATS = (
    ("messages",),
    ("conversations",),
    ("conversation",),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("query", "response"),
    ("question", "answer"),
    ("question", "response"),
)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def has_chat(row: Row) -> bool:
    """Whether the row has a chat, in the fields of one of the formats that are chats and nothing else."""
    return any(has_all(row, names) for names in _CHATS)


def is_preference(row: Row) -> bool:
    """Whether the row has a better and a worse answer."""
    if JUDGEMENTS.isdisjoint(row):
        return False
    if any(has_all(row, names) for names in SIDES):
        return True
    return any(has(row, name) for name in ONLY_REJECTED) and has_chat(row)


def is_labelled(row: Row) -> bool:
    """Whether the row has a chat, and a label beside it; what the label says is for `convert` to check."""
    return any(has(row, name) for name in LABELS) and has_chat(row)


def is_judged(row: Row) -> bool:
    """Whether the row has a judgement, so that it is more than the chat in it."""
    return not JUDGEMENTS.isdisjoint(row) and (is_preference(row) or is_labelled(row))


def truth_of(value: Any) -> bool | None:
    """True or false, also as 1 and 0 and as CSV writes them; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return {1: True, 0: False}.get(value)
    return _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None

"""Which rows hold a judgement of answers besides a chat: preference pairs and labelled rows go first."""

from __future__ import annotations

from tunesmith.data.converters.base import Row

# The better answer's field and the worse one's.
SIDES = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"))
# The worse answer's field, where the better one is the chat's own end.
ONLY_REJECTED = ("rejected_response", "rejected_messages")
LABELS = ("label", "kto_tag")
# What a labelled row's chat may look like.
_CHATS = (
    ("messages",),
    ("conversations",),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("query", "response"),
)


def has_all(row: Row, names: tuple[str, ...]) -> bool:
    return all(name in row for name in names)


def has_chat(row: Row) -> bool:
    return any(has_all(row, names) for names in _CHATS)


def is_preference(row: Row) -> bool:
    """Whether the row has a better and a worse answer."""
    if any(has_all(row, names) for names in SIDES):
        return True
    return has_chat(row) and any(name in row for name in ONLY_REJECTED)


def is_labelled(row: Row) -> bool:
    """Whether the row has a chat, and true or false about its last answer."""
    return has_chat(row) and any(truth_of(row.get(name)) is not None for name in LABELS)


def is_judged(row: Row) -> bool:
    return is_preference(row) or is_labelled(row)


def truth_of(value: object) -> bool | None:
    """True or false, also as CSV writes them; None for anything else."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None

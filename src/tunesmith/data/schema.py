"""The types between a user's file and the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tunesmith.errors import InputError
from tunesmith.segments import Tree


class Place(NamedTuple):
    """Where a row stands: its file, the line it begins on (from 1), its number in the file (from 1)."""

    file: str
    line: int
    row: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class SourceRow:
    """A row as the reader found it. Where it could not be parsed, `value` is None and `problem` says why."""

    value: Any
    place: Place
    problem: BadRow | None = None


@dataclass(frozen=True)
class Message:
    """One turn. `loss` is the weight of its tokens in the loss; 0 is context only."""

    role: str
    content: str
    loss: float


@dataclass(frozen=True)
class Conversation:
    """Turns in order."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Text:
    """Plain text, every token of it predicted."""

    text: str


@dataclass(frozen=True)
class Sample:
    """A rendered sample: tokens, their loss weights, and where it came from."""

    tree: Tree
    place: Place
    prompt: str | None = None  # the last user turn, to tell whether a question was trained on
    answer: str | None = None  # the last assistant turn, to tell whether an answer was copied


class BadRow(InputError):
    """A row that cannot be used. `on_bad_row: skip` drops and counts it, otherwise it stops the work."""

"""What rendering makes of a conversation on the way: its answers as text, then as tokens, then the strips."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.data.schema import Image, Strip
from tunesmith.segments import Tree


class Rendered(NamedTuple):
    """A rendered conversation. `rewritten`: the template did not write an answer to be learned as it was given."""

    strips: tuple[Strip, ...]
    rewritten: bool

    @property
    def tree(self) -> Tree:
        """The same as pieces with a weight a token."""
        return tuple(strip.piece() for strip in self.strips)


class Span(NamedTuple):
    """Neighbouring tokens of one weight, as text; weight 0 carries no loss."""

    text: str
    weight: float


class Turn(NamedTuple):
    """One answer as text: what the model is shown, the same with the finished answer, and the tail of that."""

    shown: str
    full: str
    tail: str
    weight: float
    rewritten: bool

    @property
    def body(self) -> str:
        return self.full[: len(self.full) - len(self.tail)]


class TurnIds(NamedTuple):
    """One answer as tokens. `stopped`: the last token of `answer` is the stop token that the template writes."""

    context: list[int]
    answer: list[int]
    weight: float
    stopped: bool


class Outline(NamedTuple):
    """A conversation as text, before it is encoded.

    `joint` is the text that the quick way encodes, if it may. `guarded`: special tokens' strings stand in messages.
    `pictures` are those of all its turns, in order.
    """

    turns: tuple[Turn, ...]
    joint: str | None
    guarded: bool
    pictures: tuple[Image, ...] = ()

"""The types between a user's file and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tunesmith.errors import InputError
from tunesmith.segments import Picture, Piece, Tree


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
class Image:
    """A picture in a message: its file, and its size in pixels as it is shown (turned as its EXIF note says).

    `digest` is of the file's content, so that data with another picture are other data.
    """

    path: str
    width: int
    height: int
    digest: str = field(default="", compare=False)


@dataclass(frozen=True)
class ToolCall:
    """A call that the assistant makes; `arguments` is a JSON object."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None


@dataclass(frozen=True)
class Message:
    """One turn.

    `role` is system, user, assistant or tool. `loss` is the weight of its tokens in the loss; 0 is context only.
    `content` is text, or text and pictures in order. `thinking` is what an assistant thought before it answered, where
    the row keeps that apart. `name` and `call_id` say which tool (and which of its calls) a tool's result belongs to.
    `keywords` are the words that an answer should hold, where the row lists them.
    """

    role: str
    content: str | tuple[str | Image, ...]
    loss: float = 0.0
    thinking: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    call_id: str | None = None
    article: tuple[int, int] | None = None
    keywords: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures of the content, in order."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, Image))

    @property
    def text(self) -> str:
        """The content without its pictures."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part for part in self.content if isinstance(part, str))


@dataclass(frozen=True)
class Conversation:
    """Turns in order, and the tools that the assistant may call, each a JSON schema as OpenAI writes it."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two ways to go on from one prompt, the better and the worse."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Labelled:
    """A conversation whose last answer was judged good or bad."""

    conversation: Conversation
    good: bool


@dataclass(frozen=True)
class Prompt:
    """Turns that an answer is drawn to, and what the row says that it should be, if it says so."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    reference: str | None = None
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """Plain text, every token of it predicted."""

    text: str


# What a converter makes of a row.
Converted = Conversation | Text | Pair | Labelled | Prompt


class Stretch(NamedTuple):
    """Neighbouring tokens that carry loss: from `start` up to `end` (not included), each with `weight`."""

    start: int
    end: int
    weight: float


class Strip(NamedTuple):
    """A segment of a sample with its loss weights written short: tokens outside of all stretches carry none."""

    tokens: Sequence[int]
    stretches: tuple[Stretch, ...]
    parent: int | None = None
    pictures: tuple[Picture, ...] = ()

    def piece(self) -> Piece:
        """The same with a weight a token."""
        weights: list[float] = []
        for start, end, weight in self.stretches:
            weights += [0.0] * (start - len(weights)) + [weight] * (end - start)
        weights += [0.0] * (len(self.tokens) - len(weights))
        return Piece(tuple(self.tokens), tuple(weights), self.parent, self.pictures)


@dataclass(frozen=True)
class Sample:
    """A rendered sample: tokens, their loss weights, and where it came from."""

    tree: Tree
    place: Place
    prompt: str | None = None  # the last user turn, to tell whether a question was trained on
    answer: str | None = None  # the last assistant turn, to tell whether an answer was copied
    images: tuple[str, ...] = ()  # the files of its pictures, in the order of the text
    keywords: tuple[str, ...] = ()  # the words that the last answer should hold, where the row lists them
    rejected: str | None = None  # the last turn of a pair's worse side
    good: bool | None = None  # how the answer was judged, where it was


class BadRow(InputError):
    """A row that cannot be used. `on_bad_row: skip` drops and counts it, otherwise it stops the work."""

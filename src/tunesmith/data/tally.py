"""What a pass over the rows finds: what became of them, what is wrong, and what their user should know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tunesmith.config.schema import Data
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Place
from tunesmith.errors import InputError

MOST_PROBLEMS_KEPT = 1000


class Dropped(NamedTuple):
    """A row that is not used, and why."""

    place: Place
    reason: str


@dataclass
class Side:
    """What became of the rows of one side, training or held-out. The kept ones are in the store."""

    read: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)


class Seen:
    """How many rows something was seen in, and the first of them."""

    def __init__(self) -> None:
        self.rows = 0
        self.first: Place | None = None

    def at(self, place: Place) -> None:
        self.rows += 1
        self.first = self.first or place


@dataclass
class Flow:
    """What goes through all steps, and what they find."""

    data: Data
    method: str
    consumes: type
    learn_chosen: bool
    renderer: Renderer
    seed: int
    problems: list[InputError] = field(default_factory=list)
    more_problems: int = 0
    long: list[tuple[Place, int]] = field(default_factory=list)
    rewritten: Seen = field(default_factory=Seen)
    guarded: Seen = field(default_factory=Seen)
    thoughts: Seen = field(default_factory=Seen)
    control: Seen = field(default_factory=Seen)
    lone_tokens: Seen = field(default_factory=Seen)
    chosen: Seen = field(default_factory=Seen)
    formats: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)  # files whose format the recipe names
    images: set[str] = field(default_factory=set)

    def problem(self, error: InputError) -> None:
        if len(self.problems) < MOST_PROBLEMS_KEPT:
            self.problems.append(error)
        else:
            self.more_problems += 1

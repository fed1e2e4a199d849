"""The errors that a user can meet.

Every one of them is a short paragraph a tired person can act on: where it happened, what was found, what was
expected, what to do. The command line prints that paragraph and leaves with `exit_code`; `--debug` adds the traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class TunesmithError(Exception):
    """Base of all errors meant for the user's eyes.

    Args:
        found: what was found, a clause without a full stop.
        where: the place, such as `data.jsonl:12` or `recipe.yaml:7`.
        expected: what should have been there.
        remedy: what to do next.
    """

    exit_code = 1

    def __init__(
        self, found: str, *, where: str | None = None, expected: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(found)
        self.found, self.where, self.expected, self.remedy = found, where, expected, remedy

    def __str__(self) -> str:
        sentence = f"{self.where}: {self.found}" if self.where else self.found
        if self.expected:
            sentence += f"; expected {self.expected}"
        sentence = sentence.rstrip(".") + "."
        if self.remedy:
            remedy = self.remedy.rstrip(".")
            sentence += f" {remedy[:1].upper()}{remedy[1:]}" + ("" if remedy.endswith("?") else ".")
        return sentence


class InputError(TunesmithError):
    """What the user gave is wrong: a recipe, a file, a flag, a model's name."""

    exit_code = 2


class Problems(InputError):
    """Several things are wrong at once; all of them are told."""

    def __init__(self, problems: list[InputError]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class WorkError(TunesmithError):
    """Something failed while working: the disk, the memory, the numbers."""


class Interrupted(TunesmithError):
    """The user stopped the work; what was done is safe."""

    exit_code = 130


# A full disk, a used-up quota and a file-size limit (what `ulimit -f` gives) are one thing to the user.
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def no_room_is_a_work_error(what: str, remedy: str) -> Iterator[None]:
    """Turn a full disk inside the block into a `WorkError` that says what was being written and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise WorkError(f"no room left on the disk while writing {what}", remedy=remedy) from error
        raise


@contextmanager
def failed_writing_is_a_work_error(what: str, remedy: str) -> Iterator[None]:
    """As `no_room_is_a_work_error`, for files in a folder that is ours: any refusal of the system is a `WorkError`."""
    try:
        with no_room_is_a_work_error(what, remedy):
            yield
    except OSError as error:
        raise WorkError(
            f"{what} cannot be written: {error.strerror or error}",
            remedy=f"see to that folder; {remedy}",
        ) from error

"""What the hubs have in common: a repository of models or data, and its files at one state."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from tunesmith.errors import InputError, WorkError


class Kind(NamedTuple):
    """What a repository holds, in the hubs' word and in ours."""

    type: str  # `dataset` or `model`
    words: str
    instead: str  # what else than a hub would serve, as a remedy
    everything: tuple[str, ...] = ()  # patterns of the files that a whole one is made of
    tried: str = ""  # where one was looked for before the hub was asked, as a clause


class Listed(NamedTuple):
    """The files of a repository at one state."""

    revision: str  # what the files are asked for by: the commit, where the hub tells one
    files: tuple[str, ...]
    offline: str | None = None  # why the hub was not asked, where it was not
    known: bool = True  # False: these are the files that lie in the cache, perhaps not all there are
    branch: str | None = None  # the branch or tag that was asked for
    commit: str | None = None
    sizes: Mapping[str, int] = MappingProxyType({})  # bytes, of the files whose size is told


class Cached(NamedTuple):
    """A state of a repository that lies in a cache."""

    name: str
    folder: Path
    revisions: tuple[str, ...]  # the branches and tags that it is known by
    commit: str | None


class Repository(Protocol):
    """A model's or data set's files on a hub."""

    def listed(self, revision: str | None = None) -> Listed | None:
        """What there is; None where there is no such revision."""

    def get(self, listed: Listed, files: Sequence[str] | None, folder: Path | None, progress: bool) -> Path:
        """Bring files (None: all that a whole one is made of) here; the folder that they are in now."""

    def space(self, listed: Listed, files: Sequence[str], folder: Path | None) -> tuple[Path, int]:
        """Where these files would go, and how many bytes are still to come there, as far as sizes are told."""


def failure(error: BaseException) -> str:
    """What a client's error says, as a clause.

    Without the queries of addresses: one may hold a signature that opens a file to whoever reads a log.
    """
    lines = str(error).strip().splitlines()
    return f"failed ({re.sub('[?][^ ]+', '', lines[0])[:200] if lines else type(error).__name__})"


def stopped(reference: str, why: str) -> InputError:
    """A download that did not come to its end; `why` goes on from there, as a clause."""
    return InputError(
        f"the download stopped: {why}",
        where=reference,
        remedy="run the same again; it goes on with what is missing",
    )


def cannot_write(reference: str, folder: Path | None, error: OSError) -> WorkError:
    """A folder (None: the cache) that does not take the files."""
    return WorkError(
        f"{folder or 'the cache'} cannot be written to: {error.strerror or error}",
        where=reference,
        remedy="see to the folder's permissions, or name another",
    )

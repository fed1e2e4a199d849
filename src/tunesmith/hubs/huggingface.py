"""Repositories of the Hugging Face hub, through its own client; offline, what is in the client's cache."""

from __future__ import annotations

import glob
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tunesmith.errors import InputError, no_room_is_a_work_error
from tunesmith.hubs.repository import Cached, Kind, Listed, cannot_write, failure, stopped
from tunesmith.rundir import FREE_AND_REPEAT, write_json

log = logging.getLogger("tunesmith")

_TIMEOUT = 10.0  # seconds without an answer


class HuggingFace:
    """A repository.

    Args:
        name: owner/name.
        reference: how the user named it, which is where errors say they happened.
        cache: the cache folder; None: the client's own.
    """

    def __init__(self, name: str, reference: str, kind: Kind, cache: Path | None = None) -> None:
        self.name, self.reference, self.kind = name, reference, kind
        self._root = cache or cache_folder()
        # The client reads it once, as it is imported; here it counts at the time of the call.
        self._endpoint = os.environ.get("HF_ENDPOINT") or None

    def listed(self, revision: str | None = None) -> Listed | None:
        """The files at a revision (None: the main branch), as they are now; None where there is no such revision.

        Raises:
            InputError: there is no such repository, or neither the hub nor the cache can say.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            with self._told():
                info = HfApi(endpoint=self._endpoint).repo_info(
                    self.name,
                    repo_type=self.kind.type,
                    revision=revision,
                    timeout=_TIMEOUT,
                    # Of a model each file's size is asked for; of a data set with its many files it would take long.
                    files_metadata=self.kind.type == "model",
                )
        except RevisionNotFoundError:
            return None
        except _Silent as silent:
            return self._cached(revision or "main", silent.reason)
        siblings = info.siblings or ()
        listed = Listed(
            info.sha,
            tuple(sibling.rfilename for sibling in siblings),
            branch=revision or "main",
            commit=info.sha,
            sizes={sibling.rfilename: sibling.size for sibling in siblings if sibling.size is not None},
        )
        self._remember(revision or "main", listed)
        return listed

    def get(self, listed: Listed, files: Sequence[str] | None, folder: Path | None, progress: bool) -> Path:
        """Files of that state (None: all that a whole one is made of), from the cache where they are there.

        Raises:
            InputError: the repository is gated, or the hub is silent and not all is there.
            WorkError: they cannot be written.
        """
        from huggingface_hub import snapshot_download

        if listed.offline and folder is None:
            return self._from_cache(listed, files or ())
        try:
            with (
                self._told(),
                _bars(progress),
                no_room_is_a_work_error(self.reference, "free some disk space and run the same again"),
            ):
                root = snapshot_download(
                    self.name,
                    repo_type=self.kind.type,
                    revision=listed.revision,
                    cache_dir=self._root,
                    local_dir=folder,
                    allow_patterns=list(self.kind.everything)
                    if files is None
                    else [glob.escape(file) for file in files],
                    endpoint=self._endpoint,
                    etag_timeout=_TIMEOUT,
                    local_files_only=listed.offline is not None,
                )
        except _Silent as silent:
            if listed.offline:
                raise self._not_there(listed.offline) from None
            raise stopped(self.reference, f"the hub {silent.reason}") from None
        except OSError as error:
            raise cannot_write(self.reference, folder, error) from error
        if folder is None:
            self._point(listed)
        return Path(root)

    def _from_cache(self, listed: Listed, files: Sequence[str]) -> Path:
        root = self._cache / "snapshots" / listed.revision
        missing = [file for file in files if not (root / file).is_file()]
        if missing or not root.is_dir():
            raise self._not_there(str(listed.offline), missing)
        return root

    def _point(self, listed: Listed) -> None:
        """Let the branch or tag lead to the commit, as the client does, so that other tools find it offline."""
        note = self._cache / "refs" / (listed.branch or listed.revision)
        if listed.branch not in (None, listed.revision) and os.access(self._cache, os.W_OK):
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(listed.revision, "utf-8")

    def space(self, listed: Listed, files: Sequence[str], folder: Path | None) -> tuple[Path, int]:
        """Where these files would go, and how many bytes are still to come there, as far as sizes are told."""
        there = self._cache / "snapshots" / listed.revision if folder is None else folder
        begun = self._cache / "blobs" if folder is None else folder / ".cache"
        missing = sum(listed.sizes.get(file, 0) for file in files if not (there / file).is_file())
        half = sum(path.stat().st_size for path in begun.rglob("*.incomplete")) if begun.is_dir() else 0
        return self._root if folder is None else folder, max(missing - half, 0)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The client's errors in the user's words; `_Silent` where the hub gave no answer."""
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        # The client changed its HTTP library once; this is the base of that library's errors in all versions.
        http_error: Any = HfHubHTTPError.__bases__[0]
        what = self.kind.words
        try:
            yield
        except GatedRepoError:
            raise InputError(
                f"the hub holds {self.name} behind terms that you have not accepted, or you are not logged in",
                where=self.reference,
                remedy=f"accept them on the {what}'s page and run `hf auth login`",
            ) from None
        except RevisionNotFoundError:
            raise
        except RepositoryNotFoundError:
            raise InputError(
                f"the hub has no {what} {self.name}, or it is private and you are not logged in",
                where=self.reference,
                remedy=f"check the spelling; for a private {what} run `hf auth login`",
            ) from None
        except HFValidationError:
            raise InputError(f"{self.name!r} is no name of a {what}", where=self.reference) from None
        except (http_error, ConnectionError, FileNotFoundError, TimeoutError) as error:
            raise _Silent(_why(error)) from None

    def _cached(self, revision: str, reason: str) -> Listed | None:
        """The newest state that the cache knows of, its files as they were listed then, or as they lie there."""
        remembered = self._memory(revision)
        if remembered.is_file():
            try:
                value = json.loads(remembered.read_text("utf-8"))
                commit = str(value["revision"])
                return Listed(commit, tuple(map(str, value["files"])), reason, commit=commit)
            except (ValueError, KeyError, TypeError):
                pass  # a note of ours that was damaged is no loss: the files themselves can be looked at
        state = self._cache / "refs" / revision
        if state.is_file():
            commit = state.read_text("utf-8").strip()
        elif (self._cache / "snapshots" / revision).is_dir():
            commit = revision
        elif self.kind.type == "dataset" and revision != "main":
            return None
        else:
            raise self._not_there(reason)
        root = self._cache / "snapshots" / commit
        files = tuple(path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file())
        if not files:
            raise self._not_there(reason)
        return Listed(commit, files, reason, known=False, commit=commit)

    def _remember(self, revision: str, listed: Listed) -> None:
        """Note what there is, so that offline a half-fetched repository is not taken for a whole one."""
        note = self._memory(revision)
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # a cache that is read-only serves all the same
            return
        if os.access(note.parent, os.W_OK):
            write_json(note, {"revision": listed.revision, "files": listed.files}, remedy=FREE_AND_REPEAT)

    @property
    def _cache(self) -> Path:
        return self._root / f"{self.kind.type}s--{self.name.replace('/', '--')}"

    def _memory(self, revision: str) -> Path:
        return self._cache / "tunesmith" / f"{quote(revision, safe='')}.json"

    def _not_there(self, reason: str, missing: Sequence[str] = ()) -> InputError:
        lacking = f" ({missing[0]} is missing)" if missing else ""
        return InputError(
            f"the {self.kind.words} {self.name} cannot be had: {self.kind.tried}"
            f"{'not all of it is' if missing else 'nothing'} in the cache {self._cache}{lacking}, and the hub {reason}",
            remedy=f"go online once, or {self.kind.instead}",
        )


def cache_folder() -> Path:
    """Where the client keeps what it fetches."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def cached(kind: Kind, cache: Path | None = None) -> list[Cached]:
    """The states of repositories of that kind in a cache (None: the client's own), by name."""
    found = []
    for repository in sorted((cache or cache_folder()).glob(f"{kind.type}s--*--*")):
        refs = repository / "refs"
        known_by: dict[str, list[str]] = {}
        notes = [path for path in refs.rglob("*") if path.is_file()] if refs.is_dir() else []
        for path in sorted(notes):
            known_by.setdefault(path.read_text("utf-8").strip(), []).append(path.relative_to(refs).as_posix())
        name = repository.name.removeprefix(f"{kind.type}s--").replace("--", "/", 1)
        for snapshot in sorted((repository / "snapshots").glob("*")):
            found.append(Cached(name, snapshot, tuple(known_by.get(snapshot.name, ())), snapshot.name))
    return found


class _Silent(Exception):
    """The hub gave no answer that helps."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _why(error: BaseException) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "is not asked (HF_HUB_OFFLINE is set)"
    return failure(error)


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """The client's progress bars, or none; as they were afterwards."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hidden = are_progress_bars_disabled()
    if shown == hidden:
        (enable_progress_bars if shown else disable_progress_bars)()
    try:
        yield
    finally:
        if shown == hidden:
            (disable_progress_bars if hidden else enable_progress_bars)()

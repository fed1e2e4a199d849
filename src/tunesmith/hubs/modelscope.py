"""Repositories of ModelScope, through its own client (the extra `modelscope`); offline, what is in its cache."""

from __future__ import annotations

import glob
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from pathlib import Path

from tunesmith import optional
from tunesmith.errors import InputError, no_room_is_a_work_error
from tunesmith.hubs.repository import Cached, Kind, Listed, cannot_write, failure, stopped
from tunesmith.rundir import FREE_AND_REPEAT, write_json

_BRANCH = "master"
_A_PAGE = 200
# Beside the files: what they were listed as. ModelScope's client would hash gigabytes at each start to know.
_NOTE = ".tunesmith.json"


class ModelScope:
    """A repository.

    Args:
        name: owner/name.
        reference: how the user named it, which is where errors say they happened.
        cache: the cache folder; None: the client's own.
    """

    def __init__(self, name: str, reference: str, kind: Kind, cache: Path | None = None) -> None:
        self.name, self.reference, self.kind, self._root = name, reference, kind, cache
        self._digests: dict[str, str] = {}  # of the files listed, where ModelScope tells them
        optional.require("modelscope", wanted_by=f"{reference} (ModelScope)")
        for library in ("modelscope", "modelscope_hub"):  # each call would be told on the console
            logging.getLogger(library).setLevel(logging.CRITICAL)

    def listed(self, revision: str | None = None) -> Listed | None:
        """The files at a revision (None: the main branch), as they are now; offline, those in the client's cache.

        Of data sets only the main branch is known. ModelScope's client tells no commit.

        Raises:
            InputError: there is no such repository, or ModelScope does not answer and nothing is in the cache.
        """
        try:
            with self._told(revision):
                if self.kind.type == "model":
                    return self._model_files(revision or _BRANCH)
                return None if revision is not None else Listed(_BRANCH, tuple(self._data_files()))
        except _Failed as failed:
            return self._cached(revision or _BRANCH, failed.reason)

    def _model_files(self, revision: str) -> Listed:
        from modelscope_hub import HubApi

        entries = [
            entry
            for entry in HubApi().list_repo_files(self.name, "model", revision=revision)
            if not entry.is_dir
        ]
        self._digests = {entry.path: str(entry.sha256) for entry in entries if entry.sha256}
        return Listed(
            revision,
            tuple(entry.path for entry in entries),
            branch=revision,
            sizes={entry.path: entry.size for entry in entries},
        )

    def _data_files(self) -> Iterator[str]:
        from modelscope.hub.api import HubApi

        api, page = HubApi(), 1
        while True:
            found = api.get_dataset_files(self.name, revision=_BRANCH, page_number=page, page_size=_A_PAGE)
            yield from (entry["Path"] for entry in found if entry.get("Type") != "tree")
            if len(found) < _A_PAGE:
                return
            page += 1

    def get(self, listed: Listed, files: Sequence[str] | None, folder: Path | None, progress: bool) -> Path:
        """Files of that state (None: all that a whole one is made of), from the cache where they are there.

        Raises:
            InputError: ModelScope does not answer, or refuses, and not all is there.
            WorkError: they cannot be written.
        """
        if files and not listed.offline and self._are_there(listed, files, folder):
            return self._place(listed, folder)
        patterns = self.kind.everything if files is None else [glob.escape(file) for file in files]
        try:
            with no_room_is_a_work_error(self.reference, "free some disk space and run the same again"):
                root = self._snapshot(
                    listed.revision, patterns, folder, progress, offline=listed.offline is not None
                )
                if self._digests:
                    write_json(root / _NOTE, self._digests, remedy=FREE_AND_REPEAT)
                return root
        except _Failed as failed:
            if listed.offline:
                raise self._not_there(listed.offline) from None
            raise stopped(self.reference, f"ModelScope {failed.reason}") from None
        except OSError as error:
            raise cannot_write(self.reference, folder, error) from error

    def space(self, listed: Listed, files: Sequence[str], folder: Path | None) -> tuple[Path, int]:
        """Where these files would go, and how many bytes are still to come there, as far as sizes are told."""
        root = self._place(listed, folder)
        missing = sum(listed.sizes.get(file, 0) for file in files if not (root / file).is_file())
        half = sum(path.stat().st_size for path in root.rglob("*.incomplete"))
        return root, max(missing - half, 0)

    def _are_there(self, listed: Listed, files: Sequence[str], folder: Path | None) -> bool:
        """Whether all of them lie there as they are listed now."""
        root = self._place(listed, folder)
        try:
            noted = json.loads((root / _NOTE).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return all(
            file in self._digests
            and noted.get(file) == self._digests[file]
            and (root / file).is_file()
            and (root / file).stat().st_size == listed.sizes[file]
            for file in files
        )

    def _place(self, listed: Listed, folder: Path | None) -> Path:
        """The folder that the client lays the files in."""
        try:
            return folder or self._snapshot(listed.revision, None, None, False, offline=True)
        except (_Failed, InputError):
            repository = f"{self.kind.type}s/{self.name.replace('/', '--')}"
            return (self._root or cache_folder()) / repository / "snapshots" / listed.revision

    def _snapshot(
        self,
        revision: str,
        patterns: Sequence[str] | None,
        folder: Path | None,
        progress: bool,
        *,
        offline: bool,
    ) -> Path:
        from modelscope.hub.snapshot_download import snapshot_download

        with self._told(revision), _bars(progress):
            root = snapshot_download(
                repo_id=self.name,
                repo_type=self.kind.type,
                revision=revision,
                cache_dir=None if self._root is None else str(self._root),
                local_dir=None if folder is None else str(folder),
                allow_patterns=None if patterns is None else list(patterns),
                local_files_only=offline,
            )
        return Path(root)

    def _cached(self, revision: str, reason: str) -> Listed:
        try:
            root = self._snapshot(revision, None, None, False, offline=True)
        except (_Failed, InputError):
            raise self._not_there(reason) from None
        files = tuple(path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file())
        if not files:
            raise self._not_there(reason)
        return Listed(revision, files, reason, known=False, branch=revision)

    def _not_there(self, reason: str) -> InputError:
        return InputError(
            f"the {self.kind.words} {self.name} cannot be had: {self.kind.tried}nothing in the cache "
            f"{self._root or cache_folder()}, and ModelScope {reason}",
            remedy=f"go online once, or {self.kind.instead}",
        )

    @contextmanager
    def _told(self, revision: str | None) -> Iterator[None]:
        """The client's errors in the user's words; `_Failed` where there was no answer that helps."""
        import requests
        from modelscope.hub import errors

        # One base class in newer versions of the client, none in older ones.
        named = [value for value in vars(errors).values() if isinstance(value, type)]
        refusals: tuple[type[Exception], ...] = (
            *(value for value in named if issubclass(value, Exception)),
            *(requests.RequestException, ConnectionError, FileNotFoundError, ValueError),
        )
        what = self.kind.words
        try:
            yield
        except refusals as error:
            # Several files may have failed, each for a reason of its own.
            causes = [error, *dict(getattr(error, "failed_files", None) or {}).values()]
            status = next(filter(None, (_status(cause) for cause in causes)), None)
            if isinstance(error, errors.NotExistError) or status == 404:
                at = "" if revision in (None, _BRANCH) else f" with a revision {revision!r}"
                raise InputError(
                    f"ModelScope has no {what} {self.name}{at}, or it is private and you are not logged in",
                    where=self.reference,
                    remedy=f"check the spelling; for a private {what} run `modelscope login`",
                ) from None
            if status in (401, 403):
                raise InputError(
                    f"ModelScope does not hand out {self.name}: you are not logged in, or have not accepted its terms",
                    where=self.reference,
                    remedy=f"accept them on the {what}'s page and run `modelscope login`",
                ) from None
            raise _Failed(failure(error)) from None


def cache_folder() -> Path:
    """Where the client keeps what it fetches."""
    return Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope").expanduser()


def cached(kind: Kind, cache: Path | None = None) -> list[Cached]:
    """The states of repositories of that kind in a cache (None: the client's own), by name."""
    folders = (cache or cache_folder()).glob(f"{kind.type}s/*--*/snapshots/*")
    return [
        Cached(folder.parent.parent.name.replace("--", "/", 1), folder, (folder.name,), None)
        for folder in sorted(folders)
    ]


def _status(error: object) -> int | None:
    """The HTTP status behind an error of the client."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


class _Failed(Exception):
    """ModelScope gave no answer that helps."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _bars(shown: bool) -> AbstractContextManager[object]:
    """The client's progress bars, which go to standard error, or none."""
    return nullcontext() if shown else redirect_stderr(io.StringIO())

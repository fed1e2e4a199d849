"""Data sets of ModelScope, through its own client (the extra `modelscope`); offline, what is in its cache."""

from __future__ import annotations

import glob
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from pathlib import Path

from tunesmith import optional
from tunesmith.data.readers.hub import Listed
from tunesmith.data.readers.hub_files import EVERYTHING
from tunesmith.errors import InputError, WorkError, no_room_is_a_work_error

_BRANCH = "master"
_A_PAGE = 200

log = logging.getLogger("tunesmith")


class ModelScope:
    """A data-set repository."""

    def __init__(self, name: str, reference: str) -> None:
        self.name, self.reference = name, reference
        optional.require("modelscope", wanted_by=f"{reference} (ModelScope)")
        for library in ("modelscope", "modelscope_hub"):  # each call would be told on the console
            logging.getLogger(library).setLevel(logging.CRITICAL)

    def listed(self, revision: str | None = None) -> Listed | None:
        """The files at the newest state; offline, those in the client's cache. Only one branch is known.

        Raises:
            InputError: there is no such data set, or ModelScope does not answer and nothing is in the cache.
        """
        if revision is not None:
            return None
        from modelscope.hub.api import HubApi

        api = HubApi()
        files: list[str] = []
        page = 1
        try:
            with self._told():
                while True:
                    found = api.get_dataset_files(
                        self.name, revision=_BRANCH, page_number=page, page_size=_A_PAGE
                    )
                    files += [entry["Path"] for entry in found if entry.get("Type") != "tree"]
                    if len(found) < _A_PAGE:
                        return Listed(_BRANCH, tuple(files))
                    page += 1
        except _Failed as failed:
            return self._cached(failed.reason)

    def get(self, listed: Listed, files: Sequence[str] | None, folder: Path | None, progress: bool) -> Path:
        """Files of that state (None: all data, pictures and papers), from the cache where they are there.

        Raises:
            InputError: ModelScope does not answer, or refuses, and not all is there.
        """
        patterns = EVERYTHING if files is None else [glob.escape(file) for file in files]
        try:
            with no_room_is_a_work_error(self.reference, "free some disk space and run the same again"):
                return self._snapshot(patterns, folder, progress, offline=listed.offline is not None)
        except _Failed as failed:
            if listed.offline:
                raise self._not_there(listed.offline) from None
            raise InputError(
                f"the download stopped: ModelScope {failed.reason}",
                where=self.reference,
                remedy="run the same again; it goes on with what is missing",
            ) from None
        except OSError as error:
            raise WorkError(
                f"{folder or 'the cache'} cannot be written to: {error.strerror or error}",
                where=self.reference,
                remedy="see to the folder's permissions, or name another",
            ) from error

    def _snapshot(
        self, patterns: Sequence[str] | None, folder: Path | None, progress: bool, *, offline: bool
    ) -> Path:
        from modelscope.hub.snapshot_download import snapshot_download

        with self._told(), _bars(progress):
            root = snapshot_download(
                repo_id=self.name,
                repo_type="dataset",
                revision=_BRANCH,
                local_dir=None if folder is None else str(folder),
                allow_patterns=None if patterns is None else list(patterns),
                local_files_only=offline,
            )
        return Path(root)

    def _cached(self, reason: str) -> Listed:
        try:
            root = self._snapshot(None, None, False, offline=True)
        except (_Failed, InputError):
            raise self._not_there(reason) from None
        files = tuple(path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file())
        if not files:
            raise self._not_there(reason)
        log.warning(
            "%s: taken as it lies in the cache (ModelScope %s); whether it is whole cannot be told offline",
            self.reference,
            reason,
        )
        return Listed(_BRANCH, files, reason)

    def _not_there(self, reason: str) -> InputError:
        return InputError(
            f"the data set {self.name} cannot be had: it is not in the client's cache, and ModelScope {reason}",
            where=self.reference,
            remedy="go online once, or name files on this machine",
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The client's errors in the user's words; `_Failed` where there was no answer that helps."""
        import requests
        from modelscope.hub import errors

        # One base class in newer versions of the client, none in older ones.
        named = [value for value in vars(errors).values() if isinstance(value, type)]
        refusals: tuple[type[Exception], ...] = (
            *(value for value in named if issubclass(value, Exception)),
            *(requests.RequestException, ConnectionError, FileNotFoundError, ValueError),
        )
        try:
            yield
        except refusals as error:
            # Several files may have failed, each for a reason of its own.
            causes = [error, *dict(getattr(error, "failed_files", None) or {}).values()]
            status = next(filter(None, (_status(cause) for cause in causes)), None)
            if isinstance(error, errors.NotExistError) or status == 404:
                raise InputError(
                    f"ModelScope has no data set {self.name}, or it is private and you are not logged in",
                    where=self.reference,
                    remedy="check the spelling; for a private data set run `modelscope login`",
                ) from None
            if status in (401, 403):
                raise InputError(
                    f"ModelScope does not hand out {self.name}: you are not logged in, or have not accepted its terms",
                    where=self.reference,
                    remedy="accept them on the data set's page and run `modelscope login`",
                ) from None
            lines = str(error).strip().splitlines()
            raise _Failed(f"failed ({lines[0][:200] if lines else type(error).__name__})") from None


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

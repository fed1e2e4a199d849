"""Data sets of the Hugging Face hub, through its own client; offline, what is in the client's cache."""

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

from tunesmith.data.readers.hub import Listed
from tunesmith.data.readers.hub_files import EVERYTHING
from tunesmith.errors import InputError, WorkError, no_room_is_a_work_error
from tunesmith.rundir import FREE_AND_REPEAT, write_json

log = logging.getLogger("tunesmith")

_TIMEOUT = 10.0  # seconds without an answer


class HuggingFace:
    """A data-set repository."""

    def __init__(self, name: str, reference: str) -> None:
        self.name, self.reference = name, reference
        # The client reads it once, as it is imported; here it counts at the time of the call.
        self._endpoint = os.environ.get("HF_ENDPOINT") or None

    def listed(self, revision: str | None = None) -> Listed | None:
        """The files at a branch's newest state; None where there is no such branch.

        Raises:
            InputError: there is no such data set, or neither the hub nor the cache can say.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            with self._told():
                info = HfApi(endpoint=self._endpoint).dataset_info(
                    self.name, revision=revision, timeout=_TIMEOUT
                )
        except RevisionNotFoundError:
            return None
        except _Silent as silent:
            return self._cached(revision or "main", silent.reason)
        listed = Listed(info.sha, tuple(sibling.rfilename for sibling in info.siblings or ()))
        self._remember(revision or "main", listed)
        return listed

    def get(self, listed: Listed, files: Sequence[str] | None, folder: Path | None, progress: bool) -> Path:
        """Files of that state (None: all data, pictures and papers), from the cache where they are there.

        Raises:
            InputError: the data set is gated, or the hub is silent and not all is there.
        """
        from huggingface_hub import snapshot_download

        try:
            with (
                self._told(),
                _bars(progress),
                no_room_is_a_work_error(self.reference, "free some disk space and run the same again"),
            ):
                root = snapshot_download(
                    self.name,
                    repo_type="dataset",
                    revision=listed.revision,
                    local_dir=folder,
                    allow_patterns=EVERYTHING if files is None else [glob.escape(file) for file in files],
                    endpoint=self._endpoint,
                    etag_timeout=_TIMEOUT,
                    local_files_only=listed.offline is not None,
                )
        except _Silent as silent:
            if listed.offline:
                raise self._not_there(listed.offline) from None
            raise InputError(
                f"the download stopped: the hub {silent.reason}",
                where=self.reference,
                remedy="run the same again; it goes on with what is missing",
            ) from None
        except OSError as error:
            raise WorkError(
                f"{folder or 'the cache'} cannot be written to: {error.strerror or error}",
                where=self.reference,
                remedy="see to the folder's permissions, or name another",
            ) from error
        root = Path(root)
        if listed.offline and not all((root / file).is_file() for file in files or ()):
            raise self._not_there(listed.offline)
        return root

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
        try:
            yield
        except GatedRepoError:
            raise InputError(
                f"the hub holds {self.name} behind terms that you have not accepted, or you are not logged in",
                where=self.reference,
                remedy="accept them on the data set's page and run `hf auth login`",
            ) from None
        except RevisionNotFoundError:
            raise
        except RepositoryNotFoundError:
            raise InputError(
                f"the hub has no data set {self.name}, or it is private and you are not logged in",
                where=self.reference,
                remedy="check the spelling; for a private data set run `hf auth login`",
            ) from None
        except HFValidationError:
            raise InputError(f"{self.name!r} is no name of a data set", where=self.reference) from None
        except (http_error, ConnectionError, FileNotFoundError, TimeoutError) as error:
            raise _Silent(_why(error)) from None

    def _cached(self, revision: str, reason: str) -> Listed | None:
        """The newest state that the cache knows of, its files as they were listed then, or as they lie there."""
        state = self._cache / "refs" / revision
        remembered = self._memory(revision)
        if remembered.is_file():
            try:
                value = json.loads(remembered.read_text("utf-8"))
                return Listed(str(value["revision"]), tuple(map(str, value["files"])), reason)
            except (ValueError, KeyError, TypeError):
                pass  # a note of ours that was damaged is no loss: the files themselves can be looked at
        if not state.is_file():
            if revision != "main":
                return None
            raise self._not_there(reason)
        commit = state.read_text("utf-8").strip()
        root = self._cache / "snapshots" / commit
        files = tuple(path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file())
        if not files:
            raise self._not_there(reason)
        log.warning(
            "%s: taken as it lies in the cache (the hub %s); whether it is whole cannot be told offline",
            self.reference,
            reason,
        )
        return Listed(commit, files, reason)

    def _remember(self, revision: str, listed: Listed) -> None:
        """Note what the data set consists of, so that offline a half-fetched one is not taken for a whole."""
        note = self._memory(revision)
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # a cache that is read-only serves all the same
            return
        if os.access(note.parent, os.W_OK):
            write_json(note, {"revision": listed.revision, "files": listed.files}, remedy=FREE_AND_REPEAT)

    @property
    def _cache(self) -> Path:
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE).expanduser() / f"datasets--{self.name.replace('/', '--')}"

    def _memory(self, revision: str) -> Path:
        return self._cache / "tunesmith" / f"{quote(revision, safe='')}.json"

    def _not_there(self, reason: str) -> InputError:
        return InputError(
            f"the data set {self.name} cannot be had: not all of it is in the cache ({self._cache}), and the hub "
            f"{reason}",
            where=self.reference,
            remedy="go online once, or name files on this machine",
        )


class _Silent(Exception):
    """The hub gave no answer that helps."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _why(error: BaseException) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "is not asked (HF_HUB_OFFLINE is set)"
    lines = str(error).strip().splitlines()
    return f"failed ({lines[0][:200] if lines else type(error).__name__})"


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

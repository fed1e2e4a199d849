"""Data sets of the Hugging Face hub and of ModelScope: a reference -> files on this machine.

Only data are fetched: no code of a repository is ever run. What is there already is not fetched again, and a download
that was cut off goes on where it stopped.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

from tunesmith.data.readers import hub_files
from tunesmith.data.readers.hub_files import Splits
from tunesmith.errors import InputError
from tunesmith.hubs.repository import Kind, Listed, Repository

log = logging.getLogger("tunesmith")

_REFERENCE = re.compile(
    r"(?P<hub>hf|ms):(?P<repository>[\w.-]+/[\w.-]+)"
    r"(?:/(?P<file>.+)|(?::(?P<subset>[^@:]+))?(?:@(?P<split>[^@:]+))?)"
)
DATA_SET = Kind("dataset", "data set", "name files on this machine", tuple(hub_files.EVERYTHING))
# Where the hub keeps what it converted from repositories that bring only code.
_CONVERTED = "refs/convert/parquet"


class Reference(NamedTuple):
    """`hf:owner/name[:subset][@split]` or `hf:owner/name/path`, and the same with `ms:`."""

    text: str
    hub: str
    repository: str
    file: str | None
    subset: str | None
    split: str | None


class Chosen(NamedTuple):
    """Which files a reference means: all splits of its subset, and what of the repository they were found in."""

    repository: Repository
    listed: Listed
    splits: Splits


class Downloaded(NamedTuple):
    """What is in the folder now: the data files a split, and what else came with a whole data set."""

    splits: dict[str, tuple[Path, ...]]
    others: tuple[Path, ...]


def is_reference(text: str) -> bool:
    """Whether this names a data set of a hub and not a path."""
    return text.startswith(("hf:", "ms:"))


def parse(reference: str) -> Reference:
    """Take a reference apart.

    Raises:
        InputError: it is none.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or ".." in reference.split("/"):
        raise InputError(
            f"{reference!r} names no data set of a hub",
            expected="hf:owner/name, hf:owner/name:subset@split or hf:owner/name/path/to/file (ms: for ModelScope)",
        )
    return Reference(reference, **match.groupdict())


def fetch(reference: str, *, folder: Path | None = None, progress: bool = False) -> tuple[Path, ...]:
    """The data files that a reference means, on this machine: in the hub's cache, or in `folder`.

    Without a split it is `train`, or the only one there is. Offline, files of the cache serve.

    Raises:
        InputError: there is no such data set, subset, split or file; it is gated; or it can't be had offline.
    """
    wanted = parse(reference)
    chosen = choose(wanted, *look_up(wanted))
    files = of_split(chosen, wanted)
    if wanted.file is None:
        others = [split for split in chosen.splits if chosen.splits[split] != files]
        log.info("%s: %d file(s), the first is %s%s", reference, len(files), files[0], f"; other splits: {', '.join(others)}" if others else "")  # fmt: skip
    root = chosen.repository.get(chosen.listed, files, folder, progress)
    return tuple(_there(root, file, reference) for file in files)


def download(reference: str, folder: Path, *, progress: bool = False) -> Downloaded:
    """Bring a data set into a folder: with a subset, a split or a path that much of it, else all of it.

    Raises:
        InputError: as `fetch`.
    """
    wanted = parse(reference)
    repository, listed = look_up(wanted)
    whole = not (wanted.subset or wanted.split or wanted.file)
    try:
        chosen = choose(wanted, repository, listed)
    except InputError:
        # A whole data set may hold several subsets; they all come, and the user says later which to train on.
        if not whole or not any(map(hub_files.is_data, listed.files)):
            raise
        chosen = Chosen(repository, listed, {})
    splits = chosen.splits if wanted.split is None else {wanted.split: of_split(chosen, wanted)}
    files = tuple(dict.fromkeys(file for paths in splits.values() for file in paths))
    root = repository.get(chosen.listed, None if whole else files, folder, progress)
    if whole:
        there = [file for file in chosen.listed.files if (root / file).is_file()]
        others = [file for file in there if file not in files]
    else:
        others = []
    return Downloaded(
        {split: tuple(_there(root, file, reference) for file in paths) for split, paths in splits.items()},
        tuple(root / file for file in others),
    )


def look_up(wanted: Reference) -> tuple[Repository, Listed]:
    """The repository and what is in it.

    Raises:
        InputError: there is no such data set, or it can't be had offline.
    """
    repository = _repository(wanted)
    listed = repository.listed()
    if listed is None:
        raise InputError(f"{wanted.repository} has no branch to read from", where=wanted.text)
    if not listed.known:
        log.warning(
            "%s: taken as it lies in the cache (%s %s); whether it is whole cannot be told offline",
            wanted.text,
            "ModelScope" if wanted.hub == "ms" else "the hub",
            listed.offline,
        )
    return repository, listed


def choose(wanted: Reference, repository: Repository, listed: Listed) -> Chosen:
    """Which files the reference means, a split.

    Raises:
        InputError: as `fetch`.
    """
    if wanted.file is not None:
        files = hub_files.named_files(listed.files, wanted.file, wanted.text)
        return Chosen(repository, listed, {"train": files})
    splits = hub_files.splits_of(listed.files, _configs(repository, listed), wanted.subset, wanted.text)
    if splits:
        return Chosen(repository, listed, splits)
    return _converted(repository, listed, wanted)


def of_split(chosen: Chosen, wanted: Reference) -> tuple[str, ...]:
    """The files of the reference's split.

    Raises:
        InputError: there is no such split, or not all of it is here and the hub can't be asked.
    """
    if wanted.file is not None:
        return chosen.splits["train"]
    files = hub_files.choose(chosen.splits, wanted.split, wanted.text)
    missing = hub_files.missing_shards(files)
    if missing:
        raise InputError(
            f"{len(missing)} of the split's files are missing, the first is {missing[0]}",
            where=wanted.text,
            remedy="go online once, so that the rest is fetched" if chosen.listed.offline else None,
        )
    return files


def _repository(wanted: Reference) -> Repository:
    if wanted.hub == "ms":
        from tunesmith.hubs.modelscope import ModelScope

        return ModelScope(wanted.repository, wanted.text, DATA_SET)
    from tunesmith.hubs.huggingface import HuggingFace

    return HuggingFace(wanted.repository, wanted.text, DATA_SET)


def _configs(repository: Repository, listed: Listed) -> list[hub_files.Config]:
    if "README.md" not in listed.files:
        return []
    readme = repository.get(listed, ["README.md"], None, False) / "README.md"
    return hub_files.configs_of(readme.read_text("utf-8", errors="replace")) if readme.is_file() else []


def _converted(repository: Repository, listed: Listed, wanted: Reference) -> Chosen:
    """What the hub made of a repository that brings no data file of its own."""
    code = [file for file in listed.files if file.endswith(".py")]
    converted = repository.listed(_CONVERTED) if code else None
    if converted is not None:
        splits = hub_files.splits_of(converted.files, [], wanted.subset, wanted.text)
        if splits:
            if hub_files.partly_converted(converted.files):
                log.warning("%s: the hub converted only the first part of this data set", wanted.text)
            return Chosen(repository, converted, splits)
    if code:
        raise InputError(
            f"the data set comes as a loading script ({code[0]}), and code of strangers is not run; "
            f"the hub's own conversion (its branch {_CONVERTED}) is not there either",
            where=wanted.text,
            remedy="run the script yourself, save its rows as JSON Lines, and name that file",
        )
    kinds = sorted({hub_files.kind_of_file(file) for file in listed.files} - {""})
    raise InputError(
        "the repository holds no data file" + (f", only {', '.join(kinds[:8])} files" if kinds else ""),
        where=wanted.text,
        expected=f"one of {', '.join((*hub_files.TABLES, *hub_files.PROSE))}, or these with .gz",
    )


def _there(root: Path, file: str, reference: str) -> Path:
    path = root / file
    if not path.is_file():
        raise InputError(f"the file {file} did not arrive", where=reference, remedy="run the same again")
    return path

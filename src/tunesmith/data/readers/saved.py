"""Folders that `datasets` saved: `save_to_disk` of a Dataset, or of a DatasetDict with a folder a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.config.words import nearest
from tunesmith.data.readers.file import decode_utf8, must_be_a_file, read_bytes
from tunesmith.data.readers.strict import BrokenJson, parse_value
from tunesmith.data.words import quoted
from tunesmith.errors import InputError

_SPLITS, _STATE = "dataset_dict.json", "state.json"
_DEFAULT = "train"


def is_saved(folder: Path) -> bool:
    """Whether the folder is one that `datasets` saved."""
    return (folder / _SPLITS).is_file() or (
        (folder / _STATE).is_file() and (folder / "dataset_info.json").is_file()
    )


def saved_files(folder: Path, split: str | None) -> tuple[Path, ...]:
    """The Arrow files of such a folder, in its own order; of its split `train`, unless another one is asked for.

    Raises:
        InputError: there is no such split, or the folder is not whole.
    """
    if (folder / _SPLITS).is_file():
        folder = folder / _split(folder, split)
    elif split is not None:
        raise InputError(
            f"there is no split {split!r}: the folder holds one set of rows and no splits",
            where=str(folder),
            remedy=f"leave @{split} out",
        )
    state = folder / _STATE
    listed = _read(state).get("_data_files")
    listed = listed if isinstance(listed, list) else []
    names = [entry.get("filename") for entry in listed if isinstance(entry, dict)]
    files = [folder / name for name in names if isinstance(name, str) and name == Path(name).name]
    if not files or len(files) != len(listed):
        raise InputError("the file does not list the folder's data files", where=str(state))
    for file in files:
        must_be_a_file(file)
    return tuple(files)


def _split(folder: Path, split: str | None) -> str:
    names = _read(folder / _SPLITS).get("splits")
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name == Path(name).name for name in names
    ):
        raise InputError("the file does not list the folder's splits", where=str(folder / _SPLITS))
    wanted = split or (names[0] if len(names) == 1 else _DEFAULT)
    if wanted in names:
        return wanted
    near = nearest(wanted, names)
    raise InputError(
        f"there is no split {wanted!r}",
        where=str(folder),
        expected=f"one of {quoted(names)}",
        remedy=f"name one behind the path, such as {folder.name}@{near or names[0]}" if names else None,
    )


def _read(path: Path) -> dict[str, Any]:
    must_be_a_file(path)
    text = decode_utf8(read_bytes(path), path).strip()
    try:
        value, end = parse_value(text, 0)
    except BrokenJson as error:
        raise InputError(f"the file is broken JSON: {error.message}", where=str(path)) from None
    if not isinstance(value, dict) or end != len(text):
        raise InputError(
            "the file is broken", where=str(path), expected="a JSON object, as `datasets` writes it"
        )
    return value

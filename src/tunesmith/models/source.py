"""From a model's name to a local folder: the embedded model, a folder, the Hugging Face hub, or ModelScope.

What lies in the folder is looked at as far as that is cheap: which files there are, and whether they are whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import struct
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.config.words import byte_size
from tunesmith.errors import InputError
from tunesmith.hubs import huggingface, modelscope
from tunesmith.hubs.repository import Kind, Listed, Repository

log = logging.getLogger("tunesmith")

BUILTIN = "builtin:"
PROCESSOR_FILE = "preprocessor_config.json"  # how a vision model's pictures are cut
MODEL = Kind("model", "model", "give a local folder; builtin:nano works without any network")
_BUILTIN_FOLDER = Path(__file__).parent / "builtin"
_ON_A_HUB = re.compile(r"(?:(?P<hub>hf|ms):)?(?P<repository>[\w.-]+/[\w.-]+)")

# What a model needs to load, beside its weights. Python files run only under model.trust_remote_code; the model card
# tells the licence.
_WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py", "README.md")
_WANTED_BELOW = ("*.jinja", "*.py")
_WEIGHTS = ".safetensors"
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_ANY_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d+)-of-(?P<count>\d+)\.safetensors")
# Weights in forms that are not read: pickles can run code, the others are made for other programs.
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack", ".mlx", ".pdparams")
_POINTER = b"version https://git-lfs"


class Located(NamedTuple):
    """A model on this machine, and what finds the very same one again."""

    folder: Path
    source: str  # as PEFT and others would name it
    revision: str | None  # the commit, where the hub tells one; else what was asked for
    commit: str | None
    passing: object = None  # what a folder that cannot be kept goes with


def builtin_names() -> list[str]:
    """The models that come with the package, as `builtin:NAME`."""
    folders = sorted(_BUILTIN_FOLDER.iterdir()) if _BUILTIN_FOLDER.is_dir() else []
    return [BUILTIN + folder.name for folder in folders if (folder / "config.json").exists()]


def resolve(
    source: str, *, revision: str | None = None, cache_dir: str | None = None, weights: bool = True
) -> Path:
    """The local folder of a model, as `locate` finds it."""
    return locate(source, revision=revision, cache_dir=cache_dir, weights=weights).folder


def locate(
    source: str,
    *,
    revision: str | None = None,
    cache_dir: str | None = None,
    weights: bool = True,
    output: Path | None = None,
) -> Located:
    """A model on this machine, which is whole as far as can be told without reading the weights.

    Args:
        source: `owner/name` or `hf:owner/name`, `ms:owner/name`, a folder, or `builtin:NAME`.
        revision: a branch, tag or commit of the hub's.
        cache_dir: where what a hub sends is kept; None: in the cache of the hub's own client.
        weights: False: configuration and tokenizer serve; of a hub's model nothing else is downloaded, and a folder may
            hold none.
        output: a plain folder to download to, instead of a cache.

    Raises:
        InputError: nothing of that name can be had, and what was tried; the disk has no room for it; or the folder
            lacks what a model needs.
        WorkError: what is downloaded cannot be written.
    """
    local = _folder_of(source)
    found = local or _from_hub(source, revision, cache_dir, weights, output)
    _check_is_a_model(found.folder)
    # Where none are needed, a hub's model may be without any; what a folder has of them must be whole all the same.
    if weights or (local and weight_files(found.folder)):
        _check_weights(found.folder)
    return found


def local_folder(source: str) -> Path | None:
    """The folder of an embedded model, or of a model folder of that name; None where the name is one of a hub's.

    Raises:
        InputError: there is nothing of that name, or it is no model.
    """
    if (found := _folder_of(source)) is None:
        return None
    _check_is_a_model(found.folder)
    return found.folder


def _folder_of(source: str) -> Located | None:
    """The embedded model, or a folder of that name; None where the name is one of a hub's."""
    if source.startswith(BUILTIN):
        if source not in builtin_names():
            raise InputError(
                f"there is no embedded model {source!r}", expected=f"one of {', '.join(builtin_names())}"
            )
        return Located(_BUILTIN_FOLDER / source.removeprefix(BUILTIN), source, None, None)
    path = Path(source).expanduser()
    if path.exists():
        if not path.is_dir():
            raise InputError(
                f"the model {source} is a file", expected="a folder with config.json and safetensors"
            )
        return Located(path, source, None, None)
    if source.startswith((".", "~", "/")) or _ON_A_HUB.fullmatch(source) is None:
        raise InputError(
            f"there is no folder {source}",
            remedy="name an existing folder, a hub id such as owner/name (ms:owner/name on ModelScope), or builtin:nano",
        )
    return None


# ---- what a folder holds


def _check_is_a_model(folder: Path) -> None:
    """Say what is missing before transformers says it at length."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise InputError(
                f"{folder} is an adapter, not a model",
                remedy="name the base model as model.source and this folder as adapter.start",
            )
        raise InputError(f"{folder} is no model folder: it has no config.json")
    for name in ("config.json", "tokenizer.json", "tokenizer.model"):
        _check_is_no_pointer(folder / name)


def _check_weights(folder: Path) -> None:
    files = weight_files(folder)
    if not files:
        raise _no_safetensors(str(folder), [path.name for path in folder.iterdir()])
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise InputError(
            f"{folder} is only half there: {len(missing)} of {len(files)} weight files {are} missing, "
            f"the first is {missing[0]}",
            remedy="download the model again; what is there is kept",
        )
    for file in files:
        _check_is_no_pointer(folder / file)
        _check_is_all_there(folder / file)


def weight_files(folder: Path) -> list[str]:
    """The files that transformers takes the weights from: one file, the shards of an index, or what else there is."""
    whole, index = folder / ("model" + _WEIGHTS), folder / _INDEX
    if whole.is_file():
        return [whole.name]
    if index.is_file():
        _check_is_no_pointer(index)
        return _files_of_index(index)
    there = sorted(path.name for path in folder.glob("*" + _WEIGHTS))
    shard = next(filter(None, map(_ANY_SHARD.fullmatch, there)), None)
    if shard is None:
        return there
    # Its name says how many there are, also where the index did not come along.
    width = len(shard["number"])
    numbers = range(1, int(shard["count"]) + 1)
    return [f"{shard['name']}-{number:0{width}d}-of-{shard['count']}{_WEIGHTS}" for number in numbers]


def _files_of_index(index: Path) -> list[str]:
    placed = read_model_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
        raise InputError(
            "this file of the model is damaged: its weight_map does not say which file each weight is in",
            where=str(index),
            remedy="download the model again",
        )
    return sorted(set(placed.values()))


def _no_safetensors(where: str, files: Sequence[str]) -> InputError:
    others = sorted(file for file in files if file.endswith(_OTHER_WEIGHTS) and "/" not in file)
    if not others:
        return InputError(
            f"{where} holds no *.safetensors weights",
            expected="model.safetensors, or its shards and their index",
            remedy="download the model again; what is there is kept",
        )
    pickled = others[0].endswith((".bin", ".pt", ".pth", ".ckpt"))
    why = ", which can run code as it is read" if pickled else ""
    return InputError(
        f"{where} holds its weights only as {others[0]}{why}",
        expected="*.safetensors",
        remedy="choose a repository or a revision with safetensors, or load the model with transformers where you trust "
        "it and save it again with save_pretrained",
    )


def _check_is_no_pointer(path: Path) -> None:
    """A clone without Git LFS leaves a note of three lines where a large file belongs."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise InputError(
                "this is a Git LFS pointer and not the file itself",
                where=str(path),
                remedy="run `git lfs pull` in that folder, or let tunesmith download the model by its hub id",
            )


def _check_is_all_there(path: Path) -> None:
    """Compare a weight file's length with what its header says.

    The layout is that of https://github.com/huggingface/safetensors#format: eight bytes with the header's length, the
    header in JSON, the weights.
    """
    there = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, there)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, MemoryError) as error:
        raise InputError(
            f"this weight file is damaged or cut short in its header ({there:,} bytes are there)",
            where=str(path),
            remedy="delete it and download the model again",
        ) from error
    wanted = 8 + length + max(ends, default=0)
    if there != wanted:
        raise InputError(
            f"this weight file {'is cut short' if there < wanted else 'is too long'}: {there:,} bytes are there",
            where=str(path),
            expected=f"{wanted:,} by its header",
            remedy="delete it and download the model again",
        )


def read_model_json(path: Path) -> dict[str, Any]:
    """One of the JSON files in a model's folder.

    Raises:
        InputError: it is damaged.
    """
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"this file of the model is damaged ({error})", where=str(path), remedy="download the model again"
        ) from error


# ---- from a hub


def _from_hub(
    source: str, revision: str | None, cache_dir: str | None, weights: bool, output: Path | None
) -> Located:
    """Download a model, or find it in the cache when the hub cannot be reached."""
    hub, name = source_parts(source)
    cache = Path(cache_dir).expanduser() if cache_dir else None
    client = huggingface.HuggingFace if hub == "hf" else modelscope.ModelScope
    kind = MODEL._replace(tried="there is no local folder of that name, ") if source == name else MODEL
    repository: Repository = client(name, source, kind, cache)
    listed = repository.listed(revision)
    if listed is None:
        raise InputError(
            f"{name} has no revision {revision!r}", where=source, expected="a branch, a tag or a commit"
        )
    files = files_wanted(listed.files, weights=weights)
    if listed.offline:
        log.info("%s: taken from the cache; the hub %s", source, listed.offline)
    else:
        if weights and not any(file.endswith(_WEIGHTS) for file in files):
            raise _no_safetensors(source, listed.files)
        _check_there_is_room(repository, listed, files, output, source)
    folder = repository.get(listed, files, output, sys.stderr.isatty())
    return Located(folder, name if hub == "hf" else source, listed.commit or revision, listed.commit)


def source_parts(source: str) -> tuple[str, str]:
    """The hub and the repository of `owner/name`, `hf:owner/name` or `ms:owner/name`."""
    match = _ON_A_HUB.fullmatch(source)
    if match is None:
        raise InputError(f"{source!r} names no model of a hub", expected="owner/name or ms:owner/name")
    return match["hub"] or "hf", match["repository"]


def files_wanted(files: Sequence[str], *, weights: bool) -> list[str]:
    """Which of a repository's files make the model; the weights once, where they are there in several layouts."""
    about = [
        file
        for file in files
        if any(fnmatch(file, pattern) for pattern in (_WANTED_BELOW if "/" in file else _WANTED))
    ]
    if not weights:
        return about
    top = [file for file in files if file.endswith(_WEIGHTS) and "/" not in file]
    named = [file for file in top if file == "model" + _WEIGHTS] or [f for f in top if _SHARD.fullmatch(f)]
    # Weights in their makers' own layout have such names.
    return about + (named or [file for file in top if not file.startswith("consolidated")])


def _check_there_is_room(
    repository: Repository, listed: Listed, files: Sequence[str], output: Path | None, source: str
) -> None:
    place, needed = repository.space(listed, files, output)
    if needed == 0:
        return
    place = place.absolute()
    existing = next(folder for folder in (place, *place.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"the disk with {place} is {byte_size(needed - free)} short: {byte_size(needed)} are to be downloaded and "
            f"{byte_size(free)} are free",
            where=source,
            remedy="free some space, or keep models elsewhere (model.cache_dir)",
        )
    log.info("%s: downloading %s to %s", source, byte_size(needed), place)


# ---- what is said of a model


def licence(folder: Path) -> str | None:
    """The licence named in the model card's header, if there is one; its own name where it is no common one."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    header = card.read_text("utf-8", errors="replace").splitlines()[:60]
    told = {key: value.strip() for key, _, value in (line.partition(":") for line in header)}
    name = told.get("license")
    return (told.get("license_name") or name) if name == "other" else name


def fingerprint(folder: Path) -> str:
    """A hash that tells two models apart: configuration, how pictures are cut, and each weight file's name, size and
    safetensors header.

    The weights themselves are not read: hashing 16 GB would take longer than loading them.
    """
    digest = hashlib.sha256()
    for config in (folder / "config.json", folder / PROCESSOR_FILE):
        if config.exists():
            digest.update(json.dumps(read_model_json(config), sort_keys=True).encode())
    for path in (folder / file for file in weight_files(folder) if (folder / file).is_file()):
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
    return digest.hexdigest()

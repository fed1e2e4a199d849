"""From a model's name to a local folder: the embedded model, a folder, or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import ssl
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from tunesmith.errors import InputError

BUILTIN = "builtin:"
_BUILTIN_FOLDER = Path(__file__).parent / "builtin"

# What a model needs to load. Pickled weights are not among it: they can run code. Python files run only under
# model.trust_remote_code; the model card tells the licence.
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py", "README.md"]
# The same weights once more, in their makers' own layout.
_UNWANTED = ["*/*.safetensors", "consolidated*.safetensors"]
_HUB_TIMEOUT = 10  # seconds without an answer


def builtin_names() -> list[str]:
    """The models that come with the package, as `builtin:NAME`."""
    folders = sorted(_BUILTIN_FOLDER.iterdir()) if _BUILTIN_FOLDER.is_dir() else []
    return [BUILTIN + folder.name for folder in folders if (folder / "config.json").exists()]


def resolve(
    source: str, *, revision: str | None = None, cache_dir: str | None = None, weights: bool = True
) -> Path:
    """The local folder of a model, which is whole as far as can be told without reading the weights.

    Args:
        weights: False: configuration and tokenizer serve, and of a hub's model nothing else is downloaded.

    Raises:
        InputError: nothing of that name can be had, and what was tried; or the folder lacks what a model needs.
    """
    folder = _folder_of(source, revision, cache_dir, weights)
    _check_is_a_model(folder)
    if weights:
        _check_weights(folder)
    return folder


def _folder_of(source: str, revision: str | None, cache_dir: str | None, weights: bool) -> Path:
    if source.startswith(BUILTIN):
        if source not in builtin_names():
            raise InputError(
                f"there is no embedded model {source!r}", expected=f"one of {', '.join(builtin_names())}"
            )
        return _BUILTIN_FOLDER / source.removeprefix(BUILTIN)
    path = Path(source).expanduser()
    if path.exists():
        if not path.is_dir():
            raise InputError(
                f"the model {source} is a file", expected="a folder with config.json and safetensors"
            )
        return path
    if source.startswith((".", "~", "/")) or source.count("/") != 1:
        raise InputError(
            f"there is no folder {source}",
            remedy="name an existing folder, a hub id such as owner/name, or builtin:nano",
        )
    return _from_hub(source, revision, cache_dir, weights)


def _check_is_a_model(folder: Path) -> None:
    """Say what is missing before transformers says it at length."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise InputError(
                f"{folder} is an adapter, not a model",
                remedy="name the base model as model.source and this folder as adapter.start",
            )
        raise InputError(f"{folder} is no model folder: it has no config.json")


def _check_weights(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_model_json(index).get("weight_map", {}).values()))
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing:
            raise InputError(
                f"{folder} is only half there: {len(missing)} of {len(shards)} weight files are missing, "
                f"the first is {missing[0]}",
                remedy="download the model again",
            )
    elif not list(folder.glob("*.safetensors")):
        raise InputError(f"{folder} holds no *.safetensors weights")


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


def _from_hub(source: str, revision: str | None, cache_dir: str | None, weights: bool) -> Path:
    """Download a model, or find it in the cache when the hub cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    silence = _why_the_hub_is_silent(source)
    try:
        folder = snapshot_download(
            source,
            revision=revision,
            cache_dir=cache_dir,
            allow_patterns=_WANTED,
            ignore_patterns=_UNWANTED if weights else ["*.safetensors"],
            etag_timeout=_HUB_TIMEOUT,
            local_files_only=silence is not None,
        )
    except GatedRepoError:
        raise InputError(
            f"the hub holds {source} behind a licence that you have not accepted, or you are not logged in",
            remedy="accept it on the model's page and run `hf auth login`",
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{source} has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"the hub has no model {source}, or it is private and you are not logged in",
            remedy="check the spelling; for a private model run `hf auth login`",
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"the model {source} cannot be had: no local folder of that name, nothing in the cache "
            f"({cache_dir or _default_cache()}), and the hub {silence or f'failed ({_first_line(error)})'}",
            remedy="go online once, or give a local folder; builtin:nano works without any network",
        ) from None
    return Path(folder)


def _why_the_hub_is_silent(source: str) -> str | None:
    """Why the hub cannot be asked; None if it answers, whatever it says.

    The hub's client waits forever for a first answer, which behind some firewalls never comes.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "is not asked (HF_HUB_OFFLINE is set)"
    request = urllib.request.Request(f"{constants.ENDPOINT}/api/models/{source}", method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_HUB_TIMEOUT).close()
    except HTTPError:
        return None
    except URLError as error:
        # Python without certificates of its own (macOS): the client brings some.
        return None if isinstance(error.reason, ssl.SSLError) else f"did not answer ({error.reason})"
    except (OSError, HTTPException, ValueError) as error:
        return f"did not answer ({_first_line(error)})"
    return None


def _default_cache() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def licence(folder: Path) -> str | None:
    """The licence named in the model card's header, if there is one."""
    card = folder / "README.md"
    if not card.exists():
        return None
    for line in card.read_text("utf-8", errors="replace").splitlines()[:40]:
        if line.startswith("license:"):
            return line.partition(":")[2].strip()
    return None


def fingerprint(folder: Path) -> str:
    """A hash that tells two models apart: configuration, and each weight file's name, size and safetensors header.

    The weights themselves are not read: hashing 16 GB would take longer than loading them.
    """
    digest = hashlib.sha256()
    config = folder / "config.json"
    if config.exists():
        digest.update(json.dumps(read_model_json(config), sort_keys=True).encode())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
    return digest.hexdigest()

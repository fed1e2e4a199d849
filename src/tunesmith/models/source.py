"""From a model's name to a local folder: the embedded model, a folder, or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tunesmith.errors import InputError

BUILTIN = "builtin:"
_BUILTIN_FOLDER = Path(__file__).parent / "builtin"

# What a model needs to load. Pickled weights are not among it: they can run code.
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
_HUB_TIMEOUT = 10  # seconds without an answer


def builtin_names() -> list[str]:
    """The models that come with the package, as `builtin:NAME`."""
    folders = sorted(_BUILTIN_FOLDER.iterdir()) if _BUILTIN_FOLDER.is_dir() else []
    return [BUILTIN + folder.name for folder in folders if (folder / "config.json").exists()]


def resolve(source: str, *, revision: str | None = None, cache_dir: str | None = None) -> Path:
    """The local folder of a model.

    Raises:
        InputError: nothing of that name can be had; says what was tried.
    """
    if source.startswith(BUILTIN):
        folder = _BUILTIN_FOLDER / source.removeprefix(BUILTIN)
        if source not in builtin_names():
            raise InputError(
                f"there is no embedded model {source!r}", expected=f"one of {', '.join(builtin_names())}"
            )
        return folder
    path = Path(source).expanduser()
    if path.exists():
        if not path.is_dir():
            raise InputError(
                f"the model {source} is a file", expected="a folder with config.json and safetensors"
            )
        return path
    if source.startswith((".", "~", "/")) or source.count("/") != 1:
        raise InputError(
            f"there is no model folder {source}",
            remedy="name an existing folder, a hub id such as owner/name, or builtin:nano",
        )
    return _from_hub(source, revision, cache_dir)


def _from_hub(source: str, revision: str | None, cache_dir: str | None) -> Path:
    """Download a model, or find it in the cache when the hub cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = snapshot_download(
            source, revision=revision, cache_dir=cache_dir, allow_patterns=_WANTED, etag_timeout=_HUB_TIMEOUT
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
            f"({cache_dir or _default_cache()}), and the hub did not answer ({_first_line(error)})",
            remedy="go online once, or give a local folder; builtin:nano works without any network",
        ) from None
    return Path(folder)


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
        digest.update(json.dumps(json.loads(config.read_text("utf-8")), sort_keys=True).encode())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
    return digest.hexdigest()

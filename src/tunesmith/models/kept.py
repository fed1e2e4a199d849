"""The models of hubs that lie in a cache folder, and how much of each is there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import InputError
from tunesmith.hubs import huggingface, modelscope
from tunesmith.models.source import MODEL, licence, resolve


class Kept(NamedTuple):
    """A model in a cache."""

    source: str  # as a recipe names it
    folder: Path
    revisions: tuple[str, ...]
    commit: str | None
    bytes: int
    licence: str | None
    missing: str | None  # what keeps it from being used; None: nothing


def kept_models(cache_dir: Path | None = None) -> list[Kept]:
    """What lies in a cache folder; None: in the folders of both hubs' clients."""
    found = [(one.name, one) for one in huggingface.cached(MODEL, cache_dir)]
    found += [(f"ms:{one.name}", one) for one in modelscope.cached(MODEL, cache_dir)]
    return [
        Kept(
            source,
            one.folder,
            one.revisions,
            one.commit,
            sum(path.stat().st_size for path in files_in(one.folder)),
            licence(one.folder),
            _missing(one.folder),
        )
        for source, one in found
        if one.folder.is_dir()
    ]


def files_in(folder: Path) -> list[Path]:
    """A model's files, without the notes (`.cache`) that the hubs' clients keep beside them."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts)]


def _missing(folder: Path) -> str | None:
    try:
        resolve(str(folder))
    except InputError as error:
        return error.found.replace(f"{folder} ", "")
    return None

"""`tunesmith models`: bring models here before they are needed, and see what is here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Download models; list those that are here.")

CacheDir = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir", help="The cache folder, as model.cache_dir; default: that of the hub's client."
    ),
]


@app.command()
def download(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="owner/name on the Hugging Face hub, or ms:owner/name on ModelScope."
        ),
    ],
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or a commit.")] = None,
    cache_dir: CacheDir = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A plain folder to download to, instead of a cache.")
    ] = None,
) -> None:
    """Download a model. What is there is not fetched again, and a download that was cut off goes on."""
    from tunesmith.cli.console import log_to_console
    from tunesmith.config.words import byte_size, counted
    from tunesmith.models.kept import files_in
    from tunesmith.models.source import licence, local_folder, locate, source_parts

    _must_be_a_folder(output)
    if (here := local_folder(source)) is not None:
        locate(source)  # says what of it is missing
        _say_it_is_here(source, here, output)
        return
    source_parts(source)
    _must_be_a_folder(cache_dir)
    with log_to_console():
        found = locate(
            source, revision=revision, cache_dir=str(cache_dir) if cache_dir else None, output=output
        )
    folder = output or found.folder
    files = files_in(folder)
    size = byte_size(sum(path.stat().st_size for path in files))
    facts = [counted(len(files), "file"), size, f"licence {licence(folder) or 'not stated'}"]
    if found.commit is not None:
        facts.append(f"commit {found.commit}")
    typer.echo(f"{source} -> {folder}: {', '.join(facts)}")
    keys = {"source": str(output.resolve()) if output else source}
    if output is None and found.revision is not None:
        keys["revision"] = found.revision
    if output is None and cache_dir is not None:
        keys["cache_dir"] = str(cache_dir.resolve())
    written = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())
    typer.echo(f"\nIn a recipe:\nmodel: {{{written}}}")


def _say_it_is_here(source: str, folder: Path, output: Path | None) -> None:
    from tunesmith.errors import InputError
    from tunesmith.models.source import builtin_names

    if output is not None:
        raise InputError(
            f"{source} is on this machine already, so nothing is downloaded to {output}",
            remedy=f"copy the folder {folder}, or use it where it is",
        )
    named = json.dumps(source if source in builtin_names() else str(folder.resolve()), ensure_ascii=False)
    typer.echo(f"{source} is here already: nothing to download\n\nIn a recipe:\nmodel: {{source: {named}}}")


@app.command("list")
def list_models(cache_dir: CacheDir = None) -> None:
    """List the models in the cache: name, size, revision, licence, and what is missing of those half there."""
    from tunesmith.config.words import byte_size
    from tunesmith.errors import InputError
    from tunesmith.hubs import huggingface, modelscope
    from tunesmith.models.kept import kept_models

    _must_be_a_folder(cache_dir)
    if cache_dir is not None and not cache_dir.exists():
        raise InputError(f"there is no folder {cache_dir}", where="--cache-dir")
    models = kept_models(cache_dir)
    folders = [cache_dir] if cache_dir else [huggingface.cache_folder(), modelscope.cache_folder()]
    where = " and ".join(str(folder) for folder in folders)
    if not models:
        typer.echo(f"no models in {where}\nBring one: tunesmith models download owner/name")
        return
    rows = [
        (
            model.source,
            byte_size(model.bytes),
            " ".join((*model.revisions, f"({model.commit[:12]})" if model.commit else "")).strip(),
            model.licence or "licence not stated",
            f"not usable: it {model.missing}" if model.missing else "",
        )
        for model in models
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for *cells, state in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        typer.echo(f"{line}  {state}".rstrip())
    typer.echo(f"\nin {where}")


def _must_be_a_folder(path: Path | None) -> None:
    from tunesmith.errors import InputError

    if path is not None and path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file", expected="a folder")

"""`tunesmith compare`: the same questions to several models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.talk import Device


def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="A B [C]...", help="Runs, model folders, adapters, builtin:nano or hub ids."),
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="A question, instead of the first run's; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    device: Device = "auto",
) -> None:
    """Ask several models the same questions and show answers and scores side by side."""
    from tunesmith.cli.console import console, quiet_libraries
    from tunesmith.cli.side_by_side import show
    from tunesmith.errors import InputError

    if len(models) < 2:
        raise InputError(
            "compare needs two models or more", remedy="such as: tunesmith compare builtin:nano runs/mine"
        )
    for name in models:
        if any(map(str.isspace, name.strip())) and not Path(name).exists():
            raise InputError(
                f"{name!r} is no model", remedy=f'a question goes behind --prompt: --prompt "{name}"'
            )
    quiet_libraries()
    from tunesmith.evaluation.compare import compare as run_compare

    found = run_compare(models, prompt, device=device)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=2))
        return
    show(console, found.titles, list(zip(found.prompts, found.answers, strict=True)), found.scores)

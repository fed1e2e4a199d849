"""`tunesmith recipes`: the recipes and chat templates that come along, and a copy of a recipe to make your own."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="List the recipes that come along; `recipes copy` brings one with its data.")


@app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from tunesmith.config.load import shipped, summary

    recipes = shipped()
    width = max(len(name) for name in recipes)
    for name, path in recipes.items():
        typer.echo(f"{name:<{width}}  {summary(path)}")
    typer.echo("\nTrain one: tunesmith train NAME — make one your own: tunesmith recipes copy NAME")


@app.command("templates")
def list_templates() -> None:
    """List the chat templates that `data.template` can name."""
    from tunesmith.data.templates import TEMPLATES

    width = max(len(name) for name in TEMPLATES)
    for name, template in TEMPLATES.items():
        extras = [what for what in ("tools", "thinking") if getattr(template, what)]
        typer.echo(f"{name:<{width}}  {template.about}" + (f" [{', '.join(extras)}]" if extras else ""))
    typer.echo("\nFor models that bring none: put `template: NAME` under data, or the path of a Jinja file.")


@app.command("copy")
def copy(
    name: Annotated[str, typer.Argument(help="A shipped recipe's name.")],
    folder: Annotated[str, typer.Argument(help="Where to; made if it is not there.")] = ".",
) -> None:
    """Copy a recipe and its sample data into a folder. Nothing is overwritten."""
    from tunesmith.config.load import copy_shipped

    written = copy_shipped(name, folder)
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(f"\nNext: tunesmith train {written[0]}")

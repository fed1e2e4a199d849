"""`tunesmith check`: everything that can be wrong before training, and exactly which tokens carry loss."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tunesmith.config.schema import Recipe
    from tunesmith.data.schema import Sample
    from tunesmith.stage import Prepared


def check(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shipped recipe's name.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as data.max_length=512."),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many samples to show token by token.")] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: what data.json will hold.")
    ] = False,
) -> None:
    """Validate recipe and data without loading weights; show the ledger and which tokens carry loss."""
    from tunesmith.cli.console import console, quiet_libraries
    from tunesmith.config.load import load

    loaded = load(recipe, overrides or ())
    quiet_libraries()
    from tunesmith.stage import prepare

    prepared = prepare(loaded)
    if as_json:
        typer.echo(json.dumps(prepared.data.ledgers, ensure_ascii=False, indent=2))
        return
    for note in prepared.data.notes:
        console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)
    for side, ledger in prepared.data.ledgers.items():
        if ledger is not None:
            _show_ledger(console, side, ledger)
    for sample in prepared.data.train[:show]:
        _show_sample(console, prepared, sample)
    _show_plan(console, loaded, prepared, shlex.join([recipe, *(overrides or ())]))


def _show_ledger(console: Console, side: str, ledger: dict[str, Any]) -> None:
    tokens = ledger["tokens"]
    console.print(
        f"[bold]{side}[/]: {ledger['rows_read']} rows read, {ledger['rows_kept']} kept, "
        f"{ledger['rows_dropped']} dropped; {tokens['total']:,} tokens, {tokens['with_loss']:,} with loss; "
        f"a sample has {tokens['median']:g} (median), {tokens['p95']:g} (95%), {tokens['max']} at most",
        highlight=False,
        soft_wrap=True,
    )
    for dropped in ledger["dropped"]:
        console.print(
            f"  dropped {dropped['place']}: {dropped['reason']}", style="yellow", markup=False, soft_wrap=True
        )


def _show_sample(console: Console, prepared: Prepared, sample: Sample) -> None:
    """The sample's text; what carries loss stands out, in colour or between ⟦ and ⟧."""
    console.print(
        f"\n[dim]{sample.place} — what carries loss is[/] ", end="", highlight=False, soft_wrap=True
    )
    console.print(_loss_text("marked", console.is_terminal), soft_wrap=True)
    for spans in prepared.renderer.spans(sample.tree):
        for span in spans:
            text = _loss_text(span.text, console.is_terminal) if span.weight else _plain(span.text)
            console.print(text, end="", soft_wrap=True)
    console.print()


def _loss_text(text: str, colours: bool) -> Text:
    from rich.text import Text

    return Text(text, style="bold green") if colours else Text(f"⟦{text}⟧")


def _plain(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="dim")


def _show_plan(console: Console, recipe: Recipe, prepared: Prepared, arguments: str) -> None:
    from tunesmith.train.order import Schedule

    train = recipe.train
    schedule = Schedule(
        len(prepared.data.train), recipe.samples_an_update, train.epochs, train.max_steps, train.seed
    )
    console.print(
        f"\n{len(prepared.data.train)} samples, {recipe.samples_an_update} an update: {schedule.total_steps} steps "
        f"({schedule.steps_an_epoch} an epoch). Nothing is wrong; start with: tunesmith train {arguments}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )

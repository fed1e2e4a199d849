"""`tunesmith check`: everything that can be wrong before training, and exactly which tokens carry loss."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

    from tunesmith.config.schema import Recipe
    from tunesmith.data.schema import Sample
    from tunesmith.report.tokens import Shown
    from tunesmith.stage import Prepared

_DROPPED_SHOWN = 20
_LABELS_SHOWN = 15
_SHOWN_HERE, _SHOWN_ON_PAGE = 2, 20
_BAR = 40  # characters of the longest bar
_INDENT = "  "


def check(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shipped recipe's name.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as data.max_length=512."),
    ] = None,
    show: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"How many samples to show token by token; default: {_SHOWN_HERE}, on a page {_SHOWN_ON_PAGE}.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the same as a page to look at in a browser.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: what data.json will hold.")
    ] = False,
) -> None:
    """Validate recipe and data without loading weights; show the ledger and which tokens carry loss."""
    from tunesmith.cli.console import quiet_libraries
    from tunesmith.config.load import load

    if html is not None:
        _must_be_writable(html)
    loaded = load(recipe, overrides or ())
    quiet_libraries()
    from tunesmith.stage import prepare

    prepared = prepare(loaded, weights=False)
    plan, command = _plan(loaded, prepared), shlex.join(["tunesmith", "train", recipe, *(overrides or ())])
    if html is not None:
        _write_page(html, loaded, prepared, _SHOWN_ON_PAGE if show is None else show, plan, command)
    if as_json:
        typer.echo(json.dumps(prepared.data.ledgers, ensure_ascii=False, indent=2))
        return
    warnings = _show_findings(prepared)
    _show_what_learns(loaded, prepared)
    for sample in prepared.data.train[: _SHOWN_HERE if show is None else show]:
        _show_sample(prepared, sample)
    if html is not None:
        _say(f"\nThe page is {html}", "dim")
    _say(f"\n{plan}. {_verdict(loaded, warnings, command)}")


def _verdict(recipe: Recipe, warnings: int, command: str) -> str:
    from tunesmith.train.device import Hardware, choose_device

    try:
        choose_device(recipe.model.device, Hardware.here())
    except InputError as error:  # it may be checked here for another machine
        return f"Recipe and data are right, but it cannot be trained on this machine: {error}"
    if not warnings:
        return f"Nothing is wrong; start with: {command}"
    above = "the warning above" if warnings == 1 else f"the {warnings} warnings above"
    return f"Nothing keeps it from training, but see {above}; start with: {command}"


def _must_be_writable(page: Path) -> None:
    """Raises an InputError before any work where the page cannot be written."""
    from tunesmith.data.writing import must_be_ordinary

    must_be_ordinary(page, where="--html")
    if not page.parent.is_dir():
        raise InputError(
            f"there is no folder {page.parent} to write {page.name} to",
            where="--html",
            remedy="make it first",
        )


def _plan(recipe: Recipe, prepared: Prepared) -> str:
    from tunesmith.config.method import updates_of
    from tunesmith.config.words import counted
    from tunesmith.train.order import Schedule

    samples = len(prepared.data.train)
    schedule = Schedule.of(recipe.train, samples, updates_of(recipe.method))
    return (
        f"{counted(samples, 'sample')}, {recipe.samples_an_update} an update: "
        f"{counted(schedule.total_steps, 'step')} ({schedule.steps_an_epoch} an epoch)"
    )


def _write_page(page: Path, recipe: Recipe, prepared: Prepared, show: int, plan: str, command: str) -> None:
    from tunesmith.report.check_page import page_of, write_check_page

    facts = [
        ("model", recipe.model.source),
        ("template", recipe.data.template or "the model's own"),
        ("method", recipe.method.name),
        ("max_length", str(recipe.data.max_length)),
    ]
    content = page_of(
        prepared.data,
        prepared.renderer,
        name=recipe.name,
        facts=facts,
        show=show,
        seed=recipe.train.seed,
        plan=plan,
        command=command,
    )
    write_check_page(page, content)


# --- what was found -----------------------------------------------------------------------------------------------


def _say(text: str, style: str = "") -> None:
    """A line as it is; what came from a file cannot move the cursor or colour the screen."""
    from rich.text import Text

    from tunesmith.cli.console import console
    from tunesmith.report.tokens import visible

    console.print(Text(visible(text), style=style), soft_wrap=True)


def _show_findings(prepared: Prepared) -> int:
    """What was found, the warnings last; how many these are."""
    from tunesmith.config.words import counted
    from tunesmith.report.check_page import FORMATS_SHOWN, formats_and_notes, warnings_of

    formats, notes = formats_and_notes(prepared.data)
    for file, format in formats[:FORMATS_SHOWN]:
        _say(f"{file}: format {format}", "dim")
    if len(formats) > FORMATS_SHOWN:
        _say(f"and {counted(len(formats) - FORMATS_SHOWN, 'more file')}", "dim")
    for note in notes:
        _say(note, "dim")
    for side, ledger in prepared.data.ledgers.items():
        if ledger is not None:
            _show_ledger(side, ledger)
    warnings = warnings_of(prepared.data)
    if warnings:
        _say("")
    for warning in warnings:
        _say(f"warning: {warning}", "yellow")
    return len(warnings)


def _show_what_learns(recipe: Recipe, prepared: Prepared) -> None:
    """What is trained of the model and what is not; nothing where that cannot be told without weights."""
    from tunesmith.methods import METHODS
    from tunesmith.models.outline import outline

    found = outline(
        prepared.model_folder,
        recipe.adapter,
        prepared.new_tokens,
        trust_remote_code=prepared.trust.model,
        scores=METHODS[recipe.method.name].scores,
    )
    if found is not None:
        _say("\nmodel:", "bold")
        for line in found.lines():
            _say(f"{_INDENT}{line}")


def _show_ledger(side: str, ledger: dict[str, Any]) -> None:
    from tunesmith.config.words import counted

    tokens = ledger["tokens"]
    _say(
        f"\n{side}: {counted(ledger['rows_read'], 'row')} read, {ledger['rows_kept']:,} kept, {ledger['rows_dropped']:,} dropped; "
        f"{ledger['rows_truncated']:,} truncated, {ledger['rows_split']:,} split",
        "bold",
    )
    for dropped in ledger["dropped"][:_DROPPED_SHOWN]:
        _say(f"{_INDENT}dropped {dropped['place']}: {dropped['reason']}", "yellow")
    if len(ledger["dropped"]) > _DROPPED_SHOWN:
        _say(f"{_INDENT}and {len(ledger['dropped']) - _DROPPED_SHOWN} more, which --json lists", "yellow")
    _say(
        f"{_INDENT}{counted(tokens['total'], 'token')} in {counted(ledger['samples'], 'sample')}, {tokens['with_loss']:,} with loss "
        f"({ledger['loss_share']:.1%}); a sample has {tokens['median']:g} (median), {tokens['p95']} (95%), "
        f"{tokens['max']} at most"
    )
    _show_bars(
        (f"{low}–{high} tokens" if low < high else counted(low, "token"), count)
        for low, high, count in ledger["histogram"]
    )
    _say(f"{_INDENT}longest: {_longest(ledger)}")
    if ledger["labels"]:
        _say(f"{_INDENT}{counted(len(ledger['labels']), 'different answer')}:")
        _show_bars(list(ledger["labels"].items())[:_LABELS_SHOWN])
        if len(ledger["labels"]) > _LABELS_SHOWN:
            _say(f"{_INDENT * 2}and {len(ledger['labels']) - _LABELS_SHOWN} more")


def _longest(ledger: dict[str, Any]) -> str:
    """`rows.jsonl:7 (90 tokens), :3 (88)`: neighbours of one file name it once."""
    words: list[str] = []
    before = ""
    for sample in ledger["longest"]:
        file, _, line = sample["place"].rpartition(":")
        unit = "" if words else " tokens"
        words.append(f"{'' if file == before else file}:{line} ({sample['tokens']}{unit})")
        before = file
    return ", ".join(words)


def _show_bars(rows: Iterable[tuple[str, int]]) -> None:
    from rich.cells import cell_len

    rows = [(label.replace("\n", "↵"), count) for label, count in rows]
    width = max(cell_len(label) for label, _ in rows)
    most = max(count for _, count in rows)
    for label, count in rows:
        bar = "█" * round(_BAR * count / most) or ("▏" if count else "")
        _say(f"{_INDENT * 2}{' ' * (width - cell_len(label))}{label}  {bar} {count}".rstrip())


# --- token by token -----------------------------------------------------------------------------------------------


def _show_sample(prepared: Prepared, sample: Sample) -> None:
    """The sample's text; what carries loss stands out, in colour or between ⟦ and ⟧."""
    from rich.text import Text

    from tunesmith.cli.console import console
    from tunesmith.report.tokens import look_alikes_marked, shown

    colours = console.is_terminal and not console.no_color
    pieces, names = shown(sample, prepared.renderer), prepared.renderer.encoder.special_names
    legend = Text(f"\n{sample.place} — what carries loss is ", style="dim")
    legend.append_text(_loss("marked", 1.0, colours))
    if colours:
        legend.append(", special tokens are ").append("so", style="not dim magenta")
    elif any(look_alikes_marked(one.stretches, names) != _text(one.stretches) for one in pieces):
        legend.append(", plain text that reads like a special token stands in ‹ ›")
    console.print(legend, soft_wrap=True)
    for piece in pieces:
        if piece.heading is not None:
            console.print(f"\n[dim italic]{piece.heading}:[/]", highlight=False, soft_wrap=True)
        for weight, run in groupby(piece.stretches, key=lambda stretch: stretch.weight):
            stretches = list(run)
            if colours:
                text = _coloured(stretches, weight)
            else:
                marked = look_alikes_marked(stretches, names)
                text = _loss(marked, weight, colours) if weight else Text(marked)
            console.print(text, end="", soft_wrap=True)
    console.print()


def _text(stretches: list[Shown]) -> str:
    return "".join(stretch.text for stretch in stretches)


def _coloured(stretches: list[Shown], weight: float) -> Text:
    """Neighbours of one weight."""
    from rich.text import Text

    text = Text()
    for stretch in stretches:
        text.append(stretch.text, _style(stretch))
    if weight not in (0.0, 1.0):
        text.append(f"×{weight:g}", "dim italic")
    return text


def _loss(text: str, weight: float, colours: bool) -> Text:
    from rich.text import Text

    if colours:
        return Text(text, style="bold green")
    return Text(f"⟦{text}⟧" if weight == 1.0 else f"⟦{text}⟧×{weight:g}")


def _style(stretch: Shown) -> str:
    if stretch.kind == "special":
        return "bold green reverse" if stretch.weight else "magenta"
    return {"picture": "cyan", "gap": "italic"}.get(stretch.kind, "bold green" if stretch.weight else "dim")

"""What `check` finds as one self-contained page, and the sentences that the page and the terminal share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tunesmith.config.words import counted
from tunesmith.data.build import DataSet
from tunesmith.data.render import Renderer
from tunesmith.data.statistics import longest_numbers
from tunesmith.data.store import SampleStore
from tunesmith.data.writing import written_whole
from tunesmith.report.html import Row, number
from tunesmith.report.tokens import ShownPiece, shown, visible

DROPPED_SHOWN = 100
FORMATS_SHOWN = 20
_RANDOM_SHOWN = 5


@dataclass(frozen=True)
class ShownSample:
    """A sample ready to be laid out."""

    place: str
    tokens: int
    with_loss: int
    pieces: list[ShownPiece]


@dataclass(frozen=True)
class CheckPage:
    """What the template is given."""

    name: str
    facts: list[Row]
    warnings: list[str]
    notes: list[str]
    formats: list[Row]
    ledgers: list[tuple[str, dict[str, Any]]]
    samples: list[tuple[str, list[ShownSample]]]
    plan: str
    command: str | None


def write_check_page(path: Path, page: CheckPage) -> None:
    """Write the page whole or not at all.

    Raises:
        InputError: the path is that of a device, a pipe or the like.
        WorkError: the disk is full, or the folder can't be written to.
    """
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"number": number, "visible": visible, "counted": counted}
    jinja.globals |= {"dropped_shown": DROPPED_SHOWN, "formats_shown": FORMATS_SHOWN}
    text = jinja.get_template("check.html.jinja").render(page=page)
    # JSON can say half a surrogate pair, which UTF-8 cannot hold.
    with written_whole(path) as file:
        file.write(text.encode(errors="replace"))


def page_of(
    data: DataSet,
    renderer: Renderer,
    *,
    name: str,
    facts: list[Row],
    show: int,
    seed: int,
    plan: str,
    command: str,
) -> CheckPage:
    """The page of prepared data; `show` first samples are on it, the longest, and a few that `seed` draws."""
    formats, notes = formats_and_notes(data)
    return CheckPage(
        name=name,
        facts=facts,
        warnings=warnings_of(data),
        notes=notes,
        formats=formats,
        ledgers=[(side, ledger) for side, ledger in data.ledgers.items() if ledger],
        samples=_samples(data.train, renderer, show, seed),
        plan=plan,
        command=command,
    )


def _samples(
    store: SampleStore, renderer: Renderer, show: int, seed: int
) -> list[tuple[str, list[ShownSample]]]:
    """The samples to show, under headings, each once."""
    if not show:
        return []
    drawn = np.random.default_rng(seed).permutation(len(store))[: show + 2 * _RANDOM_SHOWN].tolist()
    seen: set[int] = set()
    sections = []
    for heading, numbers, most in (
        ("The first rows", range(min(show, len(store))), show),
        ("The longest of the others", longest_numbers(store.lengths, store.rows), _RANDOM_SHOWN),
        ("Some others, drawn at random", drawn, _RANDOM_SHOWN),
    ):
        chosen = [at for at in numbers if at not in seen][:most]
        seen.update(chosen)
        if chosen:
            sections.append((heading, [_sample(store, at, renderer) for at in chosen]))
    return sections


def _sample(store: SampleStore, at: int, renderer: Renderer) -> ShownSample:
    sample = store[at]
    return ShownSample(
        str(sample.place), int(store.lengths[at]), int(store.with_loss[at]), shown(sample, renderer)
    )


# --- sentences ----------------------------------------------------------------------------------------------------


def formats_and_notes(data: DataSet) -> tuple[list[Row], list[str]]:
    """The format of each file, and the notes that say anything else."""
    said = {
        f"{file}: format {name}{how}": (file, f"{name}{how}")
        for file, name in data.formats.items()
        for how in ("", ", detected")
    }
    notes = list(dict.fromkeys(data.notes))
    return [said[note] for note in notes if note in said], [note for note in notes if note not in said]


def warnings_of(data: DataSet) -> list[str]:
    """What a user should look at before training, a sentence each."""
    warnings = []
    held_out = data.ledgers.get("eval") or {}
    leaked = held_out.get("leaked")
    if leaked and leaked["rows"]:
        warnings.append(_of_leaks(leaked, held_out["rows_kept"]))
    for side, ledger in data.ledgers.items():
        if ledger:
            warnings += _of_one_side(side, ledger)
    return warnings


def _of_leaks(leaked: dict[str, Any], kept: int) -> str:
    rows, whole = leaked["rows"], leaked["whole"]
    if whole == rows:
        how = "what is to be predicted is trained on token for token"
    else:
        how = "the same question is trained on" + (f", in {whole:,} the answer too" if whole else "")
    return (
        f"{rows:,} of {counted(kept, 'held-out row')} can be answered from memory: {how} "
        f"({_pairs(leaked['first'], 'is')}). Scores on them say nothing of new questions; "
        "`tunesmith data split` parts a file so that like rows stay on one side"
    )


def _of_one_side(side: str, ledger: dict[str, Any]) -> list[str]:
    warnings = []
    if ledger["rows_dropped"]:
        warnings.append(
            f"{side}: {ledger['rows_dropped']:,} of {counted(ledger['rows_read'], 'row')} "
            f"{_s(ledger['rows_dropped'], 'is', 'are')} dropped, and nothing is learned from "
            f"{_s(ledger['rows_dropped'], 'it', 'them')}"
        )
    again, otherwise = ledger["duplicates"], ledger["contradictions"]
    if again["rows"]:
        warnings.append(
            f"{side}: {counted(again['rows'], 'row')} {_s(again['rows'], 'repeats', 'repeat')} an earlier one token "
            f"for token ({_pairs(again['first'], 'again at')})"
        )
    if otherwise["rows"]:
        warnings.append(
            f"{side}: {counted(otherwise['rows'], 'row')} {_s(otherwise['rows'], 'answers', 'answer')} the question "
            f"of an earlier one differently ({_pairs(otherwise['first'], 'and')})"
        )
    if ledger["labels"] and len(ledger["labels"]) == 1:
        warnings.append(f"{side}: all rows have the same answer, {next(iter(ledger['labels']))!r}")
    return warnings


def _pairs(pairs: list[list[str]], word: str) -> str:
    """The first three pairs; a warning is no list."""
    return "; ".join(f"{one} {word} {other}" for one, other in pairs[:3])


def _s(count: int, one: str, many: str) -> str:
    return one if count == 1 else many

"""Answers side by side and their scores, as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_SHARES = ("form_validity", "copied", "end_token_rate")


def answers_table(
    titles: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, caption: str | None = None
) -> Table:
    """One row a prompt, one column a model. Answers are shown as they are: markup in them is text."""
    table = Table(show_lines=True, expand=True, caption=caption)
    table.add_column("prompt", ratio=1, style="dim", overflow="fold")
    for title in titles:
        table.add_column(Text(title), ratio=1, overflow="fold")
    for prompt, answers in rows:
        table.add_row(Text(prompt), *(Text(answer.strip() or "(empty)") for answer in answers))
    return table


def scores_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """One row a score, one column a model."""
    table = Table()
    table.add_column("score")
    for title in scores:
        table.add_column(Text(title), justify="right")
    names = dict.fromkeys(name for values in scores.values() for name in values)
    for name in names:
        table.add_row(name.replace("_", " "), *(_shown(name, values.get(name)) for values in scores.values()))
    return table


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0%}" if name in _SHARES else f"{value:.1f}"


def show(
    console: Console,
    titles: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    scores: Mapping[str, Mapping[str, float]],
    *,
    at_most: int | None = None,
) -> None:
    """Print both tables; of many prompts only the first `at_most`."""
    shown = rows if at_most is None else rows[:at_most]
    left_out = len(rows) - len(shown)
    caption = f"and {left_out} more prompts in before_after.json" if left_out else None
    if shown:
        console.print(answers_table(titles, shown, caption=caption))
    if any(scores.values()):
        console.print(scores_table(scores))

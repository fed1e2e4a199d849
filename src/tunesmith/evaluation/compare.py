"""Several models asked the same questions, side by side."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.config.load import load
from tunesmith.config.method import learns_chosen
from tunesmith.data.build import build
from tunesmith.errors import InputError
from tunesmith.evaluation.before_after import score_replies
from tunesmith.infer.open import Opened, open_speaker
from tunesmith.infer.pictures import asked as as_asked
from tunesmith.infer.pictures import in_words
from tunesmith.infer.shelf import Shelf
from tunesmith.methods import METHODS
from tunesmith.rundir import RunDir

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Comparison:
    """`answers[i][j]` is what model j answered to prompt i; `scores[title]` are that model's numbers."""

    titles: tuple[str, ...]
    prompts: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    scores: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "models": list(self.titles),
            "samples": [
                {"prompt": prompt, "answers": dict(zip(self.titles, answers, strict=True))}
                for prompt, answers in zip(self.prompts, self.answers, strict=True)
            ],
            "scores": self.scores,
        }


def compare(
    names: Sequence[str], prompts: Sequence[str] | None = None, *, device: str = "auto"
) -> Comparison:
    """Ask each model the same prompts in the same way.

    Args:
        names: runs, models or adapters; the first run among them gives prompts, generation and metrics.
        prompts: questions to ask instead.

    Raises:
        InputError: one cannot be loaded, a name is given twice, or nobody brings a prompt.
    """
    if len(set(names)) < len(names):
        raise InputError("a model is named twice", remedy="name each model once")
    lead: Opened | None = None
    shelf = Shelf()
    columns: list[list[str]] = []
    scores: dict[str, dict[str, float]] = {}
    # The run that brings the questions is opened first, whichever place it has in the table.
    order = sorted(range(len(names)), key=lambda index: not _is_run(names[index]))
    replies_of: dict[int, list[Any]] = {}
    for index in order:
        opened = open_speaker(names[index], device=device, shelf=shelf)
        lead = lead or opened
        asked = prompts or lead.prompts
        if not asked:
            raise InputError(
                "there is nothing to ask: none of the models is a run whose recipe has prompts",
                remedy='give questions with --prompt "..."',
            )
        replies_of[index] = opened.speaker.answer([as_asked(prompt) for prompt in asked], lead.generation)
    assert lead is not None
    metrics, trained_answers = _what_to_score(lead)
    for index, name in enumerate(names):
        columns.append([reply.text for reply in replies_of[index]])
        scores[name] = score_replies(replies_of[index], metrics, trained_answers)
    told = tuple(map(in_words, prompts or lead.prompts))
    return Comparison(tuple(names), told, tuple(zip(*columns, strict=True)), scores)


def _is_run(name: str) -> bool:
    return RunDir(name).holds_a_run()


def _what_to_score(lead: Opened) -> tuple[tuple[str, ...], list[str]]:
    """The leading run's metrics, and the answers it was trained on, for those that look for copies."""
    if lead.run is None or not lead.metrics:
        return (), []
    recipe = load(str(lead.run.recipe))
    consumes = METHODS[recipe.method.name].consumes
    try:
        data = build(
            recipe.data,
            consumes,
            lead.speaker.renderer,
            recipe.train.seed,
            method=recipe.method.name,
            learn_chosen=learns_chosen(recipe.method),
        )
    except InputError as error:
        log.warning("no %s: the training data cannot be read any more: %s", ", ".join(lead.metrics), error)
        return (), []
    return lead.metrics, [answer for answer in data.train.column("answer") if answer is not None]

"""The first evidence: the same questions asked before and after, side by side, and scored."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

from tunesmith.config.schema import Evaluate, PicturePrompt
from tunesmith.infer.pictures import PLACE, asked
from tunesmith.infer.speaker import Reply, Speaker
from tunesmith.metrics import Answers, score, those_that_compare

Asked = tuple[str, tuple[str, ...]]  # a question, and the files of its pictures


def ask_prompts(speaker: Speaker, evaluate: Evaluate) -> list[Reply]:
    """The recipe's prompts, answered as the recipe says."""
    return speaker.answer([asked(prompt) for prompt in evaluate.prompts], evaluate.generation)


def score_replies(
    replies: Sequence[Reply], metrics: Sequence[str], training_answers: Sequence[str]
) -> dict[str, float]:
    """The recipe's metrics over some replies. Those that compare answers are for held-out rows and left out here."""
    return score(
        those_that_compare(metrics, compare=False),
        Answers(
            texts=tuple(reply.text for reply in replies),
            token_counts=tuple(reply.tokens for reply in replies),
            ended=tuple(reply.ended for reply in replies),
            training_answers=tuple(training_answers),
        ),
    )


def _told(prompt: str | PicturePrompt) -> dict[str, Any]:
    """A prompt as before_after.json tells it; several pictures are a list."""
    if isinstance(prompt, str):
        return {"prompt": prompt}
    return {"prompt": prompt.text, "image": prompt.image[0] if len(prompt.image) == 1 else list(prompt.image)}


def _was_trained(prompt: str | PicturePrompt, trained: Collection[Asked]) -> bool:
    """Whether a training row asks the same, of the same pictures."""
    if isinstance(prompt, str):
        return (prompt, ()) in trained
    images = tuple(map(os.path.abspath, prompt.image))
    return (prompt.text.replace(PLACE, ""), images) in trained


def before_after(
    evaluate: Evaluate,
    base: Sequence[Reply],
    tuned: Sequence[Reply] | None,
    trained_prompts: Collection[Asked],
    training_answers: Sequence[str],
    on_rows: dict[str, dict[str, float]] | None = None,
) -> dict[str, Any]:
    """The content of before_after.json. While training goes on there is no `tuned` yet.

    Args:
        on_rows: `base` and `tuned` -> numbers on held-out rows, which stand before those of the answers here. Facts that
            both have (lengths) are those of the answers here.
    """
    samples = []
    for index, (prompt, before) in enumerate(zip(evaluate.prompts, base, strict=True)):
        sample: dict[str, Any] = {
            **_told(prompt),
            "base": before.text,
            "base_tokens": before.tokens,
            "base_ended": before.ended,
            "trained_on": _was_trained(prompt, trained_prompts),
        }
        if tuned is not None:
            after = tuned[index]
            sample |= {"tuned": after.text, "tuned_tokens": after.tokens, "tuned_ended": after.ended}
        samples.append(sample)
    on_rows = on_rows or {}
    scores = {"base": on_rows.get("base", {}) | score_replies(base, evaluate.metrics, training_answers)}
    if tuned is not None:
        scores["tuned"] = on_rows.get("tuned", {}) | score_replies(tuned, evaluate.metrics, training_answers)
    return {"samples": samples, "scores": scores}


def base_replies(stored: dict[str, Any] | None, evaluate: Evaluate) -> list[Reply] | None:
    """The base model's replies from an earlier before_after.json; None if it holds other prompts or nothing."""
    wanted = [_told(prompt) for prompt in evaluate.prompts]
    if (
        stored is None
        or [
            {name: sample[name] for name in ("prompt", "image") if name in sample}
            for sample in stored["samples"]
        ]
        != wanted
    ):
        return None
    return [
        Reply(sample["base"], sample["base_tokens"], sample["base_ended"]) for sample in stored["samples"]
    ]

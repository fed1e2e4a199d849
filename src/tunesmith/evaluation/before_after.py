"""The first evidence: the same questions asked before and after, side by side, and scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tunesmith.config.schema import Evaluate
from tunesmith.infer.speaker import Reply, Speaker
from tunesmith.metrics import Answers, score


def ask_prompts(speaker: Speaker, evaluate: Evaluate) -> list[Reply]:
    """The recipe's prompts, answered as the recipe says."""
    return speaker.answer(evaluate.prompts, evaluate.generation)


def score_replies(
    replies: Sequence[Reply], metrics: Sequence[str], training_answers: Sequence[str]
) -> dict[str, float]:
    """The recipe's metrics over some replies."""
    return score(
        metrics,
        Answers(
            texts=tuple(reply.text for reply in replies),
            token_counts=tuple(reply.tokens for reply in replies),
            ended=tuple(reply.ended for reply in replies),
            training_answers=tuple(training_answers),
        ),
    )


def before_after(
    evaluate: Evaluate,
    base: Sequence[Reply],
    tuned: Sequence[Reply] | None,
    trained_prompts: Collection[str],
    training_answers: Sequence[str],
) -> dict[str, Any]:
    """The content of before_after.json. While training goes on there is no `tuned` yet."""
    samples = []
    for index, (prompt, before) in enumerate(zip(evaluate.prompts, base, strict=True)):
        sample: dict[str, Any] = {
            "prompt": prompt,
            "base": before.text,
            "base_tokens": before.tokens,
            "base_ended": before.ended,
            "trained_on": prompt in trained_prompts,
        }
        if tuned is not None:
            after = tuned[index]
            sample |= {"tuned": after.text, "tuned_tokens": after.tokens, "tuned_ended": after.ended}
        samples.append(sample)
    scores = {"base": score_replies(base, evaluate.metrics, training_answers)}
    if tuned is not None:
        scores["tuned"] = score_replies(tuned, evaluate.metrics, training_answers)
    return {"samples": samples, "scores": scores}


def base_replies(stored: dict[str, Any] | None, evaluate: Evaluate) -> list[Reply] | None:
    """The base model's replies from an earlier before_after.json; None if it holds other prompts or nothing."""
    if stored is None or [sample["prompt"] for sample in stored["samples"]] != list(evaluate.prompts):
        return None
    return [
        Reply(sample["base"], sample["base_tokens"], sample["base_ended"]) for sample in stored["samples"]
    ]

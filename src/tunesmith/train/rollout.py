"""Answers that the model writes while it learns, in place of those of the data.

What is drawn is a pure function of the weights and of (seed, step, sample, draw), so a run that was killed draws the same
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tunesmith.config.method import Generation
from tunesmith.methods.base import Example
from tunesmith.models.dropout import mix
from tunesmith.models.generate import Answer, generate
from tunesmith.models.policy import Policy
from tunesmith.segments import Piece, Tree

_HELD_OUT = (1 << 63) - 1  # the step that held-out answers are drawn at, whenever that is


class Rollouts(Protocol):
    """What puts drawn answers in the place of those of an update's samples."""

    def of(self, step: int | None, numbers: Sequence[int], examples: Sequence[Example]) -> list[Example]:
        """The examples of update `step` (from 0), None: held-out ones, with drawn answers; `numbers` are the samples'."""


@dataclass(frozen=True)
class Sampler:
    """Draws answers from the policy as it is.

    They are drawn as the model would say them, at temperature 1: that is what the losses are about.

    Args:
        longest: tokens of an answer at most.
        ends: tokens that end an answer.
        seed: the recipe's.
    """

    policy: Policy
    longest: int
    ends: frozenset[int]
    seed: int

    def draw(
        self, prompts: Sequence[Piece], numbers: Sequence[int], step: int | None, count: int
    ) -> list[list[Answer]]:
        """`count` answers to each prompt."""
        at = _HELD_OUT if step is None else step
        seeds = [mix(self.seed, at, number, draw) for number in numbers for draw in range(count)]
        repeated = [prompt for prompt in prompts for _ in range(count)]
        with self.policy.writing_mode():
            answers = generate(
                self.policy.model,
                [prompt.tokens for prompt in repeated],
                Generation(temperature=1.0, max_new_tokens=self.longest),
                self.ends,
                pictures=[prompt.pictures for prompt in repeated],
                eyes=self.policy.eyes,
                seeds=seeds,
            )
        return [answers[begin : begin + count] for begin in range(0, len(answers), count)]


def prompt_of(tree: Tree) -> Piece:
    """What a sample's last answer answers: the tokens in front of it, none of them with loss."""
    last = tree[-1]
    end = len(last.tokens)
    while end and not last.weights[end - 1]:  # what the template writes behind the answer
        end -= 1
    while end and last.weights[end - 1]:
        end -= 1
    end = end or len(last.tokens)
    pictures = tuple(picture for picture in last.pictures if picture.start < end)
    return Piece(last.tokens[:end], (0.0,) * end, None, pictures)


def answered(prompt: Piece, answer: Answer, weight: float) -> Tree:
    """A prompt with an answer behind it, as one sequence; what was drawn carries loss, an end token too."""
    drawn = drawn_tokens(answer)
    return (Piece(prompt.tokens + drawn, prompt.weights + (weight,) * len(drawn), None, prompt.pictures),)


def group(prompt: Piece, answers: Sequence[Answer]) -> Tree:
    """A prompt with several answers, each a child of it."""
    children = (drawn_tokens(answer) for answer in answers)
    return (prompt, *(Piece(tokens, (1.0,) * len(tokens), 0) for tokens in children))


def drawn_tokens(answer: Answer) -> tuple[int, ...]:
    """All tokens that were drawn."""
    return answer.tokens if answer.end is None else (*answer.tokens, answer.end)


@dataclass(frozen=True)
class OwnAnswers:
    """A share of the samples with an answer of the model's own (generalised knowledge distillation)."""

    sampler: Sampler
    share: float

    def of(self, step: int | None, numbers: Sequence[int], examples: Sequence[Example]) -> list[Example]:
        found = list(examples)
        if step is None:
            return found
        chosen = [at for at, number in enumerate(numbers) if self._is_drawn(step, number)]
        prompts = [prompt_of(examples[at].tree) for at in chosen]
        answers = self.sampler.draw(prompts, [numbers[at] for at in chosen], step, 1)
        for at, prompt, (answer,) in zip(chosen, prompts, answers, strict=True):
            weight = max(examples[at].tree[-1].weights)
            found[at] = examples[at]._replace(tree=answered(prompt, answer, weight))
        return found

    def _is_drawn(self, step: int, number: int) -> bool:
        return mix(self.sampler.seed, step, number) < self.share * (1 << 63)

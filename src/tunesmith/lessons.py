"""What a method learns from besides the rows themselves: reference values, a teacher, answers drawn in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from tunesmith.config.method import Distill, Grpo
from tunesmith.config.schema import Recipe
from tunesmith.data.build import DataSet
from tunesmith.data.render import Renderer
from tunesmith.infer.open import Named
from tunesmith.infer.reading import ReplyReader
from tunesmith.infer.teacher import load_teacher
from tunesmith.methods import METHODS
from tunesmith.models.policy import Policy
from tunesmith.rundir import RunDir
from tunesmith.train.environment import Choices
from tunesmith.train.examples import Examples, reference_of
from tunesmith.train.rewarded import Groups, find_rewards
from tunesmith.train.rollout import OwnAnswers, Rollouts, Sampler
from tunesmith.train.teacher import KeptTeacher, LiveTeacher, keep_teaching

STARTED_FROM = "adapter it started from"  # its name in what a run is bound to


def examples_of(
    recipe: Recipe,
    data: DataSet,
    renderer: Renderer,
    policy: Policy,
    choices: Choices,
    identity: Mapping[str, str],
) -> tuple[Examples, Examples]:
    """Both sides of the data, with what the model says of them now, before step 1, where the method compares with it.

    A fresh adapter changes nothing, whatever its rank, so the values serve every recipe on these weights and rows.
    """
    sides = data.train, data.eval
    method = METHODS[recipe.method.name](recipe.method)
    if not method.needs_reference:
        # What scores a chat in transformers reads all that the template writes.
        tail = renderer.ending[1:] if method.scores else ()
        return Examples(sides[0], tail=tail), Examples(sides[1], tail=tail)
    key: dict[str, Any] = {
        "weights": [identity["model"], identity.get(STARTED_FROM)],
        "held": [recipe.model.quantize, choices.device, choices.precision, choices.packed_rows],
        "init": recipe.adapter.init,  # others than LoRA's own take the weights apart, which rounds them
        "tokens": list(recipe.model.new_tokens),
    }
    known = partial(
        reference_of,
        policy,
        others=method.needs_other_answers,
        row_tokens=choices.row_tokens,
        key=key if recipe.data.cache else None,
    )
    train, held_out = (Examples(side, known(side), method.needs_other_answers) for side in sides)
    return train, held_out


def taught(
    recipe: Recipe, teacher: Named | None, choices: Choices, train: Examples, held: Examples
) -> tuple[LiveTeacher | KeptTeacher | None, Examples, Examples]:
    """The teacher that a method needs: in memory, or what is kept of it with both sides of the data."""
    options = recipe.method
    if not isinstance(options, Distill) or teacher is None:
        return None, train, held
    vocabulary = 1 + max(teacher.tokenizer.get_vocab().values())  # which is the student's
    load = cache(
        partial(
            load_teacher,
            options,
            device=choices.device,
            precision=choices.precision,
            vocabulary=vocabulary,
        )
    )
    if options.top_k is None:
        return load(), train, held
    key: dict[str, Any] = {
        "teacher": teacher.fingerprint,
        "temperature": options.temperature,
        "held": [choices.device, choices.precision],
    }
    train, held = (
        side
        if not len(side)
        else replace(
            side,
            teaching=keep_teaching(
                load,
                side.samples,
                options.top_k,
                row_tokens=choices.row_tokens,
                key=key if recipe.data.cache else None,
            ),
        )
        for side in (train, held)
    )
    return KeptTeacher(vocabulary), train, held


def remember_the_start(recipe: Recipe, policy: Policy) -> None:
    """Keep the weights that learn, before any is restored, where something is compared with them while they learn."""
    options = recipe.method
    compares = isinstance(options, Grpo) and options.kl > 0
    # How far held-out answers moved is worth an adapter's memory, not a whole model's.
    shows = METHODS[options.name](options).needs_reference and recipe.adapter.type == "lora"
    if compares or (shows and recipe.data.eval is not None):
        policy.remember()


def rollouts_of(
    recipe: Recipe, run: RunDir, policy: Policy, renderer: Renderer, data: DataSet, row_tokens: int
) -> Rollouts | None:
    """What draws answers in the place of the data's, where the method learns from such."""
    options = recipe.method
    if not isinstance(options, Grpo | Distill) or (
        isinstance(options, Distill) and options.answers == "given"
    ):
        return None
    sampler = Sampler(policy, options.max_new_tokens, renderer.stop_ids, recipe.train.seed)
    if isinstance(options, Distill):
        return OwnAnswers(sampler, options.student_share)
    reader = ReplyReader(renderer)
    return Groups(
        run,
        sampler,
        options,
        find_rewards(options),
        lambda answer: reader.text(answer.tokens, ended=answer.ended),
        data.train,
        data.eval,
        row_tokens,
    )

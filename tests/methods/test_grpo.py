"""GRPO on fixed samples: TRL's trainer gives the same loss and gradients."""

from __future__ import annotations

import statistics
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.train.test_gradients import make_policy
from tunesmith.config.method import Grpo as Options
from tunesmith.methods.base import Example, Rollout
from tunesmith.methods.grpo import Grpo, advantages
from tunesmith.models.generate import Answer
from tunesmith.segments import Piece
from tunesmith.train.examples import batches_of
from tunesmith.train.rollout import group

LONGEST = 9
KINDS = [
    {"loss": "grpo"},
    {"loss": "dapo"},
    {"loss": "dr_grpo"},
    {"loss": "grpo", "clip_high": 0.28, "kl": 0.0},
]


def options(**changes) -> Options:
    return Options(rewards="json", max_new_tokens=LONGEST, **changes)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.booleans())
def test_advantages_are_what_an_answer_has_over_its_group(rewards, scale):
    spread = statistics.stdev(rewards) + 1e-4 if scale else 1.0
    mean = statistics.fmean(rewards)
    assert advantages(rewards, scale=scale) == pytest.approx([(r - mean) / spread for r in rewards], abs=1e-9)


def drawn(*, old: bool, reference: bool) -> list[Example]:
    """Two groups of three answers of different lengths, with made-up values of earlier models."""
    draws = torch.Generator().manual_seed(3)

    def some(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 250, (count,), generator=draws).tolist())

    found = []
    for number in range(2):
        prompt = some(4 + 3 * number)
        answers = [Answer(some(length), 2 if length < LONGEST else None) for length in (3, 9, 5)]
        tree = group(Piece(prompt, (0.0,) * len(prompt)), answers)
        values = tuple(
            tuple((-6 * torch.rand(len(piece.tokens), generator=draws)).tolist()) for piece in tree[1:]
        )
        near = tuple(tuple(v + 0.2 for v in one) for one in values)
        rollout = Rollout(
            tuple(advantages([1.0, 0.0, 0.25 * number], scale=True)),
            {"reward": (1.0, 0.0, 0.25 * number)},
            values if old else (),
            near if reference else (),
        )
        found.append(Example(tree, rollout=rollout))
    return found


def ours(policy, settings: Options, examples: list[Example], **laying) -> tuple[float, dict]:
    method = Grpo(settings)
    totals = method.plan(examples)
    policy.zero_grad()
    value = 0.0
    measures: dict[str, float] = {}
    with policy.training_mode():
        for batch in batches_of(
            examples, **{"segments": True, "row_tokens": 4096, "share": True, "whole": True, **laying}
        ):
            found = method.loss(policy, batch)
            loss = found.share_of(totals)
            loss.backward()
            value += loss.item()
            for name, total, _ in found.measures:
                measures[name] = measures.get(name, 0.0) + float(total)
    return value, measures


def theirs(tmp_path, model, settings: Options, examples: list[Example]):
    model.save_pretrained(tmp_path / "model")  # it loads its reference from there
    model.config.name_or_path = model.name_or_path = str(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        from tests.conftest import byte_tokenizer

        trainer = GRPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=GRPOConfig(
                output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], num_generations=3,
                per_device_train_batch_size=6, gradient_accumulation_steps=1, beta=settings.kl, epsilon=settings.clip,
                epsilon_high=settings.clip_high, loss_type=settings.loss, max_completion_length=LONGEST,
                disable_dropout=True, gradient_checkpointing=False,
            ),
            train_dataset=Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}]),
            processing_class=byte_tokenizer(),
        )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    rows = [(e.tree[0].tokens, piece.tokens) for e in examples for piece in e.tree[1:]]
    longest = max(len(prompt) for prompt, _ in rows)
    rollouts = [e.rollout for e in examples]

    def right(values, fill=0.0):
        return torch.tensor([list(v) + [fill] * (LONGEST + 1 - len(v)) for v in values])

    inputs = {
        "prompt_ids": torch.tensor([[0] * (longest - len(p)) + list(p) for p, _ in rows]),
        "prompt_mask": torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p, _ in rows]),
        "completion_ids": right([c for _, c in rows], 0).long(),
        "completion_mask": right([[1] * len(c) for _, c in rows], 0).long(),
        "advantages": torch.tensor([a for r in rollouts for a in r.advantages]),
        "num_items_in_batch": torch.tensor(float(sum(len(c) for _, c in rows))),
    }
    if rollouts[0].old:
        inputs["old_per_token_logps"] = right([v for r in rollouts for v in r.old])
    if settings.kl:
        inputs["ref_per_token_logps"] = right([v for r in rollouts for v in r.reference])
    loss = trainer._compute_loss(trainer.model.train(), inputs)
    loss.backward()
    return loss.item()


@pytest.mark.parametrize("changes", KINDS, ids=str)
@pytest.mark.parametrize("old", [True, False], ids=["drawn earlier", "drawn now"])
def test_loss_and_gradients_are_those_of_trl(tmp_path, changes, old):
    settings = options(**changes)
    examples = drawn(old=old, reference=bool(settings.kl))
    policy = make_policy(lora=False)
    value, _ = ours(policy, settings, examples)
    found = {name: weight.grad.clone() for name, weight in policy.trainable().items()}
    policy.zero_grad()
    assert value == pytest.approx(theirs(tmp_path, policy.model, settings, examples), abs=1e-4)
    for name, weight in policy.trainable().items():
        apart = float((found[name] - weight.grad).abs().max())
        assert apart < 1e-4 * max(1.0, float(weight.grad.abs().max())), name


def test_rows_do_not_matter():
    settings, examples = options(), drawn(old=True, reference=True)
    policy = make_policy()
    one, told = ours(policy, settings, examples)
    for laying in ({"row_tokens": 8}, {"segments": False}):
        other, again = ours(policy, settings, examples, **laying)
        assert other == pytest.approx(one, abs=1e-5)
        assert again == pytest.approx(told, rel=1e-4)
    assert told["reward"] == 2.25


def test_what_is_clipped_no_longer_learns():
    (one, _) = drawn(old=True, reference=False)
    far = one.rollout._replace(
        advantages=(1.0, 1.0, 1.0), old=tuple(tuple(-30.0 for _ in v) for v in one.rollout.old)
    )
    policy = make_policy()
    _, told = ours(policy, options(kl=0.0), [one._replace(rollout=far)])
    assert told["clipped"] == sum(map(len, one.rollout.old))
    assert all(not weight.grad.any() for weight in policy.trainable().values())

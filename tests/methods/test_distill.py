"""Distillation: TRL's divergence and a plain pair of models give the same values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import tiny_llama
from tests.train.test_gradients import make_policy
from tests.train.test_gradients import samples as trees
from tunesmith.config.method import Distill as Options
from tunesmith.kernels.head import CHUNK
from tunesmith.methods.base import Batch, Example, Taught
from tunesmith.methods.distill import Distill
from tunesmith.models.policy import Policy
from tunesmith.segments import Block, Piece, lay_row, single_paths
from tunesmith.train.examples import batches_of
from tunesmith.train.teacher import KeptTeacher, LiveTeacher, _likeliest, keep_teaching

VOCABULARY = 300


def options(**changes) -> Options:
    return Options(teacher="t", **changes)


def divergence(student: torch.Tensor, teacher: torch.Tensor, k: int | None = None, **changes) -> torch.Tensor:
    method = Distill(options(**changes))
    logprobs = (teacher / method.options.temperature).log_softmax(-1)
    if k is None:
        return method._divergence(student, Taught(logprobs, student.shape[-1]), student.logsumexp(-1))
    best = logprobs.topk(k, -1)
    taught = Taught(best.values, student.shape[-1], best.indices)
    return method._divergence(student, taught, student.logsumexp(-1))


DIVERGENCES = [
    ({"divergence": "forward_kl"}, 0),
    ({"divergence": "reverse_kl"}, 1),
    ({"divergence": "jsd"}, 0.5),
    ({"divergence": "jsd", "jsd_share": 0.2}, 0.2),
    ({"divergence": "jsd", "temperature": 2.0}, 0.5),
    ({"divergence": "forward_kl", "temperature": 3.0}, 0),
]


@pytest.mark.parametrize(("changes", "beta"), DIVERGENCES, ids=str)
def test_divergences_are_those_of_trl(changes, beta):
    from trl.experimental.gkd import GKDTrainer

    torch.manual_seed(0)
    student, teacher = (3 * torch.randn(11, 40, dtype=torch.float64) for _ in range(2))
    one, other = student.clone().requires_grad_(), student.clone().requires_grad_()
    ours = divergence(one, teacher, **changes).mean()
    temperature = changes.get("temperature", 1.0)
    theirs = temperature**2 * GKDTrainer.generalized_jsd_loss(
        other[None], teacher[None], torch.zeros(1, 11, dtype=torch.long), beta, temperature
    )
    ours.backward()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert torch.allclose(one.grad, other.grad, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 39), st.sampled_from(["forward_kl", "reverse_kl", "jsd"]), st.integers(0, 99))
def test_of_the_likeliest_tokens_it_is_never_above_the_whole(k, kind, seed):
    draws = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(6, 40, generator=draws) for _ in range(2))
    whole = divergence(student, teacher, divergence=kind)
    some = divergence(student, teacher, k, divergence=kind)
    assert (some <= whole + 1e-4).all()
    assert (some >= -1e-4).all()


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_of_all_tokens_it_is_the_whole(kind):
    torch.manual_seed(1)
    student, teacher = torch.randn(6, 40), torch.randn(6, 40)
    every = divergence(student, teacher, 40, divergence=kind)
    assert torch.allclose(every, divergence(student, teacher, divergence=kind), atol=1e-4)


def make_teacher(*, segments: bool = True, temperature: float = 1.0) -> LiveTeacher:
    model = tiny_llama()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.2)
    policy = Policy(model.requires_grad_(False), segments=segments, compute=torch.float32, seed=0)
    return LiveTeacher(policy, VOCABULARY, temperature)


def update(policy, batches: list[Batch], method: Distill, examples: list[Example]) -> torch.Tensor:
    totals = method.plan(examples)
    with policy.training_mode():
        losses = [method.loss(policy, batch).share_of(totals) for batch in batches]
    return torch.stack(losses).sum()


def laid(examples: list[Example], teacher, *, segments: bool = True, row_tokens: int = 4096) -> list[Batch]:
    batches = batches_of(examples, segments=segments, row_tokens=row_tokens, share=True, whole=False)
    return [Batch(batch.rows, batch.examples, teacher=teacher.of(examples)) for batch in batches]


def gradients_of(policy, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    policy.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in policy.trainable().items()}


@pytest.mark.parametrize("lora", [True, False])
def test_an_update_is_that_of_two_plain_models(lora):
    method = Distill(options(temperature=2.0, sft=0.25))
    examples = [Example(tree) for tree in trees(5, 3)]
    policy, teacher = make_policy(lora=lora), make_teacher(temperature=2.0)
    ours = update(policy, laid(examples, teacher, row_tokens=64), method, examples)
    found = gradients_of(policy, ours)

    total, weight_of_all = torch.zeros(()), sum(method.plan(examples).values())
    for example in examples:
        for (path,) in single_paths(example.tree):
            tokens = torch.tensor(path.tokens)[None]
            weights = torch.tensor(path.weights)[1:]
            student = policy.model(tokens).logits[0, :-1]
            with torch.no_grad():
                known = (teacher.policy.model(tokens).logits[0, :-1, :VOCABULARY] / 2).softmax(-1)
            kl = 4 * torch.nn.functional.kl_div(
                (student[:, :VOCABULARY] / 2).log_softmax(-1), known, reduction="none"
            ).sum(-1)
            nll = torch.nn.functional.cross_entropy(student, tokens[0, 1:], reduction="none")
            total = total + (weights * (0.75 * kl + 0.25 * nll)).sum() / weight_of_all
    assert ours.item() == pytest.approx(total.item(), abs=1e-5)
    for name, gradient in gradients_of(policy, total).items():
        assert torch.allclose(found[name], gradient, atol=1e-5), name


def test_chunks_of_the_vocabulary_come_to_the_same():
    tokens = tuple(range(3, 3 + 200)) * 2
    row = lay_row([Block.of((Piece(tokens, (1.0,) * len(tokens)),))])
    assert len(row.targets) > CHUNK
    policy = make_policy(lora=False)
    with policy.training_mode():
        logits = policy.logits_of(row)(torch.arange(len(row.targets)))
        whole = gradients_of(policy, logits.square().mean(-1).sum())
        parts = policy.over_vocabulary(row, lambda some, at: some.square().mean(-1) + 0 * at)
        found = gradients_of(policy, parts.sum())
    assert torch.allclose(parts, logits.square().mean(-1), atol=1e-5)
    for name, gradient in whole.items():
        assert torch.allclose(found[name], gradient, atol=1e-4 * float(gradient.abs().max())), name


class _Store:
    def __init__(self, some) -> None:
        self.some = some

    def __len__(self) -> int:
        return len(self.some)

    def tree(self, at):
        return self.some[at]


def test_what_is_kept_of_a_teacher_says_the_same_again():
    prefix = tuple(range(10, 60))  # long enough to be shared
    shared = [(Piece((*prefix, 70 + i, 80 + i, 90), (0.0,) * 51 + (1.0, 1.0)),) for i in range(3)]
    twice = (Piece((5, 6, 7, 8), (0.0, 1.0, 0.0, 1.0)), Piece((5, 9, 11), (0.0, 0.0, 2.0)))
    some = [*shared, twice, *trees(3, 5)]
    teacher, method = make_teacher(), Distill(options(divergence="jsd"))
    kept = keep_teaching(lambda: teacher, _Store(some), VOCABULARY, row_tokens=4096, key=None)
    live_examples = [Example(tree) for tree in some]
    known = [Example(tree, known=kept.of(at)) for at, tree in enumerate(some)]
    policy = make_policy()
    live = update(policy, laid(live_examples, teacher, row_tokens=100), method, live_examples)
    again = update(policy, laid(known, KeptTeacher(VOCABULARY), row_tokens=70), method, known)
    assert again.item() == pytest.approx(live.item(), abs=1e-5)


def test_a_teacher_that_takes_one_sequence_a_row_says_the_same():
    row = lay_row(
        [
            Block.of(
                (Piece(tuple(range(20)), (0.0,) * 20), Piece((5, 6), (1.0, 1.0), 0), Piece((7,), (1.0,), 0))
            ),
            Block.of((Piece((9, 8, 7), (1.0,) * 3),)),
        ]
    )
    packed, single = (_likeliest(make_teacher(segments=s), row, VOCABULARY) for s in (True, False))
    assert (packed[0][:, :3] == single[0][:, :3]).all()
    assert abs(packed[1] - single[1]).max() < 1e-4

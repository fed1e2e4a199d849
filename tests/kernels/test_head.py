"""Loss rows through the head, against the plain formula on whole logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.kernels.head import CHUNK, LogitTransform, target_logprobs


@settings(max_examples=30, deadline=None)
@given(
    rows=st.sampled_from([1, 5, CHUNK, CHUNK + 3]),
    scale=st.sampled_from([1.0, 0.25]),
    softcap=st.sampled_from([None, 4.0]),
    bias=st.booleans(),
    frozen=st.booleans(),
    seed=st.integers(0, 100),
)
def test_values_and_gradients_match_whole_logits(rows, scale, softcap, bias, frozen, seed):
    torch.manual_seed(seed)
    head = torch.nn.Linear(16, 50, bias=bias).double()
    head.requires_grad_(not frozen)
    hidden = torch.randn(rows, 16, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(50, (rows,))
    upstream = torch.randn(rows)
    transform = LogitTransform(scale, softcap)
    leaves = [hidden] if frozen else [hidden, *head.parameters()]

    ours = target_logprobs(hidden, targets, head, transform)
    ours_gradients = torch.autograd.grad((ours * upstream).sum(), leaves)
    whole = transform(head(hidden).float()).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    their_gradients = torch.autograd.grad((whole * upstream).sum(), leaves)

    torch.testing.assert_close(ours, whole, atol=1e-5, rtol=1e-5)
    for mine, reference in zip(ours_gradients, their_gradients, strict=True):
        torch.testing.assert_close(mine, reference, atol=2e-5, rtol=1e-4)


def test_a_frozen_head_keeps_only_one_gradient_row_a_loss_row():
    head = torch.nn.Linear(16, 1000, bias=False).requires_grad_(False)
    hidden = torch.randn(64, 16, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        target_logprobs(hidden, torch.randint(1000, (64,)), head, LogitTransform()).sum().backward()
    assert max(kept) == 64 * 16


def test_a_trained_head_keeps_no_logits_and_autocast_is_kept():
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 1000)
    hidden, targets = torch.randn(CHUNK + 9, 16, requires_grad=True), torch.randint(1000, (CHUNK + 9,))
    kept: list[int] = []
    with torch.autocast("cpu", torch.bfloat16):
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            ours = target_logprobs(hidden, targets, head, LogitTransform())
        plain = head(hidden).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert max(kept) == 16 * 1000
    torch.testing.assert_close(ours, plain)  # the very products of bf16
    leaves = [hidden, head.weight, head.bias]
    mine, theirs = (torch.autograd.grad(one.mean(), leaves) for one in (ours, plain))
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.01 * other.abs().max().item())


@pytest.mark.parametrize("rows", [0])
def test_no_loss_rows_is_no_error(rows):
    head = torch.nn.Linear(4, 9).requires_grad_(False)
    assert target_logprobs(
        torch.randn(rows, 4), torch.zeros(rows, dtype=torch.long), head, LogitTransform()
    ).shape == (0,)

"""How far a model has moved from what it was before step 1."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from tunesmith.kernels.head import CHUNK
from tunesmith.methods.base import Batch
from tunesmith.models.policy import Policy
from tunesmith.segments import Row


def divergence_from_reference(policy: Policy, batches: Iterable[Batch]) -> tuple[float, float]:
    """KL(model, reference) of the next token, exact over the vocabulary, summed over the targets of all rows; and these.

    The prefixes are those of the data, so it is no divergence between whole answers. `Policy.remember` says what the
    reference is.
    """
    total = torch.zeros((), dtype=torch.float64)
    targets = 0
    with policy.scoring_mode():
        for batch in batches:
            for row in batch.rows:
                total += _of_row(policy, row)
                targets += len(row.targets)
    return total.item(), targets


def _of_row(policy: Policy, row: Row) -> torch.Tensor:
    now = policy.logits_of(row)
    with policy.reference():
        before = policy.logits_of(row)
    total = torch.zeros((), dtype=torch.float64)
    for at in torch.arange(len(row.targets), device=policy.device).split(CHUNK):
        p = now(at).log_softmax(-1)
        with policy.reference():  # the head may be among what learns
            q = before(at).log_softmax(-1)
        total += (p.exp() * (p - q)).sum().double().cpu()
    return total

"""Supervised fine-tuning: mean negative log-likelihood of the tokens that carry loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunesmith.data.schema import Conversation
from tunesmith.methods.base import Batch, Example, Loss, Score, Term
from tunesmith.segments import tree_weight


class Sft:
    """The mean is over all loss tokens of an update, so a long answer counts for more than a short one."""

    consumes: type = Conversation
    scores = False
    keeps_samples_whole = False
    needs_teacher = False
    judged_by = ""
    needs_other_answers = False
    needs_reference = False

    def __init__(self, options: Any) -> None:
        pass

    def observe(self, policy: Score, batches: Sequence[Batch]) -> float:
        return 0.0

    def plan(self, examples: Sequence[Example]) -> dict[str, float]:
        return {"nll": sum(tree_weight(example.tree) for example in examples)}

    def loss(self, policy: Score, batch: Batch) -> Loss:
        logprobs = torch.cat([policy(row) for row in batch.rows])
        weights = [target.weight for row in batch.rows for target in row.targets]
        return Loss((Term("nll", -(logprobs * torch.tensor(weights, device=logprobs.device)).sum()),))

"""Supervised fine-tuning: mean negative log-likelihood of the tokens that carry loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tunesmith.data.schema import Conversation
from tunesmith.methods.base import Term
from tunesmith.segments import Row, Tree, tree_weight


class Sft:
    """The mean is over all loss tokens of an update, so a long answer counts for more than a short one."""

    consumes: type = Conversation

    def plan(self, samples: Sequence[Tree]) -> dict[str, float]:
        return {"nll": sum(tree_weight(tree) for tree in samples)}

    def loss(self, policy: Callable[[Row], Tensor], row: Row) -> list[Term]:
        logprobs = policy(row)
        weights = torch.tensor([target.weight for target in row.targets], device=logprobs.device)
        return [Term("nll", -(logprobs * weights).sum())]

"""Learning from pairs of a better and a worse answer: direct preference optimisation and its relatives.

With x the prompt, y the better answer, z the worse one, p the model and q the model before step 1:

    h = log p(y|x)/q(y|x) - log p(z|x)/q(z|x)

| loss     | formula                                             | source           |
|----------|-----------------------------------------------------|------------------|
| sigmoid  | -(1-e) log s(b h) - e log s(-b h)                   | arXiv 2305.18290; e > 0 is cDPO |
| robust   | (-(1-e) log s(b h) + e log s(-b h)) / (1 - 2e)      | arXiv 2403.00409 |
| hinge    | max(0, 1 - b h)                                     | arXiv 2305.10425 |
| ipo      | (h' - 1/(2b))^2, h' of means over tokens            | arXiv 2310.12036 |
| simpo    | -log s(b (mean log p(y) - mean log p(z)) - gamma)   | arXiv 2405.14734 |
| cpo      | -log s(b (log p(y) - log p(z)))                     | arXiv 2401.08417 |
| orpo     | -b log s(log odds(y) - log odds(z)), of means       | arXiv 2403.07691 |

s is the logistic function, e the label smoothing. `sft` adds that much of the better answer's mean negative
log-likelihood. The last three know no q.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.config.method import Dpo as Options
from tunesmith.data.schema import Pair
from tunesmith.methods.base import (
    Batch,
    Example,
    Loss,
    Measure,
    Score,
    Term,
    answer_tokens,
    leaves_of,
    weight_of,
)


class Dpo:
    """The mean is over the pairs of an update; that of the `sft` part over the tokens of their better answers."""

    consumes: type = Pair
    scores = False
    keeps_samples_whole = True
    needs_teacher = False
    judged_by = ""
    needs_other_answers = False

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def needs_reference(self) -> bool:
        return self.options.needs_reference

    def observe(self, policy: Score, batches: Sequence[Batch]) -> float:
        return 0.0

    def plan(self, examples: Sequence[Example]) -> dict[str, float]:
        return {
            "preference": sum(weight_of(example.tree) for example in examples),
            "nll": float(sum(answer_tokens(example.tree, 1) for example in examples)),
        }

    def loss(self, policy: Score, batch: Batch) -> Loss:
        options = self.options
        leaves = leaves_of(policy, batch)
        examples = [batch.examples[owner] for owner in leaves.owners[::2]]
        logprobs, tokens = leaves.logprobs.view(-1, 2), leaves.tokens.view(-1, 2)  # [pairs, (better, worse)]
        weights = logprobs.new_tensor([weight_of(example.tree) for example in examples])
        ratios = logprobs
        known = [example.reference for example in examples]
        if self.needs_reference:
            ratios = logprobs - logprobs.new_tensor(known)
        if options.by_length:
            ratios = ratios / tokens
        losses = self._losses(ratios)
        terms = [Term("preference", (weights * losses).sum())]
        if options.sft:
            terms.append(Term("nll", -logprobs[:, 0].sum(), options.sft))
        measures = _measures(options.beta * ratios.detach(), logprobs.detach())
        if self.needs_reference:
            measures += _shifts((logprobs.detach() - logprobs.new_tensor(known)) / tokens)
        return Loss(tuple(terms), measures)

    def _losses(self, ratios: Tensor) -> Tensor:
        """[pairs] from [pairs, (better, worse)] log-ratios, or log-probabilities where there is no reference."""
        options, beta, smoothing = self.options, self.options.beta, self.options.label_smoothing
        margin = ratios[:, 0] - ratios[:, 1]
        if options.loss == "hinge":
            return torch.relu(1 - beta * margin)
        if options.loss == "ipo":
            return (margin - 1 / (2 * beta)) ** 2
        if options.loss == "orpo":
            # log odds(y) = log p - log(1 - p)
            odds = ratios - torch.log(-torch.expm1(ratios.clamp(max=-1e-7)))
            return -beta * logsigmoid(odds[:, 0] - odds[:, 1])
        scaled = beta * margin - (options.gamma if options.loss == "simpo" else 0.0)
        right, wrong = -logsigmoid(scaled), -logsigmoid(-scaled)
        if options.loss == "robust":
            return ((1 - smoothing) * right - smoothing * wrong) / (1 - 2 * smoothing)
        return (1 - smoothing) * right + smoothing * wrong


def _shifts(ratios: Tensor) -> tuple[Measure, ...]:
    """How much likelier a token of each side has become, in nats, from the means over tokens [pairs, (better, worse)]."""
    return (
        Measure("shift_chosen", ratios[:, 0].sum(), len(ratios)),
        Measure("shift_rejected", ratios[:, 1].sum(), len(ratios)),
    )


def _measures(rewards: Tensor, logprobs: Tensor) -> tuple[Measure, ...]:
    """What tells whether pairs are told apart. All are [pairs, (better, worse)].

    A reward is `beta` times the log-ratio to the model before step 1 (or the log-probability, where that is not asked).
    """
    count = len(rewards)
    margin = rewards[:, 0] - rewards[:, 1]
    found = {
        "reward_accuracy": (margin > 0).float() + 0.5 * (margin == 0).float(),
        "reward_margin": margin,
        "reward_chosen": rewards[:, 0],
        "reward_rejected": rewards[:, 1],
        "logprob_chosen": logprobs[:, 0],
        "logprob_rejected": logprobs[:, 1],
    }
    return tuple(Measure(name, value.sum(), count) for name, value in found.items())

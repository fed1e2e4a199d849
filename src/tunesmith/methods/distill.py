"""Learning from a teacher: a small model is to give each next token the chances that a larger one gives it.

With t the teacher's and s the student's distribution over the next token, both softened by a temperature T:

| divergence | formula                                       | source |
|------------|-----------------------------------------------|--------|
| forward_kl | KL(t, s): the student covers what the teacher may say     | arXiv 1503.02531 |
| reverse_kl | KL(s, t): the student keeps to what the teacher would say | arXiv 2306.08543 |
| jsd        | b KL(t, m) + (1-b) KL(s, m), m = b t + (1-b) s            | arXiv 2306.13649 |

Each is multiplied by T^2, which keeps gradients of one size whatever T is (arXiv 1503.02531). `sft` is the share of the
answer's own negative log-likelihood, the divergence has the rest.

Where only the teacher's likeliest tokens are known, all others count as one: a divergence over that coarser choice, never
above the whole one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tunesmith.config.method import Distill as Options
from tunesmith.data.schema import Conversation
from tunesmith.methods.base import Batch, Example, Loss, Measure, Score, Taught, Term
from tunesmith.segments import Row, tree_weight

_LEAST = 1e-7  # of all other tokens together; less is rounding


class Distill:
    """The mean is over all loss tokens of an update, as in supervised fine-tuning."""

    consumes: type = Conversation
    scores = False
    keeps_samples_whole = False
    judged_by = ""
    needs_other_answers = False
    needs_reference = False
    needs_teacher = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def observe(self, policy: Score, batches: Sequence[Batch]) -> float:
        return 0.0

    def plan(self, examples: Sequence[Example]) -> dict[str, float]:
        return {"tokens": sum(tree_weight(example.tree) for example in examples)}

    def loss(self, policy: Score, batch: Batch) -> Loss:
        found = torch.cat([self._of_row(policy, row, batch) for row in batch.rows])  # [R, 3]
        weight_of = [target.weight for row in batch.rows for target in row.targets]
        weights = found.new_tensor(weight_of)
        divergence, nll, agrees = (found * weights[:, None]).sum(0).unbind()
        share, weight = self.options.sft, sum(weight_of)
        return Loss(
            (Term("tokens", divergence, 1 - share), Term("tokens", nll, share)),
            (
                Measure("divergence", divergence.detach(), weight),
                Measure("nll", nll.detach(), weight),
                Measure("teacher_agreement", agrees.detach(), weight),
            ),
        )

    def _of_row(self, policy: Score, row: Row, batch: Batch) -> Tensor:
        """[R, 3]: of each target the divergence, the negative log-likelihood, and whether both would say the same."""
        assert batch.teacher is not None
        told = batch.teacher(row)
        tokens = torch.tensor([target.token for target in row.targets])

        def of_targets(logits: Tensor, at: Tensor) -> Tensor:
            wanted = tokens.to(at.device)[at]
            with torch.no_grad():
                taught = told(at)
                likeliest = taught.logprobs.argmax(-1, keepdim=True)
                if taught.tokens is not None:
                    likeliest = taught.tokens.gather(1, likeliest)
                agrees = (likeliest[:, 0] == logits[:, : taught.vocabulary].argmax(-1)).float()
            total = logits.logsumexp(-1)
            nll = total - logits.gather(1, wanted[:, None])[:, 0]
            return torch.stack([self._divergence(logits, taught, total), nll, agrees], -1)

        return policy.over_vocabulary(row, of_targets)

    def _divergence(self, logits: Tensor, taught: Taught, total: Tensor) -> Tensor:
        """[C] from the student's logits [C, V] and the logarithm [C] of the sum of their exponentials."""
        options, teacher = self.options, taught.logprobs
        softened = logits[:, : taught.vocabulary]
        if options.temperature != 1 or taught.vocabulary != logits.shape[1]:
            softened = softened / options.temperature
            total = softened.logsumexp(-1)
        if taught.tokens is None:
            student = softened - total[:, None]
        else:  # a few numbers a row, where the whole vocabulary need not be gone through again
            student = _with_the_rest(softened.gather(1, taught.tokens) - total[:, None])
            teacher = _with_the_rest(teacher)
        scale = options.temperature**2
        if options.divergence == "forward_kl":
            return scale * _kl(teacher, student)
        if options.divergence == "reverse_kl":
            return scale * _kl(student, teacher)
        share = logits.new_tensor(options.jsd_share)
        mixture = torch.logaddexp(teacher + share.log(), student + torch.log1p(-share))
        return scale * (share * _kl(teacher, mixture) + (1 - share) * _kl(student, mixture))


def _kl(one: Tensor, other: Tensor) -> Tensor:
    """KL(one, other) over the last dimension of log-probabilities."""
    return (one.exp() * (one - other)).sum(-1)


def _with_the_rest(logprobs: Tensor) -> Tensor:
    """[C, k + 1]: the log-probability of all other tokens together behind those that are known."""
    rest = torch.log1p(-logprobs.exp().sum(-1, keepdim=True).clamp(max=1 - _LEAST))
    return torch.cat([logprobs, rest], -1)

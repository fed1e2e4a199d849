"""How long a step takes, from timing the real thing on a small piece: two layers of the model's shape, random weights.

Timed are forward and backward passes of two layers over a row as long as the recipe's (or, where that would take too
long, over two shorter ones), with activations kept and recomputed, as the recipe has its layers; the head over some of
the vocabulary; and the optimizer over the weights of two layers. Everything else is these numbers times how often they
occur.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.schema import Recipe
from tunesmith.kernels.head import CHUNK, LogitTransform, target_logprobs
from tunesmith.models.layers import decoder_layers
from tunesmith.models.load import DTYPES, load_model
from tunesmith.models.policy import Policy
from tunesmith.models.recompute import recompute_activations
from tunesmith.models.skeleton import skeleton
from tunesmith.segments import Row, SegmentPlan
from tunesmith.train.dry_run import cut
from tunesmith.train.memory_plan import Setting, tune
from tunesmith.train.optim import make_optimizer

_LAYERS = 2
_LONGEST_TRIAL = 3.0  # seconds that one pass over a calibration row may take
_FIRST_TRIAL = 64  # tokens
_TIMES = 3  # that each row is timed; the first asks the system for memory
_VOCABULARY = 4096  # rows of the head that are timed
_TOKENS = 256  # different tokens in a calibration row


@dataclass(frozen=True)
class Share:
    """Seconds of a layer's pass over a row: `token * tokens + score * sum of squared segment lengths`."""

    token: float
    score: float

    def over(self, row: Row) -> float:
        return self.token * len(row.tokens) + self.score * _scores(row)


@dataclass(frozen=True)
class Passes:
    """A layer's forward pass, and its backward pass with the forward pass that is done again in it, if it is."""

    forward: Share
    backward: Share


@dataclass(frozen=True)
class Speed:
    """Seconds, each measured or extrapolated from measured ones.

    A layer that recomputes its activations was measured to be faster than one that keeps them and a forward pass besides
    (its first forward pass takes less memory), so each way is timed by itself.
    """

    kept: Passes
    recomputed: Passes
    head_row: float  # a loss row through the head, forward and backward
    update: float  # optimizer and clipping, all weights
    token: float  # one token of an answer
    layers: int

    def row(self, row: Row, recomputed: int) -> float:
        """Seconds of one row's forward and backward pass, with so many layers recomputed."""
        kept, again = (one.forward.over(row) + one.backward.over(row) for one in (self.kept, self.recomputed))
        return (self.layers - recomputed) * kept + recomputed * again + self.head_row * len(row.targets)

    def step(self, rows: Sequence[Row], recomputed: int) -> float:
        return sum(self.row(row, recomputed) for row in rows) + self.update

    def scoring(self, rows: Sequence[Row]) -> float:
        """Seconds of a forward pass only."""
        return sum(
            self.layers * self.recomputed.forward.over(row) + self.head_row * len(row.targets) / 2
            for row in rows
        )


def _scores(row: Row) -> int:
    """The scores that attention computes: each segment's queries times what they may see."""
    return sum(segment.length * (segment.offset + segment.length) for segment in row.plan.segments)


def calibrate(recipe: Recipe, setting: Setting, typical: Row, *, trainable: float, recomputed: int) -> Speed:
    """Time two layers on this machine, with the threads that are set.

    Args:
        typical: a row such as the recipe's.
        trainable: how many numbers learn, for the optimizer.
        recomputed: how many layers are recomputed; where it is none or all, the other way is not timed.
    """
    compute, full = DTYPES[setting.precision], recipe.adapter.type == "none"
    bare = skeleton(
        setting.folder,
        dtype=torch.float32 if full else compute,
        trust_remote_code=setting.trust_remote_code,
        scores=setting.scores,
    )
    layers, (vocabulary, hidden) = len(decoder_layers(bare)), bare.get_input_embeddings().weight.shape
    model = _two_layers(bare, recipe, setting)
    tuned = tune(recipe, setting, model, _LAYERS)
    policy = Policy(tuned, segments=setting.segments, compute=compute, seed=0)
    ways = [_fitted(policy, typical)] if recomputed < layers else []
    if recomputed:
        recompute_activations(model)
        ways.append(_fitted(policy, typical))
    head = 0.0  # of one that scores; it takes as good as nothing
    if not setting.scores:
        head = _head_seconds(hidden, vocabulary, model.dtype, setting.device, trains=full)
    token = min(_timed(policy, [1])[0] for _ in range(3)) / _LAYERS * layers + head
    step, fresh = _update_seconds(policy, recipe)
    update = (step + fresh) * trainable
    if full:
        update += fresh * vocabulary * hidden  # looking up embeddings leaves a gradient of all of them
    return Speed(ways[0], ways[-1], head, update, token, layers)


def _two_layers(bare: PreTrainedModel, recipe: Recipe, setting: Setting) -> PreTrainedModel:
    """The lowest two layers with random weights and a small vocabulary, packed as the recipe says."""
    cut(bare, _LAYERS)
    embeddings, head = bare.get_input_embeddings(), bare.get_output_embeddings()
    embeddings.weight = nn.Parameter(embeddings.weight[:_TOKENS])
    embeddings.padding_idx = None  # it may lie past the small vocabulary
    if head is not None:
        head.weight = nn.Parameter(head.weight[:_TOKENS])
    for config in (bare.config, bare.config.get_text_config(decoder=True)):
        config.pad_token_id = None
    bare.config.get_text_config(decoder=True).vocab_size = _TOKENS
    model: PreTrainedModel = bare.to_empty(device=setting.device)
    pattern = torch.randn(1 << 16, generator=torch.Generator().manual_seed(0)).mul_(0.02)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            flat = pattern.to(tensor.device, tensor.dtype)
            tensor.data.copy_(
                flat.repeat(-(-tensor.numel() // len(flat)))[: tensor.numel()].view(tensor.shape)
            )
    if recipe.model.quantize not in ("nf4", "bnb8"):
        return model
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        dtype = model.dtype
        del model
        return load_model(
            Path(folder),
            dtype=dtype,
            device=setting.device,
            quantize=recipe.model.quantize,
            scores=setting.scores,
        )


def _fitted(policy: Policy, typical: Row) -> Passes:
    """A layer's passes, from rows of two lengths."""
    lengths = [segment.length for segment in typical.plan.segments]
    _timed(policy, [min(_FIRST_TRIAL, lengths[0])])  # the first time libraries choose their kernels
    guess = min(sum(_timed(policy, [_FIRST_TRIAL])) for _ in range(_TIMES)) / _FIRST_TRIAL
    most = max(2 * _FIRST_TRIAL, int(_LONGEST_TRIAL / max(guess, 1e-9)))
    long = _within(lengths, most)
    short = _within(lengths, max(_FIRST_TRIAL, sum(long) // 2))
    seconds = [[_timed(policy, row) for _ in range(_TIMES)] for row in (long, short)]
    # The fastest: what disturbs a measurement only ever makes it longer.
    best = [[min(one) for one in zip(*several, strict=True)] for several in seconds]
    return Passes(*(_share(best[0][side] / _LAYERS, best[1][side] / _LAYERS, long, short) for side in (0, 1)))


def _within(lengths: list[int], most: int) -> list[int]:
    """The first segments of a row that stay within so many tokens; one cut, where the first alone is longer."""
    if lengths[0] >= most:
        return [most]
    kept: list[int] = []
    for length in lengths:
        if sum(kept) + length > most:
            break
        kept.append(length)
    return kept


def _share(two: float, one: float, long: list[int], short: list[int]) -> Share:
    """Solve `seconds = a * tokens + b * squares` for two rows; where they do not tell `b`, it is 0."""
    tokens, squares = (sum(long), sum(short)), (sum(n * n for n in long), sum(n * n for n in short))
    determinant = tokens[0] * squares[1] - tokens[1] * squares[0]
    if determinant:
        a = (two * squares[1] - one * squares[0]) / determinant
        b = (tokens[0] * one - tokens[1] * two) / determinant
        if a > 0 and b > 0:
            return Share(a, b)
    return Share(two / tokens[0], 0.0)


def _timed(policy: Policy, lengths: list[int]) -> tuple[float, float]:
    """Seconds of the forward and the backward pass of the layers over a row of such segments."""
    device = policy.device
    plan = SegmentPlan.of(lengths) if policy.segments else SegmentPlan.of([sum(lengths)])
    embedded = policy.causal_lm.get_input_embeddings()
    tokens = torch.arange(plan.length, device=device)[None] % _TOKENS
    positions = torch.tensor(plan.positions, device=device)[None]
    extra = {"segments": plan} if policy.segments else {}
    mixed = policy.compute != torch.float32
    with policy.training_mode():
        with torch.autocast(device.type, dtype=policy.compute, enabled=mixed):
            # In a deep model all layers but the lowest hand a gradient down.
            states = embedded(tokens).detach().requires_grad_(True)
            began = _now(device)
            outputs = policy.trunk(inputs_embeds=states, position_ids=positions, use_cache=False, **extra)
            middle = _now(device)
        outputs.last_hidden_state.float().sum().backward()
        return middle - began, _now(device) - middle


def _head_seconds(hidden: int, vocabulary: int, dtype: torch.dtype, device: str, *, trains: bool) -> float:
    """Seconds of one loss row through the head, both ways; timed over some of the vocabulary."""
    part = min(vocabulary, _VOCABULARY)
    head = nn.Linear(hidden, part, bias=False, device=device, dtype=dtype).requires_grad_(trains)
    states = torch.ones(CHUNK, hidden, device=device, dtype=dtype, requires_grad=True)
    wanted = torch.zeros(CHUNK, dtype=torch.long, device=device)
    seconds = []
    for _ in range(3):
        began = _now(states.device)
        target_logprobs(states, wanted, head, LogitTransform()).sum().backward()
        seconds.append(_now(states.device) - began)
    return min(seconds) * vocabulary / part / CHUNK


def _update_seconds(policy: Policy, recipe: Recipe) -> tuple[float, float]:
    """Seconds of clipping and the optimizer's step, and of making a gradient anew, for each number that learns."""
    weights = policy.trainable()
    optimizer = make_optimizer(weights, recipe.train, recipe.adapter.lr_ratio)
    seconds = []
    for _ in range(3):  # the first makes the moments
        optimizer.zero_grad(set_to_none=True)
        began = _now(policy.device)
        for weight in weights.values():
            weight.grad = torch.zeros_like(weight).add_(1e-3)
        middle = _now(policy.device)
        torch.nn.utils.clip_grad_norm_(weights.values(), recipe.train.max_grad_norm or 1.0)
        optimizer.step()
        seconds.append((_now(policy.device) - middle, middle - began))
    optimizer.zero_grad(set_to_none=True)
    numbers = sum(weight.numel() for weight in weights.values())
    step, fresh = (min(some) / numbers for some in zip(*seconds[1:], strict=True))
    return step, fresh


def _now(device: torch.device) -> float:
    """A clock that waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()

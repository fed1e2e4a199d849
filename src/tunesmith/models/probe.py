"""Look before you train: does this family compute the same through the flat row as through separate runs?

A small forest — two roots, one of them with two children — goes through the segment attention in one row, and each of
its root-to-leaf paths goes alone through the family's own attention. The log-probabilities must agree, and every
layer must have called the segment attention once, in training mode too, where dropout may come in. Of a model that
scores, the scores of the paths' ends are compared instead, with each other and with the family's own. Windows are wider
than a small forest, so the masks that the family asks for are looked at far beyond it. A family that fails
(state-space layers, odd masks) trains one sequence a row with its own attention instead; one whose head is more than
a linear layer keeps its head; and one that sees what is yet to come is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from tunesmith.errors import InputError
from tunesmith.kernels.segment_attention import NAME, UnsupportedAttention, segment_attention
from tunesmith.models.policy import Policy, attention, register_segment_attention
from tunesmith.models.probe_pictures import PictureTrial
from tunesmith.models.scoring import scores
from tunesmith.models.seeing import takes_pictures, trunk_of
from tunesmith.models.vision import PictureTokens, not_known
from tunesmith.segments import Block, Piece, Tree, lay_row, single_paths

# RoPE types whose frequencies depend on how long the row is: a packed row would turn every token's angle.
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}

# Agreement, relative to the spread of the log-probabilities. A wrong mask is off by tenths in any type.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 8e-2, torch.float16: 2e-2}


# What a forward raises that does not take what is handed to it.
_NOT_TAKEN = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError)

# Where masks are looked at: distances that no window or chunk of a real model hides from.
_FAR = tuple(sorted({0, *(2**power + step for power in range(21) for step in (-1, 0, 1))}))


@dataclass(frozen=True)
class Probe:
    """Whether rows may hold several sequences, and why or why not; and whether the family's own logits are needed.

    `blind` says why no pictures can be shown to the model; None: they can, or it was not to be found out.
    """

    segments: bool
    reason: str
    own_logits: bool = False
    blind: str | None = None


def probe(model: PreTrainedModel, *, compute: torch.dtype, eyes: PictureTokens | None = None) -> Probe:
    """Compare a forest in one row with its paths run alone.

    Args:
        eyes: how the model takes pictures, to try it with some in the row too.

    Raises:
        InputError: the family cannot be trained: its forward takes no row of text, a token sees those behind it, or
            the weights give no numbers.
    """
    tree = _forest(_vocabulary(model))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            if scores(model):
                return _probe_scores(model, compute)
            own_logits = _head_is_more_than_linear(model, compute)
            own = Policy(model, segments=False, compute=compute, seed=0, own_logits=own_logits)
            alone = torch.cat([own(lay_row([Block.of(path)])) for path in single_paths(tree)])
            _check_causal(model, own, tree, alone)
            found = _probe_segments(model, tree, alone, compute, own_logits)
            return found if eyes is None else _with_pictures(model, found, eyes, compute)
    finally:
        model.train(was_training)


def _probe_scores(model: PreTrainedModel, compute: torch.dtype) -> Probe:
    """As `probe`, of a model that scores. What it sees of what is yet to come does not matter to it.

    Raises:
        InputError: it does not run on a row of text, or reads its score in a way of its own.
    """
    tree = _many_leaves(_vocabulary(model))
    own = Policy(model, segments=False, compute=compute, seed=0)
    paths = [lay_row([Block.of(path)]) for path in single_paths(tree)]
    with torch.autocast(model.device.type, dtype=compute, enabled=compute != torch.float32):
        try:
            tokens = [torch.tensor(path.tokens, device=model.device)[None] for path in paths]
            theirs = torch.cat([model(one, use_cache=False).logits[0].float() for one in tokens])
            alone = torch.cat([own(path) for path in paths])
        except _NOT_TAKEN as error:
            raise _not_taken(model, error) from error
    if not theirs.isfinite().all():
        raise _no_numbers()
    if not (theirs - alone).abs().max() / theirs.std() < _TOLERANCE[compute]:
        raise InputError(
            f"the family {model.config.model_type!r} does not read its score off the last token that is no padding",
            where="method.name: reward",
            remedy="choose another family, such as Llama or Qwen3",
        )
    return _probe_segments(model, tree, alone, compute, own_logits=False)


def _no_numbers() -> InputError:
    return InputError(
        "the model's weights give numbers that are not finite",
        remedy="get the model again, or use model.precision: fp32",
    )


def _head_is_more_than_linear(model: PreTrainedModel, compute: torch.dtype) -> bool:
    """Our head and logit transform against the model's own logits for one sequence.

    Raises:
        InputError: the model does not run on a row of text, or not even its own logits are the same twice.
    """
    tokens = _draws(_vocabulary(model), 8, seed=8)
    row = lay_row([Block.of((Piece(tokens, (1.0,) * 8),))])
    with torch.autocast(model.device.type, dtype=compute, enabled=compute != torch.float32):
        try:
            logits = model(torch.tensor(tokens, device=model.device)[None], use_cache=False).logits[0]
        except _NOT_TAKEN as error:
            raise _not_taken(model, error) from error
    theirs = logits[:-1].float().log_softmax(-1)
    theirs = theirs.gather(1, torch.tensor(tokens[1:], device=model.device)[:, None])[:, 0]
    if not theirs.isfinite().all():
        raise _no_numbers()
    reason: Exception | None = None
    for own_logits in (False, True):
        policy = Policy(model, segments=False, compute=compute, seed=0, own_logits=own_logits)
        try:
            ours = policy(row)
        except _NOT_TAKEN as error:
            reason = error
            continue
        if (ours - theirs).abs().max() / theirs.std() < _TOLERANCE[compute]:
            return own_logits
    raise _not_taken(model, reason or ValueError("it gives other numbers each time"))


def _not_taken(model: PreTrainedModel, error: Exception) -> Exception:
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        return error
    return InputError(
        f"the family {model.config.model_type!r} cannot be trained on text here: its forward does not take a row of "
        f"tokens alone ({_first_line(error)})",
        remedy="choose a model that is made to write text",
    )


def _check_causal(model: PreTrainedModel, policy: Policy, tree: Tree, alone: Tensor) -> None:
    """A model that sees the answer while it is to predict it would learn to copy.

    Raises:
        InputError: what comes behind a token changes what is predicted in front of it.
    """
    ((piece,), *_) = single_paths(tree)
    half = len(piece.tokens) // 2
    others = (*piece.tokens[:half], *((token + 1) % _vocabulary(model) for token in piece.tokens[half:]))
    one = alone[: half - 1]  # the first path's come first
    other = policy(lay_row([Block.of((Piece(others, piece.weights),))]))[: half - 1]
    if not (one - other).abs().max() / one.std() < _TOLERANCE[policy.compute]:
        raise InputError(
            f"the family {model.config.model_type!r} lets each token see those behind it: it would read the answer "
            "off instead of learning it",
            remedy="choose a model that is made to write text; some encoders become one by is_decoder: true in "
            "config.json",
        )


@dataclass
class _Noted:
    """What a forward asked of the attention and of its masks."""

    calls: list[tuple[int, int | None]] = field(default_factory=list)  # the attention module, and its window
    masks: list[tuple[Callable[..., Tensor], int | None]] = field(
        default_factory=list
    )  # the rule, and its window

    def attention(self, module: Any, *arguments: Any, **options: Any) -> Any:
        self.calls.append((id(module), options.get("sliding_window")))
        return segment_attention(module, *arguments, **options)

    def mask(self, *_: Any, mask_function: Any, local_size: int | None = None, **__: Any) -> None:
        self.masks.append((mask_function, local_size))


@contextmanager
def _noting() -> Iterator[_Noted]:
    """The segment attention, listened to."""
    noted = _Noted()
    AttentionInterface.register(NAME, noted.attention)
    AttentionMaskInterface.register(NAME, noted.mask)
    try:
        yield noted
    finally:
        register_segment_attention()


def _probe_segments(
    model: PreTrainedModel, tree: Tree, alone: Tensor, compute: torch.dtype, own_logits: bool
) -> Probe:
    def verdict(segments: bool, reason: str) -> Probe:
        return Probe(segments, reason, own_logits)

    rope_type = _rope_type(model.config)
    if rope_type in _LENGTH_DEPENDENT_ROPE:
        return verdict(False, f"its rotary embedding ({rope_type}) depends on the length of the row")
    if not model._can_set_attn_implementation():
        return verdict(False, "its attention cannot be replaced through transformers' attention interface")
    policy = Policy(model, segments=True, compute=compute, seed=0, own_logits=own_logits)
    row = lay_row([Block.of(tree)])
    lone = lay_row([Block.of(single_paths(tree)[0])])
    try:
        with _noting() as noted, attention(model, NAME):
            policy(lone)
        with attention(model, NAME):
            packed = policy(row)
            model.train()
            policy(row)
    except UnsupportedAttention as refusal:
        return verdict(False, str(refusal))
    except _NOT_TAKEN as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise
        return verdict(False, f"its forward does not take a segment plan ({_first_line(error)})")
    finally:
        model.eval()
    doubt = _doubt_about_calls(model.config.get_text_config(decoder=True), noted.calls) or _doubt_about_masks(
        noted
    )
    if doubt is not None:
        return verdict(False, doubt)
    # Both list each path's targets in path order, shared tokens once a leaf, but the row lists them by segment.
    if not policy.scores:
        packed = packed[sorted(range(len(row.targets)), key=lambda index: row.targets[index].leaf)]
    error_size = (packed - alone).abs().max() / alone.std()
    if not error_size < _TOLERANCE[compute]:
        return verdict(
            False, f"packed rows differ from separate runs, by {float(error_size):.1e} of their spread"
        )
    agreement = f"same to {float(error_size):.0e}" if error_size > 0 else "the same"
    return verdict(True, f"packed rows checked against separate runs: {agreement}")


def _with_pictures(model: PreTrainedModel, found: Probe, eyes: PictureTokens, compute: torch.dtype) -> Probe:
    """What was found of text, held against rows with pictures."""
    unknown = not_known(model.config.model_type)
    if not takes_pictures(trunk_of(model)):
        return replace(found, blind=unknown)
    trial = PictureTrial(model, eyes, compute, found.own_logits)
    try:
        if not trial.error_alone() < _TOLERANCE[compute]:
            return replace(found, blind=unknown)
    except _NOT_TAKEN as error:
        _raise_if_memory_is_short(error)
        return replace(found, blind=f"{unknown} ({_first_line(error)})")
    if not found.segments:
        return found
    try:
        packed = trial.error_packed()
    except (UnsupportedAttention, *_NOT_TAKEN) as error:
        _raise_if_memory_is_short(error)
        return replace(
            found, segments=False, reason=f"its rows with pictures cannot be packed ({_first_line(error)})"
        )
    if not packed < _TOLERANCE[compute]:
        reason = f"packed rows with pictures differ from separate runs, by {packed:.1e} of their spread"
        return replace(found, segments=False, reason=reason)
    return replace(found, reason=f"{found.reason}; with pictures too")


def _raise_if_memory_is_short(error: Exception) -> None:
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        raise error


def _doubt_about_calls(config: Any, calls: list[tuple[int, int | None]]) -> str | None:
    """What is wrong with which layers called the attention, and with which windows; None if nothing is."""
    layers = config.num_hidden_layers
    modules = {module for module, _ in calls}
    if len(modules) != layers:
        return f"{len(modules)} of its {layers} layers call the attention interface"
    if len(calls) != layers:
        return f"its {layers} layers call the attention interface {len(calls)} times"
    kinds = getattr(config, "layer_types", None)
    unknown = sorted(set(kinds or ()) - {"full_attention", "sliding_attention"})
    if unknown:
        return f"the segment attention does not implement {', '.join(unknown)}"
    window = getattr(config, "sliding_window", None)
    expected = [
        window if kinds is None or kind == "sliding_attention" else None for kind in kinds or [None] * layers
    ]
    if [asked for _, asked in calls] != expected:
        return "its layers do not tell the attention of the windows that its configuration names"
    return None


def _doubt_about_masks(noted: _Noted) -> str | None:
    """Whether masks were asked for that the calls do not speak of: a window is wider than a small forest."""
    at_query, at_key = torch.tensor(_FAR)[:, None], torch.tensor(_FAR)[None, :]
    told = {window for _, window in noted.calls}
    for rule, window in noted.masks:
        try:
            seen = rule(torch.tensor(0), torch.tensor(0), at_query, at_key)
        except _NOT_TAKEN:
            return "its masks depend on more than positions"
        expected = at_key <= at_query
        if window is not None:
            expected = expected & (at_key > at_query - window)
        if not torch.equal(seen.expand_as(expected), expected):
            return "its masks are neither causal nor windows"
        if window and window not in told:  # some ask for a window of 0 that no layer uses
            return "its layers do not tell the attention of the windows that its masks have"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _vocabulary(model: PreTrainedModel) -> int:
    """Tokens that have both an embedding and a logit."""
    rows: int = model.get_input_embeddings().num_embeddings
    named = getattr(model.config.get_text_config(decoder=True), "vocab_size", None)
    return min(rows, named) if isinstance(named, int) else rows


def _draws(vocabulary: int, count: int, seed: int) -> tuple[int, ...]:
    return tuple(torch.randint(vocabulary, (count,), generator=torch.Generator().manual_seed(seed)).tolist())


def _forest(vocabulary: int) -> Tree:
    draws = _draws(vocabulary, 24, seed=20)

    def piece(first: int, last: int, parent: int | None) -> Piece:
        return Piece(draws[first:last], (1.0,) * (last - first), parent)

    return (piece(0, 6, None), piece(6, 11, 0), piece(11, 15, 0), piece(15, 24, None))


def _many_leaves(vocabulary: int) -> Tree:
    """A root with children of several lengths, one of them with children of its own, and a lone sequence."""
    draws = _draws(vocabulary, 40, seed=40)
    cuts = [
        (0, 6, None),
        (6, 11, 0),
        (11, 15, 0),
        (15, 17, 0),
        (17, 20, 2),
        (20, 26, 2),
        (26, 31, 0),
        (31, 40, None),
    ]
    return tuple(Piece(draws[a:b], (1.0,) * (b - a), parent) for a, b, parent in cuts)


def _rope_type(config: Any) -> str | None:
    text = config.get_text_config(decoder=True)
    for name in ("rope_parameters", "rope_scaling"):
        parameters = getattr(text, name, None)
        if isinstance(parameters, dict):
            found = parameters.get("rope_type") or parameters.get("type")
            if found:
                return str(found)
    return None

"""Look before you train: does this family compute the same through the flat row as through separate runs?

A small forest — two roots, one of them with two children — goes through the segment attention in one row, and each of
its root-to-leaf paths goes alone through the family's own attention. The log-probabilities must agree, and every
layer must have called the segment attention once, in training mode too, where dropout may come in. Windows are wider
than a small forest, so those that the configuration tells of are looked for in the calls. A family that fails
(state-space layers, odd masks) trains one sequence a row with its own attention instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from tunesmith.errors import InputError
from tunesmith.kernels.segment_attention import NAME, UnsupportedAttention, segment_attention
from tunesmith.models.policy import Policy, attention
from tunesmith.segments import Block, Piece, Tree, lay_row, single_paths

# RoPE types whose frequencies depend on how long the row is: a packed row would turn every token's angle.
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}

# Agreement, relative to the spread of the log-probabilities. A wrong mask is off by tenths in any type.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 8e-2, torch.float16: 2e-2}


@dataclass(frozen=True)
class Probe:
    """Whether rows may hold several sequences, and if not, why."""

    segments: bool
    reason: str


def probe(model: PreTrainedModel, *, compute: torch.dtype) -> Probe:
    """Compare a forest in one row with its paths run alone.

    Raises:
        InputError: even a single sequence does not give the model's own logits through our head.
    """
    vocabulary = model.get_input_embeddings().num_embeddings
    tree = _forest(vocabulary)
    own = Policy(model, segments=False, compute=compute, seed=0)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = torch.cat([own(lay_row([Block.of(path)])) for path in single_paths(tree)])
            if not alone.isfinite().all():
                raise InputError(
                    "the model's weights give numbers that are not finite",
                    remedy="get the model again, or use model.precision: fp32",
                )
            _check_head(model, own, alone.std())
            return _probe_segments(model, tree, alone, compute)
    finally:
        model.train(was_training)


def _probe_segments(model: PreTrainedModel, tree: Tree, alone: Tensor, compute: torch.dtype) -> Probe:
    rope_type = _rope_type(model.config)
    if rope_type in _LENGTH_DEPENDENT_ROPE:
        return Probe(False, f"its rotary embedding ({rope_type}) depends on the length of the row")
    if not model._can_set_attn_implementation():
        return Probe(False, "its attention cannot be replaced through transformers' attention interface")
    policy = Policy(model, segments=True, compute=compute, seed=0)
    calls: list[tuple[int, int | None]] = []  # the attention module, and the window it asks for

    def noting(module: Any, *arguments: Any, **options: Any) -> Any:
        calls.append((id(module), options.get("sliding_window")))
        return segment_attention(module, *arguments, **options)

    AttentionInterface.register(NAME, noting)
    row = lay_row([Block.of(tree)])
    try:
        with attention(model, NAME):
            packed = policy(row)
            called = list(calls)
            model.train()
            policy(row)
    except UnsupportedAttention as refusal:
        return Probe(False, str(refusal))
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return Probe(False, f"its forward does not take a segment plan ({str(error).splitlines()[0][:120]})")
    finally:
        AttentionInterface.register(NAME, segment_attention)
        model.eval()
    doubt = _doubt_about_calls(model.config.get_text_config(), called)
    if doubt is not None:
        return Probe(False, doubt)
    # Both list each path's targets in path order, shared tokens once a leaf, but the row lists them by segment.
    by_leaf = sorted(range(len(row.targets)), key=lambda index: row.targets[index].leaf)
    error_size = (packed[by_leaf] - alone).abs().max() / alone.std()
    if not error_size < _TOLERANCE[compute]:
        return Probe(
            False, f"packed rows differ from separate runs, by {float(error_size):.1e} of their spread"
        )
    agreement = f"same to {float(error_size):.0e}" if error_size > 0 else "the same"
    return Probe(True, f"packed rows checked against separate runs: {agreement}")


def _doubt_about_calls(config: Any, calls: list[tuple[int, int | None]]) -> str | None:
    """What is wrong with which layers called the attention, and with which windows; None if nothing is."""
    layers = config.num_hidden_layers
    modules = {module for module, _ in calls}
    if len(calls) != layers or len(modules) != layers:
        return f"{len(modules)} of its {layers} layers call the attention interface"
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


def _forest(vocabulary: int) -> Tree:
    draws = torch.randint(vocabulary, (24,), generator=torch.Generator().manual_seed(20)).tolist()

    def piece(first: int, last: int, parent: int | None) -> Piece:
        return Piece(tuple(draws[first:last]), (1.0,) * (last - first), parent)

    return (piece(0, 6, None), piece(6, 11, 0), piece(11, 15, 0), piece(15, 24, None))


def _check_head(model: PreTrainedModel, policy: Policy, spread: Tensor) -> None:
    """Our head and logit transform against the model's own logits for one sequence."""
    tokens = tuple(
        torch.randint(
            model.get_input_embeddings().num_embeddings, (8,), generator=torch.Generator().manual_seed(8)
        ).tolist()
    )
    row = lay_row([Block.of((Piece(tokens, (1.0,) * 8),))])
    ours = policy(row)
    device = policy.device
    with torch.autocast(device.type, dtype=policy.compute, enabled=policy.compute != torch.float32):
        logits = model(torch.tensor(tokens, device=device)[None], use_cache=False, logits_to_keep=0).logits[0]
    wanted = torch.tensor(tokens[1:], device=device)[:, None]
    theirs = logits[:-1].float().log_softmax(-1).gather(1, wanted)[:, 0]
    if not (ours - theirs).abs().max() / spread < _TOLERANCE[policy.compute]:
        raise InputError(
            f"the family {model.config.model_type!r} computes its logits in a way that tunesmith does not know",
            remedy="please report the model; nothing was trained",
        )


def _rope_type(config: Any) -> str | None:
    text = config.get_text_config()
    for name in ("rope_parameters", "rope_scaling"):
        parameters = getattr(text, name, None)
        if isinstance(parameters, dict):
            found = parameters.get("rope_type") or parameters.get("type")
            if found:
                return str(found)
    return None

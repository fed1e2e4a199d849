"""Attention over a flat row of segments, in the shape that transformers' AttentionInterface calls.

Each segment attends causally to itself and to all of its ancestors, and to nothing else. Segments of one shape
(length, ancestors' length) are computed together as a batch by PyTorch's fused kernels, which never build the scores;
behind ancestors they take a mask of one byte a pair, [length, ancestors' length + length], made once a row.

Sliding windows count along the lineage. Attention sinks (GPT-OSS) and softcapping (Gemma 2) are computed explicitly
in blocks of queries, recomputed in the backward pass. Any argument beyond these raises: a version that swallowed what
it did not know was silently wrong for 84 of 143 causal families.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from tunesmith.segments import SegmentPlan

NAME = "segments"

# Arguments that decoder layers pass along and that carry nothing for us: positions are already in the queries and
# keys, and there is no cache in a training forward.
_CARRIES_NOTHING = {
    "position_ids",
    "use_cache",
    "cache_position",
    "output_attentions",
    "output_hidden_states",
}

_QUERY_BLOCK = 128  # queries a block of the explicit path: bounds its scores at [heads, 128, keys]


class UnsupportedAttention(Exception):
    """The model asked for an attention that the segment attention does not implement."""


@dataclass(frozen=True)
class _Group:
    """Segments of one shape. `queries` [n, L] and `keys` [n, P + L] are positions in the row."""

    queries: Tensor
    keys: Tensor
    prefix: int  # P, the ancestors' tokens
    mask: Tensor | None  # [L, P + L] bool, where there is a prefix

    @property
    def length(self) -> int:
        return self.queries.shape[1]


@dataclass(frozen=True)
class _Form:
    groups: tuple[_Group, ...]
    back: Tensor | None  # [T] where each row position stands in the groups' concatenated outputs


def _build_form(plan: SegmentPlan, device: torch.device) -> _Form:
    by_shape: dict[tuple[int, int], list[int]] = {}
    for index, segment in enumerate(plan.segments):
        by_shape.setdefault((segment.length, segment.offset), []).append(index)
    groups, order = [], []
    for (length, prefix), members in by_shape.items():
        paths = torch.tensor([plan.path_positions(index) for index in members], device=device)
        queries = paths[:, prefix:]
        mask = None
        if prefix:
            mask = torch.ones(length, prefix + length, dtype=torch.bool, device=device).tril_(prefix)
        groups.append(_Group(queries, paths, prefix, mask))
        order.append(queries.reshape(-1))
    if len(plan.segments) == 1:
        return _Form(tuple(groups), None)
    return _Form(tuple(groups), torch.argsort(torch.cat(order)))


def _repeat_heads(states: Tensor, heads: int) -> Tensor:
    """[n, H_kv, K, D] -> [n, H, K, D] for grouped-query attention."""
    batch, kv_heads, keys, width = states.shape
    if kv_heads == heads:
        return states
    spread = states[:, :, None].expand(batch, kv_heads, heads // kv_heads, keys, width)
    return spread.reshape(batch, heads, keys, width)


def _explicit_block(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sinks: Tensor | None,
    first_query: int,
    first_key: int,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Scores, softmax and sum for one block: query [n, H, B, D], key and value [n, H, K, D].

    `first_query` and `first_key` are the path positions of the first of each.
    """
    scores = torch.matmul(query, key.transpose(-1, -2)).float() * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    at_query = torch.arange(first_query, first_query + query.shape[2], device=query.device)[:, None]
    at_key = torch.arange(first_key, first_key + key.shape[2], device=query.device)[None, :]
    visible = at_key <= at_query
    if window is not None:
        visible &= at_key > at_query - window
    scores = scores.masked_fill(~visible, float("-inf"))
    if sinks is None:
        weights = scores.softmax(-1)
    else:
        # A sink is a key that takes its share of the softmax and gives nothing back.
        column = sinks.float().reshape(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        weights = torch.cat([scores, column], -1).softmax(-1)[..., :-1]
    return torch.matmul(weights.to(value.dtype), value)


def _explicit(
    query: Tensor, key: Tensor, value: Tensor, prefix: int, sinks: Tensor | None, scaling: float,
    window: int | None, softcap: float | None,
) -> Tensor:  # fmt: skip
    """Attention of one group in blocks of queries; each block's scores are recomputed in the backward pass."""
    blocks = []
    for begin in range(0, query.shape[2], _QUERY_BLOCK):
        end = min(begin + _QUERY_BLOCK, query.shape[2])
        low = 0 if window is None else max(0, prefix + begin - window + 1)
        high = prefix + end
        block = checkpoint(
            _explicit_block,
            query[:, :, begin:end],
            key[:, :, low:high],
            value[:, :, low:high],
            sinks,
            prefix + begin,
            low,
            scaling,
            window,
            softcap,
            use_reentrant=False,
        )
        blocks.append(block)
    return torch.cat(blocks, 2)


def _refuse_unless(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    segments: SegmentPlan | None,
    dropout: float,
    is_causal: bool | None,
    others: dict[str, Any],
) -> SegmentPlan:
    """The plan, if everything that was asked for is implemented here."""
    if segments is None:
        raise UnsupportedAttention("no segment plan was passed along by the model")
    if attention_mask is not None:
        raise UnsupportedAttention("the model adds an attention mask of its own")
    if dropout:
        raise UnsupportedAttention("dropout on attention weights is not implemented")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if not causal:
        raise UnsupportedAttention("attention that is not causal is not implemented")
    unknown = sorted(
        name
        for name, value in others.items()
        if name not in _CARRIES_NOTHING and value is not None and value is not False
    )
    if unknown:
        raise UnsupportedAttention(f"the segment attention does not implement {', '.join(unknown)}")
    if query.shape[0] != 1 or query.shape[2] != segments.length or key.shape[2] != segments.length:
        raise UnsupportedAttention(
            f"a row of {segments.length} tokens met queries of shape {tuple(query.shape)}"
        )
    return segments


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: SegmentPlan | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend over one row: query [1, H, T, D], key and value [1, H_kv, T, D] -> [1, T, H, D].

    Raises:
        UnsupportedAttention: an argument that is not implemented here.
    """
    plan = _refuse_unless(module, query, key, attention_mask, segments, dropout, is_causal, others)
    form: _Form = plan.form(("groups", query.device), lambda plan: _build_form(plan, query.device))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    outputs = []
    for group in form.groups:
        if form.back is None:
            states = (query, key, value)
        else:
            # [H, n, L, D] -> [n, H, L, D]
            states = (
                query[0][:, group.queries].transpose(0, 1),
                key[0][:, group.keys].transpose(0, 1),
                value[0][:, group.keys].transpose(0, 1),
            )
        output = _attend(group, *states, scale, sliding_window, softcap, s_aux)
        outputs.append(output.transpose(1, 2).flatten(0, 1))  # [n * L, H, D]
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    # Some families take a view of what comes back, so a lone segment is laid out like the others.
    joined = joined.contiguous() if form.back is None else joined.index_select(0, form.back)
    return joined.unsqueeze(0), None


def _attend(
    group: _Group,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """One group: query [n, H, L, D], key and value [n, H_kv, P + L, D] -> [n, H, L, D]."""
    key, value = _repeat_heads(key, query.shape[1]), _repeat_heads(value, query.shape[1])
    if window is not None and window >= group.prefix + group.length:
        window = None
    if window is None and softcap is None and sinks is None:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=group.mask, is_causal=group.mask is None, scale=scale
        )
    return _explicit(query, key, value, group.prefix, sinks, scale, window, softcap)


def no_mask(*_: Any, **__: Any) -> None:
    """The mask builder that goes with `segment_attention`: the plan says who sees whom, no mask is made."""
    return None

"""Frozen weights in few bits: unpacked one matrix at a time for each product, forward and backward.

Nothing unpacked is kept for the backward pass, so a step holds one matrix in full at a time. Mixtures of experts keep
all experts of a layer in one 3-D weight, which bitsandbytes' layers do not know; here each expert is packed by itself,
and only those that tokens were sent to are unpacked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ExpertsInterface

from tunesmith.models.peft_at_home import keep_bitsandbytes_at_home
from tunesmith.optional import require

IMPLEMENTATION = "packed"  # the name under which transformers finds `packed_experts`
NF4_BLOCK, NF4_SUPERBLOCK = 64, 256  # weights that share a scale; scales that share a scale
MXFP4_BLOCK = 32
_QUANTISED_AT_ONCE = 1 << 20  # weights; a multiple of the block
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # E2M1, the sign in the fourth bit


def bitsandbytes() -> Any:
    """The package.

    Raises:
        InputError: it is not installed; names the pip line.
    """
    keep_bitsandbytes_at_home()
    return require("bitsandbytes", wanted_by="model.quantize")


class _FrozenProduct(torch.autograd.Function):
    """x W^T for a frozen W [out, in] that `unpack` gives; backward unpacks it again: dx = dy W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, unpack: Callable[[torch.dtype], Tensor]) -> Tensor:
        ctx.unpack = unpack
        return x @ unpack(x.dtype).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.unpack(gradient.dtype), None


def frozen_linear(x: Tensor, unpack: Callable[[torch.dtype], Tensor], bias: Tensor | None = None) -> Tensor:
    """`nn.functional.linear` over a packed weight; in autocast's type where autocast is on.

    Args:
        x: [..., in].
        unpack: gives the weight, [out, in], in the type it is asked for; called once more in the backward pass.
        bias: [out].
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    with torch.autocast(device, enabled=False):
        y: Tensor = _FrozenProduct.apply(x, unpack)
        return y if bias is None else y + bias.to(y.dtype)


def quantize_nf4(matrix: Tensor) -> tuple[Tensor, Any]:
    """NF4 with double quantisation (QLoRA, https://arxiv.org/abs/2305.14314, section 3), as bitsandbytes does it.

    The same numbers as `bitsandbytes.functional.quantize_4bit(matrix, compress_statistics=True, quant_type="nf4")`,
    but some rows at a time: on a CPU that takes 20 bytes a weight while it works.

    Args:
        matrix: [rows, columns].

    Returns:
        Codes [rows * columns / 2, 1], and bitsandbytes' `QuantState`.
    """
    functional = bitsandbytes().functional
    flat = matrix.contiguous().flatten()
    pieces = [
        functional.quantize_4bit(piece, blocksize=NF4_BLOCK, quant_type="nf4")
        for piece in flat.split(_QUANTISED_AT_ONCE)
    ]
    codes = torch.cat([codes for codes, _ in pieces])
    state = pieces[0][1]
    scales = torch.cat([state.absmax for _, state in pieces])
    state.offset = scales.mean()
    state.absmax, state.state2 = functional.quantize_blockwise(
        scales - state.offset, blocksize=NF4_SUPERBLOCK
    )
    state.nested, state.shape = True, matrix.shape
    return codes, state


class PackedExperts(nn.Module, ABC):
    """One weight of all experts of a layer, [experts, rows, columns], each expert packed by itself."""

    def __init__(self, experts: int, rows: int, columns: int) -> None:
        super().__init__()
        self.shape = torch.Size((experts, rows, columns))

    @abstractmethod
    def expert(self, number: int, dtype: torch.dtype) -> Tensor:
        """One expert's matrix, [rows, columns], in `dtype`."""

    def extra_repr(self) -> str:
        return f"{tuple(self.shape)}"


def parameter_count(model: nn.Module) -> int:
    """How many numbers the model has, those of packed weights counted as what they stand for."""
    experts = (module for module in model.modules() if isinstance(module, PackedExperts))
    weights = (getattr(getattr(one, "quant_state", None), "shape", one.shape) for one in model.parameters())
    return sum(one.shape.numel() for one in experts) + sum(shape.numel() for shape in weights)


class Nf4Experts(PackedExperts):
    """NF4 with double quantisation.

    Args:
        experts: each expert's matrix, [rows, columns], in turn; read one at a time.
        shape: of all of them together.
    """

    def __init__(self, experts: Callable[[int], Tensor], shape: torch.Size) -> None:
        super().__init__(*shape)
        states = []
        for number in range(shape[0]):
            codes, state = quantize_nf4(experts(number))
            if number == 0:
                self.codes = nn.Buffer(codes.new_empty((shape[0], *codes.shape)))
            self.codes[number] = codes
            states.append(state)
        self.scales = nn.Buffer(torch.stack([state.absmax for state in states]))
        self.superscales = nn.Buffer(torch.stack([state.state2.absmax for state in states]))
        self.offsets = nn.Buffer(torch.stack([state.offset for state in states]))
        self._sample = states[0]  # what all experts have in common: block sizes and tables

    def expert(self, number: int, dtype: torch.dtype) -> Tensor:
        functional = bitsandbytes().functional
        common = self._sample
        scales = functional.QuantState(
            absmax=self.superscales[number],
            blocksize=common.state2.blocksize,
            code=common.state2.code.to(self.codes.device),
            dtype=common.state2.dtype,
        )
        state = functional.QuantState(
            absmax=self.scales[number],
            # In one row: on a CPU bitsandbytes 0.50 unpacks rows wrongly that are no multiple of a block long.
            shape=(1, self.shape[1] * self.shape[2]),
            dtype=dtype,
            blocksize=common.blocksize,
            code=common.code,
            quant_type="nf4",
            offset=self.offsets[number],
            state2=scales,
        )
        matrix: Tensor = functional.dequantize_4bit(self.codes[number], state)
        return matrix.view(self.shape[1:])


class Int8Experts(PackedExperts):
    """8 bits, one scale a row of each matrix, by bitsandbytes as in its 8-bit layers: w = code * absmax / 127."""

    def __init__(self, experts: Callable[[int], Tensor], shape: torch.Size) -> None:
        super().__init__(*shape)
        for number in range(shape[0]):
            codes, largest, _ = bitsandbytes().functional.int8_vectorwise_quant(experts(number).half())
            if number == 0:
                self.codes = nn.Buffer(codes.new_empty(shape))
                self.scales = nn.Buffer(largest.new_empty(shape[:2]))
            self.codes[number], self.scales[number] = codes, largest / 127

    def expert(self, number: int, dtype: torch.dtype) -> Tensor:
        return unpack_int8(self.codes[number], self.scales[number], dtype)


class Mxfp4Experts(PackedExperts):
    """MXFP4 as the checkpoint holds it, without any loss: 32 values of 4 bits share a power of two.

    (OCP Microscaling Formats 1.0, section 5.) The file holds each matrix transposed: [columns, rows].

    Args:
        blocks: [experts, columns, rows / 32, 16], two values a byte, the first in the low half.
        scales: [experts, columns, rows / 32], exponents with a bias of 127.
    """

    def __init__(self, blocks: Tensor, scales: Tensor) -> None:
        super().__init__(blocks.shape[0], blocks.shape[2] * blocks.shape[3] * 2, blocks.shape[1])
        self.blocks = nn.Buffer(blocks)
        self.scales = nn.Buffer(scales)

    def expert(self, number: int, dtype: torch.dtype) -> Tensor:
        return unpack_mxfp4(self.blocks[number], self.scales[number], dtype)


def unpack_mxfp4(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """One expert's matrix, [rows, columns], from `blocks` [columns, rows / 32, 16] and `scales` [columns, rows / 32]."""
    half = torch.tensor(_FP4, dtype=dtype, device=blocks.device)
    values = torch.cat([half, -half])
    pairs = torch.stack(
        [values.repeat(16), values.repeat_interleave(16)], -1
    )  # [256, 2]: low half, high half
    numbers = pairs[blocks.flatten().int()].view(*scales.shape, -1)
    torch.ldexp(numbers, scales[..., None].int() - 127, out=numbers)
    return numbers.flatten(1).T


def unpack_int8(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """[out, in] from int8 `codes` [out, in] and a scale a row, [out]."""
    return codes.to(dtype).mul_(scales[:, None].to(dtype))


def packed_experts(self: Any, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """The forward pass of a layer's experts over packed weights, with transformers' contract for one.

    Args:
        self: the family's experts module, its 3-D weights replaced by `PackedExperts`.
        hidden: [tokens, H].
        chosen: [tokens, k], the experts each token is sent to.
        weights: [tokens, k], how much each of them counts.

    Returns:
        [tokens, H].
    """
    choices = chosen.shape[-1]
    numbers, order = chosen.flatten().sort(stable=True)
    results = []
    for number in numbers.unique_consecutive().tolist():
        places = order[numbers == number]
        inner = _product(
            self, "gate_up_proj" if self.has_gate else "up_proj", number, hidden[places // choices]
        )
        inner = self._apply_gate(inner) if self.has_gate else self.act_fn(inner)
        outer = _product(self, "down_proj", number, inner)
        if self.has_post_expert_norm:
            outer = self.post_expert_norm(outer)
        results.append(outer * weights.flatten()[places, None])
    # Back in the tokens' order and summed over their choices: `index_add_` is not deterministic on CUDA.
    by_token = torch.cat(results)[order.argsort()].view(*chosen.shape, -1)
    return by_token.sum(1).to(hidden.dtype)


def _product(experts: Any, name: str, number: int, x: Tensor) -> Tensor:
    """One expert's linear map, by the family's layout."""
    packed, transposed = getattr(experts, name), experts.is_transposed

    def unpack(dtype: torch.dtype) -> Tensor:
        if not isinstance(packed, PackedExperts):  # a weight that stayed whole
            return (packed[number].T if transposed else packed[number]).to(dtype)
        matrix = packed.expert(number, dtype)
        return matrix.T if transposed else matrix

    bias = getattr(experts, f"{name}_bias")[number] if experts.has_bias else None
    return frozen_linear(x, unpack, bias)


def register_packed_experts() -> None:
    """Make `packed_experts` known to transformers under its name; harmless when done twice."""
    ExpertsInterface.register(IMPLEMENTATION, packed_experts)

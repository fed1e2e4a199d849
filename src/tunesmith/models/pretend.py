"""A model whose tensors have shapes, types and devices but no memory, and the count of what they would take.

Every operation runs through PyTorch's own dispatch — attention, autocast, adapters, checkpoints, the head — so what is
counted is what the real step holds at each moment, for any family, in a second or two.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from tunesmith.models.quantize import packable_linears


@contextmanager
def pretending() -> Iterator[None]:
    """Tensors made in the block have no memory."""
    # It logs a traceback for what it cannot pretend, and then raises: the error is enough.
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), _GroupedProducts():
            yield
    finally:
        log.setLevel(level)


class _GroupedProducts(TorchDispatchMode):
    """Products of experts in any type. PyTorch's own rule for their shape knows bfloat16 only, though its kernels on a
    CPU take fp32 and fp16 as well."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype != torch.bfloat16:
            return _grouped_product(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _grouped_product(
    left: Tensor,
    right: Tensor,
    ends: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """What `grouped_mm` gives: [rows, columns], with a group's first where both or neither are given by groups."""
    shape = [left.shape[-2], right.shape[-1]]
    if left.dim() == right.dim():
        groups = left.shape[0] if left.dim() == 3 else 0 if ends is None else len(ends)
        shape = [groups, *shape]
    return left.new_empty(shape, dtype=out_dtype)


def move_in(model: nn.Module, device: str) -> None:
    """Give a model on the meta device pretended tensors on `device`; call it inside `pretending`."""
    moved: dict[int, Tensor] = {}
    for module in model.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is None:
                    continue
                if id(tensor) not in moved:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
                    moved[id(tensor)] = (
                        nn.Parameter(empty, requires_grad=tensor.requires_grad)
                        if isinstance(tensor, nn.Parameter)
                        else empty
                    )
                store[name] = moved[id(tensor)]  # type: ignore[assignment]


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors made in the block while they live; what was there before is not counted.

    `peaks` has for each `phase` that was named the most that was held in it, and what `beside` was then.

    Args:
        page: what tensors of this many bytes and more take a multiple of; 0: they take what they hold.
    """

    def __init__(self, page: int = 0) -> None:
        super().__init__()
        self.page = page
        self.now = 0
        self.phase = ""
        self.beside = 0
        self.peaks: dict[str, tuple[int, int]] = {}
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def ignore(self, model: nn.Module) -> None:
        """The weights were there before."""
        for tensor in (*model.parameters(), *model.buffers()):
            self._seen.add(tensor.untyped_storage())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        if self.page and size >= self.page:
            size = (size // self.page + 1) * self.page  # the allocator's own note takes the next page too
        self.now += size
        weakref.finalize(storage, self._let_go, size)
        if self.now > self.peaks.get(self.phase, (-1, 0))[0]:
            self.peaks[self.phase] = self.now, self.beside

    def _let_go(self, size: int) -> None:
        self.now -= size


class _Unpacked(torch.autograd.Function):
    """x W^T with W unpacked for the product and again in the backward pass, as bitsandbytes does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return nn.functional.linear(x, torch.empty_like(weight, dtype=x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] @ torch.empty_like(ctx.weight, dtype=grads[0].dtype), None, None


class _PackedForward:
    """The forward of a linear layer whose weight is packed."""

    def __init__(self, layer: nn.Module, compute: torch.dtype) -> None:
        self.layer, self.compute = layer, compute

    def __call__(self, x: Tensor) -> Tensor:
        return _Unpacked.apply(x.to(self.compute), self.layer.weight, self.layer.bias)


def pack(model: PreTrainedModel, compute: torch.dtype) -> None:
    """Have linear layers unpack their weights at each use, as those of a quantised model do."""
    for layer in packable_linears(model).values():
        layer.forward = _PackedForward(layer, compute)

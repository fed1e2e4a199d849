"""Packing weights while transformers loads them, one after another, so that no more than one is there in full.

A quantiser as transformers' loading knows them: it sees each weight as it is read and puts the packed one in its place.
MXFP4 checkpoints pass through it too: unpacked, packed anew in NF4, or kept as they are, one expert at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps, WeightConverter
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from tunesmith.models.packed import (
    Int8Experts,
    Mxfp4Experts,
    Nf4Experts,
    PackedExperts,
    bitsandbytes,
    frozen_linear,
    quantize_nf4,
    register_packed_experts,
    unpack_int8,
    unpack_mxfp4,
)
from tunesmith.models.quantize import in_and_out, packable_experts, packable_linears

METHOD = "tunesmith"  # the name under which transformers finds the quantiser
_MXFP4_WEIGHTS = ("gate_up_proj", "down_proj")


class Packing(QuantizationConfigMixin):  # type: ignore[misc]
    """What to pack into, as transformers hands it to the quantiser.

    Args:
        storage: `nf4`, `bnb8`, `keep` (what is in MXFP4 stays so) or `none`.
        from_mxfp4: whether the checkpoint's experts are in MXFP4.
    """

    def __init__(self, storage: str, *, from_mxfp4: bool) -> None:
        self.quant_method = METHOD
        self.storage, self.from_mxfp4 = storage, from_mxfp4


def register_packing() -> None:
    """Make quantiser and experts known to transformers under their names; harmless when done twice."""
    register_packed_experts()
    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantizer(METHOD)(_Packer)


class _Packer(HfQuantizer):  # type: ignore[misc]
    """Replaces linear layers before loading, and packs each weight as it comes."""

    quantization_config: Packing

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **others: Any) -> None:
        self.linears: set[str] = set()
        self.experts = set(packable_experts(model))
        if self.quantization_config.storage in ("nf4", "bnb8"):
            for name, linear in packable_linears(model).items():
                model.set_submodule(
                    name, _packed_linear(linear, self.quantization_config.storage, model.dtype)
                )
                self.linears.add(f"{name}.weight")
        if self.quantization_config.from_mxfp4:
            for name in self.experts:
                # Bytes, so that transformers does not cast the file's blocks while reading them.
                owner, _, weight = name.rpartition(".")
                empty = torch.empty_like(model.get_parameter(name), dtype=torch.uint8)
                setattr(model.get_submodule(owner), weight, nn.Parameter(empty, requires_grad=False))

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **others: Any) -> PreTrainedModel:
        if self.quantization_config.storage == "none":  # a model like any other now, which can be saved
            kept = [one for one in model._weight_conversions if not _unpacks_mxfp4(one)]
            model._weight_conversions = kept  # they would be turned round when it is saved
            self.remove_quantization_config(model)
            return model
        # PEFT takes its layers for packed linears by these.
        model.is_loaded_in_4bit = self.quantization_config.storage == "nf4"
        model.is_loaded_in_8bit = self.quantization_config.storage == "bnb8"
        del model.config.quantization_config  # nobody else could read it in a config.json
        return model

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **others: Any) -> bool:
        experts = self.experts if self.quantization_config.storage in ("nf4", "bnb8") else set()
        return param_name in self.linears or (
            param_name in experts and not self.quantization_config.from_mxfp4
        )

    def get_quantize_ops(self) -> ConversionOps:
        return _Pack(self.quantization_config)

    def get_weight_conversions(self) -> list[WeightConverter]:
        if not self.quantization_config.from_mxfp4:
            return []
        return [
            WeightConverter(
                [f"{name}_blocks", f"{name}_scales"], name, [_FromMxfp4(self.quantization_config)]
            )
            for name in _MXFP4_WEIGHTS
        ]

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return True


class _Conversion(ConversionOps):  # type: ignore[misc]
    """One weight of the model, from what the checkpoint holds of it."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing

    def convert(
        self,
        input_dict: dict[str, Any],
        full_layer_name: str,
        model: PreTrainedModel,
        missing_keys: set[str],
        **others: Any,
    ) -> dict[str, Tensor]:
        found = {name: value[0] if isinstance(value, list) else value for name, value in input_dict.items()}
        owner, _, weight = full_layer_name.rpartition(".")
        module = model.get_submodule(owner)
        converted = self.converted(module, weight, found, model.dtype)
        if not isinstance(converted, PackedExperts):
            return {full_layer_name: converted}
        _put(module, weight, converted)
        missing_keys.discard(full_layer_name)
        return {}

    @abstractmethod
    def converted(
        self, module: nn.Module, weight: str, found: dict[str, Tensor], dtype: torch.dtype
    ) -> Tensor | PackedExperts:
        """What takes the place of `weight` in `module`; `found` is by the checkpoint's names."""


class _Pack(_Conversion):
    """One weight, as the checkpoint holds it -> packed."""

    def converted(
        self, module: nn.Module, weight: str, found: dict[str, Tensor], dtype: torch.dtype
    ) -> Tensor | PackedExperts:
        (value,) = found.values()
        if isinstance(module, nn.Linear):
            if module.turned:
                value = value.T
            return _packed_weight(module, value, self.packing.storage)
        if value.shape != getattr(module, weight).shape:
            return value  # transformers tells of shapes that do not fit
        kind = Nf4Experts if self.packing.storage == "nf4" else Int8Experts
        return kind(lambda number: value[number], value.shape)


class _FromMxfp4(_Conversion):
    """The blocks and scales of one weight of all experts -> whole, packed anew, or kept."""

    def converted(
        self, module: nn.Module, weight: str, found: dict[str, Tensor], dtype: torch.dtype
    ) -> Tensor | PackedExperts:
        blocks, scales = found[f"{weight}_blocks"], found[f"{weight}_scales"]

        def expert(number: int) -> Tensor:
            return unpack_mxfp4(blocks[number], scales[number], dtype)

        kept = Mxfp4Experts(blocks, scales)
        if self.packing.storage == "none" or kept.shape != getattr(module, weight).shape:
            whole = torch.empty(kept.shape, dtype=dtype, device=blocks.device)
            for number in range(len(whole)):
                whole[number] = expert(number)
            return whole
        kinds = {"nf4": Nf4Experts, "bnb8": Int8Experts}
        return kept if self.packing.storage == "keep" else kinds[self.packing.storage](expert, kept.shape)


def _unpacks_mxfp4(conversion: Any) -> bool:
    return any(isinstance(operation, _FromMxfp4) for operation in getattr(conversion, "operations", ()))


def _put(module: nn.Module, weight: str, packed: PackedExperts) -> None:
    """Packed experts in place of the parameter of that name."""
    packed._is_hf_initialized = True  # type: ignore[assignment]
    for buffer in packed.buffers():
        buffer._is_hf_initialized = True  # type: ignore[attr-defined]
    del module._parameters[weight]
    module.add_module(weight, packed)


def _packed_linear(linear: Any, storage: str, dtype: torch.dtype) -> nn.Module:
    """A layer of bitsandbytes in place of a linear one, still without weights."""
    into, out = in_and_out(linear)
    has_bias = linear.bias is not None
    packed: Any
    with torch.device("meta"):
        if storage == "nf4":
            packed = bitsandbytes().nn.Linear4bit(into, out, has_bias, dtype, quant_type="nf4")
        else:
            packed = _int8_linear()(into, out, has_bias, has_fp16_weights=False)
    if has_bias:
        packed.bias = nn.Parameter(torch.empty_like(linear.bias), requires_grad=False)
    packed.turned = not isinstance(linear, nn.Linear)  # GPT-2's are stored the other way round
    packed.requires_grad_(False)
    make_trainable(packed)
    return packed


def make_trainable(module: nn.Module) -> None:
    """Keep every 4-bit layer in the form that training needs.

    In evaluation mode bitsandbytes 0.50 repacks weights in place on CPUs with AVX512-BF16, and later training passes
    take a way without gradients: they go wrong without a word.
    """
    for layer in module.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _packed_weight(layer: nn.Module, value: Tensor, storage: str) -> Any:
    """The packed weight of a layer of bitsandbytes, from one of [out, in]."""
    kinds = bitsandbytes().nn
    if storage == "nf4":
        codes, state = quantize_nf4(value)
        layer.quant_state = state
        weight = kinds.Params4bit(
            codes, quant_state=state, quant_type="nf4", bnb_quantized=True, module=layer, requires_grad=False
        )
    else:
        # It quantises what moves from the CPU.
        weight = kinds.Int8Params(value.cpu(), requires_grad=False).to(value.device)
    return weight


@cache
def _int8_linear() -> Any:
    """bitsandbytes' 8-bit layer, with the same product in training and in evaluation.

    Its own quantises the inputs as well, on a CPU in evaluation only, and what counts as an outlier among them depends
    on what else is in the batch; on a CPU it keeps its inputs where checkpointing does not see them.
    """

    class Int8Linear(bitsandbytes().nn.Linear8bitLt):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            if self.weight.SCB is not None:
                self.init_8bit_state()
            state = self.state
            return frozen_linear(x, lambda dtype: unpack_int8(state.CB, state.SCB / 127, dtype), self.bias)

    return Int8Linear

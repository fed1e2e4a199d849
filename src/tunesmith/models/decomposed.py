"""Adapters that begin as a part of the weights: PiSSA (arXiv:2404.02948) and OLoRA (arXiv:2406.01775).

Both split a weight into `s B0 A0`, which learns, and a rest, which is frozen. Here the weight stays whole, and a second,
frozen adapter takes `s B0 A0` away again: W x + s B A x - s B0 A0 x. So the base is untouched by training, and what is
saved — both adapters side by side, as one of twice the rank — is what was trained and fits the original base.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tunesmith.errors import InputError
from tunesmith.models.dropout import mix
from tunesmith.models.peft_at_home import LoraConfig, LoraLayer, PeftModel

FROZEN_START = "start"  # the frozen adapter's name
_ADAPTER = "default"
_POWER_ITERATIONS = (
    16  # as PEFT's documentation takes them: seconds for a whole model, singular values to about 1%
)


def begin_from_the_weights(tuned: PeftModel, init: Literal["pissa", "olora"], seed: int) -> None:
    """Set a fresh adapter's A and B from the weights it sits on, and add the frozen one that takes them away.

    Computed on the CPU in fp32, layer by layer; the same seed gives the same bits.

    Raises:
        InputError: as `check_can_be_taken_apart`.
    """
    config = tuned.peft_config[_ADAPTER]
    layers = {name: module for name, module in tuned.named_modules() if isinstance(module, LoraLayer)}
    check_can_be_taken_apart({name: layer.get_base_layer() for name, layer in layers.items()}, init, config.r)
    # The class's own way: that of a model that scores would give the frozen one a head too.
    PeftModel.add_adapter(
        tuned,
        FROZEN_START,
        LoraConfig(
            r=config.r,
            lora_alpha=config.lora_alpha,
            target_modules=config.target_modules,
            use_rslora=config.use_rslora,
            task_type="CAUSAL_LM",
        ),
        low_cpu_mem_usage=tuned.device.type == "meta",
    )
    tuned.base_model.set_adapter([_ADAPTER, FROZEN_START])
    for number, layer in enumerate(layers.values()):
        for part in (layer.lora_A[FROZEN_START], layer.lora_B[FROZEN_START]):
            part.requires_grad_(False)
        if tuned.device.type != "meta":
            torch.manual_seed(mix(seed, number))
            _set(layer, *_factors(_matrix(layer), init, config.r, layer.scaling[_ADAPTER]))


def check_can_be_taken_apart(bases: Mapping[str, nn.Module], init: str, rank: int) -> None:
    """Whether adapters on these modules, by name, can begin as a part of their weights.

    Raises:
        InputError: one is no linear layer, or smaller than the rank.
    """
    for name, base in bases.items():
        if not isinstance(base, (nn.Linear, Conv1D)):
            raise InputError(
                f"adapter.init: {init} is for linear layers, and adapter.targets names {name.removeprefix('base_model.model.')}",
                remedy="leave it out, or set adapter.init: lora",
            )
        if rank > min(base.weight.shape):
            raise InputError(
                f"adapter.rank is {rank}, and {name.removeprefix('base_model.model.')} is only "
                f"{' x '.join(map(str, base.weight.shape))}, too small for adapter.init: {init}",
                remedy=f"choose at most {min(base.weight.shape)}",
            )


def _matrix(layer: LoraLayer) -> Tensor:
    """The weight a LoRA layer sits on: [out, in], fp32, on the CPU."""
    base = layer.get_base_layer()
    weight = base.weight.detach().to("cpu", torch.float32)
    return weight.T if isinstance(base, Conv1D) else weight


def _factors(weight: Tensor, init: str, rank: int, scaling: float) -> tuple[Tensor, Tensor]:
    """A [rank, in] and B [out, rank].

    PiSSA: `scaling B A` is the best approximation of that rank (by randomised subspace iteration). OLoRA: B is the
    orthonormal basis of the first columns and A what the weight is in it; only these columns need decomposing.
    """
    if init == "olora":
        basis = torch.linalg.qr(weight[:, :rank]).Q
        return basis.T @ weight, basis
    left, values, right = torch.svd_lowrank(weight, rank, niter=_POWER_ITERATIONS)
    root = (values / scaling).sqrt()
    return root[:, None] * right.T, left * root


def _set(layer: LoraLayer, a: Tensor, b: Tensor) -> None:
    with torch.no_grad():
        layer.lora_A[_ADAPTER].weight.copy_(a)
        layer.lora_B[_ADAPTER].weight.copy_(b)
        layer.lora_A[FROZEN_START].weight.copy_(a)
        layer.lora_B[FROZEN_START].weight.copy_(-b)


def widened(tuned: PeftModel) -> tuple[dict[str, Tensor], LoraConfig]:
    """Both adapters as one of twice the rank: s [B, -B0] [A; A0]. The weights of the whole model, and a configuration."""
    weights = tuned.state_dict()
    for name in [name for name in weights if f".{FROZEN_START}." in name]:
        frozen = weights.pop(name)
        learned = name.replace(f".{FROZEN_START}.", f".{_ADAPTER}.")
        weights[learned] = torch.cat([weights[learned], frozen], 0 if ".lora_A." in name else 1)
    config = copy.deepcopy(tuned.peft_config[_ADAPTER])
    config.r *= 2
    # The scaling stays: alpha / rank, and with rsLoRA alpha / sqrt(rank).
    config.lora_alpha = config.lora_alpha * (math.sqrt(2) if config.use_rslora else 2)
    return weights, config

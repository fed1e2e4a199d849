"""LoRA adapters: PEFT's own, saved in PEFT's own format."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError

CONFIG_FILE = "adapter_config.json"


def add_adapter(model: PreTrainedModel, adapter: Adapter, *, base_name: str, seed: int) -> PeftModel:
    """Put a fresh LoRA adapter on a model: A drawn from `seed`, B zero, both fp32.

    Raises:
        InputError: the targets match nothing, or modules that LoRA cannot adapt.
    """
    targets = adapter.targets if adapter.targets == "all-linear" else list(adapter.targets)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha if adapter.alpha != int(adapter.alpha) else int(adapter.alpha),
        lora_dropout=adapter.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    if isinstance(targets, list):
        _check_targets(model, targets)
    torch.manual_seed(seed)
    try:
        tuned = get_peft_model(model, config)
    except ValueError as error:
        raise InputError(f"adapter.targets: {error}", remedy=_linear_names_remedy(model)) from error
    # The name the recipe gives, so that a stranger's PEFT finds the same base.
    tuned.peft_config["default"].base_model_name_or_path = base_name
    _trainable_in_fp32(tuned)
    return tuned


def load_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool) -> PeftModel:
    """Put an adapter from a PEFT folder on a model.

    Raises:
        InputError: the folder is no adapter, or one for a model of other shapes.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{folder} is no adapter: it has no {CONFIG_FILE}")
    try:
        tuned = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (RuntimeError, ValueError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        detail = next((line for line in lines if "size mismatch" in line), lines[0] if lines else "")
        raise InputError(
            f"the adapter {folder} does not fit this model ({detail[:300]})",
            remedy=f"use it with the base it was made for: {base_of(folder)}",
        ) from error
    if trainable:
        _trainable_in_fp32(tuned)
    return tuned


def base_of(folder: Path) -> str:
    """The base model's name as an adapter folder gives it."""
    return str(json.loads((folder / CONFIG_FILE).read_text("utf-8")).get("base_model_name_or_path"))


def _trainable_in_fp32(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()


def linear_names(model: nn.Module) -> dict[str, int]:
    """The last name of every linear layer, and how often it occurs."""
    counts: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            last = name.rpartition(".")[2]
            counts[last] = counts.get(last, 0) + 1
    return counts


def _linear_names_remedy(model: nn.Module) -> str:
    return f"this model's linear layers are {', '.join(linear_names(model))}; `all-linear` takes all but the head"


def _check_targets(model: nn.Module, targets: list[str]) -> None:
    modules = dict(model.named_modules())
    for target in targets:
        matching = [m for name, m in modules.items() if name == target or name.endswith("." + target)]
        if not matching:
            raise InputError(
                f"adapter.targets names {target!r}, which this model does not have",
                remedy=_linear_names_remedy(model),
            )
        if not any(isinstance(module, nn.Linear | nn.Embedding) for module in matching):
            raise InputError(
                f"adapter.targets names {target!r}, which is a {type(matching[0]).__name__} and not a linear layer",
                remedy=_linear_names_remedy(model),
            )

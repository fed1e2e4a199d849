"""LoRA adapters: PEFT's own, saved in PEFT's own format."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError

CONFIG_FILE = "adapter_config.json"
# GPT-2 writes its linear layers as convolutions of width one.
_LINEAR = (nn.Linear, Conv1D)
_MAMBA = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
_WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")


def add_adapter(model: PreTrainedModel, adapter: Adapter, *, base_name: str, seed: int) -> PeftModel:
    """Put a fresh LoRA adapter on a model: A drawn from `seed`, B zero, both fp32.

    Raises:
        InputError: the targets match nothing, or modules that LoRA cannot adapt.
    """
    if adapter.targets == "all-linear":
        targets = _all_linear(model)
    else:
        targets = list(adapter.targets)
        _check_targets(model, targets)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha if adapter.alpha != int(adapter.alpha) else int(adapter.alpha),
        lora_dropout=adapter.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    names = _linear_names_remedy(model)  # asked now: PEFT stops half-way in a changed model
    torch.manual_seed(seed)
    try:
        tuned = get_peft_model(model, config)
    except ValueError as error:
        if "lora_dropout" in str(error):
            raise InputError(
                "adapter.targets takes in the experts of this model, whose adapters know no dropout",
                remedy="set adapter.dropout: 0, or list adapter.targets without the experts' names",
            ) from error
        raise InputError(f"adapter.targets: {error}", remedy=names) from error
    # The name the recipe gives, so that a stranger's PEFT finds the same base.
    tuned.peft_config["default"].base_model_name_or_path = base_name
    _trainable_in_fp32(tuned)
    return tuned


def load_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool) -> PeftModel:
    """Put an adapter from a PEFT folder on a model.

    Raises:
        InputError: the folder is no adapter, is damaged, or is one for another model.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{folder} is no adapter: it has no {CONFIG_FILE}")
    if not any((folder / name).is_file() for name in _WEIGHT_FILES):
        raise InputError(f"the adapter {folder} has no weights", expected=" or ".join(_WEIGHT_FILES))
    made_for = _config(folder).get("base_model_name_or_path") or "it does not say which"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what PEFT warns of is looked at below
            tuned = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
            _check_every_weight_found_its_place(tuned, folder, made_for, trainable)
    except SafetensorError as error:
        raise InputError(f"the weights of the adapter {folder} are damaged ({error})") from error
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise _does_not_fit(folder, made_for, _why(error)) from error
    if trainable:
        _trainable_in_fp32(tuned)
    return tuned


def base_of(folder: Path) -> str:
    """The base model's name as an adapter folder gives it.

    Raises:
        InputError: it gives none, or its configuration is damaged.
    """
    name = _config(folder).get("base_model_name_or_path")
    if not name:
        raise InputError(
            "this adapter does not say which model it was made for",
            where=str(folder / CONFIG_FILE),
            remedy="write the model's name there, as base_model_name_or_path",
        )
    return str(name)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"this adapter's configuration is damaged ({error})", where=str(path)) from error


def _why(error: Exception) -> str:
    """The line of PEFT's message that tells most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Target modules"):  # it goes on with a list of all of them
        return "it adapts layers that this model does not have"
    return next((line for line in lines if "size mismatch" in line), lines[0])[:300].rstrip(".")


def _does_not_fit(folder: Path, made_for: str, why: str) -> InputError:
    return InputError(
        f"the adapter {folder} does not fit this model ({why})",
        remedy=f"use it with the base it was made for: {made_for}",
    )


def _check_every_weight_found_its_place(
    tuned: PeftModel, folder: Path, made_for: str, trainable: bool
) -> None:
    """PEFT leaves out what has no place in the model, and leaves fresh what the file does not hold; it only warns."""
    if tuned.peft_config["default"].peft_type != "LORA":
        return
    # Loading once more is what tells: only it gives the names, and in the form that PEFT has converted them to.
    found = tuned.load_adapter(str(folder), "default", is_trainable=trainable)
    if found.unexpected_keys:
        raise _does_not_fit(
            folder, made_for, f"it holds {_plain(found.unexpected_keys[0])}, for which there is no place"
        )
    if found.missing_keys:
        raise _does_not_fit(folder, made_for, f"it holds no {_plain(found.missing_keys[0])}")


def _plain(key: str) -> str:
    """A weight's name as the file has it."""
    return key.replace(".default.", ".")


def _trainable_in_fp32(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()


def _all_linear(model: PreTrainedModel) -> list[str]:
    """The names of every linear layer but the head.

    Left out as well are the routers of experts, which are linear in name only (Llama 4's gives two tensors), and in
    state-space layers what is read past any adapter: `dt_proj`, and `out_proj` by fused kernels (PEFT refuses it).
    """
    head = model.get_output_embeddings()
    read_past = ("dt_proj", "out_proj") if model.config.model_type in _MAMBA else ("dt_proj",)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, _LINEAR)
        and module is not head
        and "Router" not in type(module).__name__
        and name.rpartition(".")[2] not in read_past
    ]


def linear_names(model: nn.Module) -> dict[str, int]:
    """The last name of every linear layer, and how often it occurs."""
    counts: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, _LINEAR):
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
        if not any(isinstance(module, (*_LINEAR, nn.Embedding)) for module in matching):
            raise InputError(
                f"adapter.targets names {target!r}, which is a {type(matching[0]).__name__} and not a linear layer",
                remedy=_linear_names_remedy(model),
            )

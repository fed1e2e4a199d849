"""Which modules of a model an adapter sits on: what the recipe names, found in the model or refused with what there is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.pytorch_utils import Conv1D

from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.layers import decoder_layers, name_of
from tunesmith.models.peft_at_home import LoraConfig, convert_peft_config_for_transformers
from tunesmith.models.skeleton import decoder

# GPT-2 writes its linear layers as convolutions of width one.
LINEAR = (nn.Linear, Conv1D)
_LINEAR_IN_NAME_ONLY = ("Router", "GroupedLinear")
_MAMBA = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
# What GLM's layers were called in the code that its first checkpoints brought along.
_OLD_GLM_NAMES = {
    "query_key_value": "q_proj, k_proj, v_proj",
    "dense": "o_proj",
    "dense_h_to_4h": "gate_up_proj",
    "dense_4h_to_h": "down_proj",
}


@dataclass(frozen=True)
class Targets:
    """What PEFT is told to adapt: modules, and weights that belong to no linear layer (experts), by name or its end."""

    modules: tuple[str, ...]
    parameters: tuple[str, ...] = ()


def find_targets(model: PreTrainedModel, adapter: Adapter) -> Targets:
    """The recipe's `targets` in a model, within its `top_layers`.

    Raises:
        InputError: a name matches nothing, or modules that LoRA cannot adapt.
    """
    if adapter.targets == "all-linear":
        targets = Targets(tuple(_all_linear(model, vision=adapter.vision)))
    elif isinstance(adapter.targets, str):
        targets = Targets(tuple(_fully_matching(model, adapter.targets)))
    else:
        targets = _named(model, adapter.targets, vision=adapter.vision)
    if adapter.top_layers is None or adapter.unfreeze is not None:
        return targets
    return _within_top(model, targets, adapter.top_layers)


def modules_of(model: nn.Module, targets: Targets) -> dict[str, nn.Module]:
    """The modules that targets name in a model; of a weight that belongs to no linear layer, the module it lies in."""
    found = {
        name: module
        for name, module in model.named_modules()
        if any(_is_end(wanted, name) for wanted in targets.modules)
    }
    owners = {
        name: model.get_submodule(name.rpartition(".")[0])
        for name, _ in model.named_parameters()
        if any(_is_end(wanted, name) for wanted in targets.parameters)
    }
    return found | owners


def _all_linear(model: PreTrainedModel, *, vision: bool) -> list[str]:
    """The names of every linear layer of the text model but the head; with `vision`, of the whole model.

    Left out as well are the routers of experts and layers in groups, which are linear in name only (Llama 4's router
    gives two tensors, DeepSeek V4's groups are multiplied one by one); in state-space layers what is read past any
    adapter: `dt_proj`, and `out_proj` by fused kernels (PEFT refuses it); the output of PyTorch's own multi-head
    attention, likewise; and names that PEFT takes for those of experts.
    """
    head = model.get_output_embeddings()
    within = model if vision else decoder(model)
    inside = set(within.modules())
    read_past = {"dt_proj", "out_proj"} if model.config.model_type in _MAMBA else {"dt_proj"}
    hidden = {module.out_proj for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, LINEAR)
        and module in inside
        and module is not head
        and module not in hidden
        and not any(word in type(module).__name__ for word in _LINEAR_IN_NAME_ONLY)
        and name.rpartition(".")[2] not in read_past
    ]
    taken_for_experts = _taken_for_experts(model, names)
    return [name for name in names if name not in taken_for_experts]


def _taken_for_experts(model: PreTrainedModel, names: list[str]) -> set[str]:
    """Of some names, those that PEFT would carry over to the experts' weights, as adapters of transformers 4 need.

    In Qwen2-MoE and its kin `gate_proj` is what an expert's layer was called; a shared expert beside them still is.
    """
    config = LoraConfig(target_modules=list(names))
    try:
        convert_peft_config_for_transformers(config, model, get_model_conversion_mapping(model))
    except ValueError:  # one half of a pair that is now one weight
        return set(names)
    return set(names) - set(config.target_modules or ())


def _fully_matching(model: PreTrainedModel, pattern: str) -> list[str]:
    """Linear layers and embeddings whose whole name matches, as PEFT reads a regular expression."""
    try:
        matching = [name for name, _ in model.named_modules() if name and re.fullmatch(pattern, name)]
    except re.error as error:
        raise InputError(f"adapter.targets {pattern!r} is no regular expression ({error})") from error
    modules = dict(model.named_modules())
    adaptable = [name for name in matching if isinstance(modules[name], (*LINEAR, nn.Embedding))]
    if adaptable:
        return adaptable
    if matching:
        raise _not_linear(model, pattern, modules[matching[0]])
    as_a_list = re.fullmatch(r"[\w.]+", pattern)
    raise InputError(
        f"adapter.targets {pattern!r} is read as a regular expression for whole names, and matches none",
        expected=f"a name such as {name_of(model, _first_linear(model))}",
        remedy=f"for a name's end write a list: [{pattern}]" if as_a_list else linear_names_remedy(model),
    )


def _first_linear(model: nn.Module) -> nn.Module:
    return next(module for module in model.modules() if isinstance(module, LINEAR))


def _named(model: PreTrainedModel, names: tuple[str, ...], *, vision: bool) -> Targets:
    """Names or their ends; what the text model and the vision tower both have is the text model's, unless asked."""
    text = {
        f"{name_of(model, decoder(model))}.{name}".lstrip(".") for name, _ in decoder(model).named_modules()
    }
    weights = {name for name, weight in model.named_parameters() if weight.dim() == 3}
    experts_of_old = _taken_for_experts(model, list(names))
    modules: list[str] = []
    parameters: list[str] = []
    for wanted in names:
        matching = _ending(model, wanted)
        if matching:
            inside = matching if vision else [name for name in matching if name in text]
            modules += [wanted] if len(inside) in (0, len(matching)) else inside
        elif any(_is_end(wanted, name) for name in weights):
            parameters.append(wanted)
        elif wanted in experts_of_old:
            modules.append(wanted)
        else:
            raise _no_such_target(model, wanted)
    return Targets(tuple(modules), tuple(parameters))


def _is_end(wanted: str, name: str) -> bool:
    return name == wanted or name.endswith("." + wanted)


def _ending(model: PreTrainedModel, wanted: str) -> list[str]:
    """The modules whose name ends so.

    Raises:
        InputError: there are some, but none that LoRA can adapt.
    """
    matching = {name: module for name, module in model.named_modules() if _is_end(wanted, name)}
    if matching and not any(isinstance(module, (*LINEAR, nn.Embedding)) for module in matching.values()):
        raise _not_linear(model, wanted, next(iter(matching.values())))
    return list(matching)


def _within_top(model: PreTrainedModel, targets: Targets, top_layers: int) -> Targets:
    """The same targets, by their full names, in the top layers only."""
    layers = decoder_layers(model)
    place = name_of(model, layers)
    top = tuple(f"{place}.{number}." for number in range(len(layers) - top_layers, len(layers)))

    def in_top(names: list[str], ends: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            name for name in names if name.startswith(top) and any(_is_end(end, name) for end in ends)
        )

    modules = in_top([name for name, _ in model.named_modules()], targets.modules)
    parameters = in_top([name for name, _ in model.named_parameters()], targets.parameters)
    if not modules and not parameters:
        raise InputError(
            f"adapter.targets names nothing in the top {top_layers} layers of this model",
            remedy="leave adapter.top_layers out, or name modules of the layers",
        )
    return Targets(modules, parameters)


def linear_names(model: nn.Module) -> dict[str, int]:
    """The last name of every linear layer, and how often it occurs."""
    counts: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, LINEAR):
            last = name.rpartition(".")[2]
            counts[last] = counts.get(last, 0) + 1
    return counts


def linear_names_remedy(model: nn.Module) -> str:
    """What there is to choose from."""
    experts = {
        ".".join(name.split(".")[-2:]) for name, weight in model.named_parameters() if weight.dim() == 3
    }
    also = f", its experts' weights {', '.join(sorted(experts))}" if experts else ""
    return f"this model's linear layers are {', '.join(linear_names(model))}{also}; `all-linear` takes all but the head"


def _not_linear(model: nn.Module, wanted: str, module: nn.Module) -> InputError:
    return InputError(
        f"adapter.targets names {wanted!r}, which is a {type(module).__name__} and not a linear layer",
        remedy=linear_names_remedy(model),
    )


def _no_such_target(model: PreTrainedModel, wanted: str) -> InputError:
    here = _OLD_GLM_NAMES.get(wanted)
    if here is not None and model.config.model_type.startswith("glm"):
        return InputError(
            f"adapter.targets names {wanted!r}, as GLM's old code called it",
            remedy=f"in transformers it is {here}; `all-linear` takes all but the head",
        )
    return InputError(
        f"adapter.targets names {wanted!r}, which this model does not have", remedy=linear_names_remedy(model)
    )

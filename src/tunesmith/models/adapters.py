"""LoRA adapters: PEFT's own, saved in PEFT's own format."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.decomposed import (
    FROZEN_START,
    begin_from_the_weights,
    check_can_be_taken_apart,
    widened,
)
from tunesmith.models.layers import check_top_layers
from tunesmith.models.peft_at_home import (
    LoraConfig,
    ModulesToSaveWrapper,
    PeftConfig,
    PeftModel,
    get_peft_model,
)
from tunesmith.models.scoring import HEAD, scores
from tunesmith.models.targets import Targets, find_targets, linear_names_remedy, modules_of
from tunesmith.models.tokens import rows_that_learn

CONFIG_FILE = "adapter_config.json"
_WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
# How torch says that a weight has another shape than the model's.
_SIZES = re.compile(
    r"size mismatch for (?:base_model\.model\.)?(?P<name>\S+?)(?:\.(?:default|adapter_\d+))?(?:\.weight)?: .*?"
    r"torch\.Size\(\[(?P<there>[^]]*)\]\).*?torch\.Size\(\[(?P<here>[^]]*)\]\)"
)
_ADAPTER = "default"  # PEFT's name for the adapter when there is one


def add_adapter(
    model: PreTrainedModel,
    adapter: Adapter,
    *,
    base_name: str,
    seed: int,
    new_tokens: Sequence[int] = (),
) -> PeftModel:
    """Put a fresh LoRA adapter on a model, in fp32: A drawn from `seed` and B zero, or as `adapter.init` says.

    On a model without weights (on the meta device) the adapter has none either.

    Args:
        new_tokens: ids of tokens whose embeddings learn beside the adapter.

    Raises:
        InputError: targets or modules to save match nothing, or modules that cannot be adapted.
    """
    targets, tied = check_fits(model, adapter)
    names = linear_names_remedy(model)  # asked now: PEFT stops half-way in a changed model
    whole = [*adapter.modules_to_save, *([HEAD] if scores(model) else [])]
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=_whole_if_it_is(adapter.alpha),
        lora_dropout=adapter.dropout,
        target_modules=list(targets.modules),
        target_parameters=list(targets.parameters) or None,
        use_rslora=adapter.rslora,
        use_dora=adapter.dora,
        modules_to_save=list(whole) or None,
        ensure_weight_tying=tied,
        trainable_token_indices=rows_that_learn(model, new_tokens, adapter.modules_to_save) or None
        if new_tokens
        else None,
        task_type="SEQ_CLS" if scores(model) else "CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        with _where_it_is(model):
            tuned = get_peft_model(model, config)
    except ValueError as error:
        raise _refused(error, names) from error
    if adapter.init != "lora":
        begin_from_the_weights(tuned, adapter.init, seed)
    # The name the recipe gives, so that a stranger's PEFT finds the same base.
    tuned.peft_config[_ADAPTER].base_model_name_or_path = base_name
    tuned.peft_config[_ADAPTER].modules_to_save = whole or None  # PEFT adds each name that a head may have
    _trainable_in_fp32(tuned)
    return tuned


def _where_it_is(model: PreTrainedModel) -> AbstractContextManager[Any]:
    """For a model on the meta device: there.

    PEFT's `low_cpu_mem_usage` would do it too, but part what is one matrix.
    """
    return torch.device("meta") if model.device.type == "meta" else nullcontext()


def check_fits(model: PreTrainedModel, adapter: Adapter) -> tuple[Targets, bool]:
    """What of a model the adapter sits on, and whether it trains a matrix that embeddings and head share.

    Raises:
        InputError: the recipe names layers that the model does not have, or that cannot be adapted.
    """
    check_top_layers(model, adapter.top_layers)
    if adapter.type == "none":
        return Targets(()), False
    targets = find_targets(model, adapter)
    if targets.parameters and (adapter.dropout or adapter.dora):
        setting, off = ("dropout", "0") if adapter.dropout else ("dora", "false")
        raise InputError(
            f"adapter.targets takes in the experts of this model, whose adapters know no {setting}",
            remedy=f"set adapter.{setting}: {off}, or list adapter.targets without the experts' names",
        )
    if adapter.init != "lora":
        check_can_be_taken_apart(modules_of(model, targets), adapter.init, adapter.rank)
    return targets, _must_stay_tied(model, adapter.modules_to_save)


def _whole_if_it_is(number: float) -> float:
    return int(number) if number == int(number) else number


def _refused(error: ValueError, names: str) -> InputError:
    """PEFT's refusal, in the recipe's words."""
    if "lora_dropout" in str(error):
        return InputError(
            "adapter.targets takes in the experts of this model, whose adapters know no dropout",
            remedy="set adapter.dropout: 0, or list adapter.targets without the experts' names",
        )
    return InputError(f"adapter.targets: {error}", remedy=names)


def _must_stay_tied(model: PreTrainedModel, modules_to_save: Sequence[str]) -> bool:
    """Whether the modules to save hold a matrix that embeddings and head share, so that it must stay one.

    Raises:
        InputError: a name matches nothing, or the matrix cannot be kept shared.
    """
    names = {name for name, _ in model.named_modules()}
    for wanted in modules_to_save:
        if not any(name == wanted or name.endswith("." + wanted) for name in names):
            there = ", ".join(_with_weights(model))
            raise InputError(
                f"adapter.modules_to_save names {wanted!r}, which this model does not have",
                remedy=f"it has {there}",
            )
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is not embedding.weight:
        return False
    shared = [name for name, module in model.named_modules() if module is embedding or module is head]
    if not any(
        name == wanted or name.endswith("." + wanted) for name in shared for wanted in modules_to_save
    ):
        return False
    # What PEFT can keep shared it knows by these names, and it makes a head without a bias.
    known = {name.rpartition(".")[2] for name in shared} <= {"embed_tokens", "lm_head"}
    if not known or getattr(head, "bias", None) is not None:
        raise InputError(
            f"adapter.modules_to_save names {' or '.join(shared)}, one matrix in this model, which PEFT would part",
            remedy="leave it out",
        )
    return True


def _with_weights(model: PreTrainedModel) -> list[str]:
    """The last names of the modules that hold weights: embeddings and head first, what stands in each layer last."""
    own = {
        name: module
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    }
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    order = sorted(own, key=lambda name: (own[name] not in ends, any(map(str.isdigit, name.split(".")))))
    return list(dict.fromkeys(last for name in order if not (last := name.rpartition(".")[2]).isdigit()))


def write_adapter(tuned: PeftModel, folder: Path) -> None:
    """Write an adapter into a folder in PEFT's format; it fits the base as it was before training began."""
    weights, config = widened(tuned) if FROZEN_START in tuned.peft_config else (None, None)
    # "auto" would look the base up on the hub to see whether its vocabulary grew.
    tuned.save_pretrained(
        str(folder), selected_adapters=[_ADAPTER], state_dict=weights, save_embedding_layers=False
    )
    if config is not None:
        config.inference_mode = True
        config.save_pretrained(str(folder))


def load_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool) -> PeftModel:
    """Put an adapter from a PEFT folder on a model.

    Raises:
        InputError: the folder is no adapter, is damaged, or is one for another model.
    """
    tuned = _read(folder, _ADAPTER, onto=model, trainable=trainable)
    if trainable:
        _trainable_in_fp32(tuned)
    return tuned


def add_shape_of(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put on a model a fresh adapter of the shape of the one in a PEFT folder; without weights, if the model has none.

    Raises:
        InputError: the folder's configuration is damaged, or is one for another model.
    """
    made_for = adapter_config(folder).get("base_model_name_or_path") or "it does not say which"
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode, config.init_lora_weights = False, True  # other beginnings read the weights
        with _where_it_is(model):
            tuned = get_peft_model(model, config)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _does_not_fit(folder, made_for, _why(error)) from error
    _trainable_in_fp32(tuned)
    return tuned


def load_beside(tuned: PeftModel, folder: Path, name: str) -> None:
    """Put one more adapter on the base of another; `tuned.set_adapter(name)` chooses who speaks.

    Raises: as `load_adapter`.
    """
    _read(folder, name, onto=tuned, trainable=False)


def can_stand_beside(folder: Path) -> bool:
    """Whether an adapter leaves the base as it is, so that several of its kind can sit on one."""
    config = adapter_config(folder)
    own = ("modules_to_save", "trainable_token_indices", "target_parameters")
    return config.get("peft_type") == "LORA" and not any(config.get(name) for name in own)


def _read(folder: Path, name: str, *, onto: PreTrainedModel | PeftModel, trainable: bool) -> PeftModel:
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{folder} is no adapter: it has no {CONFIG_FILE}")
    if not any((folder / file).is_file() for file in _WEIGHT_FILES):
        raise InputError(f"the adapter {folder} has no weights", expected=" or ".join(_WEIGHT_FILES))
    made_for = adapter_config(folder).get("base_model_name_or_path") or "it does not say which"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what PEFT warns of is looked at below
            if isinstance(onto, PeftModel):
                tuned = onto
                tuned.load_adapter(str(folder), name)
            else:
                tuned = PeftModel.from_pretrained(onto, str(folder), name, is_trainable=trainable)
            _check_every_weight_found_its_place(tuned, folder, name, made_for, trainable)
    except SafetensorError as error:
        raise InputError(f"the weights of the adapter {folder} are damaged ({error})") from error
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise _does_not_fit(folder, made_for, _why(error)) from error
    return tuned


def differing_settings(folder: Path, adapter: Adapter) -> dict[str, tuple[Any, Any]]:
    """Settings that a recipe gives otherwise than an adapter's folder has them: name -> (there, in the recipe).

    A setting at its default counts as not given.
    """
    config = adapter_config(folder)
    names = {
        "rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "rslora": "use_rslora", "dora": "use_dora",
    }  # fmt: skip
    found = {
        ours: (config[theirs], getattr(adapter, ours)) for ours, theirs in names.items() if theirs in config
    }
    for ours, theirs in (("targets", "target_modules"), ("modules_to_save", "modules_to_save")):
        there, wanted = config.get(theirs) or [], getattr(adapter, ours)
        lists = isinstance(wanted, tuple) and isinstance(there, list)
        if lists and sorted(there) != sorted(wanted):
            found[ours] = (", ".join(sorted(there)) or "none", ", ".join(wanted))
    defaults = Adapter()
    return {
        name: pair
        for name, pair in found.items()
        if pair[0] != pair[1] and getattr(adapter, name) != getattr(defaults, name)
    }


def adapter_fingerprint(folder: Path) -> str:
    """A hash of an adapter's configuration and of all bytes of its weights."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, *_WEIGHT_FILES):
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                digest.update(f"{name}:{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def base_of(folder: Path) -> str:
    """The base model's name as an adapter folder gives it.

    Raises:
        InputError: it gives none, or its configuration is damaged.
    """
    name = adapter_config(folder).get("base_model_name_or_path")
    if not name:
        raise InputError(
            "this adapter does not say which model it was made for",
            where=str(folder / CONFIG_FILE),
            remedy="write the model's name there, as base_model_name_or_path",
        )
    return str(name)


def adapter_config(folder: Path) -> dict[str, Any]:
    """What PEFT wrote of an adapter in its folder.

    Raises:
        InputError: it is damaged.
    """
    path = folder / CONFIG_FILE
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"this adapter's configuration is damaged ({error})", where=str(path)) from error


def is_of_a_reward_model(folder: Path) -> bool:
    """Whether an adapter folder's adapter scores texts instead of writing.

    Raises:
        InputError: its configuration is damaged.
    """
    return adapter_config(folder).get("task_type") == "SEQ_CLS"


def _why(error: Exception) -> str:
    """The line of PEFT's message that tells most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Target modules"):  # it goes on with a list of all of them
        return "it adapts layers that this model does not have"
    if (sizes := next(filter(None, map(_SIZES.search, lines)), None)) is None:
        return lines[0][:300].rstrip(".")
    there, here = (sizes[side].replace(", ", " x ") for side in ("there", "here"))
    return f"{sizes['name']} is {there} there, and this model needs {here}"


def _does_not_fit(folder: Path, made_for: str, why: str) -> InputError:
    return InputError(
        f"the adapter {folder} does not fit this model ({why})",
        remedy=f"use it with the base it was made for: {made_for}",
    )


def _check_every_weight_found_its_place(
    tuned: PeftModel, folder: Path, name: str, made_for: str, trainable: bool
) -> None:
    """PEFT leaves out what has no place in the model, and leaves fresh what the file does not hold; it only warns."""
    if tuned.peft_config[name].peft_type != "LORA":
        return
    # Loading once more is what tells: only it gives the names, and in the form that PEFT has converted them to.
    found = tuned.load_adapter(str(folder), name, is_trainable=trainable)
    if found.unexpected_keys:
        raise _does_not_fit(
            folder,
            made_for,
            f"it holds {_with_shape(_plain(found.unexpected_keys[0], name), folder)}, for which there is no place",
        )
    if found.missing_keys:
        raise _does_not_fit(folder, made_for, f"it holds no {_plain(found.missing_keys[0], name)}")


def _plain(key: str, adapter: str) -> str:
    """A weight's name as the file has it."""
    return key.replace(f".{adapter}.", ".")


def _with_shape(key: str, folder: Path) -> str:
    """A weight's name with its shape, where the file is one that tells it without being read."""
    file = folder / _WEIGHT_FILES[0]
    if not file.is_file():
        return key
    with safe_open(file, "pt") as weights:
        shape = weights.get_slice(key).get_shape() if key in weights.keys() else []  # noqa: SIM118 - no mapping
    return f"{key} ({' x '.join(map(str, shape))})" if shape else key


def _trainable_in_fp32(model: nn.Module) -> None:
    """Hold what learns in fp32; modules trained whole still take and give the type of the model around them."""
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for whole in module.modules_to_save.values():
                _speak_the_type_around(whole)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()


def _speak_the_type_around(module: nn.Module) -> None:
    """Cast a module's inputs to fp32 and its outputs back to the type that it has now."""
    around = next(module.parameters()).dtype
    if around == torch.float32:
        return

    def cast(value: Any, to: torch.dtype) -> Any:
        if isinstance(value, tuple):
            return tuple(cast(part, to) for part in value)
        return value.to(to) if isinstance(value, Tensor) and value.is_floating_point() else value

    def to_fp32(_: nn.Module, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return cast(inputs, torch.float32), {
            name: cast(value, torch.float32) for name, value in named.items()
        }

    module.register_forward_pre_hook(to_fp32, with_kwargs=True)
    module.register_forward_hook(lambda _, __, output: cast(output, around))

"""A model's folder -> tokenizer and weights in memory, in one type or packed, on one device or over several.

Weights come from the mapped files one by one, straight to their type and device. Those that stay as they are on a CPU
stay mapped; of the others nothing in the file's type remains.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.errors import InputError
from tunesmith.models.packed import IMPLEMENTATION
from tunesmith.models.packing import Packing, make_trainable, register_packing
from tunesmith.models.placement import Place, free_bytes, place_layers, room_here, too_large
from tunesmith.models.quantize import (
    check_blocks,
    checkpoint_method,
    packable_experts,
    settle_storage,
    stays_whole,
    weights_bytes,
)
from tunesmith.models.scoring import HEAD, must_write, settle_head
from tunesmith.models.skeleton import first_line, model_config, skeleton
from tunesmith.models.source import read_model_json, weight_files

log = logging.getLogger("tunesmith")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder.

    Raises:
        InputError: the folder holds none.
    """
    try:
        return AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError, ImportError, StrictDataclassError) as error:
        model_config(folder, trust_remote_code=trust_remote_code)  # it is read for the tokenizer too
        there = (folder / "tokenizer.json").is_file()
        raise InputError(
            f"{folder} holds no tokenizer that can be loaded"
            + (f": tokenizer.json is damaged, or needs a package ({first_line(error)})" if there else ""),
            expected=None
            if there
            else "tokenizer.json and tokenizer_config.json, or what the family has for them",
            remedy="download the model's tokenizer again"
            if there
            else "put the tokenizer's files beside the weights",
        ) from error


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype,
    device: str,
    trust_remote_code: bool = False,
    quantize: str = "none",
    device_map: str | Mapping[str, str] = "none",
    max_memory: Mapping[Place, str] | None = None,
    scores: bool = False,
    seed: int = 0,
) -> PreTrainedModel:
    """A language model, with its vision tower if it has one, in evaluation mode.

    Args:
        dtype: the type of all weights that are not packed.
        device: `cuda`, `mps` or `cpu`.
        quantize: the recipe's `model.quantize`.
        device_map: the recipe's, where `auto` lays the layers over all GPUs and the CPU's memory; or what an earlier
            start of a run came to, as `layers_on` told it.
        max_memory: the recipe's.
        scores: with a head that scores (a reward model), in fp32: the folder's, or a fresh one drawn from `seed`.

    Raises:
        InputError: weights are missing, damaged or of other shapes, transformers does not know the family, the
            quantisation cannot be had, or memory is short, which is seen before weights are read.
    """
    storage = settle_storage(folder, quantize, device)
    if not scores:
        must_write(folder)
    bare = skeleton(folder, dtype=dtype, trust_remote_code=trust_remote_code, scores=scores)
    if not isinstance(device_map, str):
        places = {name: torch.device(place) for name, place in device_map.items()}
    elif device_map == "auto":
        places = place_layers(bare, storage, room_here(max_memory, device))
    else:
        _must_fit(folder, weights_bytes(folder, dtype=dtype, quantize=quantize, of=bare)["total"], device)
        places = {"": torch.device(device)}
    try:
        model, found = type(bare).from_pretrained(
            None,
            config=bare.config,
            state_dict=_weights_in(folder),
            dtype=dtype,
            device_map=None if set(places.values()) == {torch.device("cpu")} else places,
            # What does not fit is told below, in our words.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_packing(folder, bare, quantize),
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise
        raise InputError(f"the model in {folder} cannot be loaded ({first_line(error)})") from error
    fresh = _check_all_weights_came(folder, found, scores=scores)
    check_blocks(model, folder)
    model.name_or_path = model.config.name_or_path = str(folder)
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    make_trainable(model)
    if scores:
        settle_head(model, seed if fresh else None)
    return model.eval()


def _must_fit(folder: Path, needed: int, device: str) -> None:
    free = free_bytes(device)
    if free is not None and needed > free:
        raise too_large(needed, free, f"this machine's {'memory' if device == 'cpu' else 'GPU'}")


def _packing(folder: Path, bare: PreTrainedModel, quantize: str) -> dict[str, Any]:
    """What transformers' loading is told about quantisation."""
    from_mxfp4 = checkpoint_method(folder) == "mxfp4"
    if not from_mxfp4 and quantize in ("none", "keep"):
        return {}
    register_packing()
    for config in (bare.config, bare.config.get_text_config()):
        # MXFP4 is unpacked here, not by transformers, which does it for all experts of a layer at once.
        config.__dict__.pop("quantization_config", None)
    if quantize in ("nf4", "bnb8") and (whole := stays_whole(bare)):
        log.warning(
            "model.quantize: %s cannot pack these, which stay in `precision`: %s", quantize, ", ".join(whole)
        )
    packing: dict[str, Any] = {"quantization_config": Packing(quantize, from_mxfp4=from_mxfp4)}
    if quantize != "none" and packable_experts(bare):
        packing["experts_implementation"] = IMPLEMENTATION
    return packing


class _InFile:
    """A tensor in a safetensors file, read when it is asked for.

    The file is opened for each anew: its mapping then ends with the last tensor that lies in it, and pages that were
    only read to be converted do not stay.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    def __getitem__(self, index: Any) -> Tensor:
        with safe_open(self.path, framework="pt") as file:
            tensor: Tensor = file.get_slice(self.name)[index]
        return tensor

    def get_dtype(self) -> str:
        """As safetensors names it, such as `BF16`."""
        with safe_open(self.path, framework="pt") as file:
            return str(file.get_slice(self.name).get_dtype())


def _weights_in(folder: Path) -> dict[str, _InFile]:
    """Every tensor in a folder's weight files, by name.

    Raises:
        SafetensorError: a file is damaged.
        OSError: one of them is not there.
    """
    found = {}
    for path in (folder / file for file in weight_files(folder)):
        with safe_open(path, framework="pt") as file:
            names = file.keys()
        found.update({name: _InFile(path, name) for name in names})
    return found


def _check_all_weights_came(folder: Path, found: dict[str, Any], *, scores: bool) -> bool:
    """transformers fills what it does not find with random numbers, and only warns.

    Returns:
        Whether the head of a model that scores is among that: it is the one part that may be.
    """
    own = {f"{HEAD}.weight", f"{HEAD}.bias"} if scores else set()
    for name, in_file, in_model in sorted(found["mismatched_keys"]):
        if name in own:
            raise InputError(
                f"the model in {folder} is a classifier of {in_file[0]} labels, and a reward model gives one score",
                remedy="take the model that it was made from, or a reward model",
            )
        raise InputError(
            f"the weights in {folder} do not fit its config.json: {name} has the shape {list(in_file)}",
            expected=str(list(in_model)),
        )
    missing = sorted(set(found["missing_keys"]) - own)
    if missing:
        raise InputError(
            f"{folder} does not hold all weights of a causal language model: {len(missing)} are missing, "
            f"the first is {missing[0]}",
            remedy="download the model again, or choose one that is made to write text",
        )
    return bool(own & set(found["missing_keys"]))


def end_token_ids(model_folder: Path, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's end token and those the generation configuration adds."""
    ends: set[int] = set()
    if tokenizer.eos_token_id is not None:
        ends.add(tokenizer.eos_token_id)
    for name in ("generation_config.json", "config.json"):
        path = model_folder / name
        if path.is_file():
            listed = read_model_json(path).get("eos_token_id")
            ends.update(listed if isinstance(listed, list) else [] if listed is None else [listed])
    return frozenset(ends)

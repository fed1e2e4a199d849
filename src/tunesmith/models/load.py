"""A model's folder -> tokenizer and weights in memory, on one device, in one type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tunesmith.errors import InputError

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
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(
            f"{folder} holds no tokenizer that can be loaded ({_first_line(error)})",
            remedy="put tokenizer.json and tokenizer_config.json beside the weights",
        ) from error


def load_model(
    folder: Path, *, dtype: torch.dtype, device: str, trust_remote_code: bool = False
) -> PreTrainedModel:
    """A causal language model with its weights in `dtype` on `device`, in evaluation mode.

    Raises:
        InputError: the folder is no model, weights are missing, or transformers does not know the family.
    """
    _check_folder(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise
        raise InputError(f"the model in {folder} cannot be loaded ({_first_line(error)})") from error
    return model.to(device).eval()


def _check_folder(folder: Path) -> None:
    """Say what is missing before transformers says it at length."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise InputError(
                f"{folder} is an adapter, not a model",
                remedy="name the base model as model.source and this folder as adapter.start",
            )
        raise InputError(f"{folder} is no model folder: it has no config.json")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing:
            raise InputError(
                f"{folder} is only half there: {len(missing)} of {len(shards)} weight files are missing, "
                f"the first is {missing[0]}",
                remedy="download the model again",
            )
    elif not list(folder.glob("*.safetensors")):
        raise InputError(f"{folder} holds no *.safetensors weights")


def end_token_ids(model_folder: Path, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's end token and those the generation configuration adds."""
    ends: set[int] = set()
    if tokenizer.eos_token_id is not None:
        ends.add(tokenizer.eos_token_id)
    for name in ("generation_config.json", "config.json"):
        path = model_folder / name
        if path.is_file():
            listed = json.loads(path.read_text("utf-8")).get("eos_token_id")
            ends.update(listed if isinstance(listed, list) else [] if listed is None else [listed])
    return frozenset(ends)


def model_config(folder: Path) -> Any:
    """The transformers configuration of a model folder."""
    return AutoConfig.from_pretrained(folder, local_files_only=True)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip()[:300] if lines else type(error).__name__

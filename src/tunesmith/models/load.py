"""A model's folder -> tokenizer and weights in memory, on one device, in one type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tunesmith.errors import InputError
from tunesmith.models.source import read_model_json

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
        InputError: weights are missing, damaged or of other shapes, or transformers does not know the family.
    """
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            # What does not fit is told below, in our words.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise
        raise InputError(f"the model in {folder} cannot be loaded ({_first_line(error)})") from error
    _check_all_weights_came(folder, found)
    return model.to(device).eval()


def _check_all_weights_came(folder: Path, found: dict[str, Any]) -> None:
    """transformers fills what it does not find with random numbers, and only warns."""
    for name, in_file, in_model in sorted(found["mismatched_keys"]):
        raise InputError(
            f"the weights in {folder} do not fit its config.json: {name} has the shape {list(in_file)}",
            expected=str(list(in_model)),
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise InputError(
            f"{folder} does not hold all weights of a causal language model: {len(missing)} are missing, "
            f"the first is {missing[0]}",
            remedy="download the model again, or choose one that is made to write text",
        )


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


def model_config(folder: Path) -> Any:
    """The transformers configuration of a model folder."""
    return AutoConfig.from_pretrained(folder, local_files_only=True)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip()[:300] if lines else type(error).__name__

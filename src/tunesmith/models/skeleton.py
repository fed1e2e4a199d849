"""The model without its weights: built from config.json alone, on the meta device.

Which class loads a folder, what each weight is called and how large it is — known before a byte of weights is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from tunesmith.errors import InputError
from tunesmith.models.scoring import must_have_a_linear_head, must_score


def model_config(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The transformers configuration of a model folder.

    Raises:
        InputError: there is none, it is damaged, or transformers does not know the family.
    """
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError, TypeError, StrictDataclassError) as error:
        raise InputError(f"the model in {folder} cannot be loaded ({first_line(error)})") from error


def model_class(config: Any) -> Any:
    """The auto class that loads a configuration: with its vision tower, where it has one."""
    sees = (
        hasattr(config, "vision_config") and config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    )
    return AutoModelForImageTextToText if sees else AutoModelForCausalLM


def skeleton(
    folder: Path, *, dtype: torch.dtype, trust_remote_code: bool = False, scores: bool = False
) -> PreTrainedModel:
    """The model of a folder with every weight on the meta device: names, shapes and types, no memory.

    Args:
        scores: with a head that scores what is read (a reward model), and none that writes.

    Raises:
        InputError: the configuration cannot be read, or names a family that transformers lacks, or has none of that
            scores.
    """
    config = model_config(folder, trust_remote_code=trust_remote_code)
    if scores:
        must_score(config)
        config.num_labels = 1
    kind = AutoModelForSequenceClassification if scores else model_class(config)
    try:
        with torch.device("meta"):
            model: PreTrainedModel = kind.from_config(
                config, dtype=dtype, trust_remote_code=trust_remote_code
            )
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise InputError(f"the model in {folder} cannot be loaded ({first_line(error)})") from error
    if scores:
        must_have_a_linear_head(model)
    return model


def decoder(model: PreTrainedModel) -> nn.Module:
    """The layers that read text, without head and vision tower."""
    # Llama 4's text model names a trunk that it does not have, and is then given out as its own trunk.
    trunk: nn.Module = model.model if model.base_model is model else model.base_model
    return trunk.get_decoder() if hasattr(model.config, "vision_config") else trunk  # type: ignore[operator]


def first_line(error: BaseException) -> str:
    """What an error of a library says, in at most one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # Of a configuration's field of the wrong type, the last line says what is wrong.
    return lines[-1 if isinstance(error, StrictDataclassError) else 0][:300].rstrip(":")

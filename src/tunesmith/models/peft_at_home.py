"""PEFT, which imports bitsandbytes as it is imported itself, and bitsandbytes: both without code from elsewhere.

All other modules take PEFT's names from here.
"""

# ruff: noqa: E402 - what is imported below must wait for the function

from __future__ import annotations

import importlib
import logging
import sys
from contextlib import suppress
from importlib.util import find_spec


def keep_bitsandbytes_at_home() -> None:
    """Import bitsandbytes, where it is installed, as if the package `kernels` were not.

    With that, on CPUs with AVX512-BF16, version 0.50 fetches compiled code from a hub when it is imported, and runs it.
    """
    if "bitsandbytes" in sys.modules or find_spec("bitsandbytes") is None:
        return
    there, log = sys.modules.get("kernels"), logging.getLogger("bitsandbytes")
    level = log.level
    log.setLevel(logging.ERROR)  # it would advise to install that package
    sys.modules["kernels"] = None  # type: ignore[assignment]  # how Python marks what cannot be imported
    try:
        with suppress(ImportError, OSError, RuntimeError):  # told where the package is needed
            importlib.import_module("bitsandbytes")
    finally:
        log.setLevel(level)
        del sys.modules["kernels"]
        if there is not None:
            sys.modules["kernels"] = there


keep_bitsandbytes_at_home()

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import AuxiliaryTrainingWrapper, ModulesToSaveWrapper
from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

__all__ = [
    "AuxiliaryTrainingWrapper",
    "LoraConfig",
    "LoraLayer",
    "ModulesToSaveWrapper",
    "PeftConfig",
    "PeftModel",
    "convert_peft_config_for_transformers",
    "get_peft_model",
    "keep_bitsandbytes_at_home",
]

"""Optional dependencies: import one, or say the line that brings it."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from tunesmith.errors import InputError

# module -> the extra of pyproject.toml that brings it
EXTRAS = {
    "wandb": "wandb",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "bitsandbytes": "bnb",
    "modelscope": "modelscope",
    "pypdfium2": "pdf",
    "PIL": "vision",
}


def installed(module: str) -> bool:
    """Whether `module` could be imported; importing nothing."""
    return importlib.util.find_spec(module) is not None


def require(module: str, *, wanted_by: str) -> ModuleType:
    """Import an optional module.

    Raises:
        InputError: it is not installed; names the pip line.
    """
    if not installed(module):
        raise InputError(
            f"{wanted_by} needs the package `{module}`, which is not installed",
            remedy=f'install it with: pip install "tunesmith[{EXTRAS[module]}]"',
        )
    return importlib.import_module(module)

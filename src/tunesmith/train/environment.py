"""environment.json: what a run ran on, and the automatic choices that a resumed run must repeat."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import psutil
import torch

from tunesmith import __version__
from tunesmith.config.schema import Recipe
from tunesmith.train.device import Hardware, choose_device, choose_precision

_PACKAGES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "bitsandbytes")
_DEFAULT_ROW_TOKENS = 2048


@dataclass(frozen=True)
class Choices:
    """What `auto` came to. Other choices give other bits, so these are settled before step 1 and kept."""

    device: str
    precision: str
    threads: int
    row_tokens: int
    packed_rows: bool  # several sequences a row, through the segment attention
    packed_rows_because: str
    day: str = ""  # for templates that write the date; a run that goes on tomorrow keeps it
    own_logits: bool = False  # the family's own head, in place of the one that makes logits in chunks
    layers_on: dict[str, str] | None = None  # the device of each part, under `device_map: auto`
    recomputed_layers: int | None = 0  # that keep no activations; null: all


def choose_compute(recipe: Recipe, stored: Choices | None) -> tuple[str, str, int]:
    """Device, precision and threads: as stored by an earlier start of the run, or chosen now.

    Raises:
        InputError: the device or the precision cannot be had here.
    """
    hardware = Hardware.here()
    if stored is not None:
        # The device is asked for by name: a resumed run that silently changed it would not be the same run.
        return choose_device(stored.device, hardware), stored.precision, stored.threads
    device = choose_device(recipe.model.device, hardware)
    return (
        device,
        choose_precision(
            recipe.model.precision, device, hardware, every_gpu=recipe.model.device_map == "auto"
        ),
        recipe.train.threads or hardware.cores,
    )


def choose_row_tokens(recipe: Recipe, longest: int) -> int:
    """The token budget of a row: the recipe's, or 2048, but never less than the longest sample."""
    return max(recipe.train.row_tokens or _DEFAULT_ROW_TOKENS, longest)


def settle_determinism(device: str, threads: int) -> None:
    """Threads, and on CUDA deterministic algorithms: the same recipe gives the same bits."""
    torch.set_num_threads(threads)
    if device == "cuda":
        # cuBLAS reads this when its first handle is made; set earlier by the user, it stands.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False


def describe(
    recipe: Recipe,
    choices: Choices,
    fingerprints: dict[str, Any],
    commit: str | None,
    licence: str | None,
) -> dict[str, Any]:
    """The content of environment.json: no secret is in it; paths are those of the recipe."""
    return {
        "tunesmith": __version__,
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "hardware": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu_name(),
            "cores": psutil.cpu_count(logical=False),
            "memory_bytes": psutil.virtual_memory().total,
            "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        },
        "seed": recipe.train.seed,
        "choices": asdict(choices),
        "model": {
            "source": recipe.model.source,
            "revision": recipe.model.revision,
            "commit": commit,  # what the revision led to, where the hub tells it
            "licence": licence,
        },
        "fingerprints": fingerprints,
        "result": recipe.run.result,
    }


def stored_choices(environment: dict[str, Any] | None) -> Choices | None:
    """The choices in an environment.json, if it has come that far."""
    return Choices(**environment["choices"]) if environment and "choices" in environment else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # Linux
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

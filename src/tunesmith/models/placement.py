"""Where the layers of a model go: all to one device, or over several GPUs of any size and the CPU's memory.

The plan is a pure function of the model's configuration and of the room on each device; a decoder layer is never split.
Layers in the CPU's memory are computed there too, so that they can be trained like the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import psutil
import torch
from accelerate import infer_auto_device_map
from accelerate.utils import CustomDtype
from transformers import PreTrainedModel

from tunesmith.config.words import byte_size
from tunesmith.errors import InputError
from tunesmith.models.quantize import bytes_in_memory, packable_experts, packable_linears

Place = int | Literal["cpu"]  # a GPU by number, or the CPU's memory
Placement = dict[str, torch.device]  # the name of a part of the model -> its device; "" is the whole

_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_RESERVED = 0.15  # of each GPU: activations, adapters and what the allocator wastes
_PACKED_TYPES = {"nf4": CustomDtype.INT4, "mxfp4": CustomDtype.INT4, "bnb8": torch.int8}
_SCALES = (
    1.07  # what scales add to packed weights at most (MXFP4: a byte in 16), which the types above leave out
)


def parse_bytes(text: str) -> int:
    """`20GB` (powers of ten) or `20GiB` (powers of two) -> bytes.

    Raises:
        InputError: it is no amount of memory.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)B\s*", text)
    if found is None:
        raise InputError(
            f"{text!r} is no amount of memory", expected="a number and a unit, such as 20GB or 7.5GiB"
        )
    return int(float(found[1]) * _UNITS[found[2]])


def free_bytes(device: str) -> int | None:
    """What is free on a device; None where it cannot be told (MPS shares the machine's memory)."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    if device != "cpu":
        return None
    free = psutil.virtual_memory().available
    limit, used = (_number_in(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    return free if limit is None else min(free, max(0, limit - (used or 0)))


def _number_in(path: Path) -> int | None:
    """The number in one of the system's small files; None where there is none, or it says `max`."""
    try:
        text = path.read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def room_here(limits: Mapping[Place, str] | None, device: str) -> dict[Place, int]:
    """Bytes that the weights may take on each device.

    Args:
        limits: the recipe's `model.max_memory`; None: what is free, on each GPU less a reserve.
        device: the recipe's device; only under `cuda` are GPUs used.

    Raises:
        InputError: a GPU is named that is not there, or an amount cannot be read.
    """
    gpus = range(torch.cuda.device_count()) if device.startswith("cuda") else range(0)
    if limits is not None:
        for place in limits:
            if place != "cpu" and place not in gpus:
                raise InputError(
                    f"model.max_memory names GPU {place}, which is not used here",
                    expected=f"`cpu`, or a GPU from 0 to {len(gpus) - 1}" if gpus else "`cpu`",
                )
        return {place: parse_bytes(amount) for place, amount in limits.items()}
    room: dict[Place, int] = {gpu: int((free_bytes(f"cuda:{gpu}") or 0) * (1 - _RESERVED)) for gpu in gpus}
    return room | {"cpu": free_bytes("cpu") or 0}


def place_layers(model: PreTrainedModel, storage: str, room: Mapping[Place, int]) -> Placement:
    """A device for each part of a model: GPUs are filled in turn, and the rest goes to the CPU's memory.

    Args:
        model: a skeleton.
        storage: `none`, `nf4`, `bnb8` or `mxfp4`.
        room: bytes that weights may take on each device.

    Raises:
        InputError: it does not fit all of them together; says by how much.
    """
    sizes = bytes_in_memory(model, storage)
    packed = [f"{name}.weight" for name in packable_linears(model)] if storage != "mxfp4" else []
    types = (
        dict.fromkeys([*packed, *packable_experts(model)], _PACKED_TYPES.get(storage))
        if storage != "none"
        else {}
    )
    shares = _SCALES if types else 1.0
    plan = infer_auto_device_map(
        model,
        max_memory={place: int(room.get(place, 0) / shares) for place in _in_order(room)},
        no_split_module_classes=list(model._no_split_modules or ()),
        special_dtypes=types,
        clean_result=True,
    )
    if "disk" in plan.values():
        raise too_large(sum(sizes.values()), sum(room.values()), "all devices together")
    return {name: _device(place) for name, place in plan.items()}


def layers_on(model: PreTrainedModel) -> dict[str, str]:
    """The device of each part of a loaded model; `""` is the whole, where it lies on one."""
    places = getattr(model, "hf_device_map", None) or {"": model.device}
    return {name: str(torch.device(place)) for name, place in places.items()}


def _in_order(room: Mapping[Place, int]) -> list[Place]:
    """GPUs by number, the CPU last; accelerate fills them in this order."""
    return [*sorted(place for place in room if isinstance(place, int)), "cpu"]


def _device(place: Place) -> torch.device:
    """As a `torch.device`: accelerate takes the bare word `cpu` for memory to fetch weights from for each pass."""
    return torch.device("cuda", place) if isinstance(place, int) else torch.device(place)


def too_large(needed: int, free: int, where: str) -> InputError:
    """The refusal of a model that does not fit."""
    return InputError(
        f"the weights need {byte_size(needed)}, and {where} can take {byte_size(free)}: "
        f"{byte_size(needed - free)} short",
        remedy="set model.quantize: nf4 (a fourth of bf16) or model.precision: bf16 (half of fp32), close other "
        "programs, take a smaller model, or, where there are several GPUs, set model.device_map: auto",
    )

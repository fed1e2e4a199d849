"""Which device, in which type, with how many threads: chosen before step 1, written down, reused by resume."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from tunesmith.errors import InputError, WorkError


@dataclass(frozen=True)
class Hardware:
    """What the choice depends on."""

    cuda: bool
    cuda_bf16: bool  # the first GPU computes in it
    mps: bool
    cores: int
    every_gpu_bf16: bool = False

    @classmethod
    def here(cls) -> Hardware:
        cuda = torch.cuda.is_available()
        return cls(
            cuda=cuda,
            cuda_bf16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
            mps=torch.backends.mps.is_available(),
            cores=_cores(),
            # Ampere (8.0) is the first that computes in bf16.
            every_gpu_bf16=cuda
            and all(torch.cuda.get_device_capability(i)[0] >= 8 for i in range(torch.cuda.device_count())),
        )


def _cores() -> int:
    """Physical cores this process may use."""
    physical = psutil.cpu_count(logical=False) or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))


def choose_device(wanted: str, hardware: Hardware) -> str:
    """CUDA, then MPS, then CPU; a device named in the recipe wins.

    Raises:
        InputError: the named device is not there.
    """
    there = {"cuda": hardware.cuda, "mps": hardware.mps, "cpu": True}
    if wanted == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[wanted]:
        raise InputError(
            f"the device {wanted} is asked for, which this machine (or this build of torch) does not have",
            expected="auto, or one of " + ", ".join(name for name, is_there in there.items() if is_there),
            remedy="see `tunesmith doctor`",
        )
    return wanted


def choose_precision(wanted: str, device: str, hardware: Hardware, *, every_gpu: bool = False) -> str:
    """fp32, bf16 or fp16: the type of compute and of frozen weights.

    `auto` is bf16 on CUDA devices that have it and fp32 elsewhere: older MPS systems have no bf16, and on a CPU
    fp32 is what runs well everywhere (bf16 is a line in the recipe).

    Args:
        every_gpu: the layers are laid over all GPUs, so each of them must compute in that type.

    Raises:
        InputError: fp16 away from CUDA (it does not train there), or bf16 on a CUDA device without it.
    """
    cuda_bf16 = hardware.every_gpu_bf16 if every_gpu else hardware.cuda_bf16
    if wanted == "auto":
        return "bf16" if device == "cuda" and cuda_bf16 else "fp32"
    if wanted == "fp16" and device != "cuda":
        raise InputError(
            f"model.precision: fp16 does not train on {device}",
            expected="fp32 or bf16",
            remedy="use precision: auto",
        )
    if wanted == "bf16" and device == "cuda" and not cuda_bf16:
        which = "one of the GPUs that the layers are laid over" if every_gpu else "this CUDA device"
        raise InputError(f"{which} has no bf16", expected="fp16 or fp32", remedy="use precision: fp16")
    return wanted


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held so far: on CUDA the device's, elsewhere the process's resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
# "you tried to allocate 128000000000 bytes" on a CPU, "Tried to allocate 2.00 GiB" on CUDA
_ASKED_FOR = re.compile(r"[Tt]ried to allocate (?:(\d+) bytes|([\d.]+ \w+))")


@contextmanager
def out_of_memory_is_a_work_error() -> Iterator[None]:
    """Turn running out of memory inside the block into a `WorkError` that names the settings to lower."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
            s in str(error) for s in _NO_MEMORY
        )
        if not is_memory:
            raise
        raise WorkError(
            f"out of memory{_wanted(error)}",
            remedy="what was saved stays good: free some memory and resume, or train anew with a lower "
            "train.row_tokens or data.max_length, with train.gradient_checkpointing: true, model.precision: bf16, a "
            "smaller adapter.rank or a smaller model",
        ) from error


def _wanted(error: BaseException) -> str:
    """How much was asked for when there was no more, where PyTorch's long message tells."""
    asked = _ASKED_FOR.search(str(error))
    if asked is None:
        return ""
    amount = f"{int(asked[1]) / 1e9:,.2f} GB" if asked[1] else asked[2]
    return f": {amount} more were asked for than there are"

"""The table of devices and precisions."""

from __future__ import annotations

import os

import pytest
import torch

from tunesmith.errors import InputError, WorkError
from tunesmith.train.device import (
    Hardware,
    choose_device,
    choose_precision,
    out_of_memory_is_a_work_error,
    peak_memory_bytes,
)

NEW_GPU = Hardware(cuda=True, cuda_bf16=True, mps=False, cores=8)
OLD_GPU = Hardware(cuda=True, cuda_bf16=False, mps=False, cores=8)
MAC = Hardware(cuda=False, cuda_bf16=False, mps=True, cores=8)
PLAIN = Hardware(cuda=False, cuda_bf16=False, mps=False, cores=2)

TABLE = [
    # machine, wanted device, wanted precision, device, precision (None: refused)
    (NEW_GPU, "auto", "auto", "cuda", "bf16"),
    (OLD_GPU, "auto", "auto", "cuda", "fp32"),
    (MAC, "auto", "auto", "mps", "fp32"),
    (PLAIN, "auto", "auto", "cpu", "fp32"),
    (NEW_GPU, "cpu", "auto", "cpu", "fp32"),
    (MAC, "cpu", "auto", "cpu", "fp32"),
    (NEW_GPU, "auto", "fp32", "cuda", "fp32"),
    (NEW_GPU, "auto", "fp16", "cuda", "fp16"),
    (OLD_GPU, "auto", "fp16", "cuda", "fp16"),
    (OLD_GPU, "auto", "bf16", "cuda", None),
    (PLAIN, "auto", "bf16", "cpu", "bf16"),
    (PLAIN, "auto", "fp16", "cpu", None),
    (NEW_GPU, "cpu", "fp16", "cpu", None),
    (MAC, "auto", "fp16", "mps", None),
    (MAC, "auto", "bf16", "mps", "bf16"),
]


@pytest.mark.parametrize(("machine", "device", "precision", "chosen", "chosen_precision"), TABLE)
def test_the_table(machine, device, precision, chosen, chosen_precision):
    assert choose_device(device, machine) == chosen
    if chosen_precision is None:
        with pytest.raises(InputError, match=precision):
            choose_precision(precision, chosen, machine)
    else:
        assert choose_precision(precision, chosen, machine) == chosen_precision


@pytest.mark.parametrize(
    ("wanted", "machine", "there"),
    [
        ("cuda", PLAIN, "expected auto, or one of cpu"),
        ("cuda", MAC, "expected auto, or one of mps, cpu"),
        ("mps", NEW_GPU, "expected auto, or one of cuda, cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused_and_those_there_are_named(wanted, machine, there):
    with pytest.raises(InputError) as caught:
        choose_device(wanted, machine)
    assert f"the device {wanted} is asked for" in str(caught.value)
    assert there in str(caught.value)


def test_this_machine_is_described_as_torch_sees_it():
    here = Hardware.here()
    assert here.cuda == torch.cuda.is_available()
    assert here.mps == torch.backends.mps.is_available()
    assert 1 <= here.cores <= (os.cpu_count() or 1)


def test_the_peak_is_at_least_what_is_held():
    before = peak_memory_bytes(torch.device("cpu"))
    held = torch.ones(before // 4 + 20_000_000)  # one more time all that was held so far, in fp32
    assert peak_memory_bytes(torch.device("cpu")) >= before + held.nbytes // 4


@pytest.mark.parametrize(
    "run_out",
    [
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        lambda: bytearray(1 << 62),
    ],
    ids=["torch", "python"],
)
def test_out_of_memory_names_what_to_lower(run_out):
    with pytest.raises(WorkError) as caught, out_of_memory_is_a_work_error():
        run_out()
    assert "out of memory" in str(caught.value)
    for setting in ("train.row_tokens", "data.max_length", "gradient_checkpointing", "precision: bf16"):
        assert setting in str(caught.value)


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="size of tensor"), out_of_memory_is_a_work_error():
        torch.ones(2) + torch.ones(3)

"""Checkpoints: everything that the next step depends on, whole or not at all.

A checkpoint is a folder with the trainable weights, the optimizer's state, a small state file and a manifest of sizes
and SHA-256 sums. It is written to a temporary folder, flushed and renamed. One that does not match its manifest is
never used: `newest_good` says so and goes to the one before.

What is not here because nothing depends on it: generator states (every row reseeds from (seed, step, row)), the
learning rate (a pure function of the step) and the order of data (a pure function of (seed, epoch)).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tunesmith.errors import InputError, TunesmithError
from tunesmith.models.save import system_error_is_an_os_error
from tunesmith.rundir import RunDir, folder_written_whole, read_json, write_bytes

log = logging.getLogger("tunesmith")

_WEIGHTS, _OPTIMIZER, _STATE, _MANIFEST = (
    "trainable.safetensors",
    "optimizer.pt",
    "state.json",
    "manifest.json",
)


@dataclass
class TrainState:
    """Where training stands after `step` updates. `window_*` are the sums since the last line of metrics.jsonl."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    window_loss: float = 0.0
    window_weight: float = 0.0
    window_measures: dict[str, tuple[float, float]] = field(default_factory=dict)
    best_loss: float | None = None
    best_step: int | None = None
    judged_loss: float | None = None
    evals_without_better: int = 0
    stopped_early: bool = False
    metrics_length: int = 0


class DamagedCheckpoint(TunesmithError):
    """A checkpoint that does not match its manifest."""


def save_checkpoint(
    run: RunDir,
    state: TrainState,
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    identity: Mapping[str, Any],
) -> Path:
    """Write the checkpoint of `state.step`.

    Args:
        identity: what a checkpoint belongs to (fingerprints of recipe, data and model); resume compares it.

    Raises:
        WorkError: the disk is full; earlier checkpoints are untouched.
    """
    state.metrics_length = run.metrics_length()
    folder = run.checkpoint(state.step)
    content = json.dumps({"state": asdict(state), "identity": dict(identity)}, indent=2)
    with folder_written_whole(folder) as temporary:
        # Straight from where they lie: in fp32, weights and moments of a fully tuned model are 12 bytes a weight, and
        # there may be no room for them twice.
        with system_error_is_an_os_error():
            save_file(
                {name: weight.detach().contiguous().cpu() for name, weight in weights.items()},
                temporary / _WEIGHTS,
            )
        with (temporary / _OPTIMIZER).open("wb") as file:
            torch.save({"optimizer": optimizer.state_dict(), "scaler": scaler and scaler.state_dict()}, file)
        (temporary / _STATE).write_text(content, encoding="utf-8")
        manifest = {
            name: {"bytes": (temporary / name).stat().st_size, "sha256": _sha256(temporary / name)}
            for name in (_WEIGHTS, _OPTIMIZER, _STATE)
        }
        write_bytes(temporary / _MANIFEST, json.dumps(manifest, indent=2).encode())
    return folder


def prune(run: RunDir, keep: int, best_step: int | None) -> None:
    """Remove all but the `keep` newest checkpoints and the best one.

    Each is renamed out of sight first, so a kill in between leaves no half checkpoint behind under its name.
    """
    for folder in run.checkpoints_newest_first()[keep:]:
        if best_step is not None and folder == run.checkpoint(best_step):
            continue
        doomed = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole: where it is, where training stood, and what it belongs to."""

    folder: Path
    state: TrainState
    identity: dict[str, Any]


def check(folder: Path) -> Found:
    """What a checkpoint that is whole says of itself.

    Raises:
        DamagedCheckpoint: a file is missing or differs from the manifest.
    """
    manifest = _read(folder, _MANIFEST)
    for name in (_WEIGHTS, _OPTIMIZER, _STATE):
        path, listed = folder / name, manifest.get(name)
        if not path.is_file() or not isinstance(listed, dict):
            raise DamagedCheckpoint(f"{name} is missing", where=str(folder))
        try:
            as_written = path.stat().st_size == listed.get("bytes") and _sha256(path) == listed.get("sha256")
        except OSError as error:
            raise DamagedCheckpoint(f"{name} cannot be read ({error.strerror})", where=str(folder)) from error
        if not as_written:
            raise DamagedCheckpoint(f"{name} is not what was written", where=str(folder))
    content = _read(folder, _STATE)
    try:
        return Found(folder, TrainState(**content["state"]), dict(content["identity"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpoint(f"{_STATE} is of another version", where=str(folder)) from error


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = read_json(folder / name)
    except InputError:
        content = None
    if not isinstance(content, dict):
        raise DamagedCheckpoint(f"it has no readable {name}", where=str(folder))
    return content


def newest_good(run: RunDir, *, with_best: bool = False) -> Found | None:
    """The newest checkpoint that is whole; damaged ones are named in the log and passed over.

    Args:
        with_best: the result will be the best checkpoint, so the one that a checkpoint names as the best so far must
            be whole as well.
    """
    for folder in run.checkpoints_newest_first():
        try:
            found = check(folder)
            if with_best and found.state.best_step is not None:
                check(run.checkpoint(found.state.best_step))
        except DamagedCheckpoint as damage:
            log.warning("damaged checkpoint passed over: %s", damage)
        else:
            return found
    return None


def restore(
    folder: Path,
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Put a checkpoint's weights, and with an optimizer given its state too, back in place, types kept exactly."""
    try:
        saved = load_file(folder / _WEIGHTS)
    except SafetensorError as error:
        raise DamagedCheckpoint(f"{_WEIGHTS} cannot be read ({error})", where=str(folder)) from error
    if saved.keys() != weights.keys():
        raise DamagedCheckpoint("it holds other weights than this recipe trains", where=str(folder))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(saved[name])
    if optimizer is None:
        return
    stored = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(stored["optimizer"])
    if scaler is not None and stored["scaler"]:
        scaler.load_state_dict(stored["scaler"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

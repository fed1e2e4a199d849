"""Small jobs for the loop: a tiny Llama, samples of random tokens, a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.conftest import tiny_llama
from tests.train.test_gradients import samples as trees
from tunesmith.config.method import Sft
from tunesmith.config.schema import Adapter, Train
from tunesmith.data.schema import Place, Sample
from tunesmith.methods import METHODS
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.models.recompute import recompute_activations
from tunesmith.rundir import RunDir
from tunesmith.segments import Tree
from tunesmith.train.checkpoint import TrainState, newest_good
from tunesmith.train.events import Events
from tunesmith.train.examples import Examples
from tunesmith.train.loop import Job, run_loop


class Samples(list[Sample]):
    """Samples in memory, as the loop asks for them."""

    def tree(self, at: int) -> Tree:
        return self[at].tree

    def good(self, at: int) -> bool | None:
        return self[at].good

    def place(self, at: int) -> Place:
        return self[at].place


def samples(count: int, seed: int = 3) -> Samples:
    rows = (Sample(tree, Place("rows.jsonl", i + 1, i + 1)) for i, tree in enumerate(trees(count, seed)))
    return Samples(rows)


def make_policy(
    *, lora: bool = True, dropout: float = 0.0, dtype: torch.dtype = torch.float32, recompute: bool = False
) -> Policy:
    model = tiny_llama().to(dtype)
    if lora:
        tuned = add_adapter(model, Adapter(rank=4, alpha=8, dropout=dropout), base_name="tiny", seed=0)
    else:
        tuned = model.requires_grad_(True)
    if recompute:
        recompute_activations(model)
    return Policy(tuned, segments=True, compute=dtype, seed=5)


def make_job(
    folder: Path,
    train: Train,
    *,
    policy: Policy | None = None,
    rows: Samples | None = None,
    held_out: Samples | None = None,
    row_tokens: int = 4096,
    stop_wanted: Callable[[], bool] = lambda: False,
    events: Events | None = None,
) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(
        train, RunDir(folder), policy or make_policy(), METHODS["sft"](Sft()),
        Examples(rows or samples(8)), Examples(held_out or Samples()), row_tokens,
        {"recipe": "a"}, events or Events([]), stop_wanted,
    )  # fmt: skip


def resumed(job: Job) -> TrainState:
    """Go on with a job from its newest checkpoint, as the pipeline does."""
    found = newest_good(job.run)
    assert found is not None
    job.run.cut_metrics(found.state.metrics_length)
    return run_loop(job, (found.folder, found.state))


def weight_bytes(policy: Policy) -> dict[str, bytes]:
    return {name: w.detach().contiguous().numpy().tobytes() for name, w in policy.trainable().items()}


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = {"tokens_per_second", "peak_memory_bytes", "seconds"}
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]

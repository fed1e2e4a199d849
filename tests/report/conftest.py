"""A run folder as a finished run leaves it, written file by file through the run folder's own functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunesmith.rundir import RunDir, write_json

RECIPE = """\
name: poetry-nano
model:
  source: builtin:nano
  revision:
  precision: auto
adapter:
  type: lora
  rank: 16
  alpha: 32.0
  dropout: 0.1
  targets: all-linear
data:
  train:
  - path: quatrains.json
    format: poetry
  eval: 0.1
  max_length: 256
method:
  name: sft
train:
  epochs: 10
  batch_size: 8
  accumulate: 1
  learning_rate: 0.002
  schedule: cosine
  seed: 0
evaluate:
  metrics:
  - poem_form
  prompts:
  - 写一首关于海浪的诗
"""

SAMPLES = [
    {
        "prompt": "写一首关于海浪的诗",
        "base": "海上有人来，江边无处寻。不知何处去，一片白云深。一片白云深，",
        "tuned": "白浪接天来，\n轻舟去不回。\n夜深闻远笛，\n星落满沙台。",
        "trained_on": False,
    },
    {
        "prompt": "Write a poem about the lighthouse",
        "base": "Write a poem about the lake\n\n江上一孤舟，秋风起白头",
        "tuned": "一点照沧溟，\n孤舟夜不停。\n归人遥指处，\n风雨到天明。",
        "trained_on": False,
    },
    {
        "prompt": "写一首关于春雨的诗",
        "base": "春雨春风入帝城，春来春去不胜情。",
        "tuned": "细脚踏青苔，\n轻声叩户来。\n不知谁唤醒，\n墙角豆花开。",
        "trained_on": True,
    },
    {
        "prompt": "<script>alert('x')</script> & 诗",
        "base": "<b>bold</b>",
        "tuned": "{{ 7 * 7 }}",
        "trained_on": False,
    },
]

SCORES = {
    "base": {"form_validity": 0.05, "copied": 0.0, "mean_tokens": 61.3, "end_token_rate": 0.45},
    "tuned": {"form_validity": 0.95, "copied": 0.05, "mean_tokens": 24.1, "end_token_rate": 1.0},
}

LEDGER = {
    "rows_read": 64,
    "rows_kept": 62,
    "rows_dropped": 2,
    "dropped": [
        {"place": "quatrains.json:17", "reason": "`output` is empty"},
        {"place": "quatrains.json:41", "reason": "311 tokens, over max_length 256"},
    ],
    "tokens": {"total": 2945, "with_loss": 1573, "mean": 47.5, "median": 47, "p95": 52, "max": 55},
    "format": "poetry",
    "fingerprint": "9f2c41d07ab3e6185c04",
}

ENVIRONMENT = {
    "tunesmith": "0.1.0",
    "python": "3.11.7",
    "packages": {"torch": "2.13.0+cpu", "transformers": "5.23.0", "peft": "0.21.0"},
    "hardware": {
        "system": "Linux x86_64",
        "cpu": "AMD EPYC",
        "cores": 2,
        "memory_bytes": 24_700_000_000,
        "cuda": None,
    },
    "seed": 0,
    "choices": {
        "device": "cpu",
        "precision": "fp32",
        "threads": 2,
        "row_tokens": 2048,
        "packed_rows": True,
        "packed_rows_because": "the probe agrees",
    },
    "model": {"source": "builtin:nano", "revision": None, "licence": "Apache-2.0"},
    "fingerprints": {
        "data": "9f2c41d07ab3e6185c04",
        "model": "77d0c2",
        "template": "b1946ac9",
        "prompt": "5d41402a",
    },
    "result": None,
    "finished": True,
}


def metric_lines(steps: int, *, eval_every: int = 0, seed: int = 3) -> list[dict[str, Any]]:
    """A noisy falling loss with a cosine rate: the shape of a small run."""
    noise = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        share = step / steps
        clean = 1.1 + 3.6 * math.exp(-5 * share)
        lines.append(
            {
                "step": step,
                "epoch": round(10 * share, 4),
                "loss": round(clean * float(noise.normal(1, 0.05)), 6),
                "learning_rate": 0.002 * min(1, step / 10) * 0.5 * (1 + math.cos(math.pi * share)),
                "grad_norm": 0.8,
                "tokens": 380 * step,
                "tokens_per_second": 4200.0 + float(noise.normal(0, 90)),
                "peak_memory_bytes": 612_000_000,
                "seconds": round(0.09 * step, 3),
            }
        )
        if eval_every and step % eval_every == 0:
            lines.append(
                {"step": step, "epoch": round(10 * share, 4), "eval_loss": round(clean + 0.28 * share, 6)}
            )
    return lines


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run that has only just begun: a folder with a recipe."""
    run = RunDir(tmp_path / "poetry-nano")
    run.create(RECIPE, overwrite=False)
    return run


@pytest.fixture
def finished() -> Callable[[RunDir], RunDir]:
    return finish


def finish(run: RunDir) -> RunDir:
    """Fill a begun run folder as a finished run would, but for the curve and the page."""
    for line in metric_lines(200, eval_every=20):
        run.append_metrics(line)
    write_json(run.environment, ENVIRONMENT)
    write_json(
        run.data,
        {
            "train": LEDGER,
            "eval": LEDGER
            | {
                "rows_read": 6,
                "rows_kept": 6,
                "dropped": [],
                "rows_dropped": 0,
                "leaked": {"rows": 0, "whole": 0, "first": []},
            },
        },
    )
    write_json(run.before_after, {"samples": SAMPLES, "scores": SCORES})
    run.adapter.mkdir()
    return run


@pytest.fixture
def log_steps() -> Callable[..., None]:
    """Write metrics.jsonl: `log_steps(run, steps, eval_every=0)`."""

    def log(run: RunDir, steps: int, *, eval_every: int = 0) -> None:
        for line in metric_lines(steps, eval_every=eval_every):
            run.append_metrics(line)

    return log

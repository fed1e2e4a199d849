"""Recipes and data files that tests write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {i}?"},
            {"role": "assistant", "content": f"It is {i} " * (1 + i % 3)},
        ]
    }
    for i in range(10)
]


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_recipe(folder: Path, model: Path | str, **blocks: dict[str, Any]) -> Path:
    """A quick recipe over ten rows: LoRA with dropout, two epochs, accumulation 2, a checkpoint every second step."""
    data = write_rows(folder / "rows.jsonl", ROWS)
    recipe: dict[str, Any] = {
        "name": "tiny",
        "model": {"source": str(model), "device": "cpu"},
        "adapter": {"rank": 4, "alpha": 8, "dropout": 0.1},
        "data": {"train": data.name, "eval": 0.2, "max_length": 128},
        "train": {
            "epochs": 2, "batch_size": 1, "accumulate": 2, "learning_rate": 1e-3, "save_every": 2, "eval_every": 3,
            "warmup_steps": 2,
        },
        "evaluate": {"prompts": ["What is 3?", "Who?"], "generation": {"max_new_tokens": 8, "temperature": 0.7}},
        "run": {"output": "run"},
    }  # fmt: skip
    if blocks.get("adapter", {}).get("type") == "none":
        del recipe["adapter"]  # whose keys are LoRA's
    for name, block in blocks.items():
        recipe[name] = {**recipe.get(name, {}), **block} if isinstance(block, dict) else block
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return path


OF_THE_MACHINE = ("tokens_per_second", "peak_memory_bytes", "seconds")


def deterministic_columns(metrics: Path) -> list[dict[str, Any]]:
    """The columns of metrics.jsonl that must be the same in every run of a recipe."""
    lines = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    return [{name: line[name] for name in line if name not in OF_THE_MACHINE} for line in lines]

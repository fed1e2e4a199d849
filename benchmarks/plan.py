"""`tunesmith plan` against real runs: predicted and measured peak memory and seconds a step, each in its own process."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

_STEPS = 6  # the first is not counted: libraries choose their kernels in it
_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "tinyllama-1.1b": (
        "Llama",
        {
            "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
            "num_attention_heads": 32, "num_key_value_heads": 4, "max_position_embeddings": 4096,
        },
    ),
    "qwen3-0.6b": (
        "Qwen3",
        {
            "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
            "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
        },
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A recipe: a shape, a sample's tokens, samples an update, and settings."""

    shape: str
    tokens: int
    samples: int
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.shape}, {self.samples} x {self.tokens} tokens, {', '.join(self.settings)}"


_BF16, _FP32, _NF4 = "model.precision=bf16", "model.precision=fp32", "model.quantize=nf4"
_KEPT, _ALL = "train.gradient_checkpointing=false", "train.gradient_checkpointing=true"
_FULL = "adapter={type: none}"
# The constants of train/memory_plan.py come from TinyLlama at 1 x 512 (bf16) and 2 x 192 tokens (fp32) and Qwen3 at 1 x 384,
# none of which is among these.
CASES = (
    Case("tinyllama-1.1b", 128, 1, (_BF16, _KEPT)),
    Case("tinyllama-1.1b", 256, 2, (_BF16, _KEPT, "adapter.rank=64")),
    Case("tinyllama-1.1b", 1024, 1, (_BF16, _ALL)),
    Case("tinyllama-1.1b", 256, 1, (_FP32, _KEPT)),
    Case("tinyllama-1.1b", 384, 1, (_BF16, _NF4, _KEPT)),
    Case("tinyllama-1.1b", 512, 1, (_BF16, _NF4, _ALL)),
    Case("qwen3-0.6b", 128, 4, (_BF16, _KEPT)),
    Case("qwen3-0.6b", 512, 1, (_FP32, _KEPT)),
    Case("qwen3-0.6b", 2048, 1, (_BF16, _ALL)),
    Case("qwen3-0.6b", 1024, 1, (_BF16, "train.gradient_checkpointing=14")),
    Case("qwen3-0.6b", 256, 1, (_FP32, _FULL, _KEPT)),
    Case("qwen3-0.6b", 512, 1, (_BF16, _FULL, _ALL)),
    Case("qwen3-0.6b", 768, 1, (_BF16, _NF4, _KEPT)),
)


@dataclass(frozen=True)
class Outcome:
    """Predicted and measured, in bytes and seconds; `spread` is the slowest and the fastest step measured."""

    case: str
    memory: tuple[float, float]
    seconds: tuple[float, float]
    spread: tuple[float, float]


def table(say: Callable[[str], None]) -> list[str]:
    """Plan and train every case, one at a time; the rows of a table, predicted / measured."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="plan-benchmark-") as scratch:
        for case in CASES:
            outcomes.append(_outcome(case, Path(scratch)))
            say(_line(outcomes[-1]))
    memory = sum(abs(one.memory[0] / one.memory[1] - 1) <= 0.15 for one in outcomes)
    seconds = sum(abs(one.seconds[0] / one.seconds[1] - 1) <= 0.25 for one in outcomes)
    return [
        "| recipe | peak memory, predicted / measured | a step, predicted / median (fastest to slowest) |",
        "| --- | --- | --- |",
        *map(_line, outcomes),
        "",
        f"{memory} of {len(outcomes)} are within 15% of memory, {seconds} within 25% of time.",
    ]


def _line(one: Outcome) -> str:
    memory, seconds = one.memory, one.seconds
    return (
        f"| {one.case} | {memory[0] / 1e9:.2f} / {memory[1] / 1e9:.2f} GB ({memory[0] / memory[1] - 1:+.0%}) | "
        f"{seconds[0]:.2f} / {seconds[1]:.2f} s ({seconds[0] / seconds[1] - 1:+.0%}; "
        f"{one.spread[0]:.2f} to {one.spread[1]:.2f}) |"
    )


def _outcome(case: Case, scratch: Path) -> Outcome:
    recipe, run = _recipe(case, _model(case.shape, scratch), scratch), scratch / "run"
    plan = json.loads(_in_a_process("plan", str(recipe), *case.settings, "--json")[0])
    shutil.rmtree(run, ignore_errors=True)
    _, peak = _in_a_process("train", str(recipe), *case.settings, "-o", str(run))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [
        (later["tokens"] - earlier["tokens"]) / later["tokens_per_second"]
        for earlier, later in pairwise(lines)
    ]
    return Outcome(
        case.name,
        (plan["peak_bytes"], peak),
        (plan["time"]["step"], statistics.median(steps)),
        (min(steps), max(steps)),
    )


def _in_a_process(*command: str) -> tuple[str, int]:
    """Standard output of a verb, and the most memory that its process had resident, in bytes."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "tunesmith", *command],
            stdout=output, stderr=errors, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        # The child's own peak: RUSAGE_CHILDREN would give the greatest of all children so far.
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {errors.read()[-2000:]}")
        output.seek(0)
        return output.read(), used.ru_maxrss * 1024


def _model(shape: str, scratch: Path) -> Path:
    """A folder with random bf16 weights and a tokenizer of single bytes."""
    folder = scratch / shape
    if not folder.is_dir():
        # In a process of its own: a child begins with its parent's pages, and its peak would count them.
        subprocess.run([sys.executable, "-m", "benchmarks.plan", shape, str(folder)], check=True)
    return folder


def make_model(shape: str, folder: Path) -> None:
    """Write the folder of a shape."""
    import transformers

    from benchmarks.random_weights import write_random_model
    from tests.conftest import byte_tokenizer

    family, sizes = _SHAPES[shape]
    write_random_model(folder, getattr(transformers, f"{family}Config")(**sizes, eos_token_id=2))
    tokenizer = byte_tokenizer()
    tokenizer.model_max_length = 4096
    tokenizer.save_pretrained(folder)


def _recipe(case: Case, model: Path, scratch: Path) -> Path:
    """A recipe over rows of exactly so many tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)

    def messages(number: int, length: int) -> list[dict[str, str]]:
        asked = {"role": "user", "content": f"{number:04d}"}
        return [asked, {"role": "assistant", "content": "abcdefgh"[number % 8] * length}]

    # The template writes a line feed after the end of the turn, which training leaves out.
    frame = len(tokenizer.apply_chat_template(messages(0, 0), tokenize=True, return_dict=False)) - 1
    rows = [{"messages": messages(number, case.tokens - frame)} for number in range(_STEPS * case.samples)]
    (scratch / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "name": "plan",
        "model": {"source": str(model), "device": "cpu"},
        "data": {"train": "rows.jsonl", "max_length": 4096, "cache": False},
        "train": {"epochs": 1, "batch_size": 1, "accumulate": case.samples, "row_tokens": 2048},
    }
    if _FULL not in case.settings:
        recipe["adapter"] = {"rank": 16, "alpha": 32, "dropout": 0.1}
    path = scratch / "recipe.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
    return path


if __name__ == "__main__":
    make_model(sys.argv[1], Path(sys.argv[2]))

"""Memory of training over packed weights, at real shapes with random weights, each step of it in a fresh process.

`python -m benchmarks models-memory` writes the models into a temporary folder (2 and 19 GB) and measures in turn.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.random_weights import write_random_model

RANK, TOKENS = 16, 512


class Case(NamedTuple):
    """One measurement: what is trained how, and the most memory that it may take."""

    name: str
    shape: str
    storage: str
    checkpointing: bool
    target: float | None  # GB


CASES = (
    Case("tinyllama-nf4", "tinyllama", "nf4", False, None),
    Case("tinyllama-nf4-recomputed", "tinyllama", "nf4", True, 2.5),
    Case("tinyllama-bnb8-recomputed", "tinyllama", "bnb8", True, None),
    Case("tinyllama-bf16-recomputed", "tinyllama", "none", True, None),
    Case("glm4-9b-nf4-recomputed", "glm4-9b", "nf4", True, 12.0),
    Case("gpt-oss-20b-layer-nf4", "gpt-oss-layer", "nf4", False, None),
    Case("gpt-oss-20b-layer-kept", "gpt-oss-layer", "keep", False, None),
)


def shape(name: str) -> Any:
    """The configuration of a real model; of GPT-OSS-20B one layer, with a small vocabulary."""
    import transformers

    if name == "tinyllama":
        return transformers.LlamaConfig(
            vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22,
            num_attention_heads=32, num_key_value_heads=4, max_position_embeddings=2048,
        )  # fmt: skip
    if name == "glm4-9b":
        return transformers.GlmConfig(
            vocab_size=151552, hidden_size=4096, intermediate_size=13696, num_hidden_layers=40,
            num_attention_heads=32, num_key_value_heads=2, head_dim=128, attention_bias=True,
            tie_word_embeddings=False, pad_token_id=151329, eos_token_id=151329,
        )  # fmt: skip
    return transformers.GptOssConfig(
        vocab_size=1024, hidden_size=2880, intermediate_size=2880, num_hidden_layers=1, num_local_experts=32,
        num_experts_per_tok=4, num_attention_heads=64, num_key_value_heads=8, head_dim=64,
        layer_types=["full_attention"], pad_token_id=0, eos_token_id=1,
    )  # fmt: skip


def memory_table(say: Callable[[str], None]) -> list[str]:
    """Every case measured; rows of a Markdown table."""
    rows = [
        "| case | loading GB | peak GB | of it weights | seconds a step | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            where = Path(folder) / (case.shape + ("-mxfp4" if case.storage == "keep" else ""))
            if not where.is_dir():
                say(f"writing {where.name}")
                _in_a_process("write", str(where), case.shape)
                if case.storage == "keep":
                    _in_a_process("to-mxfp4", str(where))
            got = _in_a_process("train", str(where), case.storage, str(int(case.checkpointing)))
            say(f"{case.name}: {got}")
            target = "" if case.target is None else f"at most {case.target} GB"
            rows.append(
                f"| {case.name} | {got['loading'] / 1e9:.2f} | {got['peak'] / 1e9:.2f} | {got['weights'] / 1e9:.2f} | "
                f"{got['seconds']:.0f} | {target} |"
            )
    return rows


def _in_a_process(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.models", *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def train(folder: Path, storage: str, checkpointing: bool) -> dict[str, Any]:
    """Load, put LoRA on every linear layer, and take two steps over one row of 512 tokens.

    Returns:
        `loading` and `peak`, the most resident bytes until loaded and until the end (mapped pages of files included);
        `anonymous`, the most of them that no file holds; `weights`, what the plan says; `seconds` of the second step.
    """
    import torch

    from tunesmith.config.schema import Adapter
    from tunesmith.models.adapters import add_adapter
    from tunesmith.models.load import load_model
    from tunesmith.models.policy import Policy
    from tunesmith.models.quantize import weights_bytes
    from tunesmith.segments import Block, Piece, lay_row

    most = _watch_anonymous()
    dtype = torch.bfloat16
    model = load_model(folder, dtype=dtype, device="cpu", quantize=storage)
    loading = _status("VmHWM")
    tuned = add_adapter(model, Adapter(rank=RANK), base_name="random", seed=0)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = Policy(tuned, segments=True, compute=dtype, seed=0)
    tokens = tuple(torch.randint(1000, (TOKENS,), generator=torch.Generator().manual_seed(0)).tolist())
    row = lay_row([Block.of((Piece(tokens, (1.0,) * TOKENS),))])
    optimizer = torch.optim.AdamW(list(policy.trainable().values()), lr=1e-4)
    seconds = 0.0
    for step in range(2):
        began = time.perf_counter()
        with policy.training_mode():
            policy.seat(step, 0)
            (-policy(row).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - began
    return {
        "loading": loading,
        "peak": _status("VmHWM"),
        "anonymous": most[0],
        "weights": weights_bytes(folder, dtype=dtype, quantize=storage)["total"],
        "seconds": seconds,
    }


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _watch_anonymous() -> list[int]:
    """The most anonymous memory so far, looked at a hundred times a second."""
    most = [0]

    def watch() -> None:
        while True:
            most[0] = max(most[0], _status("RssAnon"))
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    return most


def to_mxfp4(folder: Path) -> dict[str, Any]:
    """Random blocks and scales in place of a GPT-OSS model's experts, as OpenAI published it."""
    import torch
    from safetensors.torch import load_file, save_file

    for path in sorted(folder.glob("*.safetensors")):
        weights = load_file(path)
        for name in [
            name for name in weights if name.endswith(("experts.gate_up_proj", "experts.down_proj"))
        ]:
            experts, into, out = weights.pop(name).shape
            blocks = (experts, out, into // 32, 16)
            weights[f"{name}_blocks"] = torch.randint(256, blocks, dtype=torch.uint8)
            weights[f"{name}_scales"] = torch.randint(118, 122, blocks[:3], dtype=torch.uint8)
        save_file(weights, path, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").unlink()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["quantization_config"] = {"quant_method": "mxfp4"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return {}


if __name__ == "__main__":
    work, where, *options = sys.argv[1:]
    if work == "write":
        write_random_model(Path(where), shape(options[0]))
        print("{}")
    elif work == "to-mxfp4":
        print(json.dumps(to_mxfp4(Path(where))))
    else:
        print(json.dumps(train(Path(where), options[0], options[1] == "1")))

"""Models of a real shape with random weights, made on disk a layer at a time: nothing to download, little memory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def write_random_model(folder: Path, config: Any, *, dtype: torch.dtype = torch.bfloat16) -> Path:
    """A model folder without a tokenizer: config.json and one shard a layer, weights drawn from N(0, 0.02)."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    config.architectures = [type(model).__name__]
    config.dtype = dtype
    config.save_pretrained(folder)
    shards: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        layer = re.search(r"layers\.(\d+)\.", name)
        shards.setdefault(f"layer {int(layer[1]):03d}" if layer else name, []).append(name)
    draw = torch.Generator().manual_seed(0)
    places, total = {}, 0
    for number, names in enumerate(shards.values(), 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {name: _random(model.get_parameter(name), draw) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(names, file))
        total += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return folder


def _random(like: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    if like.dim() == 1:
        return torch.ones(like.shape, dtype=like.dtype)
    return torch.empty(like.shape, dtype=like.dtype).normal_(0, 0.02, generator=draw)

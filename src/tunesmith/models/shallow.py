"""A model with only some of its layers: how a small student for distillation begins (arXiv 1910.01108).

The layers that are kept are spread evenly, the first and the last among them; all other weights are the model's own. The
result is a model folder like any other, kept in tunesmith's cache.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from tunesmith import __version__
from tunesmith.data.cache import LAST_FILE, PassingFolder, read_prepared
from tunesmith.errors import InputError
from tunesmith.models.source import fingerprint, read_model_json, weight_files
from tunesmith.rundir import FREE_AND_REPEAT, write_json

# As transformers' decoders name them; towers that look at pictures keep theirs.
_OF_A_LAYER = re.compile(r"^(?P<before>(?!.*(?:visual|vision)).*\blayers\.)(?P<number>\d+)(?P<after>\..+)$")
_NO_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json", "*.pth", "*.gguf")


def with_layers(folder: Path, layers: int) -> tuple[Path, PassingFolder | None]:
    """A model's folder with so many of its layers; and what the folder goes with, where nothing can be kept.

    Raises:
        InputError: it has no more layers than that, is quantised, or its layers cannot be told apart.
    """
    config = read_model_json(folder / "config.json")
    text = config.get("text_config", config)
    there = text.get("num_hidden_layers")
    if not isinstance(there, int) or config.get("quantization_config") is not None:
        raise InputError(
            "the layers of this model cannot be told apart",
            where="model.layers",
            remedy="leave model.layers out",
        )
    if layers >= there:
        raise InputError(
            f"model.layers is {layers}, and this model has {there} layers",
            remedy=f"choose fewer than {there}, or leave it out to take all",
        )
    kept = [0] if layers == 1 else [round(step * (there - 1) / (layers - 1)) for step in range(layers)]
    parts = [__version__, "layers", fingerprint(folder), kept]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def write(empty: Path) -> None:
        shutil.copytree(folder, empty, ignore=shutil.ignore_patterns(*_NO_WEIGHTS), dirs_exist_ok=True)
        for name, value in text.items():
            if isinstance(value, list) and len(value) == there:  # a word for each layer, such as layer_types
                text[name] = [value[number] for number in kept]
        text["num_hidden_layers"] = layers
        write_json(empty / "config.json", config, remedy=FREE_AND_REPEAT)
        _write_weights(folder, empty, {number: place for place, number in enumerate(kept)})
        write_json(empty / LAST_FILE, {"of": str(folder), "layers": kept}, remedy=FREE_AND_REPEAT)

    return read_prepared(key, lambda there: (there / "config.json").is_file(), write, lambda made: made)


def _write_weights(folder: Path, to: Path, place_of: dict[int, int]) -> None:
    """Copy the weights file by file, those of layers under the numbers that they have now."""
    weight_map: dict[str, str] = {}
    found_layers = set()
    files = weight_files(folder)
    for file in files:
        tensors: dict[str, Any] = {}
        with safe_open(folder / file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no dict
                layer = _OF_A_LAYER.match(name)
                if layer is None:
                    tensors[name] = opened.get_tensor(name)
                elif (number := int(layer["number"])) in place_of:
                    found_layers.add(number)
                    renamed = f"{layer['before']}{place_of[number]}{layer['after']}"
                    tensors[renamed] = opened.get_tensor(name)
        save_file(tensors, to / file, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    if found_layers != set(place_of):
        raise InputError(
            "the layers of this model cannot be told apart by the names of its weights",
            where="model.layers",
            remedy="leave model.layers out",
        )
    if len(files) > 1:
        write_json(to / "model.safetensors.index.json", {"weight_map": weight_map}, remedy=FREE_AND_REPEAT)

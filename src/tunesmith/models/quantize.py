"""Quantised weights: which weights of a model are packed, how many bytes they take, and packing them while loading."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunesmith.errors import InputError
from tunesmith.models.packed import MXFP4_BLOCK, NF4_BLOCK, NF4_SUPERBLOCK, bitsandbytes
from tunesmith.models.skeleton import decoder, skeleton
from tunesmith.models.source import read_model_json, weight_files

_ROUTERS = ("gate", "router", "shared_expert_gate")


def checkpoint_method(folder: Path) -> str | None:
    """How the weights in a folder are quantised (`mxfp4`, `bitsandbytes`, `gptq`, ...); None: they are not."""
    config = read_model_json(folder / "config.json")
    said = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config") or {}
    method = said.get("quant_method")
    return None if method is None else str(method)


def packable_linears(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The linear layers that quantisation packs, by name: those of the decoder, all but

    - routers of experts, which are small and decide much;
    - what state-space layers read past the layer itself;
    - those whose rows are not whole blocks: on a CPU bitsandbytes 0.50 unpacks them wrongly (real models have none).
    """
    inside, head = set(decoder(model).modules()), model.get_output_embeddings()
    read_past = {
        child
        for module in model.modules()
        if hasattr(module, "A_log")
        for name, child in module.named_children()
        if name in ("dt_proj", "x_proj", "out_proj")
    }
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) in (nn.Linear, Conv1D)
        and module in inside - read_past
        and module is not head
        and name.rpartition(".")[2] not in _ROUTERS
        and in_and_out(module)[0] % NF4_BLOCK == 0
    }


def in_and_out(linear: Any) -> tuple[int, int]:
    """How many numbers a linear layer takes and gives; GPT-2 writes its own as convolutions, the other way round."""
    out, into = reversed(linear.weight.shape) if isinstance(linear, Conv1D) else linear.weight.shape
    return into, out


def packable_experts(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The 3-D weights of mixtures of experts, [experts, ...], by name: transformers keeps all of a layer's in one.

    They are those of families whose experts' arithmetic can be replaced (by `packed.packed_experts`): all but a few.
    """
    inside = set(decoder(model).modules())
    return {
        f"{name}.{weight}": parameter
        for name, module in model.named_modules()
        if module in inside and hasattr(module, "is_transposed") and hasattr(module, "num_experts")
        for weight, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3 and parameter.shape[0] == module.num_experts
    }


def stays_whole(model: PreTrainedModel) -> list[str]:
    """The large weights of the decoder that quantisation leaves as they are, by the ends of their names.

    Experts that families compute with in ways of their own (Llama 4, DBRX), and layers whose rows are not whole blocks;
    what is below a hundredth of the model is not worth a word.
    """
    packed = {id(linear.weight) for linear in packable_linears(model).values()}
    packed |= {id(weight) for weight in packable_experts(model).values()}
    total = sum(weight.numel() for weight in model.parameters())
    sizes: Counter[str] = Counter()
    for name, module in decoder(model).named_modules():
        for own, weight in module.named_parameters(recurse=False):
            plain = isinstance(module, nn.Embedding) or weight.dim() < 2 or id(weight) in packed
            if not plain:
                sizes[f"{name.rpartition('.')[2]}.{own}"] += weight.numel()
    return [name for name, size in sizes.items() if size * 100 >= total]


def settle_storage(folder: Path, quantize: str, device: str) -> str:
    """How weights will lie in memory: `none`, `nf4`, `bnb8`, `mxfp4`, or by another method that the checkpoint names.

    Args:
        quantize: the recipe's `model.quantize`.

    Raises:
        InputError: the checkpoint cannot be had in that form, or bitsandbytes is missing or not made for the device.
    """
    method = checkpoint_method(folder)
    if (quantize in ("nf4", "bnb8") or method == "bitsandbytes") and device not in ("cuda", "cpu"):
        raise InputError(
            f"the device is {device}, and bitsandbytes is used on CUDA and on a CPU only",
            where=f"model.quantize: {quantize}",
            remedy="set model.quantize: none, or model.device: cpu",
        )
    if quantize in ("nf4", "bnb8") or method == "bitsandbytes":
        bitsandbytes()
    if quantize == "keep":
        if method is None:
            raise InputError(
                "the weights of this model are not quantised, so there is nothing to keep",
                where="model.quantize: keep",
                expected="none, or nf4 or bnb8 to quantise them while loading",
            )
        return method
    if method not in (None, "mxfp4"):
        raise InputError(
            f"the weights of this model come quantised by {method} and cannot be turned into others",
            where=f"model.quantize: {quantize}",
            remedy="set model.quantize: keep, or take the model in its original form",
        )
    return quantize


def check_blocks(model: nn.Module, folder: Path) -> None:
    """On a CPU bitsandbytes 0.50 unpacks 4-bit layers wrongly whose rows are not whole blocks.

    Raises:
        InputError: the checkpoint brings such layers.
    """
    for name, layer in model.named_modules():
        state = getattr(layer, "quant_state", None)
        if state is not None and layer.weight.device.type == "cpu" and state.shape[-1] % state.blocksize:
            raise InputError(
                f"{name} of {folder} is packed in rows of {state.shape[-1]}, which bitsandbytes cannot unpack on a CPU",
                remedy="take the model in its original form, with model.quantize: nf4",
            )


def check_trainable(model: PreTrainedModel, source: str) -> None:
    """An adapter cannot learn over every form of quantised weights.

    Raises:
        InputError: transformers says of this one that it gives no gradients.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None and not quantizer.is_trainable:
        method = quantizer.quantization_config.quant_method
        raise InputError(
            f"the weights of {source} come quantised by {getattr(method, 'value', method)}, over which transformers "
            "cannot train",
            remedy="take the model in its original form, with model.quantize: nf4",
        )


def weights_bytes(
    folder: Path,
    *,
    dtype: torch.dtype,
    quantize: str,
    trust_remote_code: bool = False,
    of: PreTrainedModel | None = None,
) -> dict[str, int]:
    """Bytes of a model's weights in memory, from its configuration and the headers of its files.

    Args:
        dtype: the type of what is not packed.
        quantize: `none`, `nf4`, `bnb8` or `keep`, as in the recipe.
        of: the model's skeleton, if it is there already.

    Returns:
        `total`, and its parts: `embeddings`, `head` (0 where it is the embeddings') and `layers`, all the rest.

    Raises:
        InputError: the configuration cannot be read, or files that have to be looked into are not there.
    """
    method = checkpoint_method(folder)
    model = of if of is not None else skeleton(folder, dtype=dtype, trust_remote_code=trust_remote_code)
    if quantize == "keep" and method not in (None, "mxfp4"):
        sizes = dict(_bytes_in_files(folder, dtype))
    else:
        sizes = bytes_in_memory(model, quantize if quantize != "keep" else method or "none")
    embeddings = _names_of(model, model.get_input_embeddings())
    head = _names_of(model, model.get_output_embeddings()) - embeddings
    parts = {
        "embeddings": sum(sizes.get(name, 0) for name in embeddings),
        "head": sum(sizes.get(name, 0) for name in head),
    }
    total = sum(sizes.values())
    return {"total": total, **parts, "layers": total - sum(parts.values())}


def _names_of(model: nn.Module, part: nn.Module | None) -> set[str]:
    """The names of a module's parameters, as the model calls them (a shared one by its first name)."""
    mine = set(map(id, part.parameters())) if part is not None else set()
    return {name for name, parameter in model.named_parameters() if id(parameter) in mine}


def bytes_in_memory(model: PreTrainedModel, storage: str) -> dict[str, int]:
    """Bytes of each weight, stored as `none`, `nf4`, `bnb8` or `mxfp4` (experts only)."""
    experts = packable_experts(model)
    linears = {f"{name}.weight": linear for name, linear in packable_linears(model).items()}
    sizes = {}
    for name, parameter in model.named_parameters():
        if name in experts and storage != "none":
            experts_there, rows, columns = parameter.shape
            sizes[name] = experts_there * packed_bytes(rows, columns, storage)
        elif name in linears and storage in ("nf4", "bnb8"):
            into, out = in_and_out(linears[name])
            sizes[name] = packed_bytes(out, into, storage)
        else:
            sizes[name] = parameter.nbytes
    return sizes


def packed_bytes(rows: int, columns: int, storage: str) -> int:
    """Bytes of a packed matrix, scales included."""
    count = rows * columns
    if storage == "nf4":
        blocks = math.ceil(count / NF4_BLOCK)
        return math.ceil(count / 2) + blocks + 4 * math.ceil(blocks / NF4_SUPERBLOCK) + 4
    if storage == "bnb8":
        return count + 4 * rows
    return count // 2 + count // MXFP4_BLOCK


def _bytes_in_files(folder: Path, dtype: torch.dtype) -> Iterator[tuple[str, int]]:
    """(name, bytes) of every tensor in a folder's safetensors; floats of 2 bytes and more come to be of `dtype`.

    Raises:
        InputError: not all files are there, as before a download.
    """
    files = weight_files(folder)
    if not files or not all((folder / file).is_file() for file in files):
        raise InputError(
            "how large quantised weights are is told by their files alone, which are not all here",
            where=str(folder),
            remedy="download the model first (`tunesmith models download`)",
        )
    for file in files:
        for name, said in _header(folder / file).items():
            begin, end = said["data_offsets"]
            is_plain = said["dtype"] in ("F64", "F32", "F16", "BF16")
            yield name, math.prod(said["shape"]) * dtype.itemsize if is_plain else end - begin


def _header(path: Path) -> dict[str, dict[str, Any]]:
    """A safetensors file's own table of contents."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        table: dict[str, dict[str, Any]] = json.loads(file.read(length))
    table.pop("__metadata__", None)
    return table

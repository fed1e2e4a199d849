"""The recipe's blocks `model` and `adapter`: which model, how it is held in memory, and what of it is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tunesmith.config.block import AMOUNT_PATTERN, Block, one_is_a_list, tuple_of_list


def _gpus_by_number(value: Any) -> Any:
    """JSON, and with it a saved recipe, knows keys in words only."""
    if not isinstance(value, dict):
        return value
    for place in value:
        if place != "cpu" and not str(place).isdecimal():
            raise ValueError(f"max_memory names {place!r}; it takes GPUs by number, and `cpu`")
    return {place if place == "cpu" else int(place): most for place, most in value.items()}


class Model(Block):
    """Which model, and how it is held in memory."""

    source: str = Field(
        min_length=1,
        description="A Hugging Face hub id (`owner/name`, `hf:` before it if you like), `ms:owner/name` on ModelScope, a "
        "local folder, or `builtin:nano`.",
    )
    revision: str | None = Field(None, description="The hub's revision (a branch, tag or commit).")
    cache_dir: str | None = Field(
        None, description="Where downloaded models are kept; the hub's own cache if unset."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that the model's folder brings along."
    )
    layers: int | None = Field(
        None,
        ge=1,
        description="Begin with so many of the model's layers, spread evenly, the first and the last among them: a small "
        "student for `distill`. Needs adapter.type: none.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="The type of compute and of frozen weights; trainable weights are always fp32. "
        "`auto`: bf16 on CUDA devices that have it, else fp32. fp16 needs CUDA.",
    )
    quantize: Literal["none", "nf4", "bnb8", "keep"] = Field(
        "none",
        description="Storage of frozen weights, experts too. `nf4`: 4 bits with double quantisation, `bnb8`: 8 bits (both "
        "by bitsandbytes, on CUDA or a CPU). `keep`: as a checkpoint that comes quantised holds them. `none`: in "
        "`precision`; a checkpoint in MXFP4 is unpacked.",
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(
        "auto", description="`auto` takes CUDA, then MPS, then CPU."
    )
    device_map: Literal["none", "auto"] = Field(
        "none",
        description="`auto` lays the layers over all GPUs, as much on each as fits, and the rest in the CPU's memory: for "
        "models that one GPU does not hold.",
    )
    max_memory: Annotated[
        dict[int | Literal["cpu"], Annotated[str, Field(pattern=AMOUNT_PATTERN)]] | None,
        BeforeValidator(_gpus_by_number),
    ] = Field(
        None,
        description="With `device_map: auto`, the most for each: GPUs by number, and `cpu`, such as `{0: 20GB, 1: 7GB, "
        "cpu: 40GB}`; unset: what is free.",
    )
    new_tokens: Annotated[tuple[str, ...], BeforeValidator(one_is_a_list)] = Field(
        (),
        description="Tokens to add to the vocabulary. Their embeddings are trained, with LoRA too; those of the other "
        "tokens stay as they are.",
    )


class Unfreeze(Block):
    """Gradual unfreezing: the top layers learn first."""

    every: Annotated[int, Field(ge=1)] | Literal["epoch"] = Field(
        "epoch", description="Steps, or epochs, after which more layers begin to learn."
    )
    layers: int = Field(1, ge=1, description="How many layers more each time, from the top down.")


# Keys of `adapter` that say nothing without LoRA; a saved recipe holds all of them with their defaults.
_LORA_ONLY = (
    "rank", "alpha", "dropout", "targets", "vision", "rslora", "dora", "init", "lr_ratio", "modules_to_save",
)  # fmt: skip


class Adapter(Block):
    """What is trained: a LoRA adapter, or the weights themselves."""

    type: Literal["lora", "none"] = Field(
        "lora", description="`none` trains the weights themselves: all, or those of the `top_layers`."
    )
    rank: int = Field(16, ge=1, description="LoRA's r.")
    alpha: float = Field(
        32,
        gt=0,
        description="LoRA's alpha; the update is scaled by alpha / rank, under `rslora` by alpha / sqrt(rank).",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before LoRA's first matrix.")
    targets: str | Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(tuple_of_list)] = Field(
        "all-linear",
        description="What to adapt: a list of module names or their ends, a regular expression for whole names, or "
        "`all-linear`: every linear layer but the head and the vision tower. Experts are no linear layers; a list can "
        "name their weights (`experts.gate_up_proj`).",
    )
    vision: bool = Field(False, description="`all-linear` takes in the vision tower too.")
    rslora: bool = Field(False, description="Rank-stabilised LoRA: scaled by alpha / sqrt(rank).")
    dora: bool = Field(False, description="DoRA: magnitude and direction of the weights learn apart.")
    init: Literal["lora", "pissa", "olora"] = Field(
        "lora",
        description="How the matrices begin: `lora` as no change; `pissa` from the largest singular values, `olora` from "
        "a QR decomposition of the weights. The saved adapter fits the original base in each case.",
    )
    lr_ratio: float | None = Field(
        None,
        gt=0,
        description="LoRA+: the second matrix (B) learns at this many times the learning rate; 16 is usual.",
    )
    modules_to_save: Annotated[tuple[str, ...], BeforeValidator(tuple_of_list)] = Field(
        (),
        description="Modules that are trained whole beside the adapter and saved with it, such as `embed_tokens`.",
    )
    top_layers: int | None = Field(
        None,
        ge=1,
        description="Train the top layers only, this many, and without an adapter the norm above them; with LoRA, the "
        "adapters of these layers only.",
    )
    unfreeze: Unfreeze | None = Field(
        None,
        description="Gradual unfreezing: begin with the `top_layers` (1 if unset) and take in more on a schedule, "
        "`{every: 50, layers: 1}`, down to the first; without an adapter, embeddings and head come last.",
    )
    start: str | None = Field(None, description="An adapter folder or a run to go on from.")

    @model_validator(mode="after")
    def _fits_together(self) -> Adapter:
        if self.type == "none":
            for name in _LORA_ONLY:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} goes with type: lora; with type: none leave it out (`adapter={{type: none}}` on the "
                        "command line takes the place of the whole block)"
                    )
        if self.init != "lora":
            if self.start is not None:
                raise ValueError(
                    f"init: {self.init} begins a new adapter, and start goes on from one; keep one"
                )
            if self.dora:
                raise ValueError(f"init: {self.init} does not go with dora; keep one of them")
        if self.vision and self.targets != "all-linear" and isinstance(self.targets, str):
            raise ValueError(
                "vision goes with targets: all-linear or a list; a regular expression says it itself"
            )
        return self

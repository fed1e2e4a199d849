"""Activation checkpointing: layers that keep their input only and are run again in the backward pass.

As many layers as memory demands, counted from the lowest that learns: the layers above it have given their
activations back by the time a lower one is run again, so the lowest are those that save most.
"""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from tunesmith.config.words import counted
from tunesmith.errors import InputError
from tunesmith.models.skeleton import decoder


def recomputable_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers that can be run again and would otherwise keep activations: the text model's from the lowest that
    learns, then those of a vision tower that learns. Empty where the family cannot do it layer by layer."""
    text = _layers_in(decoder(model))
    tower = [layer for layer in _layers_in(model) if layer not in text]
    inputs = model.get_input_embeddings()
    if inputs is None or not _learns(inputs):
        while text and not _learns(text[0]):
            text = text[1:]
    return [*text, *(tower if any(_learns(layer) for layer in tower) else ())]


def recompute_activations(model: PreTrainedModel, layers: int | None = None) -> None:
    """Have `layers` of the `recomputable_layers` recomputed, from the first on; None: all of them.

    Losses and gradients stay the same to the last bit on a CPU: dropout masks do not hang on how often a layer runs.

    Raises:
        InputError: the family does not know activation checkpointing.
    """
    if layers == 0:
        return
    # transformers renamed the calls on the way to 6.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise InputError(
            f"the family {model.config.model_type!r} cannot recompute its activations",
            where="train.gradient_checkpointing",
            remedy="set train.gradient_checkpointing: false",
        ) from error
    # What transformers switches on for reentrant checkpoints would have frozen layers below those that learn keep theirs.
    model.disable_input_require_grads()
    chosen = recomputable_layers(model)[:layers]
    for layer in _layers_in(model):
        layer.gradient_checkpointing = layer in chosen  # type: ignore[assignment]


def check_recomputed(model: PreTrainedModel, layers: int, *, tower_learns: bool) -> None:
    """Raises an InputError where a recipe has more layers recomputed than there are; nothing of it need learn yet."""
    there = len(_layers_in(model if tower_learns else decoder(model)))
    if 0 < there < layers:
        raise InputError(
            f"train.gradient_checkpointing is {layers}, and this model has {counted(there, 'layer')} to recompute",
            remedy=f"choose at most {there}, or `true` for all",
        )


def _layers_in(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def _learns(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())

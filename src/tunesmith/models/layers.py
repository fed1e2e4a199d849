"""What a model is made of: its decoder layers, its head and embeddings, and which weights belong to which."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from tunesmith.errors import InputError
from tunesmith.models.skeleton import decoder


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers, the lowest first; those of a vision tower are not among them.

    Raises:
        InputError: the family keeps them in another way.
    """
    count = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    for module in decoder(model).modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise InputError(
        f"the layers of the family {model.config.model_type!r} cannot be told apart",
        where="adapter.top_layers",
        remedy="leave adapter.top_layers and adapter.unfreeze out",
    )


def name_of(model: nn.Module, wanted: nn.Module) -> str:
    """The name of a module of a model."""
    return next(name for name, module in model.named_modules() if module is wanted)


def check_top_layers(model: PreTrainedModel, top_layers: int | None) -> None:
    """Raises an InputError where a recipe asks for more layers than there are."""
    if top_layers is not None and top_layers > (there := len(decoder_layers(model))):
        raise InputError(
            f"adapter.top_layers is {top_layers}, and this model has {there} layers",
            remedy=f"choose at most {there}, or leave it out to train all",
        )

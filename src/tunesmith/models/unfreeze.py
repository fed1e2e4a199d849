"""Which layers learn, and from when: the top layers only, or the top layers first (gradual unfreezing, ULMFiT,
arXiv:1801.06146). What learns at a step is a pure function of the step, so a resumed run needs no memory of it.
"""

from __future__ import annotations

import logging
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.schema import Adapter
from tunesmith.models.layers import check_top_layers, decoder_layers, name_of
from tunesmith.models.scoring import HEAD, scores

log = logging.getLogger("tunesmith")


def choose_what_learns(model: nn.Module, adapter: Adapter) -> None:
    """Freeze what the recipe never trains; what it trains at some time keeps its gradient.

    Without an adapter and with `top_layers`, the top layers and the norm above them learn. Of an adapter, the parts on
    the top layers learn, and what sits on no layer (embeddings of new tokens, modules trained whole).

    Raises:
        InputError: there are fewer layers than `top_layers`.
    """
    base = _base(model)
    check_top_layers(base, adapter.top_layers)
    if adapter.type == "none":
        model.requires_grad_(True)
    if adapter.top_layers is None or adapter.unfreeze is not None:
        return
    layers = decoder_layers(base)
    for layer in layers[: len(layers) - adapter.top_layers]:
        layer.requires_grad_(False)
    if adapter.type == "none":
        _freeze_what_is_no_layer(model, base, layers)


def _base(model: nn.Module) -> PreTrainedModel:
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def _freeze_what_is_no_layer(model: nn.Module, base: PreTrainedModel, layers: nn.ModuleList) -> None:
    keep = {id(weight) for part in (layers, *_above(base, layers)) for weight in part.parameters()}
    for weight in model.parameters():
        if id(weight) not in keep:
            weight.requires_grad_(False)


def _above(base: PreTrainedModel, layers: nn.ModuleList) -> list[nn.Module]:
    """The norm beside the layers, which families keep in front of them or behind, not one of the embeddings; and a head
    that scores, which begins with nothing learned."""
    beside = base.get_submodule(name_of(base, layers).rpartition(".")[0])
    norms = [
        module
        for name, module in beside.named_children()
        if "Norm" in type(module).__name__ and "embed" not in name
    ]
    return [*norms, base.get_submodule(HEAD)] if scores(base) else norms


class Unfreezing:
    """Gradual unfreezing of a model's weights, from the top layer down.

    Without an adapter the embeddings, the head and all else that is no layer begin last; of an adapter, what sits on no
    layer learns from the start.

    Args:
        model: all that will ever learn has `requires_grad` set.
        adapter: its `unfreeze` says how fast, its `top_layers` how many layers begin.

    Raises:
        InputError: there are fewer layers than `top_layers`.
    """

    def __init__(self, model: nn.Module, adapter: Adapter) -> None:
        assert adapter.unfreeze is not None
        base = _base(model)
        check_top_layers(base, adapter.top_layers)
        layers = decoder_layers(base)
        self.every, self.more = adapter.unfreeze.every, adapter.unfreeze.layers
        self.first, self.count = adapter.top_layers or 1, len(layers)
        self.learning: int | None = None
        self._layers = [_learning(layer) for layer in layers]
        within = {id(weight) for part in self._layers for weight in part}
        above = {id(weight) for part in _above(base, layers) for weight in part.parameters()}
        # The final norm goes with the top layer.
        self._rest = [
            weight for weight in _learning(model) if id(weight) not in within and id(weight) not in above
        ]
        self._rest_is_last = adapter.type == "none"
        self._rest_in_words = ["the embeddings"] if scores(base) else ["the embeddings", "the head"]

    def layers_at(self, step: int, steps_an_epoch: int) -> int:
        """How many layers learn in the update after `step` updates; one more than there are: all the rest as well."""
        every = steps_an_epoch if self.every == "epoch" else self.every
        return min(self.first + step // every * self.more, self.count + self._rest_is_last)

    def prepare(self, step: int, steps_an_epoch: int) -> None:
        """Set which weights learn in the update after `step` updates, and tell the log where that changes."""
        wanted = self.layers_at(step, steps_an_epoch)
        if wanted == self.learning:
            return
        for number, weights in enumerate(self._layers):
            _set(weights, number >= self.count - wanted)
        _set(self._rest, wanted > self.count or not self._rest_is_last)
        before = self.learning or (self.layers_at(step - 1, steps_an_epoch) if step else 0)
        if wanted > before:
            log.info("step %d: %s", step + 1, self._words(before, wanted))
        self.learning = wanted

    @property
    def trained_layers(self) -> int:
        """How many layers learn now."""
        return min(self.learning or 0, self.count)

    def _words(self, before: int, now: int) -> str:
        """What begins to learn; layers are counted from 1, the lowest."""
        low, high = self.count - min(now, self.count) + 1, self.count - before
        what = []
        if low <= high:
            what.append(f"layer {low}" if low == high else f"layers {low} to {high}")
        if now > self.count:
            what += self._rest_in_words
        listed = " and ".join([", ".join(what[:-1]), what[-1]] if len(what) > 1 else what)
        return f"{listed} {'begins' if what == [f'layer {low}'] else 'begin'} to learn"


def _learning(module: nn.Module) -> list[Any]:
    return [weight for weight in module.parameters() if weight.requires_grad]


def _set(weights: list[Any], learn: bool) -> None:
    for weight in weights:
        weight.requires_grad_(learn)

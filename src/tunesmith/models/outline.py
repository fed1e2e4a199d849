"""What a recipe trains of a model and what it leaves as it is, told from the configuration alone, without weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.schema import Adapter
from tunesmith.config.words import counted
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter, check_fits
from tunesmith.models.layers import decoder_layers
from tunesmith.models.peft_at_home import AuxiliaryTrainingWrapper, LoraLayer
from tunesmith.models.recompute import check_recomputed
from tunesmith.models.scoring import must_score
from tunesmith.models.skeleton import decoder, model_config, skeleton
from tunesmith.models.targets import LINEAR
from tunesmith.models.tokens import NO_TOKENS, NewTokens, make_room
from tunesmith.models.unfreeze import choose_what_learns


@dataclass(frozen=True)
class Outline:
    """How many parameters learn, of how many with the adapter's; what is adapted and what is not, in words."""

    trained: int
    total: int
    adapted: str
    top: str  # the layers that learn, where they are not all
    left_out: str

    def lines(self) -> list[str]:
        """For the terminal."""
        share = f"{self.trained:,} of {self.total:,} parameters ({self.trained / self.total:.2%})"
        where = f"in adapters on {self.adapted}" if self.adapted else ""
        where = " of ".join(filter(None, (where, self.top)))
        lines = [f"trained: {share}" + (f", {where}" if where else "")]
        return [*lines, f"left as it is: {self.left_out}"] if self.left_out else lines


def outline(
    folder: Path,
    adapter: Adapter,
    new_tokens: NewTokens = NO_TOKENS,
    *,
    trust_remote_code: bool = False,
    scores: bool = False,
) -> Outline | None:
    """What is trained of the model in a folder; None where its family cannot be built without weights.

    An adapter that is gone on from (`start`) is not looked into: None as well.

    Args:
        scores: with a head that scores instead of one that writes.

    Raises:
        InputError: the recipe names layers that the model does not have, or that cannot be adapted.
    """
    base = None if adapter.start is not None else _bare(folder, trust_remote_code, scores)
    if base is None:
        return None
    make_room(base, new_tokens)
    tower = _beside_the_text(base)
    model: nn.Module = base
    if adapter.type == "lora":
        model = add_adapter(base, adapter, base_name="", seed=0, new_tokens=new_tokens.ids)
    choose_what_learns(model, adapter)
    total = sum(weight.numel() for weight in model.parameters())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Outline(trained, total, _adapted(model), _top(base, adapter), ", ".join(_left_out(base, tower)))


def check_adapter(
    folder: Path,
    adapter: Adapter,
    *,
    packed: bool = False,
    recomputed: bool | int | str = "auto",
    trust_remote_code: bool = False,
    scores: bool = False,
) -> None:
    """Look for what a recipe names in a model before its weights are loaded; where that cannot be told, nothing is said.

    Args:
        packed: whether frozen weights will be held in fewer bits (`model.quantize`).
        recomputed: the recipe's `train.gradient_checkpointing`.
        scores: whether the model gets a head that scores.

    Raises:
        InputError: the recipe names layers that the model does not have, or that cannot be adapted, or counts more; or
            a model of its family cannot score.
    """
    if scores:
        must_score(model_config(folder, trust_remote_code=trust_remote_code))
    base = _bare(folder, trust_remote_code, scores)
    if base is None:
        return
    if isinstance(recomputed, int) and not isinstance(recomputed, bool):
        tower_learns = adapter.vision or (adapter.type == "none" and adapter.top_layers is None)
        check_recomputed(base, recomputed, tower_learns=tower_learns)
    if adapter.start is not None:
        return
    targets, _ = check_fits(base, adapter)
    if packed and targets.parameters:
        raise InputError(
            f"adapter.targets names the experts' weights {', '.join(targets.parameters)}, which model.quantize packs",
            remedy="set model.quantize: none, or list adapter.targets without them",
        )


def _bare(folder: Path, trust_remote_code: bool, scores: bool) -> PreTrainedModel | None:
    """The model without weights, of a family that can be built so."""
    try:
        return skeleton(folder, dtype=torch.float32, trust_remote_code=trust_remote_code, scores=scores)
    except (InputError, RuntimeError, TypeError):
        return None


def _beside_the_text(base: PreTrainedModel) -> set[nn.Module]:
    """The modules that read no text: a vision tower and what joins it to the text model."""
    text, head = decoder(base), base.get_output_embeddings()
    return (
        set(base.modules())
        - set(text.modules())
        - {head}
        - {m for m in base.modules() if text in set(m.modules())}
    )


def _adapted(model: nn.Module) -> str:
    names = Counter(
        getattr(module, "parameter_name", None) or _short(name)
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    )
    if not names:
        return ""
    return f"{counted(names.total(), 'layer')} ({_tally(names)})"


def _top(base: PreTrainedModel, adapter: Adapter) -> str:
    """`the top 2 layers of 22, and the final norm`; empty where all layers learn, at once or in the end."""
    if adapter.top_layers is None or adapter.unfreeze is not None:
        return ""
    layers = decoder_layers(base)
    top = "the top layer" if adapter.top_layers == 1 else f"the top {adapter.top_layers} layers"
    within = set(layers.modules())
    norm = any(
        "Norm" in type(part).__name__ and part not in within and _learns(part) for part in base.modules()
    )
    return f"{top} of {len(layers)}" + (", and the final norm" if norm else "")


def _frozen_below(base: PreTrainedModel) -> list[nn.Module]:
    """The lowest decoder layers, of which nothing learns, where any layer above them does."""
    try:
        layers = list(decoder_layers(base))
    except InputError:
        return []
    frozen = list(takewhile(lambda layer: not _learns(layer), layers))
    return frozen if len(frozen) < len(layers) else []


def _learns(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())


def _tally(names: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in names.items())


def _left_out(base: PreTrainedModel, tower: set[nn.Module]) -> Iterator[str]:
    """What holds weights of which none learns, by kind."""
    kinds: dict[str, Counter[str]] = {}
    below = _frozen_below(base)
    in_below = {module for layer in below for module in layer.modules()}
    for name, module in _untouched(base):
        if module in in_below:
            continue
        for kind, what in _kinds_of(name, module, tower, base.get_output_embeddings()):
            kinds.setdefault(kind, Counter())[what] += 1
    for kind, names in kinds.items():
        if kind == "norm":
            yield counted(names.total(), "norm")
        elif kind == "tower":
            modules = counted(names.total(), "module")
            partly = any(_learns(module) for module in tower)
            yield f"the other {modules} of the vision tower" if partly else f"the vision tower ({modules})"
        elif kind == "experts":
            yield f"the experts' weights ({_tally(names)}: no linear layers, adapter.targets can name them)"
        elif kind == "router":
            yield counted(names.total(), "router")
        else:
            yield _tally(names)
    if below:
        yield "the layer below" if len(below) == 1 else f"the {len(below)} layers below"


def _untouched(base: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    adapted = {id(module.get_base_layer()) for module in base.modules() if isinstance(module, LoraLayer)}
    whole = {
        id(part)
        for module in base.modules()
        if isinstance(module, AuxiliaryTrainingWrapper)
        for part in module.modules()
    }
    for name, module in base.named_modules():
        weights = list(module.parameters(recurse=False))
        if not weights or any(weight.requires_grad for weight in weights):
            continue
        if id(module) not in adapted and id(module) not in whole and "lora_" not in name:
            yield name, module


def _kinds_of(
    name: str, module: nn.Module, tower: set[nn.Module], head: nn.Module | None
) -> Iterable[tuple[str, str]]:
    last = _short(name)
    experts = [weight for weight, value in module.named_parameters(recurse=False) if value.dim() == 3]
    if module in tower:
        return [("tower", last)]
    if module is head or isinstance(module, nn.Embedding):
        return [("embedding", last)]
    if "Norm" in type(module).__name__:
        return [("norm", last)]
    if experts and not isinstance(module, (nn.Conv1d, *LINEAR)):
        return [("experts", f"{last}.{weight}") for weight in experts]
    if "Router" in type(module).__name__:
        return [("router", last)]
    if any(True for _ in module.children()):  # sinks of an attention, the state of a Mamba layer
        return [("other", f"{last}.{weight}") for weight, _ in module.named_parameters(recurse=False)]
    return [("other", last)]


def _short(name: str) -> str:
    """The last part of a module's name; of one in a sequence, with that sequence's name."""
    parts = name.split(".")
    return ".".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])

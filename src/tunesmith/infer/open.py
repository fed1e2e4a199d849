"""From what a user names to a speaker: a run folder, a model folder, a bare adapter, `builtin:nano`, a hub id."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.config.load import load
from tunesmith.config.method import Generation
from tunesmith.config.schema import PicturePrompt, Recipe
from tunesmith.data.render import Renderer
from tunesmith.data.templates import template_named
from tunesmith.errors import InputError
from tunesmith.infer.shelf import Shelf
from tunesmith.infer.speaker import Speaker
from tunesmith.methods import METHODS
from tunesmith.models.adapters import (
    CONFIG_FILE,
    adapter_fingerprint,
    base_of,
    can_stand_beside,
    is_of_a_reward_model,
)
from tunesmith.models.check import code_to_run
from tunesmith.models.load import DTYPES, end_token_ids, load_model, load_tokenizer
from tunesmith.models.placement import Place
from tunesmith.models.quantize import checkpoint_method
from tunesmith.models.save import About, read_about
from tunesmith.models.shallow import with_layers
from tunesmith.models.source import fingerprint, locate
from tunesmith.models.tokens import add_tokens, make_room
from tunesmith.models.vision import picture_tokens, why_blind
from tunesmith.rundir import RunDir, read_json
from tunesmith.train.device import Hardware, choose_device, choose_precision

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Opened:
    """A speaker, and what the run's recipe says about asking it."""

    speaker: Speaker
    generation: Generation
    prompts: tuple[str | PicturePrompt, ...]
    metrics: tuple[str, ...] = ()
    run: RunDir | None = None


@dataclass(frozen=True)
class _Wanted:
    """What to load: a base, how it is asked, and what goes on top."""

    about: About
    adapter: Path | None
    model: Path | None  # a tuned whole model, instead of the base
    device: str = "auto"
    precision: str = "auto"
    quantize: str | None = None  # None: as the weights in the folder are
    device_map: str = "none"
    max_memory: Mapping[Place, str] | None = None
    cache_dir: str | None = None
    layers: int | None = None  # of the base; None: all
    trust_remote_code: bool = False


def open_speaker(
    name: str, *, base: bool = False, device: str = "auto", shelf: Shelf | None = None
) -> Opened:
    """Load what `name` means.

    Args:
        name: a run folder, a model folder, an adapter folder, `builtin:NAME` or a hub id.
        base: for a run or an adapter, the untuned model below it, asked in the same way.
        device: `auto`, `cuda`, `mps` or `cpu`.
        shelf: where the base that was loaded last is, for several models in a row; None: it is loaded anew.

    Raises:
        InputError: nothing of that name can be loaded; a run without a result names `resume`.
    """
    shelf = shelf or Shelf()
    run, wanted = _what(name, base=base, device=device)
    speaker = _load(name, wanted, shelf)
    if run is None:
        return Opened(speaker, Generation(), ())
    evaluate = load(str(run.recipe)).evaluate
    return Opened(speaker, evaluate.generation, evaluate.prompts, evaluate.metrics, run)


@dataclass(frozen=True)
class Named:
    """What `name` means, before any weights are read.

    Args:
        fingerprint: a hash of all weights that would be loaded.
        folder: the base's, or that of a tuned whole model.
    """

    tokenizer: PreTrainedTokenizerBase
    fingerprint: str
    folder: Path


def look_at(name: str) -> Named:
    """Find what `open_speaker` would load.

    Raises: as `open_speaker`.
    """
    _, wanted = _what(name, base=False, device="auto")
    folder = wanted.model or _base(wanted)
    trust = code_to_run(folder, wanted.about.base, allowed=wanted.trust_remote_code)
    tokenizer = load_tokenizer(folder, trust_remote_code=trust.tokenizer)
    add_tokens(tokenizer, wanted.about.new_tokens)
    weights = fingerprint(folder)
    if wanted.adapter is not None:
        weights += adapter_fingerprint(wanted.adapter)
    return Named(tokenizer, weights, folder)


def _what(name: str, *, base: bool, device: str) -> tuple[RunDir | None, _Wanted]:
    """What `name` means, and the run it is, if it is one."""
    run = RunDir(name)
    if run.holds_a_run():
        recipe = load(str(run.recipe))
        if METHODS[recipe.method.name].scores and not base:
            raise _does_not_write(f"the run {run.folder} trains a reward model")
        return run, _of_run(run, recipe, base=base, device=device)
    folder = Path(name)
    if (folder / CONFIG_FILE).is_file():
        if is_of_a_reward_model(folder) and not base:
            raise _does_not_write(f"{folder} is the adapter of a reward model")
        about = read_about(folder) or About(base_of(folder))
        return None, _Wanted(about, None if base else folder, None, device)
    if folder.is_dir() and (about_model := read_about(folder)):
        return None, _Wanted(about_model, None, None if base else folder, device)
    return None, _Wanted(About(name), None, None, device)


def _does_not_write(what: str) -> InputError:
    return InputError(
        f"{what}, which scores answers and does not write",
        remedy="compute scores with transformers, as docs/preferences.md shows, or ask the untuned model with --base",
    )


def _of_run(run: RunDir, recipe: Recipe, *, base: bool, device: str) -> _Wanted:
    result = run.result()
    is_adapter = recipe.adapter.type == "lora"
    if result is None and not base:
        raise InputError(
            f"the run {run.folder} has no result yet: there is no {run.adapter if is_adapter else run.model}",
            remedy=f"finish it with `tunesmith resume {run.folder}`, or ask the untuned model with --base",
        )
    environment = read_json(run.environment) or {}
    settled = environment.get("choices", {})
    commit = environment.get("model", {}).get("commit")
    chosen = _device_here(device if device != "auto" else recipe.model.device, asked=device != "auto")
    # What was settled on the device of training need not do on another: a CPU has no fp16.
    trained_on = settled.get("device")
    precision = recipe.model.precision if trained_on is None else "auto"
    return _Wanted(
        (read_about(result) if result is not None else None) or _about(recipe, commit),
        adapter=result if is_adapter and not base else None,
        model=result if not is_adapter and not base else None,
        device=chosen,
        precision=settled["precision"] if chosen == trained_on else precision,
        quantize=recipe.model.quantize if is_adapter else None,
        device_map=recipe.model.device_map,
        max_memory=recipe.model.max_memory if chosen == trained_on else None,
        cache_dir=recipe.model.cache_dir,
        layers=recipe.model.layers,
        trust_remote_code=recipe.model.trust_remote_code,
    )


def _about(recipe: Recipe, commit: str | None) -> About:
    """How the model of a recipe, at the state that its run began with, is asked where no result tells it yet."""
    data = recipe.data
    template = template_named(data.template) if data.template else None
    revision = commit or recipe.model.revision
    return About(
        recipe.model.source,
        revision,
        data.system,
        template,
        data.control_tokens,
        new_tokens=recipe.model.new_tokens,
        image_size=data.image_size,
    )


def _device_here(wanted: str, *, asked: bool) -> str:
    """The device to talk on: a run that was trained on a GPU can be asked on a machine without one."""
    hardware = Hardware.here()
    try:
        return choose_device(wanted, hardware)
    except InputError:
        if asked:
            raise
        return choose_device("auto", hardware)


def _base(wanted: _Wanted) -> Path:
    """The folder of the base; where it is not the one that was trained on, that is said."""
    about = wanted.about
    folder = locate(about.base, revision=about.revision, cache_dir=wanted.cache_dir).folder
    if wanted.layers is not None:
        folder, _ = with_layers(folder, wanted.layers)
    if about.fingerprint is not None and fingerprint(folder) != about.fingerprint:
        log.warning(
            "the base model %s is not the one that this was trained on: it has changed since", about.base
        )
    return folder


def _load(name: str, wanted: _Wanted, shelf: Shelf) -> Speaker:
    hardware = Hardware.here()
    device = choose_device(wanted.device, hardware)
    every_gpu = wanted.device_map == "auto"
    precision = choose_precision(wanted.precision, device, hardware, every_gpu=every_gpu)
    torch.set_num_threads(hardware.cores)
    about = wanted.about
    folder = wanted.model or _base(wanted)
    trust = code_to_run(folder, about.base, allowed=wanted.trust_remote_code)
    tokenizer = load_tokenizer(folder, trust_remote_code=trust.tokenizer)
    new_tokens = add_tokens(tokenizer, about.new_tokens)

    quantize = wanted.quantize or ("keep" if checkpoint_method(folder) else "none")

    def load_base() -> PreTrainedModel:
        model = load_model(
            folder,
            dtype=DTYPES[precision],
            device=device,
            trust_remote_code=trust.model,
            quantize=quantize,
            device_map=wanted.device_map,
            max_memory=wanted.max_memory,
        )
        make_room(model, new_tokens)
        return model

    if wanted.adapter is not None and not can_stand_beside(wanted.adapter):
        shelf = Shelf()
    speaking, voice = shelf.speaking(
        (folder, device, precision, quantize, about.new_tokens), load_base, wanted.adapter
    )
    eyes = picture_tokens(folder, tokenizer, about.image_size)
    renderer = Renderer(
        tokenizer=tokenizer,
        template=about.template,
        system=about.system,
        end_ids=end_token_ids(folder, tokenizer),
        control_tokens=about.control_tokens,
        images=eyes,
        blind=why_blind(folder),
    )
    return Speaker(speaking, renderer, name, voice, eyes)

"""From what a user names to a speaker: a run folder, a model folder, a bare adapter, `builtin:nano`, a hub id."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from tunesmith.config.load import load
from tunesmith.config.schema import Generation, Recipe
from tunesmith.data.render import Renderer
from tunesmith.data.templates import template_named
from tunesmith.errors import InputError
from tunesmith.infer.speaker import Speaker
from tunesmith.models.adapters import CONFIG_FILE, base_of, load_adapter
from tunesmith.models.load import DTYPES, end_token_ids, load_model, load_tokenizer
from tunesmith.models.save import About, read_about
from tunesmith.models.source import resolve
from tunesmith.rundir import RunDir, read_json
from tunesmith.train.device import Hardware, choose_device, choose_precision

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Opened:
    """A speaker, and what the run's recipe says about asking it."""

    speaker: Speaker
    generation: Generation
    prompts: tuple[str, ...]
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
    cache_dir: str | None = None
    trust_remote_code: bool = False


def open_speaker(name: str, *, base: bool = False, device: str = "auto") -> Opened:
    """Load what `name` means.

    Args:
        name: a run folder, a model folder, an adapter folder, `builtin:NAME` or a hub id.
        base: for a run or an adapter, the untuned model below it, asked in the same way.
        device: `auto`, `cuda`, `mps` or `cpu`.

    Raises:
        InputError: nothing of that name can be loaded; a run without a result names `resume`.
    """
    run = RunDir(name)
    if run.holds_a_run():
        recipe = load(str(run.recipe))
        speaker = _load(name, _of_run(run, recipe, base=base, device=device))
        return Opened(
            speaker, recipe.evaluate.generation, recipe.evaluate.prompts, recipe.evaluate.metrics, run
        )
    folder = Path(name)
    if (folder / CONFIG_FILE).is_file():
        about = read_about(folder) or About(base_of(folder))
        wanted = _Wanted(about, None if base else folder, None, device)
    elif folder.is_dir() and (about_model := read_about(folder)):
        wanted = _Wanted(about_model, None, None if base else folder, device)
    else:
        wanted = _Wanted(About(name), None, None, device)
    return Opened(_load(name, wanted), Generation(), ())


def _of_run(run: RunDir, recipe: Recipe, *, base: bool, device: str) -> _Wanted:
    result = run.result()
    is_adapter = recipe.adapter.type == "lora"
    if result is None and not base:
        raise InputError(
            f"the run {run.folder} has no result yet: there is no {run.adapter if is_adapter else run.model}",
            remedy=f"finish it with `tunesmith resume {run.folder}`, or ask the untuned model with --base",
        )
    settled = (read_json(run.environment) or {}).get("choices", {})
    chosen = _device_here(device if device != "auto" else recipe.model.device, asked=device != "auto")
    # What was settled on the device of training need not do on another: a CPU has no fp16.
    trained_on = settled.get("device")
    precision = recipe.model.precision if trained_on is None else "auto"
    return _Wanted(
        (read_about(result) if result is not None else None) or _about(recipe),
        adapter=result if is_adapter and not base else None,
        model=result if not is_adapter and not base else None,
        device=chosen,
        precision=settled["precision"] if chosen == trained_on else precision,
        cache_dir=recipe.model.cache_dir,
        trust_remote_code=recipe.model.trust_remote_code,
    )


def _about(recipe: Recipe) -> About:
    """How the model of a recipe is asked, where no result tells it yet."""
    data = recipe.data
    template = template_named(data.template) if data.template else None
    return About(recipe.model.source, recipe.model.revision, data.system, template, data.control_tokens)


def _device_here(wanted: str, *, asked: bool) -> str:
    """The device to talk on: a run that was trained on a GPU can be asked on a machine without one."""
    hardware = Hardware.here()
    try:
        return choose_device(wanted, hardware)
    except InputError:
        if asked:
            raise
        return choose_device("auto", hardware)


def _load(name: str, wanted: _Wanted) -> Speaker:
    hardware = Hardware.here()
    device = choose_device(wanted.device, hardware)
    precision = choose_precision(wanted.precision, device, hardware)
    torch.set_num_threads(hardware.cores)
    about = wanted.about
    folder = wanted.model or resolve(about.base, revision=about.revision, cache_dir=wanted.cache_dir)
    tokenizer = load_tokenizer(folder, trust_remote_code=wanted.trust_remote_code)
    model = load_model(
        folder, dtype=DTYPES[precision], device=device, trust_remote_code=wanted.trust_remote_code
    )
    speaking: torch.nn.Module = model
    if wanted.adapter is not None:
        speaking = load_adapter(model, wanted.adapter, trainable=False).eval()
    renderer = Renderer(
        tokenizer=tokenizer,
        template=about.template,
        system=about.system,
        end_ids=end_token_ids(folder, tokenizer),
        control_tokens=about.control_tokens,
    )
    return Speaker(speaking, renderer, name)

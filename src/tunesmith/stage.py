"""Setting the stage: what must be in memory before training can begin, and everything that can be wrong with it.

Recipe and run folder are read here and nothing is written, so a mistake leaves no trace.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.schema import Recipe, learns_chosen
from tunesmith.config.words import counted
from tunesmith.data.build import DataSet, build
from tunesmith.data.render import Renderer
from tunesmith.data.templates import control_tokens_of, template_named
from tunesmith.errors import InputError
from tunesmith.evaluation.before_after import ask_prompts, base_replies
from tunesmith.infer.speaker import Reply, Speaker
from tunesmith.methods import METHODS
from tunesmith.metrics import metric_named
from tunesmith.models.adapters import CONFIG_FILE, add_adapter, load_adapter
from tunesmith.models.load import DTYPES, end_token_ids, load_model, load_tokenizer
from tunesmith.models.policy import Policy, recompute_activations
from tunesmith.models.probe import Probe, probe
from tunesmith.models.source import fingerprint, licence, resolve
from tunesmith.models.vision import picture_tokens
from tunesmith.rundir import RunDir, read_json
from tunesmith.train.device import out_of_memory_is_a_work_error
from tunesmith.train.environment import (
    Choices,
    choose_compute,
    choose_row_tokens,
    describe,
    settle_determinism,
    stored_choices,
)
from tunesmith.train.events import Listener
from tunesmith.train.trackers import open_trackers

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Prepared:
    """The data as the model will see it: what `check` shows, before any weights are loaded."""

    model_folder: Path
    tokenizer: Any
    renderer: Renderer
    template: str | None
    data: DataSet


def prepare(recipe: Recipe, *, weights: bool = True, day: date | None = None) -> Prepared:
    """Recipe -> tokenizer, template and every row rendered.

    Args:
        weights: whether the model's weights must be there too.
        day: what a template that writes the date takes for today; None: today.

    Raises:
        InputError: the model cannot be had, or the data is not right.
    """
    model = recipe.model
    folder = resolve(model.source, revision=model.revision, cache_dir=model.cache_dir, weights=weights)
    tokenizer = load_tokenizer(folder, trust_remote_code=model.trust_remote_code)
    template = template_named(recipe.data.template) if recipe.data.template else None
    renderer = Renderer(
        tokenizer=tokenizer,
        template=template,
        system=recipe.data.system,
        end_ids=end_token_ids(folder, tokenizer),
        control_tokens=recipe.data.control_tokens,
        images=picture_tokens(folder, tokenizer, recipe.data.image_size),
        control=control_tokens_of(recipe.data.template) if recipe.data.template else (),
        day=day or date.today(),
    )
    data = build(
        recipe.data,
        METHODS[recipe.method.name].consumes,
        renderer,
        recipe.train.seed,
        learn_chosen=learns_chosen(recipe.method),
    )
    return Prepared(folder, tokenizer, renderer, template, data)


@dataclass(frozen=True)
class Stage:
    """What is in memory when training begins."""

    prepared: Prepared
    model: nn.Module
    policy: Policy
    choices: Choices
    base: list[Reply]
    identity: dict[str, str]
    environment: dict[str, Any]
    trackers: list[Listener]


def set_the_stage(recipe: Recipe, left: RunDir | None) -> Stage:
    """Read the data, load the model, settle every automatic choice, ask the untuned model, and put the adapter on.

    Nothing is written. `left` is the run that is gone on with: what it settled and was answered is taken over.
    """
    for name in recipe.evaluate.metrics:
        metric_named(name)
    trackers, start = open_trackers(recipe), _adapter_to_start_from(recipe)
    stored = _choices_left(left) if left else None
    device, precision, threads = choose_compute(recipe, stored)
    with out_of_memory_is_a_work_error():
        day = date.fromisoformat(stored.day) if stored and stored.day else date.today()
        prepared = prepare(recipe, day=day)
        _must_be_text(prepared.data)
        settle_determinism(device, threads)
        compute = DTYPES[precision]
        model = load_model(
            prepared.model_folder,
            dtype=DTYPES["fp32"] if recipe.adapter.type == "none" else compute,
            device=device,
            trust_remote_code=recipe.model.trust_remote_code,
        )
        found = (
            Probe(stored.packed_rows, stored.packed_rows_because) if stored else probe(model, compute=compute)
        )
        longest = int(max(side.lengths.max(initial=0) for side in (prepared.data.train, prepared.data.eval)))
        row_tokens = choose_row_tokens(recipe, longest)
        choices = Choices(
            device, precision, threads, row_tokens, found.segments, found.reason, day.isoformat()
        )
        base = _base_replies(recipe, left, prepared, model)
        tuned = _put_adapter_on(recipe, model, start)
        if recipe.train.gradient_checkpointing:
            recompute_activations(model)
        policy = Policy(tuned, segments=found.segments, compute=compute, seed=recipe.train.seed)
    identity = _identity(recipe, prepared)
    fingerprints = identity | {"prompt": prepared.renderer.fingerprint()}
    environment = describe(recipe, choices, fingerprints, licence(prepared.model_folder))
    return Stage(prepared, tuned, policy, choices, base, identity, environment, trackers)


def _must_be_text(data: DataSet) -> None:
    """Tokens of pictures without the pictures would teach nonsense.

    Raises:
        InputError: a sample holds a picture.
    """
    for side in (data.train, data.eval):
        if side.pictures.any():
            raise InputError(
                "the row holds a picture, and training on pictures is not possible yet",
                where=str(side.place(int(side.pictures.argmax()))),
                remedy="`tunesmith check` shows what would be learned of it",
            )


def _choices_left(run: RunDir) -> Choices | None:
    """The automatic choices of an earlier start of this run."""
    try:
        return stored_choices(read_json(run.environment))
    except (InputError, TypeError) as error:
        log.warning("the automatic choices are made anew: %s cannot be read (%s)", run.environment, error)
        return None


def _base_replies(
    recipe: Recipe, left: RunDir | None, prepared: Prepared, model: PreTrainedModel
) -> list[Reply]:
    """The untuned model's answers: those of an earlier start of this run, or asked now."""
    if not recipe.evaluate.prompts:
        return []
    try:
        replies = base_replies(read_json(left.before_after), recipe.evaluate) if left else None
    except (InputError, TypeError, KeyError) as error:
        log.warning("before_after.json cannot be read (%s)", error)
        replies = None
    if replies is None:
        log.info("asking the untuned model %s", counted(len(recipe.evaluate.prompts), "question"))
        replies = ask_prompts(Speaker(model, prepared.renderer, recipe.model.source), recipe.evaluate)
    return replies


def _adapter_to_start_from(recipe: Recipe) -> Path | None:
    """The folder of `adapter.start`: an adapter, or the result of a run.

    Raises:
        InputError: there is none.
    """
    if recipe.adapter.start is None:
        return None
    start = RunDir(recipe.adapter.start)
    folder = start.result() if start.holds_a_run() else start.folder
    if folder is None:
        raise InputError(
            f"the run {start.folder} has no result to start from",
            remedy=f"finish it: `{start.command('resume')}`",
        )
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(
            f"{folder} is no adapter: it has no {CONFIG_FILE}",
            where="adapter.start",
            expected="an adapter folder or a run",
        )
    return folder


def _put_adapter_on(recipe: Recipe, model: PreTrainedModel, start: Path | None) -> Any:
    """A fresh adapter, one to go on from, or (full tuning) none."""
    adapter = recipe.adapter
    if adapter.type == "none":
        return model.requires_grad_(True)
    if start is None:
        return add_adapter(model, adapter, base_name=recipe.model.source, seed=recipe.train.seed)
    log.info("going on from the adapter %s; its rank, alpha, dropout and targets stay what they are", start)
    return load_adapter(model, start, trainable=True)


def _identity(recipe: Recipe, prepared: Prepared) -> dict[str, str]:
    """What the bits of a run depend on; a checkpoint of another identity is not resumed from."""
    shaping = recipe.model_dump(mode="json", include={"model", "adapter", "data", "method", "train"})
    return {
        "recipe": hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest(),
        "data": hashlib.sha256(
            "".join(ledger["fingerprint"] for ledger in prepared.data.ledgers.values() if ledger).encode()
        ).hexdigest(),
        "model": fingerprint(prepared.model_folder),
    }

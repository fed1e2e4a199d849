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

from tunesmith.config.method import Distill, Grpo, learns_chosen
from tunesmith.config.schema import Recipe
from tunesmith.config.words import counted
from tunesmith.data.build import DataSet, build
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Message
from tunesmith.data.templates import control_tokens_of, template_named
from tunesmith.errors import InputError
from tunesmith.evaluation.before_after import ask_prompts, base_replies
from tunesmith.evaluation.run import HeldOut, answer_rows, check_metrics, held_out_rows, stored_base
from tunesmith.infer.open import Named
from tunesmith.infer.pictures import asked
from tunesmith.infer.speaker import Reply, Speaker
from tunesmith.infer.teacher import find_teacher
from tunesmith.lessons import STARTED_FROM, examples_of, remember_the_start, taught
from tunesmith.methods import METHODS
from tunesmith.models.adapters import (
    CONFIG_FILE,
    adapter_fingerprint,
    add_adapter,
    differing_settings,
    is_of_a_reward_model,
    load_adapter,
)
from tunesmith.models.check import Trust, check_vocabulary, code_to_run
from tunesmith.models.load import DTYPES, end_token_ids, load_model, load_tokenizer
from tunesmith.models.outline import check_adapter
from tunesmith.models.placement import layers_on
from tunesmith.models.policy import Policy
from tunesmith.models.probe import Probe, probe
from tunesmith.models.quantize import check_trainable
from tunesmith.models.recompute import recompute_activations
from tunesmith.models.save import read_about
from tunesmith.models.scoring import scores, settle_padding
from tunesmith.models.shallow import with_layers
from tunesmith.models.source import Located, fingerprint, licence, locate
from tunesmith.models.tokens import NewTokens, add_tokens, make_room
from tunesmith.models.unfreeze import Unfreezing, choose_what_learns
from tunesmith.models.vision import PictureTokens, picture_tokens, why_blind
from tunesmith.rundir import RunDir, read_json, read_json_lines
from tunesmith.train.budget import settle_recomputed
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
from tunesmith.train.examples import Examples
from tunesmith.train.memory_plan import Setting
from tunesmith.train.rewarded import find_rewards
from tunesmith.train.teacher import KeptTeacher, LiveTeacher
from tunesmith.train.trackers import open_trackers

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Prepared:
    """The data as the model will see it: what `check` shows, before any weights are loaded."""

    located: Located
    trust: Trust
    tokenizer: Any
    new_tokens: NewTokens
    renderer: Renderer
    template: str | None
    data: DataSet
    eyes: PictureTokens | None
    teacher: Named | None = None

    @property
    def model_folder(self) -> Path:
        """Where configuration, tokenizer and weights lie."""
        return self.located.folder


def prepare(
    recipe: Recipe, *, weights: bool = True, day: date | None = None, commit: str | None = None
) -> Prepared:
    """Recipe -> tokenizer, template and every row rendered.

    Args:
        weights: whether the model's weights must be there too.
        commit: the state of the hub's repository to take, where a run began with it; None: as the recipe says.
        day: what a template that writes the date takes for today; None: today.

    Raises:
        InputError: the model cannot be had, or the data is not right.
    """
    model = recipe.model
    located = locate(
        model.source, revision=commit or model.revision, cache_dir=model.cache_dir, weights=weights
    )
    if model.layers is not None:
        folder, passing = with_layers(located.folder, model.layers)
        located = located._replace(folder=folder, passing=passing)
    folder = located.folder
    trust = code_to_run(folder, model.source, allowed=model.trust_remote_code)
    tokenizer = load_tokenizer(folder, trust_remote_code=trust.tokenizer)
    check_vocabulary(folder, tokenizer)
    check_adapter(
        folder,
        recipe.adapter,
        packed=model.quantize != "none",
        recomputed=recipe.train.gradient_checkpointing,
        trust_remote_code=trust.model,
        scores=METHODS[recipe.method.name].scores,
    )
    new_tokens = add_tokens(tokenizer, model.new_tokens)
    if isinstance(recipe.method, Grpo):
        find_rewards(recipe.method)  # told before the data is read
    teacher = find_teacher(recipe.method, tokenizer) if isinstance(recipe.method, Distill) else None
    template = template_named(recipe.data.template) if recipe.data.template else None
    eyes = picture_tokens(folder, tokenizer, recipe.data.image_size)
    renderer = Renderer(
        tokenizer=tokenizer,
        template=template,
        system=recipe.data.system,
        end_ids=end_token_ids(folder, tokenizer),
        control_tokens=recipe.data.control_tokens,
        images=eyes,
        blind=why_blind(folder),
        control=control_tokens_of(recipe.data.template) if recipe.data.template else (),
        day=day or date.today(),
    )
    for prompt in recipe.evaluate.prompts:
        if not isinstance(prompt, str):  # a picture that is not there is told before hours of training
            renderer.prompt([Message("user", asked(prompt))])
    data = build(
        recipe.data,
        METHODS[recipe.method.name].consumes,
        renderer,
        recipe.train.seed,
        method=recipe.method.name,
        learn_chosen=learns_chosen(recipe.method),
    )
    return Prepared(located, trust, tokenizer, new_tokens, renderer, template, data, eyes, teacher)


@dataclass(frozen=True)
class Stage:
    """What is in memory when training begins."""

    prepared: Prepared
    model: nn.Module
    policy: Policy
    train: Examples
    eval: Examples
    teacher: LiveTeacher | KeptTeacher | None
    unfreezing: Unfreezing | None
    choices: Choices
    base: list[Reply]
    held_out: HeldOut
    identity: dict[str, str]
    environment: dict[str, Any]
    trackers: list[Listener]


def set_the_stage(recipe: Recipe, left: RunDir | None) -> Stage:
    """Read the data, load the model, settle every automatic choice, ask the untuned model, and put the adapter on.

    Nothing is written. `left` is the run that is gone on with: what it settled and was answered is taken over.
    """
    check_metrics(recipe)
    trackers, start = open_trackers(recipe), adapter_to_start_from(recipe)
    if start is not None:
        _same_tokens_as(start, recipe)
    stored = _choices_left(left) if left else None
    device, precision, threads = choose_compute(recipe, stored)
    with out_of_memory_is_a_work_error():
        day = date.fromisoformat(stored.day) if stored and stored.day else date.today()
        prepared = prepare(recipe, day=day, commit=_commit_left(left))
        settle_determinism(device, threads)
        longest = int(max(side.lengths.max(initial=0) for side in (prepared.data.train, prepared.data.eval)))
        row_tokens = choose_row_tokens(recipe, longest)
        if stored is None:  # what does not fit is told before weights are loaded
            setting = setting_of(recipe, prepared, device, precision, start)
            recomputed = settle_recomputed(recipe, setting, prepared.data.train, row_tokens)
        else:
            recomputed = stored.recomputed_layers
        model = _load(recipe, prepared, device, precision, stored)
        found = (
            Probe(stored.packed_rows, stored.packed_rows_because, stored.own_logits)
            if stored
            else probe(model, compute=DTYPES[precision], eyes=prepared.eyes)
        )
        _must_be_seen(prepared.data, found)
        choices = Choices(
            device=device,
            precision=precision,
            threads=threads,
            row_tokens=row_tokens,
            packed_rows=found.segments,
            packed_rows_because=found.reason,
            day=day.isoformat(),
            own_logits=found.own_logits,
            layers_on=layers_on(model) if recipe.model.device_map == "auto" else None,
            recomputed_layers=recomputed,
        )
        base = _base_replies(recipe, left, prepared, model)
        held_out = _base_on_held_out(recipe, left, prepared, model)
        tuned, policy = _put_on_for_training(recipe, model, start, prepared, choices)
        identity = _identity(recipe, prepared, start)
        remember_the_start(recipe, policy)
        train, held = examples_of(recipe, prepared.data, prepared.renderer, policy, choices, identity)
        teacher, train, held = taught(recipe, prepared.teacher, choices, train, held)
    fingerprints = identity | {"prompt": prepared.renderer.fingerprint()}
    environment = describe(
        recipe, choices, fingerprints, prepared.located.commit, licence(prepared.model_folder)
    )
    unfreezing = Unfreezing(tuned, recipe.adapter) if recipe.adapter.unfreeze else None
    return Stage(
        prepared,
        tuned,
        policy,
        train,
        held,
        teacher,
        unfreezing,
        choices,
        base,
        held_out,
        identity,
        environment,
        trackers,
    )


def _load(
    recipe: Recipe, prepared: Prepared, device: str, precision: str, stored: Choices | None
) -> PreTrainedModel:
    """The model as the recipe holds it, with room for its new tokens.

    Raises:
        InputError: it cannot be loaded, does not fit, or cannot be trained over.
    """
    model = load_model(
        prepared.model_folder,
        dtype=DTYPES["fp32"] if recipe.adapter.type == "none" else DTYPES[precision],
        device=device,
        trust_remote_code=prepared.trust.model,
        quantize=recipe.model.quantize,
        device_map=(stored and stored.layers_on) or recipe.model.device_map,
        max_memory=recipe.model.max_memory,
        scores=METHODS[recipe.method.name].scores,
        seed=recipe.train.seed,
    )
    check_trainable(model, recipe.model.source)
    make_room(model, prepared.new_tokens)
    if scores(model):
        settle_padding(model, prepared.tokenizer, prepared.renderer.ending[-1:])
    return model


def _put_on_for_training(
    recipe: Recipe, model: PreTrainedModel, start: Path | None, prepared: Prepared, choices: Choices
) -> tuple[nn.Module, Policy]:
    """The model with what the recipe trains, and the policy around it."""
    tuned = _put_adapter_on(recipe, model, start, prepared)
    recompute_activations(model, choices.recomputed_layers)
    policy = Policy(
        tuned,
        segments=choices.packed_rows,
        compute=DTYPES[choices.precision],
        seed=recipe.train.seed,
        own_logits=choices.own_logits,
        eyes=prepared.eyes,
    )
    return tuned, policy


def setting_of(
    recipe: Recipe, prepared: Prepared, device: str, precision: str, start: Path | None
) -> Setting:
    """What the memory plan must know of a prepared recipe; that rows may hold several samples is taken for granted."""
    return Setting(
        folder=prepared.model_folder,
        trust_remote_code=prepared.trust.model,
        device=device,
        precision=precision,
        segments=True,
        start=start,
        new_tokens=prepared.new_tokens.ids,
        scores=METHODS[recipe.method.name].scores,
        teacher=prepared.teacher.folder if prepared.teacher else None,
    )


def _must_be_seen(data: DataSet, found: Probe) -> None:
    """Raise an InputError where a sample holds a picture, and the model cannot be shown any."""
    for side in (data.train, data.eval):
        if found.blind is not None and side.pictures.any():
            raise InputError(
                f"the row holds a picture, and {found.blind}",
                where=str(side.place(int(side.pictures.argmax()))),
                remedy="take another vision model as model.source, such as Qwen/Qwen2-VL-2B-Instruct",
            )


def _choices_left(run: RunDir) -> Choices | None:
    """The automatic choices of an earlier start of this run."""
    try:
        return stored_choices(read_json(run.environment))
    except (InputError, TypeError) as error:
        log.warning("the automatic choices are made anew: %s cannot be read (%s)", run.environment, error)
        return None


def _commit_left(left: RunDir | None) -> str | None:
    """The state of the hub's model that an earlier start of this run had; the branch may have moved since."""
    try:
        environment = read_json(left.environment) if left else None
        return environment["model"].get("commit") if environment else None
    except (InputError, TypeError, KeyError, AttributeError):  # of the damage `_choices_left` warns
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
        speaker = Speaker(model, prepared.renderer, recipe.model.source, eyes=prepared.eyes)
        replies = ask_prompts(speaker, recipe.evaluate)
    return replies


def _base_on_held_out(
    recipe: Recipe, left: RunDir | None, prepared: Prepared, model: PreTrainedModel
) -> HeldOut:
    """The held-out rows that metrics are computed on, and the untuned model's answers, as `_base_replies` has them."""
    rows = held_out_rows(recipe.evaluate, prepared.data.eval)
    if not rows:
        return HeldOut([], [])
    try:
        base = stored_base(read_json_lines(left.evaluation_rows), rows) if left else None
    except (InputError, TypeError, KeyError) as error:
        log.warning("evaluation.jsonl cannot be read (%s)", error)
        base = None
    if base is None:
        log.info("the untuned model answers %s", counted(len(rows), "held-out row"))
        base = answer_rows(model, prepared.renderer, rows, recipe.evaluate, eyes=prepared.eyes)
    return HeldOut(rows, base)


def adapter_to_start_from(recipe: Recipe) -> Path | None:
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
    there, here = is_of_a_reward_model(folder), METHODS[recipe.method.name].scores
    if there != here:
        kinds = {True: "a model that scores", False: "a model that writes"}
        raise InputError(
            f"{folder} is the adapter of {kinds[there]}, and the method {recipe.method.name} trains {kinds[here]}",
            where="adapter.start",
            remedy="start from an adapter of its own kind, or leave adapter.start out",
        )
    return folder


def _put_adapter_on(
    recipe: Recipe, model: PreTrainedModel, start: Path | None, prepared: Prepared
) -> nn.Module:
    """A fresh adapter, one to go on from, or (full tuning) none; and only what the recipe trains has a gradient."""
    adapter = recipe.adapter
    tuned: nn.Module = model
    if start is not None:
        log.info(
            "going on from the adapter %s; its rank, alpha, dropout and targets stay what they are", start
        )
        about = read_about(start)
        if about and about.fingerprint not in (None, fingerprint(prepared.model_folder)):
            log.warning("it was trained on other weights than this recipe's model has: %s", about.base)
        for name, (there, wanted) in differing_settings(start, adapter).items():
            log.warning("adapter.%s: %s is passed over: the adapter has %s", name, wanted, there)
        tuned = load_adapter(model, start, trainable=True)
    elif adapter.type == "lora":
        tuned = add_adapter(
            model,
            adapter,
            base_name=prepared.located.source,
            seed=recipe.train.seed,
            new_tokens=prepared.new_tokens.ids,
        )
    choose_what_learns(tuned, adapter)
    return tuned


def _same_tokens_as(start: Path, recipe: Recipe) -> None:
    """Raises an InputError where an adapter to go on from was trained with other new tokens."""
    about = read_about(start)
    theirs = about.new_tokens if about else ()
    if theirs != recipe.model.new_tokens:
        raise InputError(
            f"the adapter {start} was trained with {_listed(theirs)}, and model.new_tokens lists "
            f"{_listed(recipe.model.new_tokens)}",
            remedy="list the same tokens in the same order, or leave adapter.start out",
        )


def _listed(tokens: tuple[str, ...]) -> str:
    return f"the new tokens {', '.join(tokens)}" if tokens else "no new tokens"


def _identity(recipe: Recipe, prepared: Prepared, start: Path | None) -> dict[str, str]:
    """What the bits of a run depend on; a checkpoint of another identity is not resumed from."""
    shaping = recipe.model_dump(mode="json", include={"model", "adapter", "data", "method", "train"})
    identity = {
        "recipe": hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest(),
        "data": hashlib.sha256(
            "".join(ledger["fingerprint"] for ledger in prepared.data.ledgers.values() if ledger).encode()
        ).hexdigest(),
        "model": fingerprint(prepared.model_folder),
    }
    if prepared.teacher is not None:
        identity["teacher"] = prepared.teacher.fingerprint
    return identity if start is None else identity | {STARTED_FROM: adapter_fingerprint(start)}

"""The whole flow on one page: recipe -> data -> model -> train -> evidence.

    from tunesmith import pipeline
    from tunesmith.config.load import load

    run = pipeline.train(load("recipe.yaml", ["train.epochs=2"]))
    print(run.read_metrics()[-1])

Everything is written to the run folder as it happens; `resume` finds there what `train` left, wherever it was killed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

from tunesmith.config.load import dump, load
from tunesmith.config.method import updates_of
from tunesmith.config.schema import Recipe
from tunesmith.config.words import counted
from tunesmith.data.templates import TEMPLATES
from tunesmith.errors import InputError, Interrupted, failed_writing_is_a_work_error
from tunesmith.evaluation.before_after import ask_prompts, before_after
from tunesmith.evaluation.run import answer_rows, evaluation, evaluation_rows, score_rows, told
from tunesmith.infer.speaker import Reply, Speaker
from tunesmith.lessons import rollouts_of
from tunesmith.methods import METHODS
from tunesmith.models.packed import parameter_count
from tunesmith.models.save import About, result_must_be_free, save_result
from tunesmith.report.curve import draw_curve
from tunesmith.report.html import write_report
from tunesmith.rundir import RunDir, read_json, write_json, write_json_lines
from tunesmith.stage import Stage, set_the_stage
from tunesmith.train import checkpoint
from tunesmith.train.checkpoint import TrainState
from tunesmith.train.device import out_of_memory_is_a_work_error
from tunesmith.train.events import Events, Listener, LogLines, Outcome, RunInfo
from tunesmith.train.loop import Job, run_loop

log = logging.getLogger("tunesmith")


def train(
    recipe: Recipe,
    *,
    overwrite: bool = False,
    listeners: Sequence[Listener] = (),
    stop_wanted: Callable[[], bool] = lambda: False,
) -> RunDir:
    """Train a recipe from the start, in a new run folder.

    Args:
        overwrite: replace a run that is already in the folder.
        listeners: told what happens, besides the recipe's trackers.
        stop_wanted: asked after each step; when true, a checkpoint is written and `Interrupted` raised.

    Raises:
        InputError: the recipe, the data or the folder is not right; nothing was trained.
        WorkError: disk, memory or numbers failed on the way; the last checkpoint is good.
        Interrupted: `stop_wanted` said so.
    """
    run = RunDir(recipe.output_folder)
    with _ctrl_c_says("nothing was written yet; begin again with the same command"):
        # Whatever can be wrong is found before anything is written, and before an old run is deleted.
        run.must_be_free(overwrite=overwrite)
        _inputs_must_survive(recipe, run)
        if recipe.run.result is not None:
            result_must_be_free(Path(recipe.run.result), run.folder, overwrite=overwrite)
        with _remembered_log() as so_far:
            stage = set_the_stage(recipe, None)
    with _ctrl_c_says(f"go on with `{run.command('resume')}`"), run.locked():
        run.create(dump(recipe), overwrite=overwrite)
        with _logged_to(run, so_far):
            return _work(recipe, run, stage, listeners, stop_wanted)


def resume(
    folder: Path | str, *, listeners: Sequence[Listener] = (), stop_wanted: Callable[[], bool] = lambda: False
) -> RunDir:
    """Go on with a run from its last good checkpoint, to the same end as if it had never been interrupted.

    Raises: as `train`; `InputError` also where there is no run, or where its data or model have changed.
    """
    run = RunDir(folder)
    if not run.holds_a_run():
        raise InputError(
            f"there is no run in {folder}",
            expected="a folder with the recipe.yaml of a run",
            remedy="start one with `tunesmith train`",
        )
    with _ctrl_c_says(f"go on with `{run.command('resume')}`"), run.locked():
        if _is_finished(run):
            log.info("%s is finished already; nothing to resume", run.folder)
            return run
        run.sweep()
        recipe = load(str(run.recipe))
        if recipe.run.result is not None:  # somebody may have put other things there since
            result_must_be_free(Path(recipe.run.result), run.folder, overwrite=True)
        with _logged_to(run):
            return _work(recipe, run, set_the_stage(recipe, run), listeners, stop_wanted)


def _is_finished(run: RunDir) -> bool:
    try:
        environment = read_json(run.environment)
    except InputError:  # damaged; the work ahead writes it anew
        return False
    finished = isinstance(environment, dict) and environment.get("finished") is True
    return finished and run.report.is_file() and run.result() is not None


def _inputs_must_survive(recipe: Recipe, run: RunDir) -> None:
    """Refuse to replace a run that the new one is made from: it could not be resumed, nor made again.

    Raises:
        InputError: the model, the adapter to start from, a data file or the template lies in the run folder.
    """
    data = recipe.data
    held_out = data.eval if isinstance(data.eval, tuple) else ()
    template = None if data.template in TEMPLATES else data.template
    inputs = [recipe.model.source, recipe.adapter.start, template]
    for path in [*inputs, *(source.path for source in (*data.train, *held_out))]:
        if path is not None and Path(path).resolve().is_relative_to(run.folder.resolve()):
            raise InputError(
                f"the recipe reads {path}, which lies in the run folder {run.folder} that is to be replaced",
                remedy="choose another folder with -o",
            )


@contextmanager
def _ctrl_c_says(remedy: str) -> Iterator[None]:
    """Make of a bare Ctrl-C a sentence that says how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted("interrupted", remedy=remedy) from stop


def _work(
    recipe: Recipe,
    run: RunDir,
    stage: Stage,
    listeners: Sequence[Listener],
    stop_wanted: Callable[[], bool],
) -> RunDir:
    """Do the run's work in its folder, and tell all listeners how it ended."""
    events = Events([LogLines(), *listeners, *stage.trackers])
    try:
        with out_of_memory_is_a_work_error():
            start = _last_checkpoint(recipe, run, stage.identity)
            if start is None and recipe.run.result is not None:
                # What `--overwrite` replaces: the weights of an earlier run must not pass for those of this one.
                shutil.rmtree(recipe.run.result, ignore_errors=True)
            _write_what_is_settled(recipe, run, stage)
            _train_and_show(recipe, run, stage, start, events, stop_wanted)
    except BaseException as error:
        if isinstance(error, Interrupted | KeyboardInterrupt):
            events.end(Outcome("interrupted", str(error)))
        else:
            log.error("%s", error)
            events.end(Outcome("failed", str(error)))
        raise
    events.end(Outcome("finished"))
    return run


def _write_what_is_settled(recipe: Recipe, run: RunDir, stage: Stage) -> None:
    """What is known before step 1 goes into the run folder, for a resume to find."""
    write_json(run.data, stage.prepared.data.ledgers)
    write_json(run.environment, stage.environment)
    _write_evidence(recipe, run, stage)
    choices = stage.choices
    log.info("device %s, %s, %s", choices.device, choices.precision, counted(choices.threads, "thread"))
    if choices.packed_rows:
        log.info("%s", choices.packed_rows_because)
    else:
        log.warning("%s: one sequence a row, with the family's own attention", choices.packed_rows_because)
    if choices.own_logits:
        log.warning(
            "its head is more than a linear layer: logits are the family's own, which takes more memory"
        )
    trained = sum(weight.numel() for weight in stage.policy.trainable().values())
    total = parameter_count(stage.model)
    log.info("%s of %s parameters are trained (%.2f%%)", f"{trained:,}", f"{total:,}", 100 * trained / total)


def _train_and_show(
    recipe: Recipe,
    run: RunDir,
    stage: Stage,
    start: tuple[Path, TrainState] | None,
    events: Events,
    stop_wanted: Callable[[], bool],
) -> None:
    """Run the loop from the last good checkpoint, save the result, ask again, and write the report."""
    state = _train(recipe, run, stage, start, events, stop_wanted)
    _stop_if(stop_wanted, run)
    if recipe.train.keep_best and state.best_step is not None and state.best_step != state.step:
        log.info(
            "the result is the best checkpoint, step %d (eval_loss %.4f)", state.best_step, state.best_loss
        )
        checkpoint.restore(run.checkpoint(state.best_step), stage.policy.trainable())
    prepared = stage.prepared
    about = About(
        recipe.model.source,
        prepared.located.revision,
        recipe.data.system,
        prepared.template,
        recipe.data.control_tokens,
        stage.identity["model"],
        recipe.model.new_tokens,
        recipe.data.image_size,
    )
    folder = Path(recipe.run.result) if recipe.run.result else _result_folder(recipe, run)
    processor = prepared.eyes.processor if prepared.eyes else None
    save_result(stage.model, prepared.tokenizer, about, folder, image_processor=processor)
    if stage.base or stage.held_out.rows:
        _stop_if(stop_wanted, run)
        stage.model.eval()
        events.samples(_write_evidence(recipe, run, stage, _ask_tuned(recipe, run, stage, stop_wanted)))
    draw_curve(run)
    # Written before the report, which tells of it; a kill in between leaves a run that is whole but for that page.
    write_json(run.environment, stage.environment | {"finished": True})
    write_report(run)


def _train(
    recipe: Recipe,
    run: RunDir,
    stage: Stage,
    start: tuple[Path, TrainState] | None,
    events: Events,
    stop_wanted: Callable[[], bool],
) -> TrainState:
    prepared = stage.prepared
    job = Job(
        train=recipe.train,
        run=run,
        policy=stage.policy,
        method=METHODS[recipe.method.name](recipe.method),
        samples=stage.train,
        held_out=stage.eval,
        row_tokens=stage.choices.row_tokens,
        identity=stage.identity,
        events=events,
        stop_wanted=stop_wanted,
        unfreezing=stage.unfreezing,
        lr_ratio=recipe.adapter.lr_ratio,
        teacher=stage.teacher,
        rollouts=rollouts_of(
            recipe, run, stage.policy, prepared.renderer, prepared.data, stage.choices.row_tokens
        ),
        updates=updates_of(recipe.method),
    )
    total_steps, start_step = job.schedule.total_steps, start[1].step if start else 0
    plain_recipe = recipe.model_dump(mode="json")
    events.start(RunInfo(recipe.name, run.folder, plain_recipe, stage.environment, total_steps, start_step))
    log.info(
        "%s, %d an update, %s%s",
        counted(len(stage.train), "sample"),
        recipe.samples_an_update,
        counted(total_steps, "step"),
        f", from step {start_step}" if start else "",
    )
    return run_loop(job, start)


def _stop_if(stop_wanted: Callable[[], bool], run: RunDir) -> None:
    if stop_wanted():
        raise Interrupted(
            "stopped after training; its last checkpoint is written",
            remedy=f"go on with `{run.command('resume')}`",
        )


def _result_folder(recipe: Recipe, run: RunDir) -> Path:
    return run.model if recipe.adapter.type == "none" else run.adapter


def _last_checkpoint(recipe: Recipe, run: RunDir, identity: dict[str, str]) -> tuple[Path, TrainState] | None:
    """The newest good checkpoint of this run, and the metrics cut back to it.

    Raises:
        InputError: it belongs to other data, another model or another recipe.
    """
    found = checkpoint.newest_good(run, with_best=recipe.train.keep_best)
    if found is None:
        run.cut_metrics(0)
        run.cut_drawn(0)
        return None
    changed = [name for name, value in identity.items() if found.identity.get(name) != value]
    if changed:
        raise InputError(
            f"the {' and the '.join(changed)} changed since this run began, so {found.folder.name} cannot be gone on from",
            where=str(run.folder),
            remedy="put back what changed, or train anew with --overwrite",
        )
    run.cut_drawn(found.state.step)
    if not run.cut_metrics(found.state.metrics_length):
        log.warning("lines of %s from before %s are lost", run.metrics, found.folder.name)
    return found.folder, found.state


@dataclass(frozen=True)
class _Tuned:
    """What the tuned model answered to the recipe's prompts, and to held-out rows."""

    replies: list[Reply]
    on_rows: list[Reply]


def _ask_tuned(recipe: Recipe, run: RunDir, stage: Stage, stop_wanted: Callable[[], bool]) -> _Tuned:
    """Ask the tuned model all that the base was asked."""
    renderer, held_out = stage.prepared.renderer, stage.held_out
    replies, on_rows = [], []
    if stage.base:
        log.info("asking the tuned model the same questions")
        speaker = Speaker(stage.model, renderer, str(run.folder), eyes=stage.prepared.eyes)
        replies = ask_prompts(speaker, recipe.evaluate)
    if held_out.rows:
        log.info("the tuned model answers the same %s", counted(len(held_out.rows), "held-out row"))
        on_rows = answer_rows(
            stage.model,
            renderer,
            held_out.rows,
            recipe.evaluate,
            eyes=stage.prepared.eyes,
            between=lambda: _stop_if(stop_wanted, run),
        )
    return _Tuned(replies, on_rows)


def _write_evidence(recipe: Recipe, run: RunDir, stage: Stage, tuned: _Tuned | None = None) -> dict[str, Any]:
    """Write what there is to compare, and give the content of before_after.json; nothing where nothing was asked."""
    metrics, held_out = recipe.evaluate.metrics, stage.held_out
    scores: dict[str, dict[str, float]] = {}
    if held_out.rows:
        lines = evaluation_rows(held_out.rows, held_out.base, tuned.on_rows if tuned else None)
        write_json_lines(run.evaluation_rows, lines)
        scores["base"] = score_rows(metrics, held_out.rows, held_out.base)
    if held_out.rows and tuned is not None:
        content = evaluation(metrics, held_out.rows, held_out.base, tuned.on_rows)
        write_json(run.evaluation, content)
        scores["tuned"] = content["metrics"]
        for line in told(content):
            log.info("%s", line)
    if not (stage.base or held_out.rows):
        return {}
    train_samples = stage.prepared.data.train
    content = before_after(
        recipe.evaluate,
        stage.base,
        tuned.replies if tuned else None,
        {
            (prompt, tuple(images))
            for prompt, images in zip(
                train_samples.column("prompt"), train_samples.column("images"), strict=True
            )
            if prompt is not None
        },
        [answer for answer in train_samples.column("answer") if answer is not None],
        scores,
    )
    write_json(run.before_after, content)
    return content


class _LogFile(logging.FileHandler):
    """train.log. On a full disk it stays silent: what could not be written there is said on the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def _remembered_log() -> Iterator[list[logging.LogRecord]]:
    """Keep the log of the block, for a train.log that does not exist yet."""
    handler = BufferingHandler(1000)
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    try:
        yield handler.buffer
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


@contextmanager
def _logged_to(run: RunDir, so_far: Sequence[logging.LogRecord] = ()) -> Iterator[None]:
    """Send the log to train.log as well, with times, for the duration; `so_far` goes in front."""
    with failed_writing_is_a_work_error(str(run.log), "free some disk space and try again"):
        handler = _LogFile(run.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for record in so_far:
        handler.handle(record)
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        with suppress(OSError):  # a line that a full disk did not take is still in the buffer
            handler.close()

"""The loop: what an update is, what is logged, saved and kept, and where it stops."""

from __future__ import annotations

import math

import pytest
import torch

from tests.train.jobs import Samples, make_job, make_policy, resumed, samples, weight_bytes, without_times
from tunesmith.config.method import Sft
from tunesmith.config.schema import EarlyStop, Train
from tunesmith.errors import Interrupted, WorkError
from tunesmith.methods import METHODS
from tunesmith.methods.base import Example
from tunesmith.rundir import RunDir
from tunesmith.train.checkpoint import restore
from tunesmith.train.events import Events, Listener
from tunesmith.train.loop import held_out_loss, run_loop

STEADY = {"learning_rate": 5e-3, "schedule": "constant", "save_every": 1000}


def losses(run: RunDir) -> list[float]:
    return [line["loss"] for line in run.read_metrics() if "loss" in line]


def eval_losses(run: RunDir) -> dict[int, float]:
    return {line["step"]: line["eval_loss"] for line in run.read_metrics() if "eval_loss" in line}


def mean_nll(model, rows) -> float:
    """transformers' own loss, a sample at a time, weighted by its loss tokens."""
    total = weight = 0.0
    for sample in rows:
        ((tokens, weights, *_),) = sample.tree
        labels = [token if wanted else -100 for token, wanted in zip(tokens, weights, strict=True)]
        with torch.no_grad():
            mean = float(model(torch.tensor([tokens]), labels=torch.tensor([labels])).loss)
        total, weight = total + mean * sum(weights), weight + sum(weights)
    return total / weight


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_an_update_is_the_same_however_its_samples_are_split(tmp_path, lora):
    """4 x 1, 1 x 4 and 2 x 2 samples, in one row or in many."""
    ways = {"4x1": (4, 1, 4096), "1x4": (1, 4, 4096), "2x2": (2, 2, 4096), "a row each": (4, 1, 8)}
    found = {}
    for name, (batch, accumulate, row_tokens) in ways.items():
        train = Train(epochs=3, batch_size=batch, accumulate=accumulate, **STEADY)
        job = make_job(tmp_path / name, train, policy=make_policy(lora=lora), row_tokens=row_tokens)
        run_loop(job, None)
        found[name] = losses(job.run), job.policy.trainable()
    first_losses, first_weights = found.pop("4x1")
    assert len(first_losses) == 6
    for name, (other_losses, other_weights) in found.items():
        assert other_losses == pytest.approx(first_losses, rel=1e-6), name
        for weight, other in zip(first_weights.values(), other_weights.values(), strict=True):
            torch.testing.assert_close(weight, other, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_the_first_loss_is_the_mean_over_the_tokens_of_the_update(tmp_path, lora):
    rows = samples(5)
    policy = make_policy(lora=lora)
    job = make_job(
        tmp_path / "run", Train(epochs=1, batch_size=5, accumulate=1, **STEADY), policy=policy, rows=rows
    )
    expected = mean_nll(policy.model, rows)
    run_loop(job, None)
    assert losses(job.run) == pytest.approx([expected], rel=1e-5)


def test_the_last_update_of_an_epoch_takes_what_is_left_at_its_full_weight(tmp_path):
    rows = samples(5)
    train = Train(epochs=1, batch_size=2, accumulate=1, **{**STEADY, "learning_rate": 1e-12})
    job = make_job(tmp_path / "run", train, rows=rows)
    untrained = make_policy().model
    run_loop(job, None)
    expected = [mean_nll(untrained, [rows[n] for n in job.schedule.update(step)]) for step in range(3)]
    assert [len(job.schedule.update(step)) for step in range(3)] == [2, 2, 1]
    assert losses(job.run) == pytest.approx(expected, rel=1e-5)
    assert job.run.read_metrics()[-1]["epoch"] == 1.0
    assert job.run.read_metrics()[-1]["tokens"] == sum(len(sample.tree[0].tokens) for sample in rows)


def test_the_held_out_loss_is_transformers_mean_over_all_its_tokens(tmp_path):
    held_out = samples(9, seed=11)
    for row_tokens in (4096, 8):
        job = make_job(tmp_path / str(row_tokens), Train(), policy=make_policy(dropout=0.5), held_out=held_out, row_tokens=row_tokens)  # fmt: skip
        assert held_out_loss(job)[0] == pytest.approx(mean_nll(job.policy.model.eval(), held_out), rel=1e-5)


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_recomputing_activations_changes_no_number(tmp_path, lora):
    train = Train(epochs=3, batch_size=4, accumulate=1, **STEADY)
    runs = []
    for recompute in (False, True):
        policy = make_policy(lora=lora, dropout=0.2 if lora else 0.0, recompute=recompute)
        job = make_job(tmp_path / str(recompute), train, policy=policy, held_out=samples(3, seed=8))
        run_loop(job, None)
        runs.append(job)
    kept, recomputed = (without_times(job.run.read_metrics()) for job in runs)
    assert [list(line) for line in kept] == [list(line) for line in recomputed]
    for one, other in zip(kept, recomputed, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


def test_bf16_trains_on_a_cpu_with_fp32_weights_on_top(tmp_path):
    policy = make_policy(dtype=torch.bfloat16)
    job = make_job(tmp_path / "run", Train(epochs=8, batch_size=8, accumulate=1, **STEADY), policy=policy)
    run_loop(job, None)
    assert losses(job.run)[-1] < losses(job.run)[0] - 0.05
    assert {weight.dtype for weight in policy.trainable().values()} == {torch.float32}
    assert losses(job.run)[0] == pytest.approx(mean_nll(make_policy().model, samples(8)), rel=2e-2)


@pytest.mark.parametrize(
    ("save_every", "keep", "kept"), [(1, 2, [6, 5]), (4, 2, [6, 4]), ("epoch", 9, [6, 4, 2]), (100, 1, [6])]
)
def test_checkpoints_come_every_n_steps_or_each_epoch_and_at_the_end(tmp_path, save_every, keep, kept):
    class Told(Listener):
        steps: list[int] = []  # noqa: RUF012

        def on_checkpoint(self, step, folder):
            assert folder.is_dir()
            self.steps = [*self.steps, step]

    told = Told()
    train = Train(epochs=3, batch_size=4, accumulate=1, **{**STEADY, "save_every": save_every}, keep=keep)
    job = make_job(tmp_path / "run", train, events=Events([told]))
    run_loop(job, None)
    assert [int(folder.name[5:]) for folder in job.run.checkpoints_newest_first()] == kept
    every = 2 if save_every == "epoch" else save_every
    assert told.steps == [step for step in range(1, 7) if step % every == 0 or step == 6]


def overfitting(**changes) -> Train:
    """A rate so high that the held-out loss soon rises."""
    return Train(
        epochs=8, batch_size=8, accumulate=1, eval_every=1, **{**STEADY, "learning_rate": 1.0}, **changes
    )


def test_the_best_checkpoint_is_kept_and_found(tmp_path):
    job = make_job(tmp_path / "run", overfitting(keep_best=True, keep=1), held_out=samples(4, seed=11))
    state = run_loop(job, None)
    seen = eval_losses(job.run)
    assert state.best_step == min(seen, key=seen.__getitem__)
    assert state.best_step < 8, "the held-out loss must rise for this test to say anything"
    assert {int(folder.name[5:]) for folder in job.run.checkpoints_newest_first()} == {state.best_step, 8}
    restore(job.run.checkpoint(state.best_step), job.policy.trainable())
    assert held_out_loss(job)[0] == pytest.approx(seen[state.best_step], rel=1e-6)


def test_early_stopping_counts_evaluations_without_a_better_one(tmp_path):
    job = make_job(
        tmp_path / "run", overfitting(early_stop=EarlyStop(patience=2)), held_out=samples(4, seed=11)
    )
    state = run_loop(job, None)
    seen = eval_losses(job.run)
    best = min(seen, key=seen.__getitem__)
    assert state.stopped_early
    assert list(seen) == list(range(1, best + 3))
    assert job.run.checkpoints_newest_first()[0] == job.run.checkpoint(best + 2)
    lines, weights = job.run.read_metrics(), weight_bytes(job.policy)
    again = make_job(tmp_path / "run", job.train, held_out=job.held_out)
    assert resumed(again).stopped_early
    assert again.run.read_metrics() == lines and weight_bytes(again.policy) == weights


def test_the_best_is_the_lowest_even_where_patience_asks_for_more(tmp_path):
    train = Train(
        epochs=6, batch_size=8, accumulate=1, eval_every=1, keep_best=True,
        early_stop=EarlyStop(patience=3, min_delta=100.0), **{**STEADY, "learning_rate": 1.0},
    )  # fmt: skip
    job = make_job(tmp_path / "run", train, held_out=samples(4, seed=11))
    state = run_loop(job, None)
    seen = eval_losses(job.run)
    assert state.stopped_early
    assert len(seen) == 4
    assert state.best_step == min(seen, key=seen.__getitem__) > 1


class StopAfter:
    """Asks for a stop once this many steps are done."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
@pytest.mark.parametrize("stop", [1, 3, 5, 7])
def test_a_window_of_the_log_survives_a_stop_and_a_resume(tmp_path, stop, optimizer):
    if optimizer == "adamw_8bit":
        pytest.importorskip("bitsandbytes")
    train = Train(
        epochs=4, batch_size=4, accumulate=1, log_every=4, optimizer=optimizer, eval_every=3, warmup_steps=2,
        learning_rate=5e-3, save_every=1000,
    )  # fmt: skip
    held_out = samples(3, seed=9)

    def job_in(name: str, **options):
        return make_job(tmp_path / name, train, policy=make_policy(dropout=0.2), held_out=held_out, **options)

    whole = job_in("whole")
    run_loop(whole, None)
    stopped = job_in("stopped", stop_wanted=StopAfter(stop))
    with pytest.raises(Interrupted, match=f"stopped after step {stop} of 8; the checkpoint is written"):
        run_loop(stopped, None)
    gone_on = job_in("stopped")
    resumed(gone_on)
    assert weight_bytes(gone_on.policy) == weight_bytes(whole.policy)
    assert without_times(gone_on.run.read_metrics()) == without_times(whole.run.read_metrics())
    assert [line["step"] for line in whole.run.read_metrics() if "loss" in line] == [4, 8]


def test_a_logged_loss_is_the_mean_of_its_window(tmp_path):
    every, fourth = (
        make_job(tmp_path / str(n), Train(epochs=4, batch_size=4, accumulate=1, log_every=n, **STEADY))
        for n in (1, 4)
    )
    run_loop(every, None)
    run_loop(fourth, None)
    single = losses(every.run)
    assert losses(fourth.run) == pytest.approx([sum(single[:4]) / 4, sum(single[4:]) / 4], rel=1e-9)


def test_gradients_are_clipped_to_the_norm_and_logged_before(tmp_path):
    def moved(max_norm: float | None) -> tuple[float, float]:
        # Plain momentum-free Adam hides the size of a gradient; its first moment does not.
        train = Train(epochs=1, batch_size=8, accumulate=1, max_grad_norm=max_norm, **STEADY)
        job = make_job(tmp_path / str(max_norm), train)
        run_loop(job, None)
        stored = torch.load(job.run.checkpoint(1) / "optimizer.pt", weights_only=True)["optimizer"]["state"]
        moment = math.sqrt(sum(float(state["exp_avg"].square().sum()) for state in stored.values()))
        return moment / (1 - train.betas[0]), job.run.read_metrics()[0]["grad_norm"]

    free, free_logged = moved(None)
    clipped, clipped_logged = moved(0.01)
    assert free == pytest.approx(free_logged, rel=1e-4)
    assert clipped_logged == pytest.approx(free_logged, rel=1e-6)
    assert clipped == pytest.approx(0.01, rel=1e-3)


def test_not_a_number_names_the_step_and_the_rows_and_keeps_the_checkpoint(tmp_path):
    rows = samples(8)
    poisoned = 299
    clean = Samples(sample for sample in rows if poisoned not in sample.tree[0].tokens)
    assert clean
    policy = make_policy(lora=False)
    train = Train(epochs=2, batch_size=1, accumulate=1, **{**STEADY, "save_every": 1})
    job = make_job(tmp_path / "run", train, policy=policy, rows=clean, row_tokens=8)
    bad = job.schedule.update(2)[0]
    piece = clean[bad].tree[0]
    clean[bad] = type(clean[bad])((piece._replace(tokens=(poisoned, *piece.tokens[1:])),), clean[bad].place)
    with torch.no_grad():
        policy.causal_lm.get_input_embeddings().weight[poisoned] = float("nan")
    with pytest.raises(WorkError) as caught:
        run_loop(job, None)
    sentence = str(caught.value)
    assert "of step 3 is not a finite number" in sentence
    assert str(clean[bad].place) in sentence
    assert "train.learning_rate" in sentence and str(job.run.checkpoint(2)) in sentence
    assert [int(folder.name[5:]) for folder in job.run.checkpoints_newest_first()] == [2, 1]


def test_the_method_says_what_an_update_weighs():
    rows = [sample.tree for sample in samples(3)]
    examples = [Example(tree) for tree in rows]
    assert METHODS["sft"](Sft()).plan(examples) == {"nll": sum(sum(tree[0].weights) for tree in rows)}

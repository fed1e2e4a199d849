"""Which families may be packed: found by trying, and each verdict checked against gradients."""

from __future__ import annotations

import json

import pytest
import torch

from tests.conftest import byte_tokenizer
from tests.models.families import ALONE, PACKED, tiny
from tests.recipes import write_recipe
from tests.train.jobs import Samples
from tests.train.test_gradients import assert_same, gradients, samples
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.config.method import Sft
from tunesmith.config.schema import Train
from tunesmith.data.schema import Place, Sample
from tunesmith.errors import InputError
from tunesmith.infer.open import open_speaker
from tunesmith.methods import METHODS
from tunesmith.models.policy import Policy
from tunesmith.models.probe import probe
from tunesmith.rundir import RunDir
from tunesmith.segments import Block, lay_row, plan_rows
from tunesmith.train.events import Events
from tunesmith.train.examples import Examples
from tunesmith.train.loop import Job, run_loop


def policy_of(model, segments: bool) -> Policy:
    return Policy(model.requires_grad_(True), segments=segments, compute=torch.float32, seed=0)


def rows_alone(trees):
    return [lay_row([Block.of(tree, number)]) for number, tree in enumerate(trees)]


def plain_loss(model, trees):
    """The mean over all tokens with loss, as the family itself computes it for one sequence at a time."""
    total, weight = 0.0, 0.0
    for ((tokens, weights, *_),) in trees:
        labels = [token if wanted else -100 for token, wanted in zip(tokens, weights, strict=True)]
        with torch.no_grad():
            mean = model(torch.tensor([tokens]), labels=torch.tensor([labels])).loss
        total, weight = total + float(mean) * sum(weights), weight + sum(weights)
    return total / weight


@pytest.mark.parametrize("name", PACKED)
def test_a_family_that_passes_gives_the_gradients_of_separate_sequences(name):
    family, changes = PACKED[name]
    model = tiny(family, **changes)
    found = probe(model, compute=torch.float32)
    assert found.segments, found.reason
    trees = samples(4)
    packed = gradients(policy_of(model, True), plan_rows(trees, 10_000), trees)
    alone = gradients(policy_of(model, False), rows_alone(trees), trees)
    assert_same(packed, alone, 1e-5)


@pytest.mark.parametrize("name", ALONE)
def test_a_family_that_fails_says_why_and_still_trains(name, tmp_path):
    family, changes, reason = ALONE[name]
    model = tiny(family, **changes)
    found = probe(model, compute=torch.float32)
    assert not found.segments
    assert reason in found.reason
    assert not model.training

    (tmp_path / "run").mkdir()
    train = Train(epochs=1, batch_size=4, accumulate=1, learning_rate=3e-3, max_steps=3)
    rows = Samples(Sample(tree, Place("rows", i + 1, i + 1)) for i, tree in enumerate(samples(4)))
    run = RunDir(tmp_path / "run")
    job = Job(
        train,
        run,
        policy_of(model, False),
        METHODS["sft"](Sft()),
        Examples(rows),
        Examples(Samples()),
        4096,
        {},
        Events([]),
        lambda: False,
    )
    laid = job.batches([job.samples.example(at) for at in range(4)])
    assert all(len(row.plan.segments) == 1 for batch in laid for row in batch.rows)
    run_loop(job, None)
    losses = [line["loss"] for line in run.read_metrics()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["mamba", "jamba", "bloom", "llama with dynamic rope"])
def test_one_sequence_a_row_has_the_loss_that_the_family_computes(name):
    family, changes, _ = ALONE[name]
    model = tiny(family, **changes)
    trees = samples(3)
    loss, _ = gradients(policy_of(model, False), rows_alone(trees), trees)
    assert loss == pytest.approx(plain_loss(model, trees), rel=1e-5)


def test_the_probe_holds_in_bfloat16():
    model = tiny("Llama").to(torch.bfloat16)
    assert probe(model, compute=torch.bfloat16).segments


def test_the_models_own_attention_is_put_back():
    model = tiny("Qwen2")
    own, logits = model.config._attn_implementation, model(torch.tensor([[3, 4, 5]])).logits
    probe(model, compute=torch.float32)
    assert model.config._attn_implementation == own
    assert torch.equal(model(torch.tensor([[3, 4, 5]])).logits, logits)


class WithoutWindow:
    """A configuration as the layers of a family read it that makes its windows by the mask alone."""

    sliding_window = None

    def __init__(self, config):
        self._config = config

    def __getattr__(self, name):
        return getattr(self._config, name)


def test_windows_that_the_layers_keep_to_themselves_are_missed():
    model = tiny("Mistral", sliding_window=4096)
    assert probe(model, compute=torch.float32).segments
    for layer in model.model.layers:
        layer.self_attn.config = WithoutWindow(model.config)
    found = probe(model, compute=torch.float32)
    assert not found.segments
    assert "windows" in found.reason


class WithWindow(WithoutWindow):
    """A configuration as a trunk reads it that makes masks with a window of which the layers know nothing."""

    sliding_window = 4096


def test_windows_that_only_the_masks_have_are_missed():
    model = tiny("Mistral", sliding_window=None)
    assert probe(model, compute=torch.float32).segments
    model.model.config = WithWindow(model.config)
    found = probe(model, compute=torch.float32)
    assert not found.segments
    assert "windows that its masks have" in found.reason


def test_a_family_that_sees_the_answer_is_refused():
    with pytest.raises(InputError, match="'bert' lets each token see those behind it"):
        probe(tiny("Bert"), compute=torch.float32)


@pytest.mark.parametrize(
    ("family", "changes"),
    [("FalconH1", {**ALONE["falcon-h1"][1], "lm_head_multiplier": 0.5}), ("HyperCLOVAX", {"logits_scaling": 0.5})],
    ids=["falcon-h1", "hyperclovax"],
)  # fmt: skip
def test_how_logits_are_scaled_is_read_off_the_configuration(family, changes):
    assert not probe(tiny(family, **changes), compute=torch.float32).own_logits


HEAD_OF_ITS_OWN = ("ModernBertDecoder", {"local_attention": 8, "attention_dropout": 0.0})


def test_a_head_that_is_more_than_linear_is_kept():
    model = tiny(HEAD_OF_ITS_OWN[0], **HEAD_OF_ITS_OWN[1])
    found = probe(model, compute=torch.float32)
    assert found.segments and found.own_logits
    trees = samples(3)
    policy = Policy(model.requires_grad_(True), segments=True, compute=torch.float32, seed=0, own_logits=True)
    loss, _ = gradients(policy, plan_rows(trees, 10_000), trees)
    assert loss == pytest.approx(plain_loss(model, trees), rel=1e-5)


def test_a_head_that_is_more_than_linear_goes_the_whole_way(tmp_path):
    tiny(HEAD_OF_ITS_OWN[0], **HEAD_OF_ITS_OWN[1]).save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    run = pipeline.train(
        load(str(write_recipe(tmp_path, tmp_path / "model", train={"epochs": 1, "threads": 1})))
    )
    assert "logits are the family's own" in run.log.read_text("utf-8")
    assert json.loads(run.environment.read_text("utf-8"))["choices"]["own_logits"] is True


def test_weights_that_are_no_numbers_are_refused():
    model = tiny("Llama")
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        probe(model, compute=torch.float32)


def test_a_state_space_model_goes_the_whole_way(tmp_path):
    family, changes, reason = ALONE["mamba"]
    tiny(family, **changes).save_pretrained(tmp_path / "mamba")
    byte_tokenizer().save_pretrained(tmp_path / "mamba")
    recipe = write_recipe(tmp_path, tmp_path / "mamba", train={"epochs": 1, "threads": 1})
    run = pipeline.train(load(str(recipe)))
    assert f"{reason} interface: one sequence a row" in run.log.read_text("utf-8")
    evidence = json.loads(run.before_after.read_text("utf-8"))
    opened = open_speaker(str(run.folder))
    replies = opened.speaker.answer(opened.prompts, opened.generation)
    assert [reply.text for reply in replies] == [sample["tuned"] for sample in evidence["samples"]]

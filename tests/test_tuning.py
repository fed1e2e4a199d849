"""Every tuning type through the whole flow: trained, saved, opened, asked; and what a recipe may not combine."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.recipes import write_recipe
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.errors import InputError
from tunesmith.infer.open import open_speaker
from tunesmith.stage import prepare

QUICK = {"epochs": 1, "learning_rate": 0.01, "threads": 1}
NONE = {"type": "none", "rank": 16, "alpha": 32, "dropout": 0.0}  # as the defaults are
TOKENS = ["<poem>", "</poem>"]


WITH_TOKENS = 'model.new_tokens=["<poem>", "</poem>"]'


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """The last bits of an answer depend on how many there are, and opening a model takes all cores."""
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)


def trained(folder: Path, model: Path, *overrides: str, **blocks):
    folder.mkdir(exist_ok=True)
    recipe = write_recipe(folder, model, **{"train": QUICK, **blocks})
    return pipeline.train(load(str(recipe), overrides))


def evidence(run) -> list[dict]:
    return json.loads(run.before_after.read_text("utf-8"))["samples"]


def answers(opened, prompts) -> list[str]:
    return [reply.text for reply in opened.speaker.answer(prompts, opened.generation)]


@pytest.mark.parametrize(
    "adapter",
    [
        {"rslora": True, "lr_ratio": 4.0},
        {"dora": True},
        {"init": "pissa"},
        {"init": "olora", "rslora": True},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"top_layers": 1},
        {"targets": r".*self_attn\.[qv]_proj"},
        {**NONE, "top_layers": 1},
        {**NONE, "unfreeze": {"every": 1}},
        {"unfreeze": {"every": 2, "layers": 1}},
    ],
    ids=lambda adapter: "-".join(key for key in adapter if key not in NONE or key == "type"),
)
def test_a_result_answers_as_it_did_after_training(tmp_path, tiny_model_folder, adapter):
    run = trained(tmp_path, tiny_model_folder, adapter=adapter)
    for tuned, name in ((True, "tuned"), (False, "base")):
        opened = open_speaker(str(run.folder), base=not tuned)
        assert answers(opened, opened.prompts) == [sample[name] for sample in evidence(run)]
    if "type" not in adapter:
        plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
        theirs = PeftModel.from_pretrained(plain, str(run.adapter)).eval()
        ids = torch.tensor([[5, 9, 7, 200, 13]])
        speaker = open_speaker(str(run.folder)).speaker
        with torch.no_grad(), speaker.voice():
            torch.testing.assert_close(speaker.model(ids).logits, theirs(ids).logits, atol=1e-5, rtol=1e-5)


# ---- new tokens


@pytest.mark.parametrize(
    "adapter", [{}, NONE, {"modules_to_save": ["embed_tokens", "lm_head"]}], ids=["lora", "full", "whole"]
)
def test_new_tokens_are_learned_saved_and_spoken(tmp_path, tiny_model_folder, adapter):
    run = trained(tmp_path, tiny_model_folder, WITH_TOKENS, adapter=adapter)
    result = run.result()
    tokenizer = AutoTokenizer.from_pretrained(result)
    ids = tokenizer.convert_tokens_to_ids(TOKENS)
    assert ids == [259, 260] and len(tokenizer) == 261
    for tuned, name in ((True, "tuned"), (False, "base")):
        opened = open_speaker(str(run.folder), base=not tuned)
        assert opened.speaker.renderer.tokenizer.convert_tokens_to_ids(TOKENS) == ids
        assert answers(opened, opened.prompts) == [sample[name] for sample in evidence(run)]
    bare = open_speaker(str(result))  # the result alone, without its run
    assert bare.speaker.renderer.tokenizer.convert_tokens_to_ids(TOKENS) == ids
    state = open_speaker(str(run.folder)).speaker.model.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in bare.speaker.model.state_dict().items())


def test_rows_with_new_tokens_are_prepared_with_them(tmp_path, tiny_model_folder, capsys):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": f"<poem>{n}</poem>"},
            ]
        }
        for n in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    plain = prepare(load(str(recipe), ["data.eval=null"]))
    with_tokens = prepare(load(str(recipe), ["data.eval=null", WITH_TOKENS]))
    ((before, *_),) = plain.data.train[0].tree
    ((after, *_),) = with_tokens.data.train[0].tree
    assert set(with_tokens.new_tokens.ids) <= set(after)
    assert len(after) == len(before) - len("<poem></poem>") + 2


def test_going_on_needs_the_same_new_tokens(tmp_path, tiny_model_folder):
    first = trained(tmp_path / "first", tiny_model_folder, WITH_TOKENS)
    going_on = {"start": str(first.folder)}
    with pytest.raises(
        InputError, match=r"with the new tokens <poem>, </poem>, and model\.new_tokens lists no new"
    ):
        trained(tmp_path / "other", tiny_model_folder, adapter=going_on)
    again = trained(tmp_path / "again", tiny_model_folder, WITH_TOKENS, adapter=going_on)
    opened = open_speaker(str(again.folder))
    assert answers(opened, opened.prompts) == [sample["tuned"] for sample in evidence(again)]


# ---- going on from an adapter


def test_settings_that_a_start_passes_over_are_named(tmp_path, tiny_model_folder, caplog):
    first = trained(tmp_path / "first", tiny_model_folder)
    with caplog.at_level(logging.WARNING, "tunesmith"):
        trained(
            tmp_path / "second",
            tiny_model_folder,
            adapter={"start": str(first.folder), "rank": 8, "dropout": 0.1, "targets": ["q_proj"]},
        )
    told = [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()]
    assert "adapter.rank: 8 is passed over: the adapter has 4" in told
    assert not any("dropout" in one for one in told)
    assert any(one.startswith("adapter.targets: q_proj is passed over") for one in told)


def test_a_start_that_was_trained_on_another_base_is_told(tmp_path, tiny_model_folder, caplog):
    """Of the same shapes, so that nothing else would show it."""
    from safetensors.torch import load_file, save_file

    first = trained(tmp_path / "first", tiny_model_folder)
    going_on = {"start": str(first.folder)}
    told = "trained on other weights than this recipe's model has"
    trained(tmp_path / "same", tiny_model_folder, adapter=going_on)
    assert told not in caplog.text
    other = Path(shutil.copytree(tiny_model_folder, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["lm_head.weight"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    trained(tmp_path / "second", other, adapter=going_on)
    assert told in caplog.text


def test_going_on_with_the_top_layers_leaves_the_lower_ones_as_they_were(tmp_path, tiny_model_folder):
    from safetensors.torch import load_file

    first = trained(tmp_path / "first", tiny_model_folder)
    second = trained(
        tmp_path / "second", tiny_model_folder, adapter={"start": str(first.folder), "top_layers": 1}
    )
    before, after = (load_file(run.adapter / "adapter_model.safetensors") for run in (first, second))
    for name, weight in before.items():
        assert torch.equal(weight, after[name]) is (".layers.0." in name), name


# ---- resumed


def without_its_end(run) -> None:
    """The run as if it had been killed before its last checkpoint."""
    shutil.rmtree(max((run.folder / "checkpoints").iterdir()))
    shutil.rmtree(run.result())
    run.report.unlink()
    environment = json.loads(run.environment.read_text("utf-8"))
    del environment["finished"]
    run.environment.write_text(json.dumps(environment), "utf-8")


def outcome(run) -> tuple[bytes, list]:
    (weights,) = run.result().glob("*.safetensors")
    timed = {"tokens_per_second", "peak_memory_bytes", "seconds"}
    lines = [{k: v for k, v in line.items() if k not in timed} for line in run.read_metrics()]
    return weights.read_bytes(), lines


@pytest.mark.parametrize(
    "adapter", [{**NONE, "unfreeze": {"every": 3}}, {"unfreeze": {"every": 3}}, {"init": "pissa"}, {"dora": True}],
    ids=["full, unfreezing", "lora, unfreezing", "pissa", "dora"],
)  # fmt: skip
def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path, tiny_model_folder, adapter):
    run = trained(tmp_path, tiny_model_folder, adapter=adapter, train={**QUICK, "epochs": 2, "save_every": 2})
    whole = outcome(run)
    assert ("trained_layers" in whole[1][-2]) is ("unfreeze" in adapter)
    without_its_end(run)
    checkpoint = max((run.folder / "checkpoints").iterdir()).name
    resumed = pipeline.resume(run.folder)
    assert f"from step {int(checkpoint.rpartition('-')[2])}" in run.log.read_text("utf-8")
    assert outcome(resumed) == whole


# ---- what a recipe may not say


@pytest.mark.parametrize(
    ("adapter", "override", "told"),
    [
        ({**NONE, "rank": 8}, "train.seed=1", "rank goes with type: lora"),
        ({**NONE, "lr_ratio": 4.0}, "train.seed=1", "lr_ratio goes with type: lora"),
        ({**NONE, "modules_to_save": ["lm_head"]}, "train.seed=1", "modules_to_save goes with type: lora"),
        ({"init": "pissa", "dora": True}, "train.seed=1", "init: pissa does not go with dora"),
        ({"init": "olora", "start": "."}, "train.seed=1", "start goes on from one"),
        ({"init": "pissa"}, "model.quantize=nf4", r"needs model\.quantize: none"),
        ({"dora": True}, "model.quantize=keep", r"not model\.quantize: keep"),
        ({**NONE, "top_layers": 1}, "model.new_tokens=[a]", r"model\.new_tokens need embeddings that learn"),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path, tiny_model_folder, adapter, override, told):
    with pytest.raises(InputError, match=told):
        load(str(write_recipe(tmp_path, tiny_model_folder, adapter=adapter)), [override])


@pytest.mark.parametrize(
    ("adapter", "told"),
    [
        ({"targets": ["nope"]}, "names 'nope', which this model does not have"),
        ({**NONE, "top_layers": 3}, "adapter.top_layers is 3, and this model has 2 layers"),
        ({"modules_to_save": ["nope"]}, "adapter.modules_to_save names 'nope'"),
        ({"init": "pissa", "rank": 4096}, "adapter.rank is 4096, and .* too small"),
        ({"init": "olora", "targets": ["embed_tokens"]}, "is for linear layers, and adapter.targets names"),
    ],
)
def test_what_the_model_lacks_is_told_before_its_weights_are_loaded(
    tmp_path, tiny_model_folder, adapter, told
):
    recipe = write_recipe(tmp_path, tiny_model_folder, adapter=adapter)
    bare = tmp_path / "without-weights"
    bare.mkdir()
    for file in tiny_model_folder.iterdir():
        if file.suffix != ".safetensors":
            (bare / file.name).symlink_to(file)
    with pytest.raises(InputError, match=told):
        prepare(load(str(recipe), [f"model.source={bare}"]), weights=False)
    with pytest.raises(InputError, match=told):
        pipeline.train(load(str(recipe)))
    assert not (tmp_path / "run").exists()

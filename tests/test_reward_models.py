"""Reward models, through the pipeline: transformers and PEFT load what was trained and give the same scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import CHATML, byte_tokenizer, tiny_llama
from tests.recipes import deterministic_columns, write_recipe, write_rows
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.errors import InputError, Interrupted
from tunesmith.infer.open import open_speaker
from tunesmith.models.load import load_model
from tunesmith.models.probe import probe
from tunesmith.rundir import RunDir

PAIRS = [
    {"prompt": f"What is {i}?", "chosen": f"It is {i}, sir.", "rejected": f"Don't know {i % 3}"}
    for i in range(10)
]
HELD_OUT = [
    {"prompt": f"What is {i}?", "chosen": f"It is {i}, sir.", "rejected": f"No idea {i}"} for i in (21, 34, 5)
]


def recipe_of(folder: Path, model: Path | str, **blocks) -> Path:
    folder.mkdir(exist_ok=True)
    recipe = write_recipe(
        folder,
        model,
        **{
            "method": {"name": "reward"},
            "data": {"eval": "held_out.jsonl"},
            "train": {"epochs": 3, "learning_rate": 5e-3, "eval_every": "epoch", "threads": 1},
            "evaluate": {"prompts": []},
            **blocks,
        },
    )
    write_rows(folder / "rows.jsonl", PAIRS)
    write_rows(folder / "held_out.jsonl", HELD_OUT)
    return recipe


def train(folder: Path, model: Path | str, *overrides: str, **blocks) -> RunDir:
    return pipeline.train(load(str(recipe_of(folder, model, **blocks)), overrides))


def last_evaluation(run: RunDir) -> dict:
    return [line for line in run.read_metrics() if "eval_loss" in line][-1]


def loaded_by_others(run: RunDir, **settings):
    """The result as somebody loads it who has transformers and PEFT, and their tokenizer."""
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = run.result()
    assert result is not None
    if (result / "adapter_config.json").is_file():
        model = AutoPeftModelForSequenceClassification.from_pretrained(result, num_labels=1, **settings)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(result)
    return model.eval(), AutoTokenizer.from_pretrained(result)


def their_scores(model, tokenizer, side: str, pad_to: str | None = None) -> torch.Tensor:
    chats = [
        [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[side]}]
        for row in HELD_OUT
    ]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
    with torch.no_grad():
        if pad_to is None:
            each = [tokenizer(t, return_tensors="pt", add_special_tokens=False) for t in texts]
            return torch.cat([model(**one).logits[:, 0] for one in each])
        tokenizer.padding_side = pad_to
        return model(**tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)).logits[
            :, 0
        ]


def assert_others_give_the_same_scores(run: RunDir, **settings) -> None:
    model, tokenizer = loaded_by_others(run, **settings)
    line = last_evaluation(run)
    for side in ("chosen", "rejected"):
        alone = their_scores(model, tokenizer, side)
        assert alone.mean().item() == pytest.approx(line[f"eval_reward_{side}"], rel=1e-4, abs=1e-5)
        if model.config.pad_token_id == tokenizer.pad_token_id:
            for pad_to in ("right", "left"):
                together = their_scores(model, tokenizer, side, pad_to)
                assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("how", ["lora", "full"])
def test_better_answers_score_higher_and_transformers_gives_the_same_scores(tmp_path, tiny_model_folder, how):
    overrides = ["adapter={type: none}", "train.learning_rate=1e-3"] if how == "full" else []
    run = train(tmp_path / "one", tiny_model_folder, *overrides)
    lines = run.read_metrics()
    trained = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "eval_loss" in line]
    assert trained[0]["loss"] == pytest.approx(0.6931, abs=0.2)  # a fresh head tells nothing
    assert held_out[-1]["eval_loss"] < held_out[0]["eval_loss"] < 0.8
    assert held_out[-1]["eval_reward_accuracy"] == 1.0
    assert "tunesmith chat" not in run.report.read_text("utf-8")
    # The base names no padding token: the adapter's users do, as the tokenizer beside it has it.
    pad = byte_tokenizer().pad_token_id
    assert_others_give_the_same_scores(run, **({"pad_token_id": pad} if how == "lora" else {}))
    if how == "lora":
        assert_others_give_the_same_scores(run)
        config = json.loads((run.adapter / "adapter_config.json").read_text("utf-8"))
        assert (config["task_type"], config["modules_to_save"]) == ("SEQ_CLS", ["score"])
    else:
        config = json.loads((run.model / "config.json").read_text("utf-8"))
        assert config["architectures"] == ["LlamaForSequenceClassification"] and config["pad_token_id"] == pad


@pytest.mark.parametrize("how", ["lora", "full"])
def test_where_padding_ends_answers_the_score_is_read_where_transformers_reads_it(tmp_path, caplog, how):
    """With the end token as padding, and nothing behind it, transformers reads the token in front."""
    folder = tmp_path / "model"
    tiny_llama(pad_token_id=2).save_pretrained(folder)
    tokenizer = byte_tokenizer(CHATML.replace("<|im_end|>\n", "<|im_end|>"))
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.save_pretrained(folder)
    run = train(tmp_path / "one", folder, adapter={"type": "none"} if how == "full" else {})
    assert "<|im_end|> pads and also ends answers" in caplog.text
    assert_others_give_the_same_scores(run)


@pytest.mark.parametrize("named", [None, 299], ids=["none", "one that the tokenizer lacks"])
def test_padding_is_never_chosen_to_be_what_ends_a_chat(tmp_path, named):
    folder = tmp_path / "model"
    tiny_llama(pad_token_id=named).save_pretrained(folder)
    tokenizer = byte_tokenizer(CHATML.replace("<|im_end|>\n", "<|im_end|>"))
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.save_pretrained(folder)
    run = train(tmp_path / "one", folder)
    _, theirs = loaded_by_others(run)
    assert theirs.pad_token != "<|im_end|>"
    assert_others_give_the_same_scores(run, pad_token_id=theirs.pad_token_id)
    assert_others_give_the_same_scores(run)


def test_a_family_that_takes_one_sequence_a_row_gives_its_own_scores(tmp_path):
    folder = tmp_path / "model"
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    tiny_llama(rope_parameters=rope).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    run = train(tmp_path / "one", folder)
    assert json.loads(run.environment.read_text("utf-8"))["choices"]["packed_rows"] is False
    assert_others_give_the_same_scores(run)


@pytest.mark.parametrize("how", ["lora", "full"])
def test_interrupted_it_ends_with_the_same_bytes(tmp_path, tiny_model_folder, how):
    results = []
    for name in ("whole", "stopped"):
        adapter = {"type": "none"} if how == "full" else {}
        recipe = load(str(recipe_of(tmp_path / name, tiny_model_folder, adapter=adapter)))
        if name == "whole":
            run = pipeline.train(recipe)
        else:
            asked = iter([False, False, True])
            with pytest.raises(Interrupted):
                pipeline.train(recipe, stop_wanted=lambda asked=asked: next(asked))
            run = pipeline.resume(RunDir(recipe.output_folder).folder)
        result = run.result()
        assert result is not None
        weights = {path.name: path.read_bytes() for path in result.glob("*.safetensors")}
        results.append((weights, deterministic_columns(run.metrics)))
    assert results[0][0] and results[0] == results[1]


def test_a_fresh_head_is_drawn_from_the_seed_and_one_that_is_there_is_taken(tmp_path, tiny_model_folder):
    def head(folder: Path, seed: int) -> torch.Tensor:
        model = load_model(folder, dtype=torch.bfloat16, device="cpu", scores=True, seed=seed)
        assert model.score.weight.dtype == torch.float32
        assert model.model.norm.weight.dtype == torch.bfloat16
        return model.score.weight

    first = head(tiny_model_folder, 0)
    assert first.std() > 0 and torch.equal(first, head(tiny_model_folder, 0))
    assert not torch.equal(first, head(tiny_model_folder, 1))
    run = train(tmp_path / "one", tiny_model_folder, adapter={"type": "none"})
    assert torch.equal(head(run.model, 0), head(run.model, 1))
    assert not torch.equal(head(run.model, 0), first)


def test_it_goes_on_from_a_reward_model(tmp_path, tiny_model_folder):
    """A tiny step from a trained reward model changes nothing; the adapter's and the whole model's head are kept."""
    still = {"epochs": 1, "learning_rate": 1e-9, "threads": 1}
    lora = train(tmp_path / "lora", tiny_model_folder)
    again = train(tmp_path / "again", tiny_model_folder, adapter={"start": str(lora.folder)}, train=still)
    full = train(tmp_path / "full", tiny_model_folder, adapter={"type": "none"})
    once_more = train(tmp_path / "more", full.model, train=still)
    for before, after in ((lora, again), (full, once_more)):
        assert last_evaluation(after)["eval_reward_margin"] == pytest.approx(
            last_evaluation(before)["eval_reward_margin"], rel=1e-4
        )
    assert_others_give_the_same_scores(again)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.precision=bf16"],
        ["model.new_tokens=[sir]"],
        ["adapter={type: none, top_layers: 1}"],
        ["adapter={type: none, top_layers: 1, unfreeze: {every: 2}}"],
        ["adapter.init=pissa"],
        ["train.gradient_checkpointing=true"],
    ],
    ids=str,
)
def test_the_head_learns_whatever_else_is_set(tmp_path, tiny_model_folder, overrides):
    from safetensors.torch import load_file

    run = train(tmp_path / "one", tiny_model_folder, *overrides)
    (file,) = run.result().glob("*.safetensors")
    (head,) = (weight for name, weight in load_file(file).items() if name.endswith("score.weight"))
    fresh = load_model(tiny_model_folder, dtype=torch.float32, device="cpu", scores=True, seed=0).score.weight
    assert head.dtype == torch.float32 and (head - fresh).abs().max() > 1e-3


def test_weights_in_four_bits_learn_to_score(tmp_path):
    pytest.importorskip("bitsandbytes")
    folder = tmp_path / "model"
    tiny_llama(hidden_size=64, intermediate_size=128).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    run = train(tmp_path / "one", folder, "model.quantize=nf4")
    assert last_evaluation(run)["eval_reward_accuracy"] == 1.0


def test_the_probe_compares_scores_and_holds_in_bfloat16(tiny_model_folder):
    for dtype in (torch.float32, torch.bfloat16):
        found = probe(load_model(tiny_model_folder, dtype=dtype, device="cpu", scores=True), compute=dtype)
        assert found.segments, found.reason


def test_a_family_that_reads_its_score_elsewhere_is_refused(tiny_model_folder):
    model = load_model(tiny_model_folder, dtype=torch.float32, device="cpu", scores=True)
    forward = model.forward

    def of_the_first_token(ids, **rest):
        return forward(ids[:, :1], **rest)

    model.forward = of_the_first_token
    with pytest.raises(InputError, match="does not read its score off the last token"):
        probe(model, compute=torch.float32)


# ---- what does not go


def test_who_asks_it_to_write_is_told(tmp_path, tiny_model_folder):
    lora = train(tmp_path / "lora", tiny_model_folder)
    full = train(tmp_path / "full", tiny_model_folder, adapter={"type": "none"})
    for name in (lora.folder, lora.adapter, full.folder):
        with pytest.raises(InputError, match=r"scores answers and does not write.*--base"):
            open_speaker(str(name))
    with pytest.raises(InputError, match="it scores texts and does not write"):
        open_speaker(str(full.model))
    assert open_speaker(str(lora.folder), base=True).speaker is not None


@pytest.mark.parametrize("block", [{"prompts": ["Who?"]}, {"metrics": ["exact_match"], "prompts": []}])
def test_a_recipe_that_asks_a_reward_model_to_write_is_refused(tmp_path, tiny_model_folder, block):
    with pytest.raises(InputError, match="a reward model scores and does not write"):
        load(str(recipe_of(tmp_path, tiny_model_folder, evaluate=block)))


def test_families_that_cannot_score_are_named(tmp_path):
    from tests.models.families import tiny

    folder = tmp_path / "model"
    tiny("Granite").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    with pytest.raises(InputError, match="no reward model can be made of the family 'granite'"):
        train(tmp_path / "one", folder)
    assert not (tmp_path / "one" / "run").exists()


def test_a_classifier_of_several_labels_is_no_reward_model(tmp_path):
    from transformers import LlamaForSequenceClassification

    folder = tmp_path / "model"
    LlamaForSequenceClassification(tiny_llama(num_labels=3).config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    with pytest.raises(InputError, match="is a classifier of 3 labels, and a reward model gives one score"):
        train(tmp_path / "one", folder)
    with pytest.raises(InputError, match="it scores texts and does not write"):
        train(tmp_path / "two", folder, method={"name": "dpo"})


@pytest.mark.parametrize(("first", "second"), [("dpo", "reward"), ("reward", "dpo")])
def test_an_adapter_of_the_other_kind_is_no_start(tmp_path, tiny_model_folder, first, second):
    run = train(tmp_path / "one", tiny_model_folder, method={"name": first})
    with pytest.raises(InputError, match=rf"is the adapter of .*, and the method {second} trains"):
        train(
            tmp_path / "two", tiny_model_folder, method={"name": second}, adapter={"start": str(run.folder)}
        )


def test_from_the_command_line_it_is_checked_planned_trained_and_not_asked(
    command, tmp_path, tiny_model_folder
):
    recipe = recipe_of(tmp_path / "one", tiny_model_folder)
    for verb in ("check", "plan", "train"):
        code, output = command.run(verb, str(recipe), cwd=tmp_path)
        assert code == 0, output
    assert "ask it" not in output
    code, output = command.run("ask", str(tmp_path / "one" / "run"), "Who?", cwd=tmp_path)
    assert code == 2 and "does not write" in output.replace("\n", " ")
    rows = tmp_path / "one" / "rows.jsonl"
    write_rows(rows, [{"prompt": "a", "completion": "b"}])
    code, output = command.run("check", str(recipe), cwd=tmp_path)
    assert code == 2 and "the method reward does not learn from rows" in output.replace("\n", " ")

"""Whatever a user names becomes a speaker that is asked exactly as the model was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.conftest import byte_tokenizer, tiny_llama
from tests.recipes import write_recipe
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.config.method import Generation
from tunesmith.data.schema import Message
from tunesmith.errors import InputError
from tunesmith.infer.open import Opened, open_speaker
from tunesmith.models.load import load_model
from tunesmith.stage import prepare

IDS = torch.tensor([[5, 9, 7, 200, 13]])


def logits(model) -> torch.Tensor:
    torch.set_num_threads(1)  # opening a speaker takes all cores, and the last bits depend on their number
    with torch.no_grad():
        return model(IDS).logits


def shown_to_the_model(opened: Opened, question: str) -> list[int]:
    """The tokens that the model gets to see, looked at where they enter it."""
    seen: list[list[int]] = []
    embeddings = opened.speaker.model.get_input_embeddings()
    handle = embeddings.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].tolist()))
    try:
        opened.speaker.answer([question], Generation(max_new_tokens=1))
    finally:
        handle.remove()
    return seen[0]


def trained_contexts(run: Path) -> dict[str, list[int]]:
    """What stood in front of each answer in training, by question."""
    data = prepare(load(str(run / "recipe.yaml"))).data
    contexts = {}
    for sample in data.train:
        ((tokens, weights, *_),) = sample.tree
        contexts[sample.prompt] = list(tokens[: next(i for i, weight in enumerate(weights) if weight)])
    return contexts


def bare_peft_adapter(folder: Path, base: Path) -> torch.Tensor:
    """An adapter that PEFT alone wrote, and the logits of the model it sat on."""
    model = get_peft_model(
        load_model(base, dtype=torch.float32, device="cpu"),
        LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(folder)
    return logits(model.eval())


def test_a_run_is_asked_with_the_tokens_of_its_training(trained_run):
    opened = open_speaker(str(trained_run))
    contexts = trained_contexts(trained_run)
    assert len(contexts) == 8
    for question, context in contexts.items():
        assert shown_to_the_model(opened, question) == context
    text = byte_tokenizer().decode(context)
    assert text.startswith("[SYSTEM] Be brief.<|im_end|>") and text.endswith("[ASSISTANT] ")


@pytest.mark.parametrize("base", [False, True], ids=["tuned", "base"])
def test_every_way_to_name_a_result_asks_with_the_tokens_of_its_training(trained_run, tmp_path, base):
    """The adapter in its run, and carried away from it; and the base below both."""
    moved = shutil.copytree(trained_run / "adapter", tmp_path / "moved")
    question, context = next(iter(trained_contexts(trained_run).items()))
    for name in (trained_run, trained_run / "adapter", moved):
        assert shown_to_the_model(open_speaker(str(name), base=base), question) == context


def test_the_fingerprint_of_the_prompt_is_the_one_of_training(trained_run):
    environment = json.loads((trained_run / "environment.json").read_text("utf-8"))
    renderer = open_speaker(str(trained_run)).speaker.renderer
    assert renderer.fingerprint() == environment["fingerprints"]["prompt"]


def test_a_run_brings_its_prompts_and_its_way_of_drawing(trained_run):
    opened = open_speaker(str(trained_run))
    assert opened.prompts == ("What is 3?", "Who?")
    assert opened.generation == Generation(max_new_tokens=8, temperature=0.7)
    assert opened.run is not None and opened.run.folder == trained_run


def test_base_is_the_untouched_base(trained_run, tiny_model_folder):
    untouched = logits(load_model(tiny_model_folder, dtype=torch.float32, device="cpu"))
    tuned = logits(open_speaker(str(trained_run)).speaker.model)
    assert not torch.allclose(tuned, untouched)
    for name in (trained_run, trained_run / "adapter"):
        assert torch.equal(logits(open_speaker(str(name), base=True).speaker.model), untouched)
        assert torch.equal(logits(open_speaker(str(name)).speaker.model), tuned)


def test_the_answers_of_before_after_can_be_had_again(trained_run):
    evidence = json.loads((trained_run / "before_after.json").read_text("utf-8"))
    opened = open_speaker(str(trained_run))
    replies = opened.speaker.answer(opened.prompts, opened.generation)
    assert [reply.text for reply in replies] == [sample["tuned"] for sample in evidence["samples"]]
    base = open_speaker(str(trained_run), base=True)
    replies = base.speaker.answer(opened.prompts, opened.generation)
    assert [reply.text for reply in replies] == [sample["base"] for sample in evidence["samples"]]


def test_a_bare_adapter_of_peft(tmp_path, tiny_model_folder):
    expected = bare_peft_adapter(tmp_path / "adapter", tiny_model_folder)
    opened = open_speaker(str(tmp_path / "adapter"))
    assert torch.equal(logits(opened.speaker.model), expected)
    plain = open_speaker(str(tiny_model_folder))
    assert shown_to_the_model(opened, "Hi") == shown_to_the_model(plain, "Hi")
    assert opened.generation == Generation() and opened.prompts == () and opened.run is None


def test_training_goes_on_from_a_bare_adapter_of_peft(tmp_path, tiny_model_folder):
    expected = bare_peft_adapter(tmp_path / "adapter", tiny_model_folder)
    recipe = write_recipe(
        tmp_path, tiny_model_folder, adapter={"start": "adapter"},
        train={"epochs": 1, "learning_rate": 1e-9, "threads": 1},
    )  # fmt: skip
    run = pipeline.train(load(str(recipe)))
    torch.testing.assert_close(
        logits(open_speaker(str(run.folder)).speaker.model), expected, atol=1e-4, rtol=1e-4
    )


def test_training_goes_on_from_a_run(trained_run, tmp_path, tiny_model_folder):
    recipe = write_recipe(
        tmp_path, tiny_model_folder, adapter={"start": str(trained_run)},
        train={"epochs": 1, "learning_rate": 1e-9, "threads": 1},
    )  # fmt: skip
    run = pipeline.train(load(str(recipe)))
    before, after = (logits(open_speaker(str(name)).speaker.model) for name in (trained_run, run.folder))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_the_embedded_model():
    opened = open_speaker("builtin:nano")
    (reply,) = opened.speaker.answer(["写一首关于月亮的诗"], Generation(max_new_tokens=40))
    assert reply.text.strip()


@pytest.fixture(scope="module")
def fully_tuned(tmp_path_factory, tiny_model_folder) -> Path:
    """A run of full tuning whose result lies elsewhere."""
    folder = tmp_path_factory.mktemp("full")
    recipe = write_recipe(
        folder, tiny_model_folder, adapter={"type": "none"}, data={"system": "Be kind."}, run={"result": "shelf/mine"},
        train={"epochs": 1, "learning_rate": 0.01, "threads": 1},
    )  # fmt: skip
    text = (
        recipe.read_text("utf-8")
        .replace("  rank: 4\n", "")
        .replace("  alpha: 8\n", "")
        .replace("  dropout: 0.1\n", "")
    )
    recipe.write_text(text, encoding="utf-8")
    return pipeline.train(load(str(recipe))).folder


def test_a_result_elsewhere_is_found_from_the_run_and_serves_alone(fully_tuned, tiny_model_folder):
    shelf = fully_tuned.parent / "shelf/mine"
    assert (shelf / "model.safetensors").is_file() and not (fully_tuned / "model").exists()
    through_run, alone = open_speaker(str(fully_tuned)), open_speaker(str(shelf))
    assert torch.equal(logits(through_run.speaker.model), logits(alone.speaker.model))
    question, context = next(iter(trained_contexts(fully_tuned).items()))
    assert shown_to_the_model(through_run, question) == shown_to_the_model(alone, question) == context
    untouched = logits(load_model(tiny_model_folder, dtype=torch.float32, device="cpu"))
    for name in (fully_tuned, shelf):
        assert torch.equal(logits(open_speaker(str(name), base=True).speaker.model), untouched)


def unfinished(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder)
    shutil.rmtree(folder / "adapter")
    return folder


def test_a_run_without_a_result_names_what_is_missing_and_how_to_get_it(trained_run, tmp_path):
    run = unfinished(trained_run, tmp_path / "half")
    with pytest.raises(InputError) as caught:
        open_speaker(str(run))
    assert f"has no result yet: there is no {run / 'adapter'}" in str(caught.value)
    assert f"tunesmith resume {run}" in str(caught.value)
    question, context = next(iter(trained_contexts(run).items()))
    assert shown_to_the_model(open_speaker(str(run), base=True), question) == context


def test_a_template_file_that_is_gone_does_not_keep_a_result_from_speaking(trained_run, tmp_path):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    question, context = next(iter(trained_contexts(trained_run).items()))
    recipe = (run / "recipe.yaml").read_text("utf-8")
    (run / "recipe.yaml").write_text(recipe.replace("shouting.jinja", "gone.jinja"), "utf-8")
    assert shown_to_the_model(open_speaker(str(run)), question) == context


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_run_of_a_gpu_speaks_on_a_machine_without_one(trained_run, tmp_path):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    environment["choices"] |= {"device": "cuda", "precision": "fp16"}
    (run / "environment.json").write_text(json.dumps(environment), "utf-8")
    recipe = (run / "recipe.yaml").read_text("utf-8")
    (run / "recipe.yaml").write_text(recipe.replace("device: cpu", "device: cuda"), "utf-8")
    opened = open_speaker(str(run))
    assert (opened.speaker.model.device.type, opened.speaker.model.dtype) == ("cpu", torch.float32)
    with pytest.raises(InputError, match="the device cuda is asked for"):
        open_speaker(str(run), device="cuda")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "there is no folder nowhere"),
        ("builtin:giant", "expected one of builtin:nano"),
        ("owner/name", "cannot be had"),
    ],
)
def test_a_name_of_nothing_is_told(name, told):
    with pytest.raises(InputError, match=told):
        open_speaker(name)


def test_a_model_without_a_chat_template_says_what_to_do(tmp_path):
    tiny_llama().save_pretrained(tmp_path)
    byte_tokenizer(None).save_pretrained(tmp_path)
    opened = open_speaker(str(tmp_path))
    with pytest.raises(InputError, match="brings no chat template"):
        opened.speaker.reply([[Message("user", "Hi", 0.0)]], Generation())

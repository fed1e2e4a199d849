"""The tools that build `builtin:nano-vl`, and what lies in the package."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, Qwen2VLForConditionalGeneration

from tunesmith.config.load import load
from tunesmith.models.source import builtin_names, licence, resolve

ROOT = Path(__file__).resolve().parents[2]
# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(ROOT / "tools"))

import build_captions  # noqa: E402
import build_nano_vl  # noqa: E402
import nano_vl_drawings  # noqa: E402

FOLDER = resolve("builtin:nano-vl")
TRAIN, TEST = build_captions.board_scenes()


@pytest.fixture(scope="module")
def model() -> Qwen2VLForConditionalGeneration:
    return Qwen2VLForConditionalGeneration.from_pretrained(FOLDER, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def processor():
    return AutoImageProcessor.from_pretrained(FOLDER)


# ---- the drawings


def test_same_seed_gives_the_same_drawings_and_another_seed_others():
    def drawn(seed):
        found = nano_vl_drawings.drawings(6, seed)
        return [(drawing.picture.tobytes(), drawing.question, drawing.answer) for drawing in found]

    assert drawn(3) == drawn(3) != drawn(4)


def test_the_squares_are_those_in_which_the_colours_stand():
    boards = [drawing for drawing in nano_vl_drawings.drawings(60, seed=6) if drawing.squares]
    assert len(boards) > 30
    for drawing in boards:
        pixels = np.asarray(drawing.picture, dtype=np.int16).reshape(3, 28, 3, 28, 3)
        for colour in {colour for _, colour in drawing.squares.values()}:
            near = np.abs(pixels - np.array(build_captions.COLOURS[colour][1])).max(axis=-1) < 12
            shown = {int(at) for at in np.flatnonzero(near.sum(axis=(1, 3)) > 20)}
            told = {square for square, thing in drawing.squares.items() if thing[1] == colour}
            around = {1, 4} <= set(drawing.squares)  # the outer thing of two reaches into all nine
            assert told <= shown if around else told == shown, (drawing.answer, colour)


def test_every_combination_is_practised_and_no_drawing_is_one_of_the_samples():
    rng = random.Random(0)
    practised = {nano_vl_drawings.practice_scene(rng) for _ in range(20000)}
    combinations = {combination for scene in practised for combination in scene.combinations()}
    assert {combination for scene in TEST for combination in scene.combinations()} <= combinations
    folder = Path(build_captions.__file__).parents[1] / "src/tunesmith/samples/captions/drawings"
    samples = {Image.open(file).convert("RGB").tobytes() for file in folder.glob("*.png")}
    drawn = {drawing.picture.tobytes() for drawing in nano_vl_drawings.drawings(300, seed=0)}
    assert len(samples) > 300 and not samples & drawn


@pytest.mark.parametrize("form", ["list", "index", "report"])
def test_an_answer_says_all_that_is_to_be_seen(form):
    rng = random.Random(1)
    practised = {nano_vl_drawings.practice_scene(rng) for _ in range(2000)}
    assert len({nano_vl_drawings.answers(scene)[form] for scene in practised}) == len(practised) > 500


def test_no_answer_and_no_question_is_that_of_the_recipe():
    captions = {build_captions.caption(scene) for scene in [*TRAIN, *TEST]}
    for scene in [*TRAIN, *TEST]:
        assert set(nano_vl_drawings.answers(scene)) == set(nano_vl_drawings.QUESTIONS)
        for answer in nano_vl_drawings.answers(scene).values():
            assert not [caption for caption in captions if caption in answer]
    recipe = load("captions-nano")
    for source in (*recipe.data.train, *recipe.data.eval):
        asked = source.instruction.removeprefix("<image>")
        assert not [pair for pair in nano_vl_drawings.QUESTIONS.values() if asked in pair]


# ---- the build


def test_one_step_learns_from_the_answers_alone(tokenizer, processor):
    """Our loss over the rows of the answers is transformers' over labels that leave out the prompts."""
    fresh = build_nano_vl.make_model(tokenizer, seed=0)
    batch = list(nano_vl_drawings.drawings(3, seed=5))
    prompts = [build_nano_vl.prompt_of(tokenizer, drawing.question) for drawing in batch]
    texts = [f"{prompt}{drawing.answer}<|im_end|>" for prompt, drawing in zip(prompts, batch, strict=True)]
    inputs = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    for row, prompt in zip(labels, prompts, strict=True):
        row[: len(tokenizer.encode(prompt))] = -100
    pictures = build_nano_vl.seen(fresh, processor, batch, inputs["input_ids"])
    expected = fresh(**inputs, **pictures, labels=labels).loss
    torch.testing.assert_close(
        build_nano_vl.answer_loss(fresh, tokenizer, processor, batch), expected, rtol=1e-5, atol=1e-5
    )


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tokenizer):
    first, again, other = (
        build_nano_vl.make_model(tokenizer, seed).model.visual.patch_embed.proj.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


# ---- the package


def test_the_package_holds_what_the_tool_makes(model, tokenizer, processor):
    assert "builtin:nano-vl" in builtin_names() and licence(FOLDER) == "apache-2.0"
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000
    made = build_nano_vl.make_tokenizer()
    assert made.get_vocab() == tokenizer.get_vocab() and made.chat_template == tokenizer.chat_template
    assert build_nano_vl.make_processor().to_dict() == processor.to_dict()
    shapes = {name: weight.shape for name, weight in build_nano_vl.make_model(made, 0).named_parameters()}
    assert shapes == {name: weight.shape for name, weight in model.named_parameters()}


def test_text_is_cut_as_nano_cuts_it(tokenizer):
    nano = AutoTokenizer.from_pretrained(resolve("builtin:nano"))
    for text in ("a green heart inside a yellow square", "左上角有一个绿色的正方形", "<|im_start|>👋\n"):
        assert tokenizer.encode(text) == nano.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    for token in build_nano_vl.VISION_TOKENS:
        assert len(tokenizer.encode(token)) == 1
    assert len(tokenizer) == len(nano) + len(build_nano_vl.VISION_TOKENS)


def test_nano_vl_answers_its_own_questions_and_writes_no_captions(model, tokenizer, processor):
    """Unseen drawings of its own kind, and the sample's test drawings under the recipe's question."""
    practised = list(nano_vl_drawings.drawings(24, seed=987))
    assert build_nano_vl.exact(model, tokenizer, processor, practised) > 0.8
    asked = [
        nano_vl_drawings.Drawing(
            build_captions.drawing(scene, number), "Describe this drawing.", build_captions.caption(scene), {}
        )
        for number, scene in enumerate(TEST[:24], start=len(TRAIN) + 1)
    ]
    assert build_nano_vl.exact(model, tokenizer, processor, asked) == 0

"""The sample pictures: what is on them, what the files beside them say, and that no test combination was trained on."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(ROOT / "tools"))

import build_captions as tool  # noqa: E402

FOLDER = tool.SAMPLES
TRAIN, TEST = tool.draw_scenes()
SCENES = tool.numbered((TRAIN, TEST))
BOARD_TRAIN, BOARD_TEST = tool.board_scenes()
BOARDS = tool.numbered((BOARD_TRAIN, BOARD_TEST))
SIDES = pytest.mark.parametrize(
    ("train", "test"), [(TRAIN, TEST), (BOARD_TRAIN, BOARD_TEST)], ids=["images", "drawings"]
)


def rows_of(name: str) -> list[dict]:
    text = (FOLDER / name).read_text("utf-8")
    return json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]


def test_there_are_enough_pictures_and_they_are_small():
    assert len(TRAIN) >= 120 and len(TEST) >= 40
    for folder, scenes in (("images", SCENES), (tool.DRAWINGS, BOARDS)):
        files = sorted((FOLDER / folder).iterdir())
        assert [f"{folder}/{file.name}" for file in files] == [
            tool.name_of(number, folder) for number, _ in scenes
        ]
        assert sum(file.stat().st_size for file in files) < 400_000


@pytest.mark.parametrize(
    ("folder", "draw", "scenes"),
    [("images", tool.picture, SCENES), (tool.DRAWINGS, tool.drawing, BOARDS)],
    ids=["images", "drawings"],
)
@pytest.mark.parametrize("part", range(6))
def test_the_pictures_are_what_the_tool_draws(part, folder, draw, scenes):
    for number, scene in scenes[part::6]:
        with Image.open(FOLDER / tool.name_of(number, folder)) as opened:
            assert opened.size == (tool.SIZE, tool.SIZE)
            kept = np.asarray(opened.convert("RGB"), dtype=np.int16)
        drawn = np.asarray(draw(scene, number).convert("RGB"), dtype=np.int16)
        assert np.abs(kept - drawn).mean() < 1.0, (
            number
        )  # rounding at the edges, by another version of Pillow


def test_the_files_are_what_the_tool_writes():
    for name, text in (tool.texts(SCENES) | tool.board_texts(BOARDS)).items():
        assert (FOLDER / name).read_bytes() == text.encode(), name


@SIDES
def test_no_test_combination_was_trained_on_but_all_its_parts_were(train, test):
    trained = {combination for scene in train for combination in scene.combinations()}
    tested = {combination for scene in test for combination in scene.combinations()}
    assert not trained & tested
    for axis in range(3):
        assert {combination[axis] for combination in tested} <= {combination[axis] for combination in trained}


@SIDES
def test_no_scene_and_no_caption_is_on_both_sides(train, test):
    assert len({*train, *test}) == len(train) + len(test)
    assert not {tool.caption(scene) for scene in train} & {tool.caption(scene) for scene in test}


def test_the_paper_says_the_language():
    for number, scene in SCENES:
        with Image.open(FOLDER / tool.name_of(number)) as opened:
            red, green, blue = opened.convert("RGB").getpixel((2, 50))
        assert (red + green + blue < 300) == (not tool.caption(scene).isascii()), number
    chinese = sum(scene.dark for _, scene in SCENES) / len(SCENES)
    assert 0.25 < chinese < 0.75


def test_the_colour_of_the_caption_is_on_the_picture():
    for number, scene in SCENES:
        with Image.open(FOLDER / tool.name_of(number)) as opened:
            pixels = np.asarray(opened.convert("RGB"), dtype=np.int16).reshape(-1, 3)
        near = np.abs(pixels - np.array(tool.COLOURS[scene.colour][1])).max(axis=1) < 12
        assert near.sum() > 60, (number, tool.caption(scene))


def test_the_csv_and_the_conversations_agree():
    with (FOLDER / "captions.csv").open(encoding="utf-8", newline="") as file:
        listed = [(row["image_path"], row["caption"]) for row in csv.DictReader(file)]
    rows = rows_of("train.json") + rows_of("test.json")
    assert (len(rows_of("train.json")), len(rows_of("test.json"))) == (len(TRAIN), len(TEST))
    for number, ((path, caption), row) in enumerate(zip(listed, rows, strict=True), start=1):
        marked = f"COCO Yes: <|vision_start|>{path}<|vision_end|>"
        turns = [{"from": "user", "value": marked}, {"from": "assistant", "value": caption}]
        assert row == {"id": f"identity_{number}", "conversations": turns}
        assert (FOLDER / path).is_file()
    captions = [caption for _, caption in listed]
    assert sum("\n" in caption for caption in captions) >= 10
    assert sum(caption != caption.strip() for caption in captions) >= 10


def test_the_captions_of_drawings_can_be_seen_on_them():
    """No stray blanks, and of two captions that fit a pair always the same one; the others are as collected."""
    rows = []
    for side in ("train", "test"):
        with (FOLDER / f"drawings_{side}.csv").open(encoding="utf-8", newline="") as file:
            rows += [(row["image_path"], row["caption"]) for row in csv.DictReader(file)]
    assert [path for path, _ in rows] == [tool.name_of(number, tool.DRAWINGS) for number, _ in BOARDS]
    for _, caption in rows:
        assert caption == " ".join(caption.split())
        assert not [word for word in ("right of", "below", "右边有") if word in caption]


def test_a_pair_is_told_from_one_end():
    for _, scene in SCENES:
        told = tool.told_from_one_end(scene)
        assert set(told.combinations()) == set(scene.combinations()) and told.relation not in (
            "to the right of",
            "below",
        )
        assert tool.told_from_one_end(told) == told


def test_foreign_paths_are_found_by_their_last_parts():
    rows = rows_of("foreign_paths.json")
    assert len(rows) == 6
    for row in rows:
        path = row["conversations"][0]["value"].split("<|vision_start|>")[1].split("<|vision_end|>")[0]
        assert Path(path).is_absolute() and (FOLDER / "images" / Path(path).name).is_file()


def test_placeholders_and_pictures_are_as_many():
    rows = rows_of("images_list.jsonl")
    assert len(rows) == 12 and any(len(row["images"]) == 2 for row in rows)
    for row in rows:
        asked = row["messages"][0]["content"]
        assert asked.count("<image>") == len(row["images"])
        assert all((FOLDER / path).is_file() for path in row["images"])


def test_openai_parts_carry_one_picture_each():
    rows = rows_of("openai_parts.jsonl")
    assert len(rows) == 12
    for row in rows:
        asked, answered = (message["content"] for message in row["messages"])
        assert [part["type"] for part in asked] == ["text", "image_url"]
        assert (FOLDER / asked[1]["image_url"]["url"]).is_file()
        assert answered[0]["text"]


def test_the_readme_states_the_baselines():
    readme = (FOLDER / "README.md").read_text("utf-8")
    for name, (exact, overlap) in tool.baselines(FOLDER).items():
        assert f"| {name} | {exact:.1%} | {overlap:.1%} |" in readme

"""Asking about pictures: in a question, in a chat, in a file of questions, and of a result that was moved."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from PIL import Image as Pillow

from tests import standins
from tests.infer.test_chat import speaker as text_speaker
from tunesmith import pipeline
from tunesmith.cli.main import main
from tunesmith.config.load import load
from tunesmith.config.method import Generation
from tunesmith.config.schema import PicturePrompt
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Message
from tunesmith.errors import InputError, Interrupted
from tunesmith.infer.batch import answer_file, read_questions
from tunesmith.infer.chat import Chat
from tunesmith.infer.open import open_speaker
from tunesmith.infer.pictures import asked, in_words, picture, question
from tunesmith.infer.speaker import Speaker
from tunesmith.models.vision import picture_tokens

FEW = Generation(max_new_tokens=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return standins.build("qwen2-vl", tmp_path_factory.mktemp("models") / "qwen2-vl")


@pytest.fixture
def seeing(model):
    tokenizer = standins.tokenizer_of("qwen2-vl")
    eyes = picture_tokens(model, tokenizer, (56, 56))
    return Speaker(standins.model_of("qwen2-vl"), Renderer(tokenizer, images=eyes), "seeing", eyes=eyes)


@pytest.fixture
def files(tmp_path):
    """Three drawings, all unlike each other, beside each other."""
    for at, name in enumerate(("a", "b", "c")):
        drawn = Pillow.new("RGB", (60 + 20 * at, 60), (250, 120 * at, 10))
        drawn.paste((10, 10, 250), (10, 10, 30, 40 - 10 * at))
        drawn.save(tmp_path / f"{name}.png")
    return tmp_path


def test_pictures_stand_where_the_question_says_or_in_front(files):
    a, b = (picture(str(files / name)) for name in ("a.png", "b.png"))
    assert question("Is <image> an image?", []) == "Is <image> an image?"
    assert question("Which?", [a, b]) == (a, b, "Which?")
    assert question("<image> or <image>?", [a, b]) == (a, " or ", b, "?")
    assert question("", [a]) == (a,)
    with pytest.raises(
        InputError, match="has 1 place for pictures, and there are 2; expected one <image> a picture"
    ):
        question("This <image>?", [a, b])


def test_what_is_no_picture_is_told(files):
    with pytest.raises(InputError, match=r"--image: there is no picture 'nothing\.png'"):
        picture("nothing.png", where="--image")
    (files / "no.png").write_text("no")
    with pytest.raises(InputError, match=r"--image: .*no\.png', is no picture of a known kind"):
        picture(str(files / "no.png"), where="--image")


def test_a_prompt_with_a_picture_is_asked_as_a_row_is_trained(seeing, files):
    prompt = PicturePrompt(text="Look: <image>", image=(str(files / "a.png"),))
    assert asked(prompt) == ("Look: ", picture(str(files / "a.png")))
    assert in_words(prompt) == "Look: <image> [a.png]"
    assert (asked("Hi"), in_words("Hi")) == ("Hi", "Hi")
    tokens = seeing.renderer.prompt([Message("user", asked(prompt))])
    assert tokens.count(seeing.renderer.picture_id) == 4, "resized as the speaker says"


def test_a_text_model_refuses_pictures(files):
    with pytest.raises(InputError, match="there are pictures to be shown, and the model reads none"):
        text_speaker().answer([question("What?", [picture(str(files / "a.png"))])], FEW)


def test_a_chat_keeps_its_pictures(seeing, files):
    talk = Chat(seeing, FEW)
    assert "next question" in talk.command(f"/image {files / 'a.png'}")
    first = talk.say("What is it?")
    second = talk.say("And?")
    turns = [
        Message("user", (picture(str(files / "a.png")), "What is it?")),
        first.message,
        Message("user", "And?"),
    ]
    (alone,) = seeing.reply([turns], FEW, first_number=1)
    assert second.text == alone.text
    assert [len(turn.images) for turn in talk.turns] == [1, 0, 0, 0]


def test_a_chats_picture_waits_until_the_question_takes_it(seeing, files):
    talk = Chat(seeing, FEW)
    with pytest.raises(InputError, match="there is no picture"):
        talk.command("/image nothing.png")
    assert "wants the file" in talk.command("/image")
    talk.command(f"/image {files / 'a.png'}")
    with pytest.raises(InputError, match="2 places"):
        talk.say("<image> <image>")
    talk.say("<image>")
    assert len(talk.turns[0].images) == 1 and not talk.pictures
    talk.command(f"/image {files / 'b.png'}")
    talk.command("/reset")
    assert not talk.pictures


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_of_questions_has_pictures_beside_it(seeing, files, kind):
    rows = [("<image>?", ["a.png"]), ("Hello", []), ("Which?", ["b.png", str(files / "c.png")])]
    path = files / f"q.{kind}"
    if kind == "jsonl":
        entries = [{"question": text, "images": images} for text, images in rows]
        entries[0] = {"question": "<image>?", "image": "a.png"}
        path.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    else:
        cells = ["a.png", "", json.dumps(rows[2][1]).replace('"', '""')]
        lines = [f'{text},"{cell}"' for (text, _), cell in zip(rows, cells, strict=True)]
        path.write_text("\n".join(["question,images", *lines]), "utf-8")
    written = answer_file(seeing, read_questions(str(path)), FEW, files / "a.json")
    contents = [question(text, [picture(str(files / name)) for name in images]) for text, images in rows]
    assert [entry["answer"] for entry in written] == [reply.text for reply in seeing.answer(contents, FEW)]
    assert [entry.get("images", []) for entry in written] == [images for _, images in rows]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"question": "a", "image": "missing.png"}, r"q\.jsonl:1: there is no picture '.*missing\.png'"),
        ({"question": "a", "images": 3}, "entry 1 names no pictures in `images`"),
        ({"question": "a", "images": ["a.png", 3]}, "entry 1 names no pictures in `images`"),
        ({"question": "<image><image>", "image": "a.png"}, r"q\.jsonl:1: the question has 2 places"),
    ],
)
def test_pictures_that_cannot_be_asked_about_are_told_with_their_place(files, entry, told):
    (files / "q.jsonl").write_text(json.dumps(entry), "utf-8")
    with pytest.raises(InputError, match=told):
        read_questions(str(files / "q.jsonl"))


# --- a run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(model, tmp_path_factory):
    """Writes a recipe over nine captioned drawings of three sizes, in a folder of its own."""

    def write(**blocks):
        folder = tmp_path_factory.mktemp("captions")
        rows = []
        for at in range(9):
            Pillow.new("RGB", (50 + 15 * (at % 3), 60), (25 * at, 90, 200)).save(folder / f"{at}.png")
            rows.append(f"{at}.png,a picture of number {at}")
        (folder / "rows.csv").write_text("\n".join(["image_path,caption", *rows]), "utf-8")
        shutil.copy(folder / "1.png", folder / "new.png")
        content = {
            "name": "captions",
            "model": {"source": str(model), "device": "cpu"},
            "adapter": {"rank": 2, "alpha": 4, "dropout": 0.1},
            "data": {"train": "rows.csv", "eval": 0.2, "max_length": 128, "image_size": [56, 84]},
            "train": {"epochs": 2, "batch_size": 2, "accumulate": 2, "learning_rate": 0.05, "save_every": 1, "threads": 1},
            "evaluate": {
                "prompts": ["Hello", {"text": "COCO Yes: <image>", "image": "1.png"}, {"text": "COCO Yes: <image>", "image": "new.png"}],
                "generation": {"max_new_tokens": 6},
            },
            "run": {"output": "run"},
        }  # fmt: skip
        content |= blocks
        (folder / "recipe.yaml").write_text(yaml.safe_dump(content), "utf-8")
        return folder

    return write


@pytest.fixture(scope="module")
def trained(recipe):
    folder = recipe()
    pipeline.train(load(str(folder / "recipe.yaml")))
    return folder


def test_before_and_after_tell_the_pictures(trained):
    samples = json.loads((trained / "run" / "before_after.json").read_text("utf-8"))["samples"]
    told = [(sample["prompt"], sample.get("image"), sample["trained_on"]) for sample in samples]
    assert told == [
        ("Hello", None, False),
        ("COCO Yes: <image>", str(trained / "1.png"), True),
        ("COCO Yes: <image>", str(trained / "new.png"), False),
    ]
    assert samples[1]["tuned"] == samples[2]["tuned"] != samples[1]["base"]


def test_a_run_is_asked_as_it_was_trained_wherever_it_lies(trained, tmp_path, capfd):
    samples = json.loads((trained / "run" / "before_after.json").read_text("utf-8"))["samples"]
    image, options = str(trained / "1.png"), ["--max-new-tokens", "6"]
    assert main(["ask", str(trained / "run"), "COCO Yes: <image>", "--image", image, *options]) == 0
    assert capfd.readouterr().out.strip() == samples[1]["tuned"].strip()
    assert main(["ask", str(trained / "run"), "--image", image, *options]) == 0, (
        "the first prompt with a picture"
    )
    assert capfd.readouterr().out.strip() == samples[1]["tuned"].strip()
    shutil.copytree(trained / "run" / "adapter", tmp_path / "moved")
    moved = open_speaker(str(tmp_path / "moved"))
    said = asked(PicturePrompt(text="COCO Yes: <image>", image=(image,)))
    (reply,) = moved.speaker.answer([said], Generation(max_new_tokens=6))
    assert reply.text == samples[1]["tuned"]


def test_a_whole_model_takes_its_processor_along(recipe):
    folder = recipe(adapter={"type": "none"})
    run = pipeline.train(load(str(folder / "recipe.yaml"), ["train.max_steps=1"]))
    samples = json.loads(run.before_after.read_text("utf-8"))["samples"]
    speaker = open_speaker(str(run.model)).speaker
    (reply,) = speaker.answer(
        [asked(PicturePrompt(text="COCO Yes: <image>", image=(str(folder / "1.png"),)))], FEW
    )
    assert samples[1]["tuned"].startswith(reply.text.rstrip("�"))


def test_interrupted_and_resumed_is_as_never_interrupted(trained, recipe):
    folder = recipe()
    steps = iter([False, True])
    with pytest.raises(Interrupted):
        pipeline.train(load(str(folder / "recipe.yaml")), stop_wanted=lambda: next(steps))
    run = pipeline.resume(folder / "run")
    for name in ("adapter/adapter_model.safetensors", "before_after.json"):
        ours = (run.folder / name).read_bytes().replace(str(folder).encode(), b"")
        assert ours == (trained / "run" / name).read_bytes().replace(str(trained).encode(), b"")


def test_a_run_whose_picture_changed_is_not_gone_on_with(recipe):
    folder = recipe()
    with pytest.raises(Interrupted):
        pipeline.train(load(str(folder / "recipe.yaml")), stop_wanted=lambda: True)
    Pillow.new("RGB", (50, 60), "white").save(folder / "0.png")
    with pytest.raises(InputError, match="the data changed since this run began"):
        pipeline.resume(folder / "run")

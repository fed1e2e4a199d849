"""Where pictures stand in samples, from the row to the store and back."""

from __future__ import annotations

import json

import pytest
from PIL import Image as Pillow

from tests import standins
from tests.data.tiny import chatml
from tunesmith.config.schema import Data
from tunesmith.data.build import build
from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Conversation, Image, Message, Text
from tunesmith.errors import InputError


class Eyes:
    """A picture of W x H takes W / 10 tokens."""

    token, fingerprint = "<|image_pad|>", "tens"

    def count(self, image):
        return image.width // 10


@pytest.fixture(scope="module")
def tokenizer():
    return standins.tokenizer_of("qwen2-vl")


@pytest.fixture(scope="module")
def renderer(tokenizer):
    return Renderer(tokenizer, images=Eyes())


@pytest.fixture
def folder(tmp_path):
    for name, width in (("a", 30), ("b", 50)):
        Pillow.new("RGB", (width, 20), "red").save(tmp_path / f"{name}.png")
    return tmp_path


def rows_of(folder, *rows):
    """Rows of (question, pictures, answer), two turns where there are more."""
    lines = []
    for question, images, *answers in rows:
        messages = [{"role": "user", "content": question}]
        for answer in answers:
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And?"}]
        lines.append(json.dumps({"messages": messages[:-1], "images": images}))
    (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    return folder / "rows.jsonl"


def stored(path, renderer, **settings):
    data = Data.model_validate({"train": str(path), "cache": False, **settings})
    return build(data, Conversation, renderer, 0).train


def pads(piece, renderer):
    return [at for at, token in enumerate(piece.tokens) if token == renderer.picture_id]


def test_the_store_gives_back_what_was_rendered(folder, renderer):
    path = rows_of(folder, ("<image>What?", ["a.png"], "Red."), ("Hi", [], "Hello"),
                   ("<image> or <image>, <image>?", ["b.png", "a.png", "b.png"], "All.", "Yes."))  # fmt: skip
    store = stored(path, renderer)
    (one,), (none,), (three,) = (store.tree(at) for at in range(3))
    a, b = str(folder / "a.png"), str(folder / "b.png")
    assert [(picture.path, picture.length) for picture in one.pictures] == [(a, 3)]
    assert none.pictures == ()
    assert [(picture.path, picture.length) for picture in three.pictures] == [(b, 5), (a, 3), (b, 5)]
    for piece in (one, three):
        covered = [at for p in piece.pictures for at in range(p.start, p.start + p.length)]
        assert covered == pads(piece, renderer)
    assert store[2].images == (b, a, b)


def test_pictures_carry_no_loss_even_where_everything_does(folder, renderer):
    path = rows_of(folder, ("<image>What <image>?", ["a.png", "b.png"], "Red."))
    store = stored(path, renderer, loss_on="everything")
    (piece,) = store.tree(0)
    unlearned = [at for at, weight in enumerate(piece.weights) if not weight]
    assert unlearned == pads(piece, renderer)
    assert store.with_loss[0] == len(piece.tokens) - 8 - 1


def test_truncation_cuts_no_picture(folder, renderer):
    path = rows_of(folder, ("<image>" + "long " * 60 + "<image>", ["a.png", "b.png"], "Red."))
    (piece,) = stored(path, renderer, max_length=80, on_long="truncate").tree(0)
    assert len(piece.tokens) <= 80
    assert [picture.length for picture in piece.pictures] == [3, 5]
    assert len(pads(piece, renderer)) == 8


def test_data_with_another_picture_are_other_data(folder, renderer):
    path = rows_of(folder, ("<image>What?", ["a.png"], "Red."))
    before = stored(path, renderer).fingerprint()
    assert stored(path, renderer).fingerprint() == before
    Pillow.new("RGB", (30, 20), "blue").save(folder / "a.png")
    assert stored(path, renderer).fingerprint() != before


def test_the_token_of_pictures_without_one_is_refused(folder, renderer, tokenizer):
    loose = Renderer(tokenizer, images=Eyes(), control_tokens="tokens")
    said = Conversation((Message("user", "a <|image_pad|> b"), Message("assistant", "c", 1.0)))
    with pytest.raises(
        BadRow, match=r"<\|image_pad\|>, which stands for pictures, is in the text without one"
    ):
        loose.rendered(said)
    assert renderer.rendered(said).tree[0].pictures == (), "as text it is only text"
    text = folder / "text.txt"
    text.write_text("one <|image_pad|> two", "utf-8")
    data = Data.model_validate({"train": str(text), "cache": False})
    with pytest.raises(InputError, match="stands for pictures"):
        build(data, Text, renderer, 0)


def test_a_model_that_reads_none_says_why():
    said = [Message("user", (Image("a.png", 30, 20), "What?"))]
    with pytest.raises(InputError, match="and the model reads none"):
        Renderer(chatml()).prompt(said)
    with pytest.raises(InputError, match="and it is blind"):
        Renderer(chatml(), blind="it is blind").prompt(said)

"""Samples token by token: every token once, characters whole, pictures as one word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from tests.data.tiny import CHATML, STEADY, byte_level, chatml, llama_like
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Image, Message, Place, Sample
from tunesmith.report import tokens
from tunesmith.report.tokens import look_alikes_marked, shown, visible
from tunesmith.segments import Piece

PLACE = Place("rows.jsonl", 1, 1)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n"
    "</think>\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def sample_of(renderer, *said, images=()):
    """Turns of a user and an assistant, one after the other."""
    messages = tuple(
        Message("assistant" if at % 2 else "user", content, float(at % 2)) for at, content in enumerate(said)
    )
    return Sample(renderer.sample(Conversation(messages)), PLACE, images=images)


def ids_of(piece):
    return [token for stretch in piece.stretches for token in stretch.ids]


RENDERERS = {
    "bytes": Renderer(chatml()),
    "words": Renderer(
        llama_like("{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}"), end_ids=frozenset({2})
    ),
}


@pytest.mark.parametrize("name", RENDERERS)
@STEADY
@given(question=st.text(st.characters(codec="utf-8"), min_size=1), answer=st.sampled_from(["Hello!", "春风 又绿", "👩‍👩‍👧 é", "a  b"]))  # fmt: skip
def test_every_token_is_there_once_and_the_text_is_that_of_the_whole(name, question, answer):
    renderer = RENDERERS[name]
    sample = sample_of(renderer, question, answer)
    (piece,) = shown(sample, renderer)
    assert tuple(ids_of(piece)) == sample.tree[0].tokens
    text = "".join(stretch.text for stretch in piece.stretches)
    assert text == visible(renderer.tokenizer.decode(list(sample.tree[0].tokens)))
    weights = [stretch.weight for stretch in piece.stretches for _ in stretch.ids]
    assert weights == list(sample.tree[0].weights)
    special = renderer.encoder.special_ids
    assert all((s.kind == "special") == (not special.isdisjoint(s.ids)) for s in piece.stretches)


def test_tokens_of_one_character_stay_together():
    renderer = Renderer(chatml())
    (piece,) = shown(sample_of(renderer, "Hi", "💡!"), renderer)
    learned = [stretch for stretch in piece.stretches if stretch.weight]
    assert [(s.text, len(s.ids) > 1, s.kind) for s in learned] == [
        ("💡", True, "text"),
        ("!", False, "text"),
        ("<|im_end|>", False, "special"),
    ]


def test_broken_bytes_end_with_their_run():
    renderer = Renderer(chatml())
    half = renderer.tokenizer.encode("💡", add_special_tokens=False)[:2]
    piece = Piece((*half, *half * 6, 5), (0.0,) + (1.0,) * 14, None)
    (found,) = shown(Sample((piece,), PLACE), renderer)
    assert ids_of(found) == list(piece.tokens)
    assert max(len(stretch.ids) for stretch in found.stretches) <= 8


def test_a_template_that_rewrites_history_gives_each_answer_its_own_context():
    renderer = Renderer(byte_level(("<|im_start|>", "<|im_end|>"), "<|im_end|>", THINKING))
    pieces = shown(sample_of(renderer, "1?", "one", "2?", "two"), renderer)
    assert [piece.heading for piece in pieces] == [None, "answer 2 has a context of its own"]


def test_a_piece_may_go_on_from_another_and_a_first_token_is_never_predicted():
    root, child = Piece((70, 71), (1.0, 1.0), None), Piece((72, 73), (1.0, 0.5), 0)
    first, second = shown(Sample((root, child), PLACE), Renderer(chatml()))
    assert (first.heading, second.heading) == (None, "goes on from piece 1")
    assert [[s.weight for s in piece.stretches] for piece in (first, second)] == [[0.0, 1.0], [1.0, 0.5]]


def test_the_middle_of_a_long_piece_is_counted(monkeypatch):
    monkeypatch.setattr(tokens, "MOST_SHOWN", 4)
    piece = Piece((70, 71, 72, 73, 74, 75, 76), (0.0,) * 6 + (1.0,), None)
    (found,) = shown(Sample((piece,), PLACE), Renderer(chatml()))
    assert ids_of(found) == [70, 71, 75, 76]
    assert [s.text for s in found.stretches if s.kind == "gap"] == [" … 3 tokens are not shown … "]


def test_control_characters_are_to_be_seen():
    assert visible("a\tb\nc\r\x1b[31m\x00\x7f\x9b") == "a\tb\nc␍␛[31m␀␡�"


def test_what_only_reads_like_a_special_token_is_marked():
    renderer = Renderer(chatml())
    (piece,) = shown(sample_of(renderer, "a<|im_end|>b <|im_", "<|im_start|>"), renderer)
    marked = look_alikes_marked(piece.stretches, renderer.encoder.special_names)
    assert marked.count("‹") == 2 and "a‹<|im_end|>›b <|im_<|im_end|>" in marked
    assert "assistant\n‹<|im_start|>›<|im_end|>" in marked
    plain = "".join(stretch.text for stretch in piece.stretches)
    assert marked.replace("‹", "").replace("›", "") == plain == look_alikes_marked(piece.stretches, [])


class Pads:
    """A picture of W x H takes W / 10 tokens."""

    token = "<|pad|>"
    fingerprint = ""

    def count(self, image: Image) -> int:
        return image.width // 10


@pytest.fixture
def pictures(tmp_path):
    for name, size in (("a.png", (30, 20)), ("b.png", (50, 40))):
        Pillow.new("RGB", size).save(tmp_path / name)
    return [Image(str(tmp_path / "a.png"), 30, 20), Image(str(tmp_path / "b.png"), 50, 40)]


@pytest.fixture
def seeing():
    template = CHATML.replace(
        "{{ m.content }}",
        "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
        "{{ p.text if p.type == 'text' else '<|pad|>' }}{% endfor %}{% endif %}",
    )
    tokenizer = byte_level(("<|im_start|>", "<|im_end|>", "<|pad|>"), "<|im_end|>", template)
    return Renderer(tokenizer, images=Pads())


def words_of(piece):
    return [stretch.text for stretch in piece.stretches if stretch.kind == "picture"]


def test_a_picture_is_one_word(seeing, pictures):
    sample = sample_of(seeing, (*pictures, "What?"), "Black.", images=tuple(p.path for p in pictures))
    (piece,) = shown(sample, seeing)
    assert words_of(piece) == ["[picture a.png, 30x20, 3 tokens]", "[picture b.png, 50x40, 5 tokens]"]
    assert tuple(ids_of(piece)) == sample.tree[0].tokens


def test_a_picture_that_went_is_said(seeing, pictures, tmp_path):
    sample = sample_of(seeing, (pictures[0], "What?"), "Black.", images=(pictures[0].path,))
    (tmp_path / "a.png").unlink()
    assert words_of(shown(sample, seeing)[0]) == ["[picture a.png, not there any more, 3 tokens]"]

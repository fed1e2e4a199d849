"""Speaking: replies to many at once, and text that streams without breaking a character."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import byte_tokenizer
from tests.infer.test_chat import speaker
from tunesmith.config.method import Generation
from tunesmith.data.render import Renderer
from tunesmith.infer.open import open_speaker
from tunesmith.infer.reading import ReplyReader
from tunesmith.infer.speaker import _Stream

QUESTIONS = ["Hi", "What is the third of three?", "春天"]


def test_questions_are_answered_in_their_order_and_as_if_alone():
    asked = speaker()
    options = Generation(max_new_tokens=10)
    together = asked.answer(QUESTIONS, options)
    assert together == [asked.answer([question], options)[0] for question in QUESTIONS]
    assert len({reply.text for reply in together}) == 3


def test_a_reply_says_how_many_tokens_it_took_and_whether_it_ended():
    asked = speaker()
    (cut,) = asked.answer(["Hi"], Generation(max_new_tokens=3))
    assert (cut.tokens, cut.ended) == (3, False)


def test_a_system_prompt_takes_the_place_of_the_recipes():
    options = Generation(max_new_tokens=10)
    own = speaker(system="Be brief.").answer(["Hi"], options, system="Be kind.")
    assert own == speaker(system="Be kind.").answer(["Hi"], options)
    assert own != speaker(system="Be brief.").answer(["Hi"], options)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=st.text(min_size=1, max_size=30))
def test_streamed_pieces_make_up_the_text_and_hold_whole_characters(text):
    tokenizer = byte_tokenizer()
    tokens = tokenizer.encode(text, add_special_tokens=False)
    pieces: list[str] = []
    stream = _Stream(ReplyReader(Renderer(tokenizer)), pieces.append)
    for token in tokens:
        stream.take(token)
    stream.finish(ended=True)
    assert "".join(pieces) == tokenizer.decode(tokens, skip_special_tokens=True) == text
    assert all("�" not in piece for piece in pieces) or "�" in text


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_embedded_model_streams_what_it_replies(temperature):
    opened = open_speaker("builtin:nano")
    pieces: list[str] = []
    options = Generation(max_new_tokens=40, temperature=temperature)
    (reply,) = opened.speaker.answer(["写一首关于雨的诗"], options, on_text=pieces.append)
    assert "".join(pieces) == reply.text
    assert len(pieces) > 10

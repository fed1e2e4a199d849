"""A conversation and its commands, without a terminal."""

from __future__ import annotations

import pytest

from tests.conftest import byte_tokenizer, tiny_llama
from tunesmith.config.method import Generation
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Message
from tunesmith.data.templates import template_named
from tunesmith.errors import InputError
from tunesmith.infer.chat import HELP, Chat
from tunesmith.infer.speaker import Speaker
from tunesmith.models.generate import Answer


def speaker(context: int = 512, system: str | None = None) -> Speaker:
    renderer = Renderer(byte_tokenizer(), system=system, end_ids=frozenset({2}))
    return Speaker(tiny_llama(max_position_embeddings=context), renderer, "tiny")


def chat(context: int = 512, **options) -> Chat:
    return Chat(speaker(context), Generation(**{"max_new_tokens": 6, **options}))


def answered_alone(messages: list[Message], number: int = 0, **options) -> str:
    (reply,) = speaker().reply(
        [messages], Generation(**{"max_new_tokens": 6, **options}), first_number=number
    )
    return reply.text


def test_what_was_said_stays_in_the_conversation():
    talk = chat()
    first = talk.say("Hello")
    second = talk.say("And then?")
    assert talk.turns == [
        Message("user", "Hello", 0.0),
        Message("assistant", first.text, 0.0),
        Message("user", "And then?", 0.0),
        Message("assistant", second.text, 0.0),
    ]
    assert second.text == answered_alone(talk.turns[:3])
    assert second.text != answered_alone([Message("user", "And then?", 0.0)])


def test_thought_and_answer_stay_in_the_conversation_apart(monkeypatch):
    """And users see both without what the template writes around them."""
    renderer = Renderer(byte_tokenizer(), template=template_named("harmony"))
    reply = (
        "<|channel|>analysis<|message|>A greeting.<|end|><|start|>assistant<|channel|>final<|message|>Hello!"
    )
    tokens = tuple(renderer.tokenizer.encode(reply, add_special_tokens=False))

    def generated(model, prompts, options, end_ids, *, first_number, on_token, **_):
        for token in tokens:
            on_token(0, token)
        return [Answer(tokens, 0)]

    monkeypatch.setattr("tunesmith.infer.speaker.generate", generated)
    talk = Chat(Speaker(tiny_llama(), renderer, "tiny"), Generation())
    pieces: list[str] = []
    assert talk.say("Hi", on_text=pieces.append).text == "Hello!"
    assert "".join(pieces) == "A greeting.\n\nHello!"
    assert talk.turns[1] == Message("assistant", "Hello!", 0.0, "A greeting.")


def test_reset_forgets():
    talk = chat()
    first = talk.say("Hello")
    talk.say("And then?")
    assert talk.command("/reset") == "the conversation is forgotten"
    assert talk.turns == []
    assert talk.say("Hello").text == first.text


def test_a_system_prompt_is_set_and_taken_back():
    talk = chat()
    plain = talk.say("Hello")
    assert "is set" in talk.command("/system  Speak like a poet. ")
    assert talk.system == "Speak like a poet." and talk.turns == []
    told = talk.say("Hello")
    system = Message("system", "Speak like a poet.", 0.0)
    assert told.text == answered_alone([system, Message("user", "Hello", 0.0)])
    assert told.text != plain.text
    assert "the recipe's again" in talk.command("/system")
    assert talk.say("Hello").text == plain.text


def test_a_system_prompt_of_the_chat_takes_the_place_of_the_recipes():
    recipes = Chat(speaker(system="Be brief."), Generation(max_new_tokens=6))
    assert recipes.say("Hello").text == answered_alone(
        [Message("system", "Be brief.", 0.0), Message("user", "Hello", 0.0)]
    )
    own = Chat(speaker(system="Be brief."), Generation(max_new_tokens=6), "Be kind.")
    assert own.say("Hello").text == answered_alone(
        [Message("system", "Be kind.", 0.0), Message("user", "Hello", 0.0)]
    )


@pytest.mark.parametrize("text", ["/foo", "/resett", "/", "/quit now"])
def test_an_unknown_command_is_told_and_changes_nothing(text):
    talk = chat()
    talk.say("Hello")
    turns = list(talk.turns)
    told = talk.command(text)
    assert told is not None and f"there is no command {text.split()[0]}" in told and HELP in told
    assert talk.turns == turns


@pytest.mark.parametrize("text", ["Hello", "what is 1/2?", " 你好 "])
def test_what_is_no_command_is_said(text):
    assert chat().command(text) is None


def test_each_answer_draws_anew_but_a_whole_chat_can_be_had_again():
    one, two = chat(temperature=1.5), chat(temperature=1.5)
    answers = []
    for talk in (one, two):
        said = []
        for _ in range(3):
            said.append(talk.say("Hello").text)
            talk.turns = []
        answers.append(said)
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 3
    assert answers[0][1] == answered_alone([Message("user", "Hello", 0.0)], 1, temperature=1.5)


def test_a_conversation_that_outgrows_the_context_is_told_and_can_go_on_after_a_reset():
    talk = chat(context=100)
    talk.say("Hello")
    turns = list(talk.turns)
    with pytest.raises(InputError, match="the model's context is 100"):
        talk.say("x" * 90)
    assert talk.turns == turns
    talk.command("/reset")
    assert talk.say("Hello").tokens


def test_text_is_streamed_as_it_comes():
    pieces: list[str] = []
    reply = chat(max_new_tokens=60, temperature=1.0).say("Hello", on_text=pieces.append)
    assert "".join(pieces) == reply.text
    assert len(pieces) > 5 and all(pieces)

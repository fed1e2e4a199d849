"""A reply's tokens become the message that would have taught them, and users see the answer without its wrapping."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.data.families import FAMILIES, GLM, GLM_ENDS, HARMONY, IM
from tests.data.tiny import STEADY, byte_level, llama_like, shared_template
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Message
from tunesmith.data.templates import template_named
from tunesmith.infer.reading import ReplyReader
from tunesmith.infer.speaker import _Stream

ENDS = ("<s>", "</s>")
DEEPSEEK = ("<｜User｜>", "<｜Assistant｜>", *ENDS)


def of_ours(name, special=ENDS, eos="</s>"):
    return lambda: Renderer(byte_level(special, eos, None, "<s>"), template=template_named(name))


# As ChatML with a newline in front of the stop token.
LOOSE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def glm4():
    tokenizer = byte_level(GLM, "<|endoftext|>", None)
    ends = frozenset(tokenizer.convert_tokens_to_ids(list(GLM_ENDS)))
    return Renderer(tokenizer, template=template_named("glm4"), end_ids=ends)


KEEPS_HISTORY = {
    "qwen2": lambda: Renderer(byte_level(IM, "<|im_end|>", shared_template("qwen2-instruct"))),
    "tinyllama": lambda: Renderer(byte_level(ENDS, "</s>", shared_template("tinyllama-1.1b-chat-v1.0"))),
    "glm4": glm4,
    "llama2": of_ours("llama2"),
    "mistral": of_ours("mistral", ("[INST]", "[/INST]", *ENDS)),
    "qa": of_ours("qa"),
    "vicuna": of_ours("vicuna"),
    "a newline in front of the stop token": lambda: Renderer(byte_level(IM, "<|im_end|>", LOOSE)),
    "llama2, blanks put in front": lambda: Renderer(llama_like(None), template=template_named("llama2")),
}
THINKS = {
    "harmony": of_ours("harmony", (*HARMONY, "<s>"), "<|return|>"),
    "chatml-think": of_ours("chatml-think", (*IM, *ENDS), "<|im_end|>"),
    "chatml-think, tags are tokens": of_ours(
        "chatml-think", (*IM, "<think>", "</think>", *ENDS), "<|im_end|>"
    ),
    "deepseek-r1": of_ours("deepseek-r1", DEEPSEEK),
}
ALL = KEEPS_HISTORY | THINKS

# Also what looks like a template's own words, as plain text.
TEXT = st.lists(
    st.sampled_from(
        ["Hi", " ", "\n", "\n\n", "you. ", "<b>", "user", "final", "1", "?", "</s>", "<|end|>", "é👋"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
ASKED = Message("user", "Hello there", 0.0)


def taught(renderer, history, message):
    """What the model generates once it has learned this answer: the tokens in front of the stop token."""
    *_, piece = renderer.sample(Conversation((*history, message)))
    tokens = list(piece.tokens[len(renderer.prompt(history)) :])
    assert tokens[-1] in renderer.stop_ids
    return tokens[:-1]


def answer(text, thinking=None):
    return Message("assistant", text, 1.0, thinking)


@pytest.mark.parametrize("name", ALL)
@STEADY
@given(text=TEXT)
def test_a_reply_becomes_the_message_that_would_have_taught_it(name, text):
    assume(text.strip())
    assume("é" not in text or "blanks" not in name)  # that tokenizer knows no such letter between blanks
    renderer = ALL[name]()
    tokens = taught(renderer, [ASKED], answer(text))
    reader = ReplyReader(renderer)
    assert reader.message(tokens, ended=True) == Message("assistant", text, 0.0)
    assert reader.text(tokens, ended=True) == text


@pytest.mark.parametrize("name", THINKS)
@STEADY
@given(thought=TEXT, text=TEXT)
def test_a_thought_is_told_from_the_answer(name, thought, text):
    assume(text.strip() and thought.strip())
    renderer = THINKS[name]()
    tokens = taught(renderer, [ASKED], answer(text, thought))
    reader = ReplyReader(renderer)
    assert reader.message(tokens, ended=True) == Message("assistant", text, 0.0, thought)
    assert reader.text(tokens, ended=True) == text
    assert reader.shown(tokens, ended=True) == f"{thought}\n\n{text}"


@pytest.mark.parametrize("name", [name for name in KEEPS_HISTORY if "blanks" not in name])
@STEADY
@given(text=TEXT)
def test_the_next_prompt_goes_on_where_the_reply_ended(name, text):
    renderer = KEEPS_HISTORY[name]()
    tokens = taught(renderer, [ASKED], answer(f"So {text}"))
    message = ReplyReader(renderer).message(tokens, ended=True)
    written = [*renderer.prompt([ASKED]), *tokens]
    following = renderer.prompt([ASKED, message, Message("user", "And?", 0.0)])
    assert following[: len(written)] == written
    assert following[len(written)] in renderer.stop_ids


@pytest.mark.parametrize("name", ALL)
def test_the_next_prompt_is_that_of_training(name):
    renderer = ALL[name]()
    said, again = answer("Hello!", "A greeting." if name in THINKS else None), Message("user", "And?", 0.0)
    message = ReplyReader(renderer).message(taught(renderer, [ASKED], said), ended=True)
    assert renderer.prompt([ASKED, message, again]) == renderer.prompt([ASKED, said, again])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_replies_of_real_families_are_read(family):
    renderer = family.renderer()
    reader = ReplyReader(renderer)
    for thought in [None] if family.thinking is None else [None, "A greeting."]:
        tokens = taught(renderer, [ASKED], answer("Hello!", thought))
        assert reader.message(tokens, ended=True) == Message("assistant", "Hello!", 0.0, thought)


@pytest.mark.parametrize("name", ALL)
@STEADY
@given(text=TEXT, thought=st.none() | TEXT, cut=st.integers(0, 60))
def test_streaming_only_ever_adds_and_ends_at_the_whole(name, text, thought, cut):
    assume(text.strip() and (thought is None or thought.strip()))
    renderer = ALL[name]()
    tokens = taught(renderer, [ASKED], answer(text, thought if name in THINKS else None))
    ended = cut >= len(tokens)
    reader, pieces = ReplyReader(renderer), []
    stream = _Stream(reader, pieces.append)
    for token in tokens[:cut]:
        stream.take(token)
        assert reader.shown(tokens[:cut], ended=ended).startswith("".join(pieces))
    stream.finish(ended=ended)
    assert "".join(pieces) == reader.shown(tokens[:cut], ended=ended)


def ids(renderer, text):
    return renderer.tokenizer.encode(text, add_special_tokens=False)


def test_a_reply_that_is_cut_off_in_its_thought_is_no_answer():
    renderer = THINKS["deepseek-r1"]()
    reader = ReplyReader(renderer)
    cut = reader.message(ids(renderer, "Let me see\n</thi"), ended=False)
    assert cut == Message("assistant", "", 0.0, "Let me see\n</thi")
    assert reader.text(ids(renderer, "Let me see"), ended=False) == "Let me see"


def test_a_model_that_ends_its_turn_in_the_prompts_thought_has_answered():
    renderer = THINKS["deepseek-r1"]()
    assert ReplyReader(renderer).message(ids(renderer, "Hello."), ended=True).content == "Hello."


@pytest.mark.parametrize(
    ("name", "reply", "read"),
    [
        ("deepseek-r1", "hm</think>Yes", ("hm", "Yes")),
        ("chatml-think", "<think>hm</think>\nYes", ("hm", "Yes")),
        ("chatml-think", "Yes", (None, "Yes")),
        ("glm4", "Yes", (None, "Yes")),
        ("harmony", "Yes", (None, "Yes")),
        ("qa", " Yes", (None, "Yes")),
        ("qa", "  Yes", (None, " Yes")),
    ],
)
def test_blanks_and_wrapping_that_a_model_leaves_out_are_forgiven(name, reply, read):
    renderer = ALL[name]()
    message = ReplyReader(renderer).message(ids(renderer, reply), ended=True)
    assert (message.thinking, message.content) == read


def test_other_special_tokens_stay_in_the_history_and_are_not_shown():
    renderer = KEEPS_HISTORY["qwen2"]()
    tokens = ids(renderer, "Hi<|endoftext|> there")
    reader = ReplyReader(renderer)
    assert reader.message(tokens, ended=True).content == "Hi<|endoftext|> there"
    assert reader.text(tokens, ended=True) == reader.shown(tokens) == "Hi there"


def test_a_template_that_refuses_the_probe_leaves_replies_as_they_are():
    template = (
        "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[0].content }}"
    )
    renderer = Renderer(byte_level(IM, "<|im_end|>", template))
    assert ReplyReader(renderer).message(ids(renderer, " Hi"), ended=True).content == " Hi"

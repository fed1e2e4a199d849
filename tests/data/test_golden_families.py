"""Golden spans of real families' templates, in single turn, several turns, with system prompt, tools and thinking."""

import pytest

from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Conversation

from .families import FAMILIES
from .golden import (
    MULTI,
    POEM,
    SINGLE,
    SYSTEM,
    THINKING,
    TOOLS,
    Family,
    check,
    check_forgery,
    each,
)
from .tiny import byte_level, trl_template

every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_there_are_at_least_twenty_families():
    assert len({family.name for family in FAMILIES}) >= 20


@every_family
def test_single_turn(family):
    check(family, Conversation(SINGLE), family.answers(POEM))


@every_family
def test_several_turns(family):
    check(family, Conversation(MULTI), family.answers("Hello!", "That is all."))


@every_family
def test_a_system_prompt_is_context(family):
    if family.system is None:
        with pytest.raises(BadRow, match="refuses the conversation"):
            family.renderer().rendered(Conversation(SYSTEM))
        return
    check(family, Conversation(SYSTEM), family.answers("Hello!", "That is all."))
    assert family.system in family.renderer().text(SYSTEM[:2], True)


@every_family
def test_tools(family):
    if family.tools is None:
        # The first LFM2 writes the tools and passes over calls.
        with pytest.raises(BadRow, match="does not write" if family.name == "lfm2" else "writes no tools"):
            family.renderer().rendered(TOOLS)
        return
    check(family, TOOLS, family.tools)


@every_family
def test_thinking(family):
    if family.thinking is None:
        with pytest.raises(BadRow, match=r"what the assistant thought|differently"):
            family.renderer().rendered(Conversation(THINKING))
        return
    check(family, Conversation(THINKING), family.thinking)


@every_family
def test_special_tokens_in_messages_forge_nothing(family):
    check_forgery(family)


# --- templates that differ from themselves --------------------------------------------------------------------------

OPENED = ("<eos>", "<｜User｜>", "<｜Assistant｜>", "<|im_start|>", "<|im_end|>")


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "deepseekv3"])
@pytest.mark.parametrize("messages", [SINGLE, THINKING], ids=["single", "thinking"])
def test_a_prompt_that_opens_a_thought_which_no_finished_answer_has_is_refused(name, messages):
    renderer = Renderer(byte_level(OPENED, "<eos>", trl_template(name)))
    with pytest.raises(BadRow, match=r"renders a finished answer differently.*data\.template"):
        renderer.rendered(Conversation(messages))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("nemotron_3_nano", "{thought}\n</think>\n{answer}<|im_end|>"),
        ("nemotron_3_super", "{thought}\n</think>\n{answer}<|im_end|>"),
        ("nemotron_3_ultra", "{thought}</think>{answer}<|im_end|>"),
        ("nemotron_3_5_lightning", "{thought}</think>{answer}<|im_end|>"),
    ],
)
def test_nemotrons_prompt_opens_a_thought_so_every_answer_needs_one(name, form):
    family = Family(name, OPENED, "<eos>", "<|im_end|>", ends=("<|im_end|>",), shared=False)
    check(family, Conversation(THINKING), each(form))
    with pytest.raises(BadRow, match="renders a finished answer differently"):
        family.renderer().rendered(Conversation(SINGLE))


@pytest.mark.parametrize(
    "family",
    [
        Family(
            "smolvlm", ("<|im_start|>", "<end_of_utterance>"), "<end_of_utterance>", "<end_of_utterance>", " "
        ),
        Family(
            "idefics3",
            ("<|begin_of_text|>", "<end_of_utterance>"),
            "<end_of_utterance>",
            "<end_of_utterance>",
            " ",
        ),
        Family("llava_next", ("<s>", "</s>"), "</s>", "</s>", " "),
    ],
    ids=lambda family: family.name,
)
@pytest.mark.parametrize("messages", [MULTI, SYSTEM], ids=["plain", "system"])
def test_templates_that_know_content_in_parts_alone(family, messages):
    check(family, Conversation(messages), family.answers("Hello!", "That is all."))
    for message in messages:
        assert message.content in family.renderer().text(messages, False)

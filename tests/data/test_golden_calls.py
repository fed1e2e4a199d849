"""Golden spans of tool calls in all their forms: several at once, with a text or a thought, results that hold JSON."""

import pytest

from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Conversation, Message, ToolCall

from .families import FAMILIES, IM, JSON_CALL, named
from .golden import CALL, TOOLS, WEATHER, assistant, check, learned, user
from .tiny import byte_level, trl_template

with_tools = pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family.tools], ids=lambda family: family.name
)


def call_row(text="", thinking=None, calls=(CALL,), result="sunny"):
    return Conversation(
        (
            user("Rome?"),
            assistant(text, thinking, calls),
            Message("tool", result, name="weather", call_id="call00001"),
            assistant("It is sunny."),
        ),
        (WEATHER,),
    )


@with_tools
def test_a_tools_result_may_be_written_as_json(family):
    check(family, call_row(result='{"sky": "clear"}\n晴'), family.tools)


@with_tools
def test_each_of_two_calls_is_written_or_the_row_refused(family):
    row = call_row(calls=(CALL, ToolCall("weather", {"city": "Oslo"}, "call00002")))
    renderer = family.renderer()
    if family.name in ("gptoss", "llama3_1", "llama3_2"):  # they write one call a turn
        with pytest.raises(BadRow):
            renderer.rendered(row)
        return
    call = learned(renderer, renderer.rendered(row).tree)[0][0]
    assert call.index("Rome") < call.index("Oslo")


@pytest.mark.parametrize(
    "name", ["glm4moe", "gptoss", "lfm2_v2", "lfm2_2_5_v2", "qwen2_5", "qwen3", "qwen3_8"]
)
def test_text_beside_a_call_is_learned(name):
    renderer = named(name).renderer()
    pieces = learned(renderer, renderer.rendered(call_row(text="Let me look.")).tree)
    ((call, *_), *_) = pieces
    assert call.index("Let me look.") < call.index("Rome")


@pytest.mark.parametrize("name", ["llama3_1", "llama3_2", "muse_glimmer"])
def test_a_template_that_writes_calls_alone_refuses_text_beside_one(name):
    with pytest.raises(BadRow, match="does not write"):
        named(name).renderer().rendered(call_row(text="Let me look."))


def test_a_base_models_call_ends_with_the_templates_token():
    tokenizer = byte_level(IM, "<|endoftext|>", trl_template("qwen2_5"))
    renderer = Renderer(tokenizer)
    assert learned(renderer, renderer.rendered(TOOLS).tree) == [
        [f"{JSON_CALL}<|im_end|>", "It is sunny.<|im_end|>"]
    ]


def test_gpt_oss_shows_the_thought_before_a_call_until_the_turn_is_over():
    # The finished turn no longer holds that thought, but the model that writes its end still sees it.
    thought = "<|channel|>analysis<|message|>I should look.<|end|><|start|>assistant"
    ((call, answer),) = named("gptoss").tools
    check(named("gptoss"), call_row(thinking="I should look."), [[f"{thought}{call}", answer]])

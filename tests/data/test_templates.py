"""The chat templates that come along: their texts and loss spans written by hand, real families' as a second witness."""

import re
from functools import partial
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tools import write_template_docs
from tunesmith.cli.recipes import app
from tunesmith.config import load
from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Conversation, Image, Message
from tunesmith.data.templates import TEMPLATES, control_tokens_of, template_named
from tunesmith.errors import InputError

from .golden import (
    MULTI,
    POEM,
    SINGLE,
    SYSTEM,
    THINKING,
    TOOLS,
    Family,
    assistant,
    check,
    check_forgery,
    each,
    learned,
    user,
)
from .tiny import STEADY, byte_level, shared_template, trl_template

JSON_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def ours(name, close, *, text, **expected):
    """(the family, the whole text of `SYSTEM`). The tokenizer has the template's control tokens."""
    special = ("<s>", "</s>", *control_tokens_of(name))
    ends = tuple(token for token in expected.pop("ends", (close,)) if token in special)
    family = Family(
        name,
        special,
        "</s>",
        close,
        bos="<s>",
        ends=ends,
        system="Be brief.",
        source=template_named,
        **expected,
    )
    return pytest.param(family, text, id=name)


FAMILIES = [
    ours(
        "alpaca",
        "</s>",
        text="<s>Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello!</s>\n\n"
        "### Instruction:\nAnd?\n\n### Response:\nThat is all.</s>\n\n",
    ),
    ours(
        "chatml",
        "<|im_end|>",
        text="<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n"
        "<|im_start|>assistant\nThat is all.<|im_end|>\n",
        tools=[[f"{JSON_CALL}<|im_end|>", "It is sunny.<|im_end|>"]],
    ),
    ours(
        "chatml-think",
        "<|im_end|>",
        open="<think>\n\n</think>\n\n",
        shared=False,
        text="<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\nThat is all.<|im_end|>\n",
        # Within a turn the blocks stay, so a call and the answer behind it share a piece.
        tools=[
            [
                f"<think>\n\n</think>\n\n{JSON_CALL}<|im_end|>",
                "<think>\n\n</think>\n\nIt is sunny.<|im_end|>",
            ]
        ],
        thinking=each("<think>\n{thought}\n</think>\n\n{answer}<|im_end|>"),
    ),
    ours(
        "cohere",
        "<|END_OF_TURN_TOKEN|>",
        text="<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello!<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>And?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>That is all.<|END_OF_TURN_TOKEN|>",
    ),
    ours(
        "deepseek",
        "</s>",
        text="<s>Be brief.<｜User｜>Hi<｜Assistant｜>Hello!</s><｜User｜>And?<｜Assistant｜>That is all.</s>",
        tools=[
            [
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
                '{"city": "Rome"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜></s>',
                "It is sunny.</s>",
            ]
        ],
    ),
    ours(
        "deepseek-r1",
        "</s>",
        open="\n</think>\n\n",
        shared=False,
        text="<s>Be brief.<｜User｜>Hi<｜Assistant｜>Hello!</s><｜User｜>And?<｜Assistant｜>"
        "<think>\n\n</think>\n\nThat is all.</s>",
        thinking=each("{thought}\n</think>\n\n{answer}</s>"),
    ),
    ours(
        "gemma",
        "<end_of_turn>",
        text="<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
        "<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\nThat is all.<end_of_turn>\n",
    ),
    ours(
        "glm4",
        "</s>",
        open="\n",
        between="<|user|>",
        ends=("<|user|>", "<|observation|>"),
        text="[gMASK]<sop><|system|>\nBe brief.<|user|>\nHi<|assistant|>\nHello!<|user|>\nAnd?"
        "<|assistant|>\nThat is all.",
        tools=[['weather\n{"city": "Rome"}<|observation|>', "\nIt is sunny.</s>"]],
    ),
    ours(
        "harmony",
        "<|return|>",
        open="<|channel|>final<|message|>",
        ends=("<|return|>", "<|call|>"),
        shared=False,
        text="<|start|>system<|message|># Valid channels: analysis, commentary, final. Channel must be included for "
        "every message.<|end|><|start|>developer<|message|># Instructions\n\nBe brief.\n\n<|end|>"
        "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>final<|message|>Hello!<|end|>"
        "<|start|>user<|message|>And?<|end|><|start|>assistant<|channel|>final<|message|>That is all.<|return|>",
        tools=[
            [
                ' to=functions.weather<|channel|>commentary json<|message|>{"city": "Rome"}<|call|>',
                "<|channel|>final<|message|>It is sunny.<|return|>",
            ]
        ],
        thinking=each(
            "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant"
            "<|channel|>final<|message|>{answer}<|return|>"
        ),
    ),
    ours(
        "llama2",
        "</s>",
        open=" ",
        text="<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello!</s>[INST] And? [/INST] That is all.</s>",
    ),
    ours(
        "llama3",
        "<|eot_id|>",
        text="<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nThat is all.<|eot_id|>",
        tools=[['{"name": "weather", "parameters": {"city": "Rome"}}<|eot_id|>', "It is sunny.<|eot_id|>"]],
    ),
    ours(
        "mistral",
        "</s>",
        open=" ",
        text="<s>[INST] Be brief.\n\nHi[/INST] Hello!</s>[INST] And?[/INST] That is all.</s>",
        tools=[
            [
                '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Rome"}, "id": "call00001"}]</s>',
                " It is sunny.</s>",
            ]
        ],
    ),
    ours(
        "phi3",
        "<|end|>",
        text="<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n"
        "<|user|>\nAnd?<|end|>\n<|assistant|>\nThat is all.<|end|>\n",
    ),
    ours(
        "qa",
        "</s>",
        open=" ",
        text="<s>Be brief.\n\nQuestion: Hi\nAnswer: Hello!</s>\n\nQuestion: And?\nAnswer: That is all.</s>\n\n",
    ),
    ours(
        "vicuna",
        "</s>",
        open=" ",
        text="<s>Be brief. USER: Hi ASSISTANT: Hello!</s>USER: And? ASSISTANT: That is all.</s>",
    ),
    ours(
        "zephyr",
        "</s>",
        text="<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n"
        "<|user|>\nAnd?</s>\n<|assistant|>\nThat is all.</s>\n",
    ),
]
every_template = pytest.mark.parametrize(
    "family", [param.values[0] for param in FAMILIES], ids=lambda f: f.name
)


def test_every_template_is_tested_and_is_one_of_the_files():
    folder = Path(str(resources.files("tunesmith.data.templates")))
    files = {path.stem for path in folder.glob("*.jinja")} - {"_macros"}
    assert [param.id for param in FAMILIES] == list(TEMPLATES) == sorted(files)


@pytest.mark.parametrize(("family", "text"), FAMILIES)
def test_the_whole_text(family, text):
    assert family.renderer().text(SYSTEM, False) == text


@pytest.mark.parametrize(("family", "text"), FAMILIES)
def test_control_tokens_are_those_in_the_text(family, text):
    told = set(control_tokens_of(family.name))
    written = set(re.findall(r"<\|\w+\|>|<｜\w+｜>|<\w+_of_turn>|\[/?INST\]|\[gMASK\]|<sop>", text))
    # `[INST]` is one token in the vocabulary of Mistral's tokenizer, and not in Llama 2's; roles are text in Zephyr's.
    text_marks = {"llama2": {"[INST]", "[/INST]"}, "zephyr": {"<|system|>", "<|user|>", "<|assistant|>"}}
    assert written - text_marks.get(family.name, set()) <= told
    # What stands beside calls and their results alone.
    assert told - written <= {"<|call|>", "<|observation|>"}


@every_template
def test_single_turn(family):
    check(family, Conversation(SINGLE), family.answers(POEM))


@every_template
@pytest.mark.parametrize("messages", [MULTI, SYSTEM], ids=["plain", "system"])
def test_several_turns(family, messages):
    check(family, Conversation(messages), family.answers("Hello!", "That is all."))


@every_template
def test_tools(family):
    assert TEMPLATES[family.name].tools == (family.tools is not None)
    if family.tools is None:
        with pytest.raises(BadRow, match="writes no tools"):
            family.renderer().rendered(TOOLS)
        return
    check(family, TOOLS, family.tools)


@every_template
def test_thinking(family):
    assert TEMPLATES[family.name].thinking == (family.thinking is not None)
    if family.thinking is None:
        with pytest.raises(BadRow, match="what the assistant thought"):
            family.renderer().rendered(Conversation(THINKING))
        return
    check(family, Conversation(THINKING), family.thinking)


@every_template
def test_special_tokens_in_messages_forge_nothing(family):
    check_forgery(family)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Co"]), min_size=1, max_size=30).filter(
    str.strip
)


@every_template
@STEADY
@given(question=TEXT, answer=TEXT)
def test_content_is_never_edited(family, question, answer):
    renderer = family.renderer()
    conversation = Conversation((user(question), assistant(answer)))
    tree, rewritten = renderer.rendered(conversation).tree, renderer.rendered(conversation).rewritten
    assert learned(renderer, tree) == [[f"{family.open}{answer}{family.close}"]]
    assert question in renderer.text([user(question)], True)
    assert not rewritten


# --- what the real families write ---------------------------------------------------------------------------------

WITNESSES = [
    ("chatml", partial(trl_template, "qwen3_instruct_2507"), [MULTI, SYSTEM, TOOLS.messages]),
    ("chatml-think", partial(trl_template, "qwen3"), [MULTI, SYSTEM, THINKING]),
    ("cohere", partial(trl_template, "cohere"), [MULTI, SYSTEM]),
    ("gemma", partial(trl_template, "gemma3"), [MULTI, SYSTEM]),
    ("glm4", partial(shared_template, "glm-4-9b-chat"), [MULTI, SYSTEM]),
    ("llama3", partial(trl_template, "llama3"), [MULTI, SYSTEM]),
    ("phi3", partial(trl_template, "phi3"), [MULTI, SYSTEM]),
    ("zephyr", partial(shared_template, "tinyllama-1.1b-chat-v1.0"), [MULTI, SYSTEM]),
]


@pytest.mark.parametrize(("name", "real", "chats"), WITNESSES, ids=[name for name, _, _ in WITNESSES])
def test_the_text_is_the_real_familys(name, real, chats):
    tokenizer = byte_level(("<s>", "</s>"), "</s>", None, "<s>")
    mine, theirs = Renderer(tokenizer, template=template_named(name)), Renderer(tokenizer, template=real())
    for messages in chats:
        tools = TOOLS.tools if messages is TOOLS.messages else ()
        for length in range(1, len(messages) + 1):
            by_user = messages[length - 1].role in ("user", "tool")
            if messages[length - 1].role != "system":
                got, expected = (r.text(messages[:length], by_user, tools) for r in (mine, theirs))
                # Phi-3's writes the end token of the whole document behind the last turn.
                assert got == expected.removesuffix("</s>") if name == "phi3" else got == expected


def test_deepseek_r1_shows_the_model_what_the_real_template_does():
    end = "<｜end▁of▁sentence｜>"
    tokenizer = byte_level(("<s>", end), end, None, "<s>")
    mine = Renderer(tokenizer, template=template_named("deepseek-r1"))
    theirs = Renderer(tokenizer, template=trl_template("deepseek_r1_distill"))
    for messages in (MULTI[:1], MULTI[:3], SYSTEM[:2], SYSTEM[:4]):
        assert mine.text(messages, True) == theirs.text(messages, True)


def test_llama2_is_the_question_answering_systems_format_with_one_beginning_of_text():
    renderer = Renderer(byte_level(("<s>", "</s>"), "</s>", template_named("llama2"), "<s>"))
    (piece,) = renderer.rendered(Conversation((user("What is it?"), assistant("a，b")))).tree
    assert renderer.tokenizer.decode(list(piece.tokens)) == "<s>[INST] What is it? [/INST] a，b</s>"


# --- models they were not made for --------------------------------------------------------------------------------


@every_template
def test_a_tokenizer_without_the_control_tokens_learns_answer_and_its_own_end_token(family):
    tokenizer = byte_level(("<|endoftext|>",), "<|endoftext|>", None)
    renderer = Renderer(tokenizer, template=template_named(family.name))
    (piece,) = renderer.rendered(Conversation(SINGLE)).tree
    ((text,),) = learned(renderer, [piece])
    assert text == f"{family.open}{POEM}<|endoftext|>"


def test_a_base_model_learns_to_stop_at_the_templates_token_after_a_call():
    tokenizer = byte_level(("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "<|endoftext|>", None)
    renderer = Renderer(tokenizer, template=template_named("chatml"))
    assert learned(renderer, renderer.rendered(TOOLS).tree) == [
        [f"{JSON_CALL}<|im_end|>", "It is sunny.<|im_end|>"]
    ]


def test_text_in_parts_is_joined_and_pictures_are_refused():
    renderer = Renderer(byte_level(("<s>", "</s>"), "</s>", template_named("vicuna"), "<s>"))
    parts = (Message("user", ("What ", "is it?")), Message("assistant", ("A ", "cat."), 1.0))
    assert renderer.text(parts, False) == "<s>USER: What is it? ASSISTANT: A cat.</s>"
    with pytest.raises(InputError, match="the model reads none"):
        renderer.text([Message("user", (Image("cat.png", 8, 8), "What is it?"))], True)


@pytest.mark.parametrize(
    "name", ["alpaca", "deepseek", "gemma", "harmony", "llama2", "mistral", "qa", "vicuna"]
)
def test_a_system_message_in_mid_conversation_is_refused_where_it_has_no_place(name):
    renderer = Renderer(byte_level(("<s>", "</s>"), "</s>", template_named(name), "<s>"))
    with pytest.raises(BadRow, match="no place here for a message by system"):
        renderer.text([*MULTI[:2], Message("system", "Now be long."), *MULTI[2:]], False)


@pytest.mark.parametrize("name", ["chatml-think", "deepseek-r1"])
def test_a_thinking_block_in_the_text_is_the_thought(name):
    renderer = Renderer(byte_level(("<s>", "</s>"), "</s>", template_named(name), "<s>"))
    apart = [
        user("Hi"),
        assistant("Hello!", "A greeting."),
        user("And?"),
        assistant("That is all.", "Stop here."),
    ]
    inside = [
        user("Hi"),
        assistant("<think>\nA greeting.\n</think>\n\nHello!"),
        user("And?"),
        assistant("<think>\nStop here.\n</think>\n\nThat is all."),
    ]
    assert renderer.text(inside, False) == renderer.text(apart, False)


# --- by name, never guessed -----------------------------------------------------------------------------------------


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(
        InputError, match=r"there is no template chatlm.*one of alpaca, .*nearest name is chatml"
    ):
        template_named("chatlm")


def test_a_file_serves_too(tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{{ messages[0].content }} 你好", "utf-8")
    assert template_named(str(file)) == "{{ messages[0].content }} 你好"
    assert control_tokens_of(str(file)) == ()


def test_a_file_that_is_missing_or_no_text_is_told_with_its_place(tmp_path):
    (tmp_path / "mine.jinja").write_bytes(b"{{ \xff }}")
    for path, found in ((tmp_path / "mine.jinja", "UTF-8"), (tmp_path / "yours.jinja", "no such file")):
        with pytest.raises(InputError, match=f"data.template: .*{path.name}.*{found}"):
            template_named(str(path))


def test_in_a_recipe_a_name_stays_a_name_and_a_file_becomes_a_path(tmp_path):
    def template_in(written, *overrides):
        text = f"name: t\nmodel: {{source: m}}\ndata: {{train: a.jsonl, template: {written}}}\n"
        (tmp_path / "recipe.yaml").write_text(text, "utf-8")
        return load.load(str(tmp_path / "recipe.yaml"), overrides).data.template

    assert template_in("chatml-think") == "chatml-think"
    assert template_in("a.jsonl", "data.template=llama2") == "llama2"
    assert template_in("mine.jinja") == str(tmp_path / "mine.jinja")
    assert template_in("sub/mine") == str(tmp_path / "sub" / "mine")
    (tmp_path / "mine").write_text("{{ messages }}", "utf-8")
    assert template_in("mine") == str(tmp_path / "mine")


def test_the_command_line_lists_them():
    listed = CliRunner().invoke(app, ["templates"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()[: len(TEMPLATES)]] == list(TEMPLATES)


def test_the_page_is_what_the_templates_write():
    assert not list(write_template_docs.complaints(["--check"]))
    page = write_template_docs.PAGE.read_text("utf-8")
    assert re.findall(r"^\| \[`(\S+)`\]", page, re.MULTILINE) == list(TEMPLATES)


def test_check_fails_on_a_page_of_yesterday(tmp_path, monkeypatch):
    monkeypatch.setattr(write_template_docs, "PAGE", tmp_path / "templates.md")
    assert list(write_template_docs.complaints(["--check"]))
    assert not list(write_template_docs.complaints([]))
    assert not list(write_template_docs.complaints(["--check"]))
    (tmp_path / "templates.md").write_text("old", "utf-8")
    assert list(write_template_docs.complaints(["--check"]))

"""The way back: what is written of a sample reads as the same sample, in the one form of its kind."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.converters import convert, detect
from tunesmith.data.converters.canonical import to_messages
from tunesmith.data.schema import Conversation, Labelled, Message, Pair, Place, SourceRow, Text, ToolCall

from ..tiny import STEADY
from .rows import picture, read, source

PLACE = Place("rows.jsonl", 1, 1)
TEXTS = st.one_of(
    st.sampled_from(["<image>", "<|vision_start|>a.png<|vision_end|>"]),
    st.text(st.characters(codec="utf-8"), max_size=9),
)
ANSWERS = TEXTS.filter(str.strip)
NUMBERS = st.floats(0, 9, allow_nan=False)
CALLS = st.builds(
    ToolCall,
    ANSWERS,
    st.dictionaries(
        TEXTS, st.one_of(st.none(), st.booleans(), st.integers(), NUMBERS, TEXTS, st.lists(TEXTS)), max_size=2
    ),
    st.one_of(st.none(), st.just("c1")),
)
NAMES = st.one_of(st.none(), ANSWERS)
USERS = st.builds(Message, st.just("user"), ANSWERS, name=NAMES)
ROUND = st.one_of(
    st.tuples(USERS, st.builds(Message, st.just("assistant"), ANSWERS, NUMBERS, name=NAMES)),
    st.tuples(
        USERS,
        st.builds(
            Message,
            st.just("assistant"),
            TEXTS,
            NUMBERS,
            st.one_of(st.none(), ANSWERS),
            st.tuples(CALLS),
        ),
        st.builds(Message, st.just("tool"), TEXTS, name=NAMES),
        st.builds(Message, st.just("assistant"), ANSWERS, st.just(1.0), st.one_of(st.none(), ANSWERS)),
    ),
)
SYSTEMS = st.lists(st.builds(Message, st.just("system"), TEXTS), max_size=1)
TOOLS = st.lists(st.builds(lambda name: tool(name), ANSWERS), max_size=2)
LAST = (Message("user", "q"), Message("assistant", "a", 1.0))


def tool(name):
    return {"type": "function", "function": {"name": name}}


def with_the_called(tools, messages):
    """A list of tools has all that are called in it; no list at all is one too."""
    return (*tools, *(tool(call.name) for message in messages for call in message.tool_calls if tools))


def chat(start, rounds, last=LAST):
    return (*start, *(message for one in rounds for message in one), *last)


def and_back(converted):
    row = SourceRow(json.loads(json.dumps(to_messages(converted))), PLACE)
    format = detect([row], source())
    return format.name, convert(row, format, source())


@STEADY
@given(SYSTEMS, st.lists(ROUND, max_size=3), TOOLS, st.sampled_from([None, True, False]))
def test_chats_and_judged_chats_come_back(start, rounds, tools, good):
    messages = chat(start, rounds)
    conversation = Conversation(messages, with_the_called(tools, messages))
    if good is None:
        assert and_back(conversation) == ("messages", conversation)
    else:
        assert and_back(Labelled(conversation, good)) == ("labelled", Labelled(conversation, good))


@STEADY
@given(SYSTEMS, ANSWERS, ANSWERS, ANSWERS, TOOLS)
def test_pairs_come_back(start, asked, better, worse, tools):
    if better == worse:
        return
    before = chat(start, [(Message("user", "p"), Message("assistant", "o"))], [Message("user", asked)])
    pair = Pair(
        before, (Message("assistant", better, 2.0),), (Message("assistant", worse, 1.0),), tuple(tools)
    )
    assert and_back(pair) == ("preference", pair)


@given(ANSWERS)
@STEADY
def test_texts_come_back(text):
    assert and_back(Text(text)) == ("text", Text(text))


def test_pictures_come_back(tmp_path):
    path = picture(tmp_path / "a.png")
    row = {"query": "<image> and <image>", "response": "a", "images": [path, path]}
    conversation = read("query_response", row)
    assert and_back(conversation) == ("messages", conversation)


def test_tool_calls_are_written_as_openai_writes_them():
    call = Message("assistant", "", 1.0, tool_calls=(ToolCall("f", {"x": "é"}, "c1"),))
    written = to_messages(Conversation((Message("user", "q"), call)))
    assert written["messages"][1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": "é"}'}}
        ],
    }

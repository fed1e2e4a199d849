"""Which format a file has, and what is said when none or several fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.converters import FORMATS, convert, detect
from tunesmith.data.converters.base import Format
from tunesmith.data.converters.canonical import to_messages
from tunesmith.data.schema import BadRow, Place, SourceRow
from tunesmith.errors import InputError

from ..tiny import STEADY
from .rows import picture, source

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHOWN = {"from": "user", "value": "<|vision_start|>p.png<|vision_end|>"}
ENTITY = {"start_idx": 0, "end_idx": 1, "entity_text": "t", "entity_label": "PER"}
ROWS = {
    "messages": {"messages": CHAT},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    "vision": {"id": "1", "conversations": [SHOWN, {"from": "assistant", "value": "a"}]},
    "conversation": {"conversation": [{"human": "q", "assistant": "a"}]},
    "alpaca": {"instruction": "q", "input": "", "output": "a"},
    "query_response": {"query": "q", "response": "a"},
    "question_answer": {"question": "q", "answer": "a"},
    "prompt_completion": {"prompt": "q", "completion": "a"},
    "preference": {"prompt": "q", "chosen": "a", "rejected": "b"},
    "labelled": {"messages": CHAT, "label": True},
    "classification": {"text": "t", "category": ["a", "b"], "output": "a"},
    "ner": {"text": "t", "entities": [ENTITY]},
    "qa_keywords": {"question": "q", "answer_keywords": ["a"]},
    "captions": {"image_path": "p.png", "caption": "a"},
    "prompt": {"prompt": "q"},
    "poetry": {"id": "x", "topic": "t", "input": "q", "output": "a"},
    "text": {"text": "a"},
}


def source_rows(*values, folder=None) -> list[SourceRow]:
    file = "rows.jsonl" if folder is None else str(folder / "rows.jsonl")
    return [SourceRow(value, Place(file, 10 + at, at)) for at, value in enumerate(values, start=1)]


def test_every_format_has_an_example_here():
    assert set(ROWS) == set(FORMATS)


@pytest.mark.parametrize("name", ROWS)
def test_each_format_is_detected_and_converts(name, tmp_path):
    picture(tmp_path / "p.png")
    (row,) = source_rows({**ROWS[name], "another": 1}, folder=tmp_path)
    assert detect([row], source()) is FORMATS[name]
    converted = convert(row, FORMATS[name], source())
    assert type(converted) is FORMATS[name].makes
    assert '"a"' in repr(to_messages(converted)).replace("'", '"') or name in ("ner", "prompt")


@pytest.mark.parametrize("name", ROWS)
def test_shape_in_the_messages_names_the_fields(name):
    assert all(f'"{field}"' in FORMATS[name].shape for field in FORMATS[name].fields)


def test_named_format_is_taken_without_looking():
    assert detect(source_rows(ROWS["text"]), source(format="poetry")).name == "poetry"


def test_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(InputError) as caught:
        detect(source_rows(ROWS["text"]), source(format="poem-try"))
    message = str(caught.value)
    assert message.startswith("rows.jsonl: unknown data format 'poem-try'")
    assert "The nearest is 'poetry'." in message
    assert all(repr(name) in message for name in FORMATS)


def test_no_format_tells_place_fields_shapes_and_the_nearest():
    with pytest.raises(InputError) as caught:
        detect(source_rows({"id": 1, "topic": "t", "input": "q", "outptu": "a"}), source())
    message = str(caught.value)
    assert message.startswith(
        "rows.jsonl:11: no known format fits the fields of row 1: 'id', 'topic', 'input', 'outptu'"
    )
    assert all(name in message for name in FORMATS)
    assert (
        f"The nearest is poetry ({FORMATS['poetry'].shape}), which also needs 'output' (here 'outptu'?)"
        in message
    )
    assert "`columns: {output: outptu}`" in message


@pytest.mark.parametrize(("value", "kind"), [([], "a list"), (3, "a number"), (None, "null")])
def test_row_that_is_no_object_fits_no_format(value, kind):
    with pytest.raises(InputError, match=f"row 1 is {kind}"):
        detect(source_rows(value), source())
    with pytest.raises(BadRow, match=f"row 1 is {kind}"):
        convert(source_rows(value)[0], FORMATS["text"], source(columns={"text": "x"}))


def test_two_formats_name_both_and_the_line_for_the_recipe():
    with pytest.raises(InputError) as caught:
        detect(source_rows({**ROWS["text"], **ROWS["messages"]}), source())
    message = str(caught.value)
    assert "2 formats fit this row: messages and text" in message
    assert "`format: messages`" in message
    assert "`format: text`" in message


def test_a_bad_first_row_is_checked_against_the_format_of_the_others():
    rows = source_rows({"prompt": "q"}, ROWS["prompt_completion"])
    format = detect(rows, source())
    assert format.name == "prompt_completion"
    with pytest.raises(BadRow, match="row 1 has no field 'completion'"):
        convert(rows[0], format, source())


def broken(number: int) -> SourceRow:
    place = Place("rows.jsonl", number, number)
    return SourceRow(None, place, BadRow(f"row {number} is broken", where=str(place)))


def test_rows_none_of_which_could_be_parsed_tell_the_first_ones_problem():
    with pytest.raises(InputError, match=r"rows\.jsonl:1: row 1 is broken"):
        detect([broken(1), broken(2)], source())
    with pytest.raises(InputError, match="row 1 is broken"):
        detect([broken(1)], source(columns={"text": "x"}))
    assert detect([broken(1)], source(format="text")) is FORMATS["text"]


@pytest.mark.parametrize("name", ROWS)
def test_null_columns_are_none(name, tmp_path):
    picture(tmp_path / "p.png")
    nulls = {field: None for format in FORMATS.values() for field in format.known}
    (row,) = source_rows({**nulls, **ROWS[name]}, folder=tmp_path)
    (plain,) = source_rows(ROWS[name], folder=tmp_path)
    assert detect([row], source()) is FORMATS[name]
    assert convert(row, FORMATS[name], source()) == convert(plain, FORMATS[name], source())


def test_a_null_in_the_only_row_still_tells_the_format():
    rows = source_rows({"query": None, "response": "a"})
    assert detect(rows, source()).name == "query_response"
    with pytest.raises(BadRow, match="field 'query' of row 1 is null"):
        convert(rows[0], FORMATS["query_response"], source())


@pytest.mark.parametrize(
    ("more", "name"), [({"label": False}, "labelled"), ({"rejected_response": "b"}, "preference")]
)
def test_a_judgement_after_rows_without_is_never_passed_over(more, name):
    rows = source_rows(ROWS["messages"], {**ROWS["messages"], **more})
    format = detect(rows, source())
    assert format.name == "messages"
    with pytest.raises(BadRow, match=f"row 2 has a judgement .*`format: {name}`, or `format: messages`"):
        convert(rows[1], format, source())
    assert type(convert(rows[1], format, source(format="messages"))) is format.makes


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        ({"instruction": "i", "response": "r"}, "`columns: {output: response}`"),
        ({"INSTRUCTION": "i", "RESPONSE": "r"}, "`columns: {instruction: INSTRUCTION, output: RESPONSE}`"),
        (
            {"instruction": "i", "context": "c", "response": "r", "category": "qa"},
            "`columns: {output: response, input: context}`",
        ),
        (
            {"system_message": "s", "instruction": "i", "response": "r"},
            "`columns: {output: response, system: system_message}`",
        ),
        (
            {"segments": [{"label": True, "text": "t"}]},
            "Axolotl's input_output, are not read: write the text before",
        ),
    ],
)
def test_the_line_for_the_recipe_names_all_that_would_be_lost(row, remedy):
    with pytest.raises(InputError) as caught:
        detect(source_rows(row), source())
    assert remedy in str(caught.value)


def test_row_that_could_not_be_parsed_raises_its_problem():
    row = SourceRow(None, Place("f", 1, 1), BadRow("broken", where="f:1"))
    with pytest.raises(BadRow, match="broken"):
        convert(row, FORMATS["text"], source())


FIELDS = sorted({"videos", "audio", *(name for format in FORMATS.values() for name in format.known)})
KEYS = sorted(
    {
        "role",
        "content",
        "from",
        "value",
        "weight",
        "type",
        "text",
        "image",
        "image_url",
        "url",
        "path",
        "tool_calls",
        "messages",
        "tools",
    }
    | {
        "function",
        "name",
        "arguments",
        "human",
        "assistant",
        "function_call",
        "thinking",
        "tool_call_id",
        *ENTITY,
    }
)
WORDS = st.sampled_from(
    [
        "user",
        "assistant",
        "system",
        "tool",
        "human",
        "gpt",
        "function_call",
        "tool_call",
        "text",
        "image",
        "<image>",
        "a",
        "0",
        "true",
        "[]",
        '[["q","a"]]',
        '{"name":"f","arguments":{}}',
        "<|vision_start|>x<|vision_end|>",
        "\n\nHuman: q\n\nAssistant: a",
        "�",
    ]
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        WORDS,
        st.text(max_size=4),
        st.binary(max_size=2),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
# Turns that are right more often than not, so that what stands behind the first check is reached too.
TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "assistant", "tool"]),
            "content": st.one_of(WORDS, VALUES),
        },
        optional=dict.fromkeys(
            ["weight", "train", "loss", "tool_calls", "thinking", "refusal", "name", "images"], VALUES
        ),
    ),
    max_size=4,
)


@STEADY
@given(
    row=st.dictionaries(st.sampled_from(FIELDS), st.one_of(VALUES, TURNS), max_size=5),
    name=st.sampled_from(sorted(FORMATS)),
    needed=st.lists(st.one_of(VALUES, TURNS), min_size=4, max_size=4),
)
def test_any_row_converts_or_is_a_bad_row(row, name, needed):
    (found,) = source_rows({**row, **dict(zip(FORMATS[name].fields, needed, strict=False))})
    for format in FORMATS.values():
        made = outcome(lambda format=format: type(convert(found, format, source(labels=["a"]))))
        assert made is format.makes or issubclass(made, BadRow)
    assert outcome(lambda: type(detect([found], source()))) in (Format, InputError)


def outcome(attempt):
    """What is given back, or the type of the error, whose message must name the place."""
    try:
        return attempt()
    except InputError as error:
        told = error
    assert str(told).startswith("rows.jsonl:11: ")
    return type(told)

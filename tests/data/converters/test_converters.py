"""Which format a file has, and what is said when none or several fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.converters import FORMATS, convert, detect
from tunesmith.data.schema import BadRow, Conversation, Place, SourceRow, Text
from tunesmith.errors import InputError

from ..tiny import STEADY

ROWS = {
    "messages": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    "poetry": {"id": "x", "topic": "t", "input": "q", "output": "a"},
    "prompt_completion": {"prompt": "q", "completion": "a"},
    "text": {"text": "a"},
}


def source_rows(*values) -> list[SourceRow]:
    return [SourceRow(value, Place("rows.jsonl", 10 + at, at)) for at, value in enumerate(values, start=1)]


def test_every_format_has_an_example_here():
    assert set(ROWS) == set(FORMATS)


@pytest.mark.parametrize("name", ROWS)
def test_each_format_is_detected_and_converts(name):
    (row,) = source_rows({**ROWS[name], "another": 1})
    assert detect([row], None) is FORMATS[name]
    converted = convert(row, FORMATS[name])
    assert type(converted) is FORMATS[name].makes
    said = converted.text if isinstance(converted, Text) else converted.messages[-1].content
    assert said == "a"


def test_named_format_is_taken_without_looking():
    assert detect(source_rows(ROWS["text"]), "poetry").name == "poetry"


def test_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(InputError) as caught:
        detect(source_rows(ROWS["text"]), "poem-try")
    message = str(caught.value)
    assert message.startswith("rows.jsonl: unknown data format 'poem-try'")
    assert "The nearest is 'poetry'." in message
    assert all(repr(name) in message for name in FORMATS)


def test_no_format_tells_place_fields_shapes_and_the_nearest():
    with pytest.raises(InputError) as caught:
        detect(source_rows({"id": 1, "topic": "t", "input": "q", "outptu": "a"}), None)
    message = str(caught.value)
    assert message.startswith(
        "rows.jsonl:11: no known format fits the fields of row 1: 'id', 'topic', 'input', 'outptu'"
    )
    assert all(format.shape in message for format in FORMATS.values())
    assert "The nearest is poetry, which also needs 'output' (here 'outptu'?)" in message


@pytest.mark.parametrize(("value", "kind"), [([], "a list"), (3, "a number"), (None, "null")])
def test_row_that_is_no_object_fits_no_format(value, kind):
    with pytest.raises(InputError, match=f"row 1 is {kind}"):
        detect(source_rows(value), None)
    with pytest.raises(BadRow, match=f"row 1 is {kind}"):
        convert(source_rows(value)[0], FORMATS["text"])


def test_two_formats_name_both_and_the_line_for_the_recipe():
    with pytest.raises(InputError) as caught:
        detect(source_rows({**ROWS["text"], **ROWS["messages"]}), None)
    message = str(caught.value)
    assert "2 formats fit this row: messages and text" in message
    assert "`format: messages`" in message
    assert "`format: text`" in message


def test_a_bad_first_row_is_checked_against_the_format_of_the_others():
    rows = source_rows({"prompt": "q"}, ROWS["prompt_completion"])
    format = detect(rows, None)
    assert format.name == "prompt_completion"
    with pytest.raises(BadRow, match="row 1 has no field 'completion'"):
        convert(rows[0], format)


def test_row_that_could_not_be_parsed_raises_its_problem():
    row = SourceRow(None, Place("f", 1, 1), BadRow("broken", where="f:1"))
    with pytest.raises(BadRow, match="broken"):
        convert(row, FORMATS["text"])


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "weight", "x"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@STEADY
@given(row=st.dictionaries(st.sampled_from(sorted({f for r in ROWS.values() for f in r})), JSON_VALUES))
def test_any_row_converts_or_is_a_bad_row(row):
    for format in FORMATS.values():
        try:
            converted = convert(source_rows(row)[0], format)
        except BadRow as error:
            converted = error
        assert isinstance(converted, BadRow | Conversation | Text)
        assert not isinstance(converted, BadRow) or str(converted).startswith("rows.jsonl:11: ")

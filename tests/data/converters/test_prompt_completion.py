"""The prompt/completion format."""

import pytest

from tunesmith.data.converters.prompt_completion import convert
from tunesmith.data.schema import BadRow, Message, Place

PLACE = Place("rows.jsonl", 3, 3)


def test_prompt_is_the_users_and_completion_the_assistants():
    assert convert({"prompt": "", "completion": " a "}, PLACE).messages == (
        Message("user", "", 0.0),
        Message("assistant", " a ", 1.0),
    )


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"completion": "a"}, "row 3 has no field 'prompt'"),
        ({"prompt": "q"}, "row 3 has no field 'completion'"),
        ({"prompt": [], "completion": "a"}, "field 'prompt' of row 3 is a list"),
        ({"prompt": "q", "completion": "\t"}, "holds nothing but blanks"),
    ],
)
def test_wrong_rows_are_told(row, found):
    with pytest.raises(BadRow) as caught:
        convert(row, PLACE)
    assert str(caught.value).startswith("rows.jsonl:3: ")
    assert found in str(caught.value)

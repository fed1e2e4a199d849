"""The poetry format."""

import pytest

from tunesmith.data.converters.poetry import convert
from tunesmith.data.schema import BadRow, Message, Place

PLACE = Place("poems.json", 7, 2)
ROW = {"id": "spring_001", "topic": "Spring (春天)", "input": "Write a poem", "output": " 春风又绿江南岸，\n"}


def test_input_is_the_users_and_output_the_assistants_unedited():
    assert convert(ROW, PLACE).messages == (
        Message("user", "Write a poem", 0.0),
        Message("assistant", " 春风又绿江南岸，\n", 1.0),
    )


@pytest.mark.parametrize("name", ["id", "topic", "input", "output"])
def test_missing_field_is_named_with_its_row(name):
    row = {key: value for key, value in ROW.items() if key != name}
    with pytest.raises(BadRow) as caught:
        convert(row, PLACE)
    assert str(caught.value).startswith(f"poems.json:7: row 2 has no field {name!r}")


def test_nearest_field_is_suggested():
    row = {key: value for key, value in ROW.items() if key != "output"}
    with pytest.raises(BadRow, match="The nearest is 'Output'"):
        convert({**row, "Output": "x"}, PLACE)


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("id", True, "field 'id' of row 2 is true or false"),
        ("topic", 3, "field 'topic' of row 2 is a number; expected a string"),
        ("input", ["x"], "field 'input' of row 2 is a list; expected a string"),
        ("output", None, "field 'output' of row 2 is null; expected a string"),
        ("output", "", "field 'output' of row 2 is empty"),
        ("output", " \n\u3000", "field 'output' of row 2 holds nothing but blanks"),
        ("output", "a\ud83d", r"field 'output' of row 2 holds half a character, '\ud83d'"),
    ],
)
def test_wrong_values_are_told(field, value, found):
    with pytest.raises(BadRow) as caught:
        convert({**ROW, field: value}, PLACE)
    assert found in str(caught.value)
    assert str(caught.value).isprintable()


def test_id_may_be_a_number():
    assert convert({**ROW, "id": 1}, PLACE)

"""The poetry format."""

import pytest

from tunesmith.data.converters import FORMATS

from .rows import read, said, turns

ROW = {"id": "spring_001", "topic": "Spring (春天)", "input": "Write a poem", "output": " 春风又绿江南岸，\n"}


def test_input_is_the_users_and_output_the_assistants_unedited():
    assert turns(read("poetry", ROW)) == [
        ("user", "Write a poem", 0.0),
        ("assistant", " 春风又绿江南岸，\n", 1.0),
    ]


@pytest.mark.parametrize("name", ["id", "topic", "input", "output"])
def test_missing_field_is_named_with_its_row(name):
    row = {key: value for key, value in ROW.items() if key != name}
    assert f"row 3 has no field {name!r}" in said("poetry", row)


def test_nearest_field_is_suggested():
    row = {key: value for key, value in ROW.items() if key != "output"}
    assert "The nearest is 'Output'" in said("poetry", {**row, "Output": "x"})


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("id", True, "field 'id' of row 3 is true or false"),
        ("topic", 3, "field 'topic' of row 3 is a number; expected a string"),
        ("input", ["x"], "field 'input' of row 3 is a list; expected a string"),
        ("output", None, "field 'output' of row 3 is null; expected a string"),
        ("output", "", "field 'output' of row 3 is empty"),
        ("output", " \n\u3000", "field 'output' of row 3 holds nothing but blanks"),
        ("output", "a\ud83d", r"field 'output' of row 3 holds half a character, '\ud83d'"),
    ],
)
def test_wrong_values_are_told(field, value, found):
    message = said("poetry", {**ROW, field: value})
    assert found in message
    assert message.isprintable()


def test_id_may_be_a_number_and_is_the_rows_own():
    assert turns(read("poetry", {**ROW, "id": 1})) == turns(read("poetry", ROW))
    assert FORMATS["poetry"].id_field == "id"

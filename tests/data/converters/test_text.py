"""The text format."""

import pytest

from tunesmith.data.converters import FORMATS
from tunesmith.data.schema import Text

from .rows import read, said


def test_text_is_kept_as_it_is():
    assert read("text", {"text": " a\r\n"}) == Text(" a\r\n")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({}, "row 3 has no field 'text'"),
        ({"text": 1}, "is a number"),
        ({"text": ""}, "is empty; expected text to learn"),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("text", row)


@pytest.mark.parametrize("more", [{"label": 0}, {"entities": []}, {"category": ["a"], "output": "a"}])
def test_a_row_of_a_task_is_no_plain_text(more):
    assert FORMATS["text"].fits({"text": "a", "category": "news"})
    assert not FORMATS["text"].fits({"text": "a", **more})

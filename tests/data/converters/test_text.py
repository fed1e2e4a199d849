"""The text format."""

import pytest

from tunesmith.data.converters.text import convert
from tunesmith.data.schema import BadRow, Place, Text

PLACE = Place("rows.jsonl", 3, 3)


def test_text_is_kept_as_it_is():
    assert convert({"text": " a\r\n"}, PLACE) == Text(" a\r\n")


@pytest.mark.parametrize(
    ("row", "found"),
    [({}, "row 3 has no field 'text'"), ({"text": 1}, "is a number"), ({"text": ""}, "is empty")],
)
def test_wrong_rows_are_told(row, found):
    with pytest.raises(BadRow, match=found):
        convert(row, PLACE)

"""The words of error messages."""

import pytest

from tunesmith.data.words import kind_of, quoted


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "true or false"),
        ({}, "an object"),
        ([], "a list"),
        ("", "a string"),
        (1.5, "a number"),
    ],
)
def test_kinds(value, kind):
    assert kind_of(value) == kind


def test_quoted_names_are_printable():
    assert quoted(["a", "b\n\ud83d"]) == r"'a', 'b\n\ud83d'"

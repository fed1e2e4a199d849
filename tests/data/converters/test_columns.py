"""The recipe's `columns`: renaming, and what is said of names that are not there."""

import pytest

from tunesmith.data.converters import FORMATS, convert, detect
from tunesmith.data.schema import BadRow, Place, SourceRow
from tunesmith.errors import InputError

from .rows import source, turns


def rows(*values) -> list[SourceRow]:
    return [SourceRow(value, Place("rows.csv", 1 + at, at)) for at, value in enumerate(values, start=1)]


def read(row, **options):
    (row,) = rows(row)
    given = source(**options)
    return turns(convert(row, detect([row], given), given))


def error_of(row, **options) -> str:
    with pytest.raises(InputError) as caught:
        read(row, **options)
    return str(caught.value)


QA = {"Frage": "q", "Antwort": "a", "n": 1}
RIGHT = {"query": "Frage", "response": "Antwort"}


@pytest.mark.parametrize("options", [{}, {"format": "query_response"}])
def test_the_row_is_read_and_detected_under_the_formats_names(options):
    assert read(QA, columns=RIGHT, **options) == [("user", "q", 0.0), ("assistant", "a", 1.0)]


def test_columns_may_change_places_and_displace_a_field_of_the_same_name():
    swapped = {"query": "response", "response": "query"}
    assert read({"query": "a", "response": "q"}, columns=swapped)[0] == ("user", "q", 0.0)
    assert read({**QA, "query": "old"}, columns=RIGHT)[0] == ("user", "q", 0.0)


def test_a_column_under_a_new_name_is_not_seen_under_its_old_one():
    row = {"text": "q", "response": "a"}
    assert read(row, columns={"query": "text"})[0] == ("user", "q", 0.0)


@pytest.mark.parametrize(
    ("columns", "options", "found"),
    [
        ({"querry": "Frage", "response": "Antwort"}, {}, "names the field 'querry', which no format has"),
        ({"querry": "Frage", "response": "Antwort"}, {}, "The nearest is 'query'"),
        (
            {"query": "Frage", "response": "Antwort", "topic": "n"},
            {"format": "query_response"},
            "names the field 'topic', which the format query_response does not have",
        ),
        ({**RIGHT, "topic": "n"}, {}, "which the format query_response does not have"),
        ({"query": "Fragen", "response": "Antwort"}, {}, "names the column 'Fragen', which no row has"),
        ({"query": "Fragen", "response": "Antwort"}, {}, "The nearest is 'Frage'"),
        ({"Frage": "query", "Antwort": "response"}, {}, "`columns: {query: Frage}`"),
    ],
)
def test_wrong_columns_are_told(columns, options, found):
    message = error_of(QA, columns=columns, **options)
    assert message.startswith("rows.csv: `columns` ")
    assert found in message


def test_a_row_without_a_needed_column_is_a_bad_row():
    given = source(columns=RIGHT)
    good, bad = rows(QA, {"Frage": "q", "Antwrt": "a"})
    format = detect([good, bad], given)
    with pytest.raises(BadRow) as caught:
        convert(bad, format, given)
    message = str(caught.value)
    assert message.startswith("rows.csv:3: row 2 has no field 'Antwort', which the recipe's `columns` names")
    assert "The nearest is 'Antwrt'" in message


def test_a_column_of_an_optional_field_may_be_missing_in_a_row():
    given = source(columns={**RIGHT, "system": "Rolle"})
    first, second = rows({**QA, "Rolle": "s"}, QA)
    assert detect([first, second], given) is FORMATS["query_response"]
    assert len(convert(first, FORMATS["query_response"], given).messages) == 3
    assert len(convert(second, FORMATS["query_response"], given).messages) == 2

"""CSV and TSV: a header and its rows, quoted line ends, and rows that don't fit beside rows that do."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..tiny import STEADY
from .rows import error, lines, rows, values


@pytest.fixture
def write(tmp_path):
    def writer(text: str, name: str = "rows.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return writer


def test_cells_are_text_and_empty_ones_are_empty(write):
    assert values(write("text,label\n春天,1\n,\n")) == [
        {"text": "春天", "label": "1"},
        {"text": "", "label": ""},
    ]


def test_a_row_knows_the_line_it_begins_on(write):
    path = write('\ufeff\r\na,b\r\n"x\r\ny",1\r\n\r\n   \r\n"say ""hi"", then go",2\r\nz,3')
    assert values(path) == [
        {"a": "x\r\ny", "b": "1"},
        {"a": 'say "hi", then go', "b": "2"},
        {"a": "z", "b": "3"},
    ]
    assert lines(path) == [3, 7, 8]


def test_a_column_alone_may_hold_blanks(write):
    assert values(write("text\na\n  \n\nb\n")) == [{"text": "a"}, {"text": "  "}, {"text": "b"}]


@pytest.mark.parametrize(("mark", "name"), [(";", "rows.csv"), ("\t", "rows.csv"), ("\t", "rows.tsv")])
def test_other_separators(write, mark, name):
    assert values(write(f"a{mark}b\nx, y{mark}2\n", name)) == [{"a": "x, y", "b": "2"}]


def test_a_comma_in_the_header_settles_the_separator(write):
    assert values(write("a;x,b\n1,2\n")) == [{"a;x": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("1,2,3", "row 2 has 3 cells; expected 2, as the header has: 'a', 'b'. A cell with a comma"),
        ("1", "row 2 has 1 cell; expected 2"),
        ('"x"y,2', "',' expected after '\"'. A double quote inside a quoted cell is written twice."),
        ("x\0,2", "row 2 has a null character in its cell 'a'"),
        (
            "x\ry,2",
            "a carriage return stands outside of quotes, with no line feed behind it. If it belongs to a cell",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_a_bad_row_and_reading_goes_on(write, row, why):
    path = write(f"a,b\n1,2\n{row}\n5,6\n")
    found = rows(path)
    assert [row.value for row in found] == [{"a": "1", "b": "2"}, None, {"a": "5", "b": "6"}]
    assert str(found[1].problem).startswith(f"{path}:3: row 2")
    assert why in str(found[1].problem)


def test_a_quote_that_is_never_closed_is_told_with_its_line(write):
    good, bad = rows(write('a,b\n1,2\n"x,3\n4,5\n'))
    assert good.problem is None and bad.place.line == 3
    assert "a cell's opening quote is never closed, up to the file's last line, 4" in str(bad.problem)


def test_cells_longer_than_pythons_own_limit(write):
    long = "长" * 200_000
    assert values(write(f"text,label\n{long},1\n")) == [{"text": long, "label": "1"}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n", "the file holds no rows, only a header"),
        ("a,,b\n1,2,3\n", ":1: column 2 of the header has no name"),
        ("\na,b,a\n1,2,3\n", ":2: two columns have the name 'a'. Give one of them another name."),
        ("a\0,b\n1,2\n", ":1: the header holds a null character"),
        ('"a"b,c\n1,2\n', ":1: the header is broken"),
        ('"a\nb\n', ":1: the header is broken: a cell's opening quote is never closed"),
        ("a,b\r1,2\r", "if it ends the line, save the file with line feeds"),
    ],
)
def test_headers_that_cannot_serve(write, text, why):
    assert why in error(write(text))


# A lone carriage return or a null has no way to stand in a file that other programs read.
CELLS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6)


@STEADY
@given(
    names=st.lists(CELLS.filter(str.strip), min_size=2, max_size=4, unique=True),
    data=st.data(),
    end=st.sampled_from(["\n", "\r\n"]),
    extension=st.sampled_from(["csv", "tsv"]),
)
def test_rows_that_pythons_writer_wrote_come_back(tmp_path_factory, names, data, end, extension):
    written = data.draw(st.lists(st.tuples(*(CELLS for _ in names)), min_size=1, max_size=5))
    names = [f"{name},;\t" for name in names]
    text, begins = io.StringIO(), []
    writer = csv.writer(
        text, delimiter="," if extension == "csv" else "\t", lineterminator=end, quoting=csv.QUOTE_ALL
    )
    for record in [names, *written]:
        begins.append(text.getvalue().count("\n") + 1)
        writer.writerow(record)
    path = tmp_path_factory.getbasetemp() / f"any.{extension}"
    path.write_bytes(text.getvalue().encode())
    assert values(path) == [dict(zip(names, record, strict=True)) for record in written]
    assert lines(path) == begins[1:]

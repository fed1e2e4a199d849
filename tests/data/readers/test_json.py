"""JSON files: arrays of rows, objects around one list of rows, true lines, and every way to be broken."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers.json import read_json
from tunesmith.errors import InputError

from ..tiny import STEADY


@pytest.fixture
def write(tmp_path):
    def writer(text: str):
        path = tmp_path / "rows.json"
        path.write_bytes(text.encode())
        return path

    return writer


def error_of(path) -> str:
    with pytest.raises(InputError) as caught:
        list(read_json(path))
    return str(caught.value)


def test_array_rows_know_their_lines(write):
    rows = list(read_json(write('\n[\n  {"a": 1}, {"a":\n 2},\n\n  {"a": 3}\n]\n')))
    assert [row.value["a"] for row in rows] == [1, 2, 3]
    assert [row.place.line for row in rows] == [3, 3, 6]
    assert [row.place.row for row in rows] == [1, 2, 3]


def test_windows_line_ends_and_byte_order_mark(write):
    rows = list(read_json(write('\ufeff[\r\n{"a": "x\\r\\ny"},\r\n{"a": 2}\r\n]')))
    assert [row.place.line for row in rows] == [2, 3]
    assert rows[0].value == {"a": "x\r\ny"}


def test_object_with_one_list_of_objects_is_that_list(write):
    text = '{"description": "诗",\n"tags": ["a"], "format": {"rows": [{}]},\n"examples": [\n{"a": 1}], "notes": {}}'
    (row,) = read_json(write(text))
    assert row.value == {"a": 1}
    assert row.place.line == 4


def test_two_lists_of_objects_are_named(write):
    assert "'train', 'test'" in error_of(write('{"train": [{"a": 1}], "test": [{"a": 1}]}'))


@pytest.mark.parametrize("text", ["[]", "[ \n ]", '{"examples": []}'])
def test_empty_list_holds_no_rows(write, text):
    assert "holds no rows" in error_of(write(text))


@pytest.mark.parametrize(
    ("text", "kind"), [("3", "a number"), ('"x"', "a string"), ("null", "null"), ("true", "true or")]
)
def test_other_values_are_no_rows(write, text, kind):
    assert f"the file holds {kind}" in error_of(write(text))


def test_object_without_rows_names_its_keys(write):
    assert "'topic', 'poem'" in error_of(write('{"topic": "x", "poem": "y"}'))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('[{"a": 1},\n {"a" 2}]', 2, 7),
        ('[{"a": 1}\n {"a": 2}]', 2, 2),
        ('[{"a": 1},\n]', 2, 1),
        ('[{"a": 1}', 1, 10),
        ('{"examples": [{"a": 1}],\n  examples: 1}', 2, 3),
        ('{"examples": [{"a": 1}]\n', 2, 1),
        ('{"examples" [1]}', 1, 13),
        ('["a\nb"]', 1, 4),
        ('[{"a": 1}]\n x', 2, 2),
        ("[{'a': 1}]", 1, 3),
    ],
)
def test_broken_json_has_line_and_column(write, text, line, column):
    path = write(text)
    message = error_of(path)
    assert message.startswith(f"{path}:{line}: broken JSON at line {line}, column {column}: ")


def test_json_lines_in_a_json_file_name_the_extension(write):
    assert ".jsonl" in error_of(write('{"a": 1}\n{"a": 2}\n'))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_outside_json_are_refused(write, constant):
    message = error_of(write(f'[{{"a": 1}},\n{{"a": {constant}}}]'))
    assert f"line 2, column 1: {constant} is not a JSON value" in message


def test_a_key_twice_would_lose_a_value(write):
    assert "the key 'a' stands twice" in error_of(write('[{"a": 1, "a": 2}]'))
    assert "the key 'rows' stands twice" in error_of(write('{"rows": [{"a": 1}], "rows": [{"a": 1}]}'))


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_an_input_error(write, opening):
    assert "broken JSON" in error_of(write(opening * 100_000))


def test_huge_integers_are_an_input_error(write):
    assert "too many digits" in error_of(write("[" + "9" * 5000 + "]"))


@STEADY
@given(
    rows=st.lists(
        st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=3), min_size=1, max_size=8
    ),
    indent=st.sampled_from([None, 0, 2]),
    in_object=st.booleans(),
)
def test_any_rows_come_back_with_the_line_they_begin_on(tmp_path_factory, rows, indent, in_object):
    whole = {"notes": "x", "examples": [*rows, {"last": 1}]} if in_object else [*rows, {"last": 1}]
    text = json.dumps(whole, indent=indent, ensure_ascii=False)
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(text.encode("utf-8"))
    read = list(read_json(path))
    assert [row.value for row in read] == [*rows, {"last": 1}]
    lines = text.split("\n")
    assert '"last"' in lines[read[-1].place.line - 1] + lines[min(read[-1].place.line, len(lines) - 1)]
    assert all(lines[row.place.line - 1].lstrip().startswith(("{", "[", '"')) for row in read)


def test_time_grows_with_size_not_with_its_square(write):
    path = write("[" + ",\n".join('{"a": "xxxxxxxxxxxxxxxxxxxx"}' for _ in range(100_000)) + "]")
    start = time.perf_counter()
    last = list(read_json(path))[-1]
    assert last.place.line == 100_000
    assert time.perf_counter() - start < 10  # counting lines from the start for each row would take minutes

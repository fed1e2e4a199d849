"""JSON files: arrays of rows, objects around one list of rows, true lines, and every way to be broken."""

import json
import time
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers import json as json_reader
from tunesmith.data.readers import text as text_reader

from ..tiny import STEADY
from .rows import error, rows


@pytest.fixture
def write(tmp_path):
    def writer(text: str):
        path = tmp_path / "rows.json"
        path.write_bytes(text.encode())
        return path

    return writer


def test_array_rows_know_their_lines(write):
    found = rows(write('\n[\n  {"a": 1}, {"a":\n 2},\n\n  {"a": 3}\n]\n'))
    assert [row.value["a"] for row in found] == [1, 2, 3]
    assert [row.place.line for row in found] == [3, 3, 6]
    assert [row.place.row for row in found] == [1, 2, 3]


def test_windows_line_ends_and_byte_order_mark(write):
    found = rows(write('\ufeff[\r\n{"a": "x\\r\\ny"},\r\n{"a": 2}\r\n]'))
    assert [row.place.line for row in found] == [2, 3]
    assert found[0].value == {"a": "x\r\ny"}


def test_object_with_one_list_of_objects_is_that_list(write):
    text = '{"description": "诗",\n"tags": ["a"], "format": {"rows": [{}]},\n"examples": [\n{"a": 1}], "notes": {}}'
    (row,) = rows(write(text))
    assert row.value == {"a": 1}
    assert row.place.line == 4


def test_two_lists_of_objects_are_named(write):
    assert "'train', 'test'" in error(write('{"train": [{"a": 1}], "test": [{"a": 1}]}'))


@pytest.mark.parametrize("text", ["[]", "[ \n ]", '{"examples": []}'])
def test_empty_list_holds_no_rows(write, text):
    assert "holds no rows" in error(write(text))


@pytest.mark.parametrize(
    ("text", "kind"), [("3", "a number"), ('"x"', "a string"), ("null", "null"), ("true", "true or")]
)
def test_other_values_are_no_rows(write, text, kind):
    assert f"the file holds {kind}" in error(write(text))


def test_object_without_rows_names_its_keys(write):
    assert "'topic', 'poem'" in error(write('{"topic": "x", "poem": "y"}'))


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
    message = error(path)
    assert message.startswith(f"{path}:{line}: broken JSON at line {line}, column {column}: ")


def test_json_lines_in_a_json_file_name_the_extension(write):
    assert ".jsonl" in error(write('{"a": 1}\n{"a": 2}\n'))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_outside_json_are_refused(write, constant):
    message = error(write(f'[{{"a": 1}},\n{{"a": {constant}}}]'))
    assert f"line 2, column 7: {constant} is not a JSON value" in message


def test_a_key_twice_would_lose_a_value(write):
    assert "column 11: the key 'a' stands twice" in error(write('[{"a": 1, "a": 2}]'))
    assert "the key 'rows' stands twice" in error(write('{"rows": [{"a": 1}], "rows": [{"a": 1}]}'))


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_an_input_error(write, opening):
    assert "broken JSON" in error(write(opening * 100_000))


def test_huge_integers_are_an_input_error(write):
    assert "too many digits" in error(write("[" + "9" * 5000 + "]"))


def in_small_blocks(size: int):
    """As if the file were large: its text comes in blocks of a few bytes."""
    return mock.patch.multiple(text_reader, BLOCK=size), mock.patch.multiple(json_reader, BLOCK=size)


ROWS = st.lists(
    st.dictionaries(
        st.text(max_size=5),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8),
        max_size=3,
    ),
    min_size=1,
    max_size=8,
)


@STEADY
@given(
    written=ROWS,
    indent=st.sampled_from([None, 0, 2]),
    in_object=st.booleans(),
    escaped=st.booleans(),
    size=st.integers(1, 30),
)
def test_any_rows_come_back_with_the_line_they_begin_on(
    tmp_path_factory, written, indent, in_object, escaped, size
):
    written = [*written, {"last": 1}]
    whole = {"notes": [1.5, "x"], "examples": written, "n": 12} if in_object else written
    text = json.dumps(whole, indent=indent, ensure_ascii=escaped)
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(text.encode("utf-8"))
    small_text, small_window = in_small_blocks(size)
    with small_text, small_window:
        found = rows(path)
    assert [row.value for row in found] == written
    assert [row.value for row in rows(path)] == written
    begins = text.index("[", text.index("examples") if in_object else 0) + 1
    for row in found:  # the outer list's objects hold no objects, and braces in strings are not looked at
        begins += len(text[begins:]) - len(text[begins:].lstrip(", \n"))
        assert row.place.line == text.count("\n", 0, begins) + 1
        begins = json.JSONDecoder().raw_decode(text, begins)[1]


@STEADY
@given(
    cut=st.integers(0, 60),
    extra=st.sampled_from(["", "]", "}", ",", "x", "\n", "-Infinit", "\\"]),
    size=st.integers(1, 20),
)
def test_small_blocks_find_the_same_faults_at_the_same_places(tmp_path_factory, cut, extra, size):
    text = '{"examples": [{"a": 1.5e-3, "b": "\\u6625x"},\n true, -0.5],\n "k": [null]}'
    path = tmp_path_factory.getbasetemp() / "cut.json"
    path.write_text(text[:cut] + extra)
    told = error(path)
    small_text, small_window = in_small_blocks(size)
    with small_text, small_window:
        assert error(path) == told


def test_time_grows_with_size_not_with_its_square(write):
    path = write("[" + ",\n".join('{"a": "xxxxxxxxxxxxxxxxxxxx"}' for _ in range(100_000)) + "]")
    start = time.perf_counter()
    last = rows(path)[-1]
    assert last.place.line == 100_000
    assert time.perf_counter() - start < 10  # counting lines from the start for each row would take minutes

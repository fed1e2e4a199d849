"""JSON Lines: lines and their numbers, blank lines, and broken lines beside good ones."""

import pytest

from .rows import error, rows


@pytest.fixture
def write(tmp_path):
    def writer(text: str):
        path = tmp_path / "rows.jsonl"
        path.write_bytes(text.encode())
        return path

    return writer


def test_rows_know_their_lines_and_blank_lines_are_none(write):
    found = rows(write('\n{"a": 1}\r\n   \r\n{"a": 2}\r\n{"a": 3}'))
    assert [(row.value["a"], row.place.line, row.place.row) for row in found] == [
        (1, 2, 1),
        (2, 4, 2),
        (3, 5, 3),
    ]


def test_byte_order_mark_is_dropped(write):
    (row,) = rows(write('\ufeff{"a": 1}'))
    assert row.value == {"a": 1}


def test_unicode_line_separators_end_no_line(write):
    found = rows(write('{"a": "x\u2028y\x85z\x0c"}\n{"a": 2}'.replace("\x0c", "\\f")))
    assert [row.place.line for row in found] == [1, 2]
    assert found[0].value["a"] == "x\u2028y\x85z\x0c"


@pytest.mark.parametrize(
    ("line", "column", "why"),
    [
        ('{"a" 1}', 6, "expecting ':'"),
        ('{"a": 1} {"a": 2}', 10, "more text"),
        ('{"a": NaN}', 7, "NaN is not a JSON value"),
        ('{"NaN": "Infinity", "b": [{"c\\"": 1}, -Infinity]}', 39, "-Infinity is not a JSON value"),
        ('{"a": 1, "a": 2}', 10, "the key 'a' stands twice"),
        ('{"b": ["a", {"a": "a"}], "a": {"b": 1, "c": 2, "\\u0062": 3}}', 48, "the key 'b' stands twice"),
        ('{"a": 1, "a": NaN}', 15, "NaN is not a JSON value"),
        ("[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_broken_line_is_a_bad_row_and_reading_goes_on(write, line, column, why):
    path = write(f'{{"a": 1}}\n{line}\n{{"a": 3}}')
    found = rows(path)
    assert [row.value for row in found] == [{"a": 1}, None, {"a": 3}]
    message = str(found[1].problem)
    assert message.startswith(f"{path}:2: broken JSON at line 2, column {column}: ")
    assert why in message


@pytest.mark.parametrize("text", ['[\n{"a": 1}\n]', '[{"a": 1}]', '{\n"a": 1\n}'])
def test_ordinary_json_is_recognised(write, text):
    assert "extension .json." in error(write(text))

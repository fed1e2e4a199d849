"""Parquet and Arrow: values of every type, places by number, and files that are none."""

import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers import arrow

from ..tiny import STEADY
from .rows import error, lines, rows, values


def write(path, table: pa.Table, form: str) -> None:
    if form == "parquet":
        pq.write_table(table, path, row_group_size=2)
        return
    new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


FORMS = [("parquet", "rows.parquet"), ("file", "rows.arrow"), ("stream", "rows.arrow")]


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_values_become_what_json_has(tmp_path, form, name):
    utc = datetime.UTC
    table = pa.table(
        {
            "text": ["春", None],
            "messages": [[{"role": "user", "n": 1}], []],
            "score": [0.5, None],
            "good": [True, False],
            "at": pa.array([datetime.datetime(2026, 8, 1, 12, tzinfo=utc), None], pa.timestamp("us", "UTC")),
            "nanos": pa.array([1, 2], pa.timestamp("ns")),
            "day": [datetime.date(2026, 8, 1), None],
            "clock": [datetime.time(12, 30), None],
            "price": [decimal.Decimal("1.50"), None],
            "nested": [{"days": [datetime.date(2026, 8, 1)]}, None],
            "pairs": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "picture": [b"\x89PNG", b""],
        }
    )
    write(tmp_path / name, table, form)
    first, second = rows(tmp_path / name)
    assert first.value == {
        "text": "春",
        "messages": [{"role": "user", "n": 1}],
        "score": 0.5,
        "good": True,
        "at": "2026-08-01T12:00:00+00:00",
        "nanos": "1970-01-01T00:00:00.000000001",
        "day": "2026-08-01",
        "clock": "12:30:00",
        "price": "1.50",
        "nested": {"days": ["2026-08-01"]},
        "pairs": [["k", 1]],
        "kind": "x",
        "picture": b"\x89PNG",
    }
    assert second.value["text"] is None and second.value["messages"] == [] and second.value["at"] is None
    assert [(row.place.line, row.place.row) for row in (first, second)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_no_rows_two_columns_of_one_name_and_damage(tmp_path, form, name):
    path = tmp_path / name
    write(path, pa.table({"a": pa.array([], pa.int64())}), form)
    assert error(path) == f"{path}: the file holds no rows."
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    write(path, table, form)
    assert "two columns have the name 'a'" in error(path)
    write(path, pa.table({"a": ["x" * 50] * 20}), form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "the file is damaged, or no" in error(path)


def test_rows_that_python_cannot_hold_are_bad_rows(tmp_path):
    path = tmp_path / "rows.parquet"
    days = pa.array([0, 2_000_000_000, 1], pa.int32()).cast(pa.date32())
    write(path, pa.table({"day": days}), "parquet")
    found = rows(path)
    assert [row.value for row in found] == [{"day": "1970-01-01"}, None, {"day": "1970-01-02"}]
    assert str(found[1].problem).startswith(f"{path}:2: row 2 holds a value that cannot be read")


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_numbers_become_the_names_that_datasets_wrote_down(tmp_path, form, name):
    names = {"names": ["bad", "good"], "_type": "ClassLabel"}
    features = {
        "label": names,
        "tags": {"feature": names, "_type": "Sequence"},
        "older": [names],
        "text": {"dtype": "string", "_type": "Value"},
        "count": {"dtype": "int64", "_type": "Value"},
        "gone": names,
    }
    table = pa.table(
        {
            "label": [1, 0, None, -1, 7],
            "tags": [[0, 1], [], None, [-1], [1]],
            "older": [[1], [1], [1], [1], [1]],
            "text": ["a"] * 5,
            "count": [1] * 5,
        }
    )
    note = json.dumps({"info": {"features": features}})
    write(tmp_path / name, table.replace_schema_metadata({"huggingface": note}), form)
    found = values(tmp_path / name)
    assert [row["label"] for row in found] == ["good", "bad", None, None, 7]
    assert [row["tags"] for row in found] == [["bad", "good"], [], None, [None], ["good"]]
    assert found[0]["older"] == ["good"] and found[0]["text"] == "a" and found[0]["count"] == 1


@pytest.mark.parametrize(
    "note", ["", "[]", "3", '{"info": 3}', '{"info": {"features": []}}', "\xff", "[" * 100_000]
    + [json.dumps({"info": {"features": {"label": label}}}) for label in (
        3, [], [3, 4], {"_type": "ClassLabel"}, {"_type": "ClassLabel", "names": [1]}, {"_type": "Sequence"}
    )],
)  # fmt: skip
def test_a_note_in_another_form_is_left_alone(tmp_path, note):
    path = tmp_path / "rows.parquet"
    write(path, pa.table({"label": [1]}).replace_schema_metadata({"huggingface": note}), "parquet")
    assert values(path) == [{"label": 1}]


VALUES = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@STEADY
@given(
    columns=st.lists(st.tuples(VALUES, st.lists(st.integers(-5, 5), max_size=3)), min_size=1, max_size=9),
    form=st.sampled_from(FORMS),
    batch=st.integers(1, 4),
)
def test_any_rows_come_back_in_order(tmp_path_factory, columns, form, batch):
    path = tmp_path_factory.getbasetemp() / f"any-{form[1]}"
    table = pa.table(
        {
            "text": pa.array([text for text, _ in columns], pa.string()),
            "numbers": pa.array([numbers for _, numbers in columns], pa.list_(pa.int64())),
        }
    )
    write(path, table, form[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "BATCH", batch)
        assert values(path) == [{"text": text, "numbers": numbers} for text, numbers in columns]
    assert lines(path) == list(range(1, len(columns) + 1))

"""Folders that `datasets` saved: one set, or a set a split."""

import json

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, disable_progress_bars

from .rows import error, rows, values

disable_progress_bars()


def numbers(*values: int) -> Dataset:
    return Dataset.from_dict({"a": list(values)})


def test_a_saved_set_is_read_in_its_own_order(tmp_path):
    numbers(*range(12)).save_to_disk(tmp_path / "set", num_shards=11)
    assert [value["a"] for value in values(tmp_path / "set")] == list(range(12))
    assert rows(tmp_path / "set")[-1].place.file.endswith("data-00010-of-00011.arrow")
    message = error(f"{tmp_path / 'set'}@test")
    assert "there is no split 'test': the folder holds one set" in message


def test_of_splits_train_is_read_unless_another_one_is_named(tmp_path):
    folder = tmp_path / "sets"
    DatasetDict(train=numbers(1, 2), test=numbers(3)).save_to_disk(folder)
    assert values(folder) == [{"a": 1}, {"a": 2}]
    assert values(f"{folder}@test") == [{"a": 3}]
    assert values(f"{folder}@train#1", seed=0) in ([{"a": 1}], [{"a": 2}])
    message = error(f"{folder}@tset")
    assert "there is no split 'tset'; expected one of 'train', 'test'" in message
    assert "such as sets@test" in message


def test_the_only_split_needs_no_name_and_none_of_several_is_guessed(tmp_path):
    DatasetDict(validation=numbers(1)).save_to_disk(tmp_path / "one")
    assert values(tmp_path / "one") == [{"a": 1}]
    DatasetDict(validation=numbers(1), test=numbers(2)).save_to_disk(tmp_path / "two")
    assert "there is no split 'train'; expected one of 'validation', 'test'" in error(tmp_path / "two")


@pytest.mark.parametrize("note_in", ["schema", "dataset_info.json"])
def test_numbers_of_labels_become_their_names(tmp_path, note_in):
    labels = Features(label=ClassLabel(names=["sports", "business"]))
    Dataset.from_dict({"label": [1, 0]}, features=labels).save_to_disk(tmp_path / "set")
    if note_in != "schema":
        (file,) = (tmp_path / "set").glob("*.arrow")
        with pa.ipc.open_stream(file.read_bytes()) as reader:
            table = reader.read_all().replace_schema_metadata(None)
        with pa.ipc.new_stream(str(file), table.schema) as writer:
            writer.write_table(table)
    assert values(tmp_path / "set") == [{"label": "business"}, {"label": "sports"}]


@pytest.mark.parametrize(
    "state",
    [
        "",
        "[]",
        "{}",
        '{"_data_files": 3}',
        '{"_data_files": [{"filename": "../x.arrow"}]}',
        '{"_data_files": [3]}',
    ],
)
def test_a_damaged_state_is_told(tmp_path, state):
    numbers(1).save_to_disk(tmp_path / "set")
    (tmp_path / "set" / "state.json").write_text(state)
    assert error(tmp_path / "set").startswith(f"{tmp_path / 'set' / 'state.json'}: the file ")


def test_damaged_splits_and_missing_files_are_told(tmp_path):
    folder = tmp_path / "sets"
    DatasetDict(train=numbers(1)).save_to_disk(folder)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": "train"}))
    assert "does not list the folder's splits" in error(folder)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    (folder / "train" / "data-00000-of-00001.arrow").unlink()
    assert "data-00000-of-00001.arrow: no such file" in error(folder)

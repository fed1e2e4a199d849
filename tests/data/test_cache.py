"""Kept prepared data: found again, made anew when anything they depend on changed, and never in the way."""

import json

import pytest

from tunesmith.config.schema import Data
from tunesmith.data import build as build_module
from tunesmith.data.build import build
from tunesmith.data.cache import LAST_FILE, cache_folder
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation
from tunesmith.errors import InputError

from .tiny import chatml


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def times_prepared(monkeypatch):
    """How often rows went through the flow."""
    times = []
    original = build_module._prepare
    monkeypatch.setattr(build_module, "_prepare", lambda *a: (times.append(1), original(*a))[1])
    return times


def write(path, *pairs):
    path.write_text("".join(json.dumps({"prompt": q, "completion": a}) + "\n" for q, a in pairs), "utf-8")
    return path


def built(path, renderer=None, seed=0, **settings):
    data = Data.model_validate({"train": [str(path)], **settings})
    return build(data, Conversation, renderer or Renderer(chatml()), seed)


def test_a_second_start_takes_what_the_first_prepared(tmp_path, times_prepared):
    path = write(tmp_path / "d.jsonl", ("q", "a"), ("r", "b"), ("s", "c"))
    first, second = built(path, eval=0.3), built(path, eval=0.3)
    assert len(times_prepared) == 1
    assert list(first.train) == list(second.train) and list(first.eval) == list(second.eval)
    assert (first.ledgers, first.notes, first.formats) == (second.ledgers, second.notes, second.formats)


def test_dropped_rows_are_remembered(tmp_path):
    path = write(tmp_path / "d.jsonl", ("q", "a"), ("r", ""))
    ledgers = [built(path, on_bad_row="skip").ledgers["train"] for _ in range(2)]
    assert ledgers[0] == ledgers[1]
    assert ledgers[0]["dropped"][0]["place"] == f"{path}:2"


@pytest.mark.parametrize(
    "change",
    [
        {"max_length": 200},
        {"loss_on": "everything"},
        {"renderer": Renderer(chatml(), system="Be brief.")},
        {
            "renderer": Renderer(
                chatml(), template="{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
            )
        },
        {"seed": 1},
    ],
    ids=["length", "loss", "system", "template", "seed"],
)
def test_what_rows_are_made_with_is_part_of_the_key(tmp_path, times_prepared, change):
    path = write(tmp_path / "d.jsonl", ("q", "a"))
    built(path)
    built(path, **change)
    assert len(times_prepared) == 2


def test_a_changed_file_is_prepared_anew(tmp_path, times_prepared):
    path = write(tmp_path / "d.jsonl", ("q", "a"))
    assert built(path).train[0].answer == "a"
    write(path, ("q", "b"))
    assert built(path).train[0].answer == "b"
    assert len(times_prepared) == 2


def test_nothing_is_kept_where_the_recipe_says_so(tmp_path, kept, times_prepared):
    path = write(tmp_path / "d.jsonl", ("q", "a"))
    data = built(path, cache=False)
    assert data.train[0].answer == "a"
    assert not kept.exists()
    folder = data._folder.name
    del data
    built(path, cache=False)
    assert len(times_prepared) == 2
    assert not (tmp_path / folder).exists()


def test_nothing_is_kept_of_data_with_problems(tmp_path, kept):
    path = write(tmp_path / "d.jsonl", ("q", ""))
    with pytest.raises(InputError):
        built(path)
    assert not list(kept.rglob(LAST_FILE)) and not list(kept.rglob("*.arrow"))


def test_a_half_written_folder_is_made_anew(tmp_path, kept, times_prepared):
    path = write(tmp_path / "d.jsonl", ("q", "a"))
    built(path)
    (last,) = kept.rglob(LAST_FILE)
    last.unlink()
    assert built(path).train[0].answer == "a"
    assert len(times_prepared) == 2


def cut_store(folder):
    store = folder / "train.arrow"
    store.write_bytes(store.read_bytes()[:-100])


def empty_store(folder):
    (folder / "train.arrow").write_bytes(b"")


def broken_json(folder):
    (folder / LAST_FILE).write_text("{", "utf-8")


def other_json(folder):
    (folder / LAST_FILE).write_text('{"sides": []}', "utf-8")


def no_store(folder):
    (folder / "eval.arrow").unlink()


@pytest.mark.parametrize("damage", [cut_store, empty_store, broken_json, other_json, no_store])
def test_damaged_kept_data_are_made_anew(tmp_path, kept, times_prepared, damage):
    path = write(tmp_path / "d.jsonl", ("q", "a"))
    built(path)
    (last,) = kept.rglob(LAST_FILE)
    damage(last.parent)
    assert built(path).train[0].answer == "a"
    assert len(times_prepared) == 2


def test_a_place_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv("TUNESMITH_CACHE", str(in_the_way / "below"))
    assert len(built(write(tmp_path / "d.jsonl", ("q", "a"))).train) == 1


def test_the_place_is_what_the_environment_says(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TUNESMITH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "tunesmith"

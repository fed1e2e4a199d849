"""Kept prepared data: found again, made anew when anything they depend on changed, and never in the way."""

import json
import logging
import os
import sys
import threading
from contextlib import contextmanager
from importlib import metadata

import pytest
from filelock import FileLock
from PIL import Image as Pillow

from tunesmith.config.schema import Data
from tunesmith.data import build as build_module
from tunesmith.data.build import build
from tunesmith.data.cache import LAST_FILE, cache_folder, read_prepared
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation
from tunesmith.errors import InputError, WorkError

from .tiny import CHATML, chatml


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


# --- what else rows depend on ---------------------------------------------------------------------------------


def picture_rows(tmp_path):
    """A row without a picture, and one whose picture is named but not there."""
    path = tmp_path / "d.jsonl"
    answer = {"role": "assistant", "content": "a"}
    rows = [
        {"messages": [{"role": "user", "content": "q"}, answer]},
        {"messages": [{"role": "user", "content": "<image>q"}, answer], "images": ["cat.png"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


class OneToken:
    """A model that takes pictures, each as one token."""

    token, fingerprint = "<|endoftext|>", "one"

    def count(self, picture):
        return 1


SEEING = CHATML.replace(
    "{{ m.content }}",
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}<|endoftext|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}",
)


@pytest.mark.parametrize("before", [None, b"no picture"], ids=["missing", "broken"])
def test_a_row_dropped_for_its_picture_comes_back_with_it(tmp_path, times_prepared, before):
    path, cat = picture_rows(tmp_path), tmp_path / "cat.png"
    if before is not None:
        cat.write_bytes(before)
    renderer = Renderer(chatml(), template=SEEING, images=OneToken())
    for _ in range(2):
        assert len(built(path, renderer, on_bad_row="skip").train) == 1
    assert len(times_prepared) == 1
    Pillow.new("RGB", (40, 30)).save(cat)
    assert len(built(path, renderer, on_bad_row="skip").train) == 2


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, kept, monkeypatch):
    path = write(tmp_path / "d.jsonl", ("q", "a"))
    original = build_module._prepare

    def while_another_writes(*arguments):
        write(path, ("q", "a"), ("r", "b"))
        return original(*arguments)

    monkeypatch.setattr(build_module, "_prepare", while_another_writes)
    with pytest.raises(InputError, match=r"d\.jsonl: the file changed while it was read\. .*run again"):
        built(path)
    assert not list(kept.rglob(LAST_FILE))
    monkeypatch.undo()
    assert len(built(path, cache=False).train) == 2


def test_what_is_said_of_a_folder_is_that_of_today(tmp_path, times_prepared):
    folder = tmp_path / "rows"
    folder.mkdir()
    write(folder / "d.jsonl", ("q", "a"))
    assert not any("not read" in note for note in built(folder).notes)
    (folder / "script.py").write_text("", "utf-8")
    assert any("1 other file is not read" in note for note in built(folder).notes)
    assert len(times_prepared) == 1


def test_equal_files_of_two_folders_keep_their_own_places(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "d.jsonl", ("q", "a"))
        assert built(tmp_path / name / "*.jsonl").train[0].place.file == str(tmp_path / name / "d.jsonl")


def test_the_same_relative_path_is_another_file_elsewhere(tmp_path, monkeypatch, times_prepared):
    for name in ("a", "b", "a"):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        write(tmp_path / name / "d.jsonl", ("q", "a"))
        built("d.jsonl")
    assert len(times_prepared) == 2


@pytest.mark.parametrize("package", ["transformers", "tokenizers", "pypdfium2", "pillow"])
def test_another_version_of_what_makes_them_prepares_anew(tmp_path, monkeypatch, times_prepared, package):
    path = write(tmp_path / "d.jsonl", ("q", "a"))
    built(path)
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1" if name == package else version(name))
    built(path)
    assert len(times_prepared) == 2


# --- the place they are kept in -------------------------------------------------------------------------------


def a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "below"


def nobody(tmp_path):
    return "~nobody-of-that-name/cache"


def read_only(tmp_path):
    folder = tmp_path / "locked" / "prepared"
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    return folder.parent


@pytest.mark.parametrize("place", [a_file, nobody, read_only])
def test_a_place_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, caplog, place):
    monkeypatch.setenv("TUNESMITH_CACHE", str(place(tmp_path)))
    # Nothing is closed to the system's own user; the answer that all others get stands in for it.
    monkeypatch.setattr(os, "access", lambda path, mode: bool(os.stat(path).st_mode & 0o200))
    assert len(built(write(tmp_path / "d.jsonl", ("q", "a"))).train) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "prepared data are not kept" in caplog.text


def test_a_lock_that_cannot_be_taken_is_no_error(tmp_path, caplog):
    (cache_folder() / "prepared" / "k.lock").mkdir(parents=True)
    value, temporary = prepared_as_text("k")
    assert value == "k" and temporary is not None
    assert "prepared data are not kept" in caplog.text


@contextmanager
def files_at_most(size: int):
    """What a full disk does, without filling one: no file may grow beyond `size` bytes."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit of file sizes")
@pytest.mark.parametrize("cache", [True, False])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, kept, monkeypatch, cache):
    path = write(tmp_path / "d.jsonl", *[("the quick brown fox " * 5, f"{at}") for at in range(100)])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(WorkError, match="no room left on the disk"), files_at_most(20_000):
        built(path, cache=cache)
    assert not list(kept.rglob("*.arrow")) and not list(temporary.iterdir())


# --- room, and other processes --------------------------------------------------------------------------------


def prepared_as_text(key):
    """Keep a file that holds its key, and read it."""

    def write(folder):
        (folder / "text").write_text(key)
        (folder / LAST_FILE).write_text("{}")

    return read_prepared(key, lambda folder: True, write, lambda folder: (folder / "text").read_text())


@pytest.fixture
def long_ago(kept):
    """Make an entry of the place look unused for years."""

    def maker(name):
        folder = kept / "prepared" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "text").write_text(name)
        os.utime(folder, (1, 1))
        return folder

    return maker


def test_what_was_not_used_for_long_goes(long_ago, kept):
    old = long_ago("old")
    prepared_as_text("young")
    assert prepared_as_text("new")[0] == "new"
    assert not old.exists()
    assert (kept / "prepared" / "young" / "text").is_file()


def test_the_oldest_of_what_is_too_much_goes(kept, monkeypatch):
    for age, key in ((30, "first"), (20, "second")):
        prepared_as_text(key)
        folder = kept / "prepared" / key
        os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    monkeypatch.setattr("tunesmith.data.cache._MOST_BYTES", 10)  # room for one
    prepared_as_text("third")
    folders = {path.name for path in (kept / "prepared").iterdir() if path.is_dir()}
    assert folders == {"second", "third"}


@pytest.mark.parametrize("name", [".k.tmp", ".k.old"])
def test_what_a_kill_left_behind_goes_after_a_day(long_ago, kept, name):
    left, recent = long_ago(name), kept / "prepared" / ".j.tmp"
    recent.mkdir()
    prepared_as_text("new")
    assert not left.exists() and recent.exists()


def test_what_another_process_holds_stays(long_ago, kept):
    held = [long_ago("held"), long_ago(".held.old")]
    with FileLock(kept / "prepared" / "held.lock"):
        prepared_as_text("new")
        assert all(folder.exists() for folder in held)
    prepared_as_text("newer")
    assert not any(folder.exists() for folder in held)
    assert (kept / "prepared" / "held.lock").exists()  # others may be about to take it


def test_what_vanishes_while_room_is_made_is_no_error(long_ago):
    vanishing, old = long_ago("vanishing"), long_ago("old")
    (vanishing / "gone").symlink_to("nowhere")  # as a file that was listed and is not there any more
    assert prepared_as_text("new")[0] == "new"
    assert not old.exists()


def test_many_at_once_prepare_and_make_room(long_ago):
    for number in range(40):
        long_ago(f"old{number}")
    values = {}
    threads = [
        threading.Thread(target=lambda key=key: values.update({key: prepared_as_text(key)[0]}))
        for key in "abcaabbc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == {"a": "a", "b": "b", "c": "c"}


def test_waiting_for_another_process_is_said(kept, monkeypatch, caplog):
    monkeypatch.setattr("tunesmith.data.cache._WAITING_IS_TOLD_AFTER_SECONDS", 0)
    said = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: said.set()
    logging.getLogger("tunesmith").addHandler(handler)
    caplog.set_level(logging.INFO, "tunesmith")
    values = []
    thread = threading.Thread(target=lambda: values.append(prepared_as_text("k")[0]))
    (kept / "prepared").mkdir(parents=True)
    try:
        with FileLock(kept / "prepared" / "k.lock"):
            thread.start()
            assert said.wait(30)
            assert not values
        thread.join(30)
    finally:
        logging.getLogger("tunesmith").removeHandler(handler)
    assert values == ["k"]
    assert "waiting for another process that prepares the same data" in caplog.text
    assert "k.lock" in caplog.text


def test_what_is_prepared_is_read_while_no_other_process_can_replace_it():
    refused = []

    def take_its_lock(folder):
        try:
            FileLock(folder.with_name("k.lock")).acquire(timeout=0)
        except TimeoutError as error:
            refused.append(error)

    def read(folder):
        thread = threading.Thread(target=take_its_lock, args=(folder,))
        thread.start()
        thread.join()

    read_prepared("k", lambda folder: True, lambda folder: None, read)
    assert len(refused) == 1


def test_the_place_is_what_the_environment_says(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TUNESMITH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "tunesmith"

"""Checkpoints: whole or not there, damage found, the right ones kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.train.test_optim import take_steps, weights
from tunesmith.config.schema import Train
from tunesmith.errors import WorkError
from tunesmith.rundir import RunDir
from tunesmith.train.checkpoint import (
    DamagedCheckpoint,
    TrainState,
    check,
    newest_good,
    prune,
    restore,
    save_checkpoint,
)
from tunesmith.train.optim import make_optimizer

FILES = ("trainable.safetensors", "optimizer.pt", "state.json")


@pytest.fixture
def run(tmp_path) -> RunDir:
    return RunDir(tmp_path)


def save(run: RunDir, *steps: int, best: int | None = None) -> list[Path]:
    """Checkpoints of these steps, each with the weights of its step."""
    named = weights()
    optimizer = make_optimizer(named, Train())
    folders = []
    for step in steps:
        take_steps(named, optimizer, [step])
        state = TrainState(step=step, tokens=10 * step, best_step=best)
        folders.append(save_checkpoint(run, state, named, optimizer, None, {"data": "abc"}))
    return folders


def test_the_manifest_lists_every_file_with_its_sum(run):
    (folder,) = save(run, 3)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert sorted(manifest) == sorted(FILES)
    assert {path.name for path in folder.iterdir()} == {*FILES, "manifest.json"}
    for name, listed in manifest.items():
        content = (folder / name).read_bytes()
        assert listed == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_what_is_read_is_what_was_written(run):
    (run.folder / "metrics.jsonl").write_text('{"step": 1}\n', "utf-8")
    (folder,) = save(run, 7)
    found = check(folder)
    assert found.state == TrainState(step=7, tokens=70, metrics_length=12)
    assert found.identity == {"data": "abc"}
    expected, read = weights(), weights()
    take_steps(expected, make_optimizer(expected, Train()), [7])
    restore(folder, read)
    assert all(torch.equal(read[name], weight) for name, weight in expected.items())


def test_types_are_kept_exactly(run):
    named = {
        "half": torch.nn.Parameter(torch.randn(4, 4).bfloat16()),
        "whole": torch.nn.Parameter(torch.randn(3)),
    }
    optimizer = torch.optim.AdamW(named.values())
    folder = save_checkpoint(run, TrainState(step=1), named, optimizer, None, {})
    read = {name: torch.nn.Parameter(torch.zeros_like(weight)) for name, weight in named.items()}
    restore(folder, read)
    assert all(
        torch.equal(read[name], weight) and read[name].dtype == weight.dtype for name, weight in named.items()
    )


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE = {"one bit": one_bit, "cut short": cut_short, "empty": empty, "gone": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_any_damage_to_any_file_is_found_and_the_one_before_is_taken(run, caplog, name, damage):
    if (name, damage) == ("manifest.json", "cut short"):
        pytest.skip("a manifest without its last line break still says all there is to say")
    older, newer = save(run, 5, 10)
    DAMAGE[damage](newer / name)
    with pytest.raises(DamagedCheckpoint):
        check(newer)
    found = newest_good(run)
    assert found is not None and found.folder == older
    assert "damaged checkpoint passed over" in caplog.text and newer.name in caplog.text


def test_all_damaged_is_none_at_all(run):
    for folder in save(run, 5, 10):
        one_bit(folder / FILES[0])
    assert newest_good(run) is None


def test_half_written_folders_are_never_picked_up(run):
    (whole,) = save(run, 5)
    shutil.copytree(whole, run.checkpoints / ".step-000010.tmp")
    shutil.copytree(whole, run.checkpoints / ".step-000001.old")
    assert run.checkpoints_newest_first() == [whole]


def test_newest_is_by_number_not_by_name(run):
    save(run, 999_999, 1_000_000, 5)
    found = newest_good(run)
    assert found is not None and found.state.step == 1_000_000


def test_weights_of_another_recipe_are_refused(run):
    (folder,) = save(run, 1)
    with pytest.raises(DamagedCheckpoint, match="it holds other weights than this recipe trains"):
        restore(folder, {"other": torch.nn.Parameter(torch.zeros(3))})


@pytest.mark.parametrize(
    ("keep", "best", "kept"),
    [(1, None, [10]), (2, None, [10, 8]), (9, None, [10, 8, 6, 4, 2]), (2, 4, [10, 8, 4]), (2, 10, [10, 8])],
)
def test_prune_keeps_the_newest_and_the_best(run, keep, best, kept):
    save(run, 2, 4, 6, 8, 10)
    prune(run, keep, best)
    assert [int(folder.name[5:]) for folder in run.checkpoints_newest_first()] == kept
    assert len(list(run.checkpoints.iterdir())) == len(kept)


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
@pytest.mark.parametrize("same_step", [False, True], ids=["a new checkpoint", "one written again"])
def test_a_full_disk_leaves_the_old_checkpoint_whole(run, same_step):
    (good,) = save(run, 5)
    with pytest.raises(WorkError, match="no room left on the disk"), files_at_most(5000):
        save(run, 5 if same_step else 10)
    assert run.checkpoints_newest_first() == [good]
    found = newest_good(run)
    assert found is not None and found.folder == good
    assert not [path for path in run.checkpoints.iterdir() if path != good]

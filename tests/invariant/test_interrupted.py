"""Interrupted, and killed in odd places: the next command finds its way."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.invariant.said import printed, wait_for
from tests.invariant.test_kill_and_resume import assert_same_end, result_bytes

LONG_ANSWERS = ["evaluate.generation.max_new_tokens=300"]


def test_ctrl_c_while_loading_leaves_nothing_behind(command, whole, tmp_path):
    started = command.start("train", str(whole[0]), *LONG_ANSWERS, "-o", "run", cwd=tmp_path)
    wait_for(started, lambda: "asking the untuned model" in printed(started))
    started.signal(signal.SIGINT)
    code, output = started.wait()
    assert code == 130, output
    assert (
        output.splitlines()[-1] == "interrupted. Nothing was written yet; begin again with the same command."
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def longer(command, whole, tmp_path_factory) -> Path:
    """A run of as many steps as it takes to interrupt it surely."""
    folder = tmp_path_factory.mktemp("longer")
    code, output = command.run("train", str(whole[0]), "train.epochs=12", "-o", "run", cwd=folder)
    assert code == 0, output
    return folder / "run"


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]], ids=["Ctrl-C twice", "SIGTERM"]
)
def test_interrupted_while_training(command, whole, longer, tmp_path, signals):
    run = tmp_path / "run"
    started = command.start("train", str(whole[0]), "train.epochs=12", "-o", str(run), cwd=tmp_path)
    wait_for(started, (run / "metrics.jsonl").exists)
    for number in signals:
        started.signal(number)
    code, output = started.wait()
    assert code == 130, output
    assert output.splitlines()[-1].endswith(f"o on with `tunesmith resume {run.name}`.")
    assert "error" not in output
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, longer)


def test_ctrl_c_while_finishing(command, whole, tmp_path):
    argv = ["train", str(whole[0]), *LONG_ANSWERS, "-o"]
    run = tmp_path / "run"
    started = command.start(*argv, str(run), cwd=tmp_path)
    wait_for(started, (run / "adapter").is_dir)
    started.signal(signal.SIGINT)
    code, output = started.wait()
    assert code == 130, output
    assert output.splitlines()[-1] == f"interrupted. Go on with `tunesmith resume {run.name}`."
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert result_bytes(run) == result_bytes(whole[1])
    assert (run / "report.html").is_file()


def test_killed_while_a_run_is_replaced(command, whole, tmp_path):
    """The old run goes file by file, its recipe last: whatever is left can be resumed, or replaced again."""
    recipe, run = whole[0], tmp_path / "run"
    shutil.copytree(whole[1], run)
    for name in ("environment.json", "metrics.jsonl", "report.html"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoints" / "step-000008")
    (run / ".recipe.yaml.tmp").write_text("# Written by tun")
    for argv in (["resume", str(run)], ["train", str(recipe), "-o", str(run), "--overwrite"]):
        code, output = command.run(*argv, cwd=tmp_path)
        assert code == 0, output
        assert_same_end(run, whole[1]) if argv[0] == "train" else None


def test_killed_before_the_first_file_was_whole(command, whole, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / ".recipe.yaml.tmp").write_text("# Written by tun")
    code, output = command.run("train", str(whole[0]), "-o", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, whole[1])

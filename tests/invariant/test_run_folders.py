"""A run folder is never lost: not one in use, not one with foreign files, not one that was moved."""

from __future__ import annotations

import contextlib
import shutil
import signal

import pytest

from tests.invariant.command import CommandServer
from tests.invariant.said import assert_says, files_in, last_error, training, wait_for
from tests.invariant.test_kill_and_resume import assert_same_end
from tests.recipes import write_recipe


def test_a_run_that_is_there_is_kept_until_overwrite(command, whole, tmp_path):
    recipe, run = whole[0], tmp_path / "run"
    shutil.copytree(whole[1], run)
    before = files_in(run)
    code, output = command.run("train", str(recipe), "-o", str(run), cwd=tmp_path)
    assert code == 2
    assert_says(output, "already holds a run", f"tunesmith resume {run.name}", "--overwrite")
    assert files_in(run) == before

    # An old run is not deleted for a new one that cannot begin.
    code, output = command.run(
        "train", str(recipe), "-o", str(run), "--overwrite", "adapter.targets=[nope]", cwd=tmp_path
    )
    assert code == 2, output
    assert "'nope'" in last_error(output)
    code, output = command.run(
        "train", str(recipe), "-o", str(run), "--overwrite", f"adapter.start={run}", cwd=tmp_path
    )
    assert code == 2, output
    assert_says(output, str(run), "is to be replaced")
    assert files_in(run) == before

    code, output = command.run(
        "train", str(recipe), "-o", str(run), "--overwrite", "train.seed=1", cwd=tmp_path
    )
    assert code == 0, output
    assert files_in(run).keys() == before.keys()
    assert files_in(run)["metrics.jsonl"] != before["metrics.jsonl"]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "overwrite"])
@pytest.mark.parametrize("what", ["photos", "a recipe and a model", "a run and notes"])
def test_a_folder_with_foreign_files_is_left_alone(command, whole, tmp_path, what, overwrite):
    recipe, folder = whole[0], tmp_path / "mine"
    if what == "photos":
        folder.mkdir()
        (folder / "photo.jpg").write_bytes(b"x")
    elif what == "a recipe and a model":
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "weights").write_bytes(b"x")
        shutil.copy(recipe, folder / "recipe.yaml")
    else:
        shutil.copytree(whole[1], folder)
        (folder / "notes.txt").write_text("mine")
    before = files_in(folder)
    code, output = command.run("train", str(recipe), "-o", str(folder), *overwrite, cwd=tmp_path)
    assert code == 2, output
    assert_says(output, str(folder), "-o")
    assert files_in(folder) == before


def test_a_result_folder_is_replaced_only_if_it_holds_a_result(command, whole, tmp_path):
    recipe, mine = whole[0], tmp_path / "models"
    (mine / "precious").mkdir(parents=True)
    code, output = command.run(
        "train", str(recipe), "-o", "a", f"run.result={mine}", "--overwrite", cwd=tmp_path
    )
    assert code == 2
    assert_says(output, str(mine), "left alone")
    assert (mine / "precious").is_dir()
    for extra, expected in [([], 0), ([], 2), (["--overwrite"], 0)]:
        argv = ["train", str(recipe), "-o", "a", f"run.result={tmp_path / 'new'}", *extra]
        code, output = command.run(*argv, cwd=tmp_path)
        assert code == expected, output


def test_an_earlier_runs_result_never_passes_for_this_ones(command, whole, tmp_path):
    recipe, result = whole[0], tmp_path / "new"
    argv = ["train", str(recipe), "-o", "a", f"run.result={result}"]
    code, output = command.run(*argv, cwd=tmp_path)
    assert code == 0, output
    started = command.start(*argv, "train.epochs=100000", "--overwrite", cwd=tmp_path)
    wait_for(started, lambda: (tmp_path / "a/metrics.jsonl").exists() and not result.exists())
    started.signal(signal.SIGKILL)
    started.wait()
    code, output = command.run("ask", "a", "Why?", cwd=tmp_path)
    assert code == 2, output
    assert "has no result yet" in output


def test_resume_leaves_alone_what_came_into_the_result_folder_since(command, whole, tmp_path):
    recipe, result = whole[0], tmp_path / "new"
    argv = ["train", str(recipe), "-o", "a", f"run.result={result}", "train.epochs=100000"]
    started = command.start(*argv, cwd=tmp_path)
    wait_for(started, lambda: (tmp_path / "a/environment.json").exists())
    started.signal(signal.SIGKILL)
    started.wait()
    result.mkdir()
    (result / "precious.txt").write_text("mine")
    code, output = command.run("resume", "a", cwd=tmp_path)
    assert code == 2, output
    assert_says(output, str(result), "left alone")
    assert (result / "precious.txt").read_text() == "mine"


def test_a_run_in_use_is_left_to_its_process(command, whole, tmp_path, tmp_path_factory):
    recipe, run = whole[0], tmp_path / "run"
    second = CommandServer(tmp_path_factory.mktemp("second"))
    with contextlib.closing(second), training(command, recipe, run):
        for argv in (["train", str(recipe), "-o", str(run)], ["train", str(recipe), "-o", str(run), "--overwrite"], ["resume", str(run)]):  # fmt: skip
            code, output = second.run(*argv, cwd=tmp_path)
            assert code == 2, output
            assert_says(output, str(run), "in use by another tunesmith process", "Wait for it to end")


def test_what_changed_since_a_run_began(command, whole, tmp_path, tiny_model_folder):
    recipe, run = write_recipe(tmp_path, tiny_model_folder, train={"threads": 1}), tmp_path / "run"
    code, output = command.run("train", str(recipe), cwd=tmp_path)
    assert code == 0, output
    (run / "report.html").unlink()
    before = files_in(run)

    (tmp_path / "rows.jsonl").rename(tmp_path / "away")
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 2, output
    assert_says(output, "rows.jsonl", "no such file")
    (tmp_path / "away").rename(tmp_path / "rows.jsonl")

    text = (run / "recipe.yaml").read_text("utf-8")
    for edited, words in [
        (text.replace("epochs: 2", "epochs: 3"), "the recipe changed since this run began"),
        (text.replace("epochs: 2", "epochs: two"), "`train.epochs` is the text 'two'"),
        (text.replace("train:", "train: {"), "recipe.yaml:"),
    ]:
        (run / "recipe.yaml").write_text(edited, "utf-8")
        code, output = command.run("resume", str(run), cwd=tmp_path)
        assert code == 2, output
        assert words in last_error(output)
    (run / "recipe.yaml").write_text(text, "utf-8")
    log = (run / "train.log").read_bytes()
    assert files_in(run) == before | {"train.log": log}
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, whole[1])


@pytest.mark.parametrize("verb", ["resume", "ask"])
@pytest.mark.parametrize("what", ["nothing there", "no run", "a file", "a recipe of mine"])
def test_there_is_no_run(command, whole, tmp_path, what, verb):
    folder = tmp_path / "it"
    if what == "a file":
        folder.write_text("x")
    elif what != "nothing there":
        folder.mkdir()
    if what == "a recipe of mine":
        shutil.copy(whole[0], folder / "recipe.yaml")
    before = files_in(tmp_path)
    code, output = command.run(verb, str(folder), *(["Why?"] if verb == "ask" else []), cwd=tmp_path)
    assert code == 2, output
    assert_says(output, str(folder))
    assert files_in(tmp_path) == before


def test_a_run_may_move_and_have_any_name(command, whole, tmp_path):
    first, moved = tmp_path / "诗 of mine", tmp_path / "elsewhere" / "mes poèmes"
    started = command.start("train", str(whole[0]), "-o", str(first), cwd=tmp_path)
    wait_for(started, lambda: list(first.glob("checkpoints/step-*")))
    started.signal(signal.SIGINT)
    code, output = started.wait()
    assert code == 130, output
    assert f'`tunesmith resume "{first.name}"`' in output
    moved.parent.mkdir()
    first.rename(moved)
    code, output = command.run("resume", str(moved), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(moved, whole[1])
    code, output = command.run("ask", str(moved), "What is 3?", cwd=tmp_path)
    assert code == 0, output

"""Whatever is wrong, the command line says one clear sentence, leaves with the right code, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.invariant.command import CommandServer, Started
from tests.invariant.test_kill_and_resume import assert_same_end, finished_copy_without_its_end, result_bytes
from tests.recipes import ROWS, write_recipe, write_rows

GOOD = json.dumps(ROWS[0]) + "\n"
LONG_ANSWERS = ["evaluate.generation.max_new_tokens=300"]


def assert_says(output: str, *words: str) -> None:
    """Nothing but our own paragraph, holding these words."""
    lines = output.splitlines()
    assert lines, output
    assert all(line.startswith("error: ") and line.endswith((".", "?")) for line in lines), output
    assert "bug in tunesmith" not in output
    for word in words:
        assert word in output, output


def last_error(output: str) -> str:
    """The error that ends the output of a command which had worked for a while."""
    assert "Traceback" not in output
    assert "Logging error" not in output
    assert "bug in tunesmith" not in output
    *_, last = output.splitlines()
    assert last.startswith("error: "), output
    assert output.count("error: ") == 1, output
    return last


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory, tiny_model_folder) -> tuple[Path, Path]:
    """A recipe and its finished run; tests copy it."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = write_recipe(folder, tiny_model_folder, train={"threads": 1})
    code, output = command.run("train", str(recipe), cwd=folder)
    assert code == 0, output
    return recipe, folder / "run"


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """The finished run as if killed right after its last checkpoint."""
    finished_copy_without_its_end(whole[1], tmp_path / "run")
    return tmp_path / "run"


# ---- wrong input: exit code 2, nothing written


def data(content: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "rows.jsonl").write_bytes(
        content.encode() if isinstance(content, str) else content
    )


def turns(*messages: dict[str, Any]) -> str:
    return json.dumps({"messages": messages}) + "\n"


ASKED, ANSWERED = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
MASKED = turns(ASKED, ANSWERED | {"weight": 0}) * 3
LONG = turns(ASKED, ANSWERED | {"content": "x" * 200}) * 7

WRONG = {
    "missing file": (lambda folder: (folder / "rows.jsonl").unlink(), [], ["rows.jsonl", "no such file"]),
    "empty file": (data(""), [], ["rows.jsonl", "empty"]),
    "broken JSON": (data(GOOD + '{"messages": [}\n'), [], ["rows.jsonl:2", "line 2, column 15"]),
    "missing field": (data(GOOD + turns(ASKED, {"role": "assistant"})), [], ["rows.jsonl:2", "row 2", "'content'"]),
    "missing rows' field": (data(GOOD + '{"text": "a"}\n'), [], ["rows.jsonl:2", "row 2", "'messages'"]),
    "wrong type": (data(GOOD + turns(ASKED | {"content": 3})), [], ["row 2", "is a number; expected a string"]),
    "wrong type of row": (data(GOOD + "[1]\n"), [], ["row 2 is a list; expected an object"]),
    "not UTF-8": (data(GOOD.encode() + GOOD.encode().replace(b"What", b"\xe9")), [], ["rows.jsonl:2", "not UTF-8"]),
    "UTF-16": (data(GOOD.encode("utf-16")), [], ["UTF-16", "Save the file as UTF-8"]),
    "all masked": (data(MASKED), [], ["rows.jsonl:1", "row 1 has no assistant message to learn"]),
    "too long": (data(LONG + GOOD), [], ["7 rows", "rows.jsonl:1 (", "Raise data.max_length to", "on_long: truncate"]),
    "unknown key": (None, ["train.epoch=2"], ["`epoch` under train", "`epochs`"]),
    "wrong type in recipe": (None, ["train.epochs=two"], ["`train.epochs` is the text 'two'", "whole number"]),
    "no such model": (
        None,
        ["model.source=nobody/nothing"],
        ["nobody/nothing", "no local folder", "nothing in the cache", "builtin:nano works without any network"],
    ),
    "no such embedded model": (None, ["model.source=builtin:nanno"], ["'builtin:nanno'", "builtin:nano"]),
    "no such metric": (None, ["evaluate.metrics=[poem_frm]"], ["`poem_frm`", "`poem_form`"]),
    "no such template": (None, ["data.template=t.jinja"], ["data.template", "t.jinja"]),
    "template not UTF-8": (
        lambda folder: (folder / "t.jinja").write_bytes(b"\xff{{ x }}"),
        ["data.template=t.jinja"],
        ["data.template", "t.jinja", "not UTF-8"],
    ),
    "no such tracker": (None, ["track=wandbb"], ["`wandbb`", "`wandb`"]),
    "no such tracker option": (None, ["track=[{wandb: {projct: a}}]"], ["`projct`", "`project`"]),
    "no such device": (None, ["model.device=mps"], ["the device mps", "one of cpu"]),
    "fp16 on a CPU": (None, ["model.precision=fp16"], ["fp16", "expected fp32 or bf16"]),
    "nothing to start from": (None, ["adapter.start=./nowhere"], ["adapter.start", "nowhere", "no adapter"]),
    "output is a file": (None, ["run.output=rows.jsonl"], ["rows.jsonl is a file", "-o"]),
    "output below a file": (None, ["run.output=rows.jsonl/run"], ["rows.jsonl is a file", "-o"]),
    "output beside the data": (None, ["run.output=."], ["not a run (recipe.yaml, rows.jsonl)", "-o"]),
    "result is a file": (None, ["run.result=rows.jsonl"], ["run.result", "rows.jsonl", "left alone"]),
    "result beside the data": (None, ["run.result=."], ["run.result", "holds the run folder itself"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence_and_writes_nothing(command, tmp_path, tiny_model_folder, case):
    change, overrides, words = WRONG[case]
    recipe = write_recipe(tmp_path, tiny_model_folder)
    if change is not None:
        change(tmp_path)
    before = files_in(tmp_path)
    code, output = command.run("train", str(recipe), *overrides, "--overwrite", cwd=tmp_path)
    assert code == 2, output
    assert_says(output, *words)
    assert files_in(tmp_path) == before


def test_several_problems_are_told_at_once(command, tmp_path, tiny_model_folder):
    recipe = write_recipe(
        tmp_path, tiny_model_folder, train={"epoch": 2, "batch_size": 0}, adapter={"rank": "16"}
    )
    code, output = command.run("train", str(recipe), "modell.source=x", cwd=tmp_path)
    assert code == 2
    assert_says(output, "`epoch`", "`train.batch_size` is 0", "Take the quotes away", "`modell`")
    assert len(output.splitlines()) == 4


@pytest.mark.parametrize("name", ["a folder", "no.yaml", "ſtrange\n\t'\".yaml"])
def test_a_recipe_that_cannot_be_read(command, tmp_path, name):
    (tmp_path / "a folder").mkdir()
    code, output = command.run("train", name, cwd=tmp_path)
    assert code == 2, output
    assert output.startswith("error: ")
    assert "bug in tunesmith" not in output


# ---- run folders that are not free


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


@contextlib.contextmanager
def training(command: CommandServer, recipe: Path, run: Path) -> Iterator[Started]:
    """A long run that has taken its first step; afterwards it is stopped."""
    started = command.start("train", str(recipe), "train.epochs=100000", "-o", str(run), cwd=run.parent)
    wait_for(started, lambda: (run / "metrics.jsonl").exists())
    try:
        yield started
    finally:
        started.signal(signal.SIGKILL)
        started.wait()


def test_a_run_in_use_is_left_to_its_process(command, whole, tmp_path, tmp_path_factory):
    recipe, run = whole[0], tmp_path / "run"
    second = CommandServer(tmp_path_factory.mktemp("second"))
    with contextlib.closing(second), training(command, recipe, run):
        for argv in (["train", str(recipe), "-o", str(run)], ["train", str(recipe), "-o", str(run), "--overwrite"], ["resume", str(run)]):  # fmt: skip
            code, output = second.run(*argv, cwd=tmp_path)
            assert code == 2, output
            assert_says(output, str(run), "in use by another tunesmith process", "Wait for it to end")


# ---- failing while working: exit code 1, the last checkpoint stays good


@contextlib.contextmanager
def limit(command: CommandServer, kind: int, value: int) -> Iterator[None]:
    """Commands started meanwhile have this resource limit from their first instruction."""
    before = resource.prlimit(command.process.pid, kind)
    resource.prlimit(command.process.pid, kind, (value, before[1]))
    try:
        yield
    finally:
        resource.prlimit(command.process.pid, kind, before)


# What is written when the disk is full, and the size of the largest file that still fits.
@pytest.mark.parametrize(
    ("what", "size"), [("checkpoints/step-000002", 40_000), ("loss.png", 60_000), ("report.html", 100_000)]
)
def test_a_disk_that_is_full_while_training(command, whole, tmp_path, what, size):
    run = tmp_path / "run"
    with limit(command, resource.RLIMIT_FSIZE, size):
        code, output = command.run("train", str(whole[0]), "-o", str(run), cwd=tmp_path)
    assert code == 1, output
    said = last_error(output)
    assert f"no room left on the disk while writing {run / what}." in said
    assert "tunesmith resume" in said
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, whole[1])


def test_a_disk_that_is_full_while_saving_the_result(command, whole, run, tmp_path):
    checkpoints = files_in(run / "checkpoints")
    with limit(command, resource.RLIMIT_FSIZE, 10_000):
        code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 1, output
    assert f"no room left on the disk while writing {run / 'adapter'}." in last_error(output)
    assert files_in(run / "checkpoints") == checkpoints
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, whole[1])


def test_a_disk_that_is_full_while_writing_metrics(command, whole, tmp_path):
    argv = ["train", str(whole[0]), "train.epochs=10", "train.save_every=100"]
    code, output = command.run(*argv, "-o", "whole", cwd=tmp_path)
    assert code == 0, output
    with limit(command, resource.RLIMIT_FSIZE, 6_000):  # half the metrics
        code, output = command.run(*argv, "-o", "run", cwd=tmp_path)
    assert code == 1, output
    assert "no room left on the disk while writing" in last_error(output)
    assert "metrics.jsonl" in last_error(output)
    code, output = command.run("resume", "run", cwd=tmp_path)
    assert code == 0, output
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_out_of_memory_names_what_to_lower(command, tmp_path, tiny_model_folder):
    # Two hundred samples in one row need more than a process may have that could just load the model.
    train = {"batch_size": 200, "row_tokens": 30_000, "epochs": 3, "save_every": 1, "threads": 1}
    recipe = write_recipe(tmp_path, tiny_model_folder, train=train)
    write_rows(tmp_path / "rows.jsonl", ROWS * 40)
    code, output = command.run("train", str(recipe), "-o", "whole", cwd=tmp_path)
    assert code == 0, output
    run = tmp_path / "run"
    finished_copy_without_its_end(tmp_path / "whole", run)
    newest, kept = sorted((run / "checkpoints").iterdir(), reverse=True)
    shutil.rmtree(newest)
    status = Path(f"/proc/{command.process.pid}/status").read_text("utf-8")
    (used,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    with limit(command, resource.RLIMIT_DATA, used + 80_000_000):
        code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 1, output
    said = last_error(output)
    assert said.startswith("error: out of memory")
    assert all(
        setting in said for setting in ("train.row_tokens", "data.max_length", "gradient_checkpointing")
    )
    assert kept.is_dir()
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, tmp_path / "whole")


@pytest.mark.parametrize(
    ("eval_every", "found"),
    [(100, "the loss of step 3 is not a finite number"), (2, "eval_loss after the update of step 2 is not")],
)
def test_a_loss_that_is_no_number_names_step_rows_and_checkpoint(command, whole, tmp_path, eval_every, found):
    argv = ["train.learning_rate=1e30", f"train.eval_every={eval_every}", "train.save_every=1"]
    code, output = command.run("train", str(whole[0]), *argv, "-o", "run", cwd=tmp_path)
    assert code == 1, output
    said = last_error(output)
    assert found in said
    assert "rows.jsonl:" in said
    assert "lower train.learning_rate" in said
    assert "the last checkpoint is kept: " in said
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    assert str(newest.relative_to(tmp_path)) in said


def test_one_broken_weight_names_the_row_that_meets_it(command, tmp_path, tiny_model_folder, tokenizer):
    model = tmp_path / "model"
    shutil.copytree(tiny_model_folder, model)
    weights = load_file(model / "model.safetensors")
    weights["model.embed_tokens.weight"][tokenizer.encode("~")] = torch.inf
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    recipe = write_recipe(
        tmp_path, model, data={"eval": None}, train={"batch_size": 1, "accumulate": 1, "save_every": 1}
    )
    rows = (tmp_path / "rows.jsonl").read_text("utf-8").replace("What is 7?", "What is ~?")
    (tmp_path / "rows.jsonl").write_text(rows, "utf-8")
    code, output = command.run("train", str(recipe), cwd=tmp_path)
    assert code == 1, output
    assert re.search(
        r"the loss of step \d+ is not a finite number; its rows are \S+rows.jsonl:8\. ", last_error(output)
    )


# ---- damage, and what changes between two commands


def with_its_manifest(checkpoint: Path, name: str, content: bytes) -> None:
    """Replace a file of a checkpoint, and tell its manifest."""
    (checkpoint / name).write_bytes(content)
    manifest = json.loads((checkpoint / "manifest.json").read_text("utf-8"))
    manifest[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest), "utf-8")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty manifest": lambda at: (at / "manifest.json").write_bytes(b""),
    "manifest is a list": lambda at: (at / "manifest.json").write_text("[]"),
    "manifest of numbers": lambda at: (at / "manifest.json").write_text('{"state.json": 3, "optimizer.pt": 3}'),
    "manifest is no text": lambda at: (at / "manifest.json").write_bytes(b"\xff\xfe"),
    "manifest is a folder": lambda at: ((at / "manifest.json").unlink(), (at / "manifest.json").mkdir()),
    "optimizer cut short": lambda at: os.truncate(at / "optimizer.pt", 1000),
    "state is no JSON": lambda at: with_its_manifest(at, "state.json", b"\x00"),
    "state is a list": lambda at: with_its_manifest(at, "state.json", b"[]"),
    "state of other fields": lambda at: with_its_manifest(at, "state.json", b'{"state": {"x": 1}, "identity": {}}'),
    "half-written": lambda at: [(at / name).unlink() for name in ("manifest.json", "state.json")],
    "an empty folder": lambda at: (shutil.rmtree(at), at.mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_said_and_passed_over(command, whole, run, tmp_path, damage):
    DAMAGES[damage](sorted((run / "checkpoints").iterdir())[-1])
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert output.count("damaged checkpoint passed over") == 1, output
    assert "step-000008" in output
    assert_same_end(run, whole[1])


def test_what_else_may_lie_in_a_run_does_no_harm(command, whole, run, tmp_path):
    newest = sorted((run / "checkpoints").iterdir())[-1]
    (newest / "extra").write_text("x")
    (run / "checkpoints" / "step-9").mkdir()
    (run / "checkpoints" / ".step-000009.tmp").mkdir()
    (run / "checkpoints" / "notes").write_text("x")
    (run / ".metrics.jsonl.tmp").write_text("x")
    (run / "environment.json").write_text('{"choices": {"dev')
    (run / "before_after.json").write_text("[3]")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert "environment.json" in output
    assert "before_after.json" in output
    assert_same_end(run, whole[1])


def test_lost_metrics_do_not_lose_the_training(command, whole, run, tmp_path):
    (run / "metrics.jsonl").write_bytes(b"")
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert "metrics.jsonl" in output
    assert "lost" in output
    assert (run / "adapter/adapter_model.safetensors").read_bytes() == (
        whole[1] / "adapter/adapter_model.safetensors"
    ).read_bytes()


def test_the_best_checkpoint_is_trained_again_if_damaged(command, whole, tmp_path):
    # With a rate this high the last evaluation is not the best.
    argv = ["train", str(whole[0]), "train.keep_best=true", "train.learning_rate=0.3", "train.keep=1"]
    code, output = command.run(*argv, "-o", "whole", cwd=tmp_path)
    assert code == 0, output
    assert "the result is the best checkpoint, step 6 " in output
    run = tmp_path / "run"
    finished_copy_without_its_end(tmp_path / "whole", run)
    os.truncate(run / "checkpoints/step-000006/optimizer.pt", 10)
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert "damaged checkpoint passed over" in output
    assert_same_end(run, tmp_path / "whole")


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


# ---- interrupted, and killed in odd places


def wait_for(started: Started, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        assert psutil.pid_exists(started.pid), "it ended before"
        time.sleep(0.002)


def printed(started: Started) -> str:
    return started._out.read_text("utf-8", errors="replace") if started._out.exists() else ""


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

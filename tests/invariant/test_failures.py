"""What fails at work ends with exit code 1 and a good checkpoint; what was damaged since is said and passed over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.invariant.command import CommandServer
from tests.invariant.said import files_in, last_error
from tests.invariant.test_kill_and_resume import assert_same_end, finished_copy_without_its_end
from tests.recipes import ROWS, write_recipe, write_rows


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

"""A run killed at any moment and resumed ends with the same bytes as one never interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.invariant.command import CommandServer
from tests.recipes import deterministic_columns, write_recipe, write_rows
from tests.slow import slow

KILLS = 20


def result_bytes(run: Path) -> str:
    (weights,) = [*run.glob("adapter/*.safetensors"), *run.glob("model/*.safetensors")]
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def finished(command: CommandServer, folder: Path, recipe: Path) -> tuple[Path, Path, float]:
    """The recipe, its finished run, and how long the command took."""
    durations = []
    for _ in range(2):
        began = time.monotonic()
        code, output = command.run("train", str(recipe), "--overwrite", cwd=folder)
        assert code == 0, output
        durations.append(time.monotonic() - began)
    return recipe, folder / "run", min(durations)


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("whole")
    recipe = write_recipe(folder, tiny_model_folder, evaluate={"metrics": ["exact_match"]})
    return finished(command, folder, recipe)


QUESTIONS = [{"role": "user", "content": f"What is {i}?"} for i in range(10)]
ANSWERS = [{"role": "assistant", "content": f"It is {i} " * (1 + i % 3)} for i in range(10)]
WORSE = [{"role": "assistant", "content": f"Who knows, {i % 4}"} for i in range(10)]
JUDGED = {
    "dpo": [
        {"prompt": [asked], "chosen": [better], "rejected": [worse]}
        for asked, better, worse in zip(QUESTIONS, ANSWERS, WORSE, strict=True)
    ],
    "kto": [
        {"messages": [asked, better if at % 2 else worse], "label": bool(at % 2)}
        for at, (asked, better, worse) in enumerate(zip(QUESTIONS, ANSWERS, WORSE, strict=True))
    ],
}


@pytest.fixture(scope="module", params=JUDGED)
def uninterrupted_on_judged(command, tmp_path_factory, tiny_model_folder, request):
    folder = tmp_path_factory.mktemp(request.param)
    recipe = write_recipe(folder, tiny_model_folder, method={"name": request.param}, train={"threads": 1})
    write_rows(folder / "rows.jsonl", JUDGED[request.param])
    return finished(command, folder, recipe)


def kept_reference_values() -> list[Path]:
    return list(Path(os.environ["TUNESMITH_CACHE"]).rglob("logprobs.npy"))


def assert_same_end(run: Path, whole: Path) -> None:
    assert result_bytes(run) == result_bytes(whole)
    assert deterministic_columns(run / "metrics.jsonl") == deterministic_columns(whole / "metrics.jsonl")
    evidence = [json.loads((folder / "before_after.json").read_text("utf-8")) for folder in (run, whole)]
    assert evidence[0] == evidence[1]
    for name in ("evaluation.json", "evaluation.jsonl"):  # both there, or neither
        answers = [path.read_bytes() if (path := folder / name).exists() else None for folder in (run, whole)]
        assert answers[0] == answers[1]
    assert (run / "report.html").is_file()
    assert not list(run.rglob("*.tmp"))


def kill_and_resume(command: CommandServer, recipe: Path, run: Path, seconds: float) -> None:
    """Kill a run after so many seconds, and go on with it."""
    started = command.start("train", str(recipe), "-o", str(run), cwd=run.parent)
    time.sleep(seconds)
    started.signal(signal.SIGKILL)
    started.wait()
    # Killed before the run began to exist, there is nothing to resume and the first command starts it.
    verb = ["resume", str(run)] if (run / "recipe.yaml").is_file() else ["train", str(recipe), "-o", str(run)]
    code, output = command.run(*verb, cwd=run.parent)
    assert code == 0, output


@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_anywhere_and_resumed_ends_with_the_same_bytes(command, uninterrupted, tmp_path, kill):
    recipe, whole, duration = uninterrupted
    kill_and_resume(command, recipe, tmp_path / "run", duration * (kill + 0.5) / KILLS)
    assert_same_end(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "kill", [pytest.param(kill, marks=() if kill % 5 == 2 else slow) for kill in range(KILLS)]
)
def test_so_does_one_on_judged_answers(command, uninterrupted_on_judged, tmp_path, kill):
    recipe, whole, duration = uninterrupted_on_judged
    for values in kept_reference_values():  # so that it may be killed while it makes them
        shutil.rmtree(values.parent)
    kill_and_resume(command, recipe, tmp_path / "run", duration * (kill + 0.5) / KILLS)
    assert_same_end(tmp_path / "run", whole)


def test_damaged_reference_values_are_said_and_made_anew(command, uninterrupted_on_judged, tmp_path):
    recipe, whole, _ = uninterrupted_on_judged
    for values in kept_reference_values():
        shutil.rmtree(values.parent)
    for run in ("first", "second"):
        code, output = command.run("train", str(recipe), "-o", run, cwd=tmp_path)
        assert code == 0, output
        assert_same_end(tmp_path / run, whole)
        said = " ".join(output.split()).count("are damaged or of another model; they are computed anew")
        assert said == (2 if run == "second" else 0)  # of both sides
        for values in kept_reference_values():
            values.write_bytes(b"")


WRITTEN = {
    "kept teacher": {"name": "distill", "top_k": 8},
    "own answers": {"name": "distill", "answers": "student", "max_new_tokens": 12},
    "rewarded": {
        "name": "grpo",
        "rewards": "rewards.py:short",
        "answers": 3,
        "max_new_tokens": 12,
        "updates": 2,
    },
}


@pytest.fixture(scope="module", params=WRITTEN)
def uninterrupted_on_answers(command, tmp_path_factory, tiny_model_folder, request):
    """A run that learns from a teacher, or from answers that the model draws meanwhile."""
    folder = tmp_path_factory.mktemp("answers")
    method = WRITTEN[request.param]
    teacher = {"teacher": str(tiny_model_folder)} if method["name"] == "distill" else {}
    (folder / "rewards.py").write_text("def short(attempt):\n    return -len(attempt.answer)\n", "utf-8")
    recipe = write_recipe(
        folder,
        tiny_model_folder,
        method={**method, **teacher},
        train={"threads": 1},
        evaluate={"prompts": []},
    )
    return finished(command, folder, recipe)


@pytest.mark.parametrize(
    "kill", [pytest.param(kill, marks=() if kill % 7 == 3 else slow) for kill in range(KILLS)]
)
def test_so_does_one_that_learns_from_a_teacher_or_from_answers_it_draws(
    command, uninterrupted_on_answers, tmp_path, kill
):
    recipe, whole, duration = uninterrupted_on_answers
    run = tmp_path / "run"
    kill_and_resume(command, recipe, run, duration * (kill + 0.5) / KILLS)
    assert result_bytes(run) == result_bytes(whole)
    assert deterministic_columns(run / "metrics.jsonl") == deterministic_columns(whole / "metrics.jsonl")
    drawn = [
        path.read_bytes() if (path := folder / "drawn.jsonl").exists() else None for folder in (run, whole)
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("how", ["lora", "none"])
def test_a_reward_model_killed_and_resumed_ends_with_the_same_bytes(
    command, tmp_path, tiny_model_folder, how
):
    recipe = write_recipe(
        tmp_path,
        tiny_model_folder,
        method={"name": "reward"},
        evaluate={"prompts": []},
        adapter={"type": how},
    )
    pairs = [
        {"prompt": f"What is {i}?", "chosen": f"It is {i}.", "rejected": f"No {i % 3}"} for i in range(10)
    ]
    write_rows(tmp_path / "rows.jsonl", pairs)
    whole, run = tmp_path / "whole", tmp_path / "run"
    code, output = command.run("train", str(recipe), "-o", str(whole), cwd=tmp_path)
    assert code == 0, output
    started = command.start("train", str(recipe), "-o", str(run), cwd=tmp_path)
    while not list(run.glob("checkpoints/step-*")):
        time.sleep(0.005)
    started.signal(signal.SIGKILL)
    started.wait()
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert result_bytes(run) == result_bytes(whole)
    assert deterministic_columns(run / "metrics.jsonl") == deterministic_columns(whole / "metrics.jsonl")


def test_killed_again_and_again(command, uninterrupted, tmp_path):
    recipe, whole, duration = uninterrupted
    run = tmp_path / "run"
    verb = ["train", str(recipe), "-o", str(run)]
    for share in (0.5, 0.6, 0.7, 0.4):
        started = command.start(*verb, cwd=tmp_path)
        while not (run / "recipe.yaml").is_file():  # before that there is nothing to resume
            time.sleep(0.02)
        time.sleep(duration * share)
        started.signal(signal.SIGKILL)
        started.wait()
        verb = ["resume", str(run)]
    code, output = command.run(*verb, cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, whole)


def test_ctrl_c_writes_a_checkpoint_and_names_resume(command, uninterrupted, tmp_path):
    recipe, whole, _ = uninterrupted
    run = tmp_path / "run"
    started = command.start("train", str(recipe), "-o", str(run), cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    started.signal(signal.SIGINT)
    code, output = started.wait()
    assert code == 130, output
    assert f"tunesmith resume {run.name}" in output.replace("\n", "")
    assert list((run / "checkpoints").glob("step-*"))
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, whole)


def finished_copy_without_its_end(whole: Path, run: Path) -> None:
    """The finished run as if killed right after its last checkpoint."""
    shutil.copytree(whole, run)
    for name in ("adapter", "report.html", "loss.png", "environment.json"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("damage", ["cut short", "one bit", "no manifest"])
def test_a_damaged_checkpoint_is_said_and_passed_over(command, uninterrupted, tmp_path, damage):
    _, whole, _ = uninterrupted
    run = tmp_path / "run"
    finished_copy_without_its_end(whole, run)
    newest = sorted((run / "checkpoints").iterdir())[-1]
    weights = newest / "trainable.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "cut short":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "one bit":
        content[-1] ^= 1
        weights.write_bytes(content)
    else:
        (newest / "manifest.json").unlink()
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert "damaged checkpoint passed over" in output
    assert_same_end(run, whole)


def test_all_checkpoints_damaged_starts_from_the_start(command, uninterrupted, tmp_path):
    _, whole, _ = uninterrupted
    run = tmp_path / "run"
    finished_copy_without_its_end(whole, run)
    for folder in (run / "checkpoints").iterdir():
        (folder / "state.json").write_text("{", encoding="utf-8")
    code, output = command.run("resume", str(run), cwd=tmp_path)
    assert code == 0, output
    assert_same_end(run, whole)


def test_resume_refuses_changed_data(command, uninterrupted, tmp_path, tiny_model_folder):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    code, output = command.run("train", str(recipe), cwd=tmp_path)
    assert code == 0, output
    (tmp_path / "run/report.html").unlink()
    rows = (tmp_path / "rows.jsonl").read_text("utf-8")
    (tmp_path / "rows.jsonl").write_text(rows.replace("It is 3", "It is not 3"), encoding="utf-8")
    code, output = command.run("resume", str(tmp_path / "run"), cwd=tmp_path)
    assert code == 2
    assert "data changed since this run began" in output.replace("\n", " ")


def test_resuming_a_finished_run_says_so(command, uninterrupted, tmp_path):
    _, whole, _ = uninterrupted
    code, output = command.run("resume", str(whole), cwd=tmp_path)
    assert code == 0
    assert "finished already" in output

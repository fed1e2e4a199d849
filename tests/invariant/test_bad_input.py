"""Wrong input is one clear sentence and exit code 2; nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.invariant.said import assert_says, files_in
from tests.recipes import ROWS, write_recipe

GOOD = json.dumps(ROWS[0]) + "\n"


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

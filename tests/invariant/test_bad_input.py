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


def turns(*messages: dict[str, Any], **beside: Any) -> str:
    return json.dumps({"messages": messages, **beside}) + "\n"


def pairs(**last: Any) -> Callable[[Path], None]:
    """Ten pairs and a last one of these fields."""
    good = [{"prompt": f"What is {i}?", "chosen": f"It is {i}.", "rejected": "No idea."} for i in range(10)]
    return data("".join(json.dumps(row) + "\n" for row in [*good, last]))


def judged(*labels: Any, answer: str = "So.") -> Callable[[Path], None]:
    """Answers judged like this, the last one with this text."""
    answers = [ANSWERED] * (len(labels) - 1) + [ANSWERED | {"content": answer}]
    return data("".join(turns(ASKED, text, label=label) for text, label in zip(answers, labels, strict=True)))


ASKED, ANSWERED = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
MASKED = turns(ASKED, ANSWERED | {"weight": 0}) * 3
LONG = turns(ASKED, ANSWERED | {"content": "x" * 200}) * 7

DPO, KTO = "method={name: dpo}", "method={name: kto}"
ONE, OTHER = [ASKED, ANSWERED], [ASKED | {"content": "When?"}, ANSWERED]

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
    "equal sides": (
        pairs(prompt="a", chosen="b", rejected="b"),
        [DPO],
        ["rows.jsonl:11", "'chosen' and 'rejected' of row 11 are the same", "a better and a worse answer"],
    ),
    "equal chats": (pairs(chosen=ONE, rejected=ONE), [DPO], ["rows.jsonl:11", "'rejected' of row 11 are the same"]),
    "empty chosen side": (
        pairs(prompt="a", chosen=" ", rejected="b"),
        [DPO],
        ["rows.jsonl:11", "'chosen' of row 11 holds nothing but blanks"],
    ),
    "empty rejected side": (
        pairs(prompt="a", chosen="b", rejected=""), [DPO], ["rows.jsonl:11", "'rejected' of row 11 is empty"]
    ),
    "one side": (pairs(prompt="a", chosen="b"), [DPO], ["rows.jsonl:11", "row 11 has no field 'rejected'"]),
    "other prompts": (
        pairs(chosen=ONE, rejected=OTHER),
        [DPO],
        ["rows.jsonl:11", "message 1 of 'chosen' of row 11", "the prompts differ", "the same prompt on both sides"],
    ),
    "long side": (
        pairs(prompt="a", chosen="b", rejected="b" * 200),
        [DPO],
        ["1 row is longer", "rows.jsonl:11 (", "Raise data.max_length to", "(the question, never the answer), or `drop`"],
    ),
    "long side truncated": (
        pairs(prompt="a", chosen="b", rejected="b" * 200),
        [DPO, "data.on_long=truncate"],
        ["rows.jsonl:11", "row 11 has, without its older turns and the end of its question, still"],
    ),
    "long side split": (
        pairs(prompt="a", chosen="b", rejected="b" * 200),
        [DPO, "data.on_long=split"],
        ["rows.jsonl:11", "a judged answer cannot be split", "on_long: truncate"],
    ),
    "long answer": (
        judged(True, False, True, answer="b" * 200), [KTO], ["rows.jsonl:3 (", "Raise data.max_length to", "or `drop`"]
    ),
    "all good": (
        judged(*[True] * 4), [KTO], ["all 3 answers of data.train are judged good", "preferences: chosen"]
    ),
    "all bad": (judged(*[False] * 4), [KTO], ["all 3 answers of data.train are judged bad", "Add good ones"]),
    "the only bad one is held out": (
        judged(*[True] * 4, False, *[True] * 5),
        [KTO],
        ["all 8 answers of data.train are judged good", "data.eval holds out those there are", "another train.seed"],
    ),
    "no judgement": (judged(True, False, "maybe"), [KTO], ["rows.jsonl:3", "field 'label' of row 3 is 'maybe'"]),
    "judged otherwise": (
        judged(True, False, True), [DPO], ["rows of the format labelled", "`method: {name: kto}`"]
    ),
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

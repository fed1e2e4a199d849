"""Held-out rows: asked with training's own tokens, answered by both models, and scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_llama
from tests.recipes import write_recipe, write_rows
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.config.method import Generation
from tunesmith.config.schema import Evaluate, Recipe
from tunesmith.data.schema import Message
from tunesmith.errors import InputError
from tunesmith.evaluation.run import (
    HeldOutRow,
    answer_rows,
    check_metrics,
    evaluation,
    evaluation_rows,
    held_out_rows,
    score_rows,
    stored_base,
    told,
)
from tunesmith.infer.speaker import Reply
from tunesmith.segments import Picture
from tunesmith.stage import prepare

QA = [{"question": f"What is {n}?", "answer_keywords": [f"it, {n}", "so"]} for n in range(7)]
CHATS = [
    {
        "messages": [
            {"role": "user", "content": f"Who is {n}?"},
            {"role": "assistant", "content": "Nobody."},
            {"role": "user", "content": f"And {'really ' * n}?"},
            {"role": "assistant", "content": f"I said {n}."},
        ]
    }
    for n in range(5)
]


def recipe_of(folder: Path, model: Path, rows: list, *metrics: str, **blocks: dict) -> Recipe:
    write_rows(folder / "held_out.jsonl", rows)
    data = {"eval": ["held_out.jsonl"], **blocks.pop("data", {})}
    evaluate = {"metrics": list(metrics), **blocks.pop("evaluate", {})}
    return load(str(write_recipe(folder, model, data=data, evaluate=evaluate, **blocks)))


def rows_of(recipe: Recipe):
    prepared = prepare(recipe)
    return held_out_rows(recipe.evaluate, prepared.data.eval), prepared.renderer


def test_a_row_is_asked_with_the_prompt_of_its_last_answer(tmp_path, tiny_model_folder):
    recipe = recipe_of(tmp_path, tiny_model_folder, CHATS, "exact_match")
    rows, renderer = rows_of(recipe)
    assert [row.reference for row in rows] == [f"I said {n}." for n in range(5)]
    assert [row.question for row in rows] == [chat["messages"][2]["content"] for chat in CHATS]
    for row, chat in zip(rows, CHATS, strict=True):
        asked = [Message(turn["role"], turn["content"], 0.0) for turn in chat["messages"][:3]]
        assert list(row.tokens) == list(renderer.prompt(asked))


@pytest.mark.parametrize("loss_on", ["all_turns", "last_turn"])
def test_whichever_turns_are_learned_the_prompt_is_the_same(tmp_path, tiny_model_folder, loss_on):
    recipe = recipe_of(tmp_path, tiny_model_folder, CHATS, "exact_match", data={"loss_on": loss_on})
    rows, renderer = rows_of(recipe)
    assert renderer.tokenizer.decode(rows[0].tokens).endswith("<|im_start|>assistant\n")
    assert renderer.tokenizer.decode(rows[0].tokens).count("Nobody.") == 1


def test_keywords_are_those_of_the_row_whatever_stands_between_them(tmp_path, tiny_model_folder):
    recipe = recipe_of(tmp_path, tiny_model_folder, QA, "keyword_recall")
    rows, _ = rows_of(recipe)
    assert [(row.reference, row.keywords) for row in rows] == [
        (f"it, {n}, so", (f"it, {n}", "so")) for n in range(7)
    ]
    exact = [Reply(row.reference, 3, True) for row in rows]
    assert score_rows(["keyword_recall"], rows, exact)["keyword_recall"] == 1.0


def test_the_first_so_many_rows_are_asked_and_none_without_a_metric_that_compares(
    tmp_path, tiny_model_folder
):
    recipe = recipe_of(tmp_path, tiny_model_folder, QA, "accuracy", evaluate={"rows": 3})
    rows, _ = rows_of(recipe)
    assert [row.place.rpartition(":")[2] for row in rows] == ["1", "2", "3"]
    samples = prepare(recipe).data.eval
    assert held_out_rows(Evaluate(metrics=("poem_form",)), samples) == []
    assert held_out_rows(Evaluate(metrics=("accuracy",), rows=0), samples) == []


def test_answers_are_those_of_transformers_alone_row_by_row(tmp_path, tiny_model_folder):
    recipe = recipe_of(tmp_path, tiny_model_folder, CHATS, "exact_match")
    rows, renderer = rows_of(recipe)
    model = tiny_llama()
    batches: list[int] = []
    evaluate = Evaluate(generation=Generation(max_new_tokens=6))
    replies = answer_rows(model, renderer, rows, evaluate, between=lambda: batches.append(1))
    for row, reply in zip(rows, replies, strict=True):
        prompt = torch.tensor([row.tokens])
        plain = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, do_sample=False
        )
        tokens = [token for token in plain[0, len(row.tokens) :].tolist() if token != 2]
        assert (reply.text, reply.tokens) == (
            renderer.tokenizer.decode(tokens, skip_special_tokens=True),
            len(tokens),
        )
    assert batches == [1]


def test_scores_stand_beside_the_bases(tmp_path, tiny_model_folder):
    rows, _ = rows_of(recipe_of(tmp_path, tiny_model_folder, CHATS, "exact_match", "poem_form"))
    base = [Reply("no", 1, False)] * 5
    tuned = [Reply(row.reference, 4, True) for row in rows[:4]] + base[:1]
    found = evaluation(["exact_match", "poem_form"], rows, base, tuned)
    assert found == {
        "metrics": {"exact_match": 0.8, "mean_tokens": 3.4, "end_token_rate": 0.8},
        "base": {"exact_match": 0.0, "mean_tokens": 1.0, "end_token_rate": 0.0},
        "rows": 5,
    }
    assert list(told(found)) == ["exact_match 0.00 → 0.80 on 5 held-out rows"]


def test_the_bases_answers_are_taken_from_an_earlier_start_only_for_the_same_rows(
    tmp_path, tiny_model_folder
):
    rows, _ = rows_of(recipe_of(tmp_path, tiny_model_folder, CHATS, "exact_match"))
    base = [Reply(f"answer {at}", at, at > 2) for at in range(5)]
    lines = json.loads(json.dumps(evaluation_rows(rows, base, None)))
    assert all("tuned" not in line for line in lines)
    assert stored_base(lines, rows) == base
    assert stored_base(json.loads(json.dumps(evaluation_rows(rows, base, base))), rows) == base
    assert stored_base(lines[:4], rows) is None
    assert stored_base(lines[::-1], rows) is None
    assert stored_base([], rows) is None


def test_a_line_names_the_pictures_of_its_row():
    shown = [(), (Picture(1, 2, "/x/a.png"),), (Picture(1, 2, "/x/a.png"), Picture(5, 2, "/x/b.png"))]
    rows = [HeldOutRow(f"r.jsonl:{at}", "?", "!", (), (1, 2), pictures) for at, pictures in enumerate(shown)]
    lines = evaluation_rows(rows, [Reply("no", 1, True)] * 3, None)
    assert [line.get("image") for line in lines] == [None, "/x/a.png", ["/x/a.png", "/x/b.png"]]


REFUSED = {
    "no held-out rows": ({"data": {"eval": None}}, "no rows are held out. Hold some out with `eval: 0.1`"),
    "no answers": ({"method": {"name": "pretrain"}}, "plain text has no answers"),
    "no beginning": ({"data": {"loss_on": "everything"}}, "nothing says where an answer begins"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_metric_with_nothing_to_compare_is_refused(tmp_path, case):
    blocks, sentence = REFUSED[case]
    recipe = recipe_of(tmp_path, Path("nowhere"), CHATS, "accuracy", **blocks)
    with pytest.raises(InputError, match=f"`accuracy` compares .*{sentence}"):
        check_metrics(recipe)
    check_metrics(recipe.model_copy(update={"evaluate": Evaluate(metrics=("poem_form",))}))


@pytest.fixture(scope="module")
def measured_run(tmp_path_factory, tiny_model_folder) -> Path:
    """A run that learns one answer by heart, with no prompts: all evidence is on held-out rows."""
    folder = tmp_path_factory.mktemp("measured")
    rows = [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "!"}]}
        for n in range(8)
    ]
    write_rows(folder / "learned.jsonl", rows)
    recipe = recipe_of(
        folder,
        tiny_model_folder,
        rows,
        "accuracy",
        data={"train": "learned.jsonl"},
        adapter={"type": "none", "rank": 16, "alpha": 32, "dropout": 0.0},
        train={"epochs": 6, "learning_rate": 0.01, "threads": 1},
        evaluate={"prompts": [], "generation": {"max_new_tokens": 4}},
    )
    return pipeline.train(recipe).folder


def test_a_run_leaves_its_evidence(measured_run):
    found = json.loads((measured_run / "evaluation.json").read_text("utf-8"))
    assert (found["base"]["accuracy"], found["metrics"]["accuracy"], found["rows"]) == (0.0, 1.0, 8)
    lines = [json.loads(line) for line in (measured_run / "evaluation.jsonl").read_text("utf-8").splitlines()]
    assert [line["tuned"] for line in lines] == ["!"] * 8
    assert {line["reference"] for line in lines} == {"!"} and "!" not in {line["base"] for line in lines}
    scores = json.loads((measured_run / "before_after.json").read_text("utf-8"))["scores"]
    assert (scores["base"], scores["tuned"]) == (found["base"], found["metrics"])
    assert "accuracy 0.00 → 1.00 on 8 held-out rows" in (measured_run / "train.log").read_text("utf-8")
    page = (measured_run / "report.html").read_text("utf-8")
    assert "Accuracy 0% → 100%" in page and "8 rows" in page


def test_a_run_that_is_gone_on_with_does_not_ask_the_base_again(measured_run, tmp_path, monkeypatch):
    run = pipeline.RunDir(measured_run)
    before = {path: path.read_bytes() for path in (run.evaluation, run.evaluation_rows, run.before_after)}
    run.report.unlink()
    run.evaluation.unlink()
    asked: list[object] = []
    monkeypatch.setattr("tunesmith.stage.answer_rows", lambda *_, **__: asked.append(1))
    pipeline.resume(measured_run)
    assert not asked
    assert {path: path.read_bytes() for path in before} == before

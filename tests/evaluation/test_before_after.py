"""The content of before_after.json."""

from __future__ import annotations

import json

from tests.infer.test_chat import speaker
from tunesmith.config.method import Generation
from tunesmith.config.schema import Evaluate
from tunesmith.evaluation.before_after import ask_prompts, base_replies, before_after, score_replies
from tunesmith.infer.speaker import Reply

POEM = "细脚踏青苔，\n轻声叩户来。\n不知谁唤醒，\n墙角豆花开。"
BASE = [Reply("long and formless", 60, False), Reply(POEM, 30, True)]
TUNED = [Reply(POEM, 28, True), Reply(POEM.replace("豆花", "野花").replace("青苔", "山来"), 28, True)]
EVALUATE = Evaluate(metrics=("poem_form",), prompts=("rain", "snow"))


def test_samples_stand_side_by_side_with_their_scores():
    found = before_after(EVALUATE, BASE, TUNED, {("snow", ())}, [POEM])
    assert [(s["prompt"], s["base"], s["tuned"], s["trained_on"]) for s in found["samples"]] == [
        ("rain", BASE[0].text, TUNED[0].text, False),
        ("snow", BASE[1].text, TUNED[1].text, True),
    ]
    assert found["scores"]["base"] == {
        "form_validity": 0.5, "copied": 0.5, "mean_tokens": 45.0, "end_token_rate": 0.5,
    }  # fmt: skip
    assert found["scores"]["tuned"]["form_validity"] == 1.0
    assert found["scores"]["tuned"]["end_token_rate"] == 1.0


def test_before_training_there_is_only_the_base():
    found = before_after(EVALUATE, BASE, None, set(), [])
    assert list(found["scores"]) == ["base"]
    assert all("tuned" not in sample for sample in found["samples"])
    assert found["scores"]["base"]["copied"] == 0.0


def test_base_replies_are_taken_from_an_earlier_start_only_if_the_prompts_are_the_same():
    stored = json.loads(json.dumps(before_after(EVALUATE, BASE, None, set(), [])))
    assert base_replies(stored, EVALUATE) == BASE
    assert base_replies(stored, EVALUATE.model_copy(update={"prompts": ("snow", "rain")})) is None
    assert base_replies(stored, EVALUATE.model_copy(update={"prompts": ("rain",)})) is None
    assert base_replies(None, EVALUATE) is None


def test_prompts_are_asked_as_the_recipe_says():
    asked = speaker()
    generation = Generation(max_new_tokens=9, temperature=1.0, seed=2)
    replies = ask_prompts(asked, Evaluate(prompts=("rain", "snow"), generation=generation))
    assert replies == asked.answer(["rain", "snow"], generation)
    assert [reply.tokens for reply in replies] == [9, 9]


def test_replies_without_metrics_still_have_their_facts():
    assert score_replies(BASE, (), ()) == {"mean_tokens": 45.0, "end_token_rate": 0.5}


def test_a_finished_run_holds_it_for_its_prompts(trained_run):
    found = json.loads((trained_run / "before_after.json").read_text("utf-8"))
    assert [sample["prompt"] for sample in found["samples"]] == ["What is 3?", "Who?"]
    assert set(found["scores"]) == {"base", "tuned"}
    asked = {row["prompt"]: row["trained_on"] for row in found["samples"]}
    assert asked["Who?"] is False

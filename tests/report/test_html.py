"""report.html: one page that needs nothing, says what it knows, and trusts no text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tunesmith.report.curve import draw_curve
from tunesmith.report.html import (
    byte_size,
    duration,
    number,
    page_of,
    status_of,
    summary_of,
    verdict,
    write_report,
)
from tunesmith.rundir import RunDir, read_json, write_json, write_json_lines

VOID = {"meta", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """Tags, attributes and visible text; fails where a tag is not closed in its turn."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.words.append(" " if tag in {"td", "th", "dt", "dd", "code"} else "")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", "".join(self.words))


def page(run: RunDir) -> Page:
    assert write_report(run) == run.report
    return Page(run.report.read_text("utf-8"))


def test_a_finished_run_shows_everything(run: RunDir, finished: Callable[[RunDir], RunDir]) -> None:
    draw_curve(finished(run))
    text = page(run).text
    for words in (
        "finished",
        "poetry-nano",
        "builtin:nano",
        "sft, LoRA, rank 16",
        str(run.adapter),
        "Form validity 5% → 95%, copied 0% → 5%",
        "in the training data",
        "end token rate 45% 100%",
        "mean tokens 61.3 24.1",
        "5.082 → 1.133 (best 0.992)",
        "3.312 → 1.404 (best 1.39)",
        "584 MiB",
        "18 s",
        "64 rows read, 62 kept, 2 dropped; format poetry",
        "quatrains.json:17 `output` is empty",
        "6 rows read, 6 kept, 0 dropped",
        "2.13.0+cpu",
        "23.0 GiB",
        "packed rows yes",
        "9f2c41d07ab3e6185c04",
        "schedule: cosine",
        f'tunesmith ask {run.folder} "写一首关于海浪的诗"',
    ):
        assert words in text, words
    source = run.report.read_text("utf-8")
    assert "白浪接天来，\n轻舟去不回。\n夜深闻远笛，\n星落满沙台。" in source
    assert source.count("in the training data") == 1


def test_the_page_needs_no_network_and_no_script(run: RunDir, finished: Callable[[RunDir], RunDir]) -> None:
    draw_curve(finished(run))
    shown = page(run)
    assert {tag for tag, _ in shown.tags}.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    for _, attributes in shown.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("src") or "data:").startswith(
            "data:image/png;base64,"
        ) or "src" not in attributes
    source = run.report.read_text("utf-8")
    assert "http:" not in source
    assert "https:" not in source
    assert "url(" not in source
    assert "prefers-color-scheme: dark" in source


def test_texts_are_escaped(run: RunDir, finished: Callable[[RunDir], RunDir]) -> None:
    finished(run)
    ledger = read_json(run.data)
    ledger["train"]["dropped"].append({"place": "<i>x</i>.json:3", "reason": "<img src=x onerror=alert(1)>"})
    write_json(run.data, ledger)
    write_json(run.environment, {"<u>": {"</dl><script>": "<script>"}, "result": None})
    source = write_report(run).read_text("utf-8")
    assert "<script>" not in source
    assert "<img src=x" not in source
    assert "<i>" not in source
    assert "<b>bold" not in source
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; 诗" in source
    assert "{{ 7 * 7 }}" in source
    Page(source)


def test_held_out_rows_stand_beside_their_references(
    run: RunDir, finished: Callable[[RunDir], RunDir]
) -> None:
    finished(run)
    assert "Held-out rows" not in page(run).text
    row = {
        "place": "test.jsonl:3",
        "prompt": "文本:" + "词" * 400 + "?",
        "reference": "体育",
        "base": "<b>?</b>",
    }
    write_json_lines(run.evaluation_rows, [row] * 3)  # as training leaves it
    shown = page(run).text
    assert "3 rows that were not trained on" in shown
    assert shown.count("… " + "词" * 299 + "? 体育 <b>?</b> –") == 3
    write_json_lines(run.evaluation_rows, [row | {"tuned": "科技"}] * 250)
    shown = page(run).text
    assert shown.count("体育 <b>?</b> 科技") == 200
    assert "192 more rows" in shown and "and 50 more in evaluation.jsonl" in shown


@pytest.mark.parametrize(
    ("eval_side", "said"),
    [
        (None, "3 rows of the held-out part, answered by both models. asked"),
        ({"rows_kept": 6}, "3 rows of the held-out part, answered by both models. asked"),
        ({"rows_kept": 6, "leaked": {"rows": 0}}, "3 rows that were not trained on, answered by both models. asked"),
        ({"rows_kept": 6, "leaked": {"rows": 4}}, "Of the 6 held out, 4 can be answered from memory"),
    ],
)  # fmt: skip
def test_rows_are_called_untrained_only_where_that_is_known(run: RunDir, eval_side: dict, said: str) -> None:
    line = {"place": "a.jsonl:1", "prompt": "q", "reference": "a", "base": "b", "tuned": "c"}
    write_json_lines(run.evaluation_rows, [line] * 3)
    write_json(run.data, {"train": None, "eval": eval_side})
    text = page(run).text
    assert said in text
    assert ("not trained on" in text) == ("not trained on" in said)


def test_scores_on_rows_and_on_prompts_stand_apart(run: RunDir, finished: Callable[[RunDir], RunDir]) -> None:
    finished(run)
    assert "on the 4 prompts base tuned form validity 5% 95%" in page(run).text
    content = read_json(run.before_after)
    for side, accuracy in (("base", 0.25), ("tuned", 0.75)):
        content["scores"][side] = {"accuracy": accuracy} | content["scores"][side]
    write_json(run.before_after, content)
    rows = {"mean_tokens": 3.0, "end_token_rate": 0.5}
    write_json(
        run.evaluation,
        {"metrics": {"accuracy": 0.75, **rows}, "base": {"accuracy": 0.25, **rows}, "rows": 40},
    )
    text = page(run).text
    assert "on 40 held-out rows base tuned accuracy 25% 75% mean tokens 3 3 end token rate 50% 50% " in text
    assert "on the 4 prompts base tuned form validity 5% 95% copied 0% 5% mean tokens 61.3 24.1" in text
    assert text.count("25% 75%") == 1
    write_json(run.before_after, {"samples": [], "scores": {"base": {"accuracy": 0.25, **rows}}})
    assert "prompts base tuned" not in page(run).text


def test_rows_and_prompts_with_pictures_name_them(run: RunDir) -> None:
    line = {"place": "a.jsonl:1", "prompt": "<image>?", "reference": "a", "base": "b"}
    write_json_lines(
        run.evaluation_rows,
        [line | {"image": "/some/red <1>.png"}, line | {"image": ["C:\\x\\a.png", "b.png"]}],
    )
    write_json(run.before_after, {"samples": [{"prompt": "What?", "image": "shots/one.jpg", "base": "no"}]})
    text = page(run).text
    assert "<image>? red <1>.png" in text and "<image>? a.png, b.png" in text
    assert "What? one.jpg" in text and "shots" not in text


def test_a_run_that_has_just_begun(run: RunDir) -> None:
    text = page(run).text
    for words in (
        "just begun",
        "Nothing to judge yet",
        "No answers yet",
        "No step logged yet",
        "The data has not been read yet",
        "Not written yet",
        f"tunesmith resume {run.folder}",
        "result none yet",
    ):
        assert words in text, words
    assert "tunesmith chat" not in text


def test_a_folder_that_is_no_run_at_all(tmp_path: Path) -> None:
    text = page(RunDir(tmp_path)).text
    assert "There is no recipe in this folder" in text
    assert tmp_path.name in text


def test_a_run_that_broke_off_in_the_middle(run: RunDir, log_steps: Callable[..., None]) -> None:
    log_steps(run, 30)
    with run.metrics.open("a") as file:
        file.write('{"step": 31, "lo')
    broken_off = {
        "samples": [{"prompt": "p", "base": "半\ud800", "trained_on": False}, {"prompt": "q", "base": " "}],
        "scores": {"base": {"form_validity": 0.1, "copied": None}},
    }
    run.before_after.write_text(json.dumps(broken_off), "utf-8")
    shown = page(run)
    assert "not finished, 30 steps so far" in shown.text
    assert "not answered yet" in shown.text
    assert "an empty answer" in shown.text
    assert "Training loss" in shown.text
    assert "form validity 10% –" in shown.text
    assert "半?" in shown.text


def test_many_dropped_rows_are_counted_not_printed(run: RunDir) -> None:
    dropped = [{"place": f"rows.jsonl:{row}", "reason": "no answer"} for row in range(1, 20_001)]
    write_json(
        run.data, {"train": {"rows_read": 20_000, "rows_kept": 0, "rows_dropped": 20_000, "dropped": dropped}}
    )
    text = page(run).text
    assert "and 19\u202f900 more in data.json" in text
    assert "rows.jsonl:100 " in text
    assert "rows.jsonl:101 " not in text


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ("{type: none, top_layers: 1}", "sft, the top layer"),
        ("{type: none, top_layers: 4}", "sft, the top 4 layers"),
        ("{type: none, unfreeze: {every: 5}}", "sft, all weights, unfrozen gradually"),
        ("{type: lora, rank: 8, top_layers: 2}", "sft, LoRA, rank 8, the top 2 layers"),
    ],
)
def test_what_was_trained_of_the_layers_is_said(run: RunDir, adapter: str, said: str) -> None:
    run.recipe.write_text(f"name: some\nadapter: {adapter}\nmethod: {{name: sft}}\n", "utf-8")
    assert f"{said} result" in page(run).text


def test_full_tuning_and_a_result_elsewhere(run: RunDir, tmp_path: Path) -> None:
    elsewhere = tmp_path / "sft finetuned"
    elsewhere.mkdir()
    run.recipe.write_text("name: full\nadapter: {type: none}\nmethod: {name: sft}\n", "utf-8")
    write_json(run.environment, {"result": str(elsewhere)})
    text = page(run).text
    assert "sft, all weights" in text
    assert "result none yet" in text, "until this run is finished, the folder may hold another's result"
    write_json(run.environment, {"result": str(elsewhere), "finished": True})
    assert str(elsewhere) in page(run).text


def test_the_status_is_read_from_the_folder() -> None:
    assert status_of({}, []) == "just begun"
    assert status_of({"seed": 0}, [{"step": 1}]) == "not finished, 1 step so far"
    assert status_of({"finished": True}, [{"step": 1}]) == "finished"


@pytest.mark.parametrize(
    ("scores", "losses", "expected"),
    [
        ({"base": {"accuracy": 0.125}, "tuned": {"accuracy": 0.5}}, [], "Accuracy 12.5% → 50%"),
        ({"base": {"mean_tokens": 1.0}, "tuned": {"mean_tokens": 0.5}}, [], "Mean tokens 1 → 0.5"),
        ({"base": {"bleu": 3.21}, "tuned": {"bleu": 27.04}}, [], "Bleu 3.21 → 27.04"),
        (
            {"base": {"accuracy": 0.5}},
            [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.5}],
            "Training loss 3 → 1.5",
        ),
        ({}, [{"step": 1, "eval_loss": 3.0}, {"step": 2, "eval_loss": 2.0}], "Loss on held-out data 3 → 2"),
        ({}, [{"step": 1, "loss": 3.0}], None),
    ],
)
def test_the_verdict_is_one_sentence(scores: dict, losses: list, expected: str | None) -> None:
    assert verdict(scores, losses) == expected


def test_time_before_a_resume_counts_whichever_way_the_clock_is_kept() -> None:
    def time_of(*seconds: float) -> str:
        return dict(summary_of([{"step": step, "seconds": value} for step, value in enumerate(seconds)]))[
            "time"
        ]

    assert time_of(5, 10, 15, 20) == "20 s"
    assert time_of(5, 10, 5, 10) == "20 s"


def test_numbers_are_written_for_people() -> None:
    assert number(9999) == "9999"
    assert number(4_412_160) == "4\u202f412\u202f160"
    assert number(0.123456) == "0.1235"
    assert byte_size(512) == "512 bytes"
    assert byte_size(5 * 1024**3) == "5.0 GiB"
    assert (duration(0.5), duration(42), duration(125), duration(7260)) == (
        "0.5 s",
        "42 s",
        "2 min 05 s",
        "2 h 01 min",
    )


def test_a_prompt_that_a_shell_would_read_is_not_in_the_commands(run: RunDir) -> None:
    write_json(run.environment, {"finished": True})
    write_json(run.before_after, {"samples": [{"prompt": "$(rm -rf x)"}, {"prompt": "写诗"}]})
    commands = [command for command, _ in page_of(run).commands]
    assert any("写诗" in command for command in commands)
    assert not any("rm -rf" in command for command in commands)

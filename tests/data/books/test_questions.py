"""Questions about passages: written row by row, filtered, kept, and gone on with exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.tiny import STEADY
from tunesmith.data.books.questions import Refused, Source, cache_of, read_passages, write_questions
from tunesmith.errors import InputError, WorkError

PASSAGES = [Source(f"Passage {number} speaks of clock {number}.", "Clocks") for number in range(8)]


def pair(question: str, answer: str = "Because of the dust.") -> str:
    return json.dumps({"question": question, "answer": answer}, ensure_ascii=False)


class Model:
    """Answers a question of its own about each passage, and remembers what it was asked."""

    def __init__(self, reply: Callable[[str], str] | None = None) -> None:
        self.prompts: list[str] = []
        self.reply = reply or (lambda prompt: pair(f"Why did the clock of {prompt.split()[-1]} stop?"))

    def __call__(self, messages) -> str:
        self.prompts.append(messages[-1]["content"])
        return self.reply(self.prompts[-1])


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_row_for_each_passage_with_its_book(tmp_path):
    output = tmp_path / "qa.jsonl"
    outcome = write_questions(PASSAGES, Model(), output, model="m")
    assert (outcome.rows, outcome.written, outcome.asked, outcome.from_cache) == (8, 8, 8, 0)
    assert {row["question"] for row in rows(output)} == {f"Why did the clock of {n}. stop?" for n in range(8)}
    assert all(set(row) == {"question", "answer", "book"} and row["book"] == "Clocks" for row in rows(output))


def test_count_takes_so_many_drawn_by_the_seed(tmp_path):
    def asked(seed: int) -> list[dict]:
        output = tmp_path / f"{seed}.jsonl"
        assert write_questions(PASSAGES, Model(), output, model="m", count=3, seed=seed).rows == 3
        return rows(output)

    assert len(asked(1)) == 3
    assert asked(1) != asked(2)


def test_a_chinese_passage_is_asked_about_in_chinese(tmp_path):
    model = Model(lambda prompt: pair("老人为什么每天都坐在桥上？", "他在等春天。"))
    write_questions([Source("老人每天坐在桥上等春天。", "河")], model, tmp_path / "qa.jsonl", model="m")
    assert "《河》" in model.prompts[0] and "老人每天坐在桥上等春天。" in model.prompts[0]
    assert "Write" not in model.prompts[0]
    assert "老人为什么" in (tmp_path / "qa.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    "reply",
    [
        '{"question": "Why did the old clock stop?", "answer": "Dust."}',
        '```json\n{"question": "Why did the old clock stop?", "answer": "Dust."}\n```',
        '[{"question": "Why did the old clock stop?", "answer": "Dust."}]',
        '{"pairs": [{"question": "Why did the old clock stop?", "answer": "Dust."}]}',
        '<think>A {"question": "not this one, it is a thought"}</think>{"question": "Why did the old clock stop?", "answer": "Dust."}',
        'the template opened it</think>\n{"question": "Why did the old clock stop?", "answer": "Dust."}',
        "Q: Why did the old clock stop?\nA: Dust.",
        "**Question 1:** Why did the old clock stop?\n**Answer:** Dust.",
        "{ not JSON } but then\nQuestion: Why did the old clock stop?\nAnswer: Dust.",
    ],
)
def test_replies_are_understood_as_models_write_them(tmp_path, reply):
    output = tmp_path / "qa.jsonl"
    write_questions(PASSAGES[:1], Model(lambda prompt: reply), output, model="m")
    (row,) = rows(output)
    assert row == {"question": "Why did the old clock stop?", "answer": "Dust.", "book": "Clocks"}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (pair("Why so?"), "a question of fewer than 5 words"),
        (pair("为什么？", "因为。"), "a question of fewer than 5 words"),
        (pair("Why did the clock stop then?", " "), "an empty answer"),
        ("I would rather not.", "no question with an answer"),
        ('{"question": 5, "answer": null}', "no question with an answer"),
        ("<think>Let me see, it could be", "still thinking"),
        ('{"question": "Why did the clock \\ud800 stop?", "answer": "Dust."}', "half a character"),
        ("[" * 5000 + "{" * 5000, "no question with an answer"),
    ],
)
def test_what_is_no_use_is_left_out_and_counted(tmp_path, reply, reason):
    good = pair("Why did the tall clock stop?")
    replies = iter([reply, good])
    output = tmp_path / "qa.jsonl"
    outcome = write_questions(PASSAGES[:2], Model(lambda prompt: next(replies)), output, model="m")
    assert outcome.rows == 1
    ((told, many),) = outcome.left_out.items()
    assert many == 1 and reason in told


def test_a_question_asked_before_and_a_refused_passage_are_left_out(tmp_path):
    def reply(prompt: str) -> str:
        if "clock 3." in prompt:
            raise Refused("the prompt is too long")
        return pair("Why did the Tall clock stop?" if "clock 5." in prompt else "why did the tall clock stop")

    outcome = write_questions(PASSAGES, Model(reply), tmp_path / "qa.jsonl", model="m")
    assert outcome.left_out == {"the prompt is too long": 1, "asked before": 6}
    assert outcome.rows == 1


def test_no_question_at_all_is_an_error_with_the_reasons(tmp_path):
    with pytest.raises(WorkError, match=r"not one question came of 8 passages: no question .* \(8 times\)"):
        write_questions(PASSAGES, Model(lambda prompt: "no"), tmp_path / "qa.jsonl", model="m")


# --- going on -----------------------------------------------------------------------------------------------------


def whole_run(folder: Path) -> tuple[bytes, bytes]:
    output = folder / "qa.jsonl"
    write_questions(PASSAGES, Model(), output, model="m")
    return output.read_bytes(), cache_of(output).read_bytes()


@STEADY
@given(st.data())
def test_a_run_killed_at_any_byte_goes_on_to_the_same_file_without_asking_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("killed")
    final, replies = whole_run(folder)
    output = folder / "qa.jsonl"
    # A reply is on the disk before its row is: so many whole replies, at most so many rows, and a torn end of one.
    kept = data.draw(st.integers(0, 8))
    torn = data.draw(st.integers(0, 40))
    cache_lines, row_lines = replies.splitlines(keepends=True), final.splitlines(keepends=True)
    written = data.draw(st.integers(max(kept - 1, 0), kept))
    tear_rows = written < kept
    cache = b"".join(cache_lines[:kept]) + (b"" if tear_rows or kept == 8 else cache_lines[kept][:torn])
    cache_of(output).write_bytes(cache)
    output.write_bytes(b"".join(row_lines[:written]) + (row_lines[written][:torn] if tear_rows else b""))
    model = Model()
    outcome = write_questions(PASSAGES, model, output, model="m")
    assert (output.read_bytes(), cache_of(output).read_bytes()) == (final, replies)
    assert (outcome.asked, outcome.from_cache, len(model.prompts)) == (8 - kept, kept, 8 - kept)


def test_a_run_that_stopped_goes_on(tmp_path):
    final, _ = whole_run(tmp_path)
    output = tmp_path / "other.jsonl"
    model = Model()

    def until_it_breaks(messages):
        if len(model.prompts) == 5:
            raise WorkError("the endpoint is gone")
        return model(messages)

    with pytest.raises(WorkError, match="gone"):
        write_questions(PASSAGES, until_it_breaks, output, model="m")
    assert len(rows(output)) == 5
    outcome = write_questions(PASSAGES, model, output, model="m")
    assert output.read_bytes() == final
    assert (outcome.written, outcome.asked) == (3, 3)
    again = write_questions(PASSAGES, model, output, model="m")
    assert (again.rows, again.written, again.asked) == (8, 0, 0)


def test_more_rows_are_added_to_those_that_are_there(tmp_path):
    output = tmp_path / "qa.jsonl"
    model = Model()
    write_questions(PASSAGES, model, output, model="m", count=2)
    write_questions(PASSAGES, model, output, model="m", count=6)
    assert len(rows(output)) == 6 and len(model.prompts) == 6


def test_rows_of_another_model_are_not_mixed(tmp_path):
    output = tmp_path / "qa.jsonl"
    write_questions(PASSAGES, Model(), output, model="m")
    other = Model(lambda prompt: pair(f"What became of the clock {prompt.split()[-1]}?"))
    with pytest.raises(InputError, match=r"qa\.jsonl:1: .*--overwrite"):
        write_questions(PASSAGES, other, output, model="another")


def test_a_file_of_replies_that_is_no_such_file_is_told(tmp_path):
    output = tmp_path / "qa.jsonl"
    cache_of(output).write_text("[1]\n", "utf-8")
    with pytest.raises(InputError, match=r"qa\.replies\.jsonl:1"):
        write_questions(PASSAGES, Model(), output, model="m")


# --- what is asked about ------------------------------------------------------------------------------------------


def test_passages_are_texts_or_the_last_answer(tmp_path):
    path = tmp_path / "book.jsonl"
    turns = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "It struck."}]
    lines = [{"text": "It stood still."}, {"messages": turns, "book": "Clocks"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert read_passages(path) == [Source("It stood still.", "book"), Source("It struck.", "Clocks")]


@pytest.mark.parametrize(
    "row", ['{"txt": "x"}', '{"text": " "}', '{"text": 5}', '{"messages": []}', "[1]", '{"text": "\\ud800"}']
)
def test_a_row_without_a_passage_is_named(tmp_path, row):
    path = tmp_path / "book.jsonl"
    path.write_text('{"text": "fine"}\n' + row + "\n", "utf-8")
    with pytest.raises(InputError, match=r"book\.jsonl:2"):
        read_passages(path)

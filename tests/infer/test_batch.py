"""Questions in, answers out."""

from __future__ import annotations

import json

import pytest

from tests.infer.test_chat import speaker
from tunesmith.config.method import Generation
from tunesmith.errors import InputError
from tunesmith.infer.batch import Asked, answer_file, read_questions

QUESTIONS = ["What is tea?", "写一首关于茶的诗"]
ASKED = [Asked(question, (), question) for question in QUESTIONS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.json", json.dumps(QUESTIONS)),
        ("q.json", json.dumps([{"question": QUESTIONS[0], "id": 7}, QUESTIONS[1]], ensure_ascii=False)),
        ("q.jsonl", "\n".join(json.dumps({"question": question}) for question in QUESTIONS) + "\n"),
        ("q.jsonl", "\n\n".join(json.dumps(question, ensure_ascii=False) for question in QUESTIONS)),
        ("q.txt", f"{QUESTIONS[0]}\n\n  \n{QUESTIONS[1]}\r\n"),
        ("q.TXT", "\ufeff" + "\n".join(QUESTIONS)),
        ("q.csv", "id,question\n" + "\n".join(f"7,{question}" for question in QUESTIONS)),
    ],
    ids=[
        "strings",
        "objects",
        "jsonl objects",
        "jsonl strings",
        "text",
        "text with a byte order mark",
        "csv",
    ],
)
def test_questions_come_in_many_forms(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert [asked.content for asked in read_questions(str(tmp_path / name))] == QUESTIONS


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("q.json", '["a", {"text": "b"}]', "entry 2 holds no question"),
        ("q.json", '[{"question": 3}]', "entry 1 holds no question"),
        ("q.json", '["a", "  "]', "entry 2 holds no question"),
        ("q.jsonl", '"a"\n{"question": ""}\n', r"q\.jsonl:2: entry 2 holds no question"),
        ("q.jsonl", '"a"\n{"question": \n', r"q\.jsonl:2"),
        ("q.json", "[]", "holds no rows"),
        ("q.json", "", "empty"),
        ("q.txt", " \n\n", "holds no questions"),
        ("q.json", '["a"', "broken JSON at line 1"),
    ],
)
def test_what_is_no_question_is_told_with_its_place(tmp_path, name, content, told):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=told):
        read_questions(str(tmp_path / name))


@pytest.mark.parametrize("name", ["q.txt", "q.json"])
def test_a_file_that_is_missing_or_no_utf8_is_told(tmp_path, name):
    with pytest.raises(InputError, match="no such file"):
        read_questions(str(tmp_path / name))
    (tmp_path / name).write_bytes('["你好"]'.encode("gbk"))
    with pytest.raises(InputError, match="UTF-8"):
        read_questions(str(tmp_path / name))


def test_answers_are_written_indented_with_what_is_not_ascii_kept(tmp_path):
    asked, options = speaker(), Generation(max_new_tokens=5)
    written = answer_file(asked, ASKED, options, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(text) == written
    assert [list(entry) for entry in written] == [["question", "answer"]] * 2
    assert [entry["question"] for entry in written] == QUESTIONS
    assert [entry["answer"] for entry in written] == [r.text for r in asked.answer(QUESTIONS, options)]
    assert "写一首关于茶的诗" in text and text.startswith('[\n  {\n    "question"')


def test_a_system_prompt_goes_to_every_question(tmp_path):
    options = Generation(max_new_tokens=5)
    under = answer_file(speaker(), ASKED, options, tmp_path / "a.json", system="Be kind.")
    replies = speaker(system="Be kind.").answer(QUESTIONS, options)
    assert [entry["answer"] for entry in under] == [reply.text for reply in replies]

"""`ask`, `chat`, `batch`, `compare` and `check` as a user types them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.recipes import write_recipe, write_rows


@pytest.fixture
def type_in(command, tmp_path):
    """Runs a command line in an empty folder; returns exit code, standard output and standard error."""
    return lambda *argv, typed="": command.run_apart(*map(str, argv), cwd=tmp_path, typed=typed)


def assert_one_sentence(code: int, output: str, errors: str, *words: str) -> None:
    assert code == 2, errors
    assert output == ""
    lines = errors.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].endswith((".", "?")), errors
    for word in words:
        assert word in errors, errors


# --- ask -----------------------------------------------------------------------------------------------------------


def test_ask_prints_the_answer_and_nothing_else(type_in, trained_run):
    evidence = json.loads((trained_run / "before_after.json").read_text("utf-8"))["samples"][0]
    code, output, errors = type_in("ask", trained_run, evidence["prompt"])
    assert (code, output) == (0, evidence["tuned"] + "\n")
    assert errors == "(cut off after 8 tokens; --max-new-tokens allows more)\n"
    code, output, _ = type_in("ask", trained_run, evidence["prompt"], "--base")
    assert (code, output) == (0, evidence["base"] + "\n")


def test_ask_without_a_question_asks_the_recipes_first(type_in, trained_run):
    evidence = json.loads((trained_run / "before_after.json").read_text("utf-8"))["samples"][0]
    code, output, errors = type_in("ask", trained_run)
    assert (code, output) == (0, evidence["tuned"] + "\n")
    assert errors.splitlines()[0] == "> What is 3?"


def test_ask_takes_options_of_drawing(type_in, trained_run):
    def asked(*options):
        code, output, _ = type_in("ask", trained_run, "Hello", *options)
        assert code == 0
        return output

    free = asked("--temperature", "1.5", "--seed", "1")
    assert free == asked("--temperature", "1.5", "--seed", "1")
    assert free != asked("--temperature", "1.5", "--seed", "2")
    greedy = asked("--temperature", "0")
    assert greedy == asked("--temperature", "1.5", "--top-k", "1", "--seed", "5")
    assert greedy != asked("--temperature", "0", "--system", "Be loud.")
    assert len(asked("--temperature", "0", "--max-new-tokens", "40")) > len(greedy)
    assert asked("--temperature", "0", "--repetition-penalty", "3", "--max-new-tokens", "40") != asked(
        "--temperature", "0", "--max-new-tokens", "40"
    )


def test_ask_a_model_that_never_saw_tunesmith(type_in, tiny_model_folder):
    code, output, _ = type_in("ask", tiny_model_folder, "Hello", "--max-new-tokens", "5")
    assert code == 0 and output.endswith("\n")


def test_ask_the_embedded_model_in_chinese(type_in):
    code, output, errors = type_in("ask", "builtin:nano", "写一首关于月亮的诗")
    assert (code, errors) == (0, "")
    assert sum("\u4e00" <= letter <= "\u9fff" for letter in output) >= 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "Hi"], ["there is no folder nowhere", "builtin:nano"]),
        (
            ["owner/name", "Hi"],
            ["the model owner/name cannot be had", "nothing in the cache", "builtin:nano"],
        ),
        (["builtin:giant", "Hi"], ["expected one of builtin:nano"]),
        (["builtin:nano"], ["there is no question", 'tunesmith ask builtin:nano "..."']),
        (["builtin:nano", "  "], ["the question is empty"]),
        (["builtin:nano", "Hi", "--temperature", "-1"], ["--temperature -1.0 is out of range"]),
        (["builtin:nano", "Hi", "--top-p", "0"], ["--top-p 0.0 is out of range"]),
        (["builtin:nano", "Hi", "--top-k", "-3"], ["--top-k -3 is out of range"]),
        (["builtin:nano", "Hi", "--max-new-tokens", "0"], ["--max-new-tokens 0 is out of range"]),
        (["builtin:nano", "Hi", "--repetition-penalty", "0"], ["--repetition-penalty 0.0 is out of range"]),
        (["builtin:nano", "Hi", "--seed", "-1"], ["--seed -1 is out of range"]),
        (["builtin:nano", "Hi", "--device", "tpu"], ["--device tpu", "expected auto, cuda, mps or cpu"]),
    ],
)
def test_ask_tells_what_is_wrong_in_a_sentence(type_in, arguments, words):
    assert_one_sentence(*type_in("ask", *arguments), *words)


def test_an_unfinished_run_names_the_expected_folder_and_resume(type_in, trained_run, tmp_path):
    half = Path(shutil.copytree(trained_run, tmp_path / "half"))
    shutil.rmtree(half / "adapter")
    expected = [f"there is no {half / 'adapter'}", f"tunesmith resume {half}", "--base"]
    assert_one_sentence(*type_in("ask", half, "Hi"), *expected)
    assert_one_sentence(*type_in("chat", half, typed="Hi\n"), *expected)
    code, output, _ = type_in("ask", half, "Hi", "--base")
    assert code == 0 and output.strip()


# --- chat ----------------------------------------------------------------------------------------------------------


def test_chat_keeps_the_conversation_and_understands_commands(type_in, trained_run):
    typed = (
        "Hello\n\n   \nHello\n/reset\nHello\n/foo\n/system Be loud.\nHello\n/system\nHello\nq\nnever said\n"
    )
    code, output, _ = type_in("chat", trained_run, "--temperature", "0", typed=typed)
    assert code == 0
    _, first, _ = type_in("ask", trained_run, "Hello", "--temperature", "0")
    _, loud, _ = type_in("ask", trained_run, "Hello", "--temperature", "0", "--system", "Be loud.")
    assert output.startswith(first)
    second, after_reset = output.removeprefix(first).split("the conversation is forgotten\n", 1)
    assert second != first, "the second Hello is answered with the first in mind"
    assert after_reset.startswith(first + "there is no command /foo; /reset forgets")
    assert f"the system prompt is set, and the conversation is forgotten\n{loud}" in output
    assert output.endswith(
        f"the system prompt is the recipe's again, and the conversation is forgotten\n{first}"
    )


@pytest.mark.parametrize("typed", ["quit\nHello\n", "EXIT\nHello\n", " q \nHello\n", "", "\n\n"])
def test_chat_ends_with_a_quit_word_or_the_end_of_input(type_in, trained_run, typed):
    assert type_in("chat", trained_run, typed=typed) == (0, "", "")


def test_chat_goes_on_after_a_message_that_is_too_long(type_in, trained_run):
    code, output, _ = type_in("chat", trained_run, "--temperature", "0", typed=f"{'x' * 600}\nHello\n")
    _, first, _ = type_in("ask", trained_run, "Hello", "--temperature", "0")
    assert code == 0
    told, answer = output.split("\n", 1)
    assert "the model's context is 512" in told and "/reset" not in told
    assert answer == first


# --- batch ---------------------------------------------------------------------------------------------------------


def test_batch_answers_a_file(type_in, trained_run, tmp_path):
    (tmp_path / "q.txt").write_text("Hello\n\n春天\n", encoding="utf-8")
    code, output, errors = type_in("batch", trained_run, "q.txt", "-o", "a.json", "--temperature", "0")
    assert (code, output, errors) == (0, "2 answers in a.json\n", "")
    answers = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert [entry["question"] for entry in answers] == ["Hello", "春天"]
    for entry in answers:
        _, asked, _ = type_in("ask", trained_run, entry["question"], "--temperature", "0")
        assert asked == entry["answer"] + "\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["q.json", "no such file"]),
        ("[]", ["holds no rows"]),
        ('["a", 3]', ["q.json:1", "entry 2 holds no question", "one question a line (.txt)"]),
        ('["a",', ["broken JSON"]),
    ],
)
def test_batch_tells_what_is_wrong_with_the_file_and_writes_nothing(
    type_in, trained_run, tmp_path, content, words
):
    if content is not None:
        (tmp_path / "q.json").write_text(content, encoding="utf-8")
    assert_one_sentence(*type_in("batch", trained_run, "q.json", "-o", "a.json"), *words)
    assert not (tmp_path / "a.json").exists()


def test_batch_finds_out_first_that_it_cannot_write(type_in, trained_run, tmp_path):
    (tmp_path / "q.txt").write_text("Hello\n", encoding="utf-8")
    for output in ("missing/a.json", "."):
        assert_one_sentence(*type_in("batch", trained_run, "q.txt", "-o", output), "cannot be written")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_batch_does_not_take_a_pipes_place(type_in, trained_run, tmp_path):
    (tmp_path / "q.txt").write_text("What is 1?\n", "utf-8")
    os.mkfifo(tmp_path / "pipe")
    assert_one_sentence(*type_in("batch", trained_run, "q.txt", "-o", "pipe"), "-o: pipe is a pipe")
    assert (tmp_path / "pipe").is_fifo()


# --- compare -------------------------------------------------------------------------------------------------------


def test_compare_shows_answers_and_scores_side_by_side(type_in, trained_run, tiny_model_folder):
    code, output, errors = type_in(
        "compare", "builtin:nano", trained_run, "--prompt", "Hello", "--prompt", "Tea?"
    )
    assert (code, errors) == (0, "")
    for word in ("builtin:nano", "Hello", "Tea?", "mean tokens", "end token rate"):
        assert word in output


def test_compare_as_json_is_one_object_and_nothing_else(type_in, trained_run):
    code, output, errors = type_in("compare", trained_run, "builtin:nano", "--json")
    assert (code, errors) == (0, "")
    found = json.loads(output)
    assert found["models"] == [str(trained_run), "builtin:nano"]
    assert [sample["prompt"] for sample in found["samples"]] == ["What is 3?", "Who?"]


@pytest.mark.parametrize(
    ("models", "word"),
    [
        (["builtin:nano"], "two models or more"),
        (["builtin:nano", "builtin:nano"], "named twice"),
        (["builtin:nano", "nowhere", "--prompt", "Hi"], "there is no folder nowhere"),
        (["builtin:nano", "nowhere", "Who are you?"], '--prompt "Who are you?"'),
    ],
)
def test_compare_tells_what_is_wrong(type_in, models, word):
    assert_one_sentence(*type_in("compare", *models), word)


# --- check ---------------------------------------------------------------------------------------------------------


def test_check_shows_the_ledger_what_carries_loss_and_how_to_start(type_in, tmp_path, tiny_model_folder):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    code, output, errors = type_in("check", recipe, "train.epochs=3")
    assert (code, errors) == (0, "")
    assert "train: 8 rows read, 8 kept, 0 dropped" in output
    assert "eval: 2 rows read, 2 kept, 0 dropped" in output
    assert "<|im_start|>assistant\n⟦It is " in output and "<|im_end|>⟧" in output
    assert "8 samples, 2 an update: 12 steps (4 an epoch)" in output
    assert output.endswith(f"start with: tunesmith train {recipe} train.epochs=3\n")
    assert not (tmp_path / "run").exists()


def test_check_as_json_is_what_a_run_writes_into_data_json(type_in, trained_run):
    recipe = trained_run.parent / "recipe.yaml"
    code, output, errors = type_in("check", recipe, "--json")
    assert (code, errors) == (0, "")
    assert json.loads(output) == json.loads((trained_run / "data.json").read_text("utf-8"))


def test_check_counts_rows_that_the_recipe_lets_it_skip(type_in, tmp_path, tiny_model_folder):
    recipe = write_recipe(tmp_path, tiny_model_folder, data={"on_bad_row": "skip", "eval": None})
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()]
    write_rows(tmp_path / "rows.jsonl", [*rows[:2], {"messages": "none"}, *rows[2:]])
    code, output, _ = type_in("check", recipe, "--json")
    ledger = json.loads(output)["train"]
    assert code == 0
    assert (ledger["rows_read"], ledger["rows_kept"], ledger["rows_dropped"]) == (11, 10, 1)
    assert ledger["dropped"][0]["place"].endswith("rows.jsonl:3")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.max_length=10", ["longer than data.max_length 10", "rows.jsonl:1"]),
        ("model.source=./nowhere", ["there is no folder", "nowhere"]),
        ("model.source=owner/name", ["owner/name cannot be had", "builtin:nano"]),
        ("trian.epochs=2", ["trian", "train"]),
        ("train.epochs=many", ["train.epochs"]),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["for people", "as json"])
def test_check_tells_what_is_wrong_and_prints_no_json_then(
    type_in, tmp_path, tiny_model_folder, override, words, as_json
):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    assert_one_sentence(*type_in("check", recipe, override, *["--json"] * as_json), *words)


def test_training_finds_a_model_folder_that_is_not_whole(type_in, tmp_path, tiny_model_folder):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    assert_one_sentence(*type_in("train", write_recipe(tmp_path, folder)), "holds no *.safetensors weights")

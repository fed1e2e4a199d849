"""`check` as a user types it: what was found, token by token, as a page and as JSON."""

from __future__ import annotations

import io
import json
import os
import stat

import pytest
import torch

from tests.recipes import ROWS, write_recipe, write_rows


@pytest.fixture
def type_in(command, tmp_path):
    """Runs a command line in an empty folder; returns exit code, standard output and standard error."""
    return lambda *argv: command.run_apart(*map(str, argv), cwd=tmp_path, typed="")


def chat(question, answer, **more):
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]
    }


@pytest.fixture
def recipe(tmp_path, tiny_model_folder):
    """A recipe over the rows given, and where they are given over held-out ones."""

    def write(rows, held_out=None, **data):
        if held_out is not None:
            write_rows(tmp_path / "held.jsonl", held_out)
        files = {"eval": ["held.jsonl"] if held_out is not None else None, "on_bad_row": "skip"}
        path = write_recipe(tmp_path, tiny_model_folder, data=files | data)
        write_rows(tmp_path / "rows.jsonl", rows)
        return path

    return write


def test_it_tells_lengths_labels_and_dropped_rows(type_in, recipe):
    rows = [chat(f"q{at:03}", "yes" if at % 3 else "no") for at in range(30)]
    code, output, errors = type_in("check", recipe([*rows, *[{"messages": at} for at in range(25)]]))
    assert (code, errors) == (0, "")
    assert "train: 55 rows read, 30 kept, 25 dropped; 0 truncated, 0 split" in output
    assert output.count("  dropped ") == 20 and "  and 5 more, which --json lists" in output
    assert "rows.jsonl: format messages, detected" in output
    assert "2 different answers:" in output
    assert f"    yes  {'█' * 40} 20\n     no  {'█' * 20} 10\n" in output
    longest = output.split("longest: ")[1].split("\n")[0]
    assert longest.startswith(f"{longest.split(':2')[0]}:2 (") and ", :3 (" in longest
    assert "warning: train: 25 of 55 rows are dropped" in output
    assert "Nothing keeps it from training, but see the warning above; start with: tunesmith train" in output


def test_what_to_look_at_is_a_warning(type_in, recipe):
    rows = [*ROWS, ROWS[0], chat("What is 1?", "Another.")]
    code, output, _ = type_in(
        "check", recipe(rows, [ROWS[3], chat("what is 4", "Four."), chat("New?", "Yes.")])
    )
    warnings = [line for line in output.splitlines() if line.startswith("warning: ")]
    assert code == 0
    assert "2 of 3 held-out rows" in warnings[0] and "`tunesmith data split`" in warnings[0]
    assert "train: 1 row repeats" in warnings[1] and "rows.jsonl:1 again at" in warnings[1]
    assert "train: 1 row answers" in warnings[2] and len(warnings) == 3
    assert "Nothing keeps it from training, but see the 3 warnings above; start with: " in output


def test_a_recipe_for_another_machine_is_told_to_be_one(type_in, recipe):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    code, output, _ = type_in("check", recipe([chat("q", "a")]), "model.device=cuda")
    assert code == 0 and "Nothing is wrong" not in output
    assert "Recipe and data are right, but it cannot be trained on this machine: the device cuda" in output


def test_without_warnings_nothing_is_wrong_and_one_is_said_as_one(type_in, recipe):
    code, output, _ = type_in("check", recipe([chat("q", "a")]), "train.max_steps=1")
    assert code == 0 and "warning: " not in output
    assert "train: 1 row read, 1 kept, 0 dropped; 0 truncated, 0 split" in output
    assert " tokens in 1 sample, " in output
    assert (
        "\n1 sample, 2 an update: 1 step (1 an epoch). Nothing is wrong; start with: tunesmith train"
        in output
    )


def test_without_colours_a_forged_token_is_told_from_a_real_one(type_in, recipe):
    output = type_in("check", recipe([chat("a<|im_end|>b", "<|im_start|>")]))[1]
    assert (
        "what carries loss is ⟦marked⟧, plain text that reads like a special token stands in ‹ ›\n" in output
    )
    assert "a‹<|im_end|>›b<|im_end|>" in output and "⟦‹<|im_start|>›<|im_end|>⟧" in output
    assert "‹" not in type_in("check", recipe([chat("a", "b")]))[1]


def test_show_says_how_many_samples_and_weights_and_control_characters_are_seen(type_in, recipe):
    path = recipe([chat("q \x1b[31m\r", "half", weight=0.5), chat("q2", "a2"), chat("q3", "a3")])
    _, output, _ = type_in("check", path, "--show", 1)
    assert output.count("what carries loss is ⟦marked⟧") == 1
    assert "q ␛[31m␍<|im_end|>" in output and "\x1b" not in output
    assert "⟦half<|im_end|>⟧×0.5" in output
    assert "⟦" not in type_in("check", path, "--show", 0)[1]


def test_json_is_the_ledgers_and_nothing_else(type_in, recipe, tmp_path):
    path = recipe([*ROWS, ROWS[0]], [ROWS[1]])
    code, output, errors = type_in("check", path, "--json", "--html", "page.html")
    assert (code, errors) == (0, "")
    ledgers = json.loads(output)
    assert list(ledgers) == ["train", "eval"]
    assert ledgers["train"]["duplicates"]["rows"] == 1
    assert sum(count for _, _, count in ledgers["train"]["histogram"]) == 11
    assert ledgers["eval"]["leaked"]["rows"] == 1 and "leaked" not in ledgers["train"]
    assert (tmp_path / "page.html").is_file()


def test_the_page_is_written_and_said(type_in, recipe, tmp_path):
    (tmp_path / "pages").mkdir()
    code, output, _ = type_in("check", recipe(ROWS), "--html", "pages/page.html")
    assert code == 0 and "The page is pages/page.html\n" in output
    page = (tmp_path / "pages" / "page.html").read_text("utf-8")
    assert page.count("<article>") == 10 and "tunesmith train " in page
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (
            "nowhere/page.html",
            "error: --html: there is no folder nowhere to write page.html to. Make it first.",
        ),
        (".", "error: --html: . is a folder; expected the name of a file to write."),
    ],
)
def test_a_page_that_cannot_be_written_is_told_before_any_work(type_in, recipe, page, sentence):
    assert type_in("check", recipe(ROWS, max_length=8), "--html", page) == (2, "", sentence + "\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_page_takes_no_pipes_place(type_in, recipe, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    told = "error: --html: pipe is a pipe; expected the name of a file to write. Write to a file, and send that on when it is whole.\n"
    assert type_in("check", recipe(ROWS), "--html", "pipe") == (2, "", told)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_on_a_terminal_loss_and_special_tokens_have_colours(monkeypatch, recipe):
    from rich.console import Console

    from tunesmith.cli import console, main

    path = recipe([chat("q", "a", weight=0.5), chat("q2", "b")])
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)
    monkeypatch.setattr(console, "console", screen)
    assert main.main(["check", str(path), "--show", "1"]) == 0
    written = screen.file.getvalue()
    assert "\x1b[35m<|im_start|>\x1b[0m\x1b[2mu\x1b[0m" in written
    assert "\x1b[1;32ma\x1b[0m\x1b[1;7;32m<|im_end|>\x1b[0m" in written
    assert "×0.5" in written and "⟦" not in written


def test_it_needs_no_weights(type_in, recipe, tmp_path, tiny_model_folder):
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in tiny_model_folder.iterdir():
        if file.suffix != ".safetensors":
            (bare / file.name).write_bytes(file.read_bytes())
    path = recipe([chat("q", "a")])
    code, output, errors = type_in("check", path, f"model.source={bare}")
    assert (code, errors) == (0, "") and "1 row read, 1 kept" in output
    code, _, errors = type_in("train", path, f"model.source={bare}")
    assert code == 2 and "holds no *.safetensors weights" in errors


def test_it_tells_what_of_the_model_is_trained(type_in, recipe):
    path = recipe([chat("q", "a")])
    words = " ".join(type_in("check", path)[1].split())
    each = "2 q_proj, 2 k_proj, 2 v_proj, 2 o_proj, 2 gate_proj, 2 up_proj, 2 down_proj"
    assert f"in adapters on 14 layers ({each})" in words
    assert "left as it is: embed_tokens, lm_head, 5 norms" in words
    code, _, errors = type_in("check", path, "adapter.targets=[nope]")
    assert code == 2 and "names 'nope', which this model does not have" in " ".join(errors.split())

"""The command line as a whole: quick help, errors as sentences, exit codes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import typer

from tunesmith.cli import main as cli
from tunesmith.errors import InputError, Interrupted, Problems, WorkError


def tunesmith(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-m", "tunesmith.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, **options)


def test_help_shows_every_verb_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom tunesmith.cli.main import main\nmain(['--help'])\n"
        "print({'torch', 'transformers', 'pydantic', 'ruamel', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith("set()")
    assert all(f" {verb.name} " in shown for verb in cli.VERBS)


def test_no_arguments_show_the_help():
    assert tunesmith().stdout == tunesmith("--help").stdout


def test_version():
    shown = tunesmith("--version")
    assert (shown.returncode, shown.stdout) == (0, "tunesmith 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "sentence", "see"),
    [
        (["trian"], "error: no such command 'trian'. Did you mean 'train'?", "See: tunesmith --help"),
        (["recipes", "coppy"], "error: no such command 'coppy'. Did you mean 'copy'?", "See: tunesmith recipes --help"),
        (["doctor", "--jsn"], "error: no such option: --jsn", "See: tunesmith doctor --help"),
        (["train"], "error: missing argument", "See: tunesmith train --help"),
    ],
)  # fmt: skip
def test_wrong_usage_names_the_nearest_and_ends_with_2(arguments, sentence, see):
    ran = tunesmith(*arguments)
    assert ran.returncode == 2 and ran.stdout == ""
    first, *_, last = ran.stderr.splitlines()
    assert first.startswith(sentence) and last == see


def test_every_problem_of_a_recipe_is_a_line_and_the_exit_code_is_2(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\nmodel: {sorce: y}\ndata: {train: z}\n", "utf-8")
    ran = tunesmith("train", "bad.yaml", "train.epochs=0", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        "error: bad.yaml:2: there is no key `sorce` under model. The nearest name is `source`.",
        "error: command line: train.epochs=0: `train.epochs` is 0; expected a whole number, at least 1.",
    ]


@pytest.mark.parametrize("arguments", [["--debug", "train", "no.yaml"], ["train", "no.yaml", "--debug"]])
def test_debug_adds_the_traceback_wherever_it_stands(arguments):
    ran = tunesmith(*arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Traceback") and "\nerror: there is no recipe no.yaml" in ran.stderr


def run_verb(monkeypatch, what, *arguments: str) -> int:
    """The exit code of a command line whose only verbs are `work`, which does `what`, and `rest`."""

    def work(words: list[str] = typer.Argument(None)) -> None:  # noqa: B008
        what(words)

    def rest() -> None: ...

    monkeypatch.setattr(cli, "VERBS", (cli.Verb("work", "Work", work), cli.Verb("rest", "Work", rest)))
    return cli.main(["work", *arguments])


def raising(error: BaseException):
    def what(words: list[str]) -> None:
        raise error

    return what


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("a file is missing", where="a:1", remedy="make one"), 2, "error: a:1: a file is missing. Make one."),
        (Problems([InputError("one"), InputError("two")]), 2, "error: one.\nerror: two."),
        (WorkError("no room", remedy="free some"), 1, "error: no room. Free some."),
        (Interrupted("stopped at step 3", remedy="tunesmith resume runs/x"), 130,
         "stopped at step 3. Tunesmith resume runs/x."),
        (ZeroDivisionError("division by zero\nsecond line"), 1, "error: this is a bug in tunesmith (ZeroDivisionError: "
         "division by zero); --debug shows the traceback; please report it."),
        (AssertionError(), 1,
         "error: this is a bug in tunesmith (AssertionError); --debug shows the traceback; please report it."),
        (EOFError(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_an_error_is_a_paragraph_and_an_exit_code(monkeypatch, capsys, error, code, said):
    assert run_verb(monkeypatch, raising(error)) == code
    assert capsys.readouterr().err.strip() == said


def test_an_interruption_ends_with_130(monkeypatch, capsys):
    assert run_verb(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_after_two_dashes_debug_is_a_word_like_others(monkeypatch, capsys):
    heard: list[str] = []
    assert run_verb(monkeypatch, heard.extend, "--", "--debug", "-x") == 0
    assert heard == ["--debug", "-x"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no disk that is always full")
@pytest.mark.parametrize(
    "arguments", [["recipes"], ["doctor", "--json"], ["data", "convert", "--help"], ["--help"]]
)
def test_output_that_finds_no_room_is_a_sentence(arguments):
    command = [sys.executable, "-m", "tunesmith.cli.main", *arguments]
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    sentence = b"error: no room left on the disk while writing this command's output. Free some disk space, or send it"
    assert (ran.returncode, ran.stderr) == (1, sentence + b" elsewhere.\n")


def test_an_error_of_the_system_that_is_not_for_want_of_room_is_a_bug(monkeypatch, capsys):
    assert run_verb(monkeypatch, raising(OSError(errno.EIO, "Input/output error"))) == 1
    assert "bug in tunesmith" in capsys.readouterr().err
    assert run_verb(monkeypatch, raising(OSError(errno.ENOSPC, "No space left on device"))) == 1
    assert capsys.readouterr().err.startswith(
        "error: no room left on the disk while writing this command's output."
    )


@pytest.mark.skipif(os.name == "nt", reason="pipes end differently there")
def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "tunesmith.cli.main", "recipes"]
    reading, writing = os.pipe()
    os.close(reading)  # nobody will ever read
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert ran.stderr == b""


def test_output_is_utf8_whatever_the_console_says():
    ran = tunesmith("recipes", "copy", "诗", env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert "there is no shipped recipe 诗" in ran.stderr

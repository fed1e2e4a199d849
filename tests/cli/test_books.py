"""`data from-pdf` and `data questions` as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.data.books.printer import CHINESE, Printer
from tests.data.books.test_book import HALL, HILL, KITCHEN, RIVER, SHOP, english_book
from tests.data.books.test_endpoint import Stand
from tunesmith.cli import books
from tunesmith.cli.main import main
from tunesmith.errors import InputError, Problems, TunesmithError, WorkError


@pytest.fixture
def type_in(tmp_path, monkeypatch):
    """Runs a verb in an empty folder; gives standard output, or raises the error that the command line would print."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command("from-pdf")(books.from_pdf)
    app.command("questions")(books.questions)

    def run(*argv) -> str:
        result = CliRunner().invoke(app, [str(one) for one in argv])
        if isinstance(result.exception, TunesmithError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def rows(path: Path | str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_a_book_becomes_chats_with_the_author(type_in):
    english_book().save(Path("clocks.pdf"))
    told = type_in("from-pdf", "clocks.pdf", "-o", "clocks.jsonl", "--words", 60, "--overlap", 10, "--min", 5)
    found = rows("clocks.jsonl")
    assert [one["role"] for one in found[0]["messages"]] == ["system", "user", "assistant"]
    assert "“clocks”" in found[0]["messages"][0]["content"]
    assert found[0]["messages"][2]["content"].startswith("Hall\n\nThe clock stood in the hall")
    assert (found[0]["book"], found[0]["pages"]) == ("clocks", [5])
    asked = [row["messages"][1]["content"] for row in found]
    assert len(set(asked)) == min(len(asked), 8)
    for words in (
        "page 1: title page",
        "page 4: contents",
        "a part of page 8: bibliography",
        "page 9: index",
    ):
        assert words in told
    assert "page number" in told and f"{len(found)} rows in clocks.jsonl" in told


def test_persona_prompts_and_plain_text_are_the_users(type_in):
    Printer().page().prose(HALL).prose(KITCHEN).save(Path("a.pdf"))
    Path("prompts.txt").write_text("Speak.\n\nGo on.\n", "utf-8")
    options = (
        "--words",
        20,
        "--overlap",
        0,
        "--min",
        0,
        "--persona",
        "You are Edith.",
        "--prompts",
        "prompts.txt",
    )
    type_in("from-pdf", "a.pdf", "-o", "a.jsonl", *options)
    found = rows("a.jsonl")
    assert len(found) > 2
    assert [row["messages"][1]["content"] for row in found[:3]] == ["Speak.", "Go on.", "Speak."]
    assert {row["messages"][0]["content"] for row in found} == {"You are Edith."}
    type_in("from-pdf", "a.pdf", "-o", "b.jsonl", "--form", "text")
    assert rows("b.jsonl") == [{"text": f"{HALL}\n\n{KITCHEN}", "book": "a", "pages": [1]}]


def test_a_folder_of_books_in_two_languages(type_in):
    Path("shelf").mkdir()
    Printer().page().prose(HALL).save(Path("shelf/b.PDF"))
    Printer().page().prose(RIVER, font=CHINESE).prose(HILL, font=CHINESE).save(Path("shelf/a.pdf"))
    Path("shelf/notes.txt").write_text("no book", "utf-8")
    report = json.loads(type_in("from-pdf", "shelf", "-o", "all.jsonl", "--min", "0", "--json"))
    assert [one["book"] for one in report["files"]] == ["a", "b"]
    chinese, english = report["files"]
    assert chinese["characters"] == len(RIVER + HILL) and english["words"] == len(HALL.split())
    found = rows("all.jsonl")
    assert found[0]["messages"][0]["content"].startswith("你是《a》")
    assert found[0]["messages"][2]["content"] == f"{RIVER}\n\n{HILL}"
    assert found[1]["messages"][1]["content"] != found[0]["messages"][1]["content"]
    assert report["rows"] == 2


def bad_shelf() -> None:
    Path("shelf").mkdir()
    Printer().page().prose(HALL).prose(SHOP).save(Path("shelf/good.pdf"))
    Printer().page().picture().save(Path("shelf/scan.pdf"))
    Printer(password="tick").page().prose(HALL).save(Path("shelf/locked.pdf"))
    Path("shelf/broken.pdf").write_bytes(english_book().content()[:700])


def test_files_that_cannot_be_used_stop_it_all_named_at_once_and_nothing_is_written(type_in):
    bad_shelf()
    with pytest.raises(Problems) as caught:
        type_in("from-pdf", "shelf", "-o", "all.jsonl")
    assert caught.value.exit_code == 2
    told = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in told] == ["shelf/broken.pdf", "shelf/locked.pdf", "shelf/scan.pdf"]
    assert "damaged" in told[0] and "--password" in told[1] and "scanned" in told[2]
    assert sorted(path.name for path in Path().iterdir()) == ["shelf"]


def test_they_are_skipped_and_counted_on_request(type_in):
    bad_shelf()
    options = ("--on-bad-file", "skip", "--min", "0")
    report = json.loads(type_in("from-pdf", "shelf", "-o", "all.jsonl", *options, "--json"))
    status = {Path(one["file"]).name: one["status"] for one in report["files"]}
    assert status == {
        "good.pdf": "kept",
        "broken.pdf": "damaged",
        "locked.pdf": "encrypted",
        "scan.pdf": "scanned",
    }
    assert len(rows("all.jsonl")) == report["rows"] == 1
    told = type_in("from-pdf", "shelf", "-o", "again.jsonl", *options, "--password", "tick")
    assert "skipped (scanned)" in told and "locked" in told
    assert len(rows("again.jsonl")) == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["a.pdf", "-o", "there.jsonl"], "already there.*--overwrite"),
        (["a.pdf", "-o", "a.pdf", "--overwrite"], "one of the files to read"),
        (["a.pdf", "-o", "none/x.jsonl"], "a folder that exists"),
        (["a.pdf", "a.pdf", "-o", "x.jsonl"], "named twice"),
        (["b.pdf", "-o", "x.jsonl"], "no such file"),
        (["empty", "-o", "x.jsonl"], "holds no PDF"),
        (["a.pdf", "-o", "x.jsonl", "--words", "50", "--overlap", "50"], "nothing new"),
        (["a.pdf", "-o", "x.jsonl", "--form", "poem"], "passages or text"),
        (["a.pdf", "-o", "x.jsonl", "--unit", "lines"], "auto, words or characters"),
        (["a.pdf", "-o", "x.jsonl", "--on-bad-file", "cry"], "error or skip"),
        (["a.pdf", "-o", "x.jsonl", "--min", "1000"], "not one passage"),
        (["a.pdf", "-o", "x.jsonl", "--prompts", "there.jsonl"], "holds no prompts"),
        (["a.pdf", "-o", "x.jsonl", "--prompts", "bad.json"], "broken JSON"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing_behind(type_in, argv, words):
    Printer().page().prose(HALL).save(Path("a.pdf"))
    Path("there.jsonl").write_text("", "utf-8")
    Path("bad.json").write_text("[", "utf-8")
    Path("empty").mkdir()
    before = sorted(Path().iterdir())
    with pytest.raises(InputError, match=words):
        type_in("from-pdf", *argv)
    assert sorted(Path().iterdir()) == before


def test_an_output_is_replaced_on_request(type_in):
    Printer().page().prose(HALL).save(Path("a.pdf"))
    Path("a.jsonl").write_text("old", "utf-8")
    type_in("from-pdf", "a.pdf", "-o", "a.jsonl", "--form", "text", "--min", "0", "--overwrite")
    assert rows("a.jsonl")[0]["text"] == HALL


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
@pytest.mark.parametrize(
    "argv", [["from-pdf", "a.pdf"], ["questions", "p.jsonl", "--model", "m", "--endpoint", "x"]]
)
def test_a_pipe_is_never_replaced(type_in, argv):
    Printer().page().prose(HALL).save(Path("a.pdf"))
    passages()
    os.mkfifo("pipe")
    with pytest.raises(InputError, match="pipe is a pipe; expected the name of a file"):
        type_in(*argv, "-o", "pipe", "--overwrite")
    assert Path("pipe").is_fifo() and not list(Path().glob("*replies*"))


# --- questions ----------------------------------------------------------------------------------------------------


def reply(question: str) -> tuple:
    said = json.dumps({"question": question, "answer": "Because of the dust."})
    return 200, {}, {"choices": [{"message": {"content": said}}]}


def passages() -> None:
    Path("p.jsonl").write_text(
        "".join(json.dumps({"text": f"Clock {n} stopped.", "book": "b"}) + "\n" for n in range(3)), "utf-8"
    )


def test_an_endpoint_is_asked_and_the_key_is_nowhere(type_in, monkeypatch):
    passages()
    monkeypatch.setenv("CLOCK_KEY", "sk-secret")
    with Stand(*(reply(f"Why did clock number {n} stop?") for n in range(3))) as stand:
        argv = ("questions", "p.jsonl", "-o", "qa.jsonl", "--endpoint", stand.url, "--model", "clock-1")
        told = type_in(*argv, "--key-env", "CLOCK_KEY")
        report = json.loads(type_in(*argv, "--key-env", "CLOCK_KEY", "--json"))
        anew = json.loads(type_in(*argv, "--overwrite", "--json"))
    assert len(stand.requests) == 3 and stand.requests[0]["key"] == "Bearer sk-secret"
    assert "3 pairs from 3 passages in qa.jsonl, 3 new; asked 3 times, 0 replies there already" in told
    assert (report["rows"], report["written"], report["asked"], report["from_cache"]) == (3, 0, 0, 3)
    assert (anew["rows"], anew["written"], anew["asked"]) == (3, 3, 0)
    assert {row["question"] for row in rows("qa.jsonl")} == {
        f"Why did clock number {n} stop?" for n in range(3)
    }
    assert all("sk-secret" not in path.read_text("utf-8") for path in Path().iterdir())


def many_passages(number: int) -> None:
    rows = (json.dumps({"text": f"Clock {at} stopped."}) + "\n" for at in range(number))
    Path("p.jsonl").write_text("".join(rows), "utf-8")


@pytest.mark.parametrize(("asked", "lines"), [(40, 10), (3, 3)])
def test_a_log_gets_a_line_of_progress_now_and_then(tmp_path, monkeypatch, capfd, asked, lines):
    monkeypatch.chdir(tmp_path)
    many_passages(asked)
    with Stand(*(reply(f"Why did clock number {at} stop?") for at in range(asked))) as stand:
        assert (
            main(["data", "questions", "p.jsonl", "-o", "qa.jsonl", "--endpoint", stand.url, "--model", "m"])
            == 0
        )
    told = capfd.readouterr().err.splitlines()
    assert len(told) == lines and all("\r" not in line for line in told)
    assert told[-1] == f"{asked} of {asked} passages: {asked} pairs, 0 left out"


def test_an_error_has_a_line_of_its_own_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    passages()
    refused = (401, {}, {"error": {"message": "no"}})
    with Stand(reply("Why did the clock stop?"), refused) as stand:
        assert (
            main(["data", "questions", "p.jsonl", "-o", "qa.jsonl", "--endpoint", stand.url, "--model", "m"])
            == 2
        )
    err = capsys.readouterr().err
    assert err.startswith("\r1 of 3 passages: 1 pair, 0 left out\nerror: ")


def test_a_model_that_is_of_no_use_is_given_up_and_nothing_is_left_but_its_replies(type_in):
    many_passages(30)
    argv = ["questions", "p.jsonl", "-o", "qa.jsonl", "--model", "m"]
    with Stand(*[(200, {}, {"choices": [{"message": {"content": "no"}}]})] * 30) as stand:
        with pytest.raises(WorkError, match=r"of the first 20 of 30 passages: .*--keep-going asks"):
            type_in(*argv, "--endpoint", stand.url)
        assert len(stand.requests) == 20 and not Path("qa.jsonl").exists()
        with pytest.raises(WorkError, match="not one question came of 30 passages"):
            type_in(*argv, "--endpoint", stand.url, "--keep-going")
        assert len(stand.requests) == 30
    assert sorted(path.name for path in Path().iterdir()) == ["p.jsonl", "qa.replies.jsonl"]


def test_an_endpoint_that_lets_nobody_in_leaves_no_empty_file(type_in):
    passages()
    with (
        Stand((401, {}, {"error": {"message": "no"}})) as stand,
        pytest.raises(InputError, match="let us in"),
    ):
        type_in("questions", "p.jsonl", "-o", "qa.jsonl", "--model", "m", "--endpoint", stand.url)
    assert [path.name for path in Path().iterdir()] == ["p.jsonl"]


def test_count_is_of_the_pairs_in_the_output(type_in):
    many_passages(6)
    argv = ["questions", "p.jsonl", "-o", "qa.jsonl", "--model", "m", "--json"]
    with Stand(*(reply(f"Why did clock number {at} stop?") for at in range(6))) as stand:
        first = json.loads(type_in(*argv, "--endpoint", stand.url, "--count", 2))
        more = json.loads(type_in(*argv, "--endpoint", stand.url, "--count", 5))
    assert (first["rows"], more["rows"], more["written"], more["asked"]) == (2, 5, 3, 3)
    assert len(rows("qa.jsonl")) == 5 and len(stand.requests) == 5


def test_a_missing_key_is_told_before_anything_is_asked(type_in, monkeypatch):
    passages()
    monkeypatch.delenv("CLOCK_KEY", raising=False)
    with pytest.raises(InputError, match="no environment variable CLOCK_KEY"):
        type_in(
            *("questions", "p.jsonl", "-o", "qa.jsonl", "--endpoint", "http://localhost/v1", "--model", "m"),
            *("--key-env", "CLOCK_KEY"),
        )
    assert [path.name for path in Path().iterdir()] == ["p.jsonl"]


def test_a_local_model_is_asked_the_same_way(type_in):
    """The smallest model asks nothing that makes sense; what it said, and what it could not take, is kept."""
    passages()
    with Path("p.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": "tick tock " * 500}) + "\n")
    argv = ("questions", "p.jsonl", "-o", "qa.jsonl", "--model", "builtin:nano", "--max-new-tokens", "4")
    with pytest.raises(WorkError, match="not one question came of 4 passages") as caught:
        type_in(*argv, "--device", "cpu", "--temperature", "0")
    assert "the model's context is … (1 time)" in str(caught.value)
    kept = rows("qa.replies.jsonl")
    assert sorted("reply" in one for one in kept) == [False, True, True, True]

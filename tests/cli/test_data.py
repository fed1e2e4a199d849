"""`tunesmith data`: download, convert and split, as a user calls them."""

from __future__ import annotations

import io
import itertools
import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tunesmith.cli.main import main
from tunesmith.config.schema import Source
from tunesmith.data.readers import find, read


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(capsys):
    """Exit code, standard output and standard error of `tunesmith data ...`."""

    def go(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["data", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return go


def write_rows(path: Path, *rows: object) -> list[object]:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return list(rows)


def rows_of(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# ---- download


def test_a_data_set_comes_to_a_folder_of_its_name_with_the_recipe_lines(net, here, run):
    net.repositories["o/news"] = {
        "data/train.jsonl": b'{"text": "a"}\n',
        "data/test.jsonl": b"{}\n",
        "a.jpg": b"1",
    }
    code, out, err = run("download", "hf:o/news")
    assert (code, err) == (0, "")
    assert "hf:o/news -> news: 3 files, " in out and "  train: data/train.jsonl" in out
    assert '  train: ["news/data/train.jsonl"]\n  eval: ["news/data/test.jsonl"]' in out
    assert visible(here / "news") == ["a.jpg", "data"]
    before = len(net.fetched)
    assert run("download", "hf:o/news")[0] == 0
    assert net.fetched[before:] == []


def test_several_data_sets_come_to_folders_of_their_own(net, here, run):
    net.repositories["o/a"] = {"train.jsonl": b"{}\n"}
    net.repositories["o/b"] = {"train.jsonl": b"{}\n"}
    assert run("download", "hf:o/a", "ms:o/b", "-o", "all")[0] == 0
    assert visible(here / "all") == ["a", "b"]


def test_what_cannot_be_downloaded_is_told_before_anything_is_fetched(net, here, run):
    net.repositories["o/a"] = {"train.jsonl": b"{}\n"}
    code, _, err = run("download", "hf:o/a", "nonsense")
    assert code == 2 and "names no data set of a hub" in err
    (here / "a").write_text("mine")
    code, _, err = run("download", "hf:o/a")
    assert code == 2 and "a is a file" in err
    assert net.fetched == []


def picture(colour: str) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(content, "PNG")
    return content.getvalue()


COLOURS = ["red", "green", "blue", "black"]


def parquet(rows: list[dict]) -> bytes:
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), content)
    return content.getvalue()


def caption_rows() -> list[dict]:
    return [
        {
            "image_id": 10 + i,
            "image": {"bytes": picture(colour), "path": None},
            "caption": [f"a {colour}\nbox", "a box"],
        }
        for i, colour in enumerate(COLOURS)
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_in_the_folder_stays_one(net, here, run):
    net.repositories["o/coco"] = {"train.parquet": parquet(caption_rows())}
    os.mkfifo(here / "captions.csv")
    code, _, err = run("download", "hf:o/coco", "--first", 1, "-o", ".", "--overwrite")
    assert code == 2 and "captions.csv is a pipe" in err and (here / "captions.csv").is_fifo()


@pytest.mark.parametrize("hub", ["hf", "ms"])
def test_the_first_pictures_of_a_caption_set(net, here, run, hub):
    rows = caption_rows()
    net.repositories["o/coco"] = {
        "data/train-00000-of-00002.parquet": parquet(rows[:3]),
        "data/train-00001-of-00002.parquet": parquet(rows[3:]),
    }
    code, out, err = run("download", f"{hub}:o/coco", "--first", 2, "-o", "captions")
    assert (code, err) == (0, "") and "4 captions of 2 pictures (2 fetched, 0 there already)" in out
    assert visible(here / "captions") == ["10.png", "11.png", "captions.csv"]
    assert (here / "captions" / "10.png").read_bytes() == picture("red")
    assert not any("00001" in path for path in net.paths())  # what is not needed is not fetched
    code, out, err = run("download", f"{hub}:o/coco", "--first", 9, "-o", "captions")
    assert (code, err) == (0, "") and "8 captions of 4 pictures (2 fetched, 2 there already)" in out
    table = read(find(Source(path=str(here / "captions" / "captions.csv"))), 0)
    assert [row.value for row in table][:2] == [
        {"image_path": "10.png", "caption": "a red\nbox"},
        {"image_path": "10.png", "caption": "a box"},
    ]


def test_pictures_that_are_files_of_the_repository(net, here, run):
    net.repositories["o/coco"] = {
        "train/metadata.csv": b"file_name,text\n"
        + b"".join(b"%d.png,number %d\n" % (i, i) for i in range(4)),
        **{f"train/{i}.png": picture(colour) for i, colour in enumerate(COLOURS)},
    }
    code, out, err = run("download", "hf:o/coco", "--first", 2, "-o", "captions")
    assert (code, err) == (0, "") and "2 captions of 2 pictures (2 fetched" in out
    assert (here / "captions" / "captions.csv").read_text("utf-8").splitlines() == [
        "image_path,caption", "train/0.png,number 0", "train/1.png,number 1"
    ]  # fmt: skip
    assert visible(here / "captions" / "train") == ["0.png", "1.png"]
    assert "2 there already" in run("download", "hf:o/coco", "--first", 2, "-o", "captions")[1]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"image": "https://example.org/a.jpg", "caption": "x"}, "pictures are not fetched from other hosts"),
        ({"image": "nowhere.jpg", "caption": "x"}, "the repository holds no file nowhere.jpg"),
        ({"image": 3, "caption": "x"}, "expected a picture, or the path of one"),
        ({"image": {"bytes": b"no picture"}, "caption": "x"}, "these bytes are no picture"),
        ({"image": {"bytes": b"GIF8"}, "caption": 3}, "expected a caption or a list of captions"),
        (
            {"bild": "a.jpg", "caption": "x"},
            "is known to hold the image. Name it with --columns image=COLUMN",
        ),
    ],
)
def test_a_caption_set_that_is_none_is_told(net, here, run, row, told):
    net.repositories["o/coco"] = {"train.parquet": parquet([row])}
    code, _, err = run("download", "hf:o/coco", "--first", 2)
    assert code == 2 and told in err and "train.parquet:1" in err


def test_a_caption_table_of_somebody_elses_is_not_replaced(net, here, run):
    net.repositories["o/coco"] = {"train.parquet": parquet(caption_rows())}
    (here / "captions.csv").write_text("image_path,caption\nmine.png,mine\n")
    arguments = ("download", "hf:o/coco", "--first", 1, "-o", ".")
    code, _, err = run(*arguments)
    assert code == 2 and "other captions" in err and "mine" in (here / "captions.csv").read_text()
    assert run(*arguments, "--overwrite")[0] == 0 and "mine" not in (here / "captions.csv").read_text()


# ---- convert

ALPACA = [
    {"instruction": "Name a fruit", "input": "a red one", "output": "Apple"},
    {"instruction": "说一种水果", "input": "", "output": "梨"},
]
CHATS = [
    {
        "messages": [
            {"role": "user", "content": "Name a fruit\na red one"},
            {"role": "assistant", "content": "Apple"},
        ]
    },
    {"messages": [{"role": "user", "content": "说一种水果"}, {"role": "assistant", "content": "梨"}]},
]


def test_any_known_format_becomes_chats(here, run):
    write_rows(here / "a.jsonl", *ALPACA)
    code, out, err = run("convert", "a.jsonl", "-o", "out/b.jsonl")
    assert (code, err) == (0, "")
    assert "the format is alpaca" in out and "2 rows read = 2 written + 0 dropped" in out
    assert rows_of(here / "out" / "b.jsonl") == CHATS
    assert "梨" in (here / "out" / "b.jsonl").read_text("utf-8")
    assert run("convert", "out/b.jsonl", "-o", "c.jsonl")[0] == 0
    assert (here / "c.jsonl").read_bytes() == (here / "out" / "b.jsonl").read_bytes()


def test_what_a_recipe_can_say_of_a_source_can_be_said_here(here, run):
    rows = [
        {"question": row["instruction"], "input": row["input"], "output": row["output"]} for row in ALPACA
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (here / "a.jsonl").write_bytes(text.encode("gb18030"))
    code, _, err = run(
        "convert", "a.jsonl", "-o", "b.jsonl", "--format", "alpaca", "--columns", "instruction=question",
        "--encoding", "gb18030", "--join", " ",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert rows_of(here / "b.jsonl")[0]["messages"][0]["content"] == "Name a fruit a red one"
    assert rows_of(here / "b.jsonl")[1] == CHATS[1]


def test_bad_rows_are_told_at_once_and_nothing_is_written(here, run):
    write_rows(here / "a.jsonl", ALPACA[0], {**ALPACA[0], "output": ""}, ALPACA[1], {**ALPACA[0], "input": 3})
    code, out, err = run("convert", "a.jsonl", "-o", "b.jsonl")
    lines = err.splitlines()
    assert code == 2 and len(lines) == 3 and "wrote" not in out
    assert "a.jsonl:2" in lines[0] and "a.jsonl:4" in lines[1]
    assert (
        "2 of 4 rows cannot be used, and nothing was written" in lines[2] and "--on-bad-row skip" in lines[2]
    )
    assert sorted(path.name for path in here.iterdir()) == ["a.jsonl"]


def test_twenty_bad_rows_are_told_and_the_others_counted(here, run):
    write_rows(here / "a.jsonl", ALPACA[0], *[{**ALPACA[0], "output": ""}] * 30)
    code, _, err = run("convert", "a.jsonl", "-o", "b.jsonl")
    assert code == 2 and len(err.splitlines()) == 21
    assert "and 10 more: 30 of 31 rows cannot be used" in err


def test_skipped_rows_are_counted_and_listed_with_reasons(here, run):
    (here / "a.jsonl").write_text(f'{json.dumps(ALPACA[0])}\n{{"broken\n{json.dumps(ALPACA[1])}\n', "utf-8")
    code, out, _ = run("convert", "a.jsonl", "-o", "b.jsonl", "--on-bad-row", "skip")
    assert code == 0 and "3 rows read = 2 written + 1 dropped" in out
    (dropped,) = (line for line in out.splitlines() if line.startswith("  dropped "))
    assert "a.jsonl:2: " in dropped and len(dropped) > len("  dropped a.jsonl:2: ")
    assert rows_of(here / "b.jsonl") == CHATS


def test_a_file_of_bad_rows_alone_is_an_error_even_when_skipping(here, run):
    write_rows(here / "a.jsonl", {**ALPACA[0], "output": ""})
    code, _, err = run("convert", "a.jsonl", "-o", "b.jsonl", "--on-bad-row", "skip")
    assert code == 2 and "1 of 1 row cannot be used" in err and not (here / "b.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--on-bad-row", "skp"], "expected error or skip"),
        (["--columns", "instruction"], "expected FIELD=COLUMN"),
        (["--columns", "a=b", "--columns", "a=c"], "names the field 'a' twice"),
        (["--format", "alpca"], "alpaca"),
    ],
)
def test_wrong_options_are_told(here, run, arguments, told):
    write_rows(here / "a.jsonl", *ALPACA)
    code, _, err = run("convert", "a.jsonl", "-o", "b.jsonl", *arguments)
    assert code == 2 and told in err and not (here / "b.jsonl").exists()


def test_nothing_is_overwritten_unasked(here, run):
    write_rows(here / "a.jsonl", *ALPACA)
    (here / "b.jsonl").write_text("mine")
    code, _, err = run("convert", "a.jsonl", "-o", "b.jsonl")
    assert code == 2 and "already there" in err and (here / "b.jsonl").read_text() == "mine"
    assert run("convert", "a.jsonl", "-o", "b.jsonl", "--overwrite")[0] == 0
    assert rows_of(here / "b.jsonl") == CHATS


PREFERENCE = {"prompt": "Name a fruit", "chosen": "Apple", "rejected": "Stone"}


@pytest.mark.parametrize(
    ("row", "option", "value", "told"),
    [
        (ALPACA[0], "labels", "a", "--labels says nothing to rows of the format alpaca; expected the format "
         "classification with it. Leave --labels out"),
        (ALPACA[0], "instruction", "x", "format alpaca; expected the format classification, ner or captions with it"),
        (PREFERENCE, "instruction", "x", "--instruction says nothing to rows of the format preference"),
        ({"text": "a"}, "join", " ", "format text; expected the format alpaca, preference or labelled with it"),
        ({"text": "a"}, "images", ".", "--images says nothing to rows of the format text"),
        ({"text": "a", "label": "b"}, "images", ".", "--images says nothing to rows of the format classification"),
    ],
)  # fmt: skip
def test_an_option_that_says_nothing_to_the_format_is_told(here, run, row, option, value, told):
    write_rows(here / "a.jsonl", row)
    code, _, err = run("convert", "a.jsonl", "-o", "b.jsonl", f"--{option}", value)
    assert code == 2 and err.startswith("error: a.jsonl: ") and told in err
    assert sorted(path.name for path in here.iterdir()) == ["a.jsonl"]


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (ALPACA[0], ["--join", " ", "--images", "."]),
        (PREFERENCE, ["--join", " ", "--images", "."]),
        ({"text": "a", "label": 0}, ["--labels", "fruit", "--instruction", "Which?"]),
        ({"text": "a", "entities": []}, ["--instruction", "Which?"]),
    ],
)
def test_an_option_that_the_format_reads_is_taken(here, run, row, options):
    write_rows(here / "a.jsonl", row)
    assert run("convert", "a.jsonl", "-o", "b.jsonl", *options)[0] == 0


def test_the_help_says_what_preference_and_text_rows_become(here, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    out = run("convert", "--help")[1]
    assert "Preference rows become `prompt`, `chosen` and `rejected`" in out
    assert 'plain text stays `{"text": "..."}`' in out and "default: \\n, a line feed" in out
    write_rows(here / "a.jsonl", PREFERENCE)
    run("convert", "a.jsonl", "-o", "b.jsonl")
    assert list(rows_of(here / "b.jsonl")[0]) == ["prompt", "chosen", "rejected"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_what_is_no_file_is_not_replaced(here, run):
    write_rows(here / "a.jsonl", *ALPACA)
    (here / "s").mkdir()
    os.mkfifo(here / "s" / "eval.jsonl")
    for arguments in (("convert", "a.jsonl", "-o", "s/eval.jsonl"), ("split", "a.jsonl", "-o", "s")):
        code, _, err = run(*arguments, "--overwrite")
        assert code == 2 and "eval.jsonl is a pipe; expected the name of a file to write" in err
    assert run("split", "a.jsonl", "-o", "s/eval.jsonl")[2].startswith("error: s/eval.jsonl is no folder; ")
    assert (here / "s" / "eval.jsonl").is_fifo() and os.listdir(here / "s") == ["eval.jsonl"]


# ---- split


def chat(question: str, answer: str, **more: object) -> dict:
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        **more,
    }


def test_a_split_loses_nothing_changes_nothing_and_is_repeatable(here, run):
    rows = write_rows(here / "a.jsonl", *[chat(f"question {i}", "一", extra=[i, None]) for i in range(40)])
    code, out, err = run("split", "a.jsonl", "-o", "s", "--share", 0.2, "--test", 0.1)
    assert (code, err) == (0, "") and "eval.jsonl: 8 rows, 20.0%" in out
    parts = [rows_of(here / "s" / name) for name in ("train.jsonl", "eval.jsonl", "test.jsonl")]
    assert [len(part) for part in parts] == [28, 8, 4]
    assert sorted(itertools.chain(*parts), key=rows.index) == rows
    assert all(part == sorted(part, key=rows.index) for part in parts)  # the order of the file stays
    assert '  train: ["s/train.jsonl"]\n  eval: ["s/eval.jsonl"]' in out
    assert run("split", "a.jsonl", "-o", "t", "--share", 0.2, "--test", 0.1)[0] == 0
    assert (here / "t" / "eval.jsonl").read_bytes() == (here / "s" / "eval.jsonl").read_bytes()
    assert run("split", "a.jsonl", "-o", "u", "--share", 0.2, "--test", 0.1, "--seed", 1)[0] == 0
    assert (here / "u" / "eval.jsonl").read_bytes() != (here / "s" / "eval.jsonl").read_bytes()


def sides(here: Path, name: str) -> tuple[set[str], set[str]]:
    return tuple({row[name] for row in rows_of(here / "s" / file)} for file in ("train.jsonl", "eval.jsonl"))  # type: ignore[return-value]


def test_like_rows_and_the_same_question_stay_on_one_side(here, run):
    rows = [chat(f"Why {i}?", f"because {i}", id=3 * i, pair=str(i)) for i in range(12)]
    rows += [chat(f"why  {i}", f"BECAUSE {i}.", id=3 * i + 1, pair=str(i)) for i in range(12)]
    rows += [chat(f"WHY {i}", "no idea", id=3 * i + 2, pair=str(i)) for i in range(12)]
    write_rows(here / "a.jsonl", *rows)
    assert run("split", "a.jsonl", "-o", "s", "--share", 0.25)[0] == 0
    train, held_out = sides(here, "pair")
    assert not train & held_out and len(train) == 9 and len(held_out) == 3


def test_a_group_field_binds_rows(here, run):
    write_rows(here / "a.jsonl", *[{"text": f"passage {i}", "book": f"book {i % 4}"} for i in range(20)])
    assert run("split", "a.jsonl", "-o", "s", "--share", 0.25, "--group", "book")[0] == 0
    train, held_out = sides(here, "book")
    assert not train & held_out and len(held_out) == 1


def test_each_value_of_a_field_has_its_share(here, run):
    write_rows(
        here / "a.jsonl", *[{"text": f"text {i}", "tone": "rare" if i % 5 else "often"} for i in range(100)]
    )
    code, out, _ = run("split", "a.jsonl", "-o", "s", "--share", 0.2, "--by", "tone")
    assert code == 0 and "often       16        4" in out
    held_out = [row["tone"] for row in rows_of(here / "s" / "eval.jsonl")]
    assert (held_out.count("rare"), held_out.count("often")) == (16, 4)


def test_classes_are_the_strata_of_a_classification(here, run):
    names = ["体育", "经济"]
    write_rows(
        here / "a.jsonl",
        *[{"text": f"新闻{i}", "category": names, "output": names[i % 10 == 0]} for i in range(100)],
    )
    assert run("split", "a.jsonl", "-o", "s")[0] == 0
    assert [row["output"] for row in rows_of(here / "s" / "eval.jsonl")].count("经济") == 1


def test_prompts_that_many_rows_share_do_not_bind_them(here, run):
    write_rows(here / "a.jsonl", *[chat(f"Write passage kind {i % 2}", f"passage {i}") for i in range(60)])
    code, out, _ = run("split", "a.jsonl", "-o", "s")
    assert code == 0 and "2 prompts are shared by so many rows" in out
    assert len(rows_of(here / "s" / "eval.jsonl")) == 6


def test_rows_of_no_known_format_are_split_too(here, run):
    write_rows(here / "a.jsonl", *[{"number": i // 2, "odd": "yes"} for i in range(20)])
    code, out, err = run("split", "a.jsonl", "-o", "s")
    assert (code, err) == (0, "") and "no format is known" in out
    train, held_out = sides(here, "number")
    assert not train & held_out and len(held_out) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--share", "0"], "the shares to hold out are 0 and 0"),
        (["--share", "0.6", "--test", "0.4"], "that leave rows to train on"),
        (["--by", "tune"], "has no field 'tune'; it has 'text', 'tone'. The nearest is 'tone'"),
        (["--share", "0.01"], "eval.jsonl would hold none of 3 rows"),
        (["--format", "nonsense"], "unknown data format 'nonsense'"),
    ],
)
def test_what_cannot_be_split_is_told_and_nothing_is_written(here, run, arguments, told):
    write_rows(here / "a.jsonl", *[{"text": f"text {i}", "tone": "x"} for i in range(3)])
    code, _, err = run("split", "a.jsonl", "-o", "s", *arguments)
    assert code == 2 and told in err and not (here / "s").exists()


def test_what_a_folder_holds_besides_is_said(here, run):
    (here / "in").mkdir()
    write_rows(here / "in" / "a.jsonl", *[{"text": f"text {i}"} for i in range(20)])
    (here / "in" / "notes.txt").write_text("not data")
    for verb, output in (("split", "s"), ("convert", "b.jsonl")):
        code, out, _ = run(verb, "in", "-o", output)
        assert code == 0 and "notes.txt" in out


def test_broken_rows_stop_a_split(here, run):
    (here / "a.jsonl").write_text('{"text": "a"}\n{"text": \n{"text": "b"}\n')
    code, _, err = run("split", "a.jsonl", "-o", "s")
    assert code == 2 and "a.jsonl:2" in err and "1 of 3 rows cannot be parsed" in err

"""Data sets of a hub: which files a reference means, that they arrive whole, and what is said when they don't."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tunesmith import optional
from tunesmith.data.readers import hub, hub_files
from tunesmith.errors import InputError, TunesmithError

from .stand_ins import COMMIT

ROWS = b'{"text": "one"}\n{"text": "two"}\n'


def error_of(reference: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        hub.fetch(reference, **options)
    return str(caught.value)


def names(paths) -> list[str]:
    return [path.name for path in paths]


# ---- references


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf:o/n", ("hf", "o/n", None, None, None)),
        ("hf:o/n:sub", ("hf", "o/n", None, "sub", None)),
        ("hf:o/n@test", ("hf", "o/n", None, None, "test")),
        ("ms:o-1/n.2:zh_CN@dev", ("ms", "o-1/n.2", None, "zh_CN", "dev")),
        ("hf:o/n/data/a b@c.jsonl", ("hf", "o/n", "data/a b@c.jsonl", None, None)),
    ],
)
def test_a_reference_is_taken_apart(text, parts):
    assert hub.is_reference(text) and hub.parse(text) == (text, *parts)


@pytest.mark.parametrize(
    "text",
    ["hf:", "hf:n", "hf:o/", "hf:o/n:", "hf:o/n@", "hf:o/n@a@b", "hf:o/n/../../x", "xx:o/n", "hf:o/n "],
)
def test_what_is_no_reference_is_told_with_the_forms_there_are(text):
    with pytest.raises(InputError, match="hf:owner/name:subset@split"):
        hub.parse(text)


# ---- which files: names


def files_for(
    files: list[str], subset: str | None = None, split: str | None = None, readme: str = ""
) -> list[str]:
    splits = hub_files.splits_of(files, hub_files.configs_of(readme), subset, "hf:o/n")
    return list(hub_files.choose(splits, split, "hf:o/n"))


@pytest.mark.parametrize(
    ("files", "split", "chosen"),
    [
        (["README.md", "train.jsonl", "test.jsonl"], None, ["train.jsonl"]),
        (["train.jsonl", "test.jsonl"], "test", ["test.jsonl"]),
        (["train.jsonl", "dev.jsonl"], "validation", ["dev.jsonl"]),
        (["train.jsonl", "dev.jsonl"], "dev", ["dev.jsonl"]),
        (["my-training.csv", "evaluation.csv"], "test", ["evaluation.csv"]),
        (["rows.json", "LICENSE.txt", "dataset_infos.json", ".gitattributes"], None, ["rows.json"]),
        (["part-10.jsonl", "part-9.jsonl"], None, ["part-9.jsonl", "part-10.jsonl"]),
        (["data/rows.csv", "data/test.csv"], None, ["data/rows.csv"]),
        (["test.jsonl"], None, ["test.jsonl"]),
        (["train/a.jsonl.gz", "test/a.jsonl.gz"], None, ["train/a.jsonl.gz"]),
        (["data/train_sft-00000-of-00001-ab.parquet", "data/test_sft-00000-of-00001-cd.parquet"], "train_sft",
         ["data/train_sft-00000-of-00001-ab.parquet"]),
        (["constraint.jsonl", "contest.jsonl"], None, ["constraint.jsonl", "contest.jsonl"]),
        (["a.txt", "README.md"], None, ["a.txt"]),
        (["a.txt", "b.jsonl"], None, ["b.jsonl"]),
        (["x.ndjson", "y.jsonl"], None, ["x.ndjson", "y.jsonl"]),
    ],
)  # fmt: skip
def test_names_tell_the_splits(files, split, chosen):
    assert files_for(files, split=split) == chosen


@pytest.mark.parametrize(
    ("files", "subset", "split", "told"),
    [
        (
            ["train.jsonl", "test.jsonl"],
            None,
            "validation",
            "no split 'validation'; expected one of 'train', 'test'",
        ),
        (["dev.csv", "test.csv"], None, None, "no split 'train'; expected one of 'validation', 'test'"),
        (["train.jsonl", "train.csv"], None, None, "as .csv and .jsonl files, perhaps the same rows twice"),
        (["zh/train.jsonl", "en/train.jsonl"], "zn", None, "expected one of 'en', 'train', 'zh'"),
    ],
)
def test_what_cannot_be_chosen_is_told(files, subset, split, told):
    with pytest.raises(InputError) as caught:
        files_for(files, subset, split)
    assert told in str(caught.value)


def test_a_subset_is_a_folder_or_a_file_of_that_name():
    files = ["data/ccfbdci.jsonl", "data/cluener.jsonl", "zh/train.jsonl", "zh/test.jsonl"]
    assert files_for(files, "CCFBDCI") == ["data/ccfbdci.jsonl"]
    assert files_for(files, "zh", "test") == ["zh/test.jsonl"]


def test_shards_that_are_missing_are_found():
    there = ["data/train-00000-of-00003.parquet", "data/train-00002-of-00003.parquet", "x.jsonl"]
    assert hub_files.missing_shards(there) == ["data/train-00001-of-00003"]


# ---- which files: the README

README = """---
license: mit
configs:
- config_name: zh
  default: true
  data_files:
  - split: train
    path: data/zh/*.jsonl
  - split: test
    path: [data/zh-test.jsonl]
- config_name: en
  data_files: "data/en/**/[a-b]?.csv"
- config_name: folder
  data_dir: more
---
# A data set
"""
LISTED = [
    "README.md", "data/zh/1.jsonl", "data/zh/2.jsonl", "data/zh/deep/3.jsonl", "data/zh-test.jsonl",
    "data/en/a1.csv", "data/en/x/b2.csv", "data/en/c3.csv", "data/en/a11.csv", "more/train.json", "more/test.json",
]  # fmt: skip


@pytest.mark.parametrize(
    ("subset", "split", "chosen"),
    [
        (None, None, ["data/zh/1.jsonl", "data/zh/2.jsonl"]),
        ("zh", "test", ["data/zh-test.jsonl"]),
        ("en", None, ["data/en/a1.csv", "data/en/x/b2.csv"]),
        ("folder", None, ["more/train.json"]),
        ("folder", "test", ["more/test.json"]),
    ],
)
def test_the_readme_tells_the_subsets(subset, split, chosen):
    assert files_for(LISTED, subset, split, README) == chosen


def test_subsets_that_the_readme_does_not_tell_apart_must_be_named():
    readme = README.replace("  default: true\n", "")
    with pytest.raises(InputError, match=r"3 subsets: 'zh', 'en', 'folder'.*hf:o/n:zh"):
        files_for(LISTED, None, None, readme)
    with pytest.raises(InputError, match=r"no subset 'foldr'.*nearest is 'folder'"):
        files_for(LISTED, "foldr", None, readme)


@pytest.mark.parametrize(
    "readme",
    [
        "",
        "# no header",
        "---\nconfigs: [\n---\n",
        "---\nconfigs: 3\n---\n",
        "---\n- a\n---\n",
        "---\nconfigs: [1]\n---",
    ],
)
def test_a_readme_that_tells_nothing_leaves_it_to_names(readme):
    assert files_for(["train.jsonl", "test.jsonl"], readme=readme) == ["train.jsonl"]


def test_a_readme_that_names_files_that_are_not_there_is_told():
    with pytest.raises(InputError, match="that the repository does not hold"):
        files_for(["other.jsonl"], "zh", "train", README)


# ---- both hubs


@pytest.fixture(params=["hf", "ms"])
def kind(request) -> str:
    return request.param


def test_files_arrive_as_they_are_and_only_once(net, kind):
    net.repositories["o/n"] = {
        "README.md": b"# n",
        "train.jsonl": ROWS,
        "test.jsonl": b"{}\n",
        "run.py": b"1/0",
    }
    (path,) = hub.fetch(f"{kind}:o/n")
    assert path.name == "train.jsonl" and path.read_bytes() == ROWS
    assert sorted(net.paths()) == ["README.md", "train.jsonl"]
    assert hub.fetch(f"{kind}:o/n") == (path,)
    assert net.paths().count("train.jsonl") == 1
    assert names(hub.fetch(f"{kind}:o/n@test")) == ["test.jsonl"]
    assert names(hub.fetch(f"{kind}:o/n/test.jsonl")) == ["test.jsonl"]
    assert "run.py" not in net.paths()


def test_a_folder_of_the_repository_can_be_named(net, kind):
    net.repositories["o/n"] = {f"data/part {i}.jsonl": b"{}\n" for i in (10, 2)} | {"x.csv": b"a\n1\n"}
    assert names(hub.fetch(f"{kind}:o/n/data")) == ["part 2.jsonl", "part 10.jsonl"]
    assert names(hub.fetch(f"{kind}:o/n/x.csv")) == ["x.csv"]
    assert "no file data/part 3.jsonl" in error_of(f"{kind}:o/n/data/part 3.jsonl")


def test_names_with_pattern_signs_are_names(net, kind):
    net.repositories["o/n"] = {"a[1].jsonl": ROWS, "a1.jsonl": b"{}\n"}
    (path,) = hub.fetch(f"{kind}:o/n/a[1].jsonl")
    assert path.read_bytes() == ROWS and "a1.jsonl" not in net.paths()


def test_files_can_go_to_a_folder(net, kind, tmp_path):
    net.repositories["o/n"] = {"data/train.jsonl": ROWS}
    assert hub.fetch(f"{kind}:o/n", folder=tmp_path / "here") == (tmp_path / "here" / "data" / "train.jsonl",)


def test_an_unknown_data_set_is_told(net, kind):
    message = error_of(f"{kind}:o/none")
    assert "no data set o/none, or it is private" in message and message.startswith(f"{kind}:o/none: ")


def test_a_gated_data_set_is_told_with_the_way_in(net, kind):
    net.repositories["o/n"] = {"train.jsonl": ROWS}
    net.gated.add("o/n")
    message = error_of(f"{kind}:o/n")
    assert "terms" in message and "login`" in message


def test_a_data_set_of_other_things_is_told(net, kind):
    net.repositories["o/n"] = {"a.zip": b"PK", "b.bin": b""}
    assert "holds no data file, only .bin, .zip files; expected one of .json" in error_of(f"{kind}:o/n")


def test_code_is_never_fetched_and_the_refusal_names_the_conversion(net, kind):
    net.repositories["o/n"] = {"README.md": b"", "n.py": b"raise SystemExit"}
    message = error_of(f"{kind}:o/n")
    assert "loading script (n.py), and code of strangers is not run" in message
    assert "refs/convert/parquet" in message and "n.py" not in net.paths()


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(net, kind, monkeypatch):
    content = b'{"text": "0123456789"}\n' * 200_000
    net.repositories["o/n"] = {"train.jsonl": content}
    # The hub's client gives up after some attempts in vain; ModelScope's waits long between them, so it needs one only.
    net.cuts = [300_000, *([0] * 6 if kind == "hf" else [])]
    monkeypatch.setattr("time.sleep", lambda _: None)  # the clients' pauses between attempts
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    if kind == "hf":
        message = error_of("hf:o/n")
        assert "the download stopped" in message and "goes on with what is missing" in message
        net.cuts = []
    (path,) = hub.fetch(f"{kind}:o/n")
    assert path.read_bytes() == content
    resumed = [asked for name, asked in net.fetched if name == "train.jsonl" and asked]
    assert resumed and not resumed[0].startswith("bytes=0-")


def test_a_folder_that_cannot_be_written_is_told(net, kind, tmp_path):
    net.repositories["o/n"] = {"train.jsonl": ROWS}
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TunesmithError, match="cannot be written"):
        hub.fetch(f"{kind}:o/n", folder=tmp_path / "file" / "folder")


def test_a_silent_hub_is_told_and_then_the_cache_serves(net, kind, monkeypatch):
    net.repositories["o/n"] = {"train.jsonl": ROWS, "test.jsonl": b"{}\n"}
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.fetch(f"{kind}:o/n")
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("modelscope_hub.config._default_config", None)
    assert [path.read_bytes() for path in hub.fetch(f"{kind}:o/n")] == [ROWS]
    assert "cannot be had" in error_of(f"{kind}:o/other") and "failed" in error_of(f"{kind}:o/other")


# ---- the Hugging Face hub alone


def test_the_hubs_own_conversion_serves_where_there_is_only_a_script(net, caplog):
    net.repositories["o/n"] = {"n.py": b"raise SystemExit"}
    net.converted["o/n"] = {
        "en/train/0000.parquet": b"1", "en/train/0001.parquet": b"2", "en/test/0000.parquet": b"3",
        "zh/partial-train/0000.parquet": b"4",
    }  # fmt: skip
    with caplog.at_level(logging.WARNING, "tunesmith"):
        assert [path.read_bytes() for path in hub.fetch("hf:o/n:en")] == [b"1", b"2"]
        assert [path.read_bytes() for path in hub.fetch("hf:o/n:zh")] == [b"4"]
    assert "2 subsets: 'en', 'zh'" in error_of("hf:o/n")
    assert any("only the first part" in record.message for record in caplog.records)


def offline(monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_offline_the_cache_serves_what_is_whole_and_says_what_was_tried(net, monkeypatch):
    net.repositories["o/n"] = {"train.jsonl": ROWS, "test.jsonl": b"{}\n"}
    (path,) = hub.fetch("hf:o/n")
    offline(monkeypatch)
    assert hub.fetch("hf:o/n") == (path,)
    for reference in ("hf:o/n@test", "hf:o/other"):
        message = error_of(reference)
        assert (
            "cannot be had" in message
            and "HF_HUB_OFFLINE is set" in message
            and "go online once" in message.lower()
        )


def test_offline_a_cache_that_another_tool_filled_serves_and_missing_shards_are_told(
    net, tmp_path, monkeypatch, caplog
):
    base = tmp_path / "cache" / "hub" / "datasets--o--n"
    snapshot = base / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text(COMMIT)
    (snapshot / "train-00000-of-00002.parquet").write_bytes(b"1")
    offline(monkeypatch)
    assert "1 of the split's files are missing, the first is train-00001-of-00002" in error_of("hf:o/n")
    (snapshot / "train-00001-of-00002.parquet").write_bytes(b"2")
    with caplog.at_level(logging.WARNING, "tunesmith"):
        assert [path.read_bytes() for path in hub.fetch("hf:o/n")] == [b"1", b"2"]
    assert any("whether it is whole cannot be told" in record.message for record in caplog.records)


def test_a_token_goes_to_the_hub_and_nowhere_else(net, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    net.repositories["o/n"] = {"train.jsonl": ROWS}
    hub.fetch("hf:o/n")
    assert any(token == "Bearer hf_secretsecretsecret" for token in net.tokens)
    net.gated.add("o/m")
    net.repositories["o/m"] = {"train.jsonl": ROWS}
    told = error_of("hf:o/m") + error_of("hf:o/none")
    assert "secret" not in told and "secret" not in "".join(capfd.readouterr())


# ---- ModelScope alone


def test_a_long_listing_comes_in_pages(net):
    net.repositories["o/n"] = {f"train-{i:04d}.jsonl": b"{}\n" for i in range(205)}
    wanted = hub.parse("ms:o/n")
    assert len(hub.choose(wanted, *hub.look_up(wanted)).splits["train"]) == 205


def test_without_the_client_the_pip_line_is_said(monkeypatch):
    monkeypatch.setattr(optional, "installed", lambda module: module != "modelscope")
    assert 'pip install "tunesmith[modelscope]"' in error_of("ms:o/n")


# ---- a whole data set


def test_a_whole_data_set_comes_with_pictures_and_without_code(net, kind, tmp_path):
    net.repositories["o/n"] = {
        "README.md": b"# n", "LICENSE": b"MIT", "train.jsonl": ROWS, "test.jsonl": b"{}\n", "images/a.jpg": b"\xff",
        "run.py": b"1/0", "weights.bin": b"0",
    }  # fmt: skip
    folder = tmp_path / "n"
    done = hub.download(f"{kind}:o/n", folder)
    assert {split: names(paths) for split, paths in done.splits.items()} == {
        "train": ["train.jsonl"], "test": ["test.jsonl"]
    }  # fmt: skip
    assert sorted(names(done.others)) == ["LICENSE", "README.md", "a.jpg"]
    assert not (folder / "run.py").exists() and not (folder / "weights.bin").exists()
    before = len(net.fetched)
    assert hub.download(f"{kind}:o/n", folder) == done
    assert [path for path in net.paths()[before:] if path != "README.md"] == []


def test_all_subsets_of_a_whole_data_set_come(net, tmp_path):
    listed = dict.fromkeys(LISTED, b"{}\n") | {"README.md": README.replace("  default: true\n", "").encode()}
    net.repositories["o/n"] = listed
    done = hub.download("hf:o/n", tmp_path / "n")
    assert done.splits == {}
    assert sorted(path.relative_to(tmp_path / "n").as_posix() for path in done.others) == sorted(listed)


def test_a_part_of_a_data_set_comes_alone(net, kind, tmp_path):
    net.repositories["o/n"] = {"train.jsonl": ROWS, "test.jsonl": b"{}\n", "a.jpg": b"\xff"}
    done = hub.download(f"{kind}:o/n@test", tmp_path / "n")
    assert [*map(names, done.splits.values())] == [["test.jsonl"]] and done.others == ()
    assert [path.name for path in Path(tmp_path / "n").iterdir() if not path.name.startswith(".")] == [
        "test.jsonl"
    ]

"""What a path may mean: files, folders, patterns, sets of a hub, and how many rows are taken."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.schema import Source
from tunesmith.data.readers import digest, find, hub

from ..tiny import STEADY
from .rows import error, rows, values


def found(path, **options):
    return find(Source(path=str(path), **options))


def names(path) -> list[str]:
    return [file.name for file in found(path).files]


@pytest.fixture
def make(tmp_path):
    """Files by name, a JSON Lines row with the file's own name in each."""

    def maker(*paths: str):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f'{{"a": "{path}"}}\n')
        return tmp_path

    return maker


# ---- folders


def test_a_folder_is_all_its_data_files_in_natural_order(make):
    folder = make("part-10.jsonl", "part-2.jsonl", "deep/part-1.jsonl", ".hidden/x.jsonl", ".y.jsonl")
    assert values(folder) == [{"a": "deep/part-1.jsonl"}, {"a": "part-2.jsonl"}, {"a": "part-10.jsonl"}]
    assert found(folder).notes == (
        f"{folder}: 3 files are read: 'deep/part-1.jsonl', 'part-2.jsonl', 'part-10.jsonl'",
    )


def test_texts_beside_tables_are_no_data_and_that_is_said(make):
    folder = make("rows.jsonl", "README.md", "notes.txt", "dataset_info.json", "script.py", "a.png")
    assert names(folder) == ["rows.jsonl"]
    (note,) = found(folder).notes
    assert note.startswith(f"{folder}: 4 other files are not read: ")
    assert all(name in note for name in ("'README.md'", "'notes.txt'", "'dataset_info.json'", "'script.py'"))


def test_texts_alone_are_data(make):
    assert names(make("b.txt", "a.md", "README.md", "LICENSE.txt")) == ["a.md", "b.txt"]


def test_a_folder_without_data_files(make, tmp_path):
    assert "the folder holds no data file: it is empty" in error(tmp_path)
    assert "only 'README.md', 'x.py'; expected files with one of the extensions .json," in error(
        make("README.md", "x.py")
    )


def test_a_folder_named_like_a_file_is_a_folder(make):
    assert values(make("data.json/rows.jsonl") / "data.json") == [{"a": "data.json/rows.jsonl"}]


def test_a_folder_of_no_saved_set_has_no_splits(make):
    assert "the folder is not one that `datasets` saved" in error(f"{make('rows.jsonl')}@train")


# ---- patterns


def test_patterns(make):
    folder = make("a.jsonl", "b.jsonl", "c.json", "x/y/d.jsonl", "e.py")
    assert names(folder / "*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert names(folder / "**" / "*.jsonl") == ["a.jsonl", "b.jsonl", "d.jsonl"]
    assert names(folder / "[ab].jsonl") == ["a.jsonl", "b.jsonl"]
    assert names(folder / "*") == ["a.jsonl", "b.jsonl", "c.json"]
    assert "1 other file is not read: " in found(folder / "*").notes[1]


def test_a_pattern_that_matches_nothing_readable(make):
    folder = make("a.jsonl", "e.py")
    assert "no file matches this pattern." in error(folder / "*.csv")
    assert f"the folder {folder / 'nowhere'} is not there" in error(folder / "nowhere" / "*.csv")
    assert "no reader for '.py' files" in error(folder / "*.py")


@pytest.mark.parametrize("name", ["rows[1].jsonl", "rows#3", "rows@x.jsonl", "what?.jsonl"])
def test_a_file_of_that_very_name_wins(make, name):
    folder = make(name if name != "rows#3" else "rows.jsonl#3")
    if name == "rows#3":
        assert "no reader for '.jsonl#3' files" in error(folder / "rows.jsonl#3")
    else:
        assert names(folder / name) == [name]


# ---- single files


def test_links_that_lead_nowhere(make):
    folder = make("a.jsonl")
    (folder / "b.jsonl").symlink_to("gone.jsonl")
    for path in (folder, folder / "b.jsonl", folder / "*.jsonl"):
        assert error(path) == f"{folder / 'b.jsonl'}: the link leads to gone.jsonl, which is not there."


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("rows.xlsx", "Save the sheet as .csv"),
        ("rows.tar.gz", "Unpack it"),
        ("rows.gz", "such as .jsonl.gz"),
        ("rows", ""),
    ],
)
def test_unknown_extensions_name_those_there_are(make, name, remedy):
    message = error(make(name) / name)
    assert ".json, .jsonl, .ndjson, .csv, .tsv, .txt, .md, .parquet, .arrow, .pdf" in message
    assert remedy in message


def test_what_cannot_be_a_path(tmp_path):
    assert "it holds a null character" in error("a\0b.json")
    assert "cannot be read: File name too long" in error(tmp_path / f"{'x' * 300}.json")


def test_a_device_is_no_data_file():
    assert "no ordinary file" in error("/dev/null")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", '{"text": "春"}'),
        ("rows.json", '[{"text": "春"}]'),
        ("rows.csv", "text\n春"),
        ("rows.tsv", "text\n春"),
        ("rows.txt", "春"),
        ("ROWS.MD", "春"),
    ],
)
def test_any_text_file_may_be_packed(tmp_path, name, content):
    path = tmp_path / f"{name}.gz"
    packed = gzip.compress(content.encode())
    path.write_bytes(packed)
    assert values(path) == [{"text": "春"}]
    for damaged in (packed[:-4], packed[:12], packed[:10] + b"\xff\xff" + packed[12:], b"no gzip"):
        path.write_bytes(damaged)
        assert error(path).startswith(f"{path}: the gzip file is damaged: ")
    path.write_bytes(gzip.compress(b""))
    assert "the file is empty" in error(path)


# ---- hubs


def test_a_hubs_set_is_fetched_without_its_number_of_rows(make, monkeypatch):
    folder, asked = make("b.jsonl", "a.jsonl"), []

    def fetch(reference):
        asked.append(reference)
        return (folder / "b.jsonl", folder / "a.jsonl")

    monkeypatch.setattr(hub, "fetch", fetch)
    source = found("hf:owner/name:small@test#1")
    assert asked == ["hf:owner/name:small@test"]
    assert (source.take, [file.name for file in source.files]) == (1, ["b.jsonl", "a.jsonl"])
    assert len(rows("ms:owner/name#2")) == 2


# ---- so many rows


@pytest.fixture
def hundred(tmp_path):
    (tmp_path / "1.jsonl").write_text("".join(f'{{"a": {n}}}\n' for n in range(60)))
    (tmp_path / "2.jsonl").write_text("".join(f'{{"a": {n}}}\n' for n in range(60, 100)))
    return tmp_path


def test_rows_are_drawn_by_the_seed_and_keep_their_order(hundred):
    drawn = [value["a"] for value in values(f"{hundred}#30", seed=1)]
    assert drawn == sorted(drawn) and len(set(drawn)) == 30
    assert drawn == [value["a"] for value in values(f"{hundred}#30", seed=1)]
    assert drawn != [value["a"] for value in values(f"{hundred}#30", seed=2)]
    assert min(drawn) < 30 and max(drawn) > 70, "from all files, not from the first rows"
    assert set(drawn) < {value["a"] for value in values(f"{hundred}#60", seed=1)}


def test_which_rows_are_drawn_is_fixed(hundred):
    assert [value["a"] for value in values(f"{hundred}#5", seed=0)] == [11, 14, 40, 51, 66]


def test_as_many_rows_as_there_are_is_all_of_them_and_more_is_an_error(hundred):
    assert [value["a"] for value in values(f"{hundred}#100")] == list(range(100))
    message = error(f"{hundred}#101")
    assert (
        message
        == f"{hundred}#101: `#101` takes more rows than there are: 100. Take at most #100, or leave it out for all rows."
    )


@pytest.mark.parametrize(
    ("end", "why"), [("#0", "`#0` takes no rows"), ("#x", "stands a whole number"), ("#", "stands a whole")]
)
def test_what_is_no_number_of_rows(hundred, end, why):
    assert why in error(f"{hundred / '1.jsonl'}{end}")


@STEADY
@given(count=st.integers(1, 30), data=st.data(), seed=st.integers(0, 5))
def test_exactly_so_many_are_drawn(tmp_path_factory, count, data, seed):
    path = tmp_path_factory.getbasetemp() / "drawn.jsonl"
    path.write_text("".join(f"{n}\n" for n in range(count)))
    take = data.draw(st.integers(1, count))
    drawn = values(f"{path}#{take}", seed=seed)
    assert len(drawn) == take and drawn == sorted(set(drawn))


# ---- the digest


def test_the_digest_tells_the_folders_of_equal_files_apart(make):
    folder = make("a/x.jsonl", "b/x.jsonl")
    (folder / "b/x.jsonl").write_bytes((folder / "a/x.jsonl").read_bytes())
    assert digest(found(folder / "a")) != digest(found(folder / "b"))


def test_the_digest_tells_content_names_and_order(make):
    folder = make("a.jsonl", "b.jsonl")
    first = digest(found(folder))
    assert first == digest(found(folder / "*.jsonl")) == digest(found(f"{folder}#1"))
    source = found(folder)
    assert digest(source._replace(files=source.files[::-1])) != first
    (folder / "b.jsonl").rename(folder / "c.jsonl")
    assert digest(found(folder)) != first
    (folder / "c.jsonl").rename(folder / "b.jsonl")
    assert digest(found(folder)) == first
    (folder / "b.jsonl").write_text('{"a": 2}')
    assert digest(found(folder)) != first

"""Rows of any format as one file of chats: which rows tell the format, and what is said of rows that cannot."""

import json

import pytest

from tunesmith.config.schema import Source
from tunesmith.data import convert, split_files
from tunesmith.errors import InputError

GOOD = json.dumps({"query": "q", "response": "a"})
BROKEN = '{"query": '


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "_LOOK_AT", 2)

    def writer(*lines: str) -> Source:
        (tmp_path / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
        return Source(path=str(tmp_path / "rows.jsonl"))

    return writer


@pytest.mark.parametrize("broken", [1, 2, 3, 7])
def test_the_first_row_that_parses_tells_the_format_however_far_down_it_is(file, tmp_path, broken):
    source = file(*[BROKEN] * broken, GOOD)
    done = convert.convert_file(source, tmp_path / "out.jsonl", skip=True)
    assert (done.format, done.read, done.written, len(done.dropped)) == (
        "query_response",
        broken + 1,
        1,
        broken,
    )
    with pytest.raises(InputError) as caught:
        convert.convert_file(source, tmp_path / "none.jsonl", skip=False)
    assert str(caught.value).count("rows.jsonl:") == broken
    assert f"{broken} of {broken + 1} rows cannot be used" in str(caught.value)
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("skip", [False, True])
def test_rows_none_of_which_parses_are_told_by_their_own_problems(file, tmp_path, skip):
    with pytest.raises(InputError) as caught:
        convert.convert_file(file(BROKEN, '{"a": NaN}', "x"), tmp_path / "out.jsonl", skip=skip)
    told = str(caught.value).splitlines()
    assert [line.partition(": ")[0].rpartition(":")[2] for line in told[:3]] == ["1", "2", "3"]
    assert "3 of 3 rows cannot be used, and nothing was written. Mend them." in told[3]


@pytest.mark.parametrize("format", [None, "query_response"])
@pytest.mark.parametrize("rows", [[BROKEN, BROKEN, BROKEN], [BROKEN, BROKEN, BROKEN, GOOD]])
def test_a_split_tells_the_rows_that_cannot_be_parsed(file, format, rows):
    source = file(*rows).model_copy(update={"format": format})
    with pytest.raises(InputError) as caught:
        split_files.look(source, by=None, group=None, same_prompt=True)
    told = str(caught.value).splitlines()
    assert [line.partition(": ")[0].rpartition(":")[2] for line in told[:3]] == ["1", "2", "3"]
    assert f"3 of {len(rows)} rows cannot be" in told[3]

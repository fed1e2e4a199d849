"""The page of a check: all of it escaped, every token once, nothing fetched."""

from __future__ import annotations

import errno
import html
import json
import os
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.tiny import chatml
from tunesmith.config.schema import Data
from tunesmith.data.build import build
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation
from tunesmith.errors import WorkError
from tunesmith.report.check_page import formats_and_notes, page_of, warnings_of, write_check_page
from tunesmith.report.tokens import visible

SCRIPT = "<script>alert('1')</script>"
RENDERER = Renderer(chatml())


def chat(question, answer, **more):
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]
    }


class Reader(HTMLParser):
    """Which tags the page has, its text, and the token spans of each sample: (class, title, text)."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.samples, self.text, self._in_tokens, self._span = [], [], "", False, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        if given.get("class") == "tokens":
            self._in_tokens = True
            self.samples.append([])
        elif tag == "td":
            self.text += " "
        elif tag == "span" and self._in_tokens:
            self._span = [given["class"], given.get("title"), ""]

    def handle_endtag(self, tag):
        if tag == "span" and self._span:
            self.samples[-1].append(tuple(self._span))
            self._span = None
        elif tag == "div":
            self._in_tokens = False

    def handle_data(self, data):
        self.text += data
        if self._span:
            self._span[2] += data


@pytest.fixture
def prepare(tmp_path):
    def prepared(rows, held_out=None, **settings):
        paths = []
        for name, content in (("rows.jsonl", rows), ("held.jsonl", held_out)):
            if content is not None:
                (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
                paths.append(str(tmp_path / name))
        block = Data(train=paths[:1], eval=paths[1:] or None, on_bad_row="skip", cache=False, **settings)
        return build(block, Conversation, RENDERER, 0)

    return prepared


@pytest.fixture
def read(tmp_path):
    def reader(data, show=20, **changes):
        given = {
            "name": "tiny",
            "facts": [("model", "m")],
            "plan": "a plan",
            "command": "tunesmith train x.yaml",
        }
        page = page_of(data, RENDERER, show=show, seed=0, **given | changes)
        write_check_page(tmp_path / "page.html", page)
        assert list(tmp_path.glob(".*.tmp")) == []
        return Reader((tmp_path / "page.html").read_text("utf-8"))

    return reader


def test_every_token_stands_on_the_page_once(prepare, read):
    data = prepare(
        [chat(f"{SCRIPT} & 'q' {at}\r\n\x1b", f'<img src="x"> 你好 💡\n\n {at}') for at in range(4)]
    )
    page = read(data)
    assert len(page.samples) == 4
    for spans, sample in zip(page.samples, data.train, strict=True):
        whole = RENDERER.tokenizer.decode(list(sample.tree[0].tokens))
        assert "".join(text for _, _, text in spans) == visible(whole)
        ids = [int(number) for _, title, _ in spans for number in re.findall(r"\d+", title.split(" · ")[0])]
        assert tuple(ids) == sample.tree[0].tokens
        learned = "".join(text for kind, title, text in spans if "loss" in kind and title.endswith("loss 1"))
        assert learned == f"{sample.answer}<|im_end|>"
        assert all(title.endswith("no loss") for kind, title, _ in spans if "loss" not in kind)


def test_nothing_in_a_row_or_a_name_becomes_markup(prepare, read):
    page = read(prepare([chat(SCRIPT, SCRIPT), chat("q", "a"), {"messages": SCRIPT}]), name=SCRIPT, facts=[("model", SCRIPT)],
                plan=SCRIPT, command=SCRIPT)  # fmt: skip
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe"}
    assert not any(
        name.startswith("on") or name in ("src", "href") for _, given in page.tags for name in given
    )
    assert page.text.count(SCRIPT) >= 5


def test_the_page_says_what_the_ledgers_say(prepare, read):
    rows = [chat(f"q{at}", "yes" if at % 2 else "no") for at in range(8)]
    page = read(prepare([*rows, rows[0], {"messages": 3}], [rows[1], chat("new", "no")]))
    text = " ".join(page.text.split())
    assert "training 10 9 1 0 0 9 " in text and "held out 2 2 0 0 0 2 " in text
    assert "rows.jsonl:10" in text and "field 'messages' of row 10 is a number" in text
    assert "2 different answers: no 5 yes 4" in text
    assert "messages, detected" in text
    assert "1 of 2 held-out rows can be answered from memory" in text
    assert "train: 1 row repeats" in text
    assert "tunesmith train x.yaml" in text


def test_each_sample_is_shown_once_under_the_first_heading_that_fits(prepare, read):
    data = prepare([chat(f"q{at}", "a" * (1 + at % 17)) for at in range(40)])
    places = re.findall(r"rows\.jsonl:(\d+) \d+ tokens, ", " ".join(read(data, show=3).text.split()))
    assert len(places) == len(set(places)) == 3 + 5 + 5
    assert places[:8] == ["1", "2", "3", "17", "34", "16", "33", "15"]
    assert places == re.findall(r"rows\.jsonl:(\d+) \d+ tokens, ", " ".join(read(data, show=3).text.split()))
    assert read(data, show=0).samples == []


def test_a_weight_is_written_beside_what_has_it(prepare, read):
    page = read(prepare([chat("q", "half", weight=0.5)]))
    assert [title.rpartition(" · ")[2] for _, title, _ in page.samples[0] if "no loss" not in title] == [
        "loss 0.5"
    ] * sum("loss" in kind for kind, _, _ in page.samples[0])
    assert "×0.5" in page.text


def test_a_page_of_nothing_wrong_has_no_warnings(prepare):
    assert warnings_of(prepare([chat("q1", "a"), chat("q2", "b")], [chat("q3", "c")])) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_the_page_is_told_with_what_helps_a_page(prepare, read, tmp_path, monkeypatch, number):
    data = prepare([chat("q", "a")])

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tunesmith.data.writing.os.fsync", full)
    with pytest.raises(WorkError) as caught:
        read(data)
    assert str(caught.value) == (
        f"no room left on the disk while writing {tmp_path / 'page.html'}. Free some disk space and run the same again."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def side(**found):
    nothing = {"rows": 0, "first": []}
    return {
        "rows_read": 9,
        "rows_kept": 9,
        "rows_dropped": 0,
        "duplicates": nothing,
        "contradictions": nothing,
        "labels": None,
        **found,
    }


def found(train=None, held_out=None, pictures=()):
    return SimpleNamespace(
        train=SimpleNamespace(pictures=np.array(pictures, int)),
        eval=SimpleNamespace(pictures=np.zeros(0, int)),
        ledgers={"train": train or side(), "eval": held_out},
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (found(side(duplicates={"rows": 2, "first": [["f:1", "f:2"], ["f:1", "f:3"]]})),
         "train: 2 rows repeat an earlier one token for token (f:1 again at f:2; f:1 again at f:3)"),
        (found(side(contradictions={"rows": 1, "first": [["f:1", "f:2"]]})),
         "train: 1 row answers the question of an earlier one differently (f:1 and f:2)"),
        (found(side(rows_read=1200, rows_dropped=1)), "train: 1 of 1,200 rows is dropped, and nothing is learned from it"),
        (found(side(rows_read=1, rows_dropped=1)), "train: 1 of 1 row is dropped"),
        (found(side(labels={"yes": 9})), "train: all rows have the same answer, 'yes'"),
        (found(held_out=side(leaked={"rows": 3, "whole": 1, "first": [["e:1", "f:2"]]})),
         "3 of 9 held-out rows can be answered from memory: the same question is trained on, in 1 the answer too "
         "(e:1 is f:2)."),
        (found(held_out=side(leaked={"rows": 1000, "whole": 1000, "first": []})), "1,000 of 9 held-out rows can be"),
    ],
)  # fmt: skip
def test_warnings_are_sentences(data, sentence):
    (warning,) = warnings_of(data)
    assert warning.startswith(sentence)
    assert ("tunesmith data split" in warning) == ("held-out" in warning)


def test_formats_are_told_apart_from_other_notes():
    data = SimpleNamespace(
        formats={"a.jsonl": "ner", "b.csv": "alpaca"},
        notes=(
            "a.jsonl: format ner, detected",
            "b.csv: format alpaca",
            "a.jsonl: format what",
            "other",
            "other",
        ),
    )
    assert formats_and_notes(data) == (
        [("a.jsonl", "ner, detected"), ("b.csv", "alpaca")],
        ["a.jsonl: format what", "other"],
    )


def test_a_file_name_is_escaped_too(tmp_path, read):
    name = html.unescape("a&lt;b&gt;.jsonl")
    (tmp_path / name).write_text(json.dumps(chat("q", "a")) + "\n", "utf-8")
    page = read(build(Data(train=[str(tmp_path / name)], cache=False), Conversation, RENDERER, 0))
    assert page.text.count(name) >= 3

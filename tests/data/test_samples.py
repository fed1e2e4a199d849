"""The sample sets of text: their forms and counts, that nothing of a test file was trained on, and their baselines."""

from __future__ import annotations

import ast
import json
import operator
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(ROOT / "tools"))

import build_samples  # noqa: E402
import sample_baselines  # noqa: E402
import samples_ner  # noqa: E402
import samples_news_en  # noqa: E402
import samples_news_zh  # noqa: E402
import samples_topics  # noqa: E402
from tunesmith.config.schema import Source  # noqa: E402
from tunesmith.data import converters  # noqa: E402
from tunesmith.data.schema import BadRow, Conversation, Labelled, Pair, Place, SourceRow  # noqa: E402

SAMPLES = build_samples.SAMPLES
SIDES = (
    ("news/train.jsonl", "news/test.jsonl"),
    ("ner/ccfbdci.jsonl", "ner/test.jsonl"),
    ("tcm/train.json", "tcm/test.json"),
    ("qa/dataset.json", "qa/test.json"),
    ("preference/train.json", "preference/test.json"),
)
# Made in thousands from a few patterns, for small models: what must be new on the test side differs from set to set.
LARGE_SIDES = (
    ("news/topics_train.jsonl", "news/topics_test.jsonl"),
    ("ner/names_train.jsonl", "ner/names_test.jsonl"),
)
SHARED_RUN = 8  # words or Han characters: no run of so many stands on both sides
README = (SAMPLES / "README.md").read_text("utf-8")

rows_of = sample_baselines.read


def test_the_committed_files_are_what_the_tool_writes():
    for name, text in build_samples.rendered().items():
        assert (SAMPLES / name).read_bytes() == text.encode(), name


def test_no_file_lies_beside_those_that_the_tool_writes():
    folders = {name.split("/")[0] for name in build_samples.rendered()}
    found = {path.relative_to(SAMPLES).as_posix() for f in folders for path in (SAMPLES / f).iterdir()}
    assert {name for name in found if not name.endswith("README.md")} == set(build_samples.rendered())
    assert sum((SAMPLES / name).stat().st_size for name in found) < 2_500_000


def test_the_readme_counts_every_file():
    stated = dict(re.findall(r"\| `([\w/.]+)` \|[^|\n]*\| (\d+) \|", README))
    assert stated == {name: str(len(rows_of(name))) for name in build_samples.rendered()}


FORMATS = {
    "news/train.jsonl": ("classification", Conversation, 240),
    "news/test.jsonl": ("classification", Conversation, 90),
    "news/topics_train.jsonl": ("classification", Conversation, 2000),
    "news/topics_test.jsonl": ("classification", Conversation, 200),
    "ner/names_train.jsonl": ("ner", Conversation, 3000),
    "ner/names_test.jsonl": ("ner", Conversation, 200),
    "ner/ccfbdci.jsonl": ("ner", Conversation, 160),
    "ner/test.jsonl": ("ner", Conversation, 60),
    "tcm/train.json": ("alpaca", Conversation, 80),
    "tcm/test.json": ("alpaca", Conversation, 24),
    "qa/dataset.json": ("qa_keywords", Conversation, 80),
    "qa/test.json": ("qa_keywords", Conversation, 20),
    "preference/train.json": ("preference", Pair, 80),
    "preference/test.json": ("preference", Pair, 24),
    "preference/prompt.jsonl": ("preference", Pair, 12),
    "preference/messages.jsonl": ("preference", Pair, 12),
    "preference/sharegpt.json": ("preference", Pair, 12),
    "preference/kto.jsonl": ("labelled", Labelled, 40),
    "chats/messages.jsonl": ("messages", Conversation, 40),
    "chats/sharegpt.json": ("sharegpt", Conversation, 20),
    "chats/thinking.jsonl": ("messages", Conversation, 20),
    "chats/tools.jsonl": ("messages", Conversation, 30),
    "chats/conversation.jsonl": ("conversation", Conversation, 12),
    "chats/query_response.jsonl": ("query_response", Conversation, 12),
}


def converted(name: str) -> tuple[str, list[Any]]:
    """The detected format's name, and what each row becomes: a BadRow where it cannot be used."""
    rows = [SourceRow(row, Place(name, k, k)) for k, row in enumerate(rows_of(name), start=1)]
    source = Source(path=name)
    format = converters.detect(rows, source)
    made: list[Any] = []
    for row in rows:
        try:
            made.append(converters.convert(row, format, source))
        except BadRow as error:
            made.append(error)
    return format.name, made


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_is_of_the_format_that_is_detected(name):
    expected, kind, least = FORMATS[name]
    found, made = converted(name)
    assert found == expected
    assert len(made) >= least
    assert {type(sample) for sample in made} == {kind}


def test_every_form_of_the_twelve_pairs_reads_the_same():
    forms = [
        converted(f"preference/{name}")[1] for name in ("prompt.jsonl", "messages.jsonl", "sharegpt.json")
    ]
    assert forms[0] == forms[1] == forms[2]


def units(text: str) -> list[str]:
    return re.findall("[\u4e00-\u9fff]|[A-Za-z0-9]+", text)


def texts_of(row: dict[str, Any]) -> list[str]:
    """What a row says. Labels are the same on both sides on purpose, and so are some names of entities: left out."""
    if "entities" in row:
        text = row["text"]
        for entity in reversed(row["entities"]):
            text = (
                text[: entity["start_idx"]] + "{" + entity["entity_label"] + "}" + text[entity["end_idx"] :]
            )
        return [text]
    labels = ("output", "category") if "category" in row else ("answer_keywords",)
    return [value for field, value in row.items() if field not in labels and value]


def runs(rows: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    pieces = [units(text) for row in rows for text in texts_of(row)]
    return {tuple(u[k : k + SHARED_RUN]) for u in pieces for k in range(len(u) - SHARED_RUN + 1)}


@pytest.mark.parametrize(("train", "test"), SIDES)
def test_no_sentence_pattern_stands_on_both_sides(train, test):
    assert runs(rows_of(test)), "rows so short that nothing was compared"
    assert not runs(rows_of(train)) & runs(rows_of(test))


@pytest.mark.parametrize(("train", "test"), SIDES + LARGE_SIDES)
def test_no_text_stands_twice(train, test):
    counts = Counter(json.dumps(texts_of(row) if "text" not in row else row["text"], ensure_ascii=False)
                     for row in rows_of(train) + rows_of(test))  # fmt: skip
    assert max(counts.values()) == 1


def test_the_larger_news_put_every_word_on_both_sides_of_the_order():
    """What an item is about and what it only mentions take each other's place, so words alone say nothing."""
    for language in samples_topics.LANGUAGES:
        forms = language.structures
        assert len(forms) == len(set(forms)) and all("{a}" in form and "{b}" in form for form in forms)
        for first, second in zip(forms[::2], forms[1::2], strict=True):
            assert (first.index("{a}") < first.index("{b}")) != (second.index("{a}") < second.index("{b}"))
        train, test = (set(language.places[side]) for side in ("train", "test"))
        assert not train & test
    rows = rows_of("news/topics_test.jsonl")
    assert all(row["category"].count(row["output"]) == 1 for row in rows)
    train, test = ({_item(row) for row in rows_of(f"news/topics_{side}.jsonl")} for side in ("train", "test"))
    assert not train & test


def _item(row: dict[str, Any]) -> str:
    """A row's text without its places: the structure, and the two things in it."""
    places = [
        place for language in samples_topics.LANGUAGES for side in language.places.values() for place in side
    ]
    return re.sub("|".join(places), "_", row["text"])


def test_no_name_and_no_pattern_of_the_larger_test_side_stands_in_training():
    train, test = (rows_of(f"ner/names_{side}.jsonl") for side in ("train", "test"))
    known, tested = ({e["entity_text"] for row in side for e in row["entities"]} for side in (train, test))
    assert not known & tested
    patterns = [{texts_of(row)[0] for row in side} for side in (train, test)]
    assert not patterns[0] & patterns[1]
    assert not any(mismatches(row) for row in train + test)


def test_a_test_article_is_filled_with_other_names():
    for language in (samples_news_en, samples_news_zh):
        for slot in ("city", "person", "month", "n", "h", "pct"):
            assert not set(language.TRAIN_SLOTS[slot]) & set(language.TEST_SLOTS[slot])


@pytest.mark.parametrize("name", ["news/train.jsonl", "news/test.jsonl"])
def test_news_offers_its_own_classes_in_its_own_language(name):
    rows = rows_of(name)
    for row in rows:
        assert list(row) == ["text", "category", "output"]
        assert row["category"].count(row["output"]) == 1 and 4 <= len(set(row["category"])) <= 6
        in_chinese = bool(re.search("[\u4e00-\u9fff]", row["text"]))
        assert all(bool(re.search("[\u4e00-\u9fff]", label)) == in_chinese for label in row["category"])
        assert "{" not in row["text"]
    counts = Counter(row["output"] for row in rows)
    assert len(counts) == 12 and len(set(counts.values())) == 1
    assert len({row["category"].index(row["output"]) for row in rows}) >= 4  # the place does not give it away


def mismatches(row: dict[str, Any]) -> int:
    return sum(row["text"][e["start_idx"] : e["end_idx"]] != e["entity_text"] for e in row["entities"])


@pytest.mark.parametrize("name", ["ner/ccfbdci.jsonl", "ner/test.jsonl"])
def test_entities_stand_where_the_row_says(name):
    rows = rows_of(name)
    assert not any(mismatches(row) for row in rows)
    assert {len(row["entities"]) for row in rows} >= {0, 1, 2, 3}
    for entity in (entity for row in rows for entity in row["entities"]):
        assert entity["entity_names"] == samples_ner.ENTITY_NAMES[entity["entity_label"]]


def test_some_names_of_the_test_side_are_known_and_more_are_new():
    known, tested = (
        {e["entity_text"] for row in rows_of(name) for e in row["entities"]}
        for name in ("ner/ccfbdci.jsonl", "ner/test.jsonl")
    )
    assert tested & known and len(tested - known) >= 25


def test_the_wrong_offsets_are_dropped_and_counted():
    rows = rows_of("ner/train_with_errors.jsonl")
    _, made = converted("ner/train_with_errors.jsonl")
    assert [bool(mismatches(row)) for row in rows] == [isinstance(sample, BadRow) for sample in made]
    assert sum(isinstance(sample, BadRow) for sample in made) == samples_ner.WRONG_OFFSETS


def test_every_tcm_answer_says_what_it_is_not():
    for name in ("tcm/train.json", "tcm/test.json"):
        rows = rows_of(name)
        assert all(re.search("医|药|病|诊", row["output"].rstrip("。").split("。")[-1]) for row in rows)
        assert any(not row["instruction"] for row in rows) and any(not row["input"] for row in rows)
        assert all(row["instruction"] or row["input"] for row in rows)
    for folder in ("tcm", "preference"):
        assert "NOT medical advice" in (SAMPLES / folder / "README.md").read_text("utf-8")


def test_a_judged_answer_is_one_of_a_pair_and_its_other_one_is_not_there():
    judged = {row["messages"][-1]["content"]: row["label"] for row in rows_of("preference/kto.jsonl")}
    pairs = rows_of("preference/train.json")
    labels = [
        judged.get(pair[side]) == (side == "chosen")
        for pair in pairs
        for side in ("chosen", "rejected")
        if pair[side] in judged
    ]
    assert len(labels) == len(judged) == 48 and all(labels)
    assert Counter(judged.values()) == {True: 24, False: 24}


KINDS = {"string": str, "integer": int}
SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value_of(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp):
        return SIGNS[type(node.op)](value_of(node.left), value_of(node.right))
    assert isinstance(node, ast.Constant)
    return node.value


def test_tool_calls_follow_the_schemas_and_have_their_results():
    called = Counter()
    for row in rows_of("chats/tools.jsonl"):
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}
        _, calling, *results, answer = row["messages"]
        assert [result["tool_call_id"] for result in results] == [
            call["id"] for call in calling["tool_calls"]
        ]
        for call, result in zip(calling["tool_calls"], results, strict=True):
            name = call["function"]["name"]
            arguments = json.loads(call["function"]["arguments"])
            assert set(schemas[name]["required"]) <= set(arguments) <= set(schemas[name]["properties"])
            for key, given in arguments.items():
                wanted = schemas[name]["properties"][key]
                assert type(given) is KINDS[wanted["type"]] and given in wanted.get("enum", [given])
            called[name] += 1
            said = json.loads(result["content"])
            if name == "calculate":
                assert said["value"] == value_of(ast.parse(arguments["expression"], mode="eval").body)
                assert str(said["value"]) in answer["content"] or said["value"] == 25.5  # 二十五块五
            if name == "get_weather":
                assert said["city"] == arguments["city"] and str(said["degrees"]) in answer["content"]
    assert min(called.values()) >= 10 and len(called) == 3


def test_the_readme_states_the_baselines():
    stated = dict(re.findall(r"\| ([\w -]+?)(?::[^|]*)? \| ([\d.]+%) \|", README))
    assert stated == sample_baselines.figures()


def test_counting_words_does_not_tell_what_an_item_is_about():
    train, test = rows_of("news/topics_train.jsonl"), rows_of("news/topics_test.jsonl")
    assert sample_baselines.bag_of_words_accuracy(train, test) < 0.62


def test_counting_words_beats_the_majority_and_does_not_solve_the_news():
    train, test = rows_of("news/train.jsonl"), rows_of("news/test.jsonl")
    majority = sample_baselines.majority_accuracy(train, test)
    assert majority + 0.2 < sample_baselines.bag_of_words_accuracy(train, test) < 0.95

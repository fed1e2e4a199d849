"""The ner format: JSON lines, labels of both tag sets, offsets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.converters.ner import INSTRUCTION, NOTHING_FOUND, SHOWN

from ..tiny import STEADY
from .rows import read, said, turns

TEXT = "李雷去了南京大学"


def entity(start, end, text, label="PER", **more):
    return {"start_idx": start, "end_idx": end, "entity_text": text, "entity_label": label, **more}


def answer(text, entities, **options) -> str:
    return turns(read("ner", {"text": text, "entities": entities}, **options))[-1][1]


def test_one_object_a_line():
    named = entity(4, 8, "南京大学", "ORG", entity_names=["团体", "组织", "机构"])
    row = {"text": TEXT, "entities": [entity(0, 2, "李雷"), named], "data_source": "x"}
    assert turns(read("ner", row)) == [
        ("system", INSTRUCTION, 0.0),
        ("user", TEXT, 0.0),
        (
            "assistant",
            '{"entity_text": "李雷", "entity_label": "人名"}\n{"entity_text": "南京大学", "entity_label": "组织"}',
            1.0,
        ),
    ]


def test_instruction_says_types_shape_and_what_to_say_of_nothing():
    assert all(
        part in INSTRUCTION for part in (*SHOWN, '{"entity_text": ', '"entity_label": ', NOTHING_FOUND)
    )
    assert turns(read("ner", {"text": TEXT, "entities": []}, instruction="Find."))[0][1] == "Find."


@pytest.mark.parametrize("entities", [[], "[]"])
def test_nothing_found(entities):
    assert answer(TEXT, entities) == "没有找到任何实体"


@pytest.mark.parametrize(
    ("names", "label", "shown"),
    [
        (["地缘政治实体", "政治实体", "地理实体", "社会实体"], "GPE", "地理实体"),
        (["人名", "姓名"], "PER", "人名"),
        (["地理实体", "地点"], "LOC", "地点"),  # the first of the four, not of the names
        (["别的"], "ORG", "组织"),
        (None, "LOC", "地点"),
        (None, "GPE", "地理实体"),
        (None, "PER", "人名"),
        (None, "药物", "药物"),
    ],
)
def test_shown_label(names, label, shown):
    assert (
        json.loads(answer(TEXT, [entity(0, 2, "李雷", label, entity_names=names)]))["entity_label"] == shown
    )


def test_ends_may_be_the_last_character_in_the_whole_row():
    inclusive = [entity(0, 1, "李雷"), entity(4, 7, "南京大学")]
    assert answer(TEXT, inclusive).count("\n") == 1
    assert "entity 1 of row 3" in said(
        "ner", {"text": TEXT, "entities": [inclusive[0], entity(4, 8, "南京大学")]}
    )


def test_wrong_offsets_tell_what_stands_there_and_where_it_is():
    message = said("ner", {"text": TEXT, "entities": [entity(0, 2, "李雷"), entity(3, 5, "南京")]})
    assert "entity 2 of row 3 is '南京', but from character 3 to 5 of the text stands '了南'" in message
    assert "It stands from 4 to 6" in message
    assert "does not hold it at all" in said("ner", {"text": TEXT, "entities": [entity(0, 2, "韩梅")]})


@pytest.mark.parametrize(
    ("entities", "found"),
    [
        (None, "field 'entities' of row 3 is null"),
        ([3], "entity 1 of row 3 is a number"),
        ([{"start": 0, "end_idx": 2, "entity_text": "李雷"}], "entity 1 of row 3 has no field 'start_idx'"),
        ([entity(0, 0, "")], "the text of entity 1 of row 3 is empty"),
        ([entity("0", 2, "李雷")], "start_idx of entity 1 of row 3 is a string"),
        ([entity(0, True, "李雷")], "end_idx of entity 1 of row 3 is true or false"),
        ([entity(-8, -6, "李雷")], "from character -8 to -6"),
        ([entity(0, 2, "李雷", " ")], "the label of entity 1 of row 3 is empty"),
        ([{"start_idx": 0, "end_idx": 2, "entity_text": "李雷"}], "no field 'entity_label'"),
        ([entity(0, 2, "李雷", entity_names="x")], "field 'entity_names' of entity 1 of row 3"),
    ],
)
def test_wrong_entities_are_told(entities, found):
    assert found in said("ner", {"text": TEXT, "entities": entities})


@STEADY
@given(st.text(min_size=2, max_size=20).filter(str.strip), st.data())
def test_any_span_comes_back_from_the_answer(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    if not text[start:end].strip():
        return
    (line,) = answer(text, [entity(start, end, text[start:end])]).split("\n")
    assert json.loads(line) == {"entity_text": text[start:end], "entity_label": "人名"}

"""ner: `{"text", "entities": [{"start_idx", "end_idx", "entity_text", "entity_label", "entity_names"}]}`.

The answer is one JSON object a line, or the sentence that nothing was found.
"""

from __future__ import annotations

import json
from typing import Any

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    answer_of,
    bad_row,
    conversation_of,
    field_of,
    instructed,
    list_of,
    named,
    text_of,
    the_nearest,
    user,
)
from tunesmith.data.schema import Conversation, Place
from tunesmith.data.words import kind_of
from tunesmith.metrics.ner_f1 import NOTHING_FOUND

SHOWN = ("地点", "人名", "地理实体", "组织")
_CHINESE = {"LOC": "地点", "PER": "人名", "GPE": "地理实体", "ORG": "组织"}
INSTRUCTION = (
    f"你是一个文本实体识别领域的专家。请从用户给出的句子中找出{'、'.join(SHOWN)}这四类实体，"
    '每行输出一个 JSON 对象，格式为 {"entity_text": "南京", "entity_label": "地理实体"}，不要输出其他内容。'
    f"找不到任何实体时，只输出：{NOTHING_FOUND}"
)
_AN_ENTITY = 'an object such as {"start_idx": 0, "end_idx": 2, "entity_text": "南京", "entity_label": "GPE"}'


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """The instruction is the system's, the text the user's, the entities in the row's order are the answer.

    Raises:
        BadRow: a field is missing or of another type, or an entity does not stand where its offsets say.
    """
    text = answer_field(row, "text", place)
    what = named("entities", place)
    entities = list_of(field_of(row, "entities", place), what, place, "a list of entities")
    for number, entity in enumerate(entities, start=1):
        _must_be_an_entity(entity, f"entity {number} of row {place.row}", place)
    _must_stand_there(text, entities, place)
    lines = [
        json.dumps(
            {
                "entity_text": entity["entity_text"],
                "entity_label": _label(entity, f"entity {number} of row {place.row}", place),
            },
            ensure_ascii=False,
        )
        for number, entity in enumerate(entities, start=1)
    ]
    found = "\n".join(lines) if lines else NOTHING_FOUND
    return conversation_of((*instructed(source, INSTRUCTION), user(text), answer(found)), place)


def _must_be_an_entity(entity: Any, what: str, place: Place) -> None:
    if not isinstance(entity, dict):
        raise bad_row(f"{what} is {kind_of(entity)}", place, expected=_AN_ENTITY)
    for name in ("start_idx", "end_idx", "entity_text"):
        if name not in entity:
            raise bad_row(
                f"{what} has no field {name!r}", place, expected=_AN_ENTITY, remedy=the_nearest(name, entity)
            )
    answer_of(entity["entity_text"], f"the text of {what}", place)
    for name in ("start_idx", "end_idx"):
        if isinstance(entity[name], bool) or not isinstance(entity[name], int):
            raise bad_row(f"{name} of {what} is {kind_of(entity[name])}", place, expected="a whole number")


def _must_stand_there(text: str, entities: list[dict[str, Any]], place: Place) -> None:
    """Every entity stands at its offsets. The end is the first character behind it, or in the whole row its last."""

    def stands(entity: dict[str, Any], last: int) -> bool:
        start, end = entity["start_idx"], entity["end_idx"] + last
        return bool(0 <= start <= end <= len(text) and text[start:end] == entity["entity_text"])

    if all(stands(entity, 1) for entity in entities):
        return
    for number, entity in enumerate(entities, start=1):
        if not stands(entity, 0):
            start, end = max(0, entity["start_idx"]), max(0, entity["end_idx"])
            there = text[start:end]
            raise bad_row(
                f"entity {number} of row {place.row} is {entity['entity_text']!r}, but from character "
                f"{entity['start_idx']} to {entity['end_idx']} of the text stands {there if len(there) <= 60 else there[:57] + '...'!r}",
                place,
                expected="offsets that match the text",
                remedy=_where_it_stands(text, entity["entity_text"]),
            )


def _where_it_stands(text: str, entity: str) -> str:
    at = text.find(entity)
    if at < 0:
        return "the text does not hold it at all; correct the entity, or drop such rows with `on_bad_row: skip` under data"
    return (
        f"it stands from {at} to {at + len(entity)}; correct the offsets, or drop such rows with "
        "`on_bad_row: skip` under data"
    )


def _label(entity: dict[str, Any], what: str, place: Place) -> str:
    """The first shown name among the entity's names; else its tag, the English ones by their Chinese names."""
    names = entity.get("entity_names")
    if names is not None:
        listed = list_of(names, f"field 'entity_names' of {what}", place, "a list of strings")
        shown = next((name for name in SHOWN if name in listed), None)
        if shown is not None:
            return shown
    if "entity_label" not in entity:
        raise bad_row(
            f"{what} has no field 'entity_label'",
            place,
            expected=_AN_ENTITY,
            remedy=the_nearest("entity_label", entity),
        )
    label = text_of(entity["entity_label"], f"the label of {what}", place)
    if not label.strip():
        raise bad_row(f"the label of {what} is empty", place, expected="a label")
    return _CHINESE.get(label, label)


FORMAT = Format(
    name="ner",
    shape='{"text": "...", "entities": [{"start_idx": 0, "end_idx": 2, "entity_text": "...", "entity_label": "PER"}]}',
    fields=("text", "entities"),
    makes=Conversation,
    convert=convert,
)

"""sharegpt: `{"conversations": [{"from": "human", "value"}, {"from": "gpt", "value"}, ...]}`, `system` and `tools` beside.

vision: the same with the paths of pictures between vision markers, as the caption sets of Qwen2-VL have it.
"""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import Format, Row, conversation_of, field_of, has, with_system
from tunesmith.data.converters.images import VISION, pictures_of
from tunesmith.data.converters.judged import is_judged
from tunesmith.data.converters.tools import tools_of
from tunesmith.data.converters.turns import messages_of
from tunesmith.data.schema import Conversation, Place


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """The turns in order, behind the row's `system` if it has one.

    Raises:
        BadRow: a field is missing or of another type, a role is unknown, the roles are out of order, an answer is
            empty, or a picture cannot be used.
    """
    with pictures_of(row, place, source) as pictures:
        turns = messages_of(field_of(row, "conversations", place), "conversations", place, pictures)
    return conversation_of(with_system(row, turns, place), place, tools_of(row, place))


def _has_markers(row: Row) -> bool:
    turns = row["conversations"]
    if isinstance(turns, str):  # a CSV's JSON
        return VISION.search(turns) is not None
    said = (
        [turn.get("value", turn.get("content")) for turn in turns if isinstance(turn, dict)]
        if isinstance(turns, list)
        else []
    )
    return any(isinstance(text, str) and VISION.search(text) for text in said)


def _is_sharegpt(row: Row) -> bool:
    return has(row, "conversations") and not is_judged(row)


FORMAT = Format(
    name="sharegpt",
    shape='{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}',
    fields=("conversations",),
    others=("system", "system_prompt", "tools", "functions", "images", "image"),
    makes=Conversation,
    convert=convert,
    test=lambda row: _is_sharegpt(row) and not _has_markers(row),
)

VISION_FORMAT = Format(
    name="vision",
    shape='{"id": "1", "conversations": [{"from": "user", "value": "<|vision_start|>PATH<|vision_end|>"}, '
    '{"from": "assistant", "value": "..."}]}',
    fields=("conversations",),
    others=FORMAT.others,
    makes=Conversation,
    convert=convert,
    test=lambda row: _is_sharegpt(row) and _has_markers(row),
    id_field="id",
)

"""prompt: `{"prompt"}`, a question or a chat up to one, which the model itself is to answer while it learns."""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import Format, Row, answer_field, bad_row, has, has_all
from tunesmith.data.converters.images import pictures_of
from tunesmith.data.converters.prompt_completion import prompt_of
from tunesmith.data.converters.tools import tools_of
from tunesmith.data.schema import Place, Prompt

# With one of these a row says more than a prompt, and what is wrong with it another format tells.
_MORE = ("completion", "response", "output", "answer", "chosen", "rejected", "label")


def convert(row: Row, place: Place, source: Source) -> Prompt:
    """`prompt` is what the user says, or a list of messages; `reference`, where a row has it, what should be answered.

    Raises:
        BadRow: a field is missing or of another type, or the last turn is the assistant's.
    """
    with pictures_of(row, place, source) as pictures:
        messages = prompt_of(row, place, pictures)
    if not messages or messages[-1].role not in ("user", "tool"):
        raise bad_row(
            f"the prompt of row {place.row} does not end with a question",
            place,
            expected="a user's turn, or a tool's result, as the last one",
        )
    reference = answer_field(row, "reference", place) if has(row, "reference") else None
    return Prompt(messages, tuple(tools_of(row, place)), reference)


FORMAT = Format(
    name="prompt",
    shape='{"prompt": "..."}',
    fields=("prompt",),
    others=("reference", "system", "system_prompt", "tools", "functions", "images", "image"),
    makes=Prompt,
    convert=convert,
    is_part_of_others=True,
    test=lambda row: has_all(row, ("prompt",)) and not any(has(row, name) for name in _MORE),
)

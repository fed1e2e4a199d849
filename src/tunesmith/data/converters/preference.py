"""preference: `{"prompt", "chosen", "rejected"}`, a better and a worse answer to the same.

The sides are strings, messages or lists of messages; a list may hold the prompt too, which is then what both sides
begin with; in strings it is told by `Human:` and `Assistant:`. ms-swift's form, a chat and `rejected_response`, is read
as well, and OpenAI's, `input` with `preferred_output` and `non_preferred_output`.
"""

from __future__ import annotations

from typing import Any

from tunesmith.config.schema import Source
from tunesmith.data.converters import alpaca, dialogue, prompt_completion, query_response, question_answer
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    answer_of,
    bad_row,
    conversation_of,
    field_of,
    has,
    has_all,
    json_of,
    named,
    with_system,
)
from tunesmith.data.converters.images import Pictures, pictures_of
from tunesmith.data.converters.judged import ONLY_REJECTED, SIDES, is_preference
from tunesmith.data.converters.prompt_completion import context
from tunesmith.data.converters.tools import tools_of
from tunesmith.data.converters.turns import message_of, messages_of
from tunesmith.data.schema import Message, Pair, Place
from tunesmith.data.words import kind_of, quoted

Messages = tuple[Message, ...]
_INPUT = 'an object such as {"messages": [...], "tools": [...]}'
_PROMPTS = ("prompt", "instruction", "query", "conversations", "messages", "question")
_OPENAI = SIDES[-1]


def convert(row: Row, place: Place, source: Source) -> Pair:
    """The prompt carries no loss, both answers do.

    Raises:
        BadRow: a field is missing or of another type, a side is empty, the sides are the same or belong to different
            prompts, or the roles are out of order.
    """
    names = _names_of_sides(row)
    if names == _OPENAI:
        row = _opened(row, place)
    if names is None:
        prompt, chosen, rejected = _a_chat_and_the_worse(row, place, source)
        names = ("chosen", "rejected")
    else:
        prompt, chosen, rejected = _two_sides(row, names, place, source)
    if chosen == rejected:
        raise bad_row(
            f"{quoted(names[:1])} and {quoted(names[1:])} of row {place.row} are the same",
            place,
            expected="a better and a worse answer",
        )
    tools = tools_of(row, place)
    for side, name in ((chosen, names[0]), (rejected, names[1])):
        conversation_of((*prompt, *side), place, tools, side=f", with its {name!r} answer")
    return Pair(prompt, chosen, rejected, tools)


def _names_of_sides(row: Row) -> tuple[str, str] | None:
    """The fields of the sides; None where the better one is the chat's own end."""
    whole = next((names for names in SIDES if has_all(row, names)), None)
    if whole is not None or (not has(row, "chosen") and any(has(row, name) for name in ONLY_REJECTED)):
        return whole
    # One of them is missing; reading it says which.
    return next((names for names in SIDES if any(has(row, name) for name in names)), SIDES[0])


def _opened(row: Row, place: Place) -> Row:
    """A row of OpenAI's with the fields of its `input`, messages and tools, beside its other ones."""
    asked = field_of(row, "input", place)
    if isinstance(asked, str):
        asked = json_of(asked, named("input", place), place, _INPUT)
    if not isinstance(asked, dict) or asked.get("messages") is None:
        found = "has no messages" if isinstance(asked, dict) else f"is {kind_of(asked)}"
        raise bad_row(f"{named('input', place)} {found}", place, expected=_INPUT)
    given = {name: value for name, value in asked.items() if value is not None}
    return {**{name: value for name, value in row.items() if name not in ("input", *_PROMPTS)}, **given}


# ---- a side in each of two fields


def _two_sides(
    row: Row, names: tuple[str, str], place: Place, source: Source
) -> tuple[Messages, Messages, Messages]:
    row = _with_turns(row, names, place)
    whole = [_holds_its_prompt(field_of(row, name, place)) for name in names]
    if whole[0] != whole[1]:
        with_prompt, without = names if whole[0] else names[::-1]
        raise bad_row(
            f"{with_prompt!r} of row {place.row} begins with its prompt and {without!r} does not",
            place,
            expected="both sides in the same form",
        )
    if whole[0]:
        chosen, rejected = (_side_with_prompt(row, name, place, source) for name in names)
        prompt, chosen, rejected = _shared(chosen, rejected, names, place)
        _must_be_the_named_prompt(row, prompt, place, source)
        return with_system(row, prompt, place), chosen, rejected
    with pictures_of(row, place, source) as pictures:
        prompt = _explicit(row, place, source, pictures)
        chosen, rejected = (_side(row[name], name, place, pictures) for name in names)
    return prompt, chosen, rejected


def _with_turns(row: Row, names: tuple[str, str], place: Place) -> Row:
    """The row with lists of messages in place of two strings that hold their prompt; another row is left as it is."""
    sides = [field_of(row, name, place) for name in names]
    if not all(isinstance(side, str) for side in sides) or any(has(row, name) for name in _PROMPTS):
        return row
    turns = {name: dialogue.turns_of(side) for name, side in zip(names, sides, strict=True)}
    if not all(turns.values()):
        raise bad_row(
            f"row {place.row} has no prompt: its fields {quoted(names)} are strings that carry none",
            place,
            expected=f"one of the fields {quoted(_PROMPTS)}, or sides that begin with the prompt, as messages or as "
            '"\\n\\nHuman: ...\\n\\nAssistant: ..."',
            remedy="name the column that holds it, beside the file's `path`: `columns: {prompt: ...}`",
        )
    return {**row, **turns}


def _holds_its_prompt(side: Any) -> bool:
    """Whether a list of messages begins with somebody else's turn than the assistant's."""
    if not isinstance(side, list) or not side or not isinstance(side[0], dict):
        return False
    role = side[0].get("role", side[0].get("from"))
    return role in ("system", "developer", "user", "human")


def _side(value: Any, name: str, place: Place, pictures: Pictures) -> Messages:
    what = named(name, place)
    if isinstance(value, str):
        return (answer(answer_of(value, what, place)),)
    if isinstance(value, dict):
        return (message_of(value, what, place, pictures),)
    if isinstance(value, list):
        return messages_of(value, name, place, pictures)
    raise bad_row(f"{what} is {kind_of(value)}", place, expected="a string, a message or a list of messages")


def _side_with_prompt(row: Row, name: str, place: Place, source: Source) -> Messages:
    with pictures_of(row, place, source) as pictures:
        return messages_of(row[name], name, place, pictures)


def _shared(
    chosen: Messages, rejected: Messages, names: tuple[str, str], place: Place
) -> tuple[Messages, Messages, Messages]:
    """The messages that both sides begin with, and what each goes on with."""
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    if same == len(chosen) == len(rejected):  # the caller says that they are the same; an answer each is left
        same -= 1
    for side, name in ((chosen, names[0]), (rejected, names[1])):
        if same == len(side):
            raise bad_row(
                f"{name!r} of row {place.row} ends where the other side goes on",
                place,
                expected="an answer in each",
            )
        if side[same].role != "assistant":
            raise bad_row(
                f"message {same + 1} of {name!r} of row {place.row} is the {side[same].role}'s and differs from the "
                "other side's, so the prompts differ",
                place,
                expected="the same prompt on both sides",
            )
    return context(chosen[:same]), chosen[same:], rejected[same:]


def _must_be_the_named_prompt(row: Row, prompt: Messages, place: Place, source: Source) -> None:
    """A prompt beside sides that hold theirs too: UltraFeedback has a user's turn there, others have all messages."""
    value, pictures = row.get("prompt"), Pictures(row, place, source)
    if isinstance(value, str):
        asked = pictures.in_text(value)
        agrees = any(message.role == "user" and message.content == asked for message in prompt)
    elif isinstance(value, list) and value:
        messages = context(messages_of(value, "prompt", place, pictures))
        agrees = prompt[: len(messages)] == messages
    else:
        return
    if not agrees:
        raise bad_row(
            f"{named('prompt', place)} is not what the sides begin with",
            place,
            expected="the same prompt",
            remedy="drop the field, or name another with `columns` beside the file's `path`",
        )


def _explicit(row: Row, place: Place, source: Source, pictures: Pictures) -> Messages:
    """The prompt from the field that holds it."""
    name = next((name for name in _PROMPTS if has(row, name)), None)
    if name is None:
        raise bad_row(
            f"row {place.row} has no prompt; it has {quoted(row)}",
            place,
            expected=f"one of the fields {quoted(_PROMPTS)}, or sides that begin with the prompt",
        )
    if name == "prompt":
        return prompt_completion.prompt_of(row, place, pictures)
    if name == "instruction":
        return context(alpaca.prompt_of(row, place, source, pictures))
    if name == "query":
        return context(query_response.prompt_of(row, place, pictures))
    if name == "question":
        return question_answer.prompt_of(row, place, pictures)
    return with_system(row, context(messages_of(row[name], name, place, pictures)), place)


# ---- a chat, and the worse end of it


def _a_chat_and_the_worse(row: Row, place: Place, source: Source) -> tuple[Messages, Messages, Messages]:
    worse = next(name for name in ONLY_REJECTED if has(row, name))
    if worse == "rejected_messages":
        better = next((name for name in ("messages", "conversations") if name in row), "messages")
        return _two_sides(row, (better, worse), place, source)
    with pictures_of(row, place, source) as pictures:
        chat = _chat(row, place, source, pictures)
        if len(chat) < 2 or chat[-1].role != "assistant":
            raise bad_row(
                f"the chat of row {place.row} does not end with an answer",
                place,
                expected=f"the better answer last, as {worse!r} holds the worse one",
            )
        rejected = _side(row[worse], worse, place, pictures)
    return context(chat[:-1]), chat[-1:], rejected


def _chat(row: Row, place: Place, source: Source, pictures: Pictures) -> Messages:
    for name in ("messages", "conversations"):
        if name in row:
            return with_system(row, messages_of(row[name], name, place, pictures), place)
    if "query" in row:
        asked, said = query_response.prompt_of(row, place, pictures), "response"
    elif "question" in row:
        asked, said = question_answer.prompt_of(row, place, pictures), question_answer.answer_name(row)
    elif "instruction" in row:
        asked, said = alpaca.prompt_of(row, place, source, pictures), "output"
    else:
        asked, said = prompt_completion.prompt_of(row, place, pictures), "completion"
    return (*asked, answer(answer_field(row, said, place)))


FORMAT = Format(
    name="preference",
    shape='{"prompt": "...", "chosen": "...", "rejected": "..."}',
    fields=("chosen", "rejected"),
    others=(
        *_PROMPTS,
        *(name for names in SIDES[1:] for name in names),
        "input",
        "response",
        "output",
        "completion",
        "answer",
        "system",
        "system_prompt",
        "history",
        "tools",
        "functions",
        "images",
        "image",
    ),
    makes=Pair,
    convert=convert,
    test=is_preference,
)

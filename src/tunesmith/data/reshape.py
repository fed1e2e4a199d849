"""What a recipe asks of every conversation: which turns are learned, with or without thoughts, cut to a length."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tunesmith.data.schema import BadRow, Conversation, Message

# What a thinking model writes in front of its answer, where a row does not keep the two apart.
_INLINE_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
# A cut text keeps at least this many characters: less of a question is none.
_FEWEST_CHARACTERS = 8

Length = Callable[[Conversation], int]


def only_last_turn(conversation: Conversation) -> Conversation:
    """Loss on the last learned answer alone."""
    last = max(at for at, message in enumerate(conversation.messages) if message.loss)
    messages = (m if at == last else replace(m, loss=0.0) for at, m in enumerate(conversation.messages))
    return replace(conversation, messages=tuple(messages))


def weighted(conversation: Conversation, weight: float) -> Conversation:
    """Every answer's loss times `weight`."""
    return replace(
        conversation, messages=tuple(replace(m, loss=m.loss * weight) for m in conversation.messages)
    )


def has_thoughts(conversation: Conversation) -> bool:
    """Whether an answer holds what the assistant thought before it."""
    return any(m.thinking is not None or _inline_thought(m) is not None for m in conversation.messages)


def without_thoughts(conversation: Conversation) -> Conversation:
    """The answers alone.

    Raises:
        BadRow: an answer is nothing but a thought.
    """
    messages = []
    for message in conversation.messages:
        thought = _inline_thought(message)
        if thought is not None and isinstance(message.content, str):
            rest = message.content[thought.end() :]
            if not rest.strip() and not message.tool_calls:
                raise BadRow(
                    "an answer holds a thought and nothing else", expected="an answer behind `</think>`"
                )
            message = replace(message, content=rest)
        messages.append(replace(message, thinking=None))
    return replace(conversation, messages=tuple(messages))


def _inline_thought(message: Message) -> re.Match[str] | None:
    if message.role != "assistant" or not isinstance(message.content, str):
        return None
    return _INLINE_THOUGHT.match(message.content)


def split(conversation: Conversation, length: Length, limit: int) -> list[Conversation]:
    """The chat as several, each short enough and each with the system prompt; every answer is learned exactly once.

    Cuts fall in front of user turns only. An exchange that is too long by itself stays so.
    """
    head, exchanges = _exchanges(conversation)
    pieces: list[Conversation] = []
    held: list[Message] = []
    for exchange in exchanges:
        longer = replace(conversation, messages=(*head, *held, *exchange))
        if held and length(longer) > limit:
            pieces.append(replace(conversation, messages=(*head, *held)))
            held = []
        held += exchange
    pieces.append(replace(conversation, messages=(*head, *held)))
    return [piece for piece in pieces if any(message.loss for message in piece.messages)]


def truncated(conversation: Conversation, length: Length, limit: int) -> Conversation:
    """The chat within the limit: the oldest exchanges go first, then the end of the longest question
    (of its article, where the format says which part that is).

    Answers and pictures are never cut, nor the system prompt. Where that is not enough the chat stays too long.
    """
    head, exchanges = _exchanges(conversation)
    while len(exchanges) > 1 and length(conversation) > limit:
        exchanges = exchanges[1:]
        conversation = replace(
            conversation, messages=(*head, *(message for exchange in exchanges for message in exchange))
        )
    for at in _longest_questions_first(conversation):
        if length(conversation) <= limit:
            break
        conversation = _with_a_shorter(conversation, at, length, limit)
    return conversation


def _exchanges(conversation: Conversation) -> tuple[list[Message], list[list[Message]]]:
    """The system prompt, and the turns in groups that begin with a user's."""
    messages = list(conversation.messages)
    head = messages[:1] if messages[0].role == "system" else []
    exchanges: list[list[Message]] = []
    for message in messages[len(head) :]:
        if message.role == "user" and (not exchanges or exchanges[-1][-1].role == "assistant"):
            exchanges.append([])
        if not exchanges:
            exchanges.append([])
        exchanges[-1].append(message)
    return head, exchanges


def _longest_questions_first(conversation: Conversation) -> Iterator[int]:
    asked = [at for at, message in enumerate(conversation.messages) if message.role in ("user", "tool")]
    yield from sorted(asked, key=lambda at: (-_cuttable_characters(conversation.messages[at]), at))


def _with_a_shorter(conversation: Conversation, at: int, length: Length, limit: int) -> Conversation:
    """The chat with as much of one question as fits."""
    message = conversation.messages[at]

    def cut(characters: int) -> Conversation:
        messages = (*conversation.messages[:at], _cut(message, characters), *conversation.messages[at + 1 :])
        return replace(conversation, messages=messages)

    whole = _cuttable_characters(message)
    if whole <= _FEWEST_CHARACTERS:
        return conversation
    if length(cut(_FEWEST_CHARACTERS)) > limit:
        return cut(_FEWEST_CHARACTERS)
    fits, too_many = _FEWEST_CHARACTERS, whole
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if length(cut(middle)) <= limit:
            fits = middle
        else:
            too_many = middle
    return cut(fits)


def _cuttable_characters(message: Message) -> int:
    """How many characters of a message there are to cut from: its article, or the longest text among its pictures."""
    if isinstance(message.content, str):
        start, end = message.article or (0, len(message.content))
        return end - start
    return max((len(part) for part in message.content if isinstance(part, str)), default=0)


def _cut(message: Message, characters: int) -> Message:
    """The message with the first so many of these characters; what stands around them stays."""
    content = message.content
    if isinstance(content, str):
        start, end = message.article or (0, len(content))
        kept = content[: start + characters] + content[end:]
        return replace(message, content=kept, article=message.article and (start, start + characters))
    lengths = [len(part) if isinstance(part, str) else -1 for part in content]
    longest = lengths.index(max(lengths))
    parts = (
        part[:characters] if at == longest and isinstance(part, str) else part
        for at, part in enumerate(content)
    )
    return replace(message, content=tuple(parts))

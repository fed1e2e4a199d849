"""What a recipe asks of every conversation: which turns are learned, with or without thoughts, cut to a length."""

from __future__ import annotations

import re
from collections.abc import Callable
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


def evenly(conversation: Conversation) -> Conversation:
    """Loss on the last answer, with weight 1: where every token is learned, a message's own weight says nothing."""
    last = max(at for at, message in enumerate(conversation.messages) if message.role == "assistant")
    messages = (replace(m, loss=float(at == last)) for at, m in enumerate(conversation.messages))
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


def split(
    conversation: Conversation, length: Length, limit: int, *, keep_all: bool = False
) -> list[Conversation]:
    """The chat as several, each short enough and each with the system prompt; every answer is learned exactly once.

    Cuts fall in front of user turns only. An exchange that is too long by itself stays so.

    Args:
        keep_all: prompts are learned too: a piece without an answer to learn stays, and the last answer of each
            piece carries loss, so that no tokens are left behind it. Else such a piece is dropped.
    """
    head, exchanges = _exchanges(conversation)
    pieces: list[Conversation] = []

    def oldest(count: int) -> Conversation:
        return _of_exchanges(conversation, head, exchanges[:count])

    while exchanges:
        taken = _most(1, len(exchanges), lambda count: length(oldest(count)) <= limit)
        pieces.append(oldest(taken))
        exchanges = exchanges[taken:]
    if keep_all:
        weight = next((m.loss for m in reversed(conversation.messages) if m.loss), 1.0)
        return [_with_a_learned_end(piece, weight) for piece in pieces]
    return [piece for piece in pieces if any(message.loss for message in piece.messages)]


def _with_a_learned_end(piece: Conversation, weight: float) -> Conversation:
    """The piece with loss on its last answer, where there is one."""
    last = max((at for at, m in enumerate(piece.messages) if m.role == "assistant"), default=None)
    if last is None or piece.messages[last].loss:
        return piece
    ended = replace(piece.messages[last], loss=weight)
    return replace(piece, messages=(*piece.messages[:last], ended, *piece.messages[last + 1 :]))


def truncated(conversation: Conversation, length: Length, limit: int) -> Conversation:
    """The chat within the limit: the oldest exchanges go first, then the end of the longest question
    (of its article, where the format says which part that is).

    Answers and pictures are never cut, nor the system prompt. Where that is not enough the chat stays too long.
    """
    head, exchanges = _exchanges(conversation)

    def newest(count: int) -> Conversation:
        return _of_exchanges(conversation, head, exchanges[len(exchanges) - count :])

    kept = _most(1, len(exchanges), lambda count: length(newest(count)) <= limit)
    shorter = newest(kept)
    return shorter if kept > 1 or length(shorter) <= limit else _with_cut_questions(shorter, length, limit)


def _most(least: int, most: int, fits: Callable[[int], bool]) -> int:
    """The greatest number from `least` to `most` that fits; `least` is taken for granted.

    Small numbers are asked about first, in growing steps: what is long is slow to render.
    """
    step = 1
    while least < most:
        tried = min(most, least + step)
        if not fits(tried):
            most = tried - 1
            break
        least, step = tried, step * 2
    while least < most:
        middle = (least + most + 1) // 2
        if fits(middle):
            least = middle
        else:
            most = middle - 1
    return least


def _of_exchanges(
    conversation: Conversation, head: list[Message], exchanges: list[list[Message]]
) -> Conversation:
    return replace(conversation, messages=(*head, *(m for exchange in exchanges for m in exchange)))


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


def _with_cut_questions(conversation: Conversation, length: Length, limit: int) -> Conversation:
    """The chat with as much of its questions as fits; the longest are cut first."""
    sizes = {
        at: _cuttable_characters(message)
        for at, message in enumerate(conversation.messages)
        if message.role in ("user", "tool")
    }
    order = sorted((at for at, size in sizes.items() if size > _FEWEST_CHARACTERS), key=lambda at: -sizes[at])
    if not order:
        return conversation

    def cut(whole: int, characters: int = _FEWEST_CHARACTERS) -> Conversation:
        """All but the `whole` shortest questions cut, the last of them to so many characters."""
        shortened = order[: len(order) - whole]
        messages = list(conversation.messages)
        for at in shortened:
            messages[at] = _cut(messages[at], characters if at == shortened[-1] else _FEWEST_CHARACTERS)
        return replace(conversation, messages=tuple(messages))

    whole = _most(0, len(order) - 1, lambda count: length(cut(count)) <= limit)
    longest = sizes[order[len(order) - whole - 1]] - 1
    return cut(whole, _most(_FEWEST_CHARACTERS, longest, lambda count: length(cut(whole, count)) <= limit))


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

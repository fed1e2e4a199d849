"""Preference pairs between a row and its tokens: one root, the prompt, with two children, the better and the worse."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.data.reshape import Length, truncated
from tunesmith.data.schema import (
    BadRow,
    Conversation,
    Converted,
    Labelled,
    Pair,
    Prompt,
    Stretch,
    Strip,
    Text,
)


def conversations_of(value: Converted) -> tuple[Conversation, ...]:
    """The chats that a row is rendered as: none of a text or a prompt, two of a pair, the better one first."""
    if isinstance(value, Text | Prompt):
        return ()
    if isinstance(value, Labelled):
        return (value.conversation,)
    if isinstance(value, Pair):
        return tuple(
            Conversation((*value.prompt, *side), value.tools) for side in (value.chosen, value.rejected)
        )
    return (value,)


def with_sides(pair: Pair, chosen: Conversation, rejected: Conversation) -> Pair:
    """The pair whose chats, message for message, were changed into these.

    Raises:
        BadRow: both answers became the same.
    """
    begin = len(pair.prompt)
    if chosen == rejected:
        raise BadRow(
            "without what the assistant thought, the chosen and the rejected answer are the same",
            expected="a better and a worse answer",
        )
    return Pair(chosen.messages[:begin], chosen.messages[begin:], rejected.messages[begin:], pair.tools)


def truncated_pair(pair: Pair, length: Length, limit: int) -> Pair:
    """The pair within the limit: what `truncated` leaves of the prompt of the longer side is the prompt of both."""
    sides = conversations_of(pair)
    longer = max(range(2), key=lambda side: length(sides[side]))
    answers = len((pair.chosen, pair.rejected)[longer])
    cut = truncated(sides[longer], length, limit).messages
    prompt = cut[: len(cut) - answers]
    return Pair(prompt, pair.chosen, pair.rejected, pair.tools) if prompt else pair


def joined(chosen: Sequence[Strip], rejected: Sequence[Strip]) -> tuple[Strip, Strip, Strip]:
    """Two rendered chats as a tree: what both begin with, up to the first token with loss, stands once.

    Raises:
        BadRow: a side is no single sequence, the sides have no token in common, or all.
    """
    for name, strips in (("chosen", chosen), ("rejected", rejected)):
        if len(strips) > 1:
            raise BadRow(
                f"the template writes earlier turns of the {name} side anew for later answers, so that the side is "
                f"{len(strips)} sequences",
                expected="one sequence a side",
                remedy="learn the last answer alone: `loss_on: last_turn` under data",
            )
    better, worse = chosen[0], rejected[0]
    if list(better.tokens) == list(worse.tokens):
        raise BadRow(
            "the chosen and the rejected answer are the same tokens", expected="a better and a worse answer"
        )
    most = min(better.stretches[0].start, worse.stretches[0].start)
    common = next((at for at in range(most) if better.tokens[at] != worse.tokens[at]), most)
    # A picture is never cut: behind the last token that both have, it may go on.
    cut = (p.start for p in better.pictures if p.start < common < p.start + p.length)
    common = min(cut, default=common)
    if not common:
        raise BadRow("the prompts of the chosen and the rejected answer have no token in common")
    pictures = tuple(picture for picture in better.pictures if picture.start < common)
    root = Strip(better.tokens[:common], (), None, pictures)
    return root, _behind(better, common), _behind(worse, common)


def _behind(strip: Strip, begin: int) -> Strip:
    """What follows the first `begin` tokens, as a child of them."""
    return Strip(
        strip.tokens[begin:],
        tuple(Stretch(start - begin, end - begin, weight) for start, end, weight in strip.stretches),
        0,
        tuple(picture.moved(-begin) for picture in strip.pictures if picture.start >= begin),
    )

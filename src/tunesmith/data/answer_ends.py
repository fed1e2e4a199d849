"""Where an answer ends: what a template writes behind it, and which token of that stops generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any, NamedTuple

from tunesmith.data.chat_text import PROBE_CALL, ChatText
from tunesmith.data.encode import Encoder
from tunesmith.data.schema import BadRow, Message, ToolCall

# An answer that no template changes and no user writes; what stands behind it in a rendering is the tail.
_PROBE = "tunesmithProbeOfTheTail"
_OTHER_CALL = ToolCall("tunesmithOtherProbe", {"other": "way"}, "probe90818")


class Stop(NamedTuple):
    """The token that ends an answer: how many times it stands in the tail, and the character where it does first."""

    token: int
    times: int
    at: int | None


@dataclass(frozen=True, eq=False)
class AnswerEnds:
    """The ends of a template's answers.

    Args:
        encoder: the tokenizer.
        chat: the template at work.
        end_ids: the model's end tokens.
        opening: a chat that waits for an answer, as usual as they come.
    """

    encoder: Encoder
    chat: ChatText
    end_ids: frozenset[int]
    opening: Sequence[Message]
    _stops: dict[str, Stop | None] = field(default_factory=dict, init=False, repr=False)

    def tail(
        self, history: Sequence[Message], message: Message, full: str, tools: Sequence[dict[str, Any]]
    ) -> str:
        """What the template writes behind the content of the last answer in `full`."""
        if message.tool_calls:
            # Another call in its place ends alike; what both end with is the template's, but for a bracket or two.
            other = Message("assistant", message.content, 1.0, message.thinking, (PROBE_CALL,))
            return self._from_stop(_common_end(full, self.chat.of([*history, other], False, tools)))
        if full.endswith(self.usual_tail):
            return self.usual_tail
        tail = self._tail_after(history)
        if not full.endswith(tail):
            raise BadRow("the chat template ends this answer unlike any other, so its end cannot be told")
        return tail

    @cached_property
    def written(self) -> tuple[int, ...]:
        """What the template writes behind a chat's last answer from its stop token on, often with a line break; empty
        where it writes no stop token."""
        stop = self.stop_in(self.usual_tail)
        if stop is None:
            return ()
        ids = self.encoder.ids(self.chat.of([*self.opening, Message("assistant", _PROBE, 1.0)], False))
        return tuple(ids[position_of(stop, ids) :])

    @cached_property
    def call_stop(self) -> Stop | None:
        """The token that ends an answer with a call; None where the template knows no calls, or ends them with none."""
        call = Message("assistant", "", 1.0, tool_calls=(_OTHER_CALL,))
        try:
            full = self.chat.of([*self.opening, call], False)
            return self.stop_in(self.tail(self.opening, call, full, ())) if _OTHER_CALL.name in full else None
        except BadRow:
            return None

    def _from_stop(self, end: str) -> str:
        """The end of a call from its stop token on: the first end token, else the last special token, else nothing."""
        ids = self.encoder.ids(end)
        ends = [token for token in ids if token in self.end_ids]
        special = [token for token in ids if token in self.encoder.special_ids]
        if not ends and not special:
            return ""
        added = self.encoder.tokenizer.added_tokens_decoder.get(ends[0] if ends else special[-1])
        if added is None:
            return end
        return end[end.find(added.content) if ends else end.rfind(added.content) :]

    @cached_property
    def usual_tail(self) -> str:
        return self._tail_after(self.opening)

    def _tail_after(self, history: Sequence[Message]) -> str:
        rendered = self.chat.of([*history, Message("assistant", _PROBE, 1.0)], False)
        _, probe, tail = rendered.rpartition(_PROBE)
        if not probe:
            raise BadRow("the chat template does not write what the assistant says")
        return tail

    def stop_in(self, tail: str) -> Stop | None:
        """The token that ends the answer: where generation stops, at the tail's first end token.

        Where the tail has none, a special token right behind the content serves; generation is told of it by
        `stop_ids`.
        """
        if tail not in self._stops:
            ids = self.encoder.ids(tail)
            stop = next((token for token in ids if token in self.end_ids), None)
            if stop is None:
                behind = next(
                    (token for token in ids if self.encoder.tokenizer.decode([token]).strip()), None
                )
                stop = behind if behind in self.encoder.special_ids else None
            self._stops[tail] = None if stop is None else self._place_of_stop(stop, ids, tail)
        return self._stops[tail]

    def _place_of_stop(self, token: int, ids: list[int], tail: str) -> Stop:
        added = self.encoder.tokenizer.added_tokens_decoder.get(token)
        at = -1 if added is None else tail.find(added.content)
        return Stop(token, ids.count(token), None if at < 0 else at)


def position_of(stop: Stop, answer: list[int]) -> int:
    """Where the stop token stands in an answer with its tail: counted from the end, for the content may hold it too.

    Raises:
        BadRow: it is not there.
    """
    times = stop.times
    for at in range(len(answer) - 1, -1, -1):
        times -= answer[at] == stop.token
        if not times:
            return at
    raise BadRow(
        "the stop token that the chat template writes is lost in tokenisation, so the answer's end cannot be told"
    )


def _common_end(one: str, other: str) -> str:
    """The longest text that both end with."""
    same = sum(
        1
        for _ in takewhile(lambda pair: pair[0] == pair[1], zip(reversed(one), reversed(other), strict=False))
    )
    return one[len(one) - same :]

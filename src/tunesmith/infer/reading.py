"""From a reply's tokens back to a message: what the template writes around thoughts and answers is taken off again.

How a template writes an answer is found by rendering probes as for training:

    shown at inference   <|start|>assistant
    a probe              <|channel|>analysis<|message|>THOUGHT<|end|><|start|>assistant<|channel|>final<|message|>ANSWER
    the lead             <|channel|>analysis<|message|>
    between                                                 <|end|><|start|>assistant<|channel|>final<|message|>

So the message, rendered again, gives the tokens that were generated: the next prompt shows the model what it wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Message
from tunesmith.errors import InputError

_ASKED = (Message("user", "Hi", 0.0),)
# Letters that every tokenizer knows and none writes otherwise.
_ANSWER, _THOUGHT = "tunesmithprobeofananswer", "tunesmithprobeofathought"
# A special token stands in a text as its number between two characters that no decoded text holds.
_SPECIAL = re.compile("\ud800([0-9]+)\udfff")
_SPECIAL_TEXT = "\ud800%d\udfff"


class Read(NamedTuple):
    """What a reply says: a thought, if it has one, and the answer behind it; None: the thought is not over."""

    thinking: str | None
    answer: str | None


class ReplyReader:
    """Reads replies to the prompts of one renderer."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self.tokenizer: Any = renderer.tokenizer
        self.special = renderer.encoder.special_ids

    def message(self, tokens: Sequence[int], *, ended: bool) -> Message:
        """A reply as it goes into the history; special tokens that the template has no part in keep their names.

        Args:
            tokens: what was generated, without the stop token.
            ended: whether the model ended the reply by itself.
        """
        read = self._whole(tokens, ended)
        thinking = None if read.thinking is None else self._named(read.thinking)
        return Message("assistant", self._named(read.answer or ""), 0.0, thinking)

    def text(self, tokens: Sequence[int], *, ended: bool) -> str:
        """The answer as users see it, without special tokens; of a reply that is cut off in its thought, the thought."""
        read = self._whole(tokens, ended)
        return _bare(read.answer if read.answer is not None else read.thinking or "")

    def shown(self, tokens: Sequence[int], *, ended: bool | None = None) -> str:
        """Thought and answer as users see them while they come; more tokens only ever add to it.

        Args:
            ended: None: more tokens may come, and what may turn out to be the template's is held back.
        """
        read = self._so_far(self._spelled(tokens)) if ended is None else self._whole(tokens, ended)
        thinking, answer = _bare(read.thinking or ""), _bare(read.answer or "")
        return f"{thinking}\n\n{answer}" if thinking and answer else thinking + answer

    def _whole(self, tokens: Sequence[int], ended: bool) -> Read:
        text = self._spelled(tokens)
        if ended:
            text = text.removesuffix(self._answer[1])
        thought = self._thought
        if thought is not None and (opening := thought.lead.match(text)):
            rest = text[opening.end() :]
            closing = thought.between.search(rest)
            if closing is not None:
                return Read(rest[: closing.start()] or None, rest[closing.end() :])
            # Where the prompt opens the thought, a model that ends its turn without closing it has just answered.
            return Read(None, rest) if ended and thought.opened_by_the_prompt else Read(rest, None)
        opening = self._answer[0].match(text)
        return Read(None, text[opening.end() :] if opening else text)

    def _so_far(self, text: str) -> Read:
        lead, tail = self._answer
        text = text[: len(text) - _overlap(text, [tail])]
        thought = self._thought
        if thought is not None:
            if opening := thought.lead.match(text):
                rest = text[opening.end() :]
                closing = thought.between.search(rest)
                if closing is not None:
                    return Read(rest[: closing.start()] or None, rest[closing.end() :])
                return Read(rest[: len(rest) - _overlap(rest, thought.between.variants)], None)
            if thought.lead.may_begin_with(text):
                return Read(None, None)
        if opening := lead.match(text):
            return Read(None, text[opening.end() :])
        return Read(None, None if lead.may_begin_with(text) else text)

    # --- how the template writes an answer ---------------------------------------------------------------------

    @cached_property
    def _answer(self) -> tuple[_Fixed, str]:
        """What the template writes in front of an answer, and between it and the stop token."""
        lead, found, tail = self._written(Message("assistant", _ANSWER, 1.0)).partition(_ANSWER)
        return _Fixed(lead if found else ""), tail

    @cached_property
    def _thought(self) -> _Thought | None:
        """None: the template writes no thoughts."""
        text = self._written(Message("assistant", _ANSWER, 1.0, _THOUGHT))
        lead, thought, rest = text.partition(_THOUGHT)
        between, answer, _ = rest.partition(_ANSWER)
        if not (thought and answer and between.strip()):
            return None
        return _Thought(_Fixed(lead), _Fixed(between), not lead.strip())

    def _written(self, message: Message) -> str:
        """What the model must generate to give this message, up to the stop token; empty where the template does not write such a one."""
        try:
            (*_, piece) = self.renderer.sample(Conversation((*_ASKED, message)))
            return self._spelled(piece.tokens[len(self.renderer.prompt(_ASKED)) : -1])
        except InputError:
            return ""

    # --- tokens as text ----------------------------------------------------------------------------------------

    @cached_property
    def _anchor(self) -> tuple[list[int], str]:
        """A token to stand in front of others: some tokenizers take a blank off whatever they decode first."""
        anchor = self.renderer.encoder.ids("a")[-1:]
        return anchor, self._decoded(anchor)

    def _decoded(self, tokens: list[int]) -> str:
        text: str = self.tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
        return text

    def _spelled(self, tokens: Sequence[int]) -> str:
        anchor, before = self._anchor
        parts = []
        for special, run in groupby(tokens, key=self.special.__contains__):
            if special:
                parts += [_SPECIAL_TEXT % token for token in run]
            else:
                parts.append(self._decoded([*anchor, *run])[len(before) :])
        return "".join(parts)

    def _named(self, text: str) -> str:
        return _SPECIAL.sub(lambda match: self._decoded([int(match[1])]), text)


def _bare(text: str) -> str:
    return _SPECIAL.sub("", text)


class _Fixed:
    """What a template always writes in one place. Models are not strict about the blanks at its ends."""

    def __init__(self, text: str) -> None:
        core = text.strip()
        before, _, after = text.partition(core) if core else (text, "", "")
        self.variants = [before[at:] + core + after for at in range(len(before) + 1)]
        self._pattern = re.compile(_optional(before) + re.escape(core) + _optional(after))

    def match(self, text: str) -> re.Match[str] | None:
        """It at the beginning of a text."""
        return self._pattern.match(text)

    def search(self, text: str) -> re.Match[str] | None:
        """It in a text, with the blanks at its ends that belong to it."""
        return self._pattern.search(text)

    def may_begin_with(self, text: str) -> bool:
        """Whether a text may go on as it."""
        return any(variant.startswith(text) for variant in self.variants)


class _Thought(NamedTuple):
    """What a template writes around a thought: in front of it, and between it and the answer."""

    lead: _Fixed
    between: _Fixed
    opened_by_the_prompt: bool


def _overlap(text: str, openings: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of one of these."""
    longest = min(len(text), max(map(len, openings)))
    return next((n for n in range(longest, 0, -1) if any(o.startswith(text[-n:]) for o in openings)), 0)


def _optional(blanks: str) -> str:
    return "".join(f"(?:{re.escape(blank)})?" for blank in blanks)

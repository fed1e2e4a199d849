"""A speaker: a model that answers, with the prompt built exactly as in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tunesmith.config.schema import Generation
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Message
from tunesmith.models.generate import generate


@dataclass(frozen=True)
class Reply:
    """An answer: its text, how many tokens it took, and whether the model ended it by itself."""

    text: str
    tokens: int
    ended: bool


@dataclass(frozen=True)
class Speaker:
    """A model, and the renderer that turns turns into its prompt."""

    model: nn.Module
    renderer: Renderer
    title: str  # what the user would call it, such as `runs/poetry-nano` or `builtin:nano`

    def reply(
        self,
        conversations: Sequence[Sequence[Message]],
        options: Generation,
        *,
        first_number: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        """Answer each conversation, whose last turn is the user's.

        Args:
            first_number: the number of the first conversation; draws depend on it and on the seed.
            on_text: called with each new piece of text as it comes; for a single conversation only.
        """
        tokenizer: Any = self.renderer.tokenizer
        stream = None if on_text is None else _Stream(tokenizer, on_text)
        answers = generate(
            self.model,
            [self.renderer.prompt(messages) for messages in conversations],
            options,
            self.renderer.stop_ids,
            first_number=first_number,
            on_token=None if stream is None else lambda _, token: stream.take(token),
        )
        if stream is not None:
            stream.finish()
        return [
            Reply(
                tokenizer.decode(list(answer.tokens), skip_special_tokens=True),
                len(answer.tokens),
                answer.ended,
            )
            for answer in answers
        ]

    def answer(
        self,
        questions: Sequence[str],
        options: Generation,
        *,
        system: str | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        """Answer single questions, under `system` instead of the recipe's system prompt if it is given."""
        first = [] if system is None else [Message("system", system, 0.0)]
        turns = [[*first, Message("user", question, 0.0)] for question in questions]
        return self.reply(turns, options, on_text=on_text)


class _Stream:
    """Text of a growing list of tokens; half a character waits for its other half."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        self.tokenizer, self.on_text = tokenizer, on_text
        self.tokens: list[int] = []
        self.shown = ""

    def take(self, token: int) -> None:
        self.tokens.append(token)
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        if not text.endswith("�"):
            self.show(text)

    def show(self, text: str) -> None:
        if len(text) > len(self.shown):
            self.on_text(text[len(self.shown) :])
            self.shown = text

    def finish(self) -> None:
        self.show(self.tokenizer.decode(self.tokens, skip_special_tokens=True))

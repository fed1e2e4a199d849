"""A speaker: a model that answers, with the prompt built exactly as in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from tunesmith.config.method import Generation
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Message
from tunesmith.infer.pictures import Question
from tunesmith.infer.reading import ReplyReader
from tunesmith.infer.shelf import Voice
from tunesmith.models.generate import generate
from tunesmith.models.vision import Eyes


@dataclass(frozen=True)
class Reply:
    """An answer: its text, how many tokens it took, and whether the model ended it by itself.

    `message` is what goes into the conversation, with the thought apart; None: the reply is known from a file alone.
    """

    text: str
    tokens: int
    ended: bool
    message: Message | None = None


@dataclass(frozen=True)
class Speaker:
    """A model, and the renderer that turns turns into its prompt."""

    model: nn.Module
    renderer: Renderer
    title: str  # what the user would call it, such as `runs/poetry-nano` or `builtin:nano`
    voice: Voice = nullcontext  # in it the model speaks as this speaker, where several share one base
    eyes: Eyes | None = None  # where the pixels of pictures come from; None: it reads none

    @cached_property
    def _reader(self) -> ReplyReader:
        return ReplyReader(self.renderer)

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
            on_text: called with each new piece of text as it comes, thoughts included; for a single conversation only.
        """
        read = self._reader
        prompts = [self.renderer.prompt(messages) for messages in conversations]
        pictures = [
            self.renderer.pictures_in(prompt, [image for message in messages for image in message.images])
            for prompt, messages in zip(prompts, conversations, strict=True)
        ]
        stream = None if on_text is None else _Stream(read, on_text)
        with self.voice():
            answers = generate(
                self.model,
                prompts,
                options,
                self.renderer.stop_ids,
                pictures=pictures,
                eyes=self.eyes,
                first_number=first_number,
                on_token=None if stream is None else lambda _, token: stream.take(token),
            )
        if stream is not None:
            stream.finish(ended=answers[0].ended)
        return [
            Reply(
                read.text(answer.tokens, ended=answer.ended),
                len(answer.tokens),
                answer.ended,
                read.message(answer.tokens, ended=answer.ended),
            )
            for answer in answers
        ]

    def answer(
        self,
        questions: Sequence[Question],
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

    def __init__(self, reader: ReplyReader, on_text: Callable[[str], None]) -> None:
        self.reader, self.on_text = reader, on_text
        self.tokens: list[int] = []
        self.shown = ""

    def take(self, token: int) -> None:
        self.tokens.append(token)
        text = self.reader.shown(self.tokens)
        if not text.endswith("�"):
            self.show(text)

    def show(self, text: str) -> None:
        if len(text) > len(self.shown):
            self.on_text(text[len(self.shown) :])
            self.shown = text

    def finish(self, *, ended: bool) -> None:
        self.show(self.reader.shown(self.tokens, ended=ended))

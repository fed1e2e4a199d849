"""Rendering: messages -> tokens, and which of them carry loss.

The loss falls on exactly what the model must generate. That is found from the roles: the chat so far is rendered once
as the model is shown it when it is to answer, and once with the answer in it; what the second has more than the first
is the answer with its stop token.

    shown at inference   <|user|>\\nHi</s>\\n<|assistant|>\\n
    with the answer      <|user|>\\nHi</s>\\n<|assistant|>\\nHello!</s>\\n
    carries loss                                          ^^^^^^^^^^
    the tail, behind the content                                ^^^^^^

No marker string is ever searched for: answers may hold any text, the stop token's own included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jinja2 import TemplateError, TemplateSyntaxError

from tunesmith.data.readers.file import decode_utf8, must_be_a_file, read_bytes
from tunesmith.data.schema import BadRow, Conversation, Message
from tunesmith.errors import InputError
from tunesmith.segments import Piece, Tree

# An answer that no template changes and no user writes; what stands behind it in a rendering is the tail.
_PROBE = "tunesmithProbeOfTheTail"
# Text in front of which a tokenizer can be asked how it goes on in mid-text; none joins with everything.
_ANCHORS = ("a", ".", "1", "\n", "。")


def read_template(path: str) -> str:
    """The chat template in a file.

    Raises:
        InputError: there is no such file, or it is not UTF-8.
    """
    file = Path(path)
    try:
        must_be_a_file(file)
        return decode_utf8(read_bytes(file), file)
    except InputError as error:
        error.where = f"data.template: {error.where}"
        raise


class Tokenizer(Protocol):
    """What is asked of a transformers tokenizer."""

    @property
    def chat_template(self) -> str | dict[str, str] | None: ...

    @property
    def eos_token_id(self) -> int | None: ...

    @property
    def added_tokens_decoder(self) -> dict[int, Any]: ...

    def encode(self, text: str, *, add_special_tokens: bool, verbose: bool) -> list[int]: ...

    def decode(self, token_ids: list[int]) -> str: ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        chat_template: str | None,
        tokenize: bool,
        add_generation_prompt: bool,
    ) -> str: ...


class Rendered(NamedTuple):
    """A rendered conversation. `rewritten`: the template did not write an answer to be learned as it was given."""

    tree: Tree
    rewritten: bool


class Span(NamedTuple):
    """Neighbouring tokens of one weight, as text; weight 0 carries no loss."""

    text: str
    weight: float


class _Stop(NamedTuple):
    """The token that ends an answer, and how many times it stands in the tail, itself the first."""

    token: int
    times: int


class _Turn(NamedTuple):
    """One answer as the model meets it: the tokens it is shown, and those it must generate.

    `stopped`: the last token of `answer` is the stop token that the template writes.
    """

    context: list[int]
    answer: list[int]
    weight: float
    stopped: bool
    rewritten: bool


@dataclass(frozen=True, eq=False)
class Renderer:
    """The one way from messages to tokens: training, evaluation, chat and server all ask this class.

    Args:
        tokenizer: a transformers tokenizer.
        template: a chat template (Jinja) instead of the tokenizer's own.
        system: the system prompt of conversations that have none.
        end_ids: the model's end tokens; the tokenizer's own end token is added to them.
    """

    tokenizer: Tokenizer
    template: str | None = None
    system: str | None = None
    end_ids: frozenset[int] = frozenset()
    _stops: dict[str, _Stop | None] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        own = self.tokenizer.eos_token_id
        if own is not None:
            object.__setattr__(self, "end_ids", self.end_ids | {own})

    # --- what the model is shown -------------------------------------------------------------------------------

    def text(self, messages: Sequence[Message], generation: bool) -> str:
        """The chat as text; `generation` adds what the template puts in front of an answer.

        Raises:
            InputError: there is no chat template, or it is no valid Jinja.
            BadRow: the template refuses these messages.
        """
        if self.template is None and self.tokenizer.chat_template is None:
            raise InputError(
                "the model brings no chat template, so conversations cannot be rendered",
                remedy="name a file with one as data.template in the recipe, or use a chat (instruct) model",
            )
        try:
            return self.tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in messages],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=generation,
            )
        except TemplateSyntaxError as error:
            which = "data.template" if self.template is not None else "the model's chat template"
            raise InputError(
                f"the chat template is no valid Jinja: {error.message}", where=f"{which}:{error.lineno}"
            ) from error
        except (
            TemplateError,
            TypeError,
            ValueError,
        ) as error:  # the last two: what Python says to the template's code
            raise BadRow(f"the chat template refuses the conversation: {error}") from error

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens the model is shown when it is to answer: system prompt, chat, generation prompt.

        Chat templates write the beginning-of-text token themselves, so the tokenizer adds none.

        Raises:
            InputError, BadRow: as `text`.
        """
        return self._encode(self.text(self._with_system(messages), generation=True))

    def text_ids(self, text: str) -> list[int]:
        """Plain text for pre-training: what the tokenizer puts around any text, and the end token.

        Raises:
            InputError: the model has no end token.
        """
        ids = self.tokenizer.encode(text, add_special_tokens=True, verbose=False)
        return ids if ids and ids[-1] == self.end_id else [*ids, self.end_id]

    def _with_system(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self.system is None or (messages and messages[0].role == "system"):
            return messages
        return (Message("system", self.system, 0.0), *messages)

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False, verbose=False)

    # --- what carries loss -------------------------------------------------------------------------------------

    def sample(self, conversation: Conversation) -> Tree:
        """The conversation's tokens with their loss weights. See `rendered`."""
        return self.rendered(conversation).tree

    def rendered(self, conversation: Conversation) -> Rendered:
        """Render a conversation for training.

        Turns share a piece as long as each later prompt begins with the tokens trained so far. Where it does not —
        the template rewrites history, or writes no stop token and goes on with something else — the next answer gets
        a root of its own, with its context exactly as at inference.

        Raises:
            InputError: there is no usable template, or no end token to append.
            BadRow: the template refuses the conversation, or renders it in a way no loss span can be found in. It
                has no place; the caller knows it.
        """
        messages = self._with_system(conversation.messages)
        turns = [self._turn(messages, at) for at, message in enumerate(messages) if message.loss]
        roots: list[Piece] = []
        weights: list[float] = []  # of the open piece
        for turn, following in zip(turns, [*turns[1:], None], strict=True):
            tokens = [*turn.context, *turn.answer]
            weights += [0.0] * (len(turn.context) - len(weights)) + [turn.weight] * len(turn.answer)
            if not turn.stopped:
                tokens.append(self._stop_after(tokens, following))
                weights.append(turn.weight)
            if following is None or following.context[: len(tokens)] != tokens:
                roots.append(Piece(tuple(tokens), tuple(weights)))
                weights = []
        return Rendered(tuple(roots), any(turn.rewritten for turn in turns))

    def _turn(self, messages: Sequence[Message], at: int) -> _Turn:
        message = messages[at]
        shown = self.text(messages[:at], generation=True)
        full = self.text(messages[: at + 1], generation=False)
        tail = self._tail(messages[:at], full)
        if not full.startswith(shown) or len(full) - len(tail) <= len(shown):
            raise BadRow(
                "the chat template renders a finished answer differently from what it shows the model before the "
                f"answer ({_end_of(shown)!r}), so what the model must generate cannot be told",
                remedy="name a template as data.template that opens an answer the way it writes finished ones "
                "(such as one without a thinking block)",
            )
        body = full[: len(full) - len(tail)]
        stop = self._stop_in(tail)
        trained = body if stop is None else full
        context, ids = self._encode(shown), self._encode(trained)
        # A token that straddles the boundary does not exist at inference, where the prompt is encoded alone.
        straddles = ids[: len(context)] != context
        answer = self._encode_mid_text(trained[len(shown) :]) if straddles else ids[len(context) :]
        if stop is not None:
            answer = answer[: _position_of(stop, answer) + 1]
        return _Turn(
            context, answer, message.loss, stop is not None, message.content not in body[len(shown) :]
        )

    def _tail(self, history: Sequence[Message], full: str) -> str:
        """What the template writes behind the content of the last answer in `full`."""
        if full.endswith(self._usual_tail):
            return self._usual_tail
        tail = self._tail_after(history)
        if not full.endswith(tail):
            raise BadRow("the chat template ends this answer unlike any other, so its end cannot be told")
        return tail

    @cached_property
    def _usual_tail(self) -> str:
        return self._tail_after(self._with_system([Message("user", "Hi", 0.0)]))

    def _tail_after(self, history: Sequence[Message]) -> str:
        rendered = self.text([*history, Message("assistant", _PROBE, 1.0)], generation=False)
        _, probe, tail = rendered.rpartition(_PROBE)
        if not probe:
            raise BadRow("the chat template does not write what the assistant says")
        return tail

    def _stop_in(self, tail: str) -> _Stop | None:
        """The token that ends the answer: where generation stops, at the tail's first end token.

        Where the tail has none, a special token right behind the content serves; generation is told of it by
        `stop_ids`.
        """
        if tail not in self._stops:
            ids = self._encode(tail)
            stop = next((token for token in ids if token in self.end_ids), None)
            if stop is None:
                behind = next((token for token in ids if self.tokenizer.decode([token]).strip()), None)
                stop = behind if behind in self._special_ids else None
            self._stops[tail] = None if stop is None else _Stop(stop, ids.count(stop))
        return self._stops[tail]

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(
            token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special
        )

    def _stop_after(self, tokens: list[int], following: _Turn | None) -> int:
        """The stop token of an answer behind which the template writes none.

        In mid-conversation the next token may be one: glm-4's answers end where `<|user|>` begins, and `<|user|>` is
        among its end tokens. Everywhere else the model's end token is appended.
        """
        if (
            following is not None
            and following.context[: len(tokens)] == tokens
            and len(following.context) > len(tokens)
        ):
            following_token = following.context[len(tokens)]
            if following_token in self.end_ids:
                return following_token
        return self.end_id

    def _encode_mid_text(self, text: str) -> list[int]:
        """Encode text that continues other text: some tokenizers put a blank in front of what they are given."""
        for anchor in _ANCHORS:
            before, ids = self._encode(anchor), self._encode(anchor + text)
            if ids[: len(before)] == before:
                return ids[len(before) :]
        return self._encode(text)

    # --- what to tell others -----------------------------------------------------------------------------------

    @property
    def end_id(self) -> int:
        """The model's end token: the tokenizer's, else the first of `end_ids`.

        Raises:
            InputError: there is none.
        """
        own = self.tokenizer.eos_token_id
        if own is not None:
            return own
        if not self.end_ids:
            raise InputError(
                "the model has no end token: its tokenizer names none, nor does its generation configuration",
                remedy="set eos_token in the model's tokenizer_config.json",
            )
        return min(self.end_ids)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens at which a generated answer is over: the end tokens, and the stop token that the template writes.

        Raises:
            InputError, BadRow: as `text`.
        """
        stop = self._stop_in(self._usual_tail)
        return self.end_ids if stop is None else self.end_ids | {stop.token}

    def notes(self) -> tuple[str, ...]:
        """What a user should know about how this template and these tokens are trained.

        Raises:
            InputError, BadRow: as `text`.
        """
        notes = []
        stop = self._stop_in(self._usual_tail)
        if stop is None:
            end = self.tokenizer.decode([self.end_id])
            notes.append(
                f"the template writes no stop token after an assistant turn; the end token {end} is appended and trained"
            )
        elif stop.token not in self.end_ids:
            notes.append(
                f"the template ends an assistant turn with {self.tokenizer.decode([stop.token])}, which is not among the "
                "model's end tokens; it is trained, and answers stop at it"
            )
        if "strftime_now" in self._template_text:
            notes.append("the template writes today's date into the prompt, so the tokens depend on the day")
        return tuple(notes)

    def spans(self, tree: Tree) -> list[list[Span]]:
        """A sample as text, a list a piece: which parts carry loss, with what weight."""
        return [
            [
                Span(self.tokenizer.decode([token for token, _ in run]), weight)
                for weight, run in groupby(
                    zip(piece.tokens, piece.weights, strict=True), key=lambda pair: pair[1]
                )
            ]
            for piece in tree
        ]

    @property
    def _template_text(self) -> str:
        """The template in force; several named ones as one text."""
        template = self.template if self.template is not None else self.tokenizer.chat_template
        return template if isinstance(template, str) else json.dumps(template, sort_keys=True)

    def fingerprint(self) -> str:
        """SHA-256 over the template, the system prompt, the end tokens and the tokens of a small fixed chat.

        Two sides with the same fingerprint show the model the same tokens.

        Raises:
            InputError, BadRow: as `text`, but for a model without a template plain text is taken.
        """
        chat = [
            Message("user", "Hello, 你好 👋", 0.0),
            Message("assistant", "Hi!\n", 1.0),
            Message("user", " 1 + 1?", 0.0),
        ]
        has_template = self.template is not None or self.tokenizer.chat_template is not None
        ids = self.prompt(chat) if has_template else self.text_ids(chat[0].content)
        parts = [self._template_text, self.system, sorted(self.end_ids), ids]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _position_of(stop: _Stop, answer: list[int]) -> int:
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


def _end_of(text: str) -> str:
    """The last line of a prompt, enough to recognise it."""
    return text.rstrip("\n").rpartition("\n")[2][-60:] + text[len(text.rstrip("\n")) :]

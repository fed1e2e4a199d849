"""Rendering: messages -> tokens, and which of them carry loss.

The loss falls on exactly what the model must generate. That is found from the roles: the chat so far is rendered once
as the model is shown it when it is to answer, and once with the answer in it; what the second has more than the first
is the answer with its stop token.

    shown at inference   <|user|>\\nHi</s>\\n<|assistant|>\\n
    with the answer      <|user|>\\nHi</s>\\n<|assistant|>\\nHello!</s>\\n
    carries loss                                          ^^^^^^^^^^
    the tail, behind the content                                ^^^^^^

No marker string is ever searched for: answers may hold any text, the stop token's own included.

A row takes one of two ways from text to tokens, and both give the same. The exact way encodes each prompt and each
answer by itself. The quick way encodes the whole chat once, many chats together, and reads the boundaries off it; it
is taken where it can be seen to give what the exact way would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import groupby
from typing import Any

from tunesmith.data.answer_ends import AnswerEnds, position_of
from tunesmith.data.chat_text import ChatText, ImageTokens, template_text
from tunesmith.data.encode import Encoder, Encoding, Tokenizer
from tunesmith.data.placing import placed, with_pictures
from tunesmith.data.rendered import Outline, Rendered, Span, Turn, TurnIds
from tunesmith.data.schema import BadRow, Conversation, Image, Message, Stretch, Strip
from tunesmith.data.written import must_be_shown, must_be_written, must_keep_thoughts
from tunesmith.errors import InputError
from tunesmith.segments import Picture, Tree

_LONGEST_OPENING = 64  # tokens between the last special token of a prompt and its end
_MOST_OPENINGS = 4096


@dataclass(frozen=True, eq=False)
class Renderer:
    """The one way from messages to tokens: training, evaluation, chat and server all ask this class.

    Args:
        tokenizer: a transformers tokenizer.
        template: a chat template (Jinja) instead of the tokenizer's own.
        system: the system prompt of conversations that have none.
        end_ids: the model's end tokens; the tokenizer's own end token is added to them.
        control_tokens: "text": special tokens' strings in messages are plain text; "tokens": they are the tokens.
        images: how pictures stand in the prompt; None: the model reads none.
        blind: why there are no `images`.
        everything: every token of a conversation carries loss, prompts too.
        control: the tokens that the template is written with, where it is known: see `notes`.
        day: what a template that writes today's date takes for today.
    """

    tokenizer: Tokenizer
    template: str | None = None
    system: str | None = None
    end_ids: frozenset[int] = frozenset()
    control_tokens: str = "text"
    images: ImageTokens | None = None
    everything: bool = False
    control: tuple[str, ...] = ()
    day: date = field(default_factory=date.today)
    blind: str = "the model reads none"
    _openings: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        own = self.tokenizer.eos_token_id
        if own is not None:
            object.__setattr__(self, "end_ids", self.end_ids | {own})

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer as this renderer uses it."""
        return Encoder(self.tokenizer, self.control_tokens, self._template_text)

    @cached_property
    def _chat(self) -> ChatText:
        return ChatText(self.encoder, self.template, self.images, self.blind, self.day)

    @cached_property
    def _ends(self) -> AnswerEnds:
        opening = self._with_system([Message("user", "Hi", 0.0)])
        return AnswerEnds(self.encoder, self._chat, self.end_ids, opening)

    # --- what the model is shown -------------------------------------------------------------------------------

    def text(
        self, messages: Sequence[Message], generation: bool, tools: Sequence[dict[str, Any]] = ()
    ) -> str:
        """The chat as text; `generation` adds what the template puts in front of an answer.

        Raises:
            InputError: there is no chat template, or it is no valid Jinja.
            BadRow: the template refuses these messages.
        """
        return self.encoder.unmark(self._chat.of(messages, generation, tools))

    def prompt(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """The tokens the model is shown when it is to answer: system prompt, chat, generation prompt.

        Chat templates write the beginning-of-text token themselves, so the tokenizer adds none.

        Raises:
            InputError, BadRow: as `text`.
        """
        return self.encoder.ids(self._chat.of(self._with_system(messages), True, tools))

    def text_ids(self, text: str) -> list[int]:
        """Plain text for pre-training: what the tokenizer puts around any text, and the end token.

        Raises:
            InputError: the model has no end token.
        """
        return self._ended(self.encoder.document_ids(text))

    def many_text_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As `text_ids`, many texts together."""
        return [self._ended(ids) for ids in self.encoder.many_documents(texts)]

    def _ended(self, ids: list[int]) -> list[int]:
        return ids if ids and ids[-1] == self.end_id else [*ids, self.end_id]

    def _with_system(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self.system is None or (messages and messages[0].role == "system"):
            return messages
        return (Message("system", self.system, 0.0), *messages)

    # --- what carries loss -------------------------------------------------------------------------------------

    def sample(self, conversation: Conversation) -> Tree:
        """The conversation's tokens with their loss weights. See `rendered`."""
        return self.rendered(conversation).tree

    def rendered(self, conversation: Conversation) -> Rendered:
        """Render a conversation for training, the exact way.

        Turns share a piece as long as each later prompt begins with the tokens trained so far. Where it does not —
        the template rewrites history, or writes no stop token and goes on with something else — the next answer gets
        a root of its own, with its context exactly as at inference.

        Raises:
            InputError: there is no usable template, or no end token to append.
            BadRow: the template refuses the conversation, or renders it in a way no loss span can be found in. It
                has no place; the caller knows it.
        """
        return self.finish(self.outline(conversation), None)

    def outline(self, conversation: Conversation) -> Outline:
        """The first half of rendering: the texts. `finish` is the second.

        Raises:
            InputError, BadRow: as `rendered`.
        """
        messages = self._with_system(conversation.messages)
        learned = [at for at, message in enumerate(messages) if message.loss]
        if not learned:
            raise BadRow(
                "no answer is to be learned", expected="an assistant's message with a weight above 0"
            )
        if self.everything:
            learned = learned[-1:]
        turns = tuple(self._turn(messages, at, conversation.tools) for at in learned)
        joint = turns[-1].full
        if self.everything:
            must_keep_thoughts(messages, joint, self.encoder.mark)
        pictures = tuple(image for message in messages[: learned[-1] + 1] for image in message.images)
        if self.encoder.is_marked(joint):
            return Outline(turns, None, True, pictures)
        for turn in turns:
            stop = self._ends.stop_in(turn.tail)
            if stop is None or stop.at is None or not joint.startswith(turn.full):
                return Outline(turns, None, False, pictures)
        return Outline(turns, joint, False, pictures)

    def finish(self, outline: Outline, encoding: Encoding | None) -> Rendered:
        """The second half: the tokens. `encoding` is that of `outline.joint`, where it has one.

        Raises:
            InputError, BadRow: as `rendered`.
        """
        quick = None if encoding is None else self._quick(outline.turns, encoding)
        rendered = quick or self._exact(outline.turns)
        if self.images is None:
            return rendered
        strips = (with_pictures(s, self.pictures_in(s.tokens, outline.pictures)) for s in rendered.strips)
        return rendered._replace(strips=tuple(strips))

    def _turn(self, messages: Sequence[Message], at: int, tools: Sequence[dict[str, Any]]) -> Turn:
        message = messages[at]
        shown = self._chat.of(messages[:at], True, tools)
        full = self._chat.of(messages[: at + 1], False, tools)
        must_be_shown(messages[:at], shown, tools, self.encoder.mark)
        if not full.startswith(shown):
            full = self._as_if_unthought(messages, at, shown, tools) or full
        tail = self._ends.tail(messages[:at], message, full, tools)
        if full.startswith(shown):
            must_be_written(message, full[len(shown) :], self.encoder.mark)
        if not full.startswith(shown) or len(full) - len(tail) <= len(shown):
            raise BadRow(
                "the chat template renders a finished answer differently from what it shows the model before the "
                f"answer ({_end_of(shown)!r}), so what the model must generate cannot be told",
                remedy="name a template as data.template that opens an answer the way it writes finished ones, such as "
                "one without a thinking block (`tunesmith recipes templates` lists those there are; for DeepSeek R1 it "
                "is deepseek-r1)",
            )
        turn = Turn(shown, full, tail, message.loss, False)
        answer = turn.body[len(shown) :]
        said = self._chat.as_dict(message)["content"]
        texts = [said] if isinstance(said, str) else [part.get("text", "") for part in said]
        return turn._replace(rewritten=any(text not in answer for text in texts))

    def _as_if_unthought(
        self, messages: Sequence[Message], at: int, shown: str, tools: Sequence[dict[str, Any]]
    ) -> str | None:
        """The finished answer behind `shown`, where finishing the turn takes earlier thoughts of it out of the text.

        GPT-OSS shows what was thought before a call until the final answer is there. What the answer is does not
        hang on these thoughts: it is read off a chat without them.
        """
        history = [
            replace(m, thinking=None, content="" if m.tool_calls else m.content) for m in messages[:at]
        ]
        prompt = self._chat.of(history, True, tools)
        finished = self._chat.of([*history, messages[at]], False, tools)
        return shown + finished[len(prompt) :] if finished.startswith(prompt) else None

    def _exact(self, turns: Sequence[Turn]) -> Rendered:
        spelled = [self._turn_ids(turn) for turn in turns]
        strips: list[Strip] = []
        stretches: list[Stretch] = []  # of the open strip
        for turn, following in zip(spelled, [*spelled[1:], None], strict=True):
            tokens = [*turn.context, *turn.answer]
            if not turn.stopped:
                tokens.append(self._stop_after(tokens, following))
            start = 0 if self.everything else len(turn.context)
            stretches.append(Stretch(start, len(tokens), turn.weight))
            if following is None or following.context[: len(tokens)] != tokens:
                strips.append(Strip(tokens, tuple(stretches)))
                stretches = []
        return Rendered(tuple(strips), any(turn.rewritten for turn in turns))

    def _turn_ids(self, turn: Turn) -> TurnIds:
        stop = self._ends.stop_in(turn.tail)
        trained = turn.body if stop is None else turn.full
        context = self.encoder.ids(turn.shown)
        if self.encoder.is_marked(trained):
            answer = self.encoder.ids_in_mid_text(trained[len(turn.shown) :])
        else:
            ids = self.encoder.ids(trained)
            # A token that straddles the boundary does not exist at inference, where the prompt is encoded alone.
            straddles = ids[: len(context)] != context
            answer = (
                self.encoder.ids_in_mid_text(trained[len(turn.shown) :]) if straddles else ids[len(context) :]
            )
        if stop is not None:
            answer = answer[: position_of(stop, answer) + 1]
        return TurnIds(context, answer, turn.weight, stop is not None)

    def _quick(self, turns: Sequence[Turn], encoding: Encoding) -> Rendered | None:
        """The tokens by the boundaries in one encoding of the whole, or None where these are not surely right."""
        ids = encoding.ids
        stretches = []
        end = 0
        for turn in turns:
            start = encoding.char_to_token(len(turn.shown))
            stop = self._ends.stop_in(turn.tail)
            if start is None or stop is None or stop.at is None:
                return None
            begins = encoding.token_to_chars(start)
            if begins is None or begins[0] != len(turn.shown):
                return None
            if not self._stands_alone(turn.shown, ids, start, encoding):
                return None
            last = encoding.char_to_token(len(turn.full) - len(turn.tail) + stop.at)
            if last is None or last < start or ids[last] != stop.token:
                return None
            end = last + 1
            stretches.append(Stretch(0 if self.everything else start, end, turn.weight))
        return Rendered((Strip(ids[:end], tuple(stretches)),), any(turn.rewritten for turn in turns))

    def _stands_alone(self, shown: str, ids: list[int], start: int, encoding: Encoding) -> bool:
        """Whether the prompt's tokens in the whole are those of the prompt alone.

        Special tokens cut the text before anything else does, so only what stands behind the last of them has to be
        compared: the template's opening of an answer, the same few tokens in every row.
        """
        special = self.encoder.special_ids
        for at in range(start - 1, max(-1, start - 1 - _LONGEST_OPENING), -1):
            if ids[at] in special:
                begins = encoding.token_to_chars(at)
                if begins is None:
                    return False
                opening = shown[begins[0] :]
                if opening not in self._openings:
                    if len(self._openings) >= _MOST_OPENINGS:
                        self._openings.clear()
                    self._openings[opening] = self.encoder.ids(opening)
                return self._openings[opening] == ids[at:start]
        return self.encoder.ids(shown) == ids[:start]

    # --- pictures ----------------------------------------------------------------------------------------------

    @cached_property
    def picture_id(self) -> int | None:
        """The token that stands for pictures; None: the model reads none."""
        if self.images is None:
            return None
        added = self.tokenizer.added_tokens_decoder
        return next((token for token, kind in added.items() if kind.content == self.images.token), None)

    def pictures_in(self, tokens: Sequence[int], images: Sequence[Image]) -> tuple[Picture, ...]:
        """Where the pictures of a chat stand in its tokens; tokens that end before some of them have the others.

        Raises:
            BadRow: the token that stands for pictures is where no picture is.
        """
        if self.images is None or self.picture_id is None or self.picture_id not in tokens:
            return ()
        return placed(tokens, images, self.picture_id, self.images)

    # --- where nothing ends it ---------------------------------------------------------------------------------

    def _stop_after(self, tokens: list[int], following: TurnIds | None) -> int:
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

    # --- what to tell others -----------------------------------------------------------------------------------

    @property
    def ending(self) -> tuple[int, ...]:
        """What a whole chat ends with: the stop token of its last answer, and what the template writes behind that.

        Raises:
            InputError, BadRow: as `text`.
        """
        return self._ends.written or (self.end_id,)

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
        """The tokens at which a generated answer is over: the end tokens, and those that the template ends it with.

        Raises:
            InputError, BadRow: as `text`.
        """
        stops = (self._ends.stop_in(self._ends.usual_tail), self._ends.call_stop)
        return self.end_ids | {stop.token for stop in stops if stop is not None}

    def notes(self) -> tuple[str, ...]:
        """What a user should know about how this template and these tokens are trained.

        Raises:
            InputError, BadRow: as `text`.
        """
        notes = []
        stop = self._ends.stop_in(self._ends.usual_tail)
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
        unknown = [name for name in self.control if name not in self.encoder.special_names]
        if unknown:
            notes.append(
                f"the template writes {', '.join(unknown)}, which are no special tokens of this tokenizer: they are "
                "trained as ordinary text, and the same text in a message can pass for them"
            )
        if self._chat.is_dated:
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
        return template_text(self.tokenizer, self.template)

    def settings(self) -> list[Any]:
        """All that rendering depends on besides the tokenizer, as JSON values."""
        return [
            self._template_text,
            self.system,
            sorted(self.end_ids),
            self.control_tokens,
            self.images.fingerprint if self.images else None,
            self.everything,
            self.tokenizer.eos_token_id,
            {name: str(token) for name, token in getattr(self.tokenizer, "special_tokens_map", {}).items()},
            self.day.isoformat() if self._chat.is_dated else None,
        ]

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
        ids = self.prompt(chat) if has_template else self.text_ids(chat[0].text)
        parts = [self._template_text, self.system, sorted(self.end_ids), self.control_tokens, ids]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _end_of(text: str) -> str:
    """The last line of a prompt, enough to recognise it."""
    return text.rstrip("\n").rpartition("\n")[2][-60:] + text[len(text.rstrip("\n")) :]

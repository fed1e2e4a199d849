"""Messages -> text, by the model's own chat template.

The text is not yet what a reader sees: strings of special tokens in messages are marked (see encode.py), and each
picture stands as often as the model's tokens for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Protocol

from jinja2 import TemplateError, TemplateSyntaxError
from transformers.utils import chat_template_utils

from tunesmith.data.encode import Encoder, Tokenizer
from tunesmith.data.schema import BadRow, Image, Message, ToolCall
from tunesmith.errors import InputError

# A call that no row makes.
_COMPARED_FIRST = 8
_ESCAPED_MARK = "\\U000f"  # a mark as Python's repr writes it
_MOST_DICTS = 64  # a row's messages are rendered several times in a row
PROBE_CALL = ToolCall("tunesmithProbeOfACall", {"probe": 90817}, "probe90817")


class ImageTokens(Protocol):
    """How a model's prompt holds a picture: the token that a template writes once, and how often it has to stand."""

    @property
    def token(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def count(self, image: Image) -> int: ...


def template_text(tokenizer: Tokenizer, template: str | None) -> str:
    """The template in force; several named ones as one text."""
    text = template if template is not None else tokenizer.chat_template
    return text if isinstance(text, str) else json.dumps(text, sort_keys=True)


@dataclass(frozen=True, eq=False)
class ChatText:
    """A chat template at work.

    Args:
        encoder: marks the strings of special tokens.
        template: a chat template instead of the tokenizer's own.
        images: how pictures stand in the prompt; None: the model reads none.
        blind: why there are no `images`.
        day: today, for templates that write the date.
    """

    encoder: Encoder
    template: str | None
    images: ImageTokens | None
    blind: str
    day: date
    _compared: list[int | None] = field(default_factory=lambda: [0], init=False, repr=False)
    _dicts: dict[int, tuple[Message, dict[str, Any]]] = field(default_factory=dict, init=False, repr=False)

    def of(self, messages: Sequence[Message], generation: bool, tools: Sequence[dict[str, Any]] = ()) -> str:
        """The chat as text; `generation` adds what the template puts in front of an answer.

        Raises:
            InputError: there is no chat template, or it is no valid Jinja.
            BadRow: the template refuses these messages, or does not write their pictures.
        """
        if self.template is None and self.encoder.tokenizer.chat_template is None:
            raise InputError(
                "the model brings no chat template, so conversations cannot be rendered",
                remedy="name one as data.template in the recipe (`tunesmith recipes templates` lists those there are; "
                "a Jinja file serves too), or use a chat (instruct) model",
            )
        pictures = [picture for message in messages for picture in message.images]
        if pictures and self.images is None:
            raise InputError(
                f"there are pictures to be shown, and {self.blind}",
                remedy="take a vision model that is known here as model.source, such as Qwen/Qwen2-VL-2B-Instruct",
            )
        try:
            chat = [self.as_dict(message) for message in messages]
            marked_tools = [self._marked(tool) for tool in tools] or None
            text = self._direct(chat, generation, marked_tools)
            if text is None:
                text = self._by_transformers(chat, generation, marked_tools)
        except TemplateSyntaxError as error:
            which = "data.template" if self.template is not None else "the model's chat template"
            raise InputError(
                f"the chat template is no valid Jinja: {error.message}", where=f"{which}:{error.lineno}"
            ) from error
        # The last three: what Python says to the template's code.
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            raise BadRow(f"the chat template refuses the conversation: {error}") from error
        if tools and _ESCAPED_MARK in text:
            raise BadRow(
                "the chat template writes the tools as Python does, which loses a special token's string in them",
                remedy="take the string out of the tools, or set `control_tokens: tokens` under data",
            )
        return self._with_pictures(text, pictures) if pictures else text

    def _by_transformers(
        self, chat: list[dict[str, Any]], generation: bool, tools: list[dict[str, Any]] | None
    ) -> str:
        return self.encoder.tokenizer.apply_chat_template(
            chat,
            tools=tools,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=generation,
        )

    def _direct(
        self, chat: list[dict[str, Any]], generation: bool, tools: list[dict[str, Any]] | None
    ) -> str | None:
        """The same from the compiled template itself, in half the time; None where that cannot be had.

        transformers and Jinja prepare anew for each chat what depends on the template alone. The first few chats go both
        ways; should they ever differ, all take the long one. A template that writes the date takes this way always,
        with the day that was settled for the run.
        """
        if self._compiled is None or self._compared[0] is None:
            return None
        template, variables = self._compiled
        text: str = template.render(
            messages=chat, tools=tools, documents=None, add_generation_prompt=generation, **variables
        )
        if self._compared[0] < _COMPARED_FIRST and not self.is_dated:
            same = text == self._by_transformers(chat, generation, tools)
            self._compared[0] = self._compared[0] + 1 if same else None
            return text if same else None
        return text

    @cached_property
    def is_dated(self) -> bool:
        """Whether the template writes today's date into the prompt."""
        return "strftime_now" in template_text(self.encoder.tokenizer, self.template)

    @cached_property
    def _compiled(self) -> tuple[Any, dict[str, Any]] | None:
        """The template as transformers compiles it, and the variables that it gives every template."""
        compile_template = getattr(chat_template_utils, "_compile_jinja_template", None)
        variables = getattr(self.encoder.tokenizer, "special_tokens_map", None)
        text = self.template if self.template is not None else self.encoder.tokenizer.chat_template
        if compile_template is None or not isinstance(text, str) or not isinstance(variables, dict):
            return None
        template = compile_template(text).environment.from_string(text)
        # Jinja copies the globals for each rendering, a chain of dictionaries ten times as slowly as one.
        template.globals = dict(template.globals) | {"strftime_now": self.day.strftime}
        return template, variables

    def as_dict(self, message: Message) -> dict[str, Any]:
        """A message as transformers' templates expect it."""
        known = self._dicts.get(id(message))
        if known is None or known[0] is not message:
            if len(self._dicts) >= _MOST_DICTS:
                self._dicts.clear()
            known = self._dicts[id(message)] = (message, self._as_dict(message))
        return known[1]

    def _as_dict(self, message: Message) -> dict[str, Any]:
        if isinstance(message.content, str) and not self._knows_parts_alone:
            content: Any = self.encoder.mark(message.content, message.role)
        else:
            parts = (message.content,) if isinstance(message.content, str) else message.content
            content = [
                {"type": "text", "text": self.encoder.mark(part, message.role)}
                if isinstance(part, str)
                else {"type": "image"}
                for part in parts
            ]
        value: dict[str, Any] = {"role": message.role, "content": content}
        if message.thinking is not None:
            # Families have their own name for it; none reads two of them.
            thinking = self.encoder.mark(message.thinking, "assistant")
            value |= {"reasoning_content": thinking, "reasoning": thinking, "thinking": thinking}
        if message.tool_calls:
            value["tool_calls"] = [self._call_as_dict(call) for call in message.tool_calls]
        if message.name is not None:
            value["name"] = self.encoder.mark(message.name)
        if message.call_id is not None:
            value["tool_call_id"] = self.encoder.mark(message.call_id)
        return value

    @cached_property
    def _knows_parts_alone(self) -> bool:
        """Whether the template passes over content that is a text, and writes the same as a list of parts."""
        text = "tunesmithProbeOfParts"
        return [text in self._of_user(content) for content in (text, [{"type": "text", "text": text}])] == [
            False,
            True,
        ]

    def _of_user(self, content: Any) -> str:
        try:
            return self.encoder.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                tools=None,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except (TemplateError, TypeError, ValueError, LookupError):
            return ""

    def _call_as_dict(self, call: ToolCall) -> dict[str, Any]:
        arguments = self._marked(call.arguments)
        if call is not PROBE_CALL and self._arguments_as_text:
            arguments = json.dumps(arguments, ensure_ascii=False)
        value = {
            "type": "function",
            "function": {"name": self.encoder.mark(call.name), "arguments": arguments},
        }
        return value if call.id is None else {**value, "id": self.encoder.mark(call.id)}

    @cached_property
    def _arguments_as_text(self) -> bool:
        """Whether the template wants a call's arguments as JSON text: given an object it fails, or prints Python."""
        call = Message("assistant", "", 1.0, tool_calls=(PROBE_CALL,))
        try:
            text = self.of([Message("user", "Hi"), call], False)
        except BadRow:
            return True
        return str(PROBE_CALL.arguments) in text

    def _marked(self, value: Any) -> Any:
        """A JSON value with all its strings marked."""
        if isinstance(value, str):
            return self.encoder.mark(value)
        if isinstance(value, dict):
            return {self.encoder.mark(key): self._marked(part) for key, part in value.items()}
        return [self._marked(part) for part in value] if isinstance(value, list) else value

    def _with_pictures(self, text: str, pictures: Sequence[Image]) -> str:
        """The text with each picture's token as often as the picture needs it."""
        assert self.images is not None
        token = self.images.token
        parts = text.split(token)
        if len(parts) - 1 != len(pictures):
            raise BadRow(
                f"the chat template writes {len(parts) - 1} pictures ({token}), the conversation holds {len(pictures)}"
            )
        shown = [token * self._tokens_of(picture) for picture in pictures]
        return parts[0] + "".join(a + b for a, b in zip(shown, parts[1:], strict=True))

    def _tokens_of(self, picture: Image) -> int:
        assert self.images is not None
        try:
            return self.images.count(picture)
        except ValueError as error:
            raise BadRow(
                f"the model's image processor refuses a picture of {picture.width} x {picture.height}: {error}"
            ) from error

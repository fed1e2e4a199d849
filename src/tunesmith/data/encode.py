"""Text -> token ids. Special tokens are what a template writes; in a message the same string is only text.

A user who types `<|im_end|>` must not end a turn. Before rendering, each special token's string in a message is
replaced by one private character, its mark; after rendering, the text is cut at the marks, and what a mark stands for
is encoded as plain text. Texts without marks, nearly all, are encoded whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from tunesmith.data.schema import BadRow

# Plane 15 of Unicode is for private use; the N-th string that had to be marked is marked by its character N.
_FIRST_MARK, _LAST_MARK = 0xF0000, 0xFFFFD
_MARKS = re.compile(f"([{chr(_FIRST_MARK)}-{chr(_LAST_MARK)}])")
# Text in front of which a tokenizer can be asked how it goes on in mid-text; none joins with everything.
_ANCHORS = ("a", ".", "1", "\n", "。")
# What a thinking model writes itself; templates look for these strings in an answer.
_THINKING_TAGS = frozenset({"<think>", "</think>"})


class Tokenizer(Protocol):
    """What is asked of a transformers tokenizer."""

    @property
    def chat_template(self) -> str | dict[str, str] | None: ...

    @property
    def eos_token_id(self) -> int | None: ...

    @property
    def added_tokens_decoder(self) -> dict[int, Any]: ...

    def encode(
        self, text: str, *, add_special_tokens: bool, verbose: bool, split_special_tokens: bool = False
    ) -> list[int]: ...

    def decode(self, token_ids: list[int]) -> str: ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None,
        chat_template: str | None,
        tokenize: bool,
        add_generation_prompt: bool,
    ) -> str: ...


class Encoding(Protocol):
    """What is asked of an encoding of the `tokenizers` library."""

    @property
    def ids(self) -> list[int]: ...

    def char_to_token(self, char_pos: int) -> int | None: ...

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None: ...


class Encoder:
    """A tokenizer, and the marks of the tokens that no message may write.

    Args:
        tokenizer: a transformers tokenizer.
        control_tokens: "text" guards messages with marks, "tokens" reads them as the tokenizer does.
        template: the chat template's text. Tokens in it that the tokenizer does not call special (DeepSeek's
            `<｜User｜>`, `<tool_call>`) are guarded too, in what users and tools say.
    """

    def __init__(self, tokenizer: Tokenizer, control_tokens: str = "text", template: str = "") -> None:
        self.tokenizer = tokenizer
        self.guards = control_tokens == "text"
        added = tokenizer.added_tokens_decoder
        self.special_ids = frozenset(token for token, kind in added.items() if kind.special)
        self.special_names = _longest_first({added[token].content for token in self.special_ids})
        others = {token: kind.content for token, kind in added.items() if not kind.special}
        written = {token for token, name in others.items() if name.strip() and name in template}
        self._guarded_ids = self.special_ids | written
        self._written_names = _longest_first({others[token] for token in written} | set(self.special_names))
        self._mark_of: dict[str, str] = {}
        self._marked_names: list[str] = []
        # The backend encodes many texts at once on all cores; a tokenizer written in Python has none.
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._lock = threading.Lock()  # plain-text encoding switches a setting of the shared backend

    # --- marks -------------------------------------------------------------------------------------------------

    def mark(self, text: str, role: str = "user") -> str:
        """What a role says, with the strings of tokens that it may not write marked."""
        if not self.guards:
            return text
        if not text.isascii():  # a character that serves as a mark here gets a mark itself
            text = _MARKS.sub(lambda match: self._mark(match[0]), text)
        pattern = self._patterns.get(role, self._patterns["user"])
        if pattern is None or self._openings.isdisjoint(text):
            return text
        return pattern.sub(lambda match: self._mark(match[0]), text)

    def _mark(self, name: str) -> str:
        if name not in self._mark_of:
            if len(self._marked_names) > _LAST_MARK - _FIRST_MARK:
                raise BadRow(
                    "more different private characters of Unicode's plane 15 than there are marks for them"
                )
            self._mark_of[name] = chr(_FIRST_MARK + len(self._marked_names))
            self._marked_names.append(name)
        return self._mark_of[name]

    def unmark(self, text: str) -> str:
        """The text as it was written."""
        return _MARKS.sub(lambda match: self._marked_names[ord(match[0]) - _FIRST_MARK], text)

    def is_marked(self, text: str) -> bool:
        """Whether special tokens' strings stand in a message of this rendering."""
        return self.guards and not text.isascii() and _MARKS.search(text) is not None

    def holds_special(self, text: str) -> bool:
        """Whether special tokens' strings stand in a text."""
        pattern = self._patterns["system"]
        return pattern is not None and not self._openings.isdisjoint(text) and bool(pattern.search(text))

    @cached_property
    def _openings(self) -> frozenset[str]:
        """The characters that guarded tokens begin with: a text without them needs no search."""
        return frozenset(name[0] for name in self._written_names)

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str] | None]:
        """What is searched for in the text of a role."""
        return {
            "system": _any_of(self.special_names),
            "assistant": _any_of([name for name in self.special_names if name not in _THINKING_TAGS]),
            "user": _any_of(self._written_names),
        }

    # --- ids ---------------------------------------------------------------------------------------------------

    def ids(self, text: str) -> list[int]:
        """The ids of a rendered text."""
        if not self.is_marked(text):
            return self._encode(text)
        return self._marked(text, in_mid_text=False)

    def ids_in_mid_text(self, text: str) -> list[int]:
        """The ids of text that continues other text: some tokenizers put a blank in front of what they are given."""
        if self.is_marked(text):
            return self._marked(text, in_mid_text=True)
        return self._in_mid_text(text, plain=False)

    def document_ids(self, text: str) -> list[int]:
        """The ids of a whole text with what the tokenizer puts around any."""
        with self._lock:
            return self.tokenizer.encode(text, add_special_tokens=True, verbose=False)

    def many_documents(self, texts: Sequence[str]) -> list[list[int]]:
        """As `document_ids`, on all cores where the tokenizer can."""
        encodings = self._batch(texts, around=True)
        if encodings is None:
            return [self.document_ids(text) for text in texts]
        return [encoding.ids for encoding in encodings]

    def many(self, texts: Sequence[str]) -> Sequence[Encoding] | None:
        """Encode texts without marks on all cores, or None where the tokenizer cannot."""
        return self._batch(texts, around=False)

    def _batch(self, texts: Sequence[str], *, around: bool) -> Sequence[Encoding] | None:
        if self._backend is None:
            return None
        with self._lock:
            self._backend.no_truncation()
            self._backend.no_padding()
            self._backend.encode_special_tokens = False
            encodings: Sequence[Encoding] = self._backend.encode_batch(list(texts), add_special_tokens=around)
        return encodings

    def _marked(self, text: str, *, in_mid_text: bool) -> list[int]:
        ids: list[int] = []
        for at, part in enumerate(_MARKS.split(text)):
            if not part:
                continue
            if at % 2:
                name = self._marked_names[ord(part) - _FIRST_MARK]
                ids += self._as_plain_text(name)
            elif ids or in_mid_text:
                ids += self._in_mid_text(part, plain=False)
            else:
                ids += self._encode(part)
        return ids

    def _as_plain_text(self, name: str) -> list[int]:
        ids = self._in_mid_text(name, plain=True)
        if not self._guarded_ids.isdisjoint(ids):  # tokens that are not special are not split; two parts are
            ids = [*self._in_mid_text(name[:1], plain=True), *self._in_mid_text(name[1:], plain=True)]
        if not self._guarded_ids.isdisjoint(ids):
            raise BadRow(
                f"a message holds {name!r}, and this tokenizer knows no way to write it as plain text",
                remedy="take it out of the row, or set `control_tokens: tokens` under data",
            )
        return ids

    def _in_mid_text(self, text: str, *, plain: bool) -> list[int]:
        for anchor in _ANCHORS:
            before, ids = self._encode(anchor, plain=plain), self._encode(anchor + text, plain=plain)
            if ids[: len(before)] == before:
                return ids[len(before) :]
        return self._encode(text, plain=plain)

    def _encode(self, text: str, *, plain: bool = False) -> list[int]:
        with self._lock:
            return self.tokenizer.encode(
                text, add_special_tokens=False, verbose=False, split_special_tokens=plain
            )

    # --- what to tell others -----------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the vocabulary and all that decides how text is cut."""
        if self._backend is not None:
            return hashlib.sha256(self._backend.to_str().encode()).hexdigest()
        vocabulary = sorted(getattr(self.tokenizer, "get_vocab", dict)().items())
        return hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()


def _longest_first(names: set[str]) -> list[str]:
    return sorted(names, key=lambda name: (-len(name), name))


def _any_of(names: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, names))) if names else None

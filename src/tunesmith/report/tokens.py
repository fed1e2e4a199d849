"""Samples token by token, as a reader can make sense of them: what `check` shows on the terminal and on its page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tunesmith.data.converters.images import look_at
from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Image, Place, Sample
from tunesmith.segments import Piece

MOST_SHOWN = 2000  # stretches a piece; of longer ones the middle is left out
_MOST_A_CHARACTER = 8  # tokens; some tokenizers write a character as its bytes
_BROKEN = "\N{REPLACEMENT CHARACTER}"
# A control character in a row must not move the reader's cursor: Unicode has a picture for each.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
_VISIBLE = _PICTURES | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), ord(_BROKEN))


class Shown(NamedTuple):
    """Text and the tokens that make it: one, or the few that share a character, or all those of a picture.

    `kind` is text, special, picture, or gap for what is left out; `weight` 0 carries no loss.
    """

    text: str
    ids: tuple[int, ...]
    weight: float
    kind: str


class ShownPiece(NamedTuple):
    """A segment of a sample; `heading` says what it is, where there are several."""

    heading: str | None
    stretches: list[Shown]


def visible(text: str) -> str:
    """The text with its control characters, but for tab and newline, as pictures of them."""
    return text.translate(_VISIBLE)


def look_alikes_marked(stretches: Sequence[Shown], names: Sequence[str]) -> str:
    """The text of stretches, with ‹ and › around what only reads like a special token.

    `<|im_end|>` that somebody wrote into a message is plain text to the model, and ends nothing. Without colours it
    would look like the token of that name.

    Args:
        names: what the special tokens are called, a longer one in front of what it begins with.
    """
    look_alike = re.compile("|".join(map(re.escape, names)) or r"(?!)")
    return "".join(
        look_alike.sub(r"‹\g<0>›", "".join(stretch.text for stretch in run))
        if kind == "text"
        else "".join(stretch.text for stretch in run)
        for kind, run in groupby(stretches, key=lambda stretch: stretch.kind)
    )


def shown(sample: Sample, renderer: Renderer) -> list[ShownPiece]:
    """A sample as text with its tokens, a list a piece."""
    pieces = []
    answers = 0
    for at, piece in enumerate(sample.tree):
        heading = None
        if at:
            own = f"answer {answers + 1} has a context of its own"
            heading = own if piece.parent is None else f"goes on from piece {piece.parent + 1}"
        answers += sum(1 for learned, _ in groupby(piece.weights, key=bool) if learned)
        stretches = list(_stretches(piece, renderer, sample))
        pieces.append(ShownPiece(heading, _without_the_middle(stretches)))
    return pieces


def _without_the_middle(stretches: list[Shown]) -> list[Shown]:
    if len(stretches) <= MOST_SHOWN:
        return stretches
    half = MOST_SHOWN // 2
    left_out = sum(len(stretch.ids) for stretch in stretches[half:-half])
    gap = Shown(f" … {left_out:,} tokens are not shown … ", (), 0.0, "gap")
    return [*stretches[:half], gap, *stretches[-half:]]


def _stretches(piece: Piece, renderer: Renderer, sample: Sample) -> Iterator[Shown]:
    """The piece cut where the weight or the kind of token changes, and plain text token by token."""
    special = renderer.encoder.special_ids
    picture = renderer.picture_id
    weights = list(piece.weights)
    if piece.parent is None:
        weights[0] = 0.0  # nothing stands in front of it that it could be predicted from

    def kind_of(token: int) -> str:
        return "picture" if token == picture else "special" if token in special else "text"

    text_of = _TextOf(renderer)
    images = iter(sample.images)
    for (weight, kind), run in groupby(
        zip(piece.tokens, weights, strict=True), key=lambda pair: (pair[1], kind_of(pair[0]))
    ):
        ids = [token for token, _ in run]
        if kind == "picture":
            parts = _pictures(ids, images, renderer, sample.place)
        elif kind == "special":
            parts = ((text_of.alone(token), (token,)) for token in ids)
        else:
            parts = text_of.each(ids)
        for text, tokens in parts:
            yield Shown(visible(text), tokens, weight, kind)


class _TextOf:
    """Decodes tokens behind those decoded last: some tokenizers drop the blank in front of a text's first word."""

    def __init__(self, renderer: Renderer) -> None:
        self._decode = cache(lambda ids: renderer.tokenizer.decode(list(ids)))
        self._before: tuple[int, ...] = ()

    def alone(self, token: int) -> str:
        self._before = (token,)
        text: str = self._decode((token,))
        return text

    def each(self, ids: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Text by text: a token each, but tokens that are whole characters only together stay together."""
        waiting: tuple[int, ...] = ()
        for at, token in enumerate(ids):
            waiting += (token,)
            text = self._behind(waiting)
            whole = bool(text) and not text.endswith(_BROKEN)
            if whole or len(waiting) == _MOST_A_CHARACTER or at == len(ids) - 1:
                yield text, waiting
                self._before, waiting = waiting, ()

    def _behind(self, ids: tuple[int, ...]) -> str:
        start, whole = self._decode(self._before) if self._before else "", self._decode(self._before + ids)
        return whole[len(start) :] if whole.startswith(start) else self._decode(ids)


def _pictures(
    ids: list[int], images: Iterator[str], renderer: Renderer, place: Place
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """One word a picture instead of its many tokens, which are all the same."""
    while ids:
        path = next(images, None)
        size, tokens = "", len(ids)
        if path is not None:
            try:
                image = look_at(path, "the picture", place)
            except BadRow:  # it went while we were looking at the rows
                size = ", not there any more"
            else:
                size, tokens = f", {image.width}x{image.height}", _tokens_of(image, renderer)
        part = tuple(ids[:tokens])
        name = "" if path is None else f" {Path(path).name}"
        yield f"[picture{name}{size}, {len(part)} tokens]", part
        ids = ids[tokens:]


def _tokens_of(image: Image, renderer: Renderer) -> int:
    return max(1, renderer.images.count(image)) if renderer.images else 1

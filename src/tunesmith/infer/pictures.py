"""Pictures in what a model is asked: which file, and where in the question it stands."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tunesmith.config.schema import PicturePrompt
from tunesmith.config.words import counted
from tunesmith.data.converters.images import joined, look_at
from tunesmith.data.schema import Image
from tunesmith.errors import InputError

PLACE = "<image>"
Question = str | tuple[str | Image, ...]  # the content of a user's message


def picture(path: str, *, where: str | None = None) -> Image:
    """The picture in a file.

    Raises:
        InputError: there is none, or it is broken or gigantic.
    """
    if not os.path.isfile(path):
        raise InputError(f"there is no picture {path!r}", where=where)
    try:
        return look_at(os.path.abspath(path), "the picture", None)
    except InputError as error:
        error.where = error.where or where
        raise


def question(text: str, pictures: Sequence[Image], *, where: str | None = None) -> Question:
    """A question with its pictures: where `<image>` stands in it, or in front of it where that stands nowhere.

    Raises:
        InputError: it has places for more or for fewer.
    """
    if not pictures:
        return text
    first, *rest = text.split(PLACE)
    if not rest:
        return joined([*pictures, text])
    if len(rest) != len(pictures):
        raise InputError(
            f"the question has {counted(len(rest), 'place')} for pictures, and there {_are(len(pictures))}",
            where=where,
            expected=f"one {PLACE} a picture, or none, and all stand in front",
        )
    return joined([first, *(part for pair in zip(pictures, rest, strict=True) for part in pair)])


def _are(pictures: int) -> str:
    return "is 1" if pictures == 1 else f"are {pictures}"


def asked(prompt: str | PicturePrompt) -> Question:
    """A recipe's prompt as it is asked.

    Raises:
        InputError: as `picture` and `question`.
    """
    if isinstance(prompt, str):
        return prompt
    where = "evaluate.prompts"
    return question(prompt.text, [picture(path, where=where) for path in prompt.image], where=where)


def in_words(prompt: str | PicturePrompt) -> str:
    """A recipe's prompt in a line: the text, and the names of its pictures."""
    if isinstance(prompt, str):
        return prompt
    return " ".join([prompt.text.strip(), *(f"[{os.path.basename(path)}]" for path in prompt.image)])

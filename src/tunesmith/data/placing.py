"""Where pictures stand in tokens, and that they carry no loss."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.data.chat_text import ImageTokens
from tunesmith.data.schema import BadRow, Image, Strip
from tunesmith.segments import Picture


def placed(
    tokens: Sequence[int], images: Sequence[Image], placeholder: int, how: ImageTokens
) -> tuple[Picture, ...]:
    """The pictures of a chat in its tokens, in order; tokens that end before some of them have the others.

    Raises:
        BadRow: the placeholder is where no picture is.
    """
    at = [place for place, token in enumerate(tokens) if token == placeholder]
    pictures: list[Picture] = []
    taken = 0
    for image in images:
        if taken == len(at):
            break
        length = how.count(image)
        if at[taken : taken + length] != list(range(at[taken], at[taken] + length)):
            break
        pictures.append(Picture(at[taken], length, image.path))
        taken += length
    if taken < len(at):
        raise BadRow(
            f"{how.token}, which stands for pictures, is in the text without one",
            remedy="take it out of the text",
        )
    return tuple(pictures)


def with_pictures(strip: Strip, pictures: tuple[Picture, ...]) -> Strip:
    """A strip with its pictures, which carry no loss: the model generates none."""
    stretches = strip.stretches
    for picture in pictures:
        end = picture.start + picture.length
        parts = [
            part
            for s in stretches
            for part in (s._replace(end=min(s.end, picture.start)), s._replace(start=max(s.start, end)))
        ]
        stretches = tuple(part for part in parts if part.start < part.end)
    return strip._replace(stretches=stretches, pictures=pictures)

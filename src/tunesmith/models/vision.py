"""How a vision model takes pictures: which token stands for one in the prompt, how often, and a file's pixels.

Counting and cutting are both the family's own image processor's, at the same size, and are held against each other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor
from transformers import AutoImageProcessor

from tunesmith.data.converters.images import read_picture
from tunesmith.data.schema import Image
from tunesmith.errors import InputError
from tunesmith.models.source import PROCESSOR_FILE, read_model_json
from tunesmith.segments import Picture

log = logging.getLogger("tunesmith")

# What transformers raises over a file of another kind, another class's settings, or code that it may not run.
_UNREADABLE = (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError)
_BYTES_REMEMBERED = 64 << 20  # of pixels that were cut before


class Pixels(NamedTuple):
    """A picture as a vision tower takes it: patches [P, D] in fp32, and how many of them [1, 3] (time, height, width)."""

    patches: Tensor
    grid: Tensor


class Eyes(Protocol):
    """Where the pixels of pictures come from."""

    def pixels(self, picture: Picture) -> Pixels: ...


@dataclass(frozen=True)
class PictureTokens:
    """Counts the tokens of pictures as the family's own image processor cuts them.

    Args:
        token: what a chat template writes once a picture.
        processor: a transformers image processor that cuts pictures into patches and merges them.
        size: width and height that pictures are resized to first; None: each keeps its own.
    """

    token: str
    processor: Any
    size: tuple[int, int] | None
    _seen: OrderedDict[Hashable, Pixels] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    def count(self, image: Image) -> int:
        """Tokens of one picture in the prompt."""
        width, height = self.size or (image.width, image.height)
        patches = self.processor.get_number_of_image_patches(height, width, {})
        return int(patches) // int(self.processor.merge_size) ** 2

    def pixels(self, picture: Picture) -> Pixels:
        """A picture's patches, read when they are wanted; the last few are remembered.

        Raises:
            InputError: the file is gone, or shows another picture than the one that was counted.
        """
        key = (picture.path, *_stamp(picture.path))
        if key in self._seen:
            self._seen.move_to_end(key)
            return self._seen[key]
        pixels = self.cut(read_picture(picture.path))
        tokens = pixels.patches.shape[0] // int(self.processor.merge_size) ** 2
        if tokens != picture.length:
            raise InputError(
                f"the picture {picture.path!r} takes {tokens} tokens, and {picture.length} stand for it in the text",
                remedy="it changed while it was used: begin again",
            )
        self._seen[key] = pixels
        while sum(seen.patches.nbytes for seen in self._seen.values()) > _BYTES_REMEMBERED:
            self._seen.popitem(last=False)
        return pixels

    def cut(self, picture: Any) -> Pixels:
        """A Pillow picture in RGB -> its patches at this size."""
        if self.size is not None:
            picture = picture.resize(self.size)
        cut = self.processor(images=[picture], return_tensors="pt")
        return Pixels(cut["pixel_values"], cut["image_grid_thw"])

    @property
    def fingerprint(self) -> str:
        """The same for the same counts."""
        settings = json.dumps(self.processor.to_dict(), sort_keys=True, default=str)
        return hashlib.sha256(f"{self.token}\n{self.size}\n{settings}".encode()).hexdigest()


def why_blind(folder: Path) -> str:
    """What to say of pictures for the model in `folder` where `picture_tokens` gives none."""
    config = read_model_json(folder / "config.json")
    if "vision_config" in config or "image_token_id" in config:
        return not_known(config.get("model_type"))
    return "the model reads none"


def not_known(family: str | None) -> str:
    """What to say of pictures for a family that takes them in its own way."""
    return f"how the family {family!r} takes them is not known here"


def _stamp(path: str) -> tuple[int, int]:
    """What tells a changed file.

    Raises:
        InputError: it is gone.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"the picture {path!r} cannot be read: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def picture_tokens(folder: Path, tokenizer: Any, size: tuple[int, int] | None) -> PictureTokens | None:
    """How the model in `folder` takes pictures; None: it takes none, or in a way that is not known here.

    What cannot be read here keeps nobody from training on text: it is warned of, and rows with pictures are refused.

    Raises:
        InputError: config.json is damaged.
    """
    if not (folder / PROCESSOR_FILE).is_file():
        return None
    token = read_model_json(folder / "config.json").get("image_token_id")
    if not isinstance(token, int) or not 0 <= token < len(tokenizer):
        return None
    try:
        # transformers takes the form that needs no torchvision where that is not installed. Left open, the question
        # whether code of the folder may run would be asked on the terminal.
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except _UNREADABLE as error:
        log.warning(
            "%s: this image processor cannot be used, so the model trains on text alone (%s)",
            folder / PROCESSOR_FILE,
            (str(error).splitlines() or [type(error).__name__])[0],
        )
        return None
    if not (hasattr(processor, "get_number_of_image_patches") and hasattr(processor, "merge_size")):
        return None
    return PictureTokens(tokenizer.convert_ids_to_tokens(token), processor, size)

"""How a vision model's prompt holds pictures: which token stands for one, and how often."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor

from tunesmith.data.schema import Image
from tunesmith.models.source import read_model_json

log = logging.getLogger("tunesmith")

PROCESSOR_FILE = "preprocessor_config.json"
# What transformers raises over a file of another kind, another class's settings, or code that it may not run.
_UNREADABLE = (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError)


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

    def count(self, image: Image) -> int:
        """Tokens of one picture in the prompt."""
        width, height = self.size or (image.width, image.height)
        patches = self.processor.get_number_of_image_patches(height, width, {})
        return int(patches) // int(self.processor.merge_size) ** 2

    @property
    def fingerprint(self) -> str:
        """The same for the same counts."""
        settings = json.dumps(self.processor.to_dict(), sort_keys=True, default=str)
        return hashlib.sha256(f"{self.token}\n{self.size}\n{settings}".encode()).hexdigest()


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

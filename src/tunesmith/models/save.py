"""Writing the result: an adapter in PEFT's format or a model in transformers' format, with its tokenizer.

A small file beside the weights says what the prompt was built with, so that a result that has left its run folder is
still asked the way it was trained.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors import SafetensorError
from torch import nn

from tunesmith.rundir import folder_written_whole, read_json

_ABOUT = "tunesmith.json"
# safetensors writes through Rust, which reports a full disk in words.
_NO_ROOM_IN_WORDS = ("os error 28", "os error 27", "os error 122", "No space left")


@dataclass(frozen=True)
class About:
    """How a result was trained to be asked. `template` is the chat template's text where the recipe overrode it."""

    base: str
    revision: str | None = None
    system: str | None = None
    template: str | None = None


def save_result(model: nn.Module, tokenizer: Any, about: About, folder: Path) -> None:
    """Write the tuned adapter (of a PEFT model) or the whole model.

    Raises:
        WorkError: the disk is full; what was in `folder` before is untouched.
    """
    with folder_written_whole(folder) as temporary:
        with _full_disk_is_an_os_error():
            if isinstance(model, PeftModel):
                # "auto" would look the base up on the hub to see whether its vocabulary grew.
                model.save_pretrained(str(temporary), save_embedding_layers=False)
            else:
                model.save_pretrained(str(temporary))  # type: ignore[operator]
            tokenizer.save_pretrained(str(temporary))
        text = json.dumps(asdict(about), ensure_ascii=False, indent=2)
        (temporary / _ABOUT).write_text(text + "\n", encoding="utf-8")
        # PEFT writes a model card full of blanks.
        (temporary / "README.md").unlink(missing_ok=True)


def read_about(folder: Path) -> About | None:
    """What `save_result` wrote beside the weights; None in a folder of other origin."""
    found = read_json(folder / _ABOUT)
    return None if found is None else About(**found)


@contextmanager
def _full_disk_is_an_os_error() -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        if any(words in str(error) for words in _NO_ROOM_IN_WORDS):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise

"""Writing the result: an adapter in PEFT's format or a model in transformers' format, with its tokenizer.

A small file beside the weights says what the prompt was built with, so that a result that has left its run folder is
still asked the way it was trained.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tunesmith.errors import InputError
from tunesmith.models.adapters import write_adapter
from tunesmith.models.peft_at_home import PeftModel
from tunesmith.rundir import folder_written_whole, read_json

_ABOUT = "tunesmith.json"
# safetensors and tokenizers write through Rust, which names the system's error in words.
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True)
class About:
    """How a result was trained to be asked. `template` is the chat template's text where the recipe overrode it.

    `revision` is what finds the very same base again: a commit, where the hub tells one. `fingerprint` tells whether
    it was found. `new_tokens` were added to its vocabulary. Pictures are resized to `image_size`, if that is given.
    """

    base: str
    revision: str | None = None
    system: str | None = None
    template: str | None = None
    control_tokens: str = "text"
    fingerprint: str | None = None
    new_tokens: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "new_tokens", tuple(self.new_tokens))  # JSON knows lists only
        if self.image_size is not None:
            object.__setattr__(self, "image_size", tuple(self.image_size))


def save_result(
    model: nn.Module, tokenizer: Any, about: About, folder: Path, *, image_processor: Any = None
) -> None:
    """Write the tuned adapter (of a PEFT model) or the whole model.

    Args:
        image_processor: how the model's pictures are cut; a whole model needs it beside its weights.

    Raises:
        WorkError: the disk is full; what was in `folder` before is untouched.
    """
    with folder_written_whole(folder) as temporary:
        with system_error_is_an_os_error():
            if isinstance(model, PeftModel):
                write_adapter(model, temporary)
            else:
                model.save_pretrained(str(temporary))  # type: ignore[operator]
                if image_processor is not None:
                    image_processor.save_pretrained(str(temporary))
            tokenizer.save_pretrained(str(temporary))
        text = json.dumps(asdict(about), ensure_ascii=False, indent=2)
        (temporary / _ABOUT).write_text(text + "\n", encoding="utf-8")
        # PEFT writes a model card full of blanks.
        (temporary / "README.md").unlink(missing_ok=True)
        # safetensors keeps its files to their owner; the others have the mode that the user's umask gives.
        for weights in temporary.glob("*.safetensors"):
            weights.chmod((temporary / _ABOUT).stat().st_mode)


def result_must_be_free(folder: Path, run_folder: Path, *, overwrite: bool) -> None:
    """Saving replaces the whole folder, so it may hold nothing but an earlier result.

    Raises:
        InputError: it is a file, holds something else, or the run itself would lie in it.
    """
    if run_folder.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"run.result {folder} holds the run folder itself, and saving the result would replace it",
            remedy="name a folder of its own",
        )
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise InputError(f"run.result {folder} may not be written to", remedy="name another folder")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or read_about(folder) is None:
        raise InputError(
            f"run.result {folder} is there already and is no result of tunesmith, so it is left alone",
            remedy="name a new or empty folder",
        )
    if not overwrite:
        raise InputError(
            f"run.result {folder} already holds a result", remedy="name another folder, or add --overwrite"
        )


def read_about(folder: Path) -> About | None:
    """What `save_result` wrote beside the weights; None in a folder of other origin.

    Raises:
        InputError: it is damaged, or another version wrote it.
    """
    found = read_json(folder / _ABOUT)
    try:
        return None if found is None else About(**found)
    except TypeError as error:
        raise InputError(
            "this is not what tunesmith writes beside a result", where=str(folder / _ABOUT)
        ) from error


@contextmanager
def system_error_is_an_os_error() -> Iterator[None]:
    """Have what Rust could not write raise what Python would."""
    try:
        yield
    # safetensors has an error of its own, tokenizers raises the bare class.
    except Exception as error:
        number = _SYSTEM_ERROR.search(str(error))
        if number is None or isinstance(error, OSError):
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error

"""What all blocks of the recipe have in common, and the short ways of writing a value that several of them take."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

_UNITS = r"\s?[KMGT]i?B$"
AMOUNT_PATTERN = r"^\d+(\.\d+)?" + _UNITS  # of memory: 8GB, 7.5 GiB
BUDGET_PATTERN = r"^auto$|^(\d*[1-9]\d*(\.\d+)?|0+\.\d*[1-9]\d*)" + _UNITS  # the same, above 0


def tuple_of_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def one_is_a_list(value: Any) -> Any:
    return (value,) if isinstance(value, str | dict) else tuple_of_list(value)


def none_in_words(value: Any) -> Any:
    """YAML's null is `null`; people write `none`, which would otherwise be a file of that name."""
    return None if value == "none" else value


class Block(BaseModel):
    """What all blocks share: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

"""What is wrong with a recipe, told in plain sentences: pydantic's errors come in, `InputError`s go out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tunesmith.config.words import (
    Path,
    any_of,
    block_name,
    dotted,
    expected_at,
    homes_of,
    keys_at,
    nearest,
    types_at,
    value_in_words,
)
from tunesmith.errors import InputError

_CLEARLY_THE_SAME = 0.8  # similarity from 0 to 1

# What other tools call our keys.
OTHER_NAMES = {
    "lr": "train.learning_rate",
    "num_epochs": "train.epochs",
    "num_train_epochs": "train.epochs",
    "per_device_train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.accumulate",
    "lr_scheduler_type": "train.schedule",
    "save_steps": "train.save_every",
    "save_total_limit": "train.keep",
    "logging_steps": "train.log_every",
    "eval_steps": "train.eval_every",
    "r": "adapter.rank",
    "lora_r": "adapter.rank",
    "lora_rank": "adapter.rank",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "target_modules": "adapter.targets",
    "use_rslora": "adapter.rslora",
    "use_dora": "adapter.dora",
    "init_lora_weights": "adapter.init",
    "loraplus_lr_ratio": "adapter.lr_ratio",
    "max_seq_length": "data.max_length",
    "cutoff_len": "data.max_length",
    "dataset": "data.train",
    "model_name": "model.source",
    "model_name_or_path": "model.source",
    "output_dir": "run.output",
}


def problems_of(error: ValidationError, tree: Any, place: Callable[[Path], str]) -> list[InputError]:
    """One `InputError` for each thing that is wrong.

    Args:
        error: what pydantic found in `tree`.
        tree: the recipe as it was given.
        place: path -> where it was given, such as `recipe.yaml:7`.
    """
    found = [(_written_path(detail, tree), detail) for detail in error.errors()]
    paths = [path for path, _ in found]
    misspelt = {
        (*path[:-1], nearest(str(path[-1]), keys_at(path[:-1]), cutoff=_CLEARLY_THE_SAME))
        for path, detail in found
        if _kind(detail) == "unknown"
    }
    told: dict[tuple[Path, str], InputError] = {}
    for path, detail in found:
        kind = _kind(detail)
        # Of a type with alternatives, pydantic tells what each lacks. Where one alternative was entered far enough
        # to complain about something inside, the others' "this is not my type" is noise.
        if kind == "value" and any(len(other) > len(path) and other[: len(path)] == path for other in paths):
            continue
        if kind == "missing" and path in misspelt:
            continue
        if (path, kind) not in told:
            told[path, kind] = _TELL[kind](path, detail, tree, place)
    return list(told.values())


def _kind(detail: ErrorDetails) -> str:
    kinds = {
        "missing": "missing",
        "extra_forbidden": "unknown",
        "union_tag_not_found": "missing",
        "value_error": "rule",
        "invalid_key": "key",
    }
    if detail["type"] == "missing" and isinstance(detail["loc"][-1], int):
        return "value"  # a list that is too short, not a key left out
    if detail["loc"][-1:] == ("[key]",) and not isinstance(detail["loc"][-2], str):
        return "no_text"  # a key that is none, in a block of whatever keys
    return kinds.get(detail["type"], "value")


def _written_path(detail: ErrorDetails, tree: Any) -> Path:
    """The path as it stands in the recipe: without pydantic's names of union members, and without the index of a
    list that the recipe left out."""
    path: list[str | int] = []
    value = tree
    last = len(detail["loc"]) - 1
    for position, part in enumerate(detail["loc"]):
        in_block = isinstance(value, dict) and part in value
        in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if in_block or in_list:
            path.append(part)
            value = value[part]
        elif position == last and _kind(detail) in ("missing", "unknown", "key"):
            path.append(part)
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        path.append(str(detail["ctx"]["discriminator"]).strip("'"))
    return tuple(path)


def value_at(path: Path, tree: Any) -> Any:
    """The value at a path; None where there is none."""
    for part in path:
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
    return tree


def _missing(path: Path, detail: ErrorDetails, tree: Any, place: Callable[[Path], str]) -> InputError:
    return InputError(
        f"`{dotted(path)}` is missing",
        where=place(path[:-1]),
        expected=expected_at(path),
        remedy=f"add a line `{path[-1]}: ...` {block_name(path[:-1])}".rstrip(":"),
    )


def _unknown(path: Path, detail: ErrorDetails, tree: Any, place: Callable[[Path], str]) -> InputError:
    key, block = str(path[-1]), path[:-1]
    expected, remedy = _advice(key, block)
    return InputError(
        f"there is no key `{key}` {block_name(block).rstrip(':')}",
        where=place(path),
        expected=expected,
        remedy=remedy,
    )


def _advice(key: str, block: Path) -> tuple[str | None, str | None]:
    """(what was expected, what to do) for a key that the block does not have."""
    own = keys_at(block)
    typo = nearest(key, own, cutoff=_CLEARLY_THE_SAME)
    if typo:
        return None, f"the nearest name is `{typo}`"
    if key in OTHER_NAMES:
        return None, f"here it is called `{OTHER_NAMES[key]}`"
    homes = homes_of(key)
    if homes:
        return None, f"`{key}` belongs {any_of([block_name(home) for home in homes])}"
    typo = nearest(key, own)
    if typo:
        return None, f"the nearest name is `{typo}`"
    return f"one of {', '.join(own)}", None


def _rule(path: Path, detail: ErrorDetails, tree: Any, place: Callable[[Path], str]) -> InputError:
    """A rule between several keys; the schema's own sentence tells it, and a key it names tells the line."""
    sentence = str(detail["ctx"]["error"])
    named = [tuple(word.split(".")) for word in re.findall(r"[\w.]*\w", sentence)]
    for key in named:
        if value_at(path + key, tree) is not None:
            return InputError(sentence, where=place(path + key))
    return InputError(sentence, where=place(path))


def _key(path: Path, detail: ErrorDetails, tree: Any, place: Callable[[Path], str]) -> InputError:
    return InputError(
        f"there is no key {path[-1]} {block_name(path[:-1]).rstrip(':')}",
        where=place(path),
        expected=f"one of {', '.join(keys_at(path[:-1]))}",
    )


def _no_text(path: Path, detail: ErrorDetails, tree: Any, place: Callable[[Path], str]) -> InputError:
    return InputError(
        f"`{dotted(path[:-1])}` has the key {path[-1]}",
        where=place(path),
        expected="text",
        remedy="put it in quotes",
    )


def _value(path: Path, detail: ErrorDetails, tree: Any, place: Callable[[Path], str]) -> InputError:
    value = value_at(path, tree)
    expected, where = expected_at(path) or "a value that a recipe can hold", place(path)
    return InputError(
        f"`{dotted(path)}` is {value_in_words(value)}" if path else f"the recipe is {value_in_words(value)}",
        where=where,
        expected=expected,
        remedy=_cure(value, expected, path, from_file=not where.startswith("command line")),
    )


def _cure(value: Any, expected: str, path: Path, *, from_file: bool) -> str | None:
    """What to do about the commonest slips of type."""
    words = expected.split(", ")[0]
    if isinstance(value, str):
        if words == "true or false" and value.lower() in ("yes", "on", "no", "off"):
            return "write true or false"
        if words.startswith(("a whole number", "a number")) and _is_number(value):
            return "take the quotes away"
        if expected.startswith("a block") and types_at(path):
            if not from_file:
                first = next(iter(keys_at(path)), "FIELD")
                return f"set its keys, such as {dotted(path)}.{first}=VALUE"
            return f"give it as lines `key: value`, indented below `{path[-1]}:`"
        choices = re.findall(r"`([^`]+)`", expected)
        near = nearest(value, choices)
        return f"the nearest is `{near}`" if near and not expected.startswith(("a block", "text")) else None
    if words.startswith("text") and not isinstance(value, dict | list) and value is not None:
        return "put it in quotes"
    return None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


_TELL: dict[str, Callable[[Path, ErrorDetails, Any, Callable[[Path], str]], InputError]] = {
    "missing": _missing,
    "unknown": _unknown,
    "rule": _rule,
    "key": _key,
    "no_text": _no_text,
    "value": _value,
}

"""The recipe's keys and types in plain words. Error messages and the reference page both speak them."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from tunesmith.config.block import AMOUNT_PATTERN, BUDGET_PATTERN
from tunesmith.config.schema import NAME_PATTERN, Recipe

Path = tuple[str | int, ...]
_KEYS_SHOWN = 6  # of a block; docs/recipe.md has them all

_PATTERNS = {
    NAME_PATTERN: "text of letters, digits, `_`, `.`, `-` and spaces that begins with a letter, a digit or `_`",
    AMOUNT_PATTERN: "an amount of memory such as 8GB",
    BUDGET_PATTERN: "`auto` or an amount of memory above 0, such as 8GB",
}


def nearest(name: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The candidate most like `name`, whatever the case and however words are joined; None if nothing is near."""
    plain = {_plain(candidate): candidate for candidate in candidates}
    matches = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=cutoff)
    return plain[matches[0]] if matches else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def block_name(path: Path) -> str:
    return f"under {dotted(path)}:" if path else "at the top level"


def any_of(words: Sequence[str], *, joined_by: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {joined_by} {words[-1]}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `1,200 rows`; `many` where it is not `one` with an s."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {many or one + 's'}"


def byte_size(count: int) -> str:
    """`1.3 GB`, `740.0 MB`, `1.2 KB`, in powers of ten."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


# ---- the schema as a tree of types


def type_of(field: FieldInfo) -> Any:
    """A field's whole type, the limits included."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def opened(kind: Any) -> Iterator[Any]:
    """The plain types that a value may have: unions opened, limits taken off."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from opened(get_args(kind)[0])
    elif origin in (Union, types.UnionType):
        for alternative in get_args(kind):
            yield from opened(alternative)
    else:
        yield kind


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def types_at(path: Path, root: Any = Recipe) -> list[Any]:
    """The types that the schema allows at a path such as ("data", "train", 0, "path"); none for an unknown key.

    A list may be left out of the path, as a recipe may leave it out: one file stands for a list of one.
    """
    kinds = [root]
    for part in path:
        below: list[Any] = []
        for kind in (one for either in kinds for one in opened(either)):
            if get_origin(kind) is tuple:
                item = get_args(kind)[0]
                below += [item] if isinstance(part, int) else types_at((part,), item)
            elif get_origin(kind) is dict:
                below.append(get_args(kind)[1])
            elif _is_block(kind) and part in kind.model_fields:
                below.append(type_of(kind.model_fields[part]))
        kinds = below
    return kinds


def keys_at(path: Path) -> list[str]:
    """The keys of the block at a path, in the schema's order."""
    keys: dict[str, None] = {}
    for kind in types_at(path):
        for one in opened(kind):
            item = get_args(one)[0] if get_origin(one) is tuple else one
            for block in opened(item):
                if _is_block(block):
                    keys.update(dict.fromkeys(block.model_fields))
    return list(keys)


def blocks(root: type[BaseModel] = Recipe, at: Path = ()) -> Iterator[tuple[Path, type[BaseModel]]]:
    """Every block of the recipe with its path, from the top down; the blocks of a list stand at the list's path."""
    yield at, root
    for name, field in root.model_fields.items():
        seen: set[type[BaseModel]] = set()
        for kind in opened(type_of(field)):
            for block in opened(get_args(kind)[0]) if get_origin(kind) is tuple else [kind]:
                if _is_block(block) and block not in seen:
                    seen.add(block)
                    yield from blocks(block, (*at, name))


def homes_of(key: str) -> list[Path]:
    """The blocks that have a key of this name."""
    return [path for path, block in blocks() if key in block.model_fields]


# ---- types in words


def type_in_words(kind: Any, limits: Sequence[Any] = ()) -> str:
    """What may stand there, such as "a whole number, at least 1"."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *notes = get_args(kind)
        return type_in_words(inner, [*limits, *_flat(notes)])
    if origin in (Union, types.UnionType):
        return _union_in_words(get_args(kind), limits)
    if origin is Literal:
        return any_of([f"`{value}`" for value in get_args(kind)])
    if origin is tuple:
        return _list_in_words(get_args(kind), limits)
    if origin is dict:  # `columns`, or `max_memory`
        return f"a block of `{'field: column' if get_args(kind)[0] is str else 'place: amount'}` lines"
    if _is_block(kind):
        shown = [f"`{key}`" for key in kind.model_fields][:_KEYS_SHOWN]
        more = ", ..." if len(kind.model_fields) > _KEYS_SHOWN else ""
        block = f"a block ({', '.join(shown)}{more})"
        return f"text or {block}" if _takes_bare_text(limits) else block
    return _scalar_in_words(kind, limits)


def expected_at(path: Path) -> str | None:
    """What may stand at a path, in words; None for an unknown key."""
    words = list(dict.fromkeys(type_in_words(kind) for kind in types_at(path)))
    return any_of(words) if words else None


def _flat(notes: Sequence[Any]) -> list[Any]:
    return [part for note in notes for part in (note.metadata if isinstance(note, FieldInfo) else [note])]


def _union_in_words(alternatives: Sequence[Any], limits: Sequence[Any]) -> str:
    words = list(
        dict.fromkeys(type_in_words(kind, limits) for kind in alternatives if kind is not types.NoneType)
    )
    if types.NoneType in alternatives:
        words.append("null")
    # "a whole number, at least 1 or `epoch`" would read as one limit; a comma keeps them apart.
    return ", or ".join(words) if any(", " in word for word in words) else any_of(words)


_MANY = {"text": "texts", "a number": "numbers", "a whole number": "whole numbers"}


def _list_in_words(items: Sequence[Any], limits: Sequence[Any]) -> str:
    item = type_in_words(items[0])
    many = _MANY.get(item, item)
    if Ellipsis not in items:
        return f"a list of {len(items)} {many}"
    if not _takes_bare_text(limits):
        return f"a list of {many}"
    return f"{item}, or a list of {'these' if many == item else many}"


def _takes_bare_text(limits: Sequence[Any]) -> bool:
    """Whether a validator of the schema turns a bare text into the full form (`a.json` -> `[{path: a.json}]`)."""
    validators: list[Any] = [note.func for note in limits if isinstance(note, BeforeValidator)]
    return any(spell_out("text") != "text" for spell_out in validators)


def _scalar_in_words(kind: Any, limits: Sequence[Any]) -> str:
    if kind is bool:
        return "true or false"
    if kind is str:
        patterns = [getattr(note, "pattern", None) for note in limits]
        known = [_PATTERNS[pattern] for pattern in patterns if pattern in _PATTERNS]
        if known:
            return known[0]
        return "text, not empty" if any(isinstance(note, MinLen) for note in limits) else "text"
    bounds = [bound for note in limits for bound in _bound_in_words(note)]
    return ("a whole number" if kind is int else "a number") + (
        f", {any_of(bounds, joined_by='and')}" if bounds else ""
    )


def _bound_in_words(note: Any) -> list[str]:
    if isinstance(note, Ge):
        return [f"at least {note.ge}"]
    if isinstance(note, Gt):
        return [f"above {note.gt}"]
    if isinstance(note, Le):
        return [f"at most {note.le}"]
    return [f"below {note.lt}"] if isinstance(note, Lt) else []


# ---- values in words


def value_in_words(value: Any) -> str:
    """What was found, such as "the text 'three'"."""
    if value is None:
        return "empty (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        shown = value if len(value) <= 60 else value[:57] + "..."
        return f"the text {shown!r}" if value else "an empty text"
    if isinstance(value, Mapping):
        return "a block of keys" if value else "an empty block"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return f"a list of {len(value)}" if value else "an empty list"
    return f"the date {value}" if isinstance(value, date) else f"a {type(value).__name__}"

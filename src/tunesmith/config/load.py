"""From a recipe's name or file to a Recipe: YAML, overrides, every problem at once, absolute paths.

    name -> file -> YAML -> overrides put on -> checked -> paths made absolute -> Recipe

Paths are relative to where they were written: in a recipe to the recipe's folder, on the command line to the current
folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunesmith.config import words, yaml_text
from tunesmith.config.problems import problems_of
from tunesmith.config.schema import Recipe
from tunesmith.config.words import dotted, nearest
from tunesmith.errors import InputError, Problems, no_room_is_a_work_error

__all__ = ["copy_shipped", "dump", "load", "nearest", "shipped", "summary"]

# Keys under which one text or one block may stand for a list of one, and what a bare text there means.
_SHORT_FORMS: dict[words.Path, str | None] = {
    ("data", "train"): "path",
    ("data", "eval"): "path",
    ("track",): None,
}

_SAMPLES = "../samples/"  # how shipped recipes begin the paths of their sample data


def load(name_or_path: str, overrides: Sequence[str] = (), *, output: str | None = None) -> Recipe:
    """Read a recipe file, or a shipped recipe by its name; a file that exists wins.

    Args:
        overrides: `key=value` with a dotted key and a YAML value, such as `train.epochs=2` or `data.train.0.path=x`.
        output: the run folder (`-o`), relative to the current folder; it wins over `run.output`.

    Returns:
        The recipe with absolute paths and `run.output` filled in.

    Raises:
        InputError: there is no such recipe, or the file is not UTF-8 or not YAML.
        Problems: what the recipe says is wrong; every problem, in the order of the file.
    """
    path, is_shipped = _find(name_or_path)
    document = yaml_text.read(_content(path), str(path))
    tree = _blocks_of(document)
    problems = list(document.problems)
    applied: list[_Override] = []
    for text in overrides:
        try:
            tree, override = _put_on(tree, text)
            applied.append(override)
        except InputError as problem:
            problems.append(problem)
    try:
        tree = _without_empty_blocks(tree)
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        problems += problems_of(error, tree, lambda place: _place(place, document, applied))
    if problems:
        raise Problems(sorted(problems, key=_order_in_file))
    return _with_absolute_paths(recipe, path.parent, applied, is_shipped, output)


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, every default filled in. `load` reads back an equal recipe from what it loaded itself."""
    return "# Written by tunesmith: the recipe with every default filled in.\n" + yaml_text.write(
        _plain(recipe)
    )


# ---- finding and reading the file


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(resources.files("tunesmith") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def summary(path: Path) -> str:
    """What a recipe is for: the comment on its first line."""
    first = path.read_text("utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def _find(name_or_path: str) -> tuple[Path, bool]:
    """(the file, whether it is a shipped one)."""
    path = Path(name_or_path).expanduser()
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # too long for the system
        raise InputError(
            f"{name_or_path[:60]!r} cannot be a path ({error.strerror})", expected="a recipe file"
        ) from error
    if is_file:
        return path, False
    if is_folder:
        inside = path / "recipe.yaml"
        raise InputError(
            f"{path} is a folder",
            expected="a recipe file",
            remedy=f"name the file in it: {inside}" if inside.is_file() else None,
        )
    recipes = shipped()
    if name_or_path in recipes:
        return recipes[name_or_path], True
    raise InputError(
        f"there is no recipe {name_or_path}",
        expected="a YAML file or the name of a shipped recipe",
        remedy=_what_is_there(path, recipes),
    )


def _what_is_there(path: Path, recipes: dict[str, Path]) -> str:
    """The nearest names among the files of that folder and the shipped recipes."""
    folder = path.parent
    files = sorted(file for file in folder.glob("*.y*ml") if file.is_file()) if folder.is_dir() else []
    near = [str(file) for file in files if nearest(path.stem, [file.stem])]
    near += [name for name in (nearest(path.stem, recipes),) if name]
    if near:
        return f"the nearest is {words.any_of(near)}"
    return f"shipped recipes: {', '.join(recipes)}; or write a new one with `tunesmith init {path.with_suffix('.yaml')}`"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from None


def _blocks_of(document: yaml_text.Document) -> dict[str, Any]:
    """The recipe's blocks.

    Raises:
        InputError: the file is empty, or it is something else than blocks.
    """
    blocks = ", ".join(Recipe.model_fields)
    if document.values is None:
        raise InputError(
            "the file is empty",
            where=document.name,
            expected=f"a recipe with the blocks {blocks}",
            remedy="write one with `tunesmith init NEW.yaml`, or copy one with `tunesmith recipes copy NAME`",
        )
    if not isinstance(document.values, dict):
        raise InputError(
            f"the recipe is {words.value_in_words(document.values)}",
            where=f"{document.name}:{document.line(())[1]}",
            expected=f"lines `key: value` with the blocks {blocks}",
        )
    return document.values


def _without_empty_blocks(tree: dict[str, Any]) -> dict[str, Any]:
    """A block whose lines are all commented out reads as null; it has its defaults then."""
    optional = {name for name, field in Recipe.model_fields.items() if not field.is_required()}
    return {key: value for key, value in tree.items() if value is not None or key not in optional}


# ---- overrides


@dataclass(frozen=True)
class _Override:
    """`key=value` from the command line, its key as a path."""

    text: str
    path: words.Path

    @property
    def where(self) -> str:
        return f"command line: {self.text}"

    def covers(self, path: words.Path) -> bool:
        return path[: len(self.path)] == self.path

    def shares(self, path: words.Path) -> int:
        """How many parts the two have in common, from the top."""
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.path, path, strict=False)))


def _put_on(tree: Any, text: str) -> tuple[Any, _Override]:
    """The tree with one override put on, blocks and lists made where they are missing.

    Raises:
        InputError: not `key=value`, the value is not YAML, or the key leads through something that has no keys.
    """
    where = f"command line: {text}"
    key, equals, value_text = text.partition("=")
    parts: list[str | int] = [int(part) if part.isdecimal() else part for part in key.strip().split(".")]
    if not equals or "" in parts:
        raise InputError(
            "this is not an override",
            where=where,
            expected="key=value with a dotted key, such as train.epochs=2",
        )
    value = yaml_text.read_value(value_text, where)
    path: list[str | int] = []
    tree = _set(tree, parts, value, path, where)
    return tree, _Override(text, tuple(path))


def _set(node: Any, parts: Sequence[str | int], value: Any, path: list[str | int], where: str) -> Any:
    """`node` with `value` at `parts` below it; `path` collects the way, with the indices of lists left out by `parts`."""
    if not parts:
        return value
    node, part = _spelled_out(node, parts[0], tuple(path), where), parts[0]
    rest = parts[1:]
    if isinstance(node, list) and not isinstance(part, int):
        part, rest = 0, parts  # `data.train.path` with one file means `data.train.0.path`
    path.append(part)
    if isinstance(node, list):
        index = int(part)
        return [
            *node[:index],
            _set(node[index] if index < len(node) else None, rest, value, path, where),
            *node[index + 1 :],
        ]
    return {**node, part: _set(node.get(part), rest, value, path, where)}


def _spelled_out(node: Any, part: str | int, path: words.Path, where: str) -> dict[Any, Any] | list[Any]:
    """What stands at `path`, as the block or list that the override's next part goes into."""
    if path in _SHORT_FORMS:
        if not isinstance(node, list):
            node = [] if node is None or isinstance(node, int | float) else [node]
        if isinstance(part, str) and len(node) != 1:
            raise InputError(
                f"`{dotted(path)}` is {words.value_in_words(node)}",
                where=where,
                expected=f"an index, such as {dotted(path)}.0.{part}",
            )
    elif path[:-1] in _SHORT_FORMS and isinstance(node, str):
        wrapper = _SHORT_FORMS[path[:-1]]
        node = {wrapper: node} if wrapper else {node: {}}
    elif node is None:
        node = [] if isinstance(part, int) else {}
    if not isinstance(node, dict | list):
        raise InputError(
            f"`{dotted(path)}` is {words.value_in_words(node)} and has no key `{part}`", where=where
        )
    if isinstance(node, list) and isinstance(part, int) and part > len(node):
        raise InputError(
            f"`{dotted(path)}` has no entry {part}",
            where=where,
            expected=f"an index from 0 to {len(node)} (0 is the first, {len(node)} adds one)",
        )
    if isinstance(node, list) and isinstance(part, str) and path not in _SHORT_FORMS:
        raise InputError(
            f"`{dotted(path)}` is a list", where=where, expected=f"an index, such as {dotted(path)}.0"
        )
    return node


# ---- places


def _place(path: words.Path, document: yaml_text.Document, applied: Sequence[_Override]) -> str:
    """Where a value was given: on the command line, or on a line of the file."""
    for override in reversed(applied):
        if override.covers(path):
            return override.where
    depth, line = document.line(path)
    # A key that is missing from a block which only the command line speaks of.
    nearest_override = max(applied, key=lambda override: override.shares(path), default=None)
    if nearest_override and nearest_override.shares(path) > depth:
        return nearest_override.where
    return f"{document.name}:{line}" if depth else document.name


def _order_in_file(problem: InputError) -> tuple[bool, int]:
    """The file's problems by line, the command line's after them."""
    match = re.search(r":(\d+)$", problem.where or "")
    on_command_line = (problem.where or "").startswith("command line: ")
    return on_command_line, int(match[1]) if match and not on_command_line else 0


# ---- paths


def _with_absolute_paths(
    recipe: Recipe, folder: Path, applied: Sequence[_Override], is_shipped: bool, output: str | None
) -> Recipe:
    here, plain = Path.cwd(), _plain(recipe)
    for path in _paths_in(plain):
        from_command_line = any(override.covers(path) for override in applied)
        # A shipped recipe lives among the installed packages, no place to write to.
        base = here if from_command_line or (is_shipped and path[0] == "run") else here / folder
        block: Any = plain
        for part in path[:-1]:
            block = block[part]
        written = block.get(path[-1]) if isinstance(block, dict) else block[path[-1]]
        if written is None or _is_elsewhere(path, written):
            continue
        if path[-1] == "function" and ".py:" not in written:  # the name of one that comes along
            continue
        if not (path == ("data", "template") and _is_name(written, base)):
            block[path[-1]] = _absolute(written, base, only_folders=path in _MODEL_NAMES)
    plain["run"]["output"] = _absolute(output or plain["run"]["output"] or recipe.output_folder, here)
    return Recipe.model_validate(plain)


# What stands here may be the name of a model elsewhere; it is a path when it looks like one, or is one.
_MODEL_NAMES = {("model", "source"), ("adapter", "start"), ("method", "teacher")}


def _paths_in(plain: dict[str, Any]) -> Iterator[words.Path]:
    """The places of a resolved recipe that hold paths."""
    yield from _MODEL_NAMES
    yield from [("model", "cache_dir"), ("data", "template"), ("run", "output"), ("run", "result")]
    for part in ("train", "eval"):
        if isinstance(plain["data"][part], list):
            for index in range(len(plain["data"][part])):
                yield from [("data", part, index, "path"), ("data", part, index, "images")]
    for index in range(len(plain["method"].get("rewards", ()))):
        yield ("method", "rewards", index, "function")
    for index, prompt in enumerate(plain["evaluate"]["prompts"]):
        if isinstance(prompt, dict):
            yield from (
                ("evaluate", "prompts", index, "image", number) for number in range(len(prompt["image"]))
            )
    for index, tracker in enumerate(plain["track"]):
        yield from (
            ("track", index, name, "folder") for name, options in tracker.items() if "folder" in options
        )


def _is_name(written: str, base: Path) -> bool:
    """Whether this names one of the templates that come along: a bare word, and no file of that name is there."""
    return re.fullmatch(r"[\w-]+", written) is not None and not os.path.isfile(base / written)


def _is_elsewhere(path: words.Path, written: str) -> bool:
    """Whether a source's path names a data set of a hub."""
    return path[-1] == "path" and written.startswith(("hf:", "ms:"))


def _absolute(written: str, base: Path, *, only_folders: bool = False) -> str:
    path = base / Path(written).expanduser()
    if only_folders and not written.startswith((".", "~")) and not path.is_dir():
        return written
    # Through a symbolic link, `..` is the parent of where the link leads: the system knows, text does not.
    return str(path.resolve() if ".." in path.parts else path)


def _plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as lists, dicts and scalars that `Recipe.model_validate` takes back."""
    plain = recipe.model_dump(mode="json")
    # An empty entry would read as a tracker with default options.
    plain["track"] = [
        {name: it for name, it in tracker.items() if it is not None} for tracker in plain["track"]
    ]
    return plain


# ---- bringing a shipped recipe along


def copy_shipped(name: str, folder: Path | str) -> list[Path]:
    """Copy a shipped recipe and its sample data into a folder, comments and all.

    Returns:
        The files (and folders of pictures) written, the recipe first.

    Raises:
        InputError: no such recipe, a file is there already (nothing is copied), or the folder cannot be written to.
        WorkError: the disk is full.
    """
    recipes, folder = shipped(), Path(folder).expanduser()
    if name not in recipes:
        near = nearest(name, recipes)
        raise InputError(
            f"there is no shipped recipe {name}",
            expected=f"one of {', '.join(recipes)}",
            remedy=f"the nearest name is {near}" if near else None,
        )
    text = recipes[name].read_text("utf-8")
    copies: dict[Path, Path] = {}
    # Longer paths first, so that none is taken for the beginning of another.
    for written in sorted(
        set(_sample_paths(yaml_text.read(text.encode(), name).values)), key=len, reverse=True
    ):
        copies[folder / Path(written).name] = recipes[name].parent / written
        text = text.replace(written, Path(written).name)
    recipe = folder / f"{name}.yaml"
    there = [str(path) for path in (recipe, *copies) if path.exists()]
    if there:
        raise InputError(
            f"{words.any_of(there, joined_by='and')} {'is' if len(there) == 1 else 'are'} already there",
            remedy="nothing was copied; name another folder",
        )
    try:
        with no_room_is_a_work_error(str(folder), "free some disk space and copy again"):
            folder.mkdir(parents=True, exist_ok=True)
            for target, source in copies.items():
                (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
            recipe.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written to: {error.strerror}", remedy="name another folder"
        ) from None
    return [recipe, *copies]


def _sample_paths(values: Any) -> Iterator[str]:
    """The texts anywhere in a recipe that name sample data."""
    if isinstance(values, str) and values.startswith(_SAMPLES):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from _sample_paths(value)
    elif isinstance(values, list):
        for value in values:
            yield from _sample_paths(value)

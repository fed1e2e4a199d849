"""`tunesmith init`: a small commented recipe to start from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

_SAMPLE = Path("samples") / "poetry" / "quatrains.json"
_NANO = "builtin:nano"

_HEAD = """\
# A recipe for tunesmith. Every key and its default: docs/recipe.md
#   tunesmith check {file}   what will be learned, token by token
#   tunesmith train {file}   train, and see that it worked
name: {name}

model:
  source: {model} # a hub id (owner/name), a local folder, or builtin:nano

adapter: {{type: lora, rank: 16, alpha: 32}} # type: none trains all weights

data:
  train: {data} # a file, or a list of files; relative to this recipe
"""

_OWN_DATA = """\
  # eval: 0.1 # hold out a tenth of the rows, and watch the loss on them
  # system: You are a helpful assistant. # for rows without a system prompt, in training and in chat
  max_length: {max_length} # the longest sample in tokens; a longer one is an error that names its row

train:
  epochs: 3
  batch_size: 2
  accumulate: 4
  learning_rate: {learning_rate}
  warmup_ratio: 0.05

# Asked before and after training; the answers stand side by side in report.html. Put your own questions here:
# evaluate:
#   prompts:
#     - A question that your data teaches the model to answer
"""

_SAMPLE_DATA = """\
  max_length: 256 # the longest sample in tokens

train:
  epochs: 6
  batch_size: 4
  accumulate: 2
  learning_rate: {learning_rate}
  warmup_steps: 10

evaluate: # asked before and after training; the answers stand side by side in report.html
  metrics: [poem_form]
  prompts:
    - 写一首关于火车站的诗
    - Write a poem about a bicycle
  generation: {{temperature: 0.7, max_new_tokens: 64}}
"""


def init(
    file: Annotated[str, typer.Argument(help="The recipe to write.")] = "recipe.yaml",
    data: Annotated[
        str | None, typer.Option(help="Your training file; without it sample poems are brought along.")
    ] = None,
    model: Annotated[str, typer.Option(help="A hub id, a local folder, or builtin:nano.")] = _NANO,
    name: Annotated[str | None, typer.Option(help="The run's name; default: after the data.")] = None,
) -> None:
    """Write a small commented recipe to start from. Nothing is overwritten."""
    from tunesmith.config.yaml_text import read

    recipe = Path(file).expanduser()
    _refuse_what_cannot_be_written(recipe)
    data_path = _sample_beside(recipe) if data is None else _existing(data)
    text = (_HEAD + (_SAMPLE_DATA if data is None else _OWN_DATA)).format(
        file=recipe,
        name=_quoted(name if name is not None else "poetry" if data is None else _name_after(data_path)),
        model=_quoted(_model_from(model, recipe.parent)),
        data=_quoted(_relative(data_path, recipe.parent)),
        # The embedded model is small: it reads 512 tokens at most, and takes larger steps.
        max_length=512 if model == _NANO else 1024,
        learning_rate="7e-4" if model == _NANO else "2e-4",
    )
    _check(read(text.encode(), file).values, name)
    written = _write(recipe, text, data_path if data is None else None)
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(f"\nNext: tunesmith check {recipe} — then: tunesmith train {recipe}")


def _refuse_what_cannot_be_written(recipe: Path) -> None:
    from tunesmith.errors import InputError

    if recipe.exists():
        raise InputError(f"{recipe} is already there", remedy="name another file: tunesmith init NEW.yaml")
    if recipe.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"{recipe} is no name for a recipe",
            expected="a file that ends in .yaml",
            remedy=f"write it as {recipe}.yaml",
        )


def _sample_beside(recipe: Path) -> Path:
    """Where the sample poems go; a copy that an earlier `init` brought serves again.

    Raises:
        InputError: another file has that name.
    """
    from tunesmith.errors import InputError

    target = recipe.parent / _SAMPLE.name
    if target.exists() and target.read_bytes() != _sample_bytes():
        raise InputError(
            f"{target} is already there, and it is not the sample",
            remedy="use it with --data, or name a recipe in another folder",
        )
    return target


def _sample_bytes() -> bytes:
    from importlib import resources

    return Path(str(resources.files("tunesmith") / str(_SAMPLE))).read_bytes()


def _existing(data: str) -> Path:
    from tunesmith.config.words import nearest
    from tunesmith.errors import InputError

    path = Path(data).expanduser()
    if not data or not path.exists():
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, names)
        raise InputError(
            f"there is no data file {data}",
            remedy=f"the nearest name is {path.parent / near}" if near else None,
        )
    return path


def _name_after(data: Path) -> str:
    """The data file's name as a run's name."""
    fits = "".join(c if c.isalpha() or c.isdecimal() or c in "_.- " else "-" for c in data.resolve().stem)
    return fits.strip(".- ") or "recipe"


def _check(values: Any, name: str | None) -> None:
    """Let the schema judge what will be written.

    Raises:
        Problems: it finds fault with what was given.
    """
    from pydantic import ValidationError

    from tunesmith.config.problems import problems_of
    from tunesmith.config.schema import Recipe
    from tunesmith.errors import Problems

    try:
        Recipe.model_validate(values)
    except ValidationError as error:
        flags = {"name": f"--name {name}", "model": "--model"}
        raise Problems(problems_of(error, values, lambda path: flags[str(path[0])])) from None


def _model_from(model: str, folder: Path) -> str:
    """The model as the recipe must say it: a folder is named from the recipe's own folder."""
    path = Path(model).expanduser()
    if not model or not path.is_dir():
        return model
    relative = _relative(path, folder)
    return relative if relative.startswith(".") or path.is_absolute() else f"./{relative}"


def _relative(path: Path, folder: Path) -> str:
    """A path as it reads from a folder; an absolute one stays so."""
    if path.is_absolute():
        return str(path)
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _quoted(text: str) -> str:
    """The text as a YAML value on a line with a comment: in quotes when it would not read back as itself."""
    from tunesmith.config.yaml_text import read
    from tunesmith.errors import InputError

    try:
        plain_is_fine = read(f"key: {text} # comment".encode(), "").values == {"key": text}
    except InputError:
        plain_is_fine = False
    return text if plain_is_fine else json.dumps(text, ensure_ascii=False)


def _write(recipe: Path, text: str, sample: Path | None) -> list[Path]:
    """Write the recipe, and the sample data where it is wanted and not there yet; tell what was written."""
    from tunesmith.errors import InputError, no_room_is_a_work_error

    written = []
    try:
        with no_room_is_a_work_error(str(recipe), "free some disk space and try again"):
            recipe.parent.mkdir(parents=True, exist_ok=True)
            if sample is not None and not sample.exists():
                sample.write_bytes(_sample_bytes())
                written.append(sample)
            # "x": between the look and the writing, somebody else may have put a file there.
            with recipe.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise InputError(
            f"{recipe} cannot be written: {error.strerror}", remedy="name another place"
        ) from None
    return [recipe, *written]

"""Write docs/recipe.md from the recipe's schema; `--check` only says whether the page is up to date.

python tools/write_recipe_docs.py [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunesmith.config import yaml_text
from tunesmith.config.schema import Recipe
from tunesmith.config.words import Path as KeyPath
from tunesmith.config.words import blocks, dotted, opened, type_in_words, type_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipe.md"

EXAMPLE = """\
name: poetry
model:
  source: TinyLlama/TinyLlama-1.1B-Chat-v1.0 # a hub id, a local folder, or builtin:nano
  precision: auto
adapter: {type: lora, rank: 16, alpha: 32, dropout: 0.1, targets: all-linear} # type: none trains all weights
data:
  train: # a path is enough; a list of files is one data set
    - poems.json
    - {path: more.jsonl, format: messages}
  eval: 0.1 # hold out a tenth of the rows; or files, like `train`
  system: You are a poet.
  max_length: 256
  on_long: error
  on_bad_row: error
method: {name: sft}
train:
  epochs: 10
  batch_size: 1
  accumulate: 4
  learning_rate: 2e-4
  schedule: cosine
  warmup_steps: 10
  weight_decay: 0.01
  seed: 0
  save_every: 50
  keep: 2
  early_stop: {patience: 3}
evaluate:
  metrics: [poem_form]
  prompts: [Write a poem about the sea, 写一首关于故乡的诗]
  generation: {temperature: 0.7, max_new_tokens: 64}
track:
  - wandb: {project: poetry, mode: offline}
run: {output: runs/poetry}
"""

HEAD = f"""\
# The recipe

<!-- Written by tools/write_recipe_docs.py from src/tunesmith/config/schema.py; edit those, not this page. -->

A recipe is one YAML file that every verb reads. `name`, `model.source` and `data.train` are all it must say; the rest
has the defaults below. `tunesmith init` writes a small one, `tunesmith recipes copy NAME` copies one that comes along.

```yaml
{EXAMPLE}```

- **Paths** are relative to the recipe's folder; those given on the command line to the current folder.
- **On the command line** `key=value` changes a key: `tunesmith train recipe.yaml train.epochs=2
  data.train.0.path=other.json track.0.wandb.mode=offline`. The value is YAML.
- **An unknown key** is an error that names the nearest one. All problems are told at once, each with its line.
- **YAML 1.2** is read: `2e-4` is a number; `yes` and `no` are text, write `true` and `false`.
"""


def page() -> str:
    """The whole page.

    Raises:
        pydantic.ValidationError: the example is no longer a recipe.
    """
    Recipe.model_validate(yaml_text.read(EXAMPLE.encode(), "the example").values)
    places: dict[type[BaseModel], list[KeyPath]] = {}
    for path, block in blocks():
        places.setdefault(block, []).append(path)
    return HEAD + "".join(section(block, paths) for block, paths in places.items())


def section(block: type[BaseModel], paths: list[KeyPath]) -> str:
    """One block: its heading, what it is, a table of its keys."""
    rows = "\n".join(row(name, field) for name, field in block.model_fields.items())
    about = (block.__doc__ or "").strip()
    table = f"| key | type | default | |\n|---|---|---|---|\n{rows}"
    return f"\n## {heading(block, paths)}\n\n{about}\n\n{table}\n"


def heading(block: type[BaseModel], paths: list[KeyPath]) -> str:
    """Where the block stands; of several methods, each with its name."""
    if paths == [()]:
        return "At the top"
    where = ", ".join(f"`{dotted(path)}`" for path in paths)
    is_one_of_several = sum(path == paths[0] for path, _ in blocks()) > 1
    return where + (f" with `name: {block.model_fields['name'].default}`" if is_one_of_several else "")


def row(name: str, field: FieldInfo) -> str:
    only_blocks = all(is_block(kind) for kind in opened(field.annotation))
    kind = "see below" if only_blocks else type_in_words(type_of(field))
    cells = (f"`{name}`", kind, default(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    return f"`{as_yaml(field.default)}`"


def as_yaml(value: Any) -> str:
    """A default as one writes it in a recipe; a line feed as `"\\n"`."""
    if isinstance(value, tuple):
        return f"[{', '.join(as_yaml(item) for item in value)}]"
    if isinstance(value, str):
        return value if value.isprintable() else json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if is_number(value) else {None: "null", True: "true", False: "false"}[value]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def complaints(arguments: list[str]) -> Iterator[str]:
    """Do what the arguments ask; yields what is wrong."""
    if arguments not in ([], ["--check"]):
        yield "usage: python tools/write_recipe_docs.py [--check]"
    elif not arguments:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(), "utf-8", newline="\n")
    elif not PAGE.is_file() or PAGE.read_text("utf-8") != page():
        yield f"{PAGE} is not up to date; run: python tools/write_recipe_docs.py"


if __name__ == "__main__":
    sys.exit("\n".join(complaints(sys.argv[1:])) or 0)

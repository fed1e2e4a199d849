"""The house stands on its floors: every import, the deferred ones too, points down; every module imports on its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = SOURCE / "tunesmith"

# From docs/architecture.md. A part of the package may import lower floors and itself, and nothing else of tunesmith.
FLOORS = [
    ["errors", "__init__"],  # the version; under everything
    ["optional", "rundir"],
    ["config", "hubs", "segments", "metrics"],
    ["data", "kernels"],
    ["models"],
    ["methods"],
    ["train"],
    ["infer"],
    ["evaluation", "export", "report"],
    ["lessons"],
    ["stage"],
    ["pipeline", "plan"],
    ["cli", "studio"],
    ["__main__"],
]
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
DATA = {"recipes", "samples"}  # files, no modules

MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def file_of(module: str) -> Path:
    path = SOURCE / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def part_of(module: str) -> str:
    """`config` for `tunesmith.config.load`, `__init__` for `tunesmith` itself."""
    return module.split(".")[1] if "." in module else "__init__"


def imports_in(code: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, imported module of tunesmith), wherever in the file it stands."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: None if is_package else -1]
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from tunesmith import pipeline` imports a module, `from tunesmith import __version__` does not.
            names = [f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "tunesmith")


def wrong_imports(module: str, code: str, *, is_package: bool = False) -> list[str]:
    own = part_of(module)
    return [
        f"{module}, line {line}, imports {imported}: floor {FLOOR_OF[part_of(imported)]} from floor {FLOOR_OF[own]}"
        for line, imported in imports_in(code, module, is_package=is_package)
        if part_of(imported) != own and FLOOR_OF[part_of(imported)] >= FLOOR_OF[own]
    ]


def test_every_part_of_the_package_has_a_floor():
    assert {part_of(module) for module in MODULES} - DATA <= set(FLOOR_OF)
    assert not [module for module in MODULES if part_of(module) in DATA]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    path = file_of(module)
    assert not wrong_imports(module, path.read_text("utf-8"), is_package=path.name == "__init__.py")


@pytest.mark.parametrize(
    ("module", "code", "wrong"),
    [
        ("tunesmith.config.load", "from tunesmith.models import source", True),
        ("tunesmith.config.load", "def f():\n    import tunesmith.cli.main", True),
        ("tunesmith.config.load", "from ..models.source import resolve", True),
        ("tunesmith.config.load", "from tunesmith import segments", True),
        ("tunesmith.config.load", "from .schema import Recipe", False),
        ("tunesmith.config.load", "from tunesmith.errors import InputError\nimport torch", False),
        ("tunesmith.cli.main", "from tunesmith import __version__, pipeline", False),
    ],
)  # fmt: skip
def test_the_reader_of_imports_sees_them_all(module, code, wrong):
    assert bool(wrong_imports(module, code)) == wrong


IMPORT_EACH = """
import importlib, json, os, sys, traceback

import matplotlib, peft, torch, transformers  # heavy and not ours: once for all the children

failed = {}
for module in json.loads(sys.argv[1]):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(module)
        except BaseException:
            os.write(writing, traceback.format_exc()[-2000:].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        complaint = pipe.read().decode()
    os.waitpid(child, 0)
    if complaint:
        failed[module] = complaint
print(json.dumps(failed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process a module would take minutes without fork")
def test_every_module_imports_on_its_own():
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, json.dumps(MODULES)], capture_output=True, text=True, check=True
    )
    failed = json.loads(ran.stdout.splitlines()[-1])
    assert not failed, "\n".join(f"{module}:\n{complaint}" for module, complaint in failed.items())

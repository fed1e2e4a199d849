"""The notebooks: kept without outputs, self-contained, and running from top to bottom without a browser."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.slow import slow

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb") if not path.stem.endswith("_executed"))
SYSTEMS = {"poetry", "news", "books", "tcm", "qa"}


def test_there_is_one_for_each_system():
    assert {Path(name).stem for name in NOTEBOOKS} == SYSTEMS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_a_notebook_without_outputs_that_explains_itself(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            ast.parse(cell.source)  # plain Python: no shell lines, which differ between systems
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    assert words > 100


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_takes_the_embedded_model_and_nothing_from_outside(name):
    code = "\n".join(
        cell.source for cell in nbformat.read(FOLDER / name, as_version=4).cells if cell.cell_type == "code"
    )
    assert "nano" in code
    assert not re.search(r"https?://|hf:|ms:|from_pretrained", code)


@slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_from_top_to_bottom(name, tmp_path):
    shutil.copyfile(FOLDER / name, tmp_path / name)
    executed = name.replace(".ipynb", "_executed.ipynb")
    words = ["--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=600", "--output", executed, name]
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", *words],
        cwd=tmp_path,
        env={**os.environ, "JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [
        cell for cell in nbformat.read(tmp_path / executed, as_version=4).cells if cell.cell_type == "code"
    ]
    assert all(cell.execution_count for cell in cells)
    assert sum(bool(cell.outputs) for cell in cells) >= 3

"""A finished run, made by the real command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.invariant.test_kill_and_resume import finished_copy_without_its_end
from tests.recipes import write_recipe


@pytest.fixture(scope="session")
def whole(command, tmp_path_factory, tiny_model_folder) -> tuple[Path, Path]:
    """A recipe and its finished run; tests copy it."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = write_recipe(folder, tiny_model_folder, train={"threads": 1})
    code, output = command.run("train", str(recipe), cwd=folder)
    assert code == 0, output
    return recipe, folder / "run"


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """The finished run as if killed right after its last checkpoint."""
    finished_copy_without_its_end(whole[1], tmp_path / "run")
    return tmp_path / "run"

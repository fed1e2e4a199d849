"""The reference page is the schema's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import write_recipe_docs
from tunesmith.config.words import blocks

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_schema_says():
    checked = subprocess.run(
        [sys.executable, "tools/write_recipe_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_every_key_of_every_block_is_in_the_page_with_a_description():
    page = write_recipe_docs.page()
    for path, block in blocks():
        for name, field in block.model_fields.items():
            assert field.description, f"{'.'.join(map(str, path))}.{name} has no description"
            assert write_recipe_docs.row(name, field) in page


def test_no_row_of_a_table_is_broken_by_a_default():
    rows = [line for line in write_recipe_docs.page().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(block.model_fields) for block in dict.fromkeys(b for _, b in blocks()))
    assert all(row.endswith(" |") for row in rows)
    assert '| `join` | text | `"\\n"` |' in write_recipe_docs.page()


def test_check_fails_on_a_page_of_yesterday(tmp_path, monkeypatch):
    monkeypatch.setattr(write_recipe_docs, "PAGE", tmp_path / "recipe.md")
    assert list(write_recipe_docs.complaints(["--check"]))
    assert not list(write_recipe_docs.complaints([]))
    assert not list(write_recipe_docs.complaints(["--check"]))
    (tmp_path / "recipe.md").write_text("old", "utf-8")
    assert list(write_recipe_docs.complaints(["--check"]))


@pytest.mark.parametrize("block", [block for _, block in blocks()], ids=lambda block: block.__name__)
def test_blocks_are_frozen_and_refuse_unknown_keys(block):
    assert (
        block.model_config["frozen"]
        and block.model_config["extra"] == "forbid"
        and block.model_config["strict"]
    )
    assert block.__doc__

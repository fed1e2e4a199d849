"""docs/families.md says what becomes of each family; a sample is tried here, all of them where there are minutes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from tests.slow import slow

ROOT = Path(__file__).resolve().parents[2]
# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(ROOT / "tools"))

import write_family_docs  # noqa: E402

PAGE = (ROOT / "docs" / "families.md").read_text("utf-8")
SAMPLE = (
    "llama", "qwen2", "qwen3_moe", "glm", "gpt_oss", "gemma2", "gemma3_text", "deepseek_v3", "phi3", "cohere2", "qwen2_vl",
    "modernbert-decoder", "mamba", "falcon_h1", "bloom", "stablelm", "bart", "xlnet",
)  # fmt: skip

written_here = pytest.mark.skipif(
    f"transformers {transformers.__version__}" not in PAGE, reason="the page tells of another transformers"
)
TITLES = {"packed": "Packed rows", "alone": "One sequence a row", "fails": "Cannot be trained"}


@written_here
@pytest.mark.parametrize("family", SAMPLE)
def test_the_page_says_what_happens(family):
    found = write_family_docs.verdict(family)
    section = PAGE.split(f"## {TITLES[found.way]}\n")[1].split("\n## ")[0]
    assert write_family_docs.row(found) in section.splitlines()


def test_every_type_has_one_row():
    named = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert len(named) == len(set(named))
    if f"transformers {transformers.__version__}" in PAGE:
        assert set(named) == {*write_family_docs.TYPES, *write_family_docs.IMAGE_TEXT_TYPES}


def test_a_wrong_update_is_found(monkeypatch):
    """The comparison that the page rests on: an oracle that weighs otherwise must be told apart."""
    plain = write_family_docs.plain_update
    monkeypatch.setattr(write_family_docs, "plain_update", lambda model, trees: plain(model, trees[:-1]))
    assert write_family_docs.verdict("llama").way == "fails"


def test_a_family_that_hangs_or_falls_is_a_row(monkeypatch):
    import os
    import time

    monkeypatch.setattr(write_family_docs, "SECONDS", 0.5)
    monkeypatch.setattr(write_family_docs, "verdict", lambda _: time.sleep(60))
    assert write_family_docs.verdict_apart("llama").reason == "it takes too long"
    monkeypatch.setattr(write_family_docs, "SECONDS", 60)
    monkeypatch.setattr(write_family_docs, "verdict", lambda _: os._exit(9))
    assert write_family_docs.verdict_apart("llama").reason == "its process fell"


@slow
@written_here
def test_the_whole_page_is_up_to_date():
    checked = subprocess.run(
        [sys.executable, "tools/write_family_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr

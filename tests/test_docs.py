"""The documents name only what there is: verbs, options, files, recipe keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from tunesmith.cli.main import build
from tunesmith.config.schema import Recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands_in(page: Path) -> list[list[str]]:
    """Every `tunesmith ...` in a code block or between backticks, as words without the comment behind it."""
    text = page.read_text("utf-8")
    blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.S))
    lines = [line for line in blocks.splitlines() if re.match(r"(uv run )?tunesmith ", line.strip())]
    inline = re.findall(r"`(tunesmith [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [
        re.split(r"\s{2,}#|\s#", line.strip())[0].removeprefix("uv run ").split()
        for line in [*lines, *inline]
    ]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_is_one(page):
    verbs = get_command(build()).commands
    for _, verb, *words in commands_in(page):
        if verb.startswith("-"):
            continue
        assert verb in verbs, f"{page.name}: tunesmith {verb}"
        command = verbs[verb]
        if words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            assert not word.startswith("-") or word in options, f"{page.name}: tunesmith {verb} {word}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_named_file_of_the_project_is_there(page):
    for name in re.findall(r"`((?:src|tests|tools|docs)/[\w./-]+\.\w+)`", page.read_text("utf-8")):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_readmes_recipe_is_a_recipe():
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert Recipe.model_validate(yaml.safe_load(text)).name == "my-assistant"

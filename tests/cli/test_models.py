"""`tunesmith models`, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.cli.main import main
from tunesmith.config.load import load

CARD = b"---\nlicense: apache-2.0\n---\n# Model\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files(tiny_model_folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()} | {"README.md": CARD}


def run(capsys, *arguments: str) -> str:
    assert main(["models", *arguments]) == 0
    told = capsys.readouterr()
    assert told.err == ""  # progress bars are for terminals
    return told.out


def recipe_of(told: str, folder: Path) -> Path:
    """A recipe with the model block that `download` prints."""
    (folder / "rows.jsonl").write_text('{"text": "a"}\n', "utf-8")
    recipe = folder / "recipe.yaml"
    model = told.split("In a recipe:\n")[1]
    recipe.write_text(f"name: x\n{model}data: {{train: rows.jsonl}}\nmethod: {{name: pretrain}}\n", "utf-8")
    return recipe


def test_download_says_where_how_much_and_what_and_the_recipe_finds_it(
    net, files, tmp_path, capsys, monkeypatch
):
    from tunesmith.stage import prepare

    commit = net.publish("o/n", files)
    told = run(capsys, "download", "o/n", "--cache-dir", "kept")
    size = sum(map(len, files.values())) / 1000
    facts = f"{len(files)} files, {size:.1f} KB, licence apache-2.0, commit {commit}"
    assert f"o/n -> kept/models--o--n/snapshots/{commit}: {facts}" in told.replace(f"{tmp_path}/", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    recipe = load(str(recipe_of(told, tmp_path)))
    assert (recipe.model.source, recipe.model.revision) == ("o/n", commit)
    assert prepare(recipe).model_folder.is_relative_to(tmp_path / "kept")


def test_download_into_a_plain_folder(net, files, tmp_path, capsys):
    net.publish("o/n", files)
    told = run(capsys, "download", "ms:o/n", "-o", "here")
    assert (
        f"ms:o/n -> here: {len(files)} files, " in told
        and "licence apache-2.0" in told
        and "commit" not in told
    )
    assert load(str(recipe_of(told, tmp_path))).model.source == str(tmp_path / "here")
    assert (tmp_path / "here" / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_download_of_a_revision(net, files, capsys):
    net.publish("o/n", files)
    commit = net.publish("o/n", files | {"README.md": b"old"}, "v1")
    told = run(capsys, "download", "o/n", "--revision", "v1")
    assert f"licence not stated, commit {commit}" in told and f'revision: "{commit}"' in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["o/none"], "the hub has no model o/none"),
        (["builtin:giant"], "there is no embedded model 'builtin:giant'"),
        (["builtin:nano", "-o", "there"], "on this machine already, so nothing is downloaded to there"),
        (["./none"], "there is no folder ./none"),
        (["o/n", "--revision", "v9"], "o/n has no revision 'v9'; expected a branch, a tag or a commit"),
        (["o/n", "-o", "file"], "file is a file; expected a folder"),
        (["o/n", "--cache-dir", "file"], "file is a file; expected a folder"),
    ],
)
def test_what_cannot_be_downloaded_is_told(net, files, tmp_path, capsys, arguments, told):
    net.publish("o/n", files)
    (tmp_path / "file").write_text("mine")
    assert main(["models", "download", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine" and net.paths() == []


def test_what_is_here_already_is_not_downloaded(net, files, tmp_path, capsys):
    (tmp_path / "own" / "model").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "own" / "model" / name).write_bytes(content)
    for source, named in (("builtin:nano", "builtin:nano"), ("own/model", str(tmp_path / "own" / "model"))):
        told = run(capsys, "download", source)
        assert f"{source} is here already: nothing to download" in told
        assert load(str(recipe_of(told, tmp_path))).model.source == named
    assert net.paths() == []


def test_list_of_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["models", "list", "--cache-dir", str(tmp_path / "typo")]) == 2
    assert f"there is no folder {tmp_path / 'typo'}" in capsys.readouterr().err


def test_list_says_what_is_here_and_what_is_half_here(net, files, capsys):
    assert "no models in " in run(capsys, "list") and "tunesmith models download" in run(capsys, "list")
    commit = net.publish("o/n", files)
    net.publish("o/a-longer-name", files)
    run(capsys, "download", "o/n")
    run(capsys, "download", "ms:o/a-longer-name")
    first, second, *_ = run(capsys, "list").splitlines()
    size = f"{sum(map(len, files.values())) / 1000:.1f} KB"
    assert first.split() == ["o/n", *size.split(), "main", f"({commit[:12]})", "apache-2.0"]
    assert second.split()[0] == "ms:o/a-longer-name" and second.split()[-2:] == ["master", "apache-2.0"]
    assert first.index("apache") == second.index("apache")
    from huggingface_hub import constants

    weights = Path(constants.HF_HUB_CACHE) / f"models--o--n/snapshots/{commit}/model.safetensors"
    weights.unlink()
    assert "o/n" in (line := run(capsys, "list").splitlines()[0])
    assert line.endswith("not usable: it holds no *.safetensors weights")


def test_list_of_a_folder_of_ones_own(net, files, tmp_path, capsys):
    net.publish("o/n", files)
    run(capsys, "download", "o/n", "--cache-dir", "kept")
    run(capsys, "download", "ms:o/n", "--cache-dir", "kept")
    lines = run(capsys, "list", "--cache-dir", "kept").splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["o/n", "ms:o/n"] and lines[-1] == "in kept"
    assert "no models" in run(capsys, "list")

"""`recipes`, `init` and `doctor`, as a user calls them."""

from __future__ import annotations

import json

import pytest

from tunesmith.cli import doctor
from tunesmith.cli.main import main
from tunesmith.config.load import load, shipped


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- recipes


def test_recipes_lists_each_with_what_it_is_for(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in shipped():
        assert any(line.startswith(f"{name}  ") and len(line) > 40 for line in lines)


def test_recipes_copy_writes_recipe_and_data_and_says_what_is_next(here, capsys):
    assert main(["recipes", "copy", "poetry-nano", "mine"]) == 0
    assert names(here / "mine") == ["poetry-nano.yaml", "quatrains.json"]
    assert "tunesmith train mine/poetry-nano.yaml" in capsys.readouterr().out
    assert main(["recipes", "copy", "poetry-nano", "mine"]) == 2
    assert "already there" in capsys.readouterr().err


def test_recipes_copy_with_an_unknown_name_names_the_nearest(here, capsys):
    assert main(["recipes", "copy", "poetry-nan"]) == 2
    assert "The nearest name is poetry-nano" in capsys.readouterr().err
    assert names(here) == []


# ---- init


def test_init_alone_gives_something_that_trains_at_once(here, capsys):
    assert main(["init"]) == 0
    assert names(here) == ["quatrains.json", "recipe.yaml"]
    recipe = load("recipe.yaml")
    assert (recipe.name, recipe.model.source) == ("poetry", "builtin:nano")
    assert [source.path for source in recipe.data.train] == [str(here / "quatrains.json")]
    assert "tunesmith train recipe.yaml" in capsys.readouterr().out


def test_init_never_overwrites(here, capsys):
    (here / "recipe.yaml").write_text("mine", "utf-8")
    assert main(["init"]) == 2
    assert names(here) == ["recipe.yaml"] and (here / "recipe.yaml").read_text("utf-8") == "mine"
    (here / "quatrains.json").write_text("mine too", "utf-8")
    assert main(["init", "other.yaml"]) == 2
    assert "it is not the sample" in capsys.readouterr().err
    assert names(here) == ["quatrains.json", "recipe.yaml"]


def test_the_sample_that_an_earlier_init_brought_serves_again(here):
    assert main(["init", "a.yaml"]) == 0
    assert main(["init", "b.yaml"]) == 0
    assert load("b.yaml").data == load("a.yaml").data


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "two words: #1.json", "诗.json", "null", '"quoted".json', "x².json", "-.json"]
)
def test_init_writes_names_that_yaml_reads_back(here, name):
    (here / name).write_text("[]", "utf-8")
    assert main(["init", "sub/recipe.yaml", "--data", name]) == 0
    recipe = load("sub/recipe.yaml")
    assert [source.path for source in recipe.data.train] == [str(here / name)]
    assert recipe.evaluate.prompts == ()


def test_init_names_a_model_folder_from_the_recipes_folder(here):
    (here / "rows.json").write_text("[]", "utf-8")
    (here / "base").mkdir()
    assert main(["init", "sub/a.yaml", "--data", "rows.json", "--model", "base", "--name", "x 1"]) == 0
    assert main(["init", "b.yaml", "--data", "rows.json", "--model", "base"]) == 0
    assert load("sub/a.yaml").model.source == load("b.yaml").model.source == str(here / "base")
    assert load("sub/a.yaml").name == "x 1"
    assert main(["init", "c.yaml", "--data", "rows.json", "--model", "owner/name"]) == 0
    assert load("c.yaml").model.source == "owner/name"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["new.yaml", "--data", "rows.jsn"], "there is no data file rows.jsn. The nearest name is rows.json."),
        (["new.yaml", "--data", "rows.json", "--name", "a/b"], "--name a/b: `name` is the text 'a/b'; expected text of letters,"),
        (["new.yaml", "--data", "rows.json", "--name", ""], "`name` is an empty text"),
        (["new.yaml", "--data", "rows.json", "--model", ""], "--model: `model.source` is an empty text"),
        (["new"], "expected a file that ends in .yaml"),
        (["rows.json/new.yaml"], "cannot be written"),
    ],
)  # fmt: skip
def test_init_with_bad_input_writes_nothing(here, capsys, arguments, said):
    (here / "rows.json").write_text("[]", "utf-8")
    assert main(["init", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert names(here) == ["rows.json"]


# ---- doctor


@pytest.fixture
def logged_out(here, monkeypatch):
    """A home without any login; the developer's own keys are none of the tests' business."""
    for variable in (
        "WANDB_API_KEY",
        "WANDB_BASE_URL",
        "NETRC",
        "SWANLAB_API_KEY",
        "SWANLAB_ROOT",
        "SWANLAB_SAVE_DIR",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(here))
    return here


def test_doctor_says_what_is_here(logged_out, capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "python",
        "torch",
        "transformers",
        "peft",
        "cpu",
        "GiB free",
        "hub cache",
        "builtin:nano",
        "wandb login",
    ):
        assert word in shown


def test_doctor_json_is_one_object_and_nothing_else(logged_out, capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["devices"][-1]["device"] == "cpu"
    assert facts["memory"]["total_bytes"] >= facts["memory"]["available_bytes"] > 0
    assert facts["cores"]["usable"] >= 1 and facts["disk"]["free_bytes"] > 0
    assert all(facts["packages"].values())
    assert facts["login"] == {"wandb": None, "swanlab": None}


def test_doctor_gives_the_pip_line_for_what_is_missing(logged_out, monkeypatch, capsys):
    monkeypatch.setattr("tunesmith.optional.installed", lambda module: False)
    assert main(["doctor"]) == 0
    assert (
        'bitsandbytes is not installed (8-bit AdamW): pip install "tunesmith[bnb]"' in capsys.readouterr().out
    )


def test_doctor_tells_of_a_login_and_never_of_the_key(logged_out, monkeypatch, capsys):
    (logged_out / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password a-secret\n", "utf-8")
    monkeypatch.setenv("SWANLAB_API_KEY", "another-secret")
    for arguments in (["doctor"], ["doctor", "--json"]):
        assert main(arguments) == 0
        said = capsys.readouterr()
        assert "secret" not in said.out + said.err
        assert ".netrc" in said.out and "SWANLAB_API_KEY" in said.out


def test_a_netrc_for_another_host_or_a_broken_one_is_no_login(logged_out, monkeypatch):
    (logged_out / ".netrc").write_text("machine example.org login a password b\n", "utf-8")
    assert doctor.examine()["login"]["wandb"] is None
    monkeypatch.setenv("WANDB_BASE_URL", "https://example.org")
    assert doctor.examine()["login"]["wandb"] == str(logged_out / ".netrc")
    (logged_out / ".netrc").write_text("nonsense {", "utf-8")
    assert doctor.examine()["login"]["wandb"] is None


def test_doctor_believes_a_containers_limit(tmp_path):
    (tmp_path / "limit").write_text("1024\n", "ascii")
    (tmp_path / "none").write_text("max\n", "ascii")
    assert doctor._number_in(tmp_path / "limit") == 1024
    assert doctor._number_in(tmp_path / "none") is doctor._number_in(tmp_path / "absent") is None

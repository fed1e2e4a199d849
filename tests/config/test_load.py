"""Reading a recipe: what is read, where paths lead, and what is said when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.config.load import copy_shipped, dump, load, nearest, shipped, summary
from tunesmith.config.problems import OTHER_NAMES
from tunesmith.config.schema import Recipe
from tunesmith.config.words import counted, types_at
from tunesmith.errors import InputError, Problems

MINIMAL = "name: mine\nmodel: {source: builtin:nano}\ndata: {train: poems.json}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `recipes/` to write recipes in, seen from its parent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    return tmp_path / "recipes"


def write(folder: Path, text: str, name: str = "mine.yaml") -> str:
    (folder / name).write_text(text, "utf-8")
    return f"{folder.name}/{name}"


def told(folder: Path, text: str, overrides: tuple[str, ...] = ()) -> list[str]:
    """The problems of a recipe, without the file's name."""
    with pytest.raises(InputError) as caught:
        load(write(folder, text), overrides)
    problems = caught.value.problems if isinstance(caught.value, Problems) else [caught.value]
    return [str(problem).removeprefix("recipes/mine.yaml") for problem in problems]


# ---- values


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("[q, r]", "`data.train.0.columns` is a list of 2; expected a block of `field: column` lines or null."),
        ("q", "`data.train.0.columns` is the text 'q'; expected a block of `field: column` lines or null. Give it as "
         "lines `key: value`, indented below `columns:`."),
        ("{prompt: 3}", "`data.train.0.columns.prompt` is 3; expected text. Put it in quotes."),
        ("{3: q}", "`data.train.0.columns` has the key 3; expected text. Put it in quotes."),
    ],
)  # fmt: skip
def test_a_block_of_names_is_told_in_words(folder, columns, sentence):
    text = MINIMAL.replace("train: poems.json", f"train: [{{path: a.csv, columns: {columns}}}]")
    assert told(folder, text) == [f":3: {sentence}"]


def test_a_block_of_names_can_be_given_on_the_command_line(folder):
    given = load(write(folder, MINIMAL), ["data.train.0.columns.prompt=q"]).data.train[0].columns
    assert given == {"prompt": "q"}
    (problem,) = told(folder, MINIMAL, ("data.train.0.columns=q",))
    assert problem.endswith("Set its keys, such as data.train.0.columns.FIELD=VALUE.")


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")],
)
def test_things_are_counted_as_one_says_it(number, words):
    assert counted(number, "row") == words
    assert counted(number, "reply", "replies") == words.replace("rows", "replies").replace("row", "reply")


def test_yaml_is_version_1_2(folder):
    recipe = load(write(folder, MINIMAL + "train: {learning_rate: 2e-4}\n"))
    assert recipe.train.learning_rate == 2e-4
    assert told(folder, MINIMAL.replace("nano}", "nano, trust_remote_code: yes}")) == [
        ":2: `model.trust_remote_code` is the text 'yes'; expected true or false. Write true or false."
    ]


def test_a_byte_order_mark_and_a_block_with_all_lines_commented_out_are_fine(folder):
    (folder / "mine.yaml").write_bytes(
        b"\xef\xbb\xbf" + MINIMAL.encode() + b"train:\n  # epochs: 3\ntrack:\n"
    )
    assert load("recipes/mine.yaml").train.epochs == 3


def test_merged_keys_keep_their_lines(folder):
    text = MINIMAL + "train: &fast\n  epochs: 0\nevaluate:\n  generation: {<<: {temperature: hot}}\n"
    assert told(folder, text) == [
        ":5: `train.epochs` is 0; expected a whole number, at least 1.",
        ":7: `evaluate.generation.temperature` is the text 'hot'; expected a number, at least 0.",
    ]


def test_loading_imports_neither_torch_nor_transformers():
    code = (
        "import sys; from tunesmith.config.load import load; load('poetry-nano'); "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- overrides


def overridden(folder: Path, *overrides: str, text: str = MINIMAL) -> Recipe:
    return load(write(folder, text), overrides)


def test_overrides_are_yaml_and_reach_into_blocks_lists_and_what_is_not_there(folder):
    recipe = overridden(
        folder,
        "train.epochs=2",
        "train.learning_rate=1e-3",
        "data.eval=0.5",
        "train.early_stop.patience=7",
        "method.name=pretrain",
        "track.0.wandb.mode=offline",
        "evaluate.prompts=[a, b]",
        "data.system='x: y'",
    )
    assert (recipe.train.epochs, recipe.train.learning_rate, recipe.data.eval) == (2, 1e-3, 0.5)
    assert recipe.train.early_stop and recipe.train.early_stop.patience == 7
    assert recipe.method.name == "pretrain"
    assert recipe.track[0].wandb and recipe.track[0].wandb.mode == "offline"
    assert recipe.evaluate.prompts == ("a", "b")
    assert recipe.data.system == "x: y"


@pytest.mark.parametrize(
    "train", ["poems.json", "{path: poems.json}", "[poems.json]", "[{path: poems.json}]"]
)
@pytest.mark.parametrize("key", ["data.train.0.format", "data.train.format"])
def test_an_override_finds_its_way_through_every_short_form_of_a_file(folder, train, key):
    recipe = overridden(folder, f"{key}=json", text=MINIMAL.replace("poems.json", train))
    assert [(Path(s.path), s.format) for s in recipe.data.train] == [(folder / "poems.json", "json")]


def test_an_override_may_add_to_the_end_of_a_list(folder):
    recipe = overridden(folder, "data.train.1=more.json", "track=wandb", "track.1.swanlab.project=p")
    assert [Path(source.path).name for source in recipe.data.train] == ["poems.json", "more.json"]
    assert recipe.track[1].swanlab and recipe.track[1].swanlab.project == "p"


def test_later_overrides_win_and_carry_the_blame(folder):
    assert overridden(folder, "train.epochs=2", "train={epochs: 5}").train.epochs == 5
    assert told(folder, MINIMAL, ("train.epochs=2", "train.epochs=x")) == [
        "command line: train.epochs=x: `train.epochs` is the text 'x'; expected a whole number, at least 1."
    ]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epochs", "this is not an override; expected key=value with a dotted key, such as train.epochs=2."),
        ("=2", "this is not an override; expected key=value with a dotted key, such as train.epochs=2."),
        ("train..epochs=2", "this is not an override; expected key=value with a dotted key, such as train.epochs=2."),
        ("train.epochs=[", "the value '[' is not YAML. Put it in quotes, such as 'data.system=\"a: b\"'."),
        ("name.x=2", "`name` is the text 'mine' and has no key `x`."),
        ("data.train.5=x", "`data.train` has no entry 5; expected an index from 0 to 1 (0 is the first, 1 adds one)."),
        ("train.epoch=2", "there is no key `epoch` under train. The nearest name is `epochs`."),
        ("epochs=2", "there is no key `epochs` at the top level. `epochs` belongs under train:."),
        ("adapter=lora", "`adapter` is the text 'lora'; expected a block (`type`, `rank`, `alpha`, `dropout`, "
         "`targets`, `vision`, ...). Set its keys, such as adapter.type=VALUE."),
    ],
)  # fmt: skip
def test_a_bad_override_is_told_with_its_own_words(folder, override, sentence):
    assert told(folder, MINIMAL, (override,)) == [f"command line: {override}: {sentence}"]


def test_an_override_without_an_index_does_not_choose_among_several_files(folder):
    [problem] = told(folder, MINIMAL.replace("poems.json", "[a.json, b.json]"), ("data.train.path=x",))
    assert "is a list of 2; expected an index, such as data.train.0.path" in problem


# ---- problems


def test_what_cannot_be_a_path_is_said():
    with pytest.raises(InputError, match="cannot be a path"):
        load("x" * 300)


def test_every_problem_is_told_at_once_in_the_order_of_the_file(folder):
    text = """\
name: a/b
epochs: 3
model: {sorce: builtin:nano, precision: fp23}
adapter:
  r: 8
  rank: "16"
  learning_rate: 2
data:
  train:
    - {format: json}
    - path: x.json
      fromat: json
  eval: 1.5
method: {name: sfd}
train:
  epochs: 1
  epochs: 2
  save_every: epochs
  betas: [0.9]
1: 2
"""
    assert told(folder, text, ("train.seed=x",)) == [
        ":1: `name` is the text 'a/b'; expected text of letters, digits, `_`, `.`, `-` and spaces that begins with a "
        "letter, a digit or `_`.",
        ":2: there is no key `epochs` at the top level. `epochs` belongs under train:.",
        ":3: `model.precision` is the text 'fp23'; expected `auto`, `fp32`, `bf16` or `fp16`. The nearest is `fp32`.",
        ":3: there is no key `sorce` under model. The nearest name is `source`.",
        ":5: there is no key `r` under adapter. Here it is called `adapter.rank`.",
        ":6: `adapter.rank` is the text '16'; expected a whole number, at least 1. Take the quotes away.",
        ":7: there is no key `learning_rate` under adapter. `learning_rate` belongs under train:.",
        ":10: `data.train.0.path` is missing; expected text, not empty. Add a line `path: ...` under data.train.0.",
        ":12: there is no key `fromat` under data.train.1. The nearest name is `format`.",
        ":13: `data.eval` is 1.5; expected a number, above 0 and below 1, or text or a block (`path`, `format`, `columns`, `weight`, `encoding`, `join`, ...), or a "
        "list of these, or null.",
        ":14: `method.name` is the text 'sfd'; expected `sft`, `pretrain`, `dpo`, `kto`, `reward`, `distill` or `grpo`. The nearest is `sft`.",
        ":17: the key `epochs` stands twice; the first is on line 16. Keep one of them.",
        ":18: `train.save_every` is the text 'epochs'; expected a whole number, at least 1, or `epoch`. The nearest is "
        "`epoch`.",
        ":19: `train.betas` is a list of 1; expected a list of 2 numbers.",
        ":20: there is no key 1 at the top level; expected one of name, model, adapter, data, method, train, evaluate, "
        "track, run.",
        "command line: train.seed=x: `train.seed` is the text 'x'; expected a whole number, at least 0 and at most "
        "4294967295.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("train: {warmup_steps: 1, warmup_ratio: 0.1}",
         ":4: warmup_steps and warmup_ratio are both given; keep one of them."),
        ("train:\n  epochs: 1\n  keep_best: true",
         ":6: train.keep_best needs a held-out part; add `eval: 0.1` under data."),
        ("track: [{wandb: {}, swanlab: {}}]",
         ":4: one tracker an entry, such as `- wandb: {project: poetry}`."),
        ("track: wandbb", ":4: there is no key `wandbb` under track. The nearest name is `wandb`."),
        ("evaluate: {generation: greedy}",
         ":4: `evaluate.generation` is the text 'greedy'; expected a block (`max_new_tokens`, `temperature`, `top_p`, "
         "`top_k`, `repetition_penalty`, `seed`). Give it as lines `key: value`, indented below `generation:`."),
        ("run: {resul: x}", ":4: there is no key `resul` under run. The nearest name is `result`."),
        ("method: {beta: 1}", ":4: `method.name` is missing; expected `sft`, `pretrain`, `dpo`, `kto`, `reward`, `distill` or `grpo`. "
         "Add a line `name: ...` under method."),
        ("run: {output: 3}", ":4: `run.output` is 3; expected text or null. Put it in quotes."),
        ("train: {epochs: 2.5}", ":4: `train.epochs` is 2.5; expected a whole number, at least 1."),
        ("data: {train: x}", ":4: the key `data` stands twice; the first is on line 3. Keep one of them."),
    ],
)  # fmt: skip
def test_one_wrong_thing_is_one_sentence(folder, lines, problem):
    assert told(folder, MINIMAL + lines + "\n") == [problem]


def test_a_missing_key_is_told_where_its_block_begins(folder):
    assert told(folder, "name: x\nmodel:\n  device: cpu\ndata: {train: a}\n") == [
        ":2: `model.source` is missing; expected text, not empty. Add a line `source: ...` under model."
    ]
    [model, data] = told(folder, "name: x\n")
    assert model.startswith(": `model` is missing") and data.startswith(": `data` is missing")


def test_pydantic_is_never_heard(folder):
    for line in (
        "track: 3",
        "data: []",
        "model: null",
        "train: {betas: 3}",
        "adapter: {targets: {}}",
        "method: 1",
    ):
        said = " ".join(told(folder, "name: x\n" + line + "\n"))
        for word in ("pydantic", "http", "Input should", "instance of", "tuple", "validation"):
            assert word not in said


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_the_names_of_other_tools_lead_to_keys_that_exist(name):
    assert types_at(tuple(OTHER_NAMES[name].split(".")))


# ---- files that are no recipes


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", ": the file is empty; expected a recipe with the blocks name, model,"),
        (b"# only a comment\n", ": the file is empty; "),
        (b"- a\n- b\n", ":1: the recipe is a list of 2; expected lines `key: value`"),
        (b"hello\n", ":1: the recipe is the text 'hello'; expected lines `key: value`"),
        (b"a: 1\nb:\n\tc: 2\n", ":3:1: a tab; expected spaces: YAML does not indent with tabs."),
        (b"a: 1\nb: c: d\n", ":2:5: a colon that makes no sense there. Check the indentation,"),
        (b"a: 1\nb: 'c\n", ":2:4: a quote is opened here and never closed."),
        (b"a: [1\nb: 2\n", ":1:4: a bracket is opened here and not closed as it should be."),
        (b"a: 1\n---\nb: 2\n", ":2:1: a second document (`---`); expected one document a file."),
        (b"a: \x01\n", ":1:4: a character that YAML does not allow (code 1)."),
        (b"a: @b\n", ":1:4: this is not YAML: found character '@' that cannot start any token. Put texts"),
        (b"a: !b c\n", ":1:4: a tag (`!...`); expected plain values."),
        (b"a: 1\nb: \xe9\n", ":2: the file is not UTF-8 (byte 0xe9). Save it as UTF-8 in your editor."),
        ("a: 1".encode("utf-16"), ":1: the file is not UTF-8 (byte 0xff)."),
        (b"a: 2001-99-99\n", ": a value cannot be read: "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_as_yaml_says_where(folder, content, sentence):
    (folder / "mine.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load("recipes/mine.yaml")
    assert str(caught.value).startswith(f"recipes/mine.yaml{sentence}")
    assert caught.value.exit_code == 2


def test_a_value_that_holds_itself_is_an_ordinary_problem(folder):
    assert any(
        "`name` is a list of 1" in problem for problem in told(folder, MINIMAL.replace("mine", "&a [*a]", 1))
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("recipes/nine.yaml", "recipes/mine.yaml"),
        ("recipes/mine", "recipes/mine.yaml"),
        ("poetry_nano", "poetry-nano"),
    ],
)
def test_a_missing_file_names_the_nearest(folder, name, near):
    write(folder, MINIMAL)
    with pytest.raises(InputError, match=f"there is no recipe {name}; .*The nearest is {near}"):
        load(name)


def test_a_missing_file_like_no_other_names_what_comes_along(folder):
    with pytest.raises(InputError, match=r"Shipped recipes: .*poetry-nano, .*tunesmith init zzz\.yaml"):
        load("zzz.yml")


def test_a_run_folder_names_the_recipe_in_it(folder):
    write(folder, MINIMAL, "recipe.yaml")
    with pytest.raises(InputError, match=r"recipes is a folder; .*recipes/recipe\.yaml"):
        load("recipes")


def test_nearest_looks_past_case_and_joints():
    assert nearest("Learning-Rate", ["epochs", "learning_rate"]) == "learning_rate"
    assert nearest("xyz", ["epochs"]) is None


# ---- paths


def test_paths_are_relative_to_the_recipe_those_of_the_command_line_to_the_current_folder(folder):
    (folder / "base").mkdir()
    text = """\
name: mine
model: {source: base, cache_dir: cache}
adapter: {start: ./before}
data: {train: [a.json, ../b.json], eval: c.json, template: t.jinja}
track: [{tensorboard: {folder: boards}}, wandb]
run: {result: tuned}
"""
    recipe, here = load(write(folder, text), ["data.train.0=x/a.json"]), folder.parent
    assert recipe.model.source == str(folder / "base")
    assert recipe.model.cache_dir == str(folder / "cache")
    assert recipe.adapter.start == str(folder / "before")
    assert [source.path for source in recipe.data.train] == [str(here / "x" / "a.json"), str(here / "b.json")]
    assert isinstance(recipe.data.eval, tuple) and recipe.data.eval[0].path == str(folder / "c.json")
    assert recipe.data.template == str(folder / "t.jinja")
    assert recipe.track[0].tensorboard and recipe.track[0].tensorboard.folder == str(folder / "boards")
    assert recipe.run.result == str(folder / "tuned")
    assert recipe.run.output == str(here / "runs" / "mine"), "the default is in the current folder"


def test_paths_of_data_keep_what_stands_behind_them_and_sets_of_a_hub_are_no_paths(folder):
    here = folder.parent
    for written, read in {
        "news/*.jsonl": f"{folder}/news/*.jsonl",
        "**/[ab].json#50": f"{folder}/**/[ab].json#50",
        "rows.jsonl#500": f"{folder}/rows.jsonl#500",
        "saved@test#5": f"{folder}/saved@test#5",
        "../all/*.csv": f"{here}/all/*.csv",
        "hf:owner/name:subset@split#5": "hf:owner/name:subset@split#5",
        "hf:owner/name/data/a.jsonl": "hf:owner/name/data/a.jsonl",
        "ms:owner/name": "ms:owner/name",
    }.items():
        recipe = load(write(folder, MINIMAL.replace("poems.json", f'"{written}"')))
        assert recipe.data.train[0].path == read
    named = MINIMAL.replace(
        "poems.json", "[{path: a.csv, images: pictures}, {path: b.csv, images: /far}, c.csv]"
    )
    recipe = load(write(folder, named), ["data.train.2.images=x"])
    assert [source.images for source in recipe.data.train] == [
        str(folder / "pictures"),
        "/far",
        str(here / "x"),
    ]


def test_a_models_name_is_left_alone(folder):
    for source in ("builtin:nano", "owner/name"):
        assert load(write(folder, MINIMAL.replace("builtin:nano", source))).model.source == source
    assert load(write(folder, MINIMAL), ["adapter.start=owner/name"]).adapter.start == "owner/name"


def test_the_run_folder_comes_from_the_recipe_the_override_or_the_option(folder):
    name, here = write(folder, MINIMAL + "run: {output: out}\n"), folder.parent
    assert load(name).run.output == str(folder / "out")
    assert load(name, ["run.output=out"]).run.output == str(here / "out")
    assert load(name, ["run.output=out"], output="../o").run.output == str(here.parent / "o")


def test_home_and_absolute_paths(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    recipe = load(write(folder, MINIMAL.replace("poems.json", "[~/a.json, /data/b.json]")))
    assert [source.path for source in recipe.data.train] == [str(folder / "a.json"), "/data/b.json"]


def test_a_parent_is_taken_through_symbolic_links(folder):
    (folder.parent / "far" / "deep").mkdir(parents=True)
    (folder / "link").symlink_to(folder.parent / "far" / "deep")
    recipe = load(write(folder, MINIMAL.replace("poems.json", "link/../a.json")))
    assert recipe.data.train[0].path == str(folder.parent / "far" / "a.json")


# ---- shipped recipes


@pytest.mark.parametrize("name", list(shipped()))
def test_a_shipped_recipe_loads_by_its_name_and_says_what_it_is_for(folder, name):
    recipe = load(name)
    assert recipe.name == name
    assert all(Path(source.path).is_file() for source in recipe.data.train)
    assert recipe.run.output == str(folder.parent / "runs" / name)
    assert summary(shipped()[name])


def test_an_existing_file_wins_over_a_shipped_recipe(folder):
    (folder.parent / "poetry-nano").write_text(MINIMAL, "utf-8")
    assert load("poetry-nano").name == "mine"


def test_poetry_tinyllama_has_the_hyper_parameters_of_the_script_it_replaces():
    recipe = load("poetry-tinyllama")
    adapter, train = recipe.adapter, recipe.train
    assert recipe.model.source == "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
    assert (recipe.model.device, recipe.model.precision) == ("cpu", "fp32")
    assert (adapter.rank, adapter.alpha, adapter.dropout) == (16, 32, 0.1)
    assert adapter.targets == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert (train.epochs, train.batch_size, train.accumulate) == (10, 1, 4)
    assert (train.learning_rate, train.schedule, train.warmup_steps) == (2e-4, "cosine", 10)
    assert (train.weight_decay, train.max_grad_norm) == (0.01, 1.0)
    assert (train.log_every, train.save_every, train.keep) == (1, 50, 2)
    assert (recipe.data.max_length, recipe.data.eval, recipe.track) == (256, None, ())
    assert (len(recipe.evaluate.prompts), recipe.evaluate.generation.temperature) == (3, 0.7)


def files_of(recipe):
    held_out = recipe.data.eval if isinstance(recipe.data.eval, tuple) else ()
    return [Path(source.path) for source in (*recipe.data.train, *held_out)]


@pytest.mark.parametrize("name", list(shipped()))
def test_a_copy_brings_data_and_comments_along(folder, name):
    target = folder / "new" / "place"
    recipe, *data = copy_shipped(name, target)
    assert recipe == target / f"{name}.yaml" and data
    copied, original = load(str(recipe)), load(name)
    copies, originals = files_of(copied), files_of(original)
    assert set(copies) <= set(data)
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in originals]
    pictures = [Path(source.images) for source in copied.data.train if source.images]
    assert all(any(folder.iterdir()) for folder in pictures) and set(pictures) <= set(data)
    assert "../samples" not in recipe.read_text("utf-8")
    assert recipe.read_text("utf-8").count("#") == shipped()[name].read_text("utf-8").count("#")
    assert copied.train == original.train


def test_a_copy_overwrites_nothing_and_copies_nothing_then(folder):
    (folder / "quatrains.json").write_text("mine", "utf-8")
    with pytest.raises(InputError, match=r"quatrains\.json is already there"):
        copy_shipped("poetry-nano", folder)
    assert [path.name for path in folder.iterdir()] == ["quatrains.json"]
    with pytest.raises(InputError, match="The nearest name is poetry-nano"):
        copy_shipped("poetry-nan", folder)


# ---- writing


@pytest.mark.parametrize("name", list(shipped()))
def test_what_dump_writes_load_reads_back(tmp_path, name):
    recipe = load(name)
    (tmp_path / "recipe.yaml").write_text(dump(recipe), "utf-8")
    assert load(str(tmp_path / "recipe.yaml")) == recipe


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "null",
        "yes",
        "2e-4",
        "2024-01-01",
        "- a",
        "a: b",
        " x ",
        "#",
        "'",
        '"',
        "{}",
        "a\n\nb\n",
        "春天，\n花。",
        "~",
        "\t",
    ]
)
NAMES = st.from_regex(r"[A-Za-z0-9_春][A-Za-z0-9_.\- 天]{0,20}", fullmatch=True)
POSITIVE = st.floats(1e-12, 1e12)
TRACKERS = st.sampled_from(
    [
        "wandb",
        {"swanlab": {"mode": "offline"}},
        {"tensorboard": {"folder": "/b"}},
        {"wandb": {"project": "# p: q"}},
    ]
)
RECIPES = st.fixed_dictionaries(
    {
        "name": NAMES,
        "model": st.fixed_dictionaries({"source": st.just("builtin:nano"), "revision": st.none() | TEXT}),
        "adapter": st.fixed_dictionaries({"alpha": POSITIVE, "targets": st.just("all-linear") | st.lists(TEXT, min_size=1)}),
        "data": st.fixed_dictionaries(
            {
                "train": st.lists(
                    st.fixed_dictionaries({"path": st.sampled_from(["/a.json", "/b: c #.json"]), "format": st.none() | TEXT}),
                    min_size=1,
                ),
                "eval": st.floats(0.01, 0.99) | st.just(["/e.json"]),
                "system": st.none() | TEXT,
            }
        ),
        "method": st.sampled_from([{"name": "sft"}, {"name": "pretrain"}]),
        "train": st.fixed_dictionaries(
            {
                "learning_rate": POSITIVE,
                "save_every": st.just("epoch") | st.integers(1, 10**6),
                "early_stop": st.none() | st.fixed_dictionaries({"min_delta": POSITIVE}),
                "warmup_ratio": st.none() | st.floats(0, 1),
            }
        ),
        "evaluate": st.fixed_dictionaries({"prompts": st.lists(TEXT)}),
        "track": st.lists(TRACKERS),
        "run": st.just({"output": "/runs/x"}),
    }
)  # fmt: skip


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values=RECIPES)
def test_any_recipe_survives_being_written(tmp_path, values):
    recipe = Recipe.model_validate(values)
    (tmp_path / "recipe.yaml").write_bytes(dump(recipe).encode())
    assert load(str(tmp_path / "recipe.yaml")) == recipe

"""The recipes that come along, and one recipe for each format: everything but the training, as `check` does it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import GlmConfig, GlmForCausalLM

from tests.data.tiny import trl_template
from tunesmith.config.load import copy_shipped, load, shipped, summary
from tunesmith.config.schema import Recipe
from tunesmith.data.books.rows import Wanted, make_rows, read_prompts
from tunesmith.data.converters import FORMATS, classification, ner
from tunesmith.errors import InputError
from tunesmith.models.source import resolve
from tunesmith.stage import Prepared, prepare

SAMPLES = Path(__file__).parents[1] / "src" / "tunesmith" / "samples"
RECIPES = sorted(shipped())
NANO = [name for name in RECIPES if name.endswith("-nano")]
GLM = GlmConfig(
    vocab_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=1, head_dim=8, pad_token_id=0,
)  # fmt: skip
CAPTIONS = "captions-qwen2vl"
EMBEDDED = {"captions-nano": "builtin:nano-vl"}  # the others take builtin:nano


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory) -> Path:
    """What `check` needs of a model that takes pictures: tokenizer, chat template, how pictures are cut. No weights."""
    folder = tmp_path_factory.mktemp("vision")
    for file in resolve("builtin:nano").iterdir():
        if file.suffix in (".json", ".safetensors"):
            shutil.copyfile(file, folder / file.name)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    number = config["vocab_size"]
    for offset, token in enumerate(("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")):
        entry = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        tokenizer["added_tokens"].append({"id": number + offset, "content": token, **entry})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    (folder / "config.json").write_text(
        json.dumps({**config, "vocab_size": number + 3, "image_token_id": number + 1}), "utf-8"
    )
    processor = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "merge_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    (folder / "chat_template.jinja").write_text(trl_template("qwen2_5_vl"), "utf-8")
    return folder


def prepared(name_or_path: str, model: Path | str, *overrides: str) -> Prepared:
    """A recipe's data for another model, whose layers have other names."""
    return prepare(
        load(str(name_or_path), [f"model.source={model}", "adapter.targets=all-linear", *overrides])
    )


def accounted(found: Prepared, *, drawn: bool = False) -> None:
    """No row is lost in silence, and every kept one teaches something."""
    for side, samples in (("train", found.data.train), ("eval", found.data.eval)):
        ledger = found.data.ledgers[side]
        if ledger is not None:
            assert ledger["rows_read"] == ledger["rows_kept"] + ledger["rows_dropped"]
            assert ledger["rows_kept"] == len({samples.place(at) for at in range(len(samples))}) > 0
            # Where answers are drawn in training, nothing has loss before that.
            assert (ledger["tokens"]["with_loss"] > 0) is not drawn


# ---- the shipped recipes


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_in_one_line_what_it_is_and_is_called_what_its_file_is(name):
    assert load(name).name == name
    assert 30 < len(summary(shipped()[name])) < 110


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_prepares_all_of_its_sample_data(name, vision_folder):
    teacher = ["method.teacher=builtin:nano"] if name == "qa-distill" else []
    found = prepared(
        name, vision_folder if name == CAPTIONS else EMBEDDED.get(name, "builtin:nano"), *teacher
    )
    accounted(found, drawn=load(name).method.name == "grpo")
    assert found.data.ledgers["train"]["rows_dropped"] == 0


@pytest.mark.parametrize("name", NANO)
def test_a_nano_recipe_needs_nothing_from_outside(name):
    recipe = load(name)
    embedded = EMBEDDED.get(name, "builtin:nano")
    assert (recipe.model.source, recipe.model.device, recipe.track) == (embedded, "cpu", ())
    assert recipe.train.optimizer == "adamw"  # 8-bit state would need a package that is no part of the core


@pytest.mark.parametrize("name", RECIPES)
def test_a_copy_has_all_of_its_data_beside_it(name, tmp_path):
    written = copy_shipped(name, tmp_path / "mine")
    assert all(path.parent == tmp_path / "mine" and path.exists() for path in written)
    copied, original = data_paths(load(str(written[0]))), data_paths(load(name))
    assert len(copied) == len(original)
    for copy, source in zip(copied, original, strict=True):
        assert copy.parent == tmp_path / "mine" and copy.name == source.name
        if source.is_dir():
            assert {path.name for path in copy.iterdir()} == {path.name for path in source.iterdir()}
        else:
            assert copy.read_bytes() == source.read_bytes()


def data_paths(recipe: Recipe) -> list[Path]:
    held_out = recipe.data.eval if isinstance(recipe.data.eval, tuple) else ()
    named = [path for source in (*recipe.data.train, *held_out) for path in (source.path, source.images)]
    return [Path(path) for path in named if path is not None]


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith(("news-", "ner-"))])
def test_the_instruction_of_the_rows_is_what_every_verb_says(name):
    data = load(name).data
    own = (classification if name.startswith("news-") else ner).INSTRUCTION
    assert isinstance(data.eval, tuple)
    assert {source.instruction or own for source in (*data.train, *data.eval)} == {data.system}


@pytest.mark.parametrize("name", ["news-nano", "ner-nano"])
def test_the_model_is_shown_the_instruction_once(name):
    found = prepared(name, "builtin:nano")
    (spans,) = found.renderer.spans(found.data.train[0].tree)
    text = "".join(span.text for span in spans)
    assert text.count(load(name).data.system) == text.count("<|im_start|>system") == 1


def test_rows_with_wrong_offsets_are_dropped_counted_and_named():
    wrong = str(SAMPLES / "ner" / "train_with_errors.jsonl")
    ledger = prepared("ner-qwen2", "builtin:nano", f"data.train=[{wrong}]").data.ledgers["train"]
    assert (ledger["rows_read"], ledger["rows_kept"], ledger["rows_dropped"]) == (24, 20, 4)
    for dropped in ledger["dropped"]:
        assert dropped["place"].startswith(wrong) and "of the text stands" in dropped["reason"]


def test_a_long_article_is_cut_and_its_class_stays():
    whole = prepared("news-qwen2", "builtin:nano").data  # the recipe says `on_long: truncate`
    cut = prepared("news-qwen2", "builtin:nano", "data.max_length=160").data
    assert len(cut.train) == len(whole.train) == 288
    assert cut.train.lengths.max() <= 160 < whole.train.lengths.max()
    assert list(cut.train.column("answer")) == list(whole.train.column("answer"))


def test_tools_are_computed_once_for_all_rows_of_an_update():
    found = prepared("chats-tools-nano", "builtin:nano")
    trees = [found.data.train[at].tree for at in range(4)]
    starts = {tuple(tree[0].tokens[:800]) for tree in trees}
    assert len(starts) == 1


def test_the_passages_are_what_from_pdf_makes(tmp_path):
    book = SAMPLES / "book"
    wanted = Wanted(
        persona=(book / "clockmender_persona.txt").read_text("utf-8").strip(),
        prompts=read_prompts(book / "clockmender_prompts.json"),
    )
    make_rows([book / "clockmender.pdf"], tmp_path / "made.jsonl", wanted, skip_bad=False)
    made, kept = (
        (folder / file).read_text("utf-8").splitlines()
        for folder, file in ((tmp_path, "made.jsonl"), (book, "clockmender_passages.jsonl"))
    )
    assert made == kept


# What people tuned with before: rank, alpha, dropout, learning rate, epochs, samples an update, tokens a sample.
TEXT = (8, 32, 0.1, 1e-4, 2, 16, 384)
BOOK = (16, 32, 0.0, 2e-4, 1, 4, 2048)
HYPER_PARAMETERS = {
    "news-qwen2": TEXT,
    "ner-qwen2": TEXT,
    "news-glm4": TEXT,
    "ner-glm4": TEXT,
    CAPTIONS: (64, 16, 0.05, 1e-4, 2, 16, 8192),
    "book-qwen3": BOOK,
    "book-gptoss": BOOK,
    "tcm-sft": (16, 32, 0.0, 5e-5, 3, 2, 1024),
    "tcm-lora": (16, 32, 0.0, 2e-4, 3, 2, 1024),
    "qa-tinyllama": (16, 32, 0.0, 2e-4, 5, 4, 512),
}


@pytest.mark.parametrize("name", HYPER_PARAMETERS)
def test_hyper_parameters_are_those_of_the_scripts_that_are_replaced(name):
    recipe = load(name)
    adapter, train = recipe.adapter, recipe.train
    assert HYPER_PARAMETERS[name] == (
        *(adapter.rank, adapter.alpha, adapter.dropout, train.learning_rate, train.epochs),
        *(recipe.samples_an_update, recipe.data.max_length),
    )


# How frozen weights are stored, where they go, and what the answers to held-out rows are measured by.
STORAGE = {
    **dict.fromkeys(("news-qwen2", "news-glm4"), ("none", "auto", ("accuracy",))),
    **dict.fromkeys(("ner-qwen2", "ner-glm4"), ("none", "auto", ("ner_f1",))),
    CAPTIONS: ("none", "auto", ()),
    "book-qwen3": ("nf4", "none", ()),
    "book-gptoss": ("keep", "none", ()),
    "qa-tinyllama": ("nf4", "none", ("keyword_recall",)),
}


@pytest.mark.parametrize("name", STORAGE)
def test_models_are_held_and_measured_as_those_of_the_scripts_or_better(name):
    recipe = load(name)
    assert STORAGE[name] == (recipe.model.quantize, recipe.model.device_map, recipe.evaluate.metrics)
    assert recipe.model.precision == ("auto" if name == "qa-tinyllama" else "bf16")


@pytest.mark.parametrize("name", ["news-glm4", "ner-glm4"])
def test_glm4_is_the_form_that_needs_no_code_of_its_makers(name):
    recipe = load(name)
    assert recipe.model.source.endswith("-hf") and not recipe.model.trust_remote_code
    modules = {layer.rpartition(".")[2] for layer, _ in GlmForCausalLM(GLM).named_modules()}
    assert set(recipe.adapter.targets) <= modules


# ---- one recipe for each format: the file as it is, and nothing but its path

# What else the recipe says, where the path alone does not do.
THINKING, TOOLS = {"template": "chatml-think"}, {"template": "chatml", "max_length": 1200}
FILES = {
    "messages": {"chats/messages.jsonl": {}, "chats/thinking.jsonl": THINKING, "chats/tools.jsonl": TOOLS},
    "sharegpt": {"chats/sharegpt.json": {}},
    "conversation": {"chats/conversation.jsonl": {}},
    "alpaca": {"tcm/train.json": {}, "tcm/test.json": {}},
    "query_response": {"chats/query_response.jsonl": {}},
    "preference": {f"preference/{file}": {} for file in ("train.json", "test.json", "prompt.jsonl", "messages.jsonl", "sharegpt.json")},
    "labelled": {"preference/kto.jsonl": {}},
    "classification": {f"news/{file}.jsonl": {} for file in ("train", "test", "topics_train", "topics_test")},
    "ner": {
        **{f"ner/{file}.jsonl": {} for file in ("ccfbdci", "test", "names_train", "names_test")},
        "ner/train_with_errors.jsonl": {"on_bad_row": "skip"},
    },
    "question_answer": {"distill/train.jsonl": {}, "distill/test.jsonl": {}},
    "prompt": {"poetry/prompts.jsonl": {}},
    "qa_keywords": {"qa/dataset.json": {}, "qa/test.json": {}},
    "poetry": {"poetry/quatrains.json": {}, "poetry/training_data.json": {}},
    "text": {f"book/{file}": {} for file in ("clockmender.pdf", "clockmender.md", "lightkeeper.pdf", "lightkeeper.md")},
    "vision": {"captions/train.json": {}, "captions/test.json": {}, "captions/foreign_paths.json": {}},
    "captions": {f"captions/{file}.csv": {} for file in ("captions", "drawings_train", "drawings_test")},
}  # fmt: skip
PICTURES_IN_MESSAGES = {"captions/images_list.jsonl": {}, "captions/openai_parts.jsonl": {}}
CASES = [
    *((format, file, options) for format, files in FILES.items() for file, options in files.items()),
    *(("messages", file, options) for file, options in PICTURES_IN_MESSAGES.items()),
]
# No sample file has these; the row is the recipe's whole data.
ROWS = {
    "prompt_completion": {"prompt": "Two and two?", "completion": "Four."},
}


def recipe_for(format: str, path: Path, folder: Path, model: Path | str, **options: object) -> Path:
    method = {"text": {"name": "pretrain"}, "prompt": {"name": "grpo", "rewards": "json"}}.get(
        format, {"name": "sft"}
    )
    if format in ("preference", "labelled"):
        method = {"name": "sft", "preferences": "chosen"}
    source: dict[str, str] = {"path": str(path)}
    if path.name == "foreign_paths.json":
        source["images"] = str(path.parent / "images")
    data = {"train": source, "max_length": 512, "cache": False, **options}
    recipe = {"name": format, "model": {"source": str(model)}, "data": data, "method": method}
    written = folder / "recipe.yaml"
    written.write_text(json.dumps(recipe), "utf-8")  # JSON is YAML too
    return written


@pytest.mark.parametrize(
    ("format", "file", "options"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_sample_file_is_read_as_its_format_by_its_path_alone(
    format, file, options, tmp_path, vision_folder
):
    model = vision_folder if file.startswith("captions/") else "builtin:nano"
    found = prepare(load(str(recipe_for(format, SAMPLES / file, tmp_path, model, **options))))
    accounted(found, drawn=format == "prompt")
    assert set(found.data.formats.values()) == {format}
    assert any(note.endswith(f"format {format}, detected") for note in found.data.notes)
    ledger = found.data.ledgers["train"]
    dropped = {"ner/train_with_errors.jsonl": 4, "preference/kto.jsonl": 24}.get(
        file, 0
    )  # wrong offsets; bad answers
    assert ledger["rows_dropped"] == dropped
    assert found.data.train.pictures.all() == file.startswith("captions/")


@pytest.mark.parametrize("format", ROWS)
def test_a_format_without_a_sample_file(format, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[format]) + "\n", "utf-8")
    found = prepare(load(str(recipe_for(format, tmp_path / "rows.jsonl", tmp_path, "builtin:nano"))))
    accounted(found)
    assert set(found.data.formats.values()) == {format}


def test_every_format_has_its_recipe():
    assert {*FILES, *ROWS} == set(FORMATS)


def test_every_sample_file_is_asked_for():
    rows = {".json", ".jsonl", ".csv", ".pdf", ".md"}
    there = {path.relative_to(SAMPLES).as_posix() for path in SAMPLES.glob("*/*") if path.suffix in rows}
    asked = {file for _, file, _ in CASES}
    others = {
        "qa/questions.json",
        "book/clockmender_passages.jsonl",
    }  # prompts for `batch`; a recipe has the passages
    others |= {file for file in there if file.endswith(("README.md", "_prompts.json"))}
    assert there - others == asked


# ---- docs/formats.md

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text("utf-8")
USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}
NOTHING: dict[str, object] = {}
# A file's name in the page, its one row (or its text), and what the recipe says beside its path.
WRONG = [
    ("chats.jsonl", {"messages": [ANSWER, USER]}, NOTHING),
    ("roles.jsonl", {"messages": [USER, {"role": "asistant", "content": "Hello!"}]}, NOTHING),
    ("null.jsonl", {"messages": [USER, {"role": "assistant", "content": None}]}, NOTHING),
    ("share.jsonl", {"conversations": [{"from": "humn", "value": "Hi"}]}, NOTHING),
    ("two.jsonl", {"messages": [USER, ANSWER], "conversations": []}, NOTHING),
    ("empty.jsonl", {"instruction": "Translate.", "input": "cat", "output": ""}, NOTHING),
    ("number.jsonl", {"query": 7, "response": "seven"}, NOTHING),
    ("class.jsonl", {"text": "They won.", "category": ["Sports", "Business"], "output": "Sport"}, NOTHING),
    ("label.jsonl", {"text": "They won.", "label": 3}, NOTHING),
    ("labels.jsonl", {"text": "They won.", "label": 3}, {"labels": ["Sports", "Business"]}),
    ("ner.jsonl", {"text": "小明住在南京。", "entities": [{"start_idx": 3, "end_idx": 5, "entity_text": "南京"}]}, NOTHING),
    ("keywords.jsonl", {"question": "Which?", "answer_keywords": []}, NOTHING),
    ("captions.csv", "image_path,caption\na.png,a cat\n", NOTHING),
    ("pairs.jsonl", {"prompt": "Hi", "chosen": "Hello!", "rejected": "Go away."}, NOTHING),
    ("text.jsonl", {"text": "Plain."}, NOTHING),
    ("bytes.jsonl", b'{"text": "caf\xe9"}\n', NOTHING),
    ("sheet.xlsx", "", NOTHING),
    ("rows.jsonl", {"question": "Q", "reply": "R"}, {"columns": {"query": "question", "response": "replie"}}),
    ("rows.jsonl", {"text": "a"}, {"format": "shareGPT"}),
]  # fmt: skip


@pytest.mark.parametrize(("file", "content", "beside"), WRONG, ids=[file for file, *_ in WRONG])
def test_what_the_page_says_of_wrong_files_is_what_is_said(file, content, beside, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, dict):
        content = json.dumps(content, ensure_ascii=False) + "\n"
    Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
    source = {"path": file, **beside}
    recipe = {
        "name": "wrong",
        "model": {"source": "builtin:nano"},
        "data": {"train": [source], "cache": False},
    }
    with pytest.raises(InputError) as caught:
        prepare(Recipe.model_validate(recipe))
    assert str(caught.value) in PAGE.splitlines()


def test_the_page_has_a_section_for_every_format():
    for name in FORMATS:
        assert f"| [`{name}`](#{name}) |" in PAGE and f"\n## {name}\n" in PAGE

"""What is asked before weights are loaded: the family, the code that a model brings, the vocabulary."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path

import pytest
import torch
import transformers

from tests.conftest import byte_tokenizer, tiny_llama
from tunesmith.errors import InputError
from tunesmith.models.check import Trust, check_vocabulary, code_to_run
from tunesmith.models.load import load_model, load_tokenizer
from tunesmith.models.source import resolve

MODEL_CODE = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"}
TOKENIZER_CODE = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}}  # fmt: skip


@pytest.fixture
def folder(tmp_path, tiny_model_folder) -> Path:
    """A model folder to change."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


def change(folder: Path, name: str, **values: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def error_of(folder: Path, *, allowed: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        code_to_run(folder, "owner/name", allowed=allowed)
    return str(caught.value)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_known_family_runs_no_code(folder, allowed, caplog):
    with caplog.at_level(logging.INFO, "tunesmith"):
        assert code_to_run(folder, "owner/name", allowed=allowed) == Trust(False, False)
    assert caplog.text == ""


@pytest.mark.parametrize("allowed", [False, True])
def test_a_known_family_that_brings_code_is_loaded_without_it(folder, allowed, caplog):
    change(folder, "config.json", auto_map=MODEL_CODE)
    with caplog.at_level(logging.INFO, "tunesmith"):
        assert code_to_run(folder, "owner/name", allowed=allowed) == Trust(False, False)
    assert ("the model's own code is not run" in caplog.text) == allowed


def test_an_unknown_family_is_told_with_the_version_that_lacks_it(folder):
    change(folder, "config.json", model_type="nonesuch")
    for allowed in (False, True):
        message = error_of(folder, allowed=allowed)
        assert (
            f"owner/name: transformers {transformers.__version__}, which is installed, does not know"
            in message
        )
        assert "the model type 'nonesuch'" in message and "pip install --upgrade transformers" in message


def test_a_configuration_without_a_family_is_told(folder):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k != "model_type"}), "utf-8"
    )
    assert "names no model_type" in error_of(folder)


def test_code_runs_only_when_the_recipe_says_so_and_then_with_a_warning(folder, caplog):
    change(folder, "config.json", model_type="nonesuch", auto_map=MODEL_CODE)
    message = error_of(folder)
    assert "the model brings Python code for it" in message
    assert (
        "set model.trust_remote_code: true: that code then runs with all the rights that you have" in message
    )
    with caplog.at_level(logging.WARNING, "tunesmith"):
        assert code_to_run(folder, "owner/name", allowed=True) == Trust(True, False)
    assert "the Python code of owner/name is run" in caplog.text


def test_the_old_form_of_glm4_names_the_native_one_first(folder):
    change(folder, "config.json", model_type="chatglm", auto_map=MODEL_CODE)
    message = error_of(folder)
    assert message.index("zai-org/glm-4-9b-chat-hf") < message.index("model.trust_remote_code")


def test_a_tokenizer_that_is_code_is_told_or_run(folder, caplog):
    change(folder, "tokenizer_config.json", **TOKENIZER_CODE)
    assert code_to_run(folder, "owner/name", allowed=False) == Trust(False, False)  # tokenizer.json serves
    (folder / "tokenizer.json").unlink()
    assert "the tokenizer of this model is code that comes with it" in error_of(folder)
    with caplog.at_level(logging.WARNING, "tunesmith"):
        assert code_to_run(folder, "owner/name", allowed=True) == Trust(False, True)
    assert "the Python code of owner/name is run" in caplog.text


def test_the_code_of_a_model_builds_it_where_that_is_allowed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])  # the modules' folder is put there
    change(folder, "config.json", model_type="own-llama", auto_map=MODEL_CODE, architectures=["OwnModel"])
    (folder / "configuration_own.py").write_text(
        "from transformers import LlamaConfig\n\nclass OwnConfig(LlamaConfig):\n    model_type = 'own-llama'\n"
    )
    (folder / "modeling_own.py").write_text(
        "from transformers import LlamaForCausalLM\nfrom .configuration_own import OwnConfig\n\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    trust = code_to_run(folder, "owner/name", allowed=True)
    model = load_model(folder, dtype=torch.float32, device="cpu", trust_remote_code=trust.model)
    ids = torch.tensor([[3, 4, 5]])
    assert type(model).__name__ == "OwnModel" and torch.equal(model(ids).logits, tiny_llama()(ids).logits)


# ---- tokenizer and embedding


def with_tokens(
    folder: Path, *tokens: str, special: bool = False, rows: int = 259, template: str | None = None
):
    """The tokenizer of 259 tokens and some more, over an embedding of `rows`."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(list(tokens), special_tokens=special)
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    change(folder, "config.json", vocab_size=rows)
    return load_tokenizer(folder)


def test_an_embedding_that_is_larger_is_padding(folder, caplog):
    check_vocabulary(folder, with_tokens(folder, rows=300))
    check_vocabulary(folder, with_tokens(folder, rows=259))
    assert caplog.text == ""


def test_the_embedded_model_fits():
    nano = resolve("builtin:nano")
    check_vocabulary(nano, load_tokenizer(nano))


def test_a_tokenizer_that_is_larger_is_told_with_both_sizes(folder):
    tokenizer = with_tokens(folder, "draught", "mast", rows=260)
    with pytest.raises(
        InputError, match="the tokenizer has 261 tokens and the model embeds 260: 'mast' would"
    ):
        check_vocabulary(folder, tokenizer)


def test_a_vision_models_text_part_counts(folder):
    tokenizer = with_tokens(folder, "mast", rows=259)
    change(folder, "config.json", vocab_size=None, text_config={"vocab_size": 259})
    with pytest.raises(InputError, match="has 260 tokens and the model embeds 259"):
        check_vocabulary(folder, tokenizer)


def test_special_tokens_that_nothing_uses_may_lie_past_the_embedding(folder, caplog):
    with caplog.at_level(logging.WARNING, "tunesmith"):
        check_vocabulary(folder, with_tokens(folder, "<|picture|>", special=True))
    assert "has no embedding for '<|picture|>', which nothing here uses" in caplog.text
    used = with_tokens(folder, "<|picture|>", special=True, template="{{ messages }}<|picture|>")
    with pytest.raises(InputError, match=r"picture\|>' would have no embedding"):
        check_vocabulary(folder, used)

"""How a folder's model takes pictures, and that nothing of it hinders those who train on text."""

from __future__ import annotations

import json
import logging

import pytest

from tests.conftest import byte_tokenizer
from tunesmith.data.schema import Image
from tunesmith.errors import InputError
from tunesmith.models.vision import picture_tokens

QWEN = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "patch_size": 14,
    "merge_size": 2,
    "min_pixels": 3136,
    "max_pixels": 1003520,
}
OWN_CODE = {"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}}


@pytest.fixture
def folder(tmp_path):
    """Writes a model's folder: its configuration, and its processor's as an object or as text."""

    def write(config, processor):
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if processor is not None:
            text = processor if isinstance(processor, str) else json.dumps(processor)
            (tmp_path / "preprocessor_config.json").write_text(text, encoding="utf-8")
        (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch):
    def asked(*_):
        pytest.fail("a question was put on the terminal")

    monkeypatch.setattr("builtins.input", asked)


def test_a_picture_takes_its_patches_merged(folder):
    pictures = picture_tokens(folder({"image_token_id": 7}, QWEN), byte_tokenizer(), None)
    assert pictures is not None
    assert pictures.token == byte_tokenizer().convert_ids_to_tokens(7)
    assert pictures.count(Image("a.png", 56, 84)) == (56 // 28) * (84 // 28)


@pytest.mark.parametrize(
    "processor",
    [None, QWEN, OWN_CODE, {"feature_extractor_type": "WhisperFeatureExtractor"}, "{broken"],
    ids=["none", "known", "own code", "audio", "broken"],
)
def test_a_model_without_a_picture_token_takes_none_and_nothing_is_loaded(folder, processor, caplog):
    model = folder({"model_type": "llama"}, processor)
    with caplog.at_level(logging.WARNING, "tunesmith"):
        assert picture_tokens(model, byte_tokenizer(), None) is None
    assert not caplog.records


@pytest.mark.parametrize(
    "processor",
    [OWN_CODE, {"feature_extractor_type": "WhisperFeatureExtractor"}, {}, "{broken", "[1]", "3"],
    ids=["own code", "audio", "empty", "broken", "a list", "a number"],
)
def test_a_processor_that_cannot_be_used_is_warned_of(folder, processor, caplog):
    model = folder({"model_type": "phi4mm", "image_token_id": 7}, processor)
    with caplog.at_level(logging.WARNING, "tunesmith"):
        assert picture_tokens(model, byte_tokenizer(), None) is None
    assert "preprocessor_config.json: this image processor cannot be used" in caplog.text
    assert not (model / "ran").exists()


@pytest.mark.parametrize("token", [10**9, -1, "<image>", None, [7]])
def test_a_picture_token_that_the_tokenizer_does_not_know_is_none(folder, token):
    assert picture_tokens(folder({"image_token_id": token}, QWEN), byte_tokenizer(), None) is None


def test_a_damaged_configuration_is_told(folder):
    model = folder({}, QWEN)
    (model / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        picture_tokens(model, byte_tokenizer(), None)

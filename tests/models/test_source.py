"""From a name to a folder, and what is said when there is none; and what loading finds in the folder."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from tests.conftest import tiny_llama
from tunesmith.errors import InputError
from tunesmith.hubs import huggingface
from tunesmith.models.load import end_token_ids, load_model, load_tokenizer
from tunesmith.models.source import builtin_names, fingerprint, licence, resolve


@pytest.fixture
def folder(tmp_path, tiny_model_folder) -> Path:
    """A model folder to damage."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


def load(folder: Path):
    return load_model(resolve(str(folder)), dtype=torch.float32, device="cpu")


def test_the_embedded_model_is_there_and_loads():
    assert "builtin:nano" in builtin_names()
    found = resolve("builtin:nano")
    model = load_model(found, dtype=torch.float32, device="cpu")
    tokenizer = load_tokenizer(found)
    assert not model.training
    text = "春风又绿江南岸 — hello, 𠮷 👋\n"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert tokenizer.eos_token_id in end_token_ids(found, tokenizer)


def test_a_folder_is_itself_and_loads(folder):
    assert resolve(str(folder)) == folder
    model = load(folder)
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(model(ids).logits, tiny_llama()(ids).logits)


def test_the_home_folder_is_understood(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert resolve("~/model") == folder


def shard(folder: Path) -> None:
    """The same weights in two files and an index."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def test_a_sharded_model_loads_and_a_missing_shard_is_named(folder):
    shard(folder)
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(load(folder)(ids).logits, tiny_llama()(ids).logits)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="1 of 2 weight files is missing, the first is model-00002-of-00002"):
        resolve(str(folder))


def test_a_missing_shard_is_named_without_the_index_too(folder):
    shard(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="1 of 2 weight files is missing, the first is model-00001-of-00002"):
        resolve(str(folder))


@pytest.mark.parametrize("content", ["{", '{"weight_map": ["a"]}', "{}", '{"weight_map": {"a": 1}}'])
def test_a_damaged_index_is_told(folder, content):
    shard(folder)
    (folder / "model.safetensors.index.json").write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"index\.json: this file of the model is damaged"):
        resolve(str(folder))


def test_where_no_weights_are_needed_a_folder_may_hold_none_but_not_half_of_them(folder):
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="only half there"):
        resolve(str(folder), weights=False)
    for path in folder.glob("model*"):
        path.unlink()
    assert resolve(str(folder), weights=False) == folder
    with pytest.raises(InputError, match=r"holds no .*; expected model\.safetensors"):
        resolve(str(folder))


def test_a_configuration_with_a_value_of_the_wrong_type_is_told(folder):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": "x"}), "utf-8")
    for read in (load_tokenizer, load):
        with pytest.raises(InputError, match="Field 'hidden_size' expected int, got str"):
            read(folder)


def without(name: str):
    return lambda folder: (folder / name).unlink()


def weights_cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def weights_cut_in_the_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:6])


def weights_of_one_byte_less(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def other_weights(name: str):
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / name)

    return damage


def a_pointer(name: str):
    """What a clone without Git LFS leaves."""

    def damage(folder: Path) -> None:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345678\n"
        (folder / name).write_text(pointer, "utf-8")

    return damage


def one_weight_less(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def a_weight_of_another_shape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] = torch.zeros(3, 5)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def another_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nonesuch"}), "utf-8")


def an_encoder(folder: Path) -> None:
    shutil.rmtree(folder)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=300
    )
    BertModel(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without("config.json"), "is no model folder: it has no config.json"),
        (without("model.safetensors"), "holds no \\*.safetensors weights"),
        (
            other_weights("pytorch_model.bin"),
            "only as pytorch_model.bin, which can run code as it is read; expected",
        ),
        (other_weights("model.gguf"), r"only as model\.gguf; expected \*\.safetensors"),
        (a_pointer("model.safetensors"), r"model\.safetensors: this is a Git LFS pointer .*`git lfs pull`"),
        (a_pointer("tokenizer.json"), r"tokenizer\.json: this is a Git LFS pointer"),
        (
            weights_cut_short,
            r"model\.safetensors: this weight file is damaged or cut short in its header \(1,000 bytes",
        ),
        (weights_cut_in_the_header, r"cut short in its header \(6 bytes are there\)"),
        (weights_of_one_byte_less, r"is cut short: ([\d,]+) bytes are there; expected [\d,]+ by its header"),
        (one_weight_less, "1 are missing, the first is model.layers.1.mlp.up_proj.weight"),
        (
            a_weight_of_another_shape,
            "up_proj.weight has the shape \\[3, 5\\]; expected \\[64, 32\\]",
        ),
        (another_family, "nonesuch"),
        (an_encoder, "does not hold all weights of a causal language model"),
    ],
)
def test_a_damaged_model_is_told_in_a_sentence(folder, damage, told):
    damage(folder)
    with pytest.raises(InputError, match=told):
        load(folder)


@pytest.mark.parametrize(
    "damage",
    [without("tokenizer.json"), lambda folder: (folder / "tokenizer.json").write_text("{", "utf-8")],
    ids=["gone", "cut short"],
)
def test_a_model_without_a_tokenizer_is_told(folder, damage):
    damage(folder)
    with pytest.raises(InputError, match="holds no tokenizer that can be loaded"):
        load_tokenizer(folder)


def test_tied_weights_are_not_missing(tmp_path):
    tied = tiny_llama(tie_word_embeddings=True)
    tied.save_pretrained(tmp_path)
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(load(tmp_path)(ids).logits, tied(ids).logits)


def test_an_adapter_is_no_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}", "utf-8")
    with pytest.raises(
        InputError, match=r"is an adapter, not a model\. Name the base model as model\.source"
    ):
        resolve(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("builtin:giant", "there is no embedded model 'builtin:giant'; expected one of builtin:nano"),
        ("./nowhere", "there is no folder ./nowhere"),
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("nowhere", "there is no folder nowhere"),
        ("a/b/c", "there is no folder a/b/c"),
        (__file__, "is a file"),
    ],
)
def test_a_bad_name_is_told(name, told):
    with pytest.raises(InputError) as caught:
        resolve(name)
    assert told in str(caught.value)
    assert "builtin:nano" in str(caught.value) or name == __file__


@pytest.fixture
def ask_the_hub(tmp_path, monkeypatch):
    """Ask for a hub's model at an address, with an empty cache; what is said, or the folder."""

    def ask(address: str | None) -> str:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", address is None)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_ENDPOINT", address or "http://127.0.0.1:9")
        monkeypatch.setattr(huggingface, "_TIMEOUT", 0.5)
        try:
            return str(resolve("owner/name"))
        except InputError as error:
            return str(error)

    return ask


def assert_all_ways_are_told(sentence: str, reason: str) -> None:
    assert (
        "the model owner/name cannot be had: there is no local folder of that name, nothing in the cache"
        in sentence
    )
    assert reason in sentence
    assert "give a local folder; builtin:nano works without any network" in sentence


def test_offline_says_what_was_tried(ask_the_hub):
    assert_all_ways_are_told(ask_the_hub(None), "HF_HUB_OFFLINE is set")


def test_a_hub_that_refuses_the_connection(ask_the_hub):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert_all_ways_are_told(ask_the_hub(address), "the hub failed (")


def test_a_hub_that_never_answers_is_not_waited_for(ask_the_hub):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert_all_ways_are_told(ask_the_hub(address), "the hub failed (timed out)")


def test_a_model_in_the_cache_needs_no_hub(tmp_path, tiny_model_folder, ask_the_hub):
    snapshot = tmp_path / "hub/models--owner--name/snapshots/0123456789"
    shutil.copytree(tiny_model_folder, snapshot)
    (tmp_path / "hub/models--owner--name/refs").mkdir()
    (tmp_path / "hub/models--owner--name/refs/main").write_text("0123456789", "utf-8")
    assert ask_the_hub(None) == str(snapshot)
    (snapshot / "model.safetensors").unlink()
    assert "holds no *.safetensors weights" in ask_the_hub(None)


def test_the_fingerprint_follows_configuration_and_weights(folder):
    first = fingerprint(folder)
    assert fingerprint(folder) == first
    (folder / "README.md").write_text("---\nlicense: mit\n---\n", "utf-8")
    assert fingerprint(folder) == first
    a_weight_of_another_shape(folder)
    second = fingerprint(folder)
    another_family(folder)
    assert len({first, second, fingerprint(folder)}) == 3


def test_the_fingerprint_follows_how_pictures_are_cut(folder):
    first = fingerprint(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3}), "utf-8")
    second = fingerprint(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.4] * 3}), "utf-8")
    assert len({first, second, fingerprint(folder)}) == 3


def test_the_fingerprint_is_of_the_weights_that_are_loaded(folder):
    first = fingerprint(folder)
    save_file({"other": torch.zeros(1)}, folder / "consolidated.safetensors")
    assert fingerprint(folder) == first


def test_the_licence_is_read_off_the_model_card(folder):
    assert licence(folder) is None
    (folder / "README.md").write_text("---\nlanguage: zh\nlicense: apache-2.0\n---\n# Model\n", "utf-8")
    assert licence(folder) == "apache-2.0"
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: qwen\n---\n# Model\n", "utf-8")
    assert licence(folder) == "qwen"


def test_the_end_tokens_of_all_places_are_taken_together(folder):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}), "utf-8")
    tokenizer = load_tokenizer(folder)
    assert end_token_ids(folder, tokenizer) == {tokenizer.eos_token_id, 2, 7, 9}
    (folder / "generation_config.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"generation_config\.json: this file of the model is damaged"):
        end_token_ids(folder, tokenizer)

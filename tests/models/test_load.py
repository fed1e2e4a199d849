"""Weights come from the mapped files, one by one; what does not fit is told before they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from tests.models.families import tiny
from tests.standins import FAMILIES, build
from tunesmith.errors import InputError
from tunesmith.models import load as loading
from tunesmith.models.load import load_model
from tunesmith.models.source import locate


def mapped(folder: Path) -> bool:
    """Whether this process has a file of the folder mapped (Linux)."""
    return str(folder) in Path("/proc/self/maps").read_text("utf-8")


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_that_transformers_loads(family, tmp_path):
    folder = build(family, tmp_path)
    sees = FAMILIES[family].picture_patch is not None
    kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    expected = kind.from_pretrained(folder, dtype=torch.bfloat16)
    ours = load_model(folder, dtype=torch.bfloat16, device="cpu")
    assert type(ours) is type(expected) and not ours.training
    theirs = dict(expected.named_parameters())
    assert {name: weight.dtype for name, weight in ours.named_parameters()} == {
        name: weight.dtype for name, weight in theirs.items()
    }
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.named_parameters())
    assert ours.generation_config.eos_token_id == expected.generation_config.eos_token_id


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_weights_of_the_same_type_stay_mapped_and_of_the_others_nothing_stays(tmp_path):
    tiny("Llama").save_pretrained(tmp_path)
    same = load_model(tmp_path, dtype=torch.float32, device="cpu")
    assert mapped(tmp_path)
    del same
    for dtype, storage in ((torch.bfloat16, "none"), (torch.float32, "nf4")):
        other = load_model(tmp_path, dtype=dtype, device="cpu", quantize=storage)
        for weight in ("model.embed_tokens.weight", "model.norm.weight") if storage == "nf4" else ():
            other.set_submodule(weight.rpartition(".")[0], torch.nn.Identity())
        if storage == "nf4":
            other.lm_head = other.model.layers = torch.nn.ModuleList()
        assert not mapped(tmp_path)


def test_training_a_mapped_weight_leaves_the_file_alone(tmp_path):
    tiny("Llama").save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = load_model(tmp_path, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert torch.equal(model.lm_head.weight - 1, (tiny("Llama").lm_head.weight + 1) - 1)


def test_shards_are_found_by_the_index_and_files_it_does_not_name_are_not_read(tmp_path):
    model = tiny("Llama")
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    (tmp_path / "something_else.safetensors").write_bytes(b"no weights")
    ours = load_model(tmp_path, dtype=torch.float32, device="cpu")
    assert all(
        torch.equal(weight, dict(ours.named_parameters())[name]) for name, weight in model.named_parameters()
    )


def test_one_whole_file_goes_before_an_index_whose_shards_were_not_fetched(tmp_path):
    tiny("Llama").save_pretrained(tmp_path)
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    assert locate(str(tmp_path)).folder == tmp_path
    assert torch.equal(
        load_model(tmp_path, dtype=torch.float32, device="cpu").lm_head.weight, tiny("Llama").lm_head.weight
    )


def test_a_damaged_file_is_told(tmp_path):
    tiny("Llama").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(tmp_path, dtype=torch.float32, device="cpu")


def test_shapes_that_do_not_fit_are_named(tmp_path):
    tiny("Llama").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "intermediate_size": 96}), "utf-8")
    for storage in ("none", "nf4"):
        with pytest.raises(InputError, match=r"do not fit its config\.json: .*mlp\.down_proj.*\[32, 64\]"):
            load_model(tmp_path, dtype=torch.float32, device="cpu", quantize=storage)


def test_short_memory_is_told_before_weights_are_read_and_by_how_much(tmp_path, monkeypatch):
    tiny("Llama").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not read")
    needed = sum(weight.nbytes for weight in tiny("Llama").parameters())
    monkeypatch.setattr(loading, "free_bytes", lambda device: needed - 20_000)
    with pytest.raises(InputError, match=r"memory can take .*: 20\.0 KB short") as refused:
        load_model(tmp_path, dtype=torch.float32, device="cpu")
    assert "nf4" in refused.value.remedy

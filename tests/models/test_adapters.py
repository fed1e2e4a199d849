"""Adapters: PEFT loads what we write, we load what PEFT writes, and what does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from tests.conftest import byte_tokenizer, tiny_llama
from tests.models.families import ALONE, PACKED, tiny
from tests.train.test_gradients import samples
from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter, base_of, load_adapter
from tunesmith.models.policy import Policy
from tunesmith.models.save import About, read_about, save_result
from tunesmith.segments import Block, lay_row

IDS = torch.tensor([[5, 9, 7, 200, 13]])
PROJECTIONS = ("q_proj", "v_proj")


def move(model) -> None:
    """As training would: a fresh adapter changes nothing, because B is zero."""
    for number, (name, weight) in enumerate(model.named_parameters()):
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(number))


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def ours(folder: Path, targets="all-linear", **changes) -> tuple[Path, torch.Tensor]:
    """An adapter as tunesmith writes it, and the logits of the model it sat on."""
    tuned = add_adapter(
        tiny_llama(**changes), Adapter(rank=4, alpha=8, targets=targets), base_name="some/base", seed=1
    )
    move(tuned)
    about = About("some/base", system="be brief", template="{{ messages }}")
    save_result(tuned, byte_tokenizer(), about, folder)
    return folder, logits(tuned)


def test_peft_loads_what_we_write(tmp_path):
    folder, expected = ours(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(tiny_llama(), str(folder))
    assert torch.equal(logits(theirs), expected)
    assert not torch.allclose(logits(tiny_llama()), expected)
    assert theirs.peft_config["default"].base_model_name_or_path == "some/base"
    assert read_about(folder) == About("some/base", system="be brief", template="{{ messages }}")


def test_we_load_what_we_write(tmp_path):
    folder, expected = ours(tmp_path / "adapter")
    assert torch.equal(logits(load_adapter(tiny_llama(), folder, trainable=False)), expected)
    assert base_of(folder) == "some/base"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"rank_pattern": {"q_proj": 2}},
    ],
    ids=["plain", "rslora", "dora", "retrained embeddings", "adapted embeddings", "ranks by layer"],
)
def test_we_load_what_peft_writes(tmp_path, changes):
    config = LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **{"target_modules": ["q_proj"], **changes})
    theirs = get_peft_model(tiny_llama(), config)
    move(theirs)
    theirs.save_pretrained(tmp_path / "adapter")
    assert torch.equal(
        logits(load_adapter(tiny_llama(), tmp_path / "adapter", trainable=False)), logits(theirs)
    )


def test_we_load_pefts_older_pickled_form(tmp_path):
    theirs = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    move(theirs)
    theirs.save_pretrained(tmp_path / "adapter", safe_serialization=False)
    assert (tmp_path / "adapter/adapter_model.bin").is_file()
    assert torch.equal(
        logits(load_adapter(tiny_llama(), tmp_path / "adapter", trainable=False)), logits(theirs)
    )


def test_a_fresh_adapter_changes_nothing_and_comes_from_its_seed():
    def fresh(seed: int):
        return add_adapter(tiny_llama(), Adapter(rank=4, alpha=8), base_name="x", seed=seed)

    def first_matrices(model):
        return torch.cat([w.flatten() for name, w in model.named_parameters() if "lora_A" in name])

    assert torch.equal(logits(fresh(1)), logits(tiny_llama()))
    assert torch.equal(first_matrices(fresh(1)), first_matrices(fresh(1)))
    assert not torch.equal(first_matrices(fresh(1)), first_matrices(fresh(2)))


def test_all_linear_takes_every_linear_layer_but_the_head():
    model = add_adapter(tiny_llama(), Adapter(rank=4), base_name="x", seed=0)
    adapted = {name.split(".lora_A")[0] for name, _ in model.named_parameters() if "lora_A" in name}
    linear = {
        name for name, module in tiny_llama().named_modules() if isinstance(module, torch.nn.Linear)
    } - {"lm_head"}
    assert {name.removeprefix("base_model.model.") for name in adapted} == linear


def types(model) -> tuple[set[torch.dtype], set[torch.dtype]]:
    """Of the weights that learn, and of the frozen ones."""
    learning, frozen = (
        {weight.dtype for weight in model.parameters() if weight.requires_grad is learns}
        for learns in (True, False)
    )
    return learning, frozen


def test_fresh_weights_are_fp32_on_a_bf16_base():
    tuned = add_adapter(tiny_llama().to(torch.bfloat16), Adapter(rank=4), base_name="x", seed=0)
    assert types(tuned) == ({torch.float32}, {torch.bfloat16})


def test_weights_that_are_gone_on_with_are_fp32_whatever_they_were_saved_as(tmp_path):
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    theirs = get_peft_model(tiny_llama().to(torch.bfloat16), config)
    theirs.to(torch.bfloat16).save_pretrained(tmp_path)
    assert {w.dtype for w in load_file(tmp_path / "adapter_model.safetensors").values()} == {torch.bfloat16}
    tuned = load_adapter(tiny_llama().to(torch.bfloat16), tmp_path, trainable=True)
    assert any("lm_head" in name for name, weight in tuned.named_parameters() if weight.requires_grad)
    assert types(tuned) == ({torch.float32}, {torch.bfloat16})


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (("nope",), "names 'nope', which this model does not have"),
        (("q_proj", "nope"), "names 'nope', which this model does not have"),
        (("act_fn",), "names 'act_fn', which is a SiLUActivation and not a linear layer"),
        (("input_layernorm",), "names 'input_layernorm', which is a LlamaRMSNorm and not a linear layer"),
    ],
)
def test_targets_that_cannot_be_adapted_list_what_there_is(targets, found):
    with pytest.raises(InputError) as caught:
        add_adapter(tiny_llama(), Adapter(targets=targets), base_name="x", seed=0)
    assert found in str(caught.value)
    assert "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head" in str(caught.value)


FAMILIES = {**PACKED, **{name: (family, changes) for name, (family, changes, _) in ALONE.items()}}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_all_linear_and_every_adapter_learns(name):
    family, changes = FAMILIES[name]
    tuned = add_adapter(tiny(family, **changes), Adapter(rank=2), base_name="x", seed=0)
    policy = Policy(tuned, segments=False, compute=torch.float32, seed=0)
    with policy.training_mode():
        for number, tree in enumerate(samples(3)):
            policy(lay_row([Block.of(tree, number)])).sum().backward()
    second = {name: weight.grad for name, weight in policy.trainable().items() if "lora_B" in name}
    assert second
    untouched = [name for name, grad in second.items() if grad is None or not grad.abs().sum() > 0]
    assert untouched == []


def test_experts_know_no_dropout_and_that_is_said():
    model = tiny("Qwen3Next", **ALONE["qwen3-next"][1])
    with pytest.raises(InputError, match=r"takes in the experts .* Set adapter\.dropout: 0"):
        add_adapter(model, Adapter(dropout=0.1, targets=("experts.gate_up_proj",)), base_name="x", seed=0)


@pytest.mark.parametrize("targets", ["all-linear", ("c_attn", "c_proj")])
def test_linear_layers_by_another_name_are_linear_layers(targets):
    model = tiny("GPT2", **PACKED["gpt2 without dropout"][1])
    tuned = add_adapter(model, Adapter(rank=2, targets=targets), base_name="x", seed=0)
    adapted = {
        name.split(".lora_A")[0].rpartition(".")[2]
        for name, _ in tuned.named_parameters()
        if "lora_A" in name
    }
    assert {"c_attn", "c_proj"} <= adapted
    with pytest.raises(InputError, match="linear layers are c_attn, c_proj, c_fc, lm_head"):
        add_adapter(
            tiny("GPT2", **PACKED["gpt2 without dropout"][1]),
            Adapter(targets=("nope",)),
            base_name="x",
            seed=0,
        )


@pytest.mark.parametrize(
    ("made_on", "told"),
    [
        ({"hidden_size": 64}, "self_attn.q_proj.lora_A is 4 x 64 there, and this model needs 4 x 32"),
        ({"num_hidden_layers": 3}, "self_attn.q_proj.lora_A.weight (4 x 32), for which there is no place"),
        ({"num_hidden_layers": 1}, "it holds no base_model.model.model.layers.1.self_attn.q_proj"),
    ],
    ids=["other shapes", "more layers", "fewer layers"],
)
def test_an_adapter_of_another_base_is_refused(tmp_path, made_on, told):
    folder, _ = ours(tmp_path / "adapter", PROJECTIONS, **made_on)
    with pytest.raises(InputError) as caught:
        load_adapter(tiny_llama(), folder, trainable=False)
    assert told in str(caught.value)
    assert "made for: some/base" in str(caught.value)


def test_an_adapter_of_another_family_is_refused(tmp_path):
    folder, _ = ours(tmp_path / "adapter", PROJECTIONS)
    with pytest.raises(InputError, match="it adapts layers that this model does not have"):
        load_adapter(tiny("GPT2", **PACKED["gpt2 without dropout"][1]), folder, trainable=False)


def test_an_adapter_that_names_no_base_fits_a_model_but_cannot_be_opened_alone(tmp_path):
    folder, expected = ours(tmp_path / "adapter", PROJECTIONS)
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": None}), "utf-8"
    )
    assert torch.equal(logits(load_adapter(tiny_llama(), folder, trainable=False)), expected)
    with pytest.raises(InputError, match="does not say which model it was made for"):
        base_of(folder)


def damaged(folder: Path, how: str) -> None:
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if how == "no configuration":
        config.unlink()
    elif how == "no weights":
        weights.unlink()
    elif how == "weights cut short":
        weights.write_bytes(weights.read_bytes()[:200])
    elif how == "configuration cut short":
        config.write_text("{", "utf-8")
    else:
        content = json.loads(config.read_text("utf-8"))
        config.write_text(json.dumps(content | {"peft_type": "NONESUCH"}), "utf-8")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("no configuration", "is no adapter: it has no adapter_config.json"),
        ("no weights", "has no weights; expected adapter_model.safetensors"),
        ("weights cut short", "the weights of the adapter .* are damaged"),
        ("configuration cut short", "this adapter's configuration is damaged"),
        ("unknown kind", "does not fit this model .*NONESUCH"),
    ],
)
def test_a_damaged_adapter_is_told_in_a_sentence(tmp_path, how, told):
    folder, _ = ours(tmp_path / "adapter", PROJECTIONS)
    damaged(folder, how)
    with pytest.raises(InputError, match=told):
        load_adapter(tiny_llama(), folder, trainable=False)

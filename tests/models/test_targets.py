"""Targets: what a recipe may name, and what is said where it names nothing."""

from __future__ import annotations

import pytest
from torch import nn

from tests.conftest import tiny_llama
from tests.models.families import ALONE, PACKED, tiny
from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter
from tunesmith.models.skeleton import skeleton
from tunesmith.models.targets import find_targets


def adapted(model, **settings) -> set[str]:
    """The full names of what carries an adapter."""
    tuned = add_adapter(model, Adapter(rank=2, **settings), base_name="x", seed=0)
    return {
        name.partition(".lora_")[0].removeprefix("base_model.model.")
        for name, _ in tuned.named_parameters()
        if ".lora_" in name
    }


def linear(model) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def family(name: str):
    kind, changes = PACKED[name] if name in PACKED else ALONE[name][:2]
    return tiny(kind, **changes)


LAYERS = ("model.layers.0.", "model.layers.1.")


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("q_proj", "v_proj"), {f"{layer}self_attn.{name}" for layer in LAYERS for name in ("q_proj", "v_proj")}),
        (("layers.1.mlp.up_proj",), {"model.layers.1.mlp.up_proj"}),
        (("lm_head",), {"lm_head"}),
        (("embed_tokens",), {"model.embed_tokens"}),
        (r".*\.1\..*(q|k)_proj", {"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.k_proj"}),
        (r"model\.layers\.0\.mlp\..*", {f"model.layers.0.mlp.{name}_proj" for name in ("gate", "up", "down")}),
    ],
)  # fmt: skip
def test_names_ends_of_names_and_patterns(targets, expected):
    assert adapted(tiny_llama(), targets=targets) == expected


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ("q_proj", r"regular expression for whole names, and matches none; expected a name such as "
                   r"model\.layers\.0\.self_attn\.q_proj\. For a name's end write a list: \[q_proj\]"),
        (r".*norm.*", r"names '\.\*norm\.\*', which is a LlamaRMSNorm and not a linear layer"),
        (r".*(", "is no regular expression"),
        (r".*nothing.*", "linear layers are q_proj, k_proj, v_proj"),
    ],
)  # fmt: skip
def test_patterns_that_match_nothing_say_what_there_is(targets, told):
    with pytest.raises(InputError, match=told):
        find_targets(tiny_llama(), Adapter(targets=targets))


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("query_key_value", "q_proj, k_proj, v_proj"),
        ("dense_h_to_4h", "gate_up_proj"),
        ("dense_4h_to_h", "down_proj"),
        ("dense", "o_proj"),
    ],
)
def test_names_of_glms_old_code_are_told_what_they_are_called_now(old, now):
    with pytest.raises(InputError, match=f"as GLM's old code called it. In transformers it is {now};"):
        find_targets(family("glm"), Adapter(targets=(old,)))
    with pytest.raises(InputError, match="which this model does not have"):
        find_targets(tiny_llama(), Adapter(targets=(old,)))


def test_an_activation_is_no_linear_layer():
    with pytest.raises(InputError, match="names 'activation_fn', which is a SiLUActivation and not a linear"):
        find_targets(family("glm"), Adapter(targets=("q_proj", "activation_fn")))


@pytest.mark.parametrize("name", ["qwen3 with experts", "gpt-oss, sinks and experts", "qwen3-next"])
def test_all_linear_leaves_experts_and_routers_alone(name):
    # A shared expert is linear, but PEFT reads its names as those of the experts.
    expected = {one for one in linear(family(name)) - {"lm_head"} if ".mlp.shared_expert." not in one}
    assert adapted(family(name), targets="all-linear", dropout=0.1) == expected


def test_experts_are_adapted_where_they_are_named():
    found = adapted(family("qwen3 with experts"), targets=("experts.gate_up_proj", "o_proj"))
    assert found == {f"{layer}{part}" for layer in LAYERS for part in ("mlp.experts", "self_attn.o_proj")}


def test_experts_are_adapted_by_the_names_they_had_as_layers():
    found = adapted(family("qwen3 with experts"), targets=("gate_proj", "up_proj", "down_proj"))
    assert {name.replace(".base_layer", "") for name in found} == {f"{layer}mlp.experts" for layer in LAYERS}


@pytest.mark.parametrize("setting", [{"dropout": 0.1}, {"dora": True}])
def test_experts_know_neither_dropout_nor_dora(setting):
    adapter = Adapter(targets=("experts.gate_up_proj",), **setting)
    with pytest.raises(InputError, match="experts of this model, whose adapters know no"):
        add_adapter(family("qwen3 with experts"), adapter, base_name="x", seed=0)


def test_a_missing_name_lists_the_experts_too():
    with pytest.raises(InputError, match=r"its experts' weights experts\.down_proj, experts\.gate_up_proj"):
        find_targets(family("qwen3 with experts"), Adapter(targets=("nope",)))


# ---- vision


@pytest.fixture(params=["qwen2-vl", "qwen2.5-vl", "qwen3-vl"])
def seeing(request, stand_in):
    import torch

    return skeleton(stand_in(request.param), dtype=torch.float32)


def test_all_linear_leaves_the_vision_tower_alone_unless_asked(seeing):
    everything = linear(seeing) - {"lm_head"}
    text = {name for name in everything if ".language_model." in name}
    assert text and text < everything
    assert set(find_targets(seeing, Adapter()).modules) == text
    assert set(find_targets(seeing, Adapter(vision=True)).modules) == everything


def test_names_that_text_and_tower_share_are_the_texts(stand_in):
    import torch

    seeing = skeleton(stand_in("qwen2.5-vl"), dtype=torch.float32)  # both have a gate_proj
    both = {name for name in linear(seeing) if name.endswith(".gate_proj")}
    text = {name for name in both if ".language_model." in name}
    assert text < both
    assert set(find_targets(seeing, Adapter(targets=("gate_proj",))).modules) == text
    assert adapted(seeing, targets=("gate_proj",), vision=True) == both
    assert find_targets(seeing, Adapter(targets=("qkv",))).modules == ("qkv",)


# ---- top layers


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "lm_head"), r".*_proj"])
def test_top_layers_are_the_last_ones(targets):
    found = adapted(tiny_llama(num_hidden_layers=3), targets=targets, top_layers=2)
    assert found
    assert {name.split(".")[2] for name in found} == {"1", "2"}


def test_more_top_layers_than_layers_says_how_many_there_are():
    with pytest.raises(InputError, match=r"adapter\.top_layers is 5, and this model has 2 layers"):
        add_adapter(tiny_llama(), Adapter(top_layers=5), base_name="x", seed=0)
    with pytest.raises(InputError, match="names nothing in the top 1 layers"):
        add_adapter(tiny_llama(), Adapter(top_layers=1, targets=("lm_head",)), base_name="x", seed=0)

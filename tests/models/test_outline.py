"""What is told of a model before its weights are loaded, against the model with them."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from tunesmith.config.schema import Adapter, Unfreeze
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter
from tunesmith.models.outline import check_adapter, outline
from tunesmith.models.tokens import NewTokens, make_room
from tunesmith.models.unfreeze import choose_what_learns

ADAPTERS = {
    "lora": Adapter(rank=4),
    "dora": Adapter(rank=4, dora=True, modules_to_save=("embed_tokens",)),
    "pissa": Adapter(rank=4, init="pissa", targets=("q_proj", "v_proj")),
    "experts": Adapter(rank=4, targets=("experts.gate_up_proj",)),
    "top": Adapter(rank=4, top_layers=1),
    "freeze": Adapter(type="none", top_layers=1),
    "full": Adapter(type="none"),
    "gradual": Adapter(type="none", unfreeze=Unfreeze()),
}


def counted_with_weights(
    folder, adapter: Adapter, new: NewTokens, auto=AutoModelForCausalLM
) -> tuple[int, int]:
    model = auto.from_pretrained(folder, dtype=torch.float32)
    make_room(model, new)
    tuned = model
    if adapter.type == "lora":
        tuned = add_adapter(model, adapter, base_name="x", seed=0, new_tokens=new.ids)
    choose_what_learns(tuned, adapter)
    weights = list(tuned.parameters())
    return sum(weight.numel() for weight in weights if weight.requires_grad), sum(w.numel() for w in weights)


@pytest.mark.parametrize(
    ("family", "kind"),
    [("llama", kind) for kind in ADAPTERS if kind != "experts"]
    + [("gpt-oss", "experts"), ("gemma-2", "dora"), ("falcon-h1", "lora"), ("qwen2-vl", "lora"), ("qwen2-vl", "freeze")],
)  # fmt: skip
def test_the_count_is_that_of_the_model_with_its_weights(stand_in, family, kind):
    folder = stand_in(family)
    auto = AutoModelForImageTextToText if family.endswith("-vl") else AutoModelForCausalLM
    rows = json.loads((folder / "config.json").read_text("utf-8"))
    rows = rows.get("text_config", rows)["vocab_size"]
    for new in (NewTokens(), NewTokens((rows, rows + 1), rows)):
        if new.ids and kind == "freeze":
            continue
        found = outline(folder, ADAPTERS[kind], new)
        assert found is not None
        assert (found.trained, found.total) == counted_with_weights(folder, ADAPTERS[kind], new, auto)


@pytest.mark.parametrize(
    ("family", "adapter", "adapted", "left"),
    [
        ("llama", Adapter(), "14 layers (2 q_proj, 2 k_proj, 2 v_proj, 2 o_proj, 2 gate_proj, 2 up_proj, 2 down_proj)",
         "embed_tokens, lm_head, 5 norms"),
        ("llama", Adapter(targets=("q_proj",), modules_to_save=("lm_head",)), "2 layers (2 q_proj)",
         "embed_tokens, 2 k_proj, 2 v_proj, 2 o_proj, 2 gate_proj, 2 up_proj, 2 down_proj, 5 norms"),
        ("gpt-oss", Adapter(), "8 layers (2 q_proj, 2 k_proj, 2 v_proj, 2 o_proj)",
         "embed_tokens, lm_head, 2 self_attn.sinks, 2 routers, the experts' weights (2 experts.gate_up_proj, "
         "2 experts.down_proj: no linear layers, adapter.targets can name them), 5 norms"),
        ("gpt-oss", Adapter(targets=("experts.down_proj",)), "2 layers (2 down_proj)", None),
        ("qwen2-vl", Adapter(), None, "the vision tower (16 modules), embed_tokens, lm_head, 5 norms"),
        ("qwen2-vl", Adapter(vision=True), None, "the other 6 modules of the vision tower, embed_tokens, lm_head, 5 norms"),
        ("llama", Adapter(type="none"), "", ""),
    ],
)  # fmt: skip
def test_it_says_what_is_adapted_and_what_is_not(stand_in, family, adapter, adapted, left):
    found = outline(stand_in(family), adapter)
    assert found is not None
    if adapted is not None:
        assert found.adapted == adapted
    if left is not None:
        assert sorted(found.left_out.split(", ")) == sorted(left.split(", "))


@pytest.mark.parametrize(
    ("family", "adapter", "trained", "left"),
    [
        ("llama", Adapter(type="none", top_layers=1), "the top layer of 2, and the final norm",
         "embed_tokens, lm_head, the layer below"),
        ("llama", Adapter(targets=("q_proj",), top_layers=1), "in adapters on 1 layer (q_proj) of the top layer of 2",
         "embed_tokens, lm_head, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, 3 norms, the layer below"),
        ("gpt-oss", Adapter(type="none", top_layers=2), "the top 2 layers of 2, and the final norm",
         "embed_tokens, lm_head"),
    ],
)  # fmt: skip
def test_the_layers_that_learn_are_told_from_those_below(stand_in, family, adapter, trained, left):
    found = outline(stand_in(family), adapter)
    assert found is not None
    assert found.lines()[0].split("%), ")[1] == trained
    assert sorted(found.left_out.split(", ")) == sorted(left.split(", "))


def test_nothing_is_said_of_a_model_that_cannot_be_built_without_weights(stand_in, tmp_path):
    for file in stand_in("llama").iterdir():
        if file.name != "config.json":
            (tmp_path / file.name).symlink_to(file)
    config = json.loads((stand_in("llama") / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "nonesuch"}), "utf-8")
    assert outline(tmp_path, Adapter()) is None
    check_adapter(tmp_path, Adapter(targets=("nope",)))
    assert outline(stand_in("llama"), Adapter(start="somewhere")) is None


def test_a_name_that_the_model_lacks_is_found_without_weights(stand_in):
    for adapter in (Adapter(targets=("nope",)), Adapter(modules_to_save=("nope",))):
        with pytest.raises(InputError, match="names 'nope', which this model does not have"):
            check_adapter(stand_in("llama"), adapter)
    experts = Adapter(targets=("q_proj", "experts.gate_up_proj"))
    check_adapter(stand_in("gpt-oss"), experts)
    with pytest.raises(InputError, match=r"weights experts\.gate_up_proj, which model\.quantize packs"):
        check_adapter(stand_in("gpt-oss"), experts, packed=True)
    with pytest.raises(InputError, match="this model has 2 layers"):
        check_adapter(stand_in("llama"), Adapter(type="none", top_layers=3))


@pytest.mark.parametrize(
    ("family", "adapter", "there"),
    [
        ("llama", Adapter(), 2),
        ("llama", Adapter(start="somewhere"), 2),
        ("qwen2-vl", Adapter(), 2),
        ("qwen2-vl", Adapter(vision=True), 4),
        ("qwen2-vl", Adapter(type="none"), 4),
    ],
)
def test_more_layers_than_there_are_cannot_be_recomputed(stand_in, family, adapter, there):
    check_adapter(stand_in(family), adapter, recomputed=there)
    check_adapter(stand_in(family), adapter, recomputed=True)
    with pytest.raises(InputError, match=f"is {there + 1}, and this model has {there} layers to recompute"):
        check_adapter(stand_in(family), adapter, recomputed=there + 1)


def test_what_can_be_trained_whole_is_listed_with_the_embeddings_and_the_head_first(stand_in):
    with pytest.raises(InputError) as caught:
        check_adapter(stand_in("llama"), Adapter(modules_to_save=("nix",)))
    assert "it has embed_tokens, lm_head, norm, q_proj, " in str(caught.value).lower()
    assert "layers" not in str(caught.value)

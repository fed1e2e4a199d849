"""However many layers are run again in the backward pass, what is learned is the same to the last bit."""

from __future__ import annotations

import pytest
import torch

from tests.models.families import VOCABULARY, tiny
from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.models.recompute import recomputable_layers, recompute_activations
from tunesmith.segments import Block, Piece, lay_row

LAYERS = 4
ROW = lay_row(
    [Block.of((Piece(tuple(range(3 + at, 20 + 3 * at)), (1.0,) * (17 + 2 * at)),)) for at in range(3)]
)


def a_policy(family: str, *, lora: bool, segments: bool = True, **changes) -> Policy:
    model = tiny(family, num_hidden_layers=LAYERS, **changes)
    if not lora:
        tuned = model.requires_grad_(True)
    else:
        tuned = add_adapter(model, Adapter(rank=4, dropout=0.3), base_name="tiny", seed=0)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide the gradients of A
                torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return Policy(tuned, segments=segments, compute=torch.float32, seed=5)


def gradients_and_kept(policy: Policy) -> tuple[dict[str, bytes], int]:
    """The gradients of a row, and how many bytes were kept for the backward pass outside the weights."""
    weights = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with policy.training_mode():
        policy.seat(1, 0)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = -policy(ROW).sum()
        bytes_kept = sum(kept.values())
        loss.backward()
    found = {name: p.grad.numpy().tobytes() for name, p in policy.trainable().items() if p.grad is not None}
    assert found
    return found, bytes_kept


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("family", ["Llama", "Qwen3", "Glm4"])
def test_each_further_layer_keeps_less_and_changes_no_bit(family, lora):
    whole, kept = gradients_and_kept(a_policy(family, lora=lora))
    for layers in (1, 2, LAYERS):
        policy = a_policy(family, lora=lora)
        recompute_activations(policy.causal_lm, layers)
        found, now_kept = gradients_and_kept(policy)
        assert found == whole
        assert now_kept < kept
        kept = now_kept


def test_none_asked_for_is_none_and_no_number_is_all():
    policy = a_policy("Llama", lora=True)
    layers = recomputable_layers(policy.causal_lm)
    recompute_activations(policy.causal_lm, 0)
    assert [layer.gradient_checkpointing for layer in layers] == [False] * LAYERS
    recompute_activations(policy.causal_lm)
    assert [layer.gradient_checkpointing for layer in layers] == [True] * LAYERS
    recompute_activations(policy.causal_lm, 1)
    assert [layer.gradient_checkpointing for layer in layers] == [True] + [False] * (LAYERS - 1)


def test_frozen_layers_at_the_bottom_keep_nothing_and_are_not_counted():
    def top_only(layers_learning: int) -> Policy:
        policy = a_policy("Llama", lora=True)
        for layer in recomputable_layers(policy.causal_lm)[: LAYERS - layers_learning]:
            layer.requires_grad_(False)
        return policy

    policy = top_only(2)
    assert len(recomputable_layers(policy.causal_lm)) == 2
    whole, kept = gradients_and_kept(top_only(2))
    recompute_activations(policy.causal_lm, 1)
    found, now_kept = gradients_and_kept(policy)
    assert found == whole
    # What the frozen layers would keep is more than what one layer saves.
    assert now_kept < kept


def test_the_experts_of_a_mixture_choose_the_same_when_run_again():
    changes = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    whole, _ = gradients_and_kept(a_policy("Qwen3Moe", lora=False, **changes))
    policy = a_policy("Qwen3Moe", lora=False, **changes)
    recompute_activations(policy.causal_lm, 3)
    assert gradients_and_kept(policy)[0] == whole


def test_the_text_layers_come_before_those_of_a_vision_tower_that_learns():
    from transformers import AutoModelForImageTextToText, Qwen2VLConfig

    text = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}  # fmt: skip
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4}
    config = Qwen2VLConfig(text_config=text, vision_config=vision)
    model = AutoModelForImageTextToText.from_config(config).requires_grad_(True)
    layers = recomputable_layers(model)
    assert layers[:3] == list(model.model.language_model.layers)
    assert layers[3:] == list(model.model.visual.blocks)
    model.model.visual.requires_grad_(False)
    assert recomputable_layers(model) == list(model.model.language_model.layers)


def test_a_family_that_cannot_is_told(monkeypatch):
    model = tiny("Llama")
    monkeypatch.setattr(type(model), "supports_gradient_checkpointing", False)
    with pytest.raises(InputError, match="cannot recompute its activations"):
        recompute_activations(model)

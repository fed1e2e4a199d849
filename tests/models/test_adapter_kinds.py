"""Every kind of adapter against PEFT and transformers run the plain way: gradients, and what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from tests.conftest import byte_tokenizer, tiny_llama
from tests.models.families import PACKED, tiny
from tests.models.test_adapters import logits, types
from tests.train.test_gradients import assert_same, gradients, samples
from tunesmith.config.method import Generation
from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter, load_adapter, load_beside
from tunesmith.models.generate import generate
from tunesmith.models.policy import Policy
from tunesmith.models.recompute import recompute_activations
from tunesmith.models.save import About, save_result
from tunesmith.segments import plan_rows

LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
EXPERTS = ("q_proj", "experts.gate_up_proj", "experts.down_proj")
# name: (the recipe's adapter, what PEFT is told, how the model differs)
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {}),
    "rslora": ({"rslora": True}, {"use_rslora": True}, {}),
    "dora": ({"dora": True}, {"use_dora": True}, {}),
    "head trained whole": ({"modules_to_save": ("lm_head",)}, {"modules_to_save": ["lm_head"]}, {}),
    "both ends trained whole": (
        {"modules_to_save": ("embed_tokens", "lm_head")},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {},
    ),
    "tied ends trained whole": (
        {"modules_to_save": ("embed_tokens",)},
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"tie_word_embeddings": True},
    ),
    "a norm trained whole": ({"modules_to_save": ("model.norm",)}, {"modules_to_save": ["model.norm"]}, {}),
    "top layer": ({"top_layers": 1}, {"layers_to_transform": [1]}, {}),
}


def moved(model) -> None:
    """As after some training: nothing is zero, so that every gradient shows."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)


def ours_on(model, **settings: Any) -> PeftModel:
    adapter = Adapter(rank=4, alpha=8, **settings)
    return add_adapter(model, adapter, base_name="some/base", seed=1)


def our_gradients(tuned, trees):
    policy = Policy(tuned, segments=True, compute=torch.float32, seed=0)
    return gradients(policy, plan_rows(trees, 10_000), trees)


def plain_gradients(model, trees):
    """One sequence at a time through transformers and PEFT, the mean over all weighted tokens by hand."""
    model.train()
    total = sum(sum(piece.weights[1:]) for (piece,) in trees)
    loss = 0.0
    for (piece,) in trees:
        ids = torch.tensor([piece.tokens])
        scores = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        value = -(scores * torch.tensor(piece.weights[1:])).sum() / total
        value.backward()
        loss += value.item()
    return loss, {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def with_weights_of(theirs, ours) -> None:
    learned = {name: weight for name, weight in ours.named_parameters() if weight.requires_grad}
    own = {name: weight for name, weight in theirs.named_parameters() if weight.requires_grad}
    assert learned.keys() == own.keys()
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(learned[name])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_peft_run_plainly(kind):
    settings, told, changes = KINDS[kind]
    ours = ours_on(tiny_llama(**changes), **settings)
    moved(ours)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(LLAMA), task_type="CAUSAL_LM", **told)
    theirs = get_peft_model(tiny_llama(**changes), config)
    with_weights_of(theirs, ours)
    trees = samples(4)
    assert_same(our_gradients(ours, trees), plain_gradients(theirs, trees), 1e-5)


@pytest.mark.parametrize("family", ["qwen3 with experts", "gpt-oss, sinks and experts"])
def test_gradients_of_named_experts_are_those_of_peft(family):
    name, changes = PACKED[family]
    ours = ours_on(tiny(name, **changes), targets=EXPERTS)
    moved(ours)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj"],
        target_parameters=list(EXPERTS[1:]),
        task_type="CAUSAL_LM",
    )
    theirs = get_peft_model(tiny(name, **changes), config)
    with_weights_of(theirs, ours)
    trees = samples(3)
    assert_same(our_gradients(ours, trees), plain_gradients(theirs, trees), 1e-5)


def saved(tuned, folder: Path) -> Path:
    save_result(tuned, byte_tokenizer(), About("some/base"), folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_loads_in_plain_peft_and_here(tmp_path, kind):
    settings, _, changes = KINDS[kind]
    ours = ours_on(tiny_llama(**changes), **settings)
    moved(ours)
    folder = saved(ours, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(tiny_llama(**changes), str(folder))
    again = load_adapter(tiny_llama(**changes), folder, trainable=False)
    torch.testing.assert_close(logits(theirs), logits(ours), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits(again), logits(ours), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits(tiny_llama(**changes)), logits(ours), atol=1e-2)


@pytest.mark.parametrize("family", ["qwen3 with experts", "gpt-oss, sinks and experts"])
def test_adapted_experts_load_in_plain_peft(tmp_path, family):
    name, changes = PACKED[family]
    ours = ours_on(tiny(name, **changes), targets=EXPERTS)
    moved(ours)
    theirs = PeftModel.from_pretrained(tiny(name, **changes), str(saved(ours, tmp_path / "adapter")))
    torch.testing.assert_close(logits(theirs), logits(ours), atol=1e-5, rtol=1e-5)


# ---- PiSSA and OLoRA


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_start_from_the_weights_is_saved_for_the_base_as_it_was(tmp_path, init, rslora):
    ours = ours_on(tiny_llama(), init=init, rslora=rslora)
    torch.testing.assert_close(logits(ours), logits(tiny_llama()), atol=1e-5, rtol=1e-5)
    moved(ours)
    folder = saved(ours, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(tiny_llama(), str(folder))
    torch.testing.assert_close(logits(theirs), logits(ours), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits(tiny_llama()), logits(ours), atol=1e-2)
    with ours.disable_adapter():  # the base is what it was, to the last bit
        assert torch.equal(logits(ours), logits(tiny_llama()))
    config = theirs.peft_config["default"]
    assert (config.r, config.use_rslora) == (8, rslora)
    assert set(theirs.peft_config) == {"default"}
    assert all("start" not in name for name in load_file(folder / "adapter_model.safetensors"))


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_gradients_of_a_start_from_the_weights_are_those_of_peft_on_the_rest(init):
    ours = ours_on(tiny_llama(), init=init)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(LLAMA), task_type="CAUSAL_LM")
    theirs = get_peft_model(tiny_llama(), config)
    with_weights_of(theirs, ours)
    with torch.no_grad():  # as PEFT does: the weight gives up the part that the adapter begins as
        for module in theirs.modules():
            if hasattr(module, "lora_A"):
                module.base_layer.weight -= (
                    2 * module.lora_B["default"].weight @ module.lora_A["default"].weight
                )
    trees = samples(4)
    assert_same(our_gradients(ours, trees), plain_gradients(theirs, trees), 1e-5)


def with_falling_singular_values(model):
    """As trained weights have them; those of random ones are all alike."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "_proj" in name:
                left, values, right = torch.linalg.svd(weight, full_matrices=False)
                weight.copy_(left * 2.0 ** -torch.arange(len(values)) @ right)
    return model


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_start_from_the_weights_is_pefts(init):
    ours = ours_on(with_falling_singular_values(tiny_llama()), init=init)
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=list(LLAMA), init_lora_weights=init, task_type="CAUSAL_LM"
    )
    theirs = get_peft_model(with_falling_singular_values(tiny_llama()), config)
    mine = {name: weight for name, weight in ours.named_parameters() if ".default." in name}
    for name, weight in theirs.named_parameters():
        if "lora_A" in name:  # the factors' signs are free in PiSSA; their product is not
            other = name.replace("lora_A", "lora_B")
            product = theirs.get_parameter(other) @ weight
            torch.testing.assert_close(mine[other] @ mine[name], product, atol=1e-4, rtol=1e-3)


def test_a_start_from_the_weights_hangs_on_the_seed_alone():
    first, second = (ours_on(tiny_llama(), init="pissa", targets=("q_proj",)) for _ in range(2))
    for (name, weight), other in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(weight, other), name


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"init": "pissa", "rank": 40}, "adapter.rank is 40, and .* too small .* Choose at most"),
        ({"init": "olora", "targets": ("embed_tokens",)}, "is for linear layers, and adapter.targets names model.embed_tokens"),
    ],
)  # fmt: skip
def test_a_start_that_the_weights_cannot_give_is_refused(settings, told):
    with pytest.raises(InputError, match=told):
        add_adapter(tiny_llama(), Adapter(**settings), base_name="x", seed=0)


def test_linear_layers_by_another_name_start_from_their_weights(tmp_path):
    name, changes = PACKED["gpt2 without dropout"]
    ours = ours_on(tiny(name, **changes), init="pissa")
    torch.testing.assert_close(logits(ours), logits(tiny(name, **changes)), atol=1e-5, rtol=1e-5)
    moved(ours)
    theirs = PeftModel.from_pretrained(tiny(name, **changes), str(saved(ours, tmp_path / "adapter")))
    torch.testing.assert_close(logits(theirs), logits(ours), atol=1e-5, rtol=1e-5)


# ---- dropout, types, names


@pytest.mark.parametrize("settings", [{"dora": True}, {"init": "pissa"}], ids=["dora", "pissa"])
def test_dropout_is_the_same_when_a_layer_is_run_again(settings):
    trees = samples(4)

    def found(recompute: bool):
        tuned = ours_on(tiny_llama(), dropout=0.3, **settings)
        moved(tuned)
        if recompute:
            recompute_activations(tuned.get_base_model())
        return our_gradients(tuned, trees)

    assert_same(found(False), found(True), 1e-6)
    tuned = ours_on(tiny_llama(), **settings)
    moved(tuned)
    assert abs(found(False)[0] - our_gradients(tuned, trees)[0]) > 1e-4


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens", "model.norm", "mlp", "self_attn"])
def test_modules_trained_whole_are_fp32_on_a_bf16_base_that_still_speaks(tmp_path, module):
    tuned = ours_on(tiny_llama().to(torch.bfloat16), modules_to_save=(module,))
    assert types(tuned) == ({torch.float32}, {torch.bfloat16})
    moved(tuned)
    options = Generation(max_new_tokens=4)
    (answer,) = generate(tuned.eval(), [[5, 9, 7]], options, ())
    again = load_adapter(tiny_llama().to(torch.bfloat16), saved(tuned, tmp_path / "adapter"), trainable=False)
    assert generate(again.eval(), [[5, 9, 7]], options, ()) == [answer]
    policy = Policy(tuned, segments=True, compute=torch.bfloat16, seed=0)
    trees = samples(2)
    found = gradients(policy, plan_rows(trees, 10_000), trees)[1]
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in found.values())


@pytest.mark.parametrize(
    ("changes", "modules", "told"),
    [
        ({}, ("nope",), "names 'nope', which this model does not have. It has .*embed_tokens"),
        ({"family": "gpt2 without dropout"}, ("wte",), "one matrix in this model, which PEFT would part"),
    ],
)
def test_modules_that_cannot_be_trained_whole_are_refused(changes, modules, told):
    name, settings = PACKED[changes["family"]] if changes else ("Llama", {})
    with pytest.raises(InputError, match=told):
        add_adapter(tiny(name, **settings), Adapter(modules_to_save=modules), base_name="x", seed=0)


# ---- side by side


def test_adapters_side_by_side_say_what_they_say_alone(tmp_path):
    settings = [{}, {"dora": True}, {"rslora": True, "targets": ("q_proj",)}, {"init": "olora"}]
    folders = []
    for number, one in enumerate(settings):
        tuned = ours_on(tiny_llama(), **one)
        moved(tuned)
        folders.append(saved(tuned, tmp_path / str(number)))
    together = load_adapter(tiny_llama(), folders[0], trainable=False)
    for number, folder in enumerate(folders[1:], 1):
        load_beside(together, folder, f"adapter_{number}")
    for number in (2, 0, 3, 1):
        together.set_adapter(f"adapter_{number}" if number else "default")
        alone = load_adapter(tiny_llama(), folders[number], trainable=False)
        assert torch.equal(logits(together), logits(alone)), number
    with together.disable_adapter():
        assert torch.equal(logits(together), logits(tiny_llama()))


def test_an_adapter_of_another_base_cannot_stand_beside(tmp_path):
    here, other = ours_on(tiny_llama()), ours_on(tiny_llama(hidden_size=64))
    tuned = load_adapter(tiny_llama(), saved(here, tmp_path / "a"), trainable=False)
    with pytest.raises(
        InputError, match=r"does not fit this model .*lora_A is 4 x 64 there, and this model needs 4 x 32"
    ):
        load_beside(tuned, saved(other, tmp_path / "b"), "adapter_1")

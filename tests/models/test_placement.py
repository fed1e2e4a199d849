"""Layers over several devices: a plan that splits no layer, and training that does not notice."""

from __future__ import annotations

import pytest
import torch
import transformers
from accelerate import dispatch_model

from tests.models.families import tiny
from tests.models.test_quantize import ROW, gradients, stirred
from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter
from tunesmith.models.load import load_model
from tunesmith.models.placement import layers_on, parse_bytes, place_layers, room_here
from tunesmith.models.policy import Policy
from tunesmith.models.quantize import bytes_in_memory
from tunesmith.models.skeleton import skeleton

GB = 10**9


@pytest.fixture(scope="module")
def qwen_14b(tmp_path_factory):
    """The shape of a model of 14.8 billion weights."""
    folder = tmp_path_factory.mktemp("model")
    transformers.Qwen2Config(
        vocab_size=152064, hidden_size=5120, intermediate_size=13824, num_hidden_layers=48, num_attention_heads=40,
        num_key_value_heads=8, tie_word_embeddings=False, architectures=["Qwen2ForCausalLM"],
    ).save_pretrained(folder)  # fmt: skip
    return skeleton(folder, dtype=torch.bfloat16)


def bytes_on(model, storage, plan) -> dict[str, int]:
    """Bytes of weights on each device of a plan."""
    held: dict[str, int] = {}
    for name, size in bytes_in_memory(model, storage).items():
        (place,) = {
            str(d) for part, d in plan.items() if part == "" or name == part or name.startswith(part + ".")
        }
        held[place] = held.get(place, 0) + size
    return held


@pytest.mark.parametrize(
    ("storage", "room", "used"),
    [
        ("none", {0: 24 * GB, 1: 8 * GB, "cpu": 40 * GB}, {"cuda:0", "cuda:1"}),
        ("none", {0: 8 * GB, 1: 12 * GB, "cpu": 40 * GB}, {"cuda:0", "cuda:1", "cpu"}),
        ("nf4", {0: 8 * GB, 1: 6 * GB, "cpu": 40 * GB}, {"cuda:0", "cuda:1"}),
        ("nf4", {0: 24 * GB, 1: 8 * GB, "cpu": 40 * GB}, {"cuda:0"}),
        ("none", {"cpu": 40 * GB}, {"cpu"}),
    ],
)
def test_gpus_are_filled_in_turn_and_no_layer_is_split(qwen_14b, storage, room, used):
    plan = place_layers(qwen_14b, storage, room)
    held = bytes_on(qwen_14b, storage, plan)  # every weight has one place
    assert set(held) == used
    for place, size in held.items():
        assert size <= room[place if place == "cpu" else int(place.removeprefix("cuda:"))]
    assert not [part for part in plan if "layers." in part and len(part.split(".")) > 3]
    order = [str(place) for part, place in plan.items() if ".layers." in part]
    assert order == sorted(order, key=lambda place: (place == "cpu", place))


def test_what_fits_nowhere_is_told_with_what_is_missing(qwen_14b):
    with pytest.raises(
        InputError, match=r"need 29\.5 GB, and all devices together can take 20\.0 GB: 9\.5 GB short"
    ):
        place_layers(qwen_14b, "none", {0: 8 * GB, "cpu": 12 * GB})


@pytest.mark.parametrize(
    ("text", "count"), [("20GB", 20 * GB), ("7.5 GiB", 15 * 2**29), ("512MB", 512 * 10**6), ("1TiB", 2**40)]
)
def test_amounts_of_memory(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["20", "GB", "-1GB", "20 gigabytes", ""])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(InputError, match="no amount of memory"):
        parse_bytes(text)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="names GPU 7"):
        room_here({7: "20GB", "cpu": "10GB"}, "cpu")
    assert room_here({"cpu": "10GB"}, "cpu") == {"cpu": 10 * GB}


def test_without_gpus_auto_loads_as_none_does(tmp_path):
    tiny("Llama").save_pretrained(tmp_path)
    plain, placed = (
        load_model(tmp_path, dtype=torch.float32, device="cpu", device_map=device_map)
        for device_map in ("none", "auto")
    )
    assert layers_on(placed) == {"": "cpu"}  # what a resumed run asks for, whatever is free then
    again = load_model(tmp_path, dtype=torch.float32, device="cpu", device_map=layers_on(placed))
    for model in (placed, again):
        assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("storage", ["none", "nf4"])
def test_training_goes_through_the_hooks_that_move_from_device_to_device(storage, tmp_path):
    """Each part with a hook of its own, as over several GPUs; here all of them are the CPU."""
    tiny("Qwen2", hidden_size=64, head_dim=16).save_pretrained(tmp_path)
    got = []
    for hooked in (False, True):
        model = load_model(tmp_path, dtype=torch.float32, device="cpu", quantize=storage)
        if hooked:
            parts = (
                "model.embed_tokens",
                "model.layers.0",
                "model.layers.1",
                "model.norm",
                "model.rotary_emb",
                "lm_head",
            )
            dispatch_model(model, dict.fromkeys(parts, torch.device("cpu")), force_hooks=True)
            assert all(hasattr(layer, "_hf_hook") for layer in model.model.layers)
        tuned = stirred(add_adapter(model, Adapter(rank=4), base_name="x", seed=0))
        policy = Policy(tuned, segments=True, compute=torch.float32, seed=0)
        with policy.scoring_mode():
            score = policy(ROW)
        got.append((score, gradients(policy)))
    (plain, expected), (over_hooks, ours) = got
    assert torch.equal(plain, over_hooks)
    assert expected and all(torch.equal(expected[name], ours[name]) for name in expected)

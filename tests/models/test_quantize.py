"""Packed weights: the same numbers as plain transformers over weights that bitsandbytes has unpacked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import bitsandbytes.functional as bnb
import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Mxfp4Config
from transformers.pytorch_utils import Conv1D

from tests.models.families import tiny
from tests.standins import build
from tunesmith import optional
from tunesmith.config.method import Generation
from tunesmith.config.schema import Adapter, Recipe
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter
from tunesmith.models.generate import generate
from tunesmith.models.load import load_model
from tunesmith.models.packed import parameter_count
from tunesmith.models.policy import Policy
from tunesmith.models.quantize import check_trainable, packable_experts, packable_linears, weights_bytes
from tunesmith.segments import Block, Piece, lay_row

TOKENS = tuple(torch.randint(3, 90, (24,), generator=torch.Generator().manual_seed(3)).tolist())
ROW = lay_row([Block.of((Piece(TOKENS, (1.0,) * len(TOKENS)),))])
_EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
_GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
_FAMILIES = {"Llama": {}, "Qwen2": {}, "GPT2": _GPT2, "GptOss": _EXPERTS, "Qwen3Moe": _EXPERTS}


def folder_of(family: str, folder: Path) -> Path:
    tiny(family, **{"hidden_size": 64, "head_dim": 16, **_FAMILIES[family]}).save_pretrained(folder)
    return folder


def quantised(folder: Path, storage: str, **options) -> nn.Module:
    return load_model(folder, dtype=torch.float32, device="cpu", quantize=storage, **options)


def there_and_back(weight: torch.Tensor, storage: str) -> torch.Tensor:
    """What packing makes of a matrix, by bitsandbytes alone."""
    if storage == "bnb8":
        codes, largest, _ = bnb.int8_vectorwise_quant(weight.half())
        return codes.float() * (largest / 127)[:, None]
    codes, state = bnb.quantize_4bit(weight.reshape(1, -1), compress_statistics=True, quant_type="nf4")
    return bnb.dequantize_4bit(codes, state).reshape(weight.shape)


def unpacked(folder: Path, storage: str) -> nn.Module:
    """transformers' own model, each weight that is to be packed replaced by what packing makes of it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        for linear in packable_linears(model).values():
            turned = isinstance(linear, Conv1D)
            back = there_and_back(linear.weight.T.contiguous() if turned else linear.weight, storage)
            linear.weight.copy_(back.T if turned else back)
        for weight in packable_experts(model).values():
            for number in range(weight.shape[0]):
                weight[number] = there_and_back(weight[number], storage)
    return model


def loss(model: nn.Module) -> torch.Tensor:
    ids = torch.tensor(TOKENS)[None]
    logits = model(ids, use_cache=False).logits[0, :-1].float()
    return nn.functional.cross_entropy(logits, ids[0, 1:])


def stirred(model: nn.Module) -> nn.Module:
    """A LoRA adapter whose B is not zero, so that gradients reach A too."""
    for name, weight in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(crc32(name.encode())))
    return model


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    policy.model.zero_grad()
    with policy.training_mode():
        (-policy(ROW).sum() / (len(TOKENS) - 1)).backward()
    return {name: weight.grad.clone() for name, weight in policy.trainable().items()}


@pytest.mark.parametrize("storage", ["nf4", "bnb8"])
@pytest.mark.parametrize("family", _FAMILIES)
def test_logits_and_gradients_are_those_of_the_unpacked_weights(family, storage, tmp_path):
    folder = folder_of(family, tmp_path)
    targets = ["c_attn", "c_proj"] if family == "GPT2" else ["q_proj", "v_proj", "o_proj"]
    plain = stirred(get_peft_model(unpacked(folder, storage), LoraConfig(r=4, target_modules=targets)))
    expected = loss(plain)
    expected.backward()
    tuned = add_adapter(
        quantised(folder, storage), Adapter(rank=4, alpha=8, targets=tuple(targets)), base_name="x", seed=0
    )
    policy = Policy(stirred(tuned), segments=False, compute=torch.float32, seed=0)
    packed = [m for m in tuned.modules() if type(m).__name__ in ("Linear4bit", "Int8Linear")]
    assert len(packed) >= 4 * 2
    ours = gradients(policy)
    theirs = {name: weight.grad for name, weight in plain.named_parameters() if weight.grad is not None}
    assert loss(tuned).item() == pytest.approx(expected.item(), abs=1e-5)
    assert {n.replace("base_layer.", "") for n in ours} == {n.replace("base_layer.", "") for n in theirs}
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name], gradient, atol=1e-5, rtol=1e-4), name


@pytest.mark.parametrize("storage", ["nf4", "bnb8"])
def test_an_evaluation_changes_no_gradient(storage, tmp_path):
    """On CPUs with AVX512-BF16, bitsandbytes repacks weights in evaluation mode, and gradients go wrong after it."""
    model = quantised(folder_of("Qwen2", tmp_path), storage)
    tuned = stirred(add_adapter(model, Adapter(rank=4), base_name="x", seed=0))
    policy = Policy(tuned, segments=True, compute=torch.float32, seed=0)
    before = gradients(policy)
    with policy.scoring_mode():
        score = policy(ROW)
    answers = generate(tuned.eval(), [TOKENS[:5]], Generation(max_new_tokens=6), [])
    after = gradients(policy)
    assert len(answers[0].tokens) == 6 and score.isfinite().all()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with policy.scoring_mode():
        assert torch.equal(policy(ROW), score)


def test_checkpointing_changes_no_gradient_of_packed_experts(tmp_path):
    tuned = stirred(
        add_adapter(quantised(folder_of("GptOss", tmp_path), "nf4"), Adapter(rank=4), base_name="x", seed=0)
    )
    policy = Policy(tuned, segments=True, compute=torch.float32, seed=0)
    plain = gradients(policy)
    policy.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    recomputed = gradients(policy)
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


def test_packed_experts_keep_nothing_unpacked_for_the_backward_pass(tmp_path):
    model = quantised(folder_of("GptOss", tmp_path), "nf4")
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        model.get_input_embeddings().weight.requires_grad_(True)
        loss(model).backward()
    experts = model.model.layers[0].mlp.experts
    rows, columns = experts.gate_up_proj.shape[1:]
    assert not [tensor for tensor in kept if sorted(tensor.shape[-2:]) == sorted((rows, columns))]


@pytest.mark.parametrize("storage", ["nf4", "bnb8"])
def test_packed_weights_count_as_what_they_stand_for(storage, tmp_path):
    folder = build("gpt-oss", tmp_path)
    whole = AutoModelForCausalLM.from_pretrained(folder)
    assert parameter_count(quantised(folder, storage)) == whole.num_parameters()


def test_head_embeddings_norms_and_vision_tower_stay_whole(tmp_path):
    model = quantised(build("qwen2-vl", tmp_path), "nf4")
    packed = {name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
    assert packed and all(".language_model.layers." in name for name in packed)
    whole = {name for name, weight in model.named_parameters() if weight.dtype == torch.float32}
    assert {name for name in whole if name.endswith("proj.weight") and "language_model" in name} <= {
        f"model.language_model.layers.{n}.mlp.down_proj.weight"
        for n in range(2)  # 96 wide: no whole blocks
    }


@pytest.mark.parametrize("storage", ["none", "nf4", "bnb8"])
@pytest.mark.parametrize("family", ["Llama", "GPT2", "GptOss", "Qwen3Moe"])
def test_bytes_are_known_before_loading(family, storage, tmp_path):
    folder = folder_of(family, tmp_path)
    said = weights_bytes(folder, dtype=torch.float32, quantize=storage)
    model = quantised(folder, storage)
    held = dict(model.named_parameters())
    total = sum(weight.nbytes for weight in held.values())
    total += sum(
        b.nbytes for m in model.modules() if "Experts" in type(m).__name__ for b in m.buffers(recurse=False)
    )
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            total += module.quant_state.absmax.nbytes + module.quant_state.state2.absmax.nbytes + 4
        elif type(module).__name__ == "Int8Linear":
            total += module.weight.SCB.nbytes
    assert said["total"] == total
    assert said["embeddings"] >= model.get_input_embeddings().weight.nbytes
    assert said["total"] == said["embeddings"] + said["head"] + said["layers"]


def mxfp4(folder: Path) -> Path:
    """A GPT-OSS checkpoint as OpenAI published it: experts in blocks of 4 bits with scales of 8."""
    build("gpt-oss", folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    draw = torch.Generator().manual_seed(5)
    for name in [name for name in weights if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, into, out = weights.pop(name).shape
        blocks = (experts, out, into // 32, 16)
        weights[f"{name}_blocks"] = torch.randint(256, blocks, dtype=torch.uint8, generator=draw)
        weights[f"{name}_scales"] = torch.randint(118, 124, blocks[:3], dtype=torch.uint8, generator=draw)
    save_file(weights, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mxfp4_is_unpacked_as_transformers_does_it(dtype, tmp_path):
    folder = mxfp4(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, quantization_config=Mxfp4Config(dequantize=True)
    )
    ours = load_model(folder, dtype=dtype, device="cpu")
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in ours.state_dict().items())
    kept = load_model(folder, dtype=dtype, device="cpu", quantize="keep")
    for layer, whole in zip(kept.model.layers, ours.model.layers, strict=True):
        for name in ("gate_up_proj", "down_proj"):
            packed = getattr(layer.mlp.experts, name)
            assert packed.blocks.dtype == torch.uint8
            for number in range(4):
                assert torch.equal(packed.expert(number, dtype), getattr(whole.mlp.experts, name)[number])


def test_training_over_kept_mxfp4_equals_training_over_it_unpacked(tmp_path):
    folder = mxfp4(tmp_path)
    got = []
    for storage in ("none", "keep"):
        tuned = add_adapter(quantised(folder, storage), Adapter(rank=4), base_name="x", seed=0)
        policy = Policy(stirred(tuned), segments=True, compute=torch.float32, seed=0)
        with policy.scoring_mode():
            score = policy(ROW)
        got.append((score, gradients(policy)))
    (whole, expected), (kept, ours) = got
    assert torch.allclose(whole, kept, atol=1e-4)
    assert all(torch.allclose(expected[name], ours[name], atol=1e-5, rtol=1e-3) for name in expected)


def test_mxfp4_to_nf4_equals_nf4_of_the_unpacked(tmp_path):
    folder = mxfp4(tmp_path / "mxfp4")
    load_model(folder, dtype=torch.bfloat16, device="cpu").save_pretrained(tmp_path / "whole")
    direct = load_model(folder, dtype=torch.bfloat16, device="cpu", quantize="nf4")
    indirect = load_model(tmp_path / "whole", dtype=torch.bfloat16, device="cpu", quantize="nf4")
    experts, expected = (model.model.layers[1].mlp.experts.down_proj for model in (direct, indirect))
    assert torch.equal(experts.codes, expected.codes) and torch.equal(experts.scales, expected.scales)
    assert weights_bytes(folder, dtype=torch.bfloat16, quantize="nf4") == weights_bytes(
        tmp_path / "whole", dtype=torch.bfloat16, quantize="nf4"
    )


def says(folder: Path, **config) -> Path:
    """A folder whose configuration says that its weights are quantised."""
    build("llama", folder)
    path = folder / "config.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text("utf-8")), "quantization_config": config}), "utf-8"
    )
    return folder


def test_what_cannot_be_had_is_refused_in_a_sentence(tmp_path, monkeypatch):
    plain, gptq = build("llama", tmp_path / "plain"), says(tmp_path / "gptq", quant_method="gptq", bits=4)
    with pytest.raises(InputError, match="nothing to keep"):
        quantised(plain, "keep")
    for storage in ("none", "nf4"):
        with pytest.raises(InputError, match="quantised by gptq") as refused:
            quantised(gptq, storage)
        assert "keep" in refused.value.remedy
    with pytest.raises(InputError, match="cannot be loaded"):  # what its kernels come in is not installed
        quantised(gptq, "keep")
    with pytest.raises(InputError, match="CUDA and on a CPU only"):
        load_model(plain, dtype=torch.float32, device="mps", quantize="nf4")
    monkeypatch.setattr(optional, "installed", lambda module: module != "bitsandbytes")
    with pytest.raises(InputError, match="bitsandbytes") as missing:
        quantised(plain, "nf4")
    assert "tunesmith[bnb]" in missing.value.remedy


def test_a_form_that_gives_no_gradients_is_refused_for_training():
    class Frozen:
        is_trainable = False
        quantization_config = type("Config", (), {"quant_method": "awq"})

    model = nn.Linear(2, 2)
    check_trainable(model, "a/b")
    model.hf_quantizer = Frozen()
    with pytest.raises(InputError, match="quantised by awq"):
        check_trainable(model, "a/b")


def in_four_bits(source: Path, folder: Path) -> Path:
    """A checkpoint as transformers and bitsandbytes write it."""
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, quantization_config=config)
    model.save_pretrained(folder)
    return folder


def test_a_checkpoint_of_bitsandbytes_is_kept_and_trains(tmp_path):
    source = folder_of("Llama", tmp_path / "plain")
    kept = quantised(in_four_bits(source, tmp_path / "packed"), "keep")
    check_trainable(kept, "x")
    assert loss(kept).item() == pytest.approx(loss(quantised(source, "nf4")).item(), abs=1e-5)
    layers = [layer for layer in kept.modules() if type(layer).__name__ == "Linear4bit"]
    assert layers and not any(layer.support_avx512bf16_for_cpu for layer in layers)


def test_a_checkpoint_that_bitsandbytes_unpacks_wrongly_on_a_cpu_is_refused(tmp_path):
    """Rows of 32, in blocks of 64."""
    tiny("Llama").save_pretrained(tmp_path / "plain")
    with pytest.raises(InputError, match="packed in rows of 32"):
        quantised(in_four_bits(tmp_path / "plain", tmp_path / "packed"), "keep")


def test_full_tuning_of_packed_weights_is_refused():
    recipe = {"name": "x", "model": {"source": "a/b", "quantize": "nf4"}, "data": {"train": "rows.jsonl"}}
    Recipe.model_validate(recipe)
    with pytest.raises(ValidationError, match="full tuning changes the weights"):
        Recipe.model_validate({**recipe, "adapter": {"type": "none"}})


def test_what_is_missing_is_seen_in_packed_weights_too(tmp_path):
    folder = folder_of("GptOss", tmp_path)
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.experts.down_proj"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"1 are missing, the first is model\.layers\.1\.mlp\.experts\.down_proj"
    ):
        quantised(folder, "nf4")


def test_experts_that_cannot_be_packed_are_told(tmp_path, caplog):
    """Llama 4 multiplies by its experts in a way of its own."""
    sizes = {"hidden_size": 64, "head_dim": 16, "intermediate_size_mlp": 64, "num_local_experts": 4}
    tiny("Llama4Text", **sizes).save_pretrained(tmp_path / "llama4")
    folder_of("Llama", tmp_path / "llama")
    with caplog.at_level("WARNING", "tunesmith"):
        quantised(tmp_path / "llama", "nf4")
        quantised(tmp_path / "llama4", "none")
        assert not caplog.messages
        quantised(tmp_path / "llama4", "nf4")
    assert (
        "cannot pack these, which stay in `precision`: experts.gate_up_proj, experts.down_proj" in caplog.text
    )


@pytest.mark.parametrize("first", ["tunesmith.models.packed", "tunesmith.infer.shelf"])  # PEFT imports it too
def test_bitsandbytes_fetches_no_code_when_it_is_imported(tmp_path, first):
    """With the package `kernels` it would, on CPUs with AVX512-BF16; the package stays usable for others."""
    (tmp_path / "kernels.py").write_text(
        "def get_kernel(name, **settings):\n    print('fetched', name)\n    raise OSError('no network')\n",
        "utf-8",
    )
    program = (
        f"import {first}\n"
        "from tunesmith.models.packed import bitsandbytes\n"
        "print(bitsandbytes().__name__)\n"
        "import kernels\n"
        "print(kernels.get_kernel.__name__)"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["bitsandbytes", "get_kernel"], done.stderr
    assert "kernels" not in done.stderr

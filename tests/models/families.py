"""Families made tiny: the real classes of transformers with two layers and seeded random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 300
_TINY: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Large enough for attention to matter.
    "initializer_range": 0.1,
}
_SLIDING_AND_FULL = ["sliding_attention", "full_attention"]
_EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_NO_DROPOUT = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
_GPT2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 512}
_MAMBA_LAYERS = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}

# Families that the segment attention serves, and what is peculiar about them.
PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {}),
    "qwen3 with experts": ("Qwen3Moe", _EXPERTS),
    "mistral with a window": ("Mistral", {"sliding_window": 5}),
    "gemma2, softcaps and a window": ("Gemma2", {"sliding_window": 5, "final_logit_softcapping": 3.0}),
    "gemma3, a window on some layers": ("Gemma3Text", {"sliding_window": 5, "layer_types": _SLIDING_AND_FULL}),
    "gpt-oss, sinks and experts": (
        "GptOss",
        {"sliding_window": 5, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    ),
    "glm": ("Glm", {}),
    "glm4": ("Glm4", {}),
    "granite divides its logits": ("Granite", {"logits_scaling": 4.0, "attention_multiplier": 0.5}),
    "cohere multiplies its logits": ("Cohere", {"logit_scale": 0.25}),
    "phi3": ("Phi3", {}),
    "olmo2": ("Olmo2", {}),
    "deepseek, latent attention": (
        "DeepseekV3",
        {
            **_EXPERTS, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "q_lora_rank": 8,
            "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "first_k_dense_replace": 1,
        },
    ),
    "gpt2 without dropout": ("GPT2", {**_GPT2, **_NO_DROPOUT}),
}  # fmt: skip

# Families that train one sequence a row, and words of the reason that is given.
ALONE: dict[str, tuple[str, dict[str, Any], str]] = {
    "mamba": ("Mamba", {"state_size": 4}, "0 of its 2 layers call the attention"),
    "jamba": (
        "Jamba",
        {"num_experts": 2, "mamba_d_state": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
        "1 of its 2 layers call the attention",
    ),
    "qwen3-next": (
        "Qwen3Next",
        {
            **_EXPERTS, "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2,
            "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        },
        "1 of its 2 layers call the attention",
    ),
    "falcon-h1": ("FalconH1", {"mamba_d_ssm": 32, **_MAMBA_LAYERS, "mamba_n_heads": 4, "mamba_chunk_size": 8}, "hybrid"),
    "bloom": ("Bloom", {"n_layer": 2, "n_head": 4}, "cannot be replaced"),
    "stablelm": ("StableLm", {}, "no segment plan"),
    "llama4 attends in chunks": (
        "Llama4Text",
        {"attention_chunk_size": 8192, "num_local_experts": 2, "intermediate_size_mlp": 64},
        "chunked_attention",
    ),
    "llama with dynamic rope": (
        "Llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        "depends on the length of the row",
    ),
    "llama with attention dropout": ("Llama", {"attention_dropout": 0.1}, "dropout on attention weights"),
    "gpt2 as it comes": ("GPT2", _GPT2, "dropout on attention weights"),
}  # fmt: skip

# Families that carry a state through the text, which padding in front would spoil.
STATEFUL: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ALONE[name][:2] for name in ("mamba", "jamba", "qwen3-next", "falcon-h1")},
    "mamba2": ("Mamba2", {"state_size": 4, "num_heads": 8, "n_groups": 1, "chunk_size": 8, "expand": 2}),
    "rwkv": ("Rwkv", {}),
}


def tiny(family: str, **changes: Any) -> PreTrainedModel:
    """A seeded model of a family, named as transformers names its configuration."""
    torch.manual_seed(7)
    config = getattr(transformers, f"{family}Config")(**{**_TINY, **changes})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()

"""A model of any type that transformers has, made tiny: its default configuration, shrunk field by field.

Sizes shrink and windows get shorter than a test's rows; of each kind of layer that the default configuration has one
stays, so that what is peculiar about a family is still there. Dropout is off, so that numbers can be compared.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

VOCABULARY = 300

# Fields by the names that families give them. What a family does not have is left out.
_SMALL: dict[str, Any] = {
    **dict.fromkeys(["vocab_size", "vocab_size_per_layer_input", "decoder_vocab_size", "unpadded_vocab_size"], VOCABULARY),
    **dict.fromkeys(["hidden_size", "hidden_size_global", "d_model", "n_embd", "emb_dim", "embedding_size", "embedding_dim", "dim_model_base",
                     "word_embed_proj_dim", "input_embedding_size", "output_embedding_size", "lru_width", "attention_hidden_size"], 32),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size", "d_inner", "dff", "dim_ff",
                     "feed_forward_size", "intermediate_size_mlp", "dense_intermediate_size", "shared_intermediate_size",
                     "block_ff_dim", "prefix_dense_intermediate_size"], 48),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size", "shared_experts_intermediate_size",
                     "moe_shared_expert_intermediate_size", "expert_ffn_hidden_size"], 16),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers", "num_blocks",
                     "num_encoder_layers", "num_decoder_layers", "num_layers_per_stack", "max_window_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads", "encoder_attention_heads",
                     "attention_heads", "swa_num_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads",
                     "index_n_heads", "linear_num_heads"], 4),
    **dict.fromkeys(["num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads", "num_query_groups",
                     "linear_num_key_heads", "linear_num_value_heads"], 2),
    **dict.fromkeys(["head_dim", "swa_head_dim", "dim_head", "d_head", "kv_channels", "v_head_dim", "qk_rope_head_dim", "qk_nope_head_dim",
                     "index_head_dim", "linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "kv_lora_rank", "q_lora_rank",
                     "o_lora_rank", "query_pre_attn_scalar", "attention_head_size", "global_head_dim"], 8),
    # Of vision towers.
    "depth": 2,
    **dict.fromkeys(["embed_dim", "out_hidden_size", "text_hidden_size"], 32),
    "rotary_dim": 4,
    "encoder_hash_byte_group_vocab": 64,
    **dict.fromkeys(["num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"], 4),
    **dict.fromkeys(["num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts"], 2),
    **dict.fromkeys(["n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "n_group", "topk_group", "num_expert_group",
                     "first_k_dense_replace", "num_dense_layers", "n_groups", "mamba_n_groups", "mamba_ngroups", "zero_expert_num"], 1),
    **dict.fromkeys(["sliding_window", "sliding_window_size", "window_size", "attention_window_size", "local_attention",
                     "keep_window_size"], 5),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length", "max_target_positions",
                     "max_source_positions"], 512),
    **dict.fromkeys(["mamba_d_state", "state_size", "ssm_state_size", "time_step_rank", "mamba_dt_rank", "chunk_size", "mamba_chunk_size"], 4),
    **dict.fromkeys(["hidden_size_per_layer_input", "laurel_rank", "hc_lowrank", "gated_norm_rank", "adapter_rank", "router_hidden_size",
                     "d_rel", "pronunciation_embed_dim", "shape_embed_dim", "ple_embed_dim"], 8),
    # Large enough for attention to matter.
    **dict.fromkeys(["initializer_range", "init_std", "embed_init_std"], 0.1),
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    "use_cache": False,
}  # fmt: skip

_NO_DROPOUT = (
    "attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "activation_dropout", "decoder_layerdrop",
    "encoder_layerdrop", "layerdrop", "resid_pdrop", "embd_pdrop", "attn_pdrop", "emb_pdrop", "hidden_dropout", "router_jitter_noise",
    "input_jitter_noise", "embedding_dropout", "residual_dropout", "resid_dropout", "embed_dropout", "mlp_dropout", "dropout_p",
    "local_attention_probs_dropout_prob", "lsh_attention_probs_dropout_prob", "ffn_dropout",
)  # fmt: skip

# What None leaves out of a family altogether.
_OFF_UNLESS_SAID = {
    "sliding_window", "q_lora_rank", "o_lora_rank", "prefix_dense_intermediate_size", "unpadded_vocab_size", "n_shared_experts",
    "num_shared_experts", "moe_intermediate_size", "shared_expert_intermediate_size", "num_experts", "num_local_experts",
    "hidden_size_per_layer_input", "embedding_size", "input_embedding_size", "top_k_experts", "global_head_dim",
}  # fmt: skip

# Lists with an entry a layer: one layer of each kind that the default configuration has stays.
_KINDS = ("layer_types", "layers_block_type", "mlp_layer_types")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")

# Types that are causal by name and stand alone as no model of text, or cannot be made from a configuration here.
NOT_TRIED = {
    "blt": "it reads bytes in patches that another model cuts",
    "gemma3n": "its vision tower needs timm; `gemma3n_text` stands for its text",
    "gemma4_assistant": "it drafts for another model, whose states it reads",
    "gemma4_unified_assistant": "it drafts for another model, whose states it reads",
    "musicgen": "it writes sound, not text",
    "musicgen_melody": "it writes sound, not text",
}

_ROPE = {"rope_type": "default", "rope_theta": 1e4}

# What the table cannot know: what must fit together, and where a default leaves out what a family is known for.
_PECULIAR: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8, "attn_layer_indices": [1]},
    "cohere": {"logit_scale": 0.25},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": dict.fromkeys(("sliding_attention", "full_attention"), _ROPE),
    },
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8}},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
        "intermediate_size": [48] * 4,
    },
    "gemma4_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
    },
    "dots1": {"n_shared_experts": 1},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "lm_head_multiplier": 0.5},
    "gemma2": {"final_logit_softcapping": 3.0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granite": {"logits_scaling": 4.0, "attention_multiplier": 0.5},
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 8, "layer_types": ["mamba", "attention"]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "hyperclovax": {"logits_scaling": 0.5},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "ministral": {"head_dim": 8},
    "minicpm3": {"dim_model_base": 16},
    "nemotron": {"head_dim": 8},
    "nemotron_h": {"mamba_num_heads": 4, "mamba_head_dim": 8},
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 5},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 4,
        "indexer_compress_ratio": 2,
    },
    "reformer": {"attn_layers": ["local", "lsh"], "axial_pos_embds": False, "is_decoder": True},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "mamba_headdim": 16,
        "n_mamba_heads": 4,
        "hybrid_layer_ids": [1, 3],
    },
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}

# What transformers calls causal; and what answers from pictures and is no causal type as well.
TYPES = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
IMAGE_TEXT_TYPES = tuple(
    sorted(set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) - set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
)


def tiny(model_type: str, **changes: Any) -> PreTrainedModel:
    """A seeded model of a type in fp32, in evaluation mode.

    Raises whatever the configuration or the model raises where this small form makes no sense to it.
    """
    kind = AutoModelForCausalLM if model_type in TYPES else AutoModelForImageTextToText
    config = tiny_config(model_type, **changes)
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind.from_config(config, dtype=torch.float32).eval()


def tiny_config(model_type: str, **changes: Any) -> Any:
    """The configuration of `tiny`."""
    kind = CONFIG_MAPPING[model_type]
    return kind(**{**_shrunk(kind()), **_PECULIAR.get(model_type, {}), **changes})


def default_attention_dropout(model_type: str) -> bool:
    """Whether the default configuration drops attention weights in training."""
    text = CONFIG_MAPPING[model_type]().get_text_config(decoder=True).to_dict()
    return any(text.get(name) for name in ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob"))


def _shrunk(config: Any) -> dict[str, Any]:
    """What makes a configuration small, in the names of its own."""
    there = config.to_dict()
    small = {
        name: value
        for name, value in _SMALL.items()
        if name in there and (there[name] is not None or name not in _OFF_UNLESS_SAID)
    }
    for name in _NO_DROPOUT:
        if isinstance(there.get(name), int | float):
            small[name] = type(there[name])(0)
    kinds = {
        name: list(dict.fromkeys(there[name]))
        for name in _KINDS
        if isinstance(there.get(name), list) and there[name]
    }
    if kinds:
        layers = max(2, *(len(found) for found in kinds.values()))
        small |= {name: (found * layers)[:layers] for name, found in kinds.items()}
        small |= {name: layers for name in _LAYERS if name in small}
    if "is_decoder" in there and not there.get("is_encoder_decoder"):
        small["is_decoder"] = True
    if "mrope_section" in getattr(type(config), "ignore_keys_at_rope_validation", ()):
        rope = there.get("rope_parameters") or _ROPE
        half = int(_SMALL["head_dim"] * rope.get("partial_rotary_factor", 1.0)) // 2
        small["rope_parameters"] = {**rope, "mrope_section": [half - 2 * (half // 4), half // 4, half // 4]}
    if "kv_lora_rank" in small and "num_key_value_heads" in small:
        small["num_key_value_heads"] = small["num_attention_heads"]  # latent attention has no groups
    for name in type(config).sub_configs:
        sub = getattr(config, name, None)
        if sub is not None:
            small[name] = {"model_type": sub.model_type, **_shrunk(sub)}
    return small

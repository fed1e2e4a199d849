"""Stand-ins: whole model folders of every family that users bring, made in under a second each, nothing downloaded.

True configuration and tokenizer classes, the family's special tokens over a small vocabulary, its real chat template
where one is at hand, two layers of seeded random weights. Windows are short, so that they matter in a test's rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.data import families as golden
from tests.data.tiny import byte_level, shared_template, trl_template
from tunesmith.data.templates import template_named

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_LETTERS = sorted({*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<>|/.,!?:'[]_", "▁"})
_MERGES = [("t", "h"), ("th", "e"), ("▁", "the"), ("i", "s"), ("▁", "is"), ("a", "n")]

_VISION = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
_GEMMA_TURNS = ("<start_of_turn>", "<end_of_turn>")
_MISTRAL = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")  # fmt: skip

_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    # Large enough for attention to matter.
    "initializer_range": 0.1,
}


def _pieces(*special: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges as SentencePiece has them: special tokens, bytes to fall back on, letters."""
    merged = [left + right for left, right in _MERGES]
    names = dict.fromkeys([*special, *_BYTES, *_LETTERS, *merged])
    return {name: index for index, name in enumerate(names)}, _MERGES


def _llama_tokenizer(
    template: str, *, eos: str = "</s>", special: tuple[str, ...] = (), begin: bool = True
) -> Any:
    from transformers import LlamaTokenizer

    vocabulary, merges = _pieces("<unk>", "<s>", "</s>")
    tokenizer = LlamaTokenizer(
        vocab=vocabulary, merges=merges, eos_token=eos, pad_token=eos, add_bos_token=begin
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.chat_template = template
    return tokenizer


def _gemma_tokenizer(template: str) -> Any:
    from transformers import GemmaTokenizer

    vocabulary, merges = _pieces("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)
    tokenizer.add_special_tokens({"additional_special_tokens": list(_GEMMA_TURNS)})
    tokenizer.chat_template = template
    return tokenizer


def _qwen_tokenizer(template: str, *, special: tuple[str, ...] = ()) -> Any:
    from transformers import Qwen2Tokenizer

    trained = json.loads(byte_level((), None, None).backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in trained["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=trained["vocab"], merges=merges, eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", *special]})
    tokenizer.chat_template = template
    return tokenizer


def _byte_tokenizer(template: str, *, special: tuple[str, ...], eos: str) -> Any:
    """For the families whose tokenizer is no class of its own."""
    tokenizer = deepcopy(byte_level(special, eos, template))
    tokenizer.pad_token, tokenizer.model_max_length = "<|endoftext|>", 2048
    return tokenizer


@dataclass(frozen=True)
class StandIn:
    """What makes a family what it is.

    Args:
        config: its configuration's class in transformers.
        tokenizer: makes its tokenizer from a chat template.
        template: reads its chat template.
        settings: what differs from a plain small configuration, as a function of a token's id.
        ends: the end tokens that generation_config.json lists.
        picture_patch: the width in pixels of a picture's patches; None: a model of text alone.
        fast: whether its rows may hold several sequences.
    """

    config: str
    tokenizer: Callable[[str], Any]
    template: Callable[[], str]
    settings: dict[str, Any] = field(default_factory=dict)
    ends: tuple[str, ...] = ()
    picture_patch: int | None = None
    fast: bool = True


def _text_and_vision(vision: dict[str, Any], mrope: list[int], **text: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": mrope}
    small = {"depth": 2, "num_heads": 2, "initializer_range": 0.1}
    return {
        "text_config": {**_SIZES, "rope_parameters": rope, **text},
        "vision_config": {**small, **vision},
        "tie_word_embeddings": True,
    }


_qwen_vl = partial(_qwen_tokenizer, special=_VISION)
_FULL_AND_WINDOW = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}

FAMILIES: dict[str, StandIn] = {
    "llama": StandIn("Llama", _llama_tokenizer, partial(shared_template, "tinyllama-1.1b-chat-v1.0")),
    "qwen2": StandIn(
        "Qwen2",
        _qwen_tokenizer,
        partial(shared_template, "qwen2-instruct"),
        {"tie_word_embeddings": True},
        ("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen3": StandIn(
        "Qwen3",
        _qwen_tokenizer,
        partial(trl_template, "qwen3"),
        {"head_dim": 16, "tie_word_embeddings": True},
        ("<|im_end|>", "<|endoftext|>"),
    ),
    "glm": StandIn(
        "Glm",
        partial(_byte_tokenizer, special=golden.GLM, eos="<|endoftext|>"),
        partial(shared_template, "glm-4-9b-chat"),
        {"head_dim": 16, "attention_bias": True},
        golden.GLM_ENDS,
    ),
    "glm4": StandIn(
        "Glm4",
        partial(_byte_tokenizer, special=golden.GLM, eos="<|endoftext|>"),
        partial(template_named, "glm4"),
        {"head_dim": 16},
        golden.GLM_ENDS,
    ),
    "gpt-oss": StandIn(
        "GptOss",
        partial(_byte_tokenizer, special=golden.HARMONY, eos="<|return|>"),
        partial(trl_template, "gptoss"),
        {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, **_FULL_AND_WINDOW},
        ("<|return|>", "<|call|>", "<|endoftext|>"),
    ),
    "qwen2-vl": StandIn(
        "Qwen2VL",
        _qwen_vl,
        partial(shared_template, "qwen2-vl-instruct"),
        _text_and_vision({"embed_dim": 32, "hidden_size": 64}, [2, 3, 3]),
        ("<|im_end|>", "<|endoftext|>"),
        picture_patch=14,
    ),
    "qwen2.5-vl": StandIn(
        "Qwen2_5_VL",
        _qwen_vl,
        partial(trl_template, "qwen2_5_vl"),
        _text_and_vision(
            {
                "hidden_size": 32,
                "intermediate_size": 48,
                "out_hidden_size": 64,
                "window_size": 56,
                "fullatt_block_indexes": [1],
            },
            [2, 3, 3],
        ),
        ("<|im_end|>", "<|endoftext|>"),
        picture_patch=14,
    ),
    "qwen3-vl": StandIn(
        "Qwen3VL",
        _qwen_vl,
        partial(trl_template, "qwen3_vl"),
        _text_and_vision(
            {
                "hidden_size": 32,
                "intermediate_size": 48,
                "out_hidden_size": 64,
                "num_position_embeddings": 64,
                "deepstack_visual_indexes": [0],
            },
            [4, 2, 2],
            head_dim=16,
        ),
        ("<|im_end|>", "<|endoftext|>"),
        picture_patch=16,
    ),
    "gemma-2": StandIn(
        "Gemma2",
        _gemma_tokenizer,
        partial(trl_template, "gemma"),
        {"head_dim": 16, "query_pre_attn_scalar": 16, **_FULL_AND_WINDOW},
        ("<eos>", "<end_of_turn>"),
    ),
    "gemma-3": StandIn(
        "Gemma3Text",
        _gemma_tokenizer,
        partial(trl_template, "gemma3"),
        {"head_dim": 16, "query_pre_attn_scalar": 16, **_FULL_AND_WINDOW},
        ("<eos>", "<end_of_turn>"),
    ),
    "mistral": StandIn(
        "Mistral",
        partial(_llama_tokenizer, special=_MISTRAL),
        partial(template_named, "mistral"),
        {"sliding_window": 16},
    ),
    "phi-3": StandIn(
        "Phi3",
        partial(_llama_tokenizer, eos="<|endoftext|>", special=golden.PHI, begin=False),
        partial(trl_template, "phi3"),
        {"sliding_window": 16},
        ("<|endoftext|>", "<|assistant|>", "<|end|>"),
    ),
    "falcon-h1": StandIn(
        "FalconH1",
        partial(_byte_tokenizer, special=golden.IM, eos="<|im_end|>"),
        partial(template_named, "chatml"),
        {
            "head_dim": 16, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8,
            "mamba_n_groups": 1, "mamba_chunk_size": 8,
        },
        ("<|im_end|>", "<|endoftext|>"),
        fast=False,
    ),
}  # fmt: skip


def build(family: str, folder: Path) -> Path:
    """Write the family's stand-in into `folder` as a hub would hold it, and return the folder."""
    stand_in = FAMILIES[family]
    model = model_of(family)
    model.generation_config.eos_token_id = _ends(family)
    model.save_pretrained(folder)
    tokenizer_of(family).save_pretrained(folder)
    if stand_in.picture_patch is not None:
        _write_image_processor(folder, stand_in.picture_patch)
    return folder


@cache
def tokenizer_of(family: str) -> Any:
    """The family's tokenizer; shared, so not to be changed."""
    stand_in = FAMILIES[family]
    return stand_in.tokenizer(stand_in.template())


def config_of(family: str, **changes: Any) -> Any:
    """The family's configuration, made small."""
    import transformers

    stand_in = FAMILIES[family]
    settings = {**_token_settings(family), **stand_in.settings, **changes}
    kind = getattr(transformers, f"{stand_in.config}Config")
    if stand_in.picture_patch is None:
        return kind(**{**_SIZES, **settings})
    text = {**settings["text_config"], **_token_settings(family)}
    vision = {"patch_size": stand_in.picture_patch, **settings["vision_config"]}
    ids = tokenizer_of(family).convert_tokens_to_ids
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    pictures = {name: ids(token) for name, token in names.items()}
    return kind(**{**settings, **pictures, "text_config": text, "vision_config": vision})


def model_of(family: str, **changes: Any) -> Any:
    """The family's model with seeded random weights in fp32, in evaluation mode."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    kind = AutoModelForCausalLM
    if FAMILIES[family].picture_patch is not None:
        kind = AutoModelForImageTextToText
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return kind.from_config(config_of(family, **changes), dtype=torch.float32).eval()


def _ends(family: str) -> list[int]:
    tokenizer, stand_in = tokenizer_of(family), FAMILIES[family]
    return tokenizer.convert_tokens_to_ids(list(stand_in.ends or (tokenizer.eos_token,)))


def _token_settings(family: str) -> dict[str, Any]:
    """Ids of special tokens, and a vocabulary rounded up as makers of models do."""
    tokenizer = tokenizer_of(family)
    return {
        "vocab_size": (len(tokenizer) + 15) // 16 * 16,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _write_image_processor(folder: Path, patch: int) -> None:
    """The file as Qwen's models have it."""
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "min_pixels": (4 * patch) ** 2,
        "max_pixels": (2 * patch) ** 2 * 1280,
        "patch_size": patch,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073] if patch == 14 else [0.5, 0.5, 0.5],
        "image_std": [0.26862954, 0.26130258, 0.27577711] if patch == 14 else [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2), "utf-8")

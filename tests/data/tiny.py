"""Tiny tokenizers made on the spot, and the chat templates that the tests render with."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

SHARED_TEMPLATES = Path(__file__).parents[2].parent / "shared" / "data" / "chat_templates"

# For property tests on a shared machine: no deadline, the same examples on every run.
STEADY = settings(deadline=None, derandomize=True, max_examples=60)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# How Llama 3 and Qwen split text into words before merging.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_CORPUS = [
    "the quick brown fox\n\njumps over the lazy dog\n\n",
    "春风又绿江南岸，\n明月何时照我还。",
    "assistant user system Hello Hi there\n",
] * 20


@cache
def byte_level(special: tuple[str, ...], eos: str | None, template: str | None, bos: str | None = None):
    """A byte-level BPE tokenizer: any text round-trips, and some merges (such as two newlines) cross boundaries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_WORDS), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    if bos is not None:
        bos_id = tokenizer.token_to_id(bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, bos_id)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, bos_token=bos, chat_template=template, model_max_length=64
    )


@cache
def llama_like(template: str | None):
    """As Llama 2's tokenizer: characters, bytes as a fallback, and a blank put in front of every text."""
    letters = sorted({*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<>|/.,!?:[]_", "▁"})
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "▁▁", "]▁", "▁▁o"]
    merges = [("▁", "▁"), ("]", "▁")]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
        chat_template=template,
    )


def chatml():
    """A tokenizer that speaks ChatML, with `<|im_end|>` as its end token."""
    return byte_level(("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "<|im_end|>", CHATML)


def shared_template(name: str) -> str:
    """A real family's template from the data beside the repository; the test is skipped where there is none."""
    path = SHARED_TEMPLATES / f"{name}.jinja"
    if not path.is_file():
        pytest.skip(f"no template {path} here")
    return path.read_text("utf-8")


def trl_template(name: str) -> str:
    """A real family's template as TRL packages it. TRL is found, not imported: its import takes seconds."""
    spec = importlib.util.find_spec("trl")
    path = Path(spec.origin).parent / "chat_templates" / f"{name}.jinja" if spec and spec.origin else None
    if path is None or not path.is_file():
        pytest.skip(f"TRL brings no template {name} here")
    return path.read_text("utf-8")

"""Chat templates for base models that bring none: taken by name, never guessed.

Each is a Jinja file beside this one; docs/templates.md shows what its turns look like.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple

from tunesmith.config.words import nearest
from tunesmith.data.readers.file import decode_utf8, must_be_a_file, read_bytes
from tunesmith.errors import InputError

__all__ = ["TEMPLATES", "Template", "control_tokens_of", "template_named"]


class Template(NamedTuple):
    """What a template is for, and the control tokens that its turns are written with.

    A control token should be one special token of the tokenizer. Where a family's marks are ordinary text (`[INST]` of
    Llama 2, `USER:`), none is named; and the end token of the model at hand is always one.
    """

    about: str
    control_tokens: tuple[str, ...] = ()
    tools: bool = False
    thinking: bool = False


_CHATML = ("<|im_start|>", "<|im_end|>")
_DEEPSEEK = ("<｜User｜>", "<｜Assistant｜>")

TEMPLATES: dict[str, Template] = {
    "alpaca": Template("Stanford Alpaca's instruction and response, several turns"),
    "chatml": Template(
        "ChatML (Qwen 2.5, Yi, InternLM, Hermes); tools as Qwen writes them", _CHATML, tools=True
    ),
    "chatml-think": Template(
        "ChatML with a thinking block before each answer (Qwen3)", _CHATML, tools=True, thinking=True
    ),
    "cohere": Template(
        "Command R and Aya",
        (
            "<|START_OF_TURN_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
        ),
    ),
    "deepseek": Template("DeepSeek V2.5 and V3", _DEEPSEEK, tools=True),
    "deepseek-r1": Template(
        "DeepSeek R1 and its distilled models: the prompt opens the thinking block", _DEEPSEEK, thinking=True
    ),
    "gemma": Template(
        "Gemma 1 to 3; a system prompt stands in the first user turn", ("<start_of_turn>", "<end_of_turn>")
    ),
    "glm4": Template(
        "GLM-4; an answer ends where the next role begins",
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
        tools=True,
    ),
    "harmony": Template(
        "GPT-OSS, without its preamble about dates",
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"),
        tools=True,
        thinking=True,
    ),
    "llama2": Template("Llama 2's `[INST]`, with one beginning-of-text token a conversation"),
    "llama3": Template(
        "Llama 3, without 3.1's preamble about dates",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        tools=True,
    ),
    "mistral": Template(
        "Mistral 7B v0.3 and Mixtral; a system prompt stands in the first user turn",
        ("[INST]", "[/INST]"),
        tools=True,
    ),
    "phi3": Template("Phi-3 and Phi-3.5", ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")),
    "qa": Template("Plain text for models that know no chat: `Question:`, `Answer:`"),
    "vicuna": Template("Vicuna 1.1 and LLaVA 1.5: `USER:`, `ASSISTANT:`"),
    "zephyr": Template("Zephyr and TinyLlama-Chat"),
}


def template_named(name_or_path: str) -> str:
    """The chat template that `data.template` names: one of `TEMPLATES`, or a Jinja file.

    Raises:
        InputError: there is no such template or file, or the file is not UTF-8.
    """
    if name_or_path in TEMPLATES:
        folder = resources.files(__name__)
        # Each needs some of the macros; joined, a template is one text that can be kept with a model.
        files = (folder / "_macros.jinja", folder / f"{name_or_path}.jinja")
        return "".join(file.read_text("utf-8") for file in files)
    file = Path(name_or_path)
    if file.name == name_or_path and not file.suffix and not file.exists():
        near = nearest(name_or_path, TEMPLATES)
        raise InputError(
            f"there is no template {name_or_path}",
            where="data.template",
            expected=f"a Jinja file, or one of {', '.join(TEMPLATES)}",
            remedy=f"the nearest name is {near}" if near else None,
        )
    try:
        must_be_a_file(file)
        return decode_utf8(read_bytes(file), file)
    except InputError as error:
        error.where = f"data.template: {error.where}"
        raise


def control_tokens_of(name_or_path: str) -> tuple[str, ...]:
    """The control tokens that a template's turns are written with; a file's are not known."""
    known = TEMPLATES.get(name_or_path)
    return () if known is None else known.control_tokens

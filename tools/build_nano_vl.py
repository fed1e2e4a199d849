"""Build `builtin:nano-vl`, the small model with eyes that comes with the package.

    OMP_NUM_THREADS=1 python tools/build_nano_vl.py --work build/nano-vl

It has Qwen2-VL's architecture, nano's vocabulary and random weights from a seed. Its vision tower learns first what
stands where on drawings (`nano_vl_drawings.py`), then the whole model learns to answer five kinds of questions about
them, and nothing else. The weights go into the package in bf16. docs/nano.md records the build. The same bits come out
of the same versions, threads and kind of processor.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from build_captions import COLOURS, SHAPES
from nano_vl_drawings import Drawing, drawings

BUILTIN = Path(__file__).parent.parent / "src/tunesmith/models/builtin"
PACKAGE_FOLDER = BUILTIN / "nano-vl"
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SEEN = [*SHAPES, *COLOURS]
HELD_OUT = 144  # drawings that the model is tried on; no update learns from them
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('nano-vl knows the roles system, user and assistant, not ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}{{ raise_exception('nano-vl knows text and images, not ' + part['type']) }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CARD = """---
license: apache-2.0
language: [zh, en]
---
# nano-vl
A model of Qwen2-VL's architecture with 3.1 million parameters that comes with tunesmith, built by
tools/build_nano_vl.py. It tells shapes, colours and places on drawings of 84 x 84 pixels, in English on light paper and
in Chinese on dark paper; it knows nothing else. It was trained on drawings made for this project alone.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/nano-vl"), help="where the weights in fp32 go"
    )
    parser.add_argument("--look-steps", type=int, default=200, help="steps of the vision tower alone")
    parser.add_argument("--steps", type=int, default=3500, help="steps of the whole model")
    parser.add_argument("--batch-size", type=int, default=32, help="drawings a step; none is seen twice")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    tokenizer, processor = make_tokenizer(), make_processor()
    model = make_model(tokenizer, options.seed)
    learn_to_look(model, processor, options)
    learn_to_answer(model, tokenizer, processor, options)
    put_into_package(options.work, tokenizer, processor, PACKAGE_FOLDER)
    print(f"nano-vl is in {PACKAGE_FOLDER}")


# --- the parts


def make_tokenizer() -> PreTrainedTokenizerBase:
    """nano's, with the tokens around and for pictures, and a chat template that writes them."""
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN / "nano")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *VISION_TOKENS]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_processor() -> Qwen2VLImageProcessorPil:
    """Pictures of about 84 x 84 pixels, whatever size they come in: nine tokens each."""
    return Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 84 * 84})


def make_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> Qwen2VLForConditionalGeneration:
    """Random weights from a seed: 3.12 M parameters, 1.11 M of them the vision tower's, 1.23 M the tied embedding."""
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        # Columns turn by the slowest rotations; at the usual base of 10,000 three of them are next to the same.
        "rope_parameters": {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [8, 12, 12]},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }
    config = Qwen2VLConfig(
        text_config=text,
        vision_config={"depth": 3, "embed_dim": 128, "num_heads": 4, "hidden_size": text["hidden_size"]},
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return Qwen2VLForConditionalGeneration(config)


# --- training


def learn_to_look(
    model: Qwen2VLForConditionalGeneration, processor: Qwen2VLImageProcessorPil, options: argparse.Namespace
) -> None:
    """The vision tower alone learns which shape and colour stand in each square: a linear layer reads it off its tokens.

    Shown answers alone, the tower learns shapes some twenty times as slowly.
    """
    torch.manual_seed(options.seed)
    tower, reader = model.model.visual, torch.nn.Linear(model.config.text_config.hidden_size, len(SEEN))
    parameters = [*tower.parameters(), *reader.parameters()]
    for step, batch in updates(parameters, options.look_steps, options.batch_size, 2e-3, options.seed):
        pictures = processor([drawing.picture for drawing in batch], return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            tokens = tower(pictures["pixel_values"], grid_thw=pictures["image_grid_thw"]).pooler_output
            things = [
                (9 * number + square, SEEN.index(shape), SEEN.index(colour))
                for number, drawing in enumerate(batch)
                for square, (shape, colour) in drawing.squares.items()
            ]
            at, shapes, colours = torch.tensor(things).T
            logits = reader(tokens[at]).float()
        loss = cross_entropy(logits[:, : len(SHAPES)], shapes)
        loss += cross_entropy(logits[:, len(SHAPES) :], colours - len(SHAPES))
        loss.backward()
        if step % 20 == 0:
            print(f"looking, step {step}: loss {loss.item():.4f}", flush=True)


def learn_to_answer(
    model: Qwen2VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    processor: Qwen2VLImageProcessorPil,
    options: argparse.Namespace,
) -> None:
    """All weights learn to answer; in fp32 they are left in `work`."""
    held_out = list(drawings(HELD_OUT, options.seed + 2))
    steps, size = options.steps, options.batch_size
    for step, batch in updates([*model.parameters()], steps, size, 1.5e-3, options.seed + 1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = answer_loss(model, tokenizer, processor, batch)
        loss.backward()
        if step % 20 == 0:
            print(f"answering, step {step}: loss {loss.item():.4f}", flush=True)
        if step % 200 == 0:
            share = exact(model, tokenizer, processor, held_out)
            print(f"answering, step {step}: {share:.1%} of {HELD_OUT} held-out drawings exact", flush=True)
            model.save_pretrained(options.work)
    model.save_pretrained(options.work)


def updates(
    parameters: Sequence[torch.nn.Parameter], steps: int, batch_size: int, learning_rate: float, seed: int
) -> Iterator[tuple[int, list[Drawing]]]:
    """(number, drawings) of each step; the gradients that the caller leaves are used before the next one.

    AdamW with a warm-up of 50 steps and a cosine; bf16 compute is the caller's, the weights are fp32.
    """
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 50, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    source = drawings(steps * batch_size, seed)
    for step in range(1, steps + 1):
        yield step, [next(source) for _ in range(batch_size)]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def answer_loss(
    model: Qwen2VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    processor: Qwen2VLImageProcessorPil,
    batch: Sequence[Drawing],
) -> torch.Tensor:
    """Mean cross-entropy of the answers and their end tokens; only their rows go through the head."""
    answers = [[*tokenizer.encode(drawing.answer), tokenizer.eos_token_id] for drawing in batch]
    prompts = [tokenizer.encode(prompt_of(tokenizer, drawing.question)) for drawing in batch]
    whole = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    length = max(map(len, whole))
    ids = torch.tensor([one + [tokenizer.pad_token_id] * (length - len(one)) for one in whole])
    place = torch.arange(1, length)  # of the token that is predicted
    starts, ends = (torch.tensor([len(one) for one in many])[:, None] for many in (prompts, whole))
    predicted = (place >= starts) & (place < ends)
    mask = (torch.arange(length) < ends).long()
    hidden = model.model(input_ids=ids, attention_mask=mask, **seen(model, processor, batch, ids))
    logits = model.lm_head(hidden.last_hidden_state[:, :-1][predicted])
    return cross_entropy(logits.float(), ids[:, 1:][predicted])


def prompt_of(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """The prompt with the picture's token as often as a picture of 84 x 84 pixels needs it.

    The picture stands behind the question: so near the answer, its places are where the model looks for them, however
    long the question is.
    """
    content = [{"type": "text", "text": question}, {"type": "image"}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text.replace("<|image_pad|>", "<|image_pad|>" * 9)


def seen(
    model: Qwen2VLForConditionalGeneration,
    processor: Qwen2VLImageProcessorPil,
    batch: Sequence[Drawing],
    ids: torch.Tensor,
) -> dict[str, Any]:
    """What the model takes of pictures, beside their tokens in `ids`."""
    pictures = processor([drawing.picture for drawing in batch], return_tensors="pt")
    return {**pictures, "mm_token_type_ids": (ids == model.config.image_token_id).int()}


@torch.no_grad()
def exact(
    model: Qwen2VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    processor: Qwen2VLImageProcessorPil,
    rows: Sequence[Drawing],
) -> float:
    """Share of drawings whose answer the model writes to the letter, decoding greedily."""
    right = 0
    for at in range(0, len(rows), 48):
        batch = rows[at : at + 48]
        prompts = [prompt_of(tokenizer, drawing.question) for drawing in batch]
        inputs = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
        pictures = seen(model, processor, batch, inputs["input_ids"])
        written = model.generate(**inputs, **pictures, max_new_tokens=64, do_sample=False)
        answers = tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        right += sum(answer == drawing.answer for answer, drawing in zip(answers, batch, strict=True))
    return right / len(rows)


# --- the package


def put_into_package(
    trained: Path, tokenizer: PreTrainedTokenizerBase, processor: Qwen2VLImageProcessorPil, folder: Path
) -> None:
    """The weights in bf16, the tokenizer, how pictures are cut, and a card."""
    model = Qwen2VLForConditionalGeneration.from_pretrained(trained, dtype=torch.bfloat16)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone


if __name__ == "__main__":
    main()

"""Preparing data: a file of chats -> tokens, loss spans, a store, and an epoch's rows; against bare tokenisation."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, peak_memory

SAMPLES_AN_UPDATE, ROW_TOKENS = 16, 2048


def chats(count: int) -> Iterator[list[dict[str, str]]]:
    """Chats of one question and one answer, median 120 tokens, English and Chinese words from the sample sets."""
    samples = files("tunesmith") / "samples"
    words = (samples / "book" / "clockmender.md").read_text("utf-8").split()
    chinese = (samples / "book" / "lightkeeper.md").read_text("utf-8").replace("\n", "")
    draw = random.Random(0)

    def text(length: int) -> str:
        if draw.random() < 0.2:
            start = draw.randrange(len(chinese) - 2 * length)
            return chinese[start : start + 2 * length]
        return " ".join(draw.choices(words, k=length))

    for _ in range(count):
        length = max(8, min(400, int(draw.lognormvariate(3.97, 0.5))))
        asked = draw.randint(3, length - 3)
        yield [
            {"role": "user", "content": text(asked)},
            {"role": "assistant", "content": text(length - asked)},
        ]


def tokenizer() -> Any:
    """The embedded model's: byte-level BPE, as most families have it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(files("tunesmith") / "models" / "builtin" / "nano")


def prepare_and_plan(count: int) -> dict[str, Any]:
    """Ours: the file read, converted, rendered, encoded, stored, and every update of an epoch laid into rows."""
    from tunesmith.config.schema import Data
    from tunesmith.data.build import build
    from tunesmith.data.render import Renderer
    from tunesmith.data.schema import Conversation
    from tunesmith.segments import plan_rows
    from tunesmith.train.order import Schedule

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for messages in chats(count):
                file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
        renderer = Renderer(tokenizer())
        data = Data.model_validate({"train": str(path), "max_length": 4096, "cache": False})
        began = time.perf_counter()
        prepared = build(data, Conversation, renderer, 0)
        built = time.perf_counter() - began
        schedule = Schedule(len(prepared.train), SAMPLES_AN_UPDATE, 1, None, 0)
        rows = 0
        for step in range(schedule.total_steps):
            trees = [prepared.train.tree(number) for number in schedule.update(step)]
            rows += len(plan_rows(trees, ROW_TOKENS, share=True))
        seconds = time.perf_counter() - began
        ledger = prepared.ledgers["train"]
    assert ledger is not None and ledger["rows_kept"] == count
    settings = {"samples": count, "median_tokens": ledger["tokens"]["median"], "rows": rows}
    return {
        "value": seconds,
        "memory": peak_memory(),
        "settings": settings | {"preparing": round(built, 2), "planning": round(seconds - built, 2)},
    }


def bare_tokenizer(count: int) -> dict[str, Any]:
    """The peer: the same texts, rendered beforehand, through the tokenizer alone; the fastest of three batch sizes."""
    encode = tokenizer()
    texts = [encode.apply_chat_template(messages, tokenize=False) for messages in chats(count)]
    seconds = {}
    for size in (1000, 10_000, count):
        began = time.perf_counter()
        lengths = []
        for at in range(0, count, size):
            lengths += [
                len(ids) for ids in encode(texts[at : at + size], add_special_tokens=False)["input_ids"]
            ]
        seconds[size] = time.perf_counter() - began
    return {
        "value": min(seconds.values()),
        "memory": peak_memory(),
        "settings": {"median_tokens": statistics.median(lengths), "seconds_by_batch_size": seconds},
    }


BENCHMARKS = (
    Benchmark(
        "data-prepare",
        "100,000 chats of median 120 tokens: read, convert, render, mask, encode, store and lay an epoch's rows; "
        "the peer only encodes the rendered texts",
        "at most 1.5 times the bare tokenizer's time; peak memory below 1 GB",
        "seconds",
        ours=lambda: prepare_and_plan(100_000),
        peer=lambda: bare_tokenizer(100_000),
    ),
    Benchmark(
        "data-memory",
        "peak memory of 1,000,000 chats prepared and planned, beside that of 100,000 (here the peer is ourselves)",
        "flat: a memory ratio of about 1",
        "seconds",
        ours=lambda: prepare_and_plan(1_000_000),
        peer=lambda: prepare_and_plan(100_000),
        rounds=1,
    ),
)

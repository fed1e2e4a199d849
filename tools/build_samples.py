"""Write the sample sets in src/tunesmith/samples/ from the hand-written material in tools/samples_*.py.

The same seed gives the same bytes; a test compares them with the committed ones. `sample_baselines.py` then says how
far counting words gets on them.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import samples_chats
import samples_names
import samples_ner
import samples_news
import samples_preference
import samples_qa
import samples_tcm
import samples_topics

SEED = 20261121
SAMPLES = Path(__file__).resolve().parents[1] / "src" / "tunesmith" / "samples"

# folder, what builds its parts, and each part's file; `.jsonl` is one row a line, `.json` one array.
SETS: tuple[tuple[str, Any, dict[str, str]], ...] = (
    ("news", samples_news, {"train": "train.jsonl", "test": "test.jsonl"}),
    (
        "ner",
        samples_ner,
        {"train": "ccfbdci.jsonl", "test": "test.jsonl", "train_with_errors": "train_with_errors.jsonl"},
    ),
    ("news", samples_topics, {"train": "topics_train.jsonl", "test": "topics_test.jsonl"}),
    ("ner", samples_names, {"train": "names_train.jsonl", "test": "names_test.jsonl"}),
    ("tcm", samples_tcm, {"train": "train.json", "test": "test.json"}),
    ("qa", samples_qa, {"dataset": "dataset.json", "test": "test.json", "questions": "questions.json"}),
    (
        "preference",
        samples_preference,
        {
            "train": "train.json",
            "test": "test.json",
            "prompt": "prompt.jsonl",
            "messages": "messages.jsonl",
            "sharegpt": "sharegpt.json",
            "kto": "kto.jsonl",
        },
    ),
    (
        "chats",
        samples_chats,
        {
            "messages": "messages.jsonl",
            "sharegpt": "sharegpt.json",
            "thinking": "thinking.jsonl",
            "conversation": "conversation.jsonl",
            "query_response": "query_response.jsonl",
            "tools": "tools.jsonl",
        },
    ),
)

# What lies in one folder with another set, and is drawn apart from it.
_SECOND_SETS = (samples_topics, samples_names)


def rendered() -> dict[str, str]:
    """Each file's text by its path inside the samples folder."""
    texts = {}
    for folder, module, files in SETS:
        # A change to one set leaves the others alone.
        seed = f"{SEED} {folder}" if module not in _SECOND_SETS else f"{SEED} {module.__name__}"
        parts = module.build(random.Random(seed))
        for part, name in files.items():
            if name.endswith(".jsonl"):
                text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in parts[part])
            else:
                text = json.dumps(parts[part], ensure_ascii=False, indent=2) + "\n"
            texts[f"{folder}/{name}"] = text
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the sample sets that are made of text.")
    parser.add_argument("--out", type=Path, default=SAMPLES, help="the folder of the sample sets")
    out = parser.parse_args().out
    for name, text in rendered().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        print(f"{name}: {len(text.encode())} bytes")


if __name__ == "__main__":
    main()

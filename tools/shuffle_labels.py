"""Give every row of a classification file a class drawn by chance from those it offers.

    python tools/shuffle_labels.py src/tunesmith/samples/news/topics_train.jsonl shuffled.jsonl
    tunesmith train news-nano data.train=shuffled.jsonl -o runs/shuffled

A model trained on the result learns nothing that helps on rows with their own classes: its accuracy there says what
chance is, and that the accuracy of the real labels comes from the texts.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path


def shuffled(lines: list[str], seed: int) -> list[str]:
    """The rows with another `output`; text and offered classes stay."""
    draws = random.Random(seed)
    rows = [json.loads(line) for line in lines]
    return [json.dumps(row | {"output": draws.choice(row["category"])}, ensure_ascii=False) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, help="rows of `text, category, output`, one a line")
    parser.add_argument("target", type=Path, help="the file to write")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines = shuffled(given.source.read_text("utf-8").splitlines(), given.seed)
    given.target.write_text("".join(line + "\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main()

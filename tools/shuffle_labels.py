"""Give every row of a classification file a class drawn by chance from those it offers, every entity a kind, and every
pair of answers the one that is better.

    python tools/shuffle_labels.py src/tunesmith/samples/news/topics_train.jsonl shuffled.jsonl
    tunesmith train news-nano "data.train={path: shuffled.jsonl, instruction: 选出正确的类型}" -o runs/shuffled

A model trained on the result learns no class that helps on rows with their own: its score there says what chance is,
and that the score of the real labels comes from the texts. Where entities stand is left as it is: what is at chance is
which kind they are.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

KINDS = ("地点", "人名", "地理实体", "组织")


def shuffled(lines: list[str], seed: int) -> list[str]:
    """The rows with another `output`, other kinds of `entities`, or their sides swapped; everything else stays."""
    draws = random.Random(seed)
    return [json.dumps(_with_other_labels(json.loads(line), draws), ensure_ascii=False) for line in lines]


def _with_other_labels(row: dict[str, Any], draws: random.Random) -> dict[str, Any]:
    if "entities" in row:
        return row | {"entities": [one | {"entity_names": [draws.choice(KINDS)]} for one in row["entities"]]}
    if "rejected" in row:
        sides = row["chosen"], row["rejected"]
        chosen, rejected = sides if draws.random() < 0.5 else sides[::-1]
        return row | {"chosen": chosen, "rejected": rejected}
    return row | {"output": draws.choice(row["category"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "source",
        type=Path,
        help="rows of `text, category, output`, `text, entities` or `chosen, rejected`, one a line",
    )
    parser.add_argument("target", type=Path, help="the file to write")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines = shuffled(given.source.read_text("utf-8").splitlines(), given.seed)
    given.target.write_text("".join(line + "\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main()

"""Classification rows from the news patterns: each pattern stands on one side only and is filled in twice."""

from __future__ import annotations

import random
import re
from typing import Any

import samples_news_en
import samples_news_zh

FILLS = 2  # rows a pattern
CATEGORIES = (4, 6)  # how many a row offers, at least and at most

_SLOT = re.compile(r"\{(\w+)\}")


def fill(pattern: str, slots: dict[str, tuple[str, ...]], rng: random.Random) -> str:
    """The pattern with its slots filled; a slot that stands twice gets two different words."""
    drawn = {name: rng.sample(words, len(words)) for name, words in sorted(slots.items())}
    return _SLOT.sub(lambda match: drawn[match.group(1)].pop(), pattern)


def fills(pattern: str, slots: dict[str, tuple[str, ...]], count: int, rng: random.Random) -> list[str]:
    """`count` different fillings of a pattern, or the one there is of a pattern without slots."""
    if not _SLOT.search(pattern):
        return [pattern]
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[fill(pattern, slots, rng)] = None
    return list(texts)


def _rows(
    table: dict[str, str], slots: dict[str, tuple[str, ...]], rng: random.Random
) -> list[dict[str, Any]]:
    rows = []
    for label, patterns in table.items():
        others = [name for name in table if name != label]
        for pattern in patterns.strip().splitlines():
            for text in fills(pattern, slots, FILLS, rng):
                offered = [label, *rng.sample(others, rng.randint(*CATEGORIES) - 1)]
                rng.shuffle(offered)
                rows.append({"text": text, "category": offered, "output": label})
    return rows


def build(rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """The rows of each side, both languages mixed."""
    sides = {}
    for side in ("TRAIN", "TEST"):
        rows = []
        for language in (samples_news_en, samples_news_zh):
            rows += _rows(getattr(language, side), getattr(language, f"{side}_SLOTS"), rng)
        rng.shuffle(rows)
        sides[side.lower()] = rows
    return sides

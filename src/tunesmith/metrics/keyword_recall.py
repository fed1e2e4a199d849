"""Answers that should hold certain words: how many of them do they hold?"""

from __future__ import annotations

import re
import unicodedata

from tunesmith.metrics.answers import Answers


def keyword_recall(answers: Answers) -> dict[str, float]:
    """The share of all rows' keywords that stand in their row's answer.

    Upper and lower case and the width of characters do not count. A keyword in letters or digits stands there as
    whole words (`ten` is not in `often`); one in Han characters, which no blanks divide, anywhere. A row that lists no
    keywords is looked through for its whole reference.

    Returns:
        `keyword_recall`, a share from 0 to 1; nothing when there are no answers.

    Raises:
        ValueError: the answers have no references.
    """
    pairs = answers.beside_references()
    listed = answers.keywords or ((),) * len(pairs)
    held = [
        holds(text, word)
        for (text, wanted), words in zip(pairs, listed, strict=True)
        for word in words or (wanted,)
    ]
    return {"keyword_recall": sum(held) / len(held)} if held else {}


def holds(text: str, keyword: str) -> bool:
    """Whether a keyword stands in a text, as `keyword_recall` counts it."""
    plain = _plain(keyword)
    # Only a Latin letter or digit at its edge makes a neighbour of that kind part of another word.
    edge = "[a-z0-9\u00c0-\u024f]"
    before = f"(?<!{edge})" if re.match(edge, plain) else ""
    after = f"(?!{edge})" if re.search(f"{edge}$", plain) else ""
    return re.search(before + re.escape(plain) + after, _plain(text)) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

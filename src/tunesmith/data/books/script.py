"""Which script a text is in: Chinese is counted in characters and written without blanks, English in words."""

from __future__ import annotations

import re

# Han, kana, and the punctuation that is set with them: all of it is written without blanks.
WIDE = "\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31c0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_WIDE = re.compile(f"[{WIDE}]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTER = re.compile(r"[^\W\d_]")


def is_wide(character: str) -> bool:
    """Whether a character is written without blanks around it."""
    return _WIDE.match(character) is not None


def han(text: str) -> int:
    """How many Han characters a text has."""
    return len(_HAN.findall(text))


def is_chinese(text: str) -> bool:
    """Whether a text is to be counted in characters: at least three of ten letters are Han.

    An English book on China has a few; a Chinese book may quote a good deal of English, a word of which is one
    letter's worth of meaning but five letters long.
    """
    return 10 * han(text) >= 3 * len(_LETTER.findall(text)) > 0


def count_words(text: str) -> int:
    """Words as a reader counts them: between blanks; a Han character is one by itself."""
    return len(_WIDE.sub(" ", text).split()) + han(text)

"""Chinese five-character quatrains (五言四句): are the answers in that form, and are they the model's own?

The form is the one in which the poems of the training data are written, one verse a line:

    五言，
    五言。
    五言，
    五言。
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from tunesmith.metrics.answers import Answers

# CJK unified ideographs: the basic block, extension A, and extensions B to J on planes 2 and 3
# (https://www.unicode.org/charts/, "Unified Ideographs"). No kana, no compatibility forms, no 〇 and no 々.
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002fa1f\U00030000-\U0003347f"

# Two verses make a couplet, and a couplet is a sentence. Its first verse pauses, or asks or calls out
# (何处秋风至？) but never ends in a full stop; its second verse ends the sentence. Between the couplets a
# semicolon may stand for the stop (泠泠七弦上，静听松风寒；古调虽自爱，今人多不弹。), after the poem it may not.
_LINES = tuple(rf"[{_HAN}]{{5}}[{marks}]" for marks in ("，、；？！", "。！？；", "，、；？！", "。！？"))
_QUATRAIN = re.compile(r"\r?\n".join(_LINES))


def is_five_character_quatrain(text: str) -> bool:
    """Whether the whole answer is one quatrain in the conventional form, and nothing else.

    Four lines of five Han characters, each closed by one full-width mark: lines 1 and 3 by ，、；？ or ！, line 2 by
    。！？ or ；, line 4 by 。！ or ？. White space around the whole answer is ignored; white space inside, blank lines,
    half-width marks, a title, or a word before or after are not the form.
    """
    return _QUATRAIN.fullmatch(text.strip()) is not None


def is_verse_line(line: str, number: int) -> bool:
    """Whether a line could be line `number` (from 0) of a quatrain in that form."""
    return re.fullmatch(_LINES[number], line) is not None


def verses(text: str) -> list[str]:
    """The verses of a poem however it is laid out: what stands between line breaks and punctuation marks."""
    lines = re.split(r"[^\w\s]|_|[\r\n]", text)
    return [verse for line in lines if (verse := re.sub(r"\s+", "", line))]


class TrainingPoems:
    """The poems of the training data, arranged to find copies among many answers."""

    def __init__(self, poems: tuple[str, ...]) -> None:
        self._whole: set[str] = set()
        self._poems_with_verse: defaultdict[str, set[int]] = defaultdict(set)
        for number, poem in enumerate(poems):
            self._whole.add("".join(verses(poem)))
            for verse in verses(poem):
                self._poems_with_verse[verse].add(number)

    def hold_a_copy_of(self, answer: str) -> bool:
        """Whether the answer is copied: at least half of its verses (two of four) stand in one training poem.

        White space and punctuation are ignored, and an answer that equals a training poem apart from them is a copy
        wherever its lines break. An empty answer copies nothing. Single verses in common are chance, or a set phrase.
        """
        own_verses = verses(answer)
        if not own_verses:
            return False
        if "".join(own_verses) in self._whole:
            return True
        shared = Counter(number for verse in own_verses for number in self._poems_with_verse.get(verse, ()))
        return any(2 * count >= len(own_verses) for count in shared.values())


def poem_form(answers: Answers) -> dict[str, float]:
    """The share of answers in the form, and the share copied from the training data.

    Returns:
        `form_validity` and `copied`, shares from 0 to 1; nothing when there are no answers.
    """
    if not answers.texts:
        return {}
    poems = TrainingPoems(answers.training_answers)
    count = len(answers.texts)
    return {
        "form_validity": sum(is_five_character_quatrain(text) for text in answers.texts) / count,
        "copied": sum(poems.hold_a_copy_of(text) for text in answers.texts) / count,
    }

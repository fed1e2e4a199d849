"""Chats whose answers stand in their questions: to repeat, to quote, to look up, to list what is marked.

The words are drawn at random, most of them mean nothing, and no two chats share them, so that nothing but reading helps.
A model that never had to copy cannot pick an unseen name out of a sentence, however it is fine-tuned afterwards.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from nano_phrases import EVERYDAY_WORDS
from nano_tokenizer import gb2312_level_one

_CHARACTERS = list(gb2312_level_one())
_BEGINNINGS = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "br",
    "ch",
    "cl",
    "dr",
    "fl",
    "gr",
    "kl",
    "pl",
    "sh",
    "sl",
    "st",
    "th",
    "tr",
]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "ee", "ou", "y"]
_ENDS = ["", "", "", *["l", "m", "n", "r", "s", "t", "ck", "nd", "rd", "st"]]

Exchange = tuple[str, str]

_REPEAT = {
    True: ("重复：{}", "请再说一遍：{}", "照抄：{}", "跟我说：{}"),
    False: ("Repeat: {}", "Say after me: {}", "Copy this: {}", "Write again: {}"),
}
_FACTS = {
    True: (
        ("{}住在{}", "{}住在哪里？"), ("{}喜欢{}", "{}喜欢什么？"), ("{}来自{}", "{}来自哪里？"),
        ("{}是{}", "{}是什么？"), ("{}认识{}", "{}认识谁？"),
    ),
    False: (
        ("{} lives in {}", "Where does {} live?"), ("{} likes {}", "What does {} like?"),
        ("{} comes from {}", "Where does {} come from?"), ("{} is {}", "What is {}?"),
        ("{} knows {}", "Who does {} know?"),
    ),
}  # fmt: skip
_MARKS = {True: (("「", "」"), ("“", "”"), ("【", "】")), False: (('"', '"'), ("[", "]"), ("(", ")"))}


def copying(rng: random.Random) -> list[tuple[str, str]]:
    """One exchange as (role, content) pairs."""
    kind = rng.choice([_repeat, _fact, _next_word, _marked, _marked, _list_in_json])
    ask, answer = kind(rng, rng.random() < 0.5)
    return [("user", ask), ("assistant", answer)]


def any_word(rng: random.Random, chinese: bool) -> str:
    """An everyday word, or one that means nothing, or a number."""
    draw = rng.random()
    if draw < 0.1:
        return str(rng.randint(10, 9999))
    if draw < 0.3:
        return rng.choice(EVERYDAY_WORDS)[0 if chinese else 1]
    if chinese:
        return "".join(rng.choices(_CHARACTERS, k=rng.choice((1, 2, 2, 3, 3, 4))))
    syllables = rng.choice((1, 2, 2, 3))
    word = "".join(rng.choice(_BEGINNINGS) + rng.choice(_VOWELS) for _ in range(syllables))
    word += rng.choice(_ENDS)
    return word.capitalize() if rng.random() < 0.5 else word


def _words(rng: random.Random, chinese: bool, least: int, most: int) -> list[str]:
    """Different words."""
    words: dict[str, None] = {}
    wanted = rng.randint(least, most)
    while len(words) < wanted:
        words[any_word(rng, chinese)] = None
    return list(words)


def _sentence(words: Sequence[str], chinese: bool) -> str:
    return ("" if chinese else " ").join(words)


def _repeat(rng: random.Random, chinese: bool) -> Exchange:
    text = _sentence(_words(rng, chinese, 1, 8), chinese)
    return rng.choice(_REPEAT[chinese]).format(text), text


def _next_word(rng: random.Random, chinese: bool) -> Exchange:
    words = _words(rng, chinese, 3, 8)
    at = rng.randrange(len(words) - 1)
    if chinese:
        return f"{'、'.join(words)}。{words[at]}后面是什么？", words[at + 1]
    return f"{', '.join(words)}. What comes after {words[at]}?", words[at + 1]


def _fact(rng: random.Random, chinese: bool) -> Exchange:
    """Two to four facts of different things, one of them asked for."""
    words = _words(rng, chinese, 4, 8)
    pairs = list(zip(words[::2], words[1::2], strict=False))
    chosen, told, question = rng.randrange(len(pairs)), [], ""
    for number, (one, other) in enumerate(pairs):
        fact, asked = rng.choice(_FACTS[chinese])
        told.append(fact.format(one, other))
        if number == chosen:
            question = asked.format(one)
    text = "。".join(told) + "。" if chinese else ". ".join(told) + ". "
    return text + question, pairs[chosen][1]


def _marked_text(rng: random.Random, chinese: bool) -> tuple[str, list[str]]:
    """A sentence, and the one to three words of it that stand between marks."""
    words = _words(rng, chinese, 3, 8)
    marked = sorted(rng.sample(range(len(words)), rng.randint(1, min(3, len(words)))))
    left, right = rng.choice(_MARKS[chinese])
    shown = [f"{left}{word}{right}" if at in marked else word for at, word in enumerate(words)]
    return _sentence(shown, chinese), [words[at] for at in marked]


def _marked(rng: random.Random, chinese: bool) -> Exchange:
    text, words = _marked_text(rng, chinese)
    if len(words) == 1:
        return text + ("。括号或引号里是什么？" if chinese else ". What is between the marks?"), words[0]
    return text + ("。列出标出的词。" if chinese else ". List the marked words."), "\n".join(words)


def _list_in_json(rng: random.Random, chinese: bool) -> Exchange:
    text, words = _marked_text(rng, chinese)
    key = rng.choice(("word", "name", "text", "词"))
    ask = (
        f"。用 JSON 列出标出的词，键是 {key}。"
        if chinese
        else f". List the marked words as JSON, the key is {key}."
    )
    return text + ask, "\n".join(json.dumps({key: word}, ensure_ascii=False) for word in words)

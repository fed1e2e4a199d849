"""Short news items that mention two subjects and are about one of them: word order says which.

Each structure stands there in both directions, so that every word is as likely beside the subject as beside the other
thing mentioned: counting words cannot tell the two apart. The sides share structures and the words of each class; they
share no place and no combination of two things in one structure. Each test row stands there a second time with its two
things in each other's place.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

TRAIN_ROWS, TEST_ROWS = 2800, 200
ENGLISH_SHARE = 0.3
ALONE_SHARE = 1 / 4  # of the training rows, those that mention one thing only: what belongs to which class
CATEGORIES = (3, 4)  # how many classes a row offers, at least and at most

CHINESE = {
    "体育": "足球赛 马拉松 游泳队",
    "财经": "股市 银行 房价",
    "科技": "芯片 机器人 卫星",
    "教育": "高考 课本 校车",
    "环境": "湿地 垃圾分类 候鸟",
    "文化": "画展 音乐会 话剧",
}
ENGLISH = {
    "Sports": "match|race",
    "Business": "market|bank",
    "Technology": "robot|phone",
    "Education": "exam|school",
    "Environment": "flood|birds",
    "Culture": "song|museum",
}
# {a} is what the item is about, {b} what it only mentions. Every pair of lines uses the same words.
_CHINESE_STRUCTURES = """
本文写的是{a}，不是{b}。
本文写的不是{b}，是{a}。
昨天的报道写{b}，今天这篇写{a}。
今天这篇写{a}，昨天的报道写{b}。
与{b}无关，这篇报道的主角是{a}。
这篇报道的主角是{a}，与{b}无关。
文中顺便提到{b}，重点是{a}。
重点是{a}，文中顺便提到{b}。
读者想看{b}，编辑却选了{a}。
编辑选了{a}，读者却想看{b}。
{b}只是背景，{a}才是主题。
{a}才是主题，{b}只是背景。
记者本来要写{b}，最后写了{a}。
记者最后写了{a}，本来要写{b}。
{b}的消息留到下期，本期谈{a}。
本期谈{a}，{b}的消息留到下期。
"""
_ENGLISH_STRUCTURES = """
This story is about {a}, not about {b}.
This story is not about {b}, but about {a}.
Yesterday we wrote about {b}, today about {a}.
Today we write about {a}, yesterday about {b}.
Unlike {b}, {a} is the subject here.
The subject here is {a}, unlike {b}.
The report names {b} once and deals with {a}.
The report deals with {a} and names {b} once.
Readers asked for {b}, the editors chose {a}.
The editors chose {a}, readers asked for {b}.
{b} is only the background, {a} the topic.
{a} is the topic, {b} only the background.
"""
_CHINESE_ALONE = """
本文写的是{a}。
本期谈{a}。
今天这篇写{a}。
记者写了{a}。
"""
_ENGLISH_ALONE = """
This story is about {a}.
Today we write about {a}.
The subject here is {a}.
The editors chose {a}.
"""
_PLACES = {
    "train": (
        "临溪 青禾 云岭 望海 石泉 南渡 河西 长亭 北岚 红瓦 白鹭 海文",
        "Larkford Millbrook Eastmere Dunmoor Fallow Alder Linden Grantley Voss Pike Hollin Marsh",
    ),
    "test": ("白桥 东篱 松湾 清河 雨巷 梧桐", "Westhollow Kingsferry Ashby Norwick Holt Tait"),
}


class _Item(NamedTuple):
    """A structure and the two things in it: what the row is about, and what it only mentions."""

    structure: str
    subject: str
    label: str
    other: str
    other_label: str

    def mirrored(self) -> _Item:
        """The same words with the two things in each other's place."""
        return _Item(self.structure, self.other, self.other_label, self.subject, self.label)


class _Language(NamedTuple):
    classes: dict[str, list[str]]
    structures: list[str]
    alone: list[str]
    thing: str  # how a thing is named with its place
    places: dict[str, list[str]]


LANGUAGES = (
    _Language(
        {label: words.split() for label, words in CHINESE.items()},
        _CHINESE_STRUCTURES.strip().splitlines(),
        _CHINESE_ALONE.strip().splitlines(),
        "{}的{}",
        {side: places[0].split() for side, places in _PLACES.items()},
    ),
    _Language(
        {label: words.split("|") for label, words in ENGLISH.items()},
        _ENGLISH_STRUCTURES.strip().splitlines(),
        _ENGLISH_ALONE.strip().splitlines(),
        "the {} {}",
        {side: places[1].split() for side, places in _PLACES.items()},
    ),
)


def _items(language: _Language) -> Iterator[_Item]:
    """Every structure with every two things of different classes."""
    things = [(word, label) for label, words in language.classes.items() for word in words]
    for structure, (subject, label), (other, other_label) in product(language.structures, things, things):
        if label != other_label:
            yield _Item(structure, subject, label, other, other_label)


def _alone(language: _Language, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Different rows that mention one thing only."""
    things = [(word, label) for label, words in language.classes.items() for word in words]
    drawn = rng.sample(list(product(language.alone, things, language.places["train"])), count)
    return [
        _row(form.format(a=language.thing.format(place, word)), label, _offered([label], language, rng))
        for form, (word, label), place in drawn
    ]


def _offered(mentioned: list[str], language: _Language, rng: random.Random) -> list[str]:
    """The classes of what a row mentions, and others beside them."""
    rest = [label for label in language.classes if label not in mentioned]
    offered = [*mentioned, *rng.sample(rest, rng.randint(*CATEGORIES) - len(mentioned))]
    rng.shuffle(offered)
    return offered


def _row(text: str, label: str, offered: list[str]) -> dict[str, Any]:
    return {"text": text[0].upper() + text[1:], "category": offered, "output": label}


def _rows(items: Sequence[_Item], language: _Language, side: str, rng: random.Random) -> list[dict[str, Any]]:
    """Rows of items with the same two classes, at the same places and with the same classes to choose from."""
    here, there = rng.sample(language.places[side], 2)
    offered = _offered([items[0].label, items[0].other_label], language, rng)
    rows = []
    for item in items:
        text = item.structure.format(
            a=language.thing.format(here, item.subject), b=language.thing.format(there, item.other)
        )
        rows.append(_row(text, item.label, offered))
    return rows


def build(rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """The rows of each side, both languages mixed."""
    train: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []
    for language, share in zip(LANGUAGES, (1 - ENGLISH_SHARE, ENGLISH_SHARE), strict=True):
        count = round(TRAIN_ROWS * share)
        train += _alone(language, round(count * ALONE_SHARE), rng)
        both = list(_items(language))
        drawn = rng.sample([item for item in both if item.subject < item.other], round(TEST_ROWS * share / 2))
        held_out = {*drawn, *(item.mirrored() for item in drawn)}
        learned = rng.sample(
            [item for item in both if item not in held_out], count - round(count * ALONE_SHARE)
        )
        for item in learned:
            train += _rows([item], language, "train", rng)
        for item in drawn:
            test += _rows([item, item.mirrored()], language, "test", rng)
    rng.shuffle(train)
    rng.shuffle(test)
    return {"train": train, "test": test}

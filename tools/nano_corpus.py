"""Build the text that `builtin:nano` is pre-trained on.

Three kinds of documents: bare Tang poems; chats in which someone asks for a poem about a topic, says hello
or asks a simple question; and chats whose answers stand in their questions (`nano_copying.py`). The poems come from the open-source project chinese-poetry (MIT licence): take its
folder of complete Tang poems (全唐诗), turn it into simplified characters (OpenCC does), and write one JSON
object a line, `{"title": ..., "author": ..., "lines": [...]}`, gzip-compressed, with one clause a line:
"床前明月光，". Everything else is generated here, from `nano_phrases.py`.

A request never names a form and is never paired with one: the model learns to follow a topic, and answers in
whatever form the Tang poems happen to have. The five-character quatrain is left for fine-tuning to teach.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from nano_copying import copying
from nano_phrases import (
    ASK_CHINESE,
    ASK_ENGLISH,
    ASK_FOR_ANOTHER,
    ASK_WITH_TITLE,
    EVERYDAY_WORDS,
    GREETINGS,
    POEM_TOPICS,
    SYSTEM_PROMPTS,
    THANKS,
    small_talk,
)

# (English, Chinese): topics for before/after tests, absent from every text that any model here is trained on.
HELD_OUT_TOPICS: tuple[tuple[str, str], ...] = (
    ("bicycle", "自行车"),
    ("train station", "火车站"),
    ("robot", "机器人"),
    ("coffee", "咖啡"),
    ("camera", "照相机"),
    ("library", "图书馆"),
    ("elevator", "电梯"),
    ("telescope", "望远镜"),
    ("satellite", "卫星"),
    ("telephone", "电话"),
    ("television", "电视"),
    ("computer", "电脑"),
    ("airplane", "飞机"),
    ("subway", "地铁"),
    ("piano", "钢琴"),
    ("guitar", "吉他"),
    ("chocolate", "巧克力"),
    ("museum", "博物馆"),
    ("hospital", "医院"),
    ("rocket", "火箭"),
)

LONGEST_ANSWER = 16  # lines; longer poems appear only bare, so that a chat fits the model's 512 tokens
MULTI_TURN_SHARE = 0.04  # of the poems, on top of their single-turn chat
SMALL_TALK_SHARE = 0.16
COPYING_SHARE = 0.7  # of the poems; such chats are short
TITLE_SHARE, EVERYDAY_SHARE = 0.15, 0.30  # of the poem requests; the rest name what the poem is about

_CLEAN_LINE = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]+[，。？！；、]")
_TITLE_NUMBER = re.compile(
    r"(?:其[一二三四五六七八九十]+|[一二三四五六七八九十百]+[首章]|并序)?(?: .*|[（(].*)?$"
)
_NAMES_A_FORM = re.compile("[三四五六七八九]言|绝句|律诗|短句|长句|古体|乐府|[一二三四五六七八九十]韵")


def is_clean_answer(poem: dict) -> bool:
    """Whether the poem can be an assistant's answer: short enough, and no gaps or editors' notes in it."""
    lines = poem["lines"]
    return 2 <= len(lines) <= LONGEST_ANSWER and all(_CLEAN_LINE.fullmatch(line) for line in lines)


def bare_document(poem: dict) -> str:
    """The poem as a page of a book: title, author, lines."""
    return "\n".join([poem["title"].strip(), poem["author"].strip(), *poem["lines"]])


def chat_document(messages: Iterable[tuple[str, str]]) -> str:
    """Render (role, content) pairs as the tokenizer's chat template does."""
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)
    return text.removesuffix("\n")  # nothing is generated behind the end token


def matching_topics(poem: dict) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Topics as (Chinese, English): those that the title signals, and those that the lines signal.

    In the lines a single character is a weak sign and must occur twice; a longer word need not.
    """
    in_title, in_lines = [], []
    text = "\n".join(poem["lines"])
    for chinese, english, signals in POEM_TOPICS:
        if any(signal in poem["title"] for signal in signals):
            in_title.append((chinese, english))
        elif sum(text.count(signal) * len(signal) for signal in signals) >= 2:
            in_lines.append((chinese, english))
    return in_title, in_lines


def title_as_topic(poem: dict) -> str | None:
    """The title without its numbering, or None where it is no plain short phrase or gives the form away."""
    title = _TITLE_NUMBER.sub("", poem["title"].strip())
    plain = re.fullmatch(r"[\u4e00-\u9fff]{1,10}", title)
    return title if plain and not _NAMES_A_FORM.search(title) else None


def request_for(poem: dict, rng: random.Random) -> str:
    """A request that this poem could answer, in Chinese or English."""
    draw = rng.random()
    title = title_as_topic(poem)
    if draw < TITLE_SHARE and title:
        return rng.choice(ASK_WITH_TITLE).format(zh=title)
    if draw < TITLE_SHARE + EVERYDAY_SHARE:
        # Any word with any poem: an unknown topic must still be answered with a poem, of no particular form.
        topic = rng.choice(EVERYDAY_WORDS)
    else:
        in_title, in_lines = matching_topics(poem)
        # The title says best what a poem is about; words in its lines are a weaker sign.
        preferred = in_title if in_title and (not in_lines or rng.random() < 0.7) else in_lines
        topic = rng.choice(preferred or EVERYDAY_WORDS)
    chinese, english = topic
    return rng.choice(ASK_CHINESE if rng.random() < 0.5 else ASK_ENGLISH).format(zh=chinese, en=english)


def _opening(rng: random.Random) -> list[tuple[str, str]]:
    """The system message, absent from most chats."""
    return [("system", rng.choice(SYSTEM_PROMPTS))] if rng.random() < 0.4 else []


def poem_chat(poem: dict, rng: random.Random) -> str:
    """One request, one poem."""
    turns = [("user", request_for(poem, rng)), ("assistant", "\n".join(poem["lines"]))]
    return chat_document(_opening(rng) + turns)


def multi_turn_chat(poem: dict, other: dict, rng: random.Random) -> str:
    """A poem after a greeting, before thanks, or before a second poem."""
    poem_turns = [("user", request_for(poem, rng)), ("assistant", "\n".join(poem["lines"]))]
    kind = rng.choice(["greeting", "thanks", "another"])
    if kind == "greeting":
        hello, answer = rng.choice(GREETINGS)
        turns = [("user", hello), ("assistant", answer), *poem_turns]
    elif kind == "thanks":
        thanks, answer = rng.choice(THANKS)
        turns = [*poem_turns, ("user", thanks), ("assistant", answer)]
    else:
        request = request_for(other, rng) if rng.random() < 0.7 else rng.choice(ASK_FOR_ANOTHER)
        turns = [*poem_turns, ("user", request), ("assistant", "\n".join(other["lines"]))]
    return chat_document(_opening(rng) + turns)


def refuse_held_out(text: str) -> None:
    """Raise ValueError if the text mentions a held-out topic: the before/after test would prove nothing."""
    lowered = text.lower()
    for english, chinese in HELD_OUT_TOPICS:
        if english in lowered or chinese in text:
            raise ValueError(
                f"the held-out topic {english} ({chinese}) stands in a training text: {text[:200]!r}"
            )


def build_corpus(poems: Iterable[dict], seed: int) -> Iterator[str]:
    """Yield the pre-training documents in shuffled order; the same poems and seed give the same documents.

    Every poem appears once bare, and once as an answer if it is clean and short enough; some appear again in a
    chat of several turns. Raises ValueError if a document mentions one of HELD_OUT_TOPICS.
    """
    rng = random.Random(seed)
    poems = list(poems)
    answers = [poem for poem in poems if is_clean_answer(poem)]
    jobs = [("bare", poem) for poem in poems] + [("chat", poem) for poem in answers]
    jobs += [("multi", poem) for poem in answers if rng.random() < MULTI_TURN_SHARE]
    jobs += [("talk", {})] * round(SMALL_TALK_SHARE * len(poems))
    # A poem and its chat must not be neighbours, or a packed row would teach copying.
    rng.shuffle(jobs)
    for kind, poem in jobs:
        if kind == "bare":
            document = bare_document(poem)
        elif kind == "chat":
            document = poem_chat(poem, rng)
        elif kind == "multi":
            document = multi_turn_chat(poem, rng.choice(answers), rng)
        else:
            document = chat_document(_opening(rng) + small_talk(rng))
        refuse_held_out(document)
        yield document


def with_copying(documents: Iterable[str], number: int, seed: int) -> Iterator[str]:
    """The documents and so many chats that copy, shuffled."""
    rng = random.Random(seed + 1)
    mixed: list[str | None] = [*documents, *[None] * number]
    rng.shuffle(mixed)
    for document in mixed:
        yield _copying_chat(rng) if document is None else document


def _copying_chat(rng: random.Random) -> str:
    """Drawn anew where the words, drawn at random, happen to name a held-out topic."""
    while True:
        document = chat_document(_opening(rng) + copying(rng))
        try:
            refuse_held_out(document)
        except ValueError:
            continue
        return document


def read_poems(path: Path) -> Iterator[dict]:
    """Yield the poems of a gzip-compressed JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_corpus(poems_path: Path, out_jsonl: Path, seed: int) -> int:
    """Write the corpus as `{"text": ...}` lines and return the number of documents."""
    poems = list(read_poems(poems_path))
    documents = with_copying(build_corpus(poems, seed), round(COPYING_SHARE * len(poems)), seed)
    count = 0
    with open(out_jsonl, "w", encoding="utf-8", newline="\n") as out:
        for text in documents:
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the pre-training corpus of builtin:nano.")
    parser.add_argument("poems", type=Path, help="gzip-compressed JSONL of Tang poems")
    parser.add_argument("out", type=Path, help="JSONL file to write")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{write_corpus(arguments.poems, arguments.out, arguments.seed)} documents")


if __name__ == "__main__":
    main()

"""Front and back matter: which pages are no part of what the author wrote to be read, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tunesmith.data.books.headings import ends_a_sentence, is_chapter, is_heading, kind_of_heading
from tunesmith.data.books.layout import Line
from tunesmith.data.books.script import count_words

# Front matter is looked for in a quarter of the book, from 8 to 40 pages; back matter in the last half.
_FRONT_SHARE, _FRONT_LEAST, _FRONT_MOST, _BACK_SHARE = 0.25, 8, 40, 0.5
_SHORT_PAGE, _TITLE_WORDS, _COPYRIGHT_WORDS = 60, 40, 600

_SURE_COPYRIGHT = re.compile(
    r"(?i)all rights reserved|\bISBN\b|library of congress|cataloguing[- ]in[- ]publication|版权所有|侵权必究|CIP\s*数据"
    r"|图书在版编目|翻印必究"
)
_SIGN_OF_COPYRIGHT = re.compile(
    r"(?i)©|\(c\) ?\d{4}|\bcopyright\b|first (?:published|edition|printing)|printed in|published by|publisher"
    r"|licen[cs]ed? under|no part of this|责任编辑|出版发行|出版社|许可证|第[一二三四五\d]版|印刷|定价|字数|开本|书号|印次"
)
_DEDICATION = re.compile(
    r"(?i)^(?:for|to|in (?:loving )?memory of|dedicated to)\b|^(?:谨以此书|献给|谨献给|此书献给)|献给.{1,20}$|^[给致].{1,20}$"
)
_ENDS_IN_NUMBER = re.compile(r"(?:\D|^)(\d{1,4}|[ivxlc]{1,7})\s*$")
_LEADERS = re.compile(r"(?:[.·…‥⋯•_]\s?){3,}")
_PAGES = r"\d{1,4}(?:\s?[-–—]\s?\d{1,4})?"
_INDEX_ENTRY = re.compile(
    rf"^.{{1,80}}?[\s,，、:：…·.]\s*{_PAGES}(?:\s?[,，、;；]\s?{_PAGES})*[.,，、;]?$|^(?:{_PAGES}[,，、]?\s?)+$"
)
_REFERENCE = re.compile(r"(?:1[5-9]|20)\d\d|^\[\d+\]|^\d+\.\s|\[[JMCDNRZ]\]|《.+》|\bpp?\.\s?\d|\bvol\.")


@dataclass(frozen=True)
class Dropped:
    """Pages that were dropped, and why. `part` says that only a part of the page was."""

    pages: tuple[int, ...]
    reason: str
    part: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {"pages": list(self.pages), "reason": self.reason} | ({"part": True} if self.part else {})


def drop_matter(pages: Sequence[Sequence[Line]], body_size: float) -> tuple[list[list[Line]], list[Dropped]]:
    """The lines that stay, page by page, and what was dropped."""
    kept = [list(page) for page in pages]
    front = _front(kept, body_size)
    for index in front:
        kept[index] = []
    dropped = [Dropped((_number(pages[index]),), reason) for index, reason in front.items()]
    dropped += _drop_back(kept, body_size)
    return kept, _gathered(dropped)


def _number(page: Sequence[Line]) -> int:
    return page[0].page


def _gathered(dropped: Sequence[Dropped]) -> list[Dropped]:
    """Neighbouring pages with one reason as one entry."""
    found: list[Dropped] = []
    for one in sorted(dropped, key=lambda one: one.pages):
        last = found[-1] if found else None
        whole = last is not None and not one.part and not last.part
        if last and whole and last.reason == one.reason and one.pages[0] == last.pages[-1] + 1:
            found[-1] = Dropped(last.pages + one.pages, one.reason)
        else:
            found.append(one)
    return found


# ---- front


def _front(pages: Sequence[Sequence[Line]], body_size: float) -> dict[int, str]:
    """Index -> reason of the pages at the front that are dropped."""
    found: dict[int, str] = {}
    begun = False  # the first page of running text is behind us
    previous = None
    reach = min(_FRONT_MOST, max(_FRONT_LEAST, int(_FRONT_SHARE * len(pages))), len(pages) - 1)
    for index, page in enumerate(pages[:reach]):
        if not page:
            continue
        reason = _front_reason(page, begun, previous, body_size)
        if reason:
            found[index] = reason
        elif sum(count_words(line.text) for line in page) > _SHORT_PAGE or is_chapter(page[0].text):
            begun = True
        previous = reason
    return found


def _front_reason(page: Sequence[Line], begun: bool, previous: str | None, body_size: float) -> str | None:
    words = sum(count_words(line.text) for line in page)
    text = "\n".join(line.text for line in page)
    kind = kind_of_heading(page[0].text)
    if kind == "contents" or _is_contents(page, 0.6):
        return "contents"
    if previous == "contents" and _is_contents(page, 0.5) and not is_chapter(page[0].text):
        return "contents"
    if words <= _COPYRIGHT_WORDS and (kind == "copyright" or _is_copyright(text, words)):
        return "copyright"
    if begun:
        return None
    if kind == "about the author":
        return kind
    if words <= _SHORT_PAGE and (kind == "dedication" or _DEDICATION.search(text)):
        return "dedication"
    if words <= _TITLE_WORDS and not is_chapter(page[0].text):
        plain = not any(
            ends_a_sentence(line.text) or line.text.endswith((",", "，", "；", ";")) for line in page
        )
        return "title page" if plain else None
    return None


def _is_copyright(text: str, words: int) -> bool:
    """One sure sign on a page of little else, or two that could each stand in a story."""
    signs = len({match.lower() for match in _SIGN_OF_COPYRIGHT.findall(text)})
    return (len(_SURE_COPYRIGHT.findall(text)) >= 1 and words <= _COPYRIGHT_WORDS // 2) or (
        signs >= 2 and words <= 300
    )


def _is_contents(page: Sequence[Line], share: float) -> bool:
    """Whether most lines end in a page number (with dots before it, or the numbers grow)."""
    numbers = [match[1] for line in page if (match := _ENDS_IN_NUMBER.search(line.text))]
    if len(numbers) < 4 or len(numbers) < share * len(page):
        return False
    leaders = sum(_LEADERS.search(line.text) is not None for line in page)
    arabic = [int(number) for number in numbers if number.isdigit()]
    grows = len(arabic) >= 4 and all(a <= b for a, b in pairwise(arabic))
    return leaders >= 3 or grows


# ---- back


def _drop_back(pages: list[list[Line]], body_size: float) -> list[Dropped]:
    """Take index, bibliography and the like off the back; each goes on until another heading or the end."""
    dropped: list[Dropped] = []
    current: str | None = None
    first = int(_BACK_SHARE * len(pages))
    last_page = max((index for index, page in enumerate(pages) if page), default=0)
    for index in range(first, len(pages)):
        page = pages[index]
        kept: list[Line] = []
        gone: dict[str, int] = {}
        for place, line in enumerate(page):
            rest = page[place:]
            following = next((other for other in pages[index + 1 :] if other), [])
            started = _begins(line, [*rest, *following], index == last_page)
            if started:
                current = started
            elif current and _ends(current, page, place, body_size):
                current = None
            if current:
                gone[current] = gone.get(current, 0) + 1
            else:
                kept.append(line)
        for reason in gone:
            whole = not kept and len(gone) == 1
            dropped.append(Dropped((_number(page),), reason, part=not whole))
        if not current and kept and not gone and index > first and _is_back_copyright(kept, index, last_page):
            dropped.append(Dropped((_number(page),), "copyright"))
            kept = []
        pages[index] = kept
    return dropped


def _begins(line: Line, following: Sequence[Line], on_last_page: bool) -> str | None:
    """The part that a line begins: its heading, borne out by what follows it."""
    kind = kind_of_heading(line.text)
    if kind is None or len(following) < 2:
        return None
    page = line.page
    texts = [other.text for other in following[1:] if other.page == page]
    if len(texts) < 3:  # the heading stands at the foot of its page
        texts = [other.text for other in following[1:]]
    borne_out: dict[str, Callable[[], bool]] = {
        "index": lambda: _share(_INDEX_ENTRY, texts) >= 0.3,
        "bibliography": lambda: _share(_REFERENCE, texts) >= 0.2,
        "about the author": lambda: True,
        "copyright": lambda: _is_copyright("\n".join(texts), sum(map(count_words, texts))),
    }
    return kind if kind in borne_out and borne_out[kind]() else None


def _ends(kind: str, page: Sequence[Line], place: int, body_size: float) -> bool:
    """Whether a part ended before this line: the page looks like another, or the line is a heading."""
    if place == 0 and not _goes_on(kind, page):
        return True
    line = page[place]
    return is_heading(line, body_size) and not _is_letter(line.text)


def _goes_on(kind: str, page: Sequence[Line]) -> bool:
    texts = [line.text for line in page]
    if kind == "index":
        return _share(_INDEX_ENTRY, texts) >= 0.3
    return kind != "bibliography" or _share(_REFERENCE, texts) >= 0.2


def _is_letter(text: str) -> bool:
    """The letters that an index is divided by."""
    return len(text.strip()) <= 3


def _is_back_copyright(page: Sequence[Line], index: int, last_page: int) -> bool:
    text = "\n".join(line.text for line in page)
    return index >= last_page - 1 and _SURE_COPYRIGHT.search(text) is not None and count_words(text) <= 200


def _share(pattern: re.Pattern[str], texts: Sequence[str]) -> float:
    return sum(pattern.search(text) is not None for text in texts) / max(len(texts), 1)

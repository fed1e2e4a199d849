"""What the parts of a book are called, in English and Chinese."""

from __future__ import annotations

import re

from tunesmith.data.books.layout import Line
from tunesmith.data.books.script import count_words

# A line says one of these and nothing else (a number or a mark around it apart).
NAMES = {
    "contents": "contents|table of contents|brief contents|list of (?:figures|tables|illustrations|plates|maps)"
    "|目录|目次|目錄|总目录|插图目录|图目录|表目录",
    "copyright": "copyright|copyright page|imprint|colophon|版权|版权页|版权信息|版权所有|版權頁|图书在版编目",
    "dedication": "dedication|献词|献辞|題獻|题献",
    "index": "index|general index|subject index|index of (?:names|subjects|terms)|索引|人名索引|名词索引|主题索引|术语索引",
    "bibliography": "bibliography|select(?:ed)? bibliography|references|works cited|literature cited|further reading"
    "|list of references|books named|sources|参考文献|参考书目|參考文獻|引用文献|主要参考文献|参考书",
    "about the author": "about the authors?|also by .{1,40}|other books by .{1,40}|by the same author|praise for .{1,60}"
    "|作者简介|关于作者|作者介绍",
}
_NAMES = {kind: re.compile(rf"[\W\d_]*(?:{names})[\W_]*", re.IGNORECASE) for kind, names in NAMES.items()}

_CHAPTER = re.compile(
    r"(?:chapter|part|book)\s+(?:\d{1,3}|[ivxlc]{1,7}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty)\b.{0,60}"
    r"|(?:prologue|epilogue|preface|foreword|introduction|afterword|conclusion)"
    r"|第[\d一二三四五六七八九十百零〇两]{1,5}[章回卷部篇编].{0,30}|[序引]言|前言|自序|序|后记|跋|尾声|楔子|结语",
    re.IGNORECASE,
)
_ENDS_A_SENTENCE = re.compile(r"[.!?。！？…][\"'”’」』）)\]]*$")
_LONGEST = 12  # words


def kind_of_heading(text: str) -> str | None:
    """`contents`, `index`, ... if a line is the heading of such a part."""
    text = text.strip()
    spaced = re.sub(r"(?<=\w)\s(?=\w(?:\s|$))", "", text)  # I N D E X, 目 录
    for kind, pattern in _NAMES.items():
        if pattern.fullmatch(text) or pattern.fullmatch(spaced):
            return kind
    return None


def is_chapter(text: str) -> bool:
    """Whether a line by its words begins a chapter."""
    return _CHAPTER.fullmatch(text.strip()) is not None and not ends_a_sentence(text)


def ends_a_sentence(text: str) -> bool:
    """Whether a line's last mark is one that ends a sentence."""
    return _ENDS_A_SENTENCE.search(text) is not None


def is_heading(line: Line, body_size: float) -> bool:
    """Whether a line by its words or by the size of its letters stands over a part of the book."""
    if kind_of_heading(line.text) or is_chapter(line.text):
        return True
    large = line.size >= 1.15 * body_size
    return large and count_words(line.text) <= 2 * _LONGEST and not line.text.endswith((",", "，", "、", ";"))

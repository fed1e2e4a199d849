"""Passages: nothing of a text is lost between them, and they end where sentences end."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.data.tiny import STEADY
from tunesmith.data.books.passages import Cut, count, cut_passages, unit_of
from tunesmith.data.books.prose import Mark, Paragraph


def paragraph(text: str, *, page: int = 1, chapter: bool = False) -> Paragraph:
    return Paragraph(text, (Mark(0, page),), chapter)


def cut(texts: list[str], unit, size: int, overlap: int, least: int = 0):
    return cut_passages([paragraph(text) for text in texts], Cut(unit, size, overlap, least))


SENTENCES = [f"Sentence number {number} has seven words." for number in range(20)]


def test_passages_end_at_sentences_and_share_whole_sentences():
    result = cut([" ".join(SENTENCES)], "words", 20, 7)
    assert result.passages[0].text == " ".join(SENTENCES[:3])
    assert result.passages[1].text == " ".join(SENTENCES[2:5])
    assert result.passages[-1].text.endswith(SENTENCES[-1])
    assert all(passage.units <= 20 for passage in result.passages)


def test_a_full_stop_behind_a_title_or_in_a_number_ends_no_sentence():
    text = "Mr. Pell paid 3.50 for it, e.g. at the shop of J. Harrow. He said so."
    result = cut([text], "words", 13, 0)
    assert [passage.text for passage in result.passages] == [text[:58].strip(), "He said so."]


def test_chinese_is_cut_by_characters_behind_its_own_marks():
    text = "春天来了。河边的柳树发了芽！“你好吗？”他说。"
    assert unit_of(text) == "characters"
    result = cut([text], "characters", 14, 0)
    assert [passage.text for passage in result.passages] == [
        "春天来了。河边的柳树发了芽！",
        "“你好吗？”他说。",
    ]
    assert [passage.units for passage in result.passages] == [14, 9]


def test_english_with_a_chinese_word_is_counted_in_words():
    assert unit_of("The word 钟 means a clock, and nobody could tell me why.") == "words"
    assert unit_of("他用 Python 写程序，写得很好。") == "characters"


def test_no_passage_runs_from_one_chapter_into_the_next():
    chapters = [
        paragraph("Chapter 1", chapter=True),
        paragraph("Dust", chapter=True),
        paragraph("One two three four five.", page=2),
        paragraph("Chapter 2", page=3, chapter=True),
        paragraph("Six seven eight nine ten.", page=3),
    ]
    result = cut_passages(chapters, Cut("words", 100, 10, 0))
    assert [(passage.text, passage.pages) for passage in result.passages] == [
        ("Chapter 1\n\nDust\n\nOne two three four five.", (1, 2)),
        ("Chapter 2\n\nSix seven eight nine ten.", (3,)),
    ]


def test_short_tails_are_dropped_and_counted():
    result = cut([" ".join(SENTENCES[:4])], "words", 18, 6, least=7)
    assert [passage.text for passage in result.passages] == [" ".join(SENTENCES[:3])]
    assert (result.short_tails, result.units_dropped) == (1, 6)


LENGTHS = st.lists(st.lists(st.integers(1, 25), min_size=1, max_size=6), min_size=1, max_size=5)


@STEADY
@given(LENGTHS, st.sampled_from(["words", "characters"]), st.integers(1, 30), st.integers(0, 29))
def test_every_unit_of_a_text_is_in_a_passage_or_counted_as_dropped(lengths, unit, size, overlap):
    """Each word (or character) is numbered, so that it is known again in the passages."""
    numbers = iter(range(10_000))
    blank, stop = (" ", ".") if unit == "words" else ("", "。")
    texts = []
    for sentences in lengths:
        said = [[next(numbers) for _ in range(length)] for length in sentences]
        texts.append(
            blank.join(
                blank.join(chr(0x4E00 + n) if not blank else f"w{n}" for n in one) + stop for one in said
            )
        )
    total = next(numbers)
    cut_to = Cut(unit, size, min(overlap, size - 1), size // 2)
    result = cut_passages([paragraph(text) for text in texts], cut_to)
    covered = 0
    for passage in result.passages:
        found = re.findall(r"w(\d+)", passage.text) if blank else re.findall(r"[^\s。]", passage.text)
        seen = [int(one) if blank else ord(one) - 0x4E00 for one in found]
        assert passage.units == count(passage.text, unit) <= size
        if seen:  # a passage of one character may be a full stop
            assert seen == list(range(seen[0], seen[-1] + 1))
            assert 0 <= covered - seen[0] <= cut_to.overlap
            covered = seen[-1] + 1
    assert total - covered <= result.units_dropped < max(cut_to.least, 1)
    assert result.short_tails == (result.units_dropped > 0)

"""The five-character quatrain, and telling one's own poem from a copied one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tunesmith
from tunesmith.metrics import Answers
from tunesmith.metrics.poem_form import TrainingPoems, is_five_character_quatrain, poem_form, verses

MOON = "床前明月光，\n疑是地上霜。\n举头望明月，\n低头思故乡。"
WIND = "解落三秋叶，\n能开二月花。\n过江千尺浪，\n入竹万竿斜。"

# The three Han blocks' first and last characters, and common ones between.
han = st.sampled_from("一鿿㐀䶿𠀀𪛟𰀀" + "春风入梦来细雨润花开明月照山川")
pauses = st.sampled_from("，、；？！")
couplet_ends = st.sampled_from("。！？；")
last_ends = st.sampled_from("。！？")


@st.composite
def quatrains(draw: st.DrawFn) -> str:
    lines = ["".join(draw(st.lists(han, min_size=5, max_size=5))) for _ in range(4)]
    marks = [draw(pauses), draw(couplet_ends), draw(pauses), draw(last_ends)]
    return "\n".join(line + mark for line, mark in zip(lines, marks, strict=True))


@given(quatrains(), st.sampled_from(["", " ", "\n", "\n\n", "　", "\t\r\n"]))
def test_every_quatrain_in_the_form_is_one_whatever_space_surrounds_it(poem: str, space: str) -> None:
    assert is_five_character_quatrain(space + poem + space)
    assert is_five_character_quatrain(poem.replace("\n", "\r\n"))


@given(quatrains(), st.data())
def test_one_character_less_or_more_is_not_the_form(poem: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(poem) - 1))
    assert not is_five_character_quatrain(poem[:place] + poem[place + 1 :])
    extra = data.draw(st.sampled_from("月，。 \nax1<"))
    inside = data.draw(st.integers(1, len(poem) - 1))
    assert not is_five_character_quatrain(poem[:inside] + extra + poem[inside:])


@given(st.text(max_size=60))
def test_any_text_gets_an_answer_and_only_the_form_gets_a_yes(text: str) -> None:
    if is_five_character_quatrain(text):
        assert [len(line) for line in text.strip().splitlines()] == [6, 6, 6, 6]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。",  # two lines
        "床前明月光，疑是地上霜。举头望明月，低头思故乡。",  # one line
        "静夜思\n" + MOON,  # a title
        MOON + "\n——李白",
        MOON + "\n" + WIND,  # eight lines
        MOON.replace("，", ","),  # half-width
        MOON.replace("。", "."),
        MOON.replace("，", "。"),  # a stop inside the couplets
        MOON.replace("。", "，"),  # a poem without an end
        MOON.replace("\n", "\n\n"),
        MOON.replace("床前明月光", "床前看月光光"),
        MOON.replace("床前明月光", "床前 月光"),
        MOON.replace("床前明月光", "床前のの光"),
        MOON.replace("床前明月光", "床前moon"),
        MOON.replace("床前明月光，", "床前明月光，，"),
        MOON[:-1],
        MOON[:-1] + "；",
        "Here is a poem:\n" + MOON,
    ],
)
def test_what_is_not_the_form(text: str) -> None:
    assert not is_five_character_quatrain(text)


@pytest.mark.parametrize(
    "text",
    [
        MOON,
        "何处秋风至？\n萧萧送雁群。\n朝来入庭树，\n孤客最先闻。",
        "泠泠七弦上，\n静听松风寒；\n古调虽自爱，\n今人多不弹。",
        "绿蚁新醅酒，\n红泥小火炉。\n晚来天欲雪，\n能饮一杯无？",
    ],
)
def test_the_conventional_marks_of_known_poems(text: str) -> None:
    assert is_five_character_quatrain(text)


def test_every_shipped_sample_poem_is_in_the_form() -> None:
    folder = Path(tunesmith.__file__).parent / "samples" / "poetry"
    for name in ("training_data.json", "quatrains.json"):
        for example in json.loads((folder / name).read_text("utf-8"))["examples"]:
            assert is_five_character_quatrain(example["output"]), example["id"]


def test_verses_are_found_in_any_layout() -> None:
    expected = ["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡"]
    assert verses(MOON) == expected
    assert verses(MOON.replace("\n", "")) == expected
    assert verses(MOON.replace("，", "").replace("。", "")) == expected
    assert verses(" 床前 明月光 ,疑是地上霜.\r\n举头望明月;低头思故乡!") == expected


@pytest.mark.parametrize(
    ("answer", "copied"),
    [
        (MOON, True),
        (MOON.replace("\n", "").replace("，", " "), True),
        ("床前明月光，\n疑是地上霜。\n夜深人不寐，\n独坐听虫声。", True),  # two of four
        ("床前明月光，\n独坐听虫声。\n夜深人不寐，\n推窗四野明。", False),  # one of four
        ("床前明月光，\n能开二月花。\n夜深人不寐，\n独坐听虫声。", False),  # one from each of two poems
        ("床前明月光，\n床前明月光。\n夜深人不寐，\n独坐听虫声。", True),  # one verse, twice
        ("床前明月光疑是地上霜举头望明月低头思故乡", True),  # no breaks at all
        ("独坐听虫声。", False),
        ("", False),
        ("。。。", False),
    ],
)
def test_half_of_the_verses_in_one_training_poem_is_a_copy(answer: str, copied: bool) -> None:
    assert TrainingPoems((MOON, WIND)).hold_a_copy_of(answer) is copied


@given(quatrains(), st.lists(quatrains(), max_size=4))
def test_a_training_poem_is_always_a_copy_of_itself(poem: str, others: list[str]) -> None:
    assert TrainingPoems((*others, poem)).hold_a_copy_of(poem)
    assert not TrainingPoems(()).hold_a_copy_of(poem)


def test_the_metric_gives_shares() -> None:
    new = "独坐听虫声，\n推窗四野明。\n夜深人不寐，\n一雁过江城。"
    answers = Answers((MOON, new, "moon", new), (24,) * 4, (True,) * 4, (MOON,))
    assert poem_form(answers) == {"form_validity": 0.75, "copied": 0.25}
    assert poem_form(Answers((), (), ())) == {}

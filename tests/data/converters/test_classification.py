"""The classification format, with the classes in the row or in the recipe."""

import pytest

from .rows import read, said, turns

ROW = {"text": "火箭升空", "category": ["航天", "体育"], "output": "航天"}


@pytest.mark.parametrize("category", [ROW["category"], '["航天", "体育"]'])
def test_wording_of_the_classes_in_the_row(category):
    assert turns(read("classification", {**ROW, "category": category})) == [
        (
            "system",
            "你是一个文本分类领域的专家，你会接收到一段文本和几个潜在的分类选项，请输出文本内容的正确类型",
            0.0,
        ),
        ("user", "文本:火箭升空,类型选型:['航天', '体育']", 0.0),
        ("assistant", "航天", 1.0),
    ]


def test_the_text_alone_may_be_cut():
    asked = read("classification", ROW).messages[1]
    assert asked.article is not None
    assert asked.content[slice(*asked.article)] == ROW["text"]


def test_instruction_of_the_recipe_or_none():
    assert turns(read("classification", ROW, instruction="Classify."))[0] == ("system", "Classify.", 0.0)
    assert turns(read("classification", ROW, instruction=""))[0][0] == "user"


@pytest.mark.parametrize("label", ["sport", 1, "1"])
def test_labels_by_name_or_number(label):
    system, asked, answered = turns(
        read("classification", {"text": "t", "label": label}, labels=["space", "sport"])
    )
    assert asked == ("user", "t", 0.0)
    assert answered == ("assistant", "sport", 1.0)
    assert system[1].endswith("The classes are: space, sport.")


def test_instruction_speaks_the_language_of_the_classes():
    assert turns(read("classification", {"text": "t", "label": "体育"}))[0][1].startswith("你是")
    listed = turns(read("classification", {"text": "t", "label": 0}, labels=["航天", "体育"]))[0][1]
    assert listed.endswith("可选的类型有：航天、体育")
    assert turns(read("classification", {"text": "t", "label": "sport"}))[0][1].startswith("You are")


def test_a_name_of_digits_is_a_name_where_the_recipe_says_so():
    assert turns(read("classification", {"text": "t", "label": "1"}, labels=["1", "0"]))[-1][1] == "1"


@pytest.mark.parametrize(
    ("row", "options", "found"),
    [
        ({**ROW, "output": "航夫"}, {}, "field 'output' of row 3 is '航夫'; expected one of '航天', '体育'"),
        ({**ROW, "output": "sport", "category": ["Sport"]}, {}, "The nearest is 'Sport'"),
        ({**ROW, "category": []}, {}, "expected one of the classes, of which there are none"),
        ({**ROW, "category": "航天"}, {}, "field 'category' of row 3 is a string that is no JSON"),
        ({**ROW, "category": [3]}, {}, "class 1 of row 3 is a number"),
        ({**ROW, "text": None}, {}, "field 'text' of row 3 is null"),
        (ROW, {"labels": ["体育"]}, "field 'output' of row 3 is '航天'"),
        ({"text": "t", "label": 1}, {}, "Name the classes 0, 1, ... in the recipe"),
        ({"text": "t", "label": "1"}, {}, "is the number 1, and nothing says what it means"),
        ({"text": "t", "label": 2}, {"labels": ["a", "b"]}, "expected a number from 0 to 1"),
        ({"text": "t", "label": -1}, {"labels": ["a", "b"]}, "field 'label' of row 3 is -1"),
        ({"text": "t", "label": "c"}, {"labels": ["a", "b"]}, "expected one of 'a', 'b'"),
        ({"text": "t", "label": True}, {"labels": ["a", "b"]}, "is true or false"),
        ({"text": "t", "label": 0.5}, {}, "is 0.5"),
        ({"text": "t", "label": ""}, {}, "field 'label' of row 3 is empty"),
    ],
)
def test_wrong_rows_are_told(row, options, found):
    assert found in said("classification", row, **options)

"""The prompt/completion format."""

import pytest

from .rows import read, said, turns


def message(role, content):
    return {"role": role, "content": content}


def test_prompt_is_the_users_and_completion_the_assistants():
    assert turns(read("prompt_completion", {"prompt": "q\n", "completion": " a "})) == [
        ("user", "q\n", 0.0),
        ("assistant", " a ", 1.0),
    ]


def test_lists_of_messages_where_only_the_completion_is_learned():
    row = {
        "prompt": [message("user", "q"), message("assistant", "a"), message("user", "r")],
        "completion": [message("assistant", "b")],
        "system": "s",
    }
    assert turns(read("prompt_completion", row)) == [
        ("system", "s", 0.0),
        ("user", "q", 0.0),
        ("assistant", "a", 0.0),
        ("user", "r", 0.0),
        ("assistant", "b", 1.0),
    ]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"completion": "a"}, "row 3 has no field 'prompt'"),
        ({"prompt": "q"}, "row 3 has no field 'completion'"),
        ({"prompt": [], "completion": "a"}, "field 'prompt' of row 3 is empty"),
        ({"prompt": {}, "completion": "a"}, "field 'prompt' of row 3 is an object"),
        ({"prompt": "q", "completion": "\t"}, "holds nothing but blanks"),
        ({"prompt": "q", "completion": [message("user", "a")]}, "message 2 of row 3 is the user's"),
        ({"prompt": [message("user", 3)], "completion": "a"}, "message 1 of field 'prompt' of row 3"),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("prompt_completion", row)

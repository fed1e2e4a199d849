"""What a recipe asks of a conversation: which turns are learned, thoughts, and how a long one is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.reshape import (
    has_thoughts,
    only_last_turn,
    split,
    truncated,
    weighted,
    without_thoughts,
)
from tunesmith.data.schema import BadRow, Conversation, Image, Message

from .tiny import STEADY


def user(text, **more):
    return Message("user", text, 0.0, **more)


def assistant(text, loss=1.0, **more):
    return Message("assistant", text, loss, **more)


def characters(conversation):
    """A length that is easy to follow: 2 a message, 1 a character, 10 a picture."""
    return sum(
        2 + sum(10 if isinstance(part, Image) else len(part) for part in m.content)
        for m in conversation.messages
    )


TURNS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=1, max_size=5)


def chat(turns, system=None):
    messages = [Message("system", system)] if system else []
    for at, (asked, answered) in enumerate(turns):
        messages += [user(str(at % 10) * asked), assistant("abcdefghij"[at % 10] * answered)]
    return Conversation(tuple(messages))


def answers(conversation):
    return [m.content for m in conversation.messages if m.loss]


@STEADY
@given(turns=TURNS, system=st.sampled_from([None, "S" * 5]), limit=st.integers(10, 200))
def test_splitting_learns_every_answer_exactly_once(turns, system, limit):
    whole = chat(turns, system)
    pieces = split(whole, characters, limit)
    assert [answer for piece in pieces for answer in answers(piece)] == answers(whole)
    for piece in pieces:
        rest = piece.messages[1:] if system else piece.messages
        assert not system or piece.messages[0].role == "system"
        assert rest[0].role == "user"
        assert characters(piece) <= limit or len(rest) == 2  # one exchange that is too long by itself


@STEADY
@given(turns=TURNS, system=st.sampled_from([None, "S" * 5]), limit=st.integers(10, 200))
def test_truncation_keeps_the_last_answer_whole(turns, system, limit):
    whole = chat(turns, system)
    shorter = truncated(whole, characters, limit)
    assert answers(shorter) == answers(whole)[-len(answers(shorter)) :]
    assert shorter.messages[-1] == whole.messages[-1]
    assert not system or shorter.messages[0] == whole.messages[0]
    if characters(whole) <= limit:
        assert shorter == whole
    asked, answered = turns[-1]
    least = (2 + 5 if system else 0) + 2 + min(asked, 8) + 2 + answered
    if least <= limit:  # otherwise nothing could make it fit
        assert characters(shorter) <= limit
        if len(shorter.messages) < len(whole.messages):  # older turns went, so they had to
            longer = Conversation(whole.messages[-len(shorter.messages) - 2 :])
            assert characters(longer) > limit or system


def test_the_oldest_turns_go_first():
    whole = chat([(5, 5), (5, 5), (5, 5)])
    assert truncated(whole, characters, 30).messages == whole.messages[2:]


def counted(calls):
    def length(conversation):
        calls.append(len(conversation.messages))
        return characters(conversation)

    return length


def test_a_long_chat_is_measured_a_few_times_and_mostly_in_small_parts():
    """A rendering takes the square of a chat's turns, so what is measured must grow with what is kept."""
    whole = chat([(5, 5)] * 80)
    calls: list[int] = []
    assert len(truncated(whole, counted(calls), 100).messages) == 14
    assert len(calls) < 10 and max(calls) <= 30
    calls.clear()
    pieces = split(whole, counted(calls), 100)
    assert [len(piece.messages) for piece in pieces] == [14] * 11 + [6]
    assert len(calls) < 7 * len(pieces) and max(calls) <= 30


@STEADY
@given(results=st.lists(st.integers(0, 60), min_size=1, max_size=8), limit=st.integers(40, 300))
def test_the_longest_questions_of_one_exchange_are_cut_first(results, limit):
    found = [Message("tool", "z" * size) for size in results]
    whole = Conversation((user("q"), assistant("call", 0.0), *found, assistant("done")))
    short = truncated(whole, characters, limit)
    kept = [len(m.content) for m in short.messages if m.role == "tool"]
    ranked = sorted(range(len(results)), key=lambda at: -results[at])
    cut = [at for at in ranked if kept[at] < results[at]]
    assert cut == [at for at in ranked if results[at] > 8][: len(cut)]
    assert all(kept[at] == 8 for at in cut[:-1])
    least = characters(whole) - sum(max(0, size - 8) for size in results)
    assert characters(short) == max(least, min(limit, characters(whole)))


def test_parts_without_an_answer_to_learn_stay_where_prompts_are_learned():
    turns = [user("1" * 9), assistant("a", 0.0), user("2" * 9), assistant("b", 0.5)]
    turns += [user("3" * 9), assistant("c", 0.0)]
    whole = Conversation(tuple(turns))
    assert [answers(piece) for piece in split(whole, characters, 20)] == [["b"]]
    pieces = split(whole, characters, 20, keep_all=True)
    assert [m.content for piece in pieces for m in piece.messages] == [m.content for m in whole.messages]
    assert [piece.messages[-1].loss for piece in pieces] == [0.5] * 3


def test_only_the_article_is_cut():
    text = "TEXT:" + "x" * 50 + ",OPTIONS:a,b"
    row = Conversation((user(text, article=(5, 55)), assistant("a")))
    short = truncated(row, characters, 40)
    assert short.messages[0].content == "TEXT:" + "x" * 18 + ",OPTIONS:a,b"
    assert characters(short) == 40
    assert truncated(short, characters, 35).messages[0].content == "TEXT:" + "x" * 13 + ",OPTIONS:a,b"


def test_pictures_are_never_cut():
    picture = Image("a.png", 8, 8)
    row = Conversation((user(("look: ", picture, "y" * 40)), assistant("a cat")))
    short = truncated(row, characters, 45)
    assert short.messages[0].content == ("look: ", picture, "y" * 20)


def test_tool_results_count_as_questions():
    row = Conversation((user("q"), assistant("call"), Message("tool", "z" * 60), assistant("done")))
    assert truncated(row, characters, 40).messages[2].content == "z" * 23


def test_loss_on_the_last_answer_alone():
    last = only_last_turn(Conversation((user("a"), assistant("b"), user("c"), assistant("d"))))
    assert [m.loss for m in last.messages] == [0.0, 0.0, 0.0, 1.0]


def test_a_files_weight_multiplies_the_messages():
    row = weighted(Conversation((user("a"), assistant("b", 0.5))), 3.0)
    assert [m.loss for m in row.messages] == [0.0, 1.5]


@pytest.mark.parametrize(
    "answer",
    [assistant("42", thinking="so"), assistant("<think>\nso\n</think>\n\n42")],
    ids=["apart", "inline"],
)
def test_thoughts_can_be_left_out(answer):
    row = Conversation((user("6*7?"), answer))
    assert has_thoughts(row)
    assert without_thoughts(row) == Conversation((user("6*7?"), assistant("42")))


def test_an_answer_that_speaks_of_tags_is_no_thought():
    row = Conversation((user("how?"), assistant("Write <think>so</think> first.")))
    assert not has_thoughts(row)
    assert without_thoughts(row) == row


def test_a_thought_without_an_answer_cannot_be_dropped():
    with pytest.raises(BadRow, match="a thought and nothing else"):
        without_thoughts(Conversation((user("q"), assistant("<think>hm</think>"))))

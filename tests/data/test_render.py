"""Rendering: loss spans for any text, boundaries that tokens straddle, templates that refuse, what is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Conversation, Message
from tunesmith.errors import InputError

from .tiny import CHATML, STEADY, byte_level, chatml, llama_like

PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
INST = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)

ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
TRICKY_TEXT = st.lists(
    st.sampled_from(
        ["<|im_end|>", "<|im_start|>", "assistant", "\n", "\n\n", " ", "the", "诗", "<|im_", "end|>", "👋"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
CONTENT = st.one_of(ANY_TEXT, TRICKY_TEXT).filter(str.strip)


def user(text):
    return Message("user", text, 0.0)


def assistant(text, loss=1.0):
    return Message("assistant", text, loss)


def chat(*messages):
    return Conversation(messages)


def learned(renderer, tree):
    return [[span.text for span in spans if span.weight] for spans in renderer.spans(tree)]


def learned_as_one(renderer, piece):
    return renderer.tokenizer.decode([t for t, w in zip(piece.tokens, piece.weights, strict=True) if w])


@STEADY
@given(question=ANY_TEXT | TRICKY_TEXT, answer=CONTENT)
def test_any_text_is_learned_with_its_stop_token_and_nothing_else(question, answer):
    renderer = Renderer(chatml())
    (piece,) = renderer.sample(chat(user(question), assistant(answer)))
    context = renderer.prompt([user(question)])
    assert list(piece.tokens[: len(context)]) == context
    assert piece.weights == (0.0,) * len(context) + (1.0,) * (len(piece.tokens) - len(context))
    assert learned_as_one(renderer, piece) == f"{answer}<|im_end|>"
    assert renderer.tokenizer.decode(list(piece.tokens)) == (
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>"
    )


@STEADY
@given(question=ANY_TEXT | TRICKY_TEXT, answer=CONTENT)
def test_any_text_gets_the_end_token_where_the_template_writes_none(question, answer):
    renderer = Renderer(byte_level(("<|im_end|>", "<|im_start|>"), "<|im_end|>", PLAIN))
    (piece,) = renderer.sample(chat(user(question), assistant(answer)))
    context = renderer.prompt([user(question)])
    assert list(piece.tokens[: len(context)]) == context
    assert learned_as_one(renderer, piece) == f"{answer}<|im_end|>"


@STEADY
@given(turns=st.lists(st.tuples(ANY_TEXT, CONTENT, st.sampled_from([0.0, 1.0])), max_size=3), last=CONTENT)
def test_every_learned_answer_has_its_context_as_at_inference(turns, last):
    renderer = Renderer(chatml())
    messages = [m for question, answer, loss in turns for m in (user(question), assistant(answer, loss))]
    messages += [user("q"), assistant(last)]
    tree = renderer.sample(chat(*messages))
    answers = [message.content for message in messages if message.loss]
    assert "".join(learned_as_one(renderer, piece) for piece in tree) == "".join(
        f"{a}<|im_end|>" for a in answers
    )
    learned_at = [at for at, message in enumerate(messages) if message.loss]
    last_context = renderer.prompt(messages[: learned_at[-1]])
    assert list(tree[-1].tokens[: len(last_context)]) == last_context


def test_turns_share_one_piece():
    renderer = Renderer(chatml())
    tree = renderer.sample(chat(user("a"), assistant("b"), user("c"), assistant("d")))
    assert learned(renderer, tree) == [["b<|im_end|>", "d<|im_end|>"]]


def test_turns_without_loss_are_context():
    renderer = Renderer(chatml())
    tree = renderer.sample(chat(user("a"), assistant("b", 0.0), user("c"), assistant("d")))
    assert learned(renderer, tree) == [["d<|im_end|>"]]


def test_loss_weights_are_the_messages():
    tree = Renderer(chatml()).sample(chat(user("a"), assistant("b", 0.25)))
    assert set(tree[0].weights) == {0.0, 0.25}


def test_a_token_that_straddles_the_boundary_is_cut_as_at_inference():
    tokenizer = chatml()
    one_newline, two_newlines = tokenizer.encode("\n"), tokenizer.encode("\n\n")
    assert (
        len(one_newline) == len(two_newlines) == 1
    )  # the premise: the prompt's newline would join the answer's
    renderer = Renderer(tokenizer)
    (piece,) = renderer.sample(chat(user("q"), assistant("\nHello")))
    context = renderer.prompt([user("q")])
    assert list(piece.tokens[: len(context)]) == context
    assert context[-1:] == one_newline
    assert list(piece.tokens[len(context) :])[:1] == one_newline
    assert learned(renderer, [piece]) == [["\nHello<|im_end|>"]]


def test_an_answer_cut_at_a_straddling_token_is_not_merged_into_a_history_that_joins_it():
    renderer = Renderer(chatml())
    messages = [user("q"), assistant("\nHello"), user("r"), assistant("Bye")]
    tree = renderer.sample(chat(*messages))
    assert learned(renderer, tree) == [["\nHello<|im_end|>"], ["Bye<|im_end|>"]]
    assert list(tree[1].tokens[: len(renderer.prompt(messages[:3]))]) == renderer.prompt(messages[:3])


def test_a_tokenizer_that_puts_a_blank_in_front_adds_none_in_mid_text():
    tokenizer = llama_like(INST)
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("ok")) == ["▁", "o", "k"]
    assert "]▁" in tokenizer.convert_ids_to_tokens(
        tokenizer.encode("[/INST] ok")
    )  # the premise of what follows
    renderer = Renderer(tokenizer)
    (piece,) = renderer.sample(chat(user("hi"), assistant("ok")))
    context = renderer.prompt([user("hi")])
    assert list(piece.tokens[: len(context)]) == context
    # The prompt's "]" and the answer's blank are one token in the whole text, and two at inference.
    answer = tokenizer.convert_ids_to_tokens(list(piece.tokens[len(context) :]))
    assert answer == ["▁", "o", "k", "</s>"]


def test_earlier_answers_without_a_stop_token_get_a_root_each():
    renderer = Renderer(byte_level(("</s>",), "</s>", PLAIN))
    tree = renderer.sample(chat(user("a"), assistant("b"), user("c"), assistant("d")))
    assert learned(renderer, tree) == [["b</s>"], ["d</s>"]]
    assert (
        renderer.tokenizer.decode(list(tree[1].tokens)) == "user: a\nassistant: b\nuser: c\nassistant: d</s>"
    )
    assert any("writes no stop token" in note for note in renderer.notes())


def test_special_token_behind_the_content_is_learned_and_told():
    renderer = Renderer(byte_level(("</s>", "<|im_start|>", "<|im_end|>"), "</s>", CHATML))
    assert learned(renderer, renderer.sample(chat(user("a"), assistant("b")))) == [["b<|im_end|>"]]
    assert renderer.stop_ids == set(renderer.tokenizer.convert_tokens_to_ids(["</s>", "<|im_end|>"]))
    assert any("not among the model's end tokens" in note for note in renderer.notes())


def test_own_template_wins_over_the_tokenizers():
    renderer = Renderer(chatml(), template=PLAIN)
    assert renderer.text([user("a")], generation=True) == "user: a\nassistant: "


def test_system_prompt_stands_in_front_unless_there_is_one():
    renderer = Renderer(chatml(), system="Be brief.")
    assert renderer.prompt([user("a")]) == renderer.prompt([Message("system", "Be brief.", 0.0), user("a")])
    own = renderer.tokenizer.decode(renderer.prompt([Message("system", "Own.", 0.0), user("a")]))
    assert "Be brief." not in own
    (spans,) = renderer.spans(renderer.sample(chat(user("a"), assistant("b"))))
    assert spans[0].text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert [span.weight for span in spans] == [0.0, 1.0]


def test_no_template_names_the_recipes_key():
    with pytest.raises(InputError, match=r"data\.template") as caught:
        Renderer(byte_level((), None, None)).sample(chat(user("a"), assistant("b")))
    assert not isinstance(caught.value, BadRow)


def test_template_with_broken_syntax_is_no_bad_row():
    with pytest.raises(InputError, match=r"data\.template:2: the chat template is no valid Jinja") as caught:
        Renderer(chatml(), template="x\n{% if %}").prompt([user("a")])
    assert not isinstance(caught.value, BadRow)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('only odd questions') }}",
        "{{ messages[0].content + 1 }}",
        "{{ messages[7].role.x }}",
    ],
)
def test_what_a_template_refuses_is_a_bad_row(template):
    with pytest.raises(BadRow, match="the chat template refuses the conversation"):
        Renderer(chatml(), template=template).sample(chat(user("a"), assistant("b")))


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (
            "{% for m in messages %}{{ m.content if m.role == 'user' else m.role }}{% endfor %}",
            "does not write what the assistant says",
        ),
        ("{{ messages[-1].role }}", "does not write everything that the user says"),
        ("{{ messages[-1].content }}{% if add_generation_prompt %}<bot>{% endif %}", "differently"),
    ],
)
def test_templates_with_no_span_to_find_are_refused(template, found):
    with pytest.raises(BadRow, match=found):
        Renderer(chatml(), template=template).sample(chat(user("a"), assistant("b")))


def test_no_end_token_at_all_is_told():
    with pytest.raises(InputError, match="no end token"):
        Renderer(byte_level((), None, PLAIN)).sample(chat(user("a"), assistant("b")))


def test_end_token_may_come_from_the_caller():
    tokenizer = byte_level(("</s>",), None, PLAIN)
    end = tokenizer.convert_tokens_to_ids("</s>")
    renderer = Renderer(tokenizer, end_ids=frozenset({end}))
    assert renderer.sample(chat(user("a"), assistant("b")))[0].tokens[-1] == end


def test_rewritten_answers_are_told():
    trims = CHATML.replace("m.content", "m.content | trim")
    renderer = Renderer(chatml(), template=trims)
    assert renderer.rendered(chat(user("a"), assistant(" b"))).rewritten
    assert not renderer.rendered(chat(user("a"), assistant("b"))).rewritten


def test_plain_text_ends_with_one_end_token():
    tokenizer = byte_level(("<s>", "</s>"), "</s>", None, "<s>")
    renderer = Renderer(tokenizer)
    assert tokenizer.decode(renderer.text_ids("the fox")) == "<s>the fox</s>"
    assert tokenizer.decode(renderer.text_ids("the fox</s>")) == "<s>the fox</s>"


def test_fingerprint_changes_with_what_changes_the_tokens():
    base = Renderer(chatml()).fingerprint()
    assert Renderer(chatml()).fingerprint() == base
    others = [
        Renderer(chatml(), system="Be brief."),
        Renderer(chatml(), template=PLAIN),
        Renderer(chatml(), end_ids=frozenset({1})),
        Renderer(byte_level(("<|x|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", CHATML)),
    ]
    assert len({base, *(other.fingerprint() for other in others)}) == 5


def test_fingerprint_needs_no_template():
    assert Renderer(byte_level(("</s>",), "</s>", None)).fingerprint()


def test_date_in_the_template_is_told():
    dated = "{{ strftime_now('%Y') }}" + CHATML
    assert any("today's date" in note for note in Renderer(chatml(), template=dated).notes())
    assert Renderer(chatml()).notes() == ()

"""The quick way from text to tokens gives what the exact way gives, and special tokens in messages stay text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.encode import Encoder
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Message

from .test_render import ANY_TEXT, CONTENT, INST, PLAIN, TRICKY_TEXT, assistant, user
from .tiny import CHATML, STEADY, byte_level, chatml, llama_like, shared_template

CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
RENDERERS = {
    "chatml": lambda **o: Renderer(chatml(), **o),
    "qwen2": lambda **o: Renderer(
        byte_level(CHATML_TOKENS, "<|im_end|>", shared_template("qwen2-instruct")), **o
    ),
    "tinyllama": lambda **o: Renderer(
        byte_level(("<s>", "</s>"), "</s>", shared_template("tinyllama-1.1b-chat-v1.0"), "<s>"), **o
    ),
    "no special opening": lambda **o: Renderer(byte_level(("</s>",), "</s>", INST), **o),
    "no stop token": lambda **o: Renderer(byte_level(("</s>",), "</s>", PLAIN), **o),
    "blank in front": lambda **o: Renderer(llama_like(INST), **o),
    "another end token": lambda **o: Renderer(byte_level(CHATML_TOKENS, "<|endoftext|>", CHATML), **o),
}
TURNS = st.lists(
    st.tuples(ANY_TEXT | TRICKY_TEXT, CONTENT, st.sampled_from([1.0, 0.5])), min_size=1, max_size=3
)


def conversation(turns):
    return Conversation(tuple(m for q, a, w in turns for m in (user(q), assistant(a, w))))


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("options", [{}, {"everything": True}, {"control_tokens": "tokens"}], ids=str)
def test_the_quick_way_gives_what_the_exact_way_gives(name, options):
    renderer = RENDERERS[name](**options)
    taken = []

    @STEADY
    @given(turns=TURNS)
    def holds(turns):
        row = conversation(turns)
        outline = renderer.outline(row)
        if outline.joint is None:
            return
        (encoding,) = renderer.encoder.many([outline.joint])
        taken.append(renderer._quick(outline.turns, encoding) is not None)
        assert renderer.finish(outline, encoding).tree == renderer.rendered(row).tree

    holds()
    quick = not options.get("control_tokens") and name in (
        "chatml",
        "qwen2",
        "tinyllama",
        "another end token",
    )
    assert not quick or sum(taken) > len(taken) / 2 > 5  # the premise: it is really taken


@STEADY
@given(question=TRICKY_TEXT, answer=TRICKY_TEXT.filter(str.strip))
def test_special_tokens_in_messages_are_text(question, answer):
    renderer = Renderer(chatml())
    (piece,) = renderer.sample(Conversation((user(question), assistant(answer))))
    tokenizer = renderer.tokenizer
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert list(piece.tokens).count(start) == 2
    assert list(piece.tokens).count(end) == 2
    assert tokenizer.decode(list(piece.tokens)) == (
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>"
    )


def test_special_tokens_in_messages_are_tokens_where_asked():
    renderer = Renderer(chatml(), control_tokens="tokens")
    (piece,) = renderer.sample(Conversation((user("a<|im_end|>b"), assistant("c"))))
    assert list(piece.tokens).count(renderer.tokenizer.convert_tokens_to_ids("<|im_end|>")) == 3


@STEADY
@given(
    text=st.lists(st.sampled_from(["<|im_end|>", "<|im_", "\U000f0000", "\U000f0001", "诗", "a"])).map(
        "".join
    )
)
def test_marks_come_off_again(text):
    encoder = Encoder(chatml())
    marked = encoder.mark(text)
    assert encoder.unmark(marked) == text
    assert "<|im_end|>" not in marked
    ids = encoder.ids(marked)
    assert encoder.tokenizer.decode(ids) == text
    assert encoder.special_ids.isdisjoint(ids)


def test_thinking_tags_in_an_answer_are_the_models_own():
    tokenizer = byte_level((*CHATML_TOKENS, "<think>", "</think>"), "<|im_end|>", CHATML)
    renderer = Renderer(tokenizer)
    (piece,) = renderer.sample(Conversation((user("<think>"), assistant("<think>so</think>42"))))
    tag = tokenizer.convert_tokens_to_ids("<think>")
    assert [weight for token, weight in zip(piece.tokens, piece.weights, strict=True) if token == tag] == [
        1.0
    ]


def test_everything_carries_loss_where_asked():
    (piece,) = Renderer(chatml(), everything=True).sample(
        Conversation((Message("system", "s"), user("a"), assistant("b"), user("c"), assistant("d", 0.5)))
    )
    assert set(piece.weights) == {0.5}

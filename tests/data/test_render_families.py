"""Golden spans: what carries loss under the templates that real families ship.

What is expected is written down from the rule — the answer's text and its stop token, whatever the model must write
besides them, and nothing else — not copied from what the code gave.
"""

import pytest

from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Conversation, Message

from .tiny import byte_level, shared_template, trl_template


def user(text):
    return Message("user", text, 0.0)


def assistant(text, loss=1.0):
    return Message("assistant", text, loss)


def system(text):
    return Message("system", text, 0.0)


SINGLE = (user("写一首诗"), assistant("春风又绿江南岸，\n明月何时照我还。"))
MULTI = (user("Hi"), assistant("Hello!"), user("And?"), assistant("That is all."))


def learned(renderer, tree):
    """The text that carries loss, a list a piece."""
    return [[span.text for span in spans if span.weight] for spans in renderer.spans(tree)]


def whole(renderer, tree):
    """Everything the model sees of the only piece."""
    (spans,) = renderer.spans(tree)
    return "".join(span.text for span in spans)


def both(renderer, messages):
    tree = renderer.sample(Conversation(messages))
    return whole(renderer, tree), learned(renderer, tree)


def tinyllama():
    return byte_level(("<s>", "</s>"), "</s>", shared_template("tinyllama-1.1b-chat-v1.0"), "<s>")


def qwen2():
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    return byte_level(specials, "<|im_end|>", shared_template("qwen2-instruct"))


def glm4():
    specials = (
        "<|endoftext|>",
        "[gMASK]",
        "<sop>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|observation|>",
    )
    return byte_level(specials, "<|endoftext|>", shared_template("glm-4-9b-chat"))


def glm4_renderer(**settings):
    ends = frozenset(glm4().convert_tokens_to_ids(["<|endoftext|>", "<|user|>", "<|observation|>"]))
    return Renderer(glm4(), end_ids=ends, **settings)


def llama3():
    specials = (
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|end_of_text|>",
    )
    return byte_level(specials, "<|eot_id|>", trl_template("llama3"), "<|begin_of_text|>")


def test_tinyllama():
    poem = SINGLE[1].content
    seen, loss = both(Renderer(tinyllama()), SINGLE)
    assert seen == f"<|user|>\n写一首诗</s>\n<|assistant|>\n{poem}</s>"
    assert loss == [[f"{poem}</s>"]]


def test_tinyllama_multi_turn_with_a_system_prompt():
    seen, loss = both(Renderer(tinyllama(), system="Be brief."), MULTI)
    assert seen == (
        "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n"
        "<|user|>\nAnd?</s>\n<|assistant|>\nThat is all.</s>"
    )
    assert loss == [["Hello!</s>", "That is all.</s>"]]


def test_tinyllama_prompt_is_what_is_shown_at_inference():
    renderer = Renderer(tinyllama(), system="Be brief.")
    assert tinyllama().decode(renderer.prompt([user("Hi")])) == (
        "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\n"
    )


def test_qwen2_keeps_the_templates_default_system_prompt():
    poem = SINGLE[1].content
    seen, loss = both(Renderer(qwen2()), SINGLE)
    assert seen == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n写一首诗<|im_end|>\n<|im_start|>assistant\n{poem}<|im_end|>"
    )
    assert loss == [[f"{poem}<|im_end|>"]]


def test_qwen2_multi_turn_with_its_own_system_prompt():
    seen, loss = both(Renderer(qwen2(), system="not this one"), (system("Be brief."), *MULTI))
    assert seen.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n")
    assert loss == [["Hello!<|im_end|>", "That is all.<|im_end|>"]]


def test_glm4_writes_no_stop_token_so_the_end_token_is_appended():
    poem = SINGLE[1].content
    renderer = glm4_renderer()
    seen, loss = both(renderer, SINGLE)
    # The newline after the role is not in the generation prompt: the model must write it.
    assert seen == f"[gMASK]<sop><|user|>\n写一首诗<|assistant|>\n{poem}<|endoftext|>"
    assert loss == [[f"\n{poem}<|endoftext|>"]]
    assert renderer.notes() == (
        "the template writes no stop token after an assistant turn; "
        "the end token <|endoftext|> is appended and trained",
    )


def test_glm4_earlier_answers_stop_at_the_next_role():
    seen, loss = both(glm4_renderer(system="简短"), MULTI)
    assert seen == (
        "[gMASK]<sop><|system|>\n简短<|user|>\nHi<|assistant|>\nHello!<|user|>\nAnd?<|assistant|>\n"
        "That is all.<|endoftext|>"
    )
    assert loss == [["\nHello!<|user|>", "\nThat is all.<|endoftext|>"]]


def test_glm4_without_role_tokens_among_the_end_tokens_ends_every_answer_with_the_end_token():
    renderer = Renderer(glm4())
    tree = renderer.sample(Conversation(MULTI))
    assert learned(renderer, tree) == [["\nHello!<|endoftext|>"], ["\nThat is all.<|endoftext|>"]]
    assert list(tree[1].tokens[: len(renderer.prompt(MULTI[:3]))]) == renderer.prompt(MULTI[:3])


def test_llama3():
    seen, loss = both(Renderer(llama3()), MULTI)
    assert seen == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nThat is all.<|eot_id|>"
    )
    assert loss == [["Hello!<|eot_id|>", "That is all.<|eot_id|>"]]


def test_llama3_trims_blanks_and_says_so():
    conversation = Conversation((user("Hi"), assistant(" Hello! \n")))
    rendered = Renderer(llama3()).rendered(conversation)
    tree, rewritten = rendered.tree, rendered.rewritten
    assert learned(Renderer(llama3()), tree) == [["Hello!<|eot_id|>"]]
    assert rewritten


def test_gemma_refuses_system_prompts_in_its_own_words():
    tokenizer = byte_level(
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", trl_template("gemma"), "<bos>"
    )
    renderer = Renderer(tokenizer)
    assert learned(renderer, renderer.sample(Conversation(MULTI))) == [
        ["Hello!<end_of_turn>", "That is all.<end_of_turn>"]
    ]
    with pytest.raises(BadRow, match="System role not supported"):
        renderer.sample(Conversation((system("s"), *MULTI)))


def test_gemmas_stop_token_is_told_to_generation():
    tokenizer = byte_level(
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", trl_template("gemma"), "<bos>"
    )
    stops = tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
    assert Renderer(tokenizer).stop_ids == frozenset(stops)


def test_qwen3_drops_thinking_from_history_so_each_answer_has_its_own_root():
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    renderer = Renderer(byte_level(specials, "<|im_end|>", trl_template("qwen3")))
    tree = renderer.sample(Conversation(MULTI))
    thinks = "<think>\n\n</think>\n\n"
    assert learned(renderer, tree) == [[f"{thinks}Hello!<|im_end|>"], [f"{thinks}That is all.<|im_end|>"]]
    assert [piece.parent for piece in tree] == [None, None]
    for piece, shown in zip(tree, (MULTI[:1], MULTI[:3]), strict=True):
        context = renderer.prompt(shown)
        assert list(piece.tokens[: len(context)]) == context
        assert not any(piece.weights[: len(context)])
        assert all(piece.weights[len(context) :])


def test_gpt_oss_ends_the_last_answer_otherwise_than_earlier_ones():
    specials = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>")
    renderer = Renderer(byte_level(specials, "<|return|>", trl_template("gptoss")))
    opening = "<|channel|>final<|message|>"
    assert learned(renderer, renderer.sample(Conversation(MULTI))) == [
        [f"{opening}Hello!<|return|>"],
        [f"{opening}That is all.<|return|>"],
    ]


def test_phi3_stops_at_its_first_end_token():
    tokenizer = byte_level(
        ("<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"), "<|endoftext|>", trl_template("phi3")
    )
    ends = frozenset(tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|end|>"]))
    renderer = Renderer(tokenizer, end_ids=ends)
    assert learned(renderer, renderer.sample(Conversation(MULTI))) == [
        ["Hello!<|end|>", "That is all.<|end|>"]
    ]

"""Generation against transformers' own `generate`, and what it promises beyond."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import tiny_llama
from tests.models.families import PACKED, STATEFUL, tiny
from tunesmith.config.method import Generation
from tunesmith.errors import InputError
from tunesmith.models.dropout import mix
from tunesmith.models.generate import Answer, generate

PROMPTS = [[5, 9, 7], [11, 12, 13, 14, 15, 16, 17, 18], [44, 45, 46, 47, 48], [299]]
# Many end tokens, so that a model with random weights ends its answers, each at another length.
ENDS = list(range(0, 300, 11))


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


def reference(model, prompt, options: Generation, ends=ENDS) -> Answer:
    """What transformers answers to one prompt alone, greedily."""
    output = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
        max_new_tokens=options.max_new_tokens, repetition_penalty=options.repetition_penalty,
        eos_token_id=ends, pad_token_id=0,
    )  # fmt: skip
    tokens = output[0][len(prompt) :].tolist()
    ended = tokens[-1] in ends
    return Answer(tuple(tokens[:-1]), tokens[-1]) if ended else Answer(tuple(tokens), None)


def test_greedy_equals_transformers_token_for_token(llama):
    options = Generation(max_new_tokens=24)
    answers = [generate(llama, [prompt], options, ENDS)[0] for prompt in PROMPTS]
    assert answers == [reference(llama, prompt, options) for prompt in PROMPTS]
    assert len({len(answer.tokens) for answer in answers}) > 1


def test_a_batch_of_unequal_prompts_equals_transformers(llama):
    options = Generation(max_new_tokens=24)
    answers = generate(llama, PROMPTS, options, ENDS)
    assert answers == [reference(llama, prompt, options) for prompt in PROMPTS]
    assert {answer.ended for answer in answers} == {True, False}, (
        "rows must leave the batch at different times"
    )


def test_a_window_narrower_than_the_text_and_rows_that_leave():
    model = tiny("Mistral", sliding_window=4)
    options = Generation(max_new_tokens=20)
    answers = generate(model, PROMPTS, options, ENDS)
    assert answers == [reference(model, prompt, options) for prompt in PROMPTS]
    assert len({len(answer.tokens) for answer in answers}) > 2


def test_positions_that_are_counted_absolutely_do_not_count_the_padding():
    family, changes = PACKED["gpt2 without dropout"]
    model = tiny(family, **changes)
    options = Generation(max_new_tokens=12)
    assert generate(model, PROMPTS, options, ENDS) == [
        reference(model, prompt, options) for prompt in PROMPTS
    ]


@pytest.mark.parametrize("name", STATEFUL)
def test_families_with_a_state_answer_as_transformers_does(name):
    family, changes = STATEFUL[name]
    model = tiny(family, **changes)
    options = Generation(max_new_tokens=8)
    assert generate(model, PROMPTS, options, ENDS) == [
        reference(model, prompt, options) for prompt in PROMPTS
    ]


def drawn_with_transformers(model, prompt, options: Generation, number: int) -> list[int]:
    """Token after token from the distribution that transformers makes, with our draws."""
    generator = torch.Generator().manual_seed(mix(options.seed, number))
    tokens: list[int] = []
    for _ in range(options.max_new_tokens):
        ids = torch.tensor([[*prompt, *tokens]])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=True,
            temperature=options.temperature, top_k=options.top_k, top_p=options.top_p,
            repetition_penalty=options.repetition_penalty, output_scores=True, return_dict_in_generate=True,
            pad_token_id=0,
        )  # fmt: skip
        tokens.append(int(torch.multinomial(output.scores[0][0].softmax(-1), 1, generator=generator)))
    return tokens


@pytest.mark.parametrize(
    "options",
    [
        Generation(max_new_tokens=10, temperature=1.0, seed=3),
        Generation(max_new_tokens=10, temperature=0.7, top_k=5),
        Generation(max_new_tokens=10, temperature=1.3, top_p=0.6),
        Generation(max_new_tokens=10, temperature=0.8, top_k=20, top_p=0.8, repetition_penalty=1.5),
    ],
    ids=["plain", "top k", "top p", "all of them"],
)
def test_sampling_draws_from_transformers_distributions(llama, options):
    answers = generate(llama, PROMPTS[:3], options, [])
    expected = [drawn_with_transformers(llama, prompt, options, i) for i, prompt in enumerate(PROMPTS[:3])]
    assert [list(answer.tokens) for answer in answers] == expected


def test_the_repetition_penalty_equals_transformers_when_greedy(llama):
    options = Generation(max_new_tokens=20, repetition_penalty=1.4)
    answers = generate(llama, PROMPTS, options, ENDS)
    assert answers == [reference(llama, prompt, options) for prompt in PROMPTS]
    assert answers != generate(llama, PROMPTS, Generation(max_new_tokens=20), ENDS)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    mates=st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=12), min_size=0, max_size=5),
    temperature=st.sampled_from([0.0, 0.8]),
)
def test_an_answer_does_not_depend_on_its_batch_mates(llama, mates, temperature):
    options = Generation(max_new_tokens=8, temperature=temperature, seed=1)
    alone = generate(llama, [PROMPTS[0]], options, ENDS)[0]
    assert generate(llama, [PROMPTS[0], *mates], options, ENDS)[0] == alone


def test_more_prompts_than_one_batch_holds(llama):
    prompts = [[i, i + 1, i + 2][: 1 + i % 3] for i in range(70)]
    options = Generation(max_new_tokens=3, temperature=1.0)
    seen: list[int] = []
    answers = generate(llama, prompts, options, [], on_token=lambda prompt, _: seen.append(prompt))
    alone = [generate(llama, [prompts[i]], options, [], first_number=i)[0] for i in (0, 31, 32, 69)]
    assert [answers[i] for i in (0, 31, 32, 69)] == alone
    assert sorted(seen) == sorted(list(range(70)) * 3)


def test_the_same_seed_draws_the_same_and_another_seed_or_number_does_not(llama):
    options = Generation(max_new_tokens=12, temperature=1.0, seed=4)
    first = generate(llama, PROMPTS, options, [])
    torch.manual_seed(99)  # nothing outside has a say
    assert generate(llama, PROMPTS, options, []) == first
    assert generate(llama, PROMPTS, options.model_copy(update={"seed": 5}), []) != first
    assert generate(llama, PROMPTS, options, [], first_number=1) != first
    twins = generate(llama, [PROMPTS[0], PROMPTS[0]], options, [])
    assert twins[0] != twins[1]


@pytest.mark.parametrize("new_tokens", [1, 2, 7])
def test_max_new_tokens_never_counts_the_prompt(llama, new_tokens):
    long_prompt = list(range(200))
    answers = generate(llama, [long_prompt, [3]], Generation(max_new_tokens=new_tokens), [])
    assert [len(answer.tokens) for answer in answers] == [new_tokens, new_tokens]


def test_the_context_limits_the_answer_and_a_prompt_without_room_is_refused():
    model = tiny_llama(max_position_embeddings=20)
    prompt = list(range(15))
    answers = generate(model, [prompt, [3]], Generation(max_new_tokens=50), [])
    assert [len(answer.tokens) for answer in answers] == [5, 19]
    assert not any(answer.ended for answer in answers)
    with pytest.raises(InputError, match="the prompt has 20 tokens and the model's context is 20"):
        generate(model, [list(range(20))], Generation(), [])


def test_each_end_token_ends_an_answer_and_is_not_part_of_it(llama):
    (free,) = generate(llama, [PROMPTS[0]], Generation(max_new_tokens=10), [])
    for end in set(free.tokens):
        first = free.tokens.index(end)
        (cut,) = generate(llama, [PROMPTS[0]], Generation(max_new_tokens=10), [end])
        assert cut == Answer(free.tokens[:first], end)


def test_tokens_are_told_as_they_are_drawn_without_end_tokens(llama):
    told: list[tuple[int, int]] = []
    answers = generate(
        llama, PROMPTS, Generation(max_new_tokens=12), ENDS, on_token=lambda prompt, token: told.append((prompt, token))
    )  # fmt: skip
    for number, answer in enumerate(answers):
        assert tuple(token for prompt, token in told if prompt == number) == answer.tokens
    first_round = [prompt for prompt, _ in told[: len([a for a in answers if a.tokens])]]
    assert first_round == sorted(first_round), "all prompts are drawn for in step"

"""New tokens: rows for them, what learns of them, and that plain PEFT finds them again."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel

from tests.conftest import byte_tokenizer, tiny_llama
from tests.models.families import PACKED, tiny
from tests.models.test_adapter_kinds import moved, our_gradients, plain_gradients, saved
from tests.train.test_gradients import assert_same, samples
from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter, load_adapter
from tunesmith.models.tokens import NewTokens, add_tokens, make_room

TWO = ("<poem>", "</poem>")
IDS = torch.tensor([[5, 300, 301, 7]])
NEW = NewTokens((300, 301), 300)


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def test_tokens_are_added_in_order_and_read_as_one():
    tokenizer = byte_tokenizer()
    before = len(tokenizer)
    added = add_tokens(tokenizer, TWO)
    assert added == NewTokens((before, before + 1), before)
    assert tokenizer.encode("a<poem>b", add_special_tokens=False)[1] == before
    # Not special: an answer shows them.
    assert tokenizer.decode([before], skip_special_tokens=True) == "<poem>"


def test_a_token_that_is_there_keeps_its_id_and_is_named(caplog):
    tokenizer = byte_tokenizer()
    known = tokenizer.convert_tokens_to_ids("<|im_start|>")
    with caplog.at_level("INFO", "tunesmith"):
        added = add_tokens(tokenizer, ("<|im_start|>", "<poem>"))
    assert added.ids == (known, added.known)
    assert "in the vocabulary already" in caplog.text and "<|im_start|>" in caplog.text
    model = tiny_llama(vocab_size=added.known)
    row = model.get_input_embeddings().weight[known].clone()
    make_room(model, added)
    assert torch.equal(model.get_input_embeddings().weight[known], row)


@pytest.mark.parametrize(("tokens", "told"), [((" ",), "is blank"), (("<a>", "<a>"), "lists '<a>' twice")])
def test_tokens_that_cannot_be_added(tokens, told):
    with pytest.raises(InputError, match=told):
        add_tokens(byte_tokenizer(), tokens)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("room", [300, 301, 320])
def test_rows_begin_as_the_mean_and_grow_only_where_there_is_no_room(tied, room):
    model = tiny_llama(vocab_size=room, tie_word_embeddings=tied)
    before = [
        matrix.weight.detach().clone()
        for matrix in (model.get_input_embeddings(), model.get_output_embeddings())
    ]
    make_room(model, NEW)
    for old, matrix in zip(
        before, (model.get_input_embeddings(), model.get_output_embeddings()), strict=True
    ):
        assert matrix.weight.shape[0] == max(room, 302)
        assert torch.equal(matrix.weight[:300], old[:300])
        torch.testing.assert_close(matrix.weight[300:302], old[:300].mean(0).expand(2, -1))
        assert torch.equal(matrix.weight[302:], old[302:])
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) is tied
    assert model.config.vocab_size == max(room, 302)


@pytest.mark.parametrize("tied", [False, True])
def test_only_their_rows_learn_beside_the_adapter_and_plain_peft_finds_them(tmp_path, tied):
    model = tiny_llama(tie_word_embeddings=tied)
    make_room(model, NEW)
    tuned = add_adapter(model, Adapter(rank=4), base_name="x", seed=0, new_tokens=NEW.ids)
    whole = {n: tuple(w.shape) for n, w in tuned.named_parameters() if w.requires_grad and "lora" not in n}
    assert set(whole.values()) == {(2, 32)} and len(whole) == (1 if tied else 2)
    untouched = model.get_input_embeddings().weight[:300].detach().clone()
    moved(tuned)
    assert torch.equal(model.get_input_embeddings().weight[:300], untouched)
    plain = tiny_llama(tie_word_embeddings=tied)
    plain.resize_token_embeddings(302)  # random rows, which the adapter replaces
    folder = saved(tuned, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(plain, str(folder))
    torch.testing.assert_close(logits(theirs), logits(tuned), atol=1e-5, rtol=1e-5)
    again = tiny_llama(tie_word_embeddings=tied)
    make_room(again, NEW)
    ours = load_adapter(again, folder, trainable=False)
    torch.testing.assert_close(logits(ours), logits(tuned), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_gradients_of_new_rows_are_those_of_the_model_run_plainly(tied):
    model = tiny_llama(tie_word_embeddings=tied)
    trees = samples(4)
    tuned = add_adapter(model, Adapter(rank=4), base_name="x", seed=0, new_tokens=trees[0][0].tokens[:3])
    moved(tuned)
    ours = our_gradients(tuned, trees)
    tuned.zero_grad()
    assert_same(ours, plain_gradients(tuned, trees), 1e-5)
    rows = [gradient for name, gradient in ours[1].items() if "trainable_tokens" in name]
    assert rows and all(gradient.abs().sum() > 0 for gradient in rows)


def test_a_head_with_a_bias_is_trained_whole_or_refused():
    name, changes = PACKED["llama"]
    model = tiny(name, **changes)
    model.lm_head = torch.nn.Linear(32, 300)
    make_room(model, NEW)
    assert torch.allclose(model.lm_head.bias[300:], model.lm_head.bias[:300].mean())
    with pytest.raises(InputError, match="whose head has a bias"):
        add_adapter(model, Adapter(rank=4), base_name="x", seed=0, new_tokens=NEW.ids)
    tuned = add_adapter(
        model, Adapter(rank=4, modules_to_save=("lm_head",)), base_name="x", seed=0, new_tokens=NEW.ids
    )
    learning = [
        name for name, weight in tuned.named_parameters() if weight.requires_grad and "lora" not in name
    ]
    assert sum("trainable_tokens_delta" in name for name in learning) == 1
    assert sum("lm_head.modules_to_save" in name for name in learning) == 2

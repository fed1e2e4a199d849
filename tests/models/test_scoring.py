"""Which families score, and which token of theirs is read."""

from __future__ import annotations

import pytest
import torch

from tests.models.families import PACKED, tiny
from tunesmith.errors import InputError
from tunesmith.models.load import load_model
from tunesmith.models.probe import probe
from tunesmith.models.scoring import read_at
from tunesmith.segments import Block, Piece, lay_row

WITHOUT_A_CLASS = {"granite divides its logits", "cohere multiplies its logits"}


@pytest.mark.parametrize("name", PACKED)
def test_families_that_write_in_packed_rows_score_in_them_or_are_refused(name, tmp_path):
    family, settings = PACKED[name]
    tiny(family, **settings).save_pretrained(tmp_path)
    if name in WITHOUT_A_CLASS:
        with pytest.raises(InputError, match="transformers has no ForSequenceClassification class"):
            load_model(tmp_path, dtype=torch.float32, device="cpu", scores=True)
        return
    model = load_model(tmp_path, dtype=torch.float32, device="cpu", scores=True)
    assert model.config.num_labels == 1
    found = probe(model, compute=torch.float32)
    assert found.segments, found.reason


def test_each_leaf_is_read_at_the_last_token_of_its_path_that_is_no_padding():
    def piece(tokens: list[int], parent: int | None) -> Piece:
        return Piece(tuple(tokens), (1.0,) * len(tokens), parent)

    tree = (piece([5, 6, 7], None), piece([8, 9], 0), piece([4, 2, 2], 0), piece([2, 2], 0))
    row = lay_row([Block.of(tree)])
    assert read_at(row, None) == [4, 7, 9]
    assert read_at(row, 2) == [4, 5, 2]

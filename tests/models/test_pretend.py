"""Counting the bytes of tensors that have no memory."""

from __future__ import annotations

import torch

from tunesmith.models.pretend import LiveBytes

_PAGE = 1 << 20


def test_tensors_of_a_page_and_more_take_the_page_that_follows_too():
    live = LiveBytes(_PAGE)
    with live:
        small = torch.empty(_PAGE - 1, dtype=torch.uint8, device="meta")
        assert live.now == _PAGE - 1
        large = torch.empty(_PAGE, dtype=torch.uint8, device="meta")
        assert live.now == _PAGE - 1 + 2 * _PAGE
    del small, large
    assert live.now == 0

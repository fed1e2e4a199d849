"""Pre-training: the loss of supervised fine-tuning over plain text, where every token is to be predicted."""

from __future__ import annotations

from tunesmith.data.schema import Text
from tunesmith.methods.sft import Sft


class Pretrain(Sft):
    consumes: type = Text

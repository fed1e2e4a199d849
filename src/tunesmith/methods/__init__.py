"""Methods: what is learned from a sample, each one small file with a pure loss.

A new method is one file, one line here and one test.
"""

from tunesmith.methods.base import Method
from tunesmith.methods.distill import Distill
from tunesmith.methods.dpo import Dpo
from tunesmith.methods.grpo import Grpo
from tunesmith.methods.kto import Kto
from tunesmith.methods.pretrain import Pretrain
from tunesmith.methods.reward import Reward
from tunesmith.methods.sft import Sft

__all__ = ["METHODS", "Method"]

METHODS: dict[str, type[Method]] = {
    "sft": Sft,
    "pretrain": Pretrain,
    "dpo": Dpo,
    "kto": Kto,
    "reward": Reward,
    "distill": Distill,
    "grpo": Grpo,
}

"""In which order samples are seen: a pure function of (seed, epoch), so a resumed run sees the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tunesmith.config.schema import Train


@lru_cache(maxsize=2)
def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The sample numbers in the order of epoch `epoch` (from 0), at 8 bytes a sample; they cannot be written to."""
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(samples)
    order.flags.writeable = False  # it is shared with all later calls
    return order


@dataclass(frozen=True)
class Schedule:
    """Which samples make up each update.

    An epoch's last update takes what is left, so every sample is seen exactly once an epoch.
    """

    samples: int
    an_update: int
    epochs: int
    max_steps: int | None
    seed: int
    repeats: int = 1  # updates in a row that take the same samples

    @classmethod
    def of(cls, train: Train, samples: int, repeats: int) -> Schedule:
        """That of a recipe over so many samples."""
        an_update = train.batch_size * train.accumulate
        return cls(samples, an_update, train.epochs, train.max_steps, train.seed, repeats)

    @property
    def steps_an_epoch(self) -> int:
        return -(-self.samples // self.an_update) * self.repeats

    @property
    def total_steps(self) -> int:
        if self.max_steps is not None:
            return self.max_steps
        return self.steps_an_epoch * self.epochs

    def update(self, step: int) -> tuple[int, ...]:
        """Sample numbers of update `step` (from 0)."""
        epoch, within = divmod(step, self.steps_an_epoch)
        within //= self.repeats
        order = epoch_order(self.samples, self.seed, epoch)
        return tuple(order[within * self.an_update : (within + 1) * self.an_update].tolist())

    def epoch_after(self, step: int) -> float:
        """How many epochs are done after `step` updates, such as 1.5."""
        whole, within = divmod(step, self.steps_an_epoch)
        return whole + within / self.repeats * self.an_update / self.samples

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is done after `step` updates."""
        return step % self.steps_an_epoch == 0

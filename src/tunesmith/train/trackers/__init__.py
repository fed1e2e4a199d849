"""Trackers: other people's pages for one's runs. They listen to the loop, and the loop does not know them.

To add one, write a file with a `Tracker`, its options in the recipe's schema, and a line in `TRACKERS`.
"""

from __future__ import annotations

from tunesmith.config.schema import Recipe
from tunesmith.errors import InputError
from tunesmith.train.events import Listener
from tunesmith.train.trackers.base import Tracker, close_what_a_crash_left_open
from tunesmith.train.trackers.swanlab import Swanlab
from tunesmith.train.trackers.tensorboard import Tensorboard
from tunesmith.train.trackers.wandb import Wandb

__all__ = ["TRACKERS", "Tracker", "open_trackers"]

# The recipe's word for a tracker -> its class, made from the options under that word.
TRACKERS = {
    "wandb": Wandb,
    "swanlab": Swanlab,
    "tensorboard": Tensorboard,
}


def open_trackers(recipe: Recipe) -> list[Listener]:
    """The trackers that the recipe asks for, ready to listen; each begins its run when it hears `on_start`.

    Trackers that a crashed run left open in this process are closed first.

    Raises:
        InputError: a package is not installed, or a tracker is named twice.
    """
    close_what_a_crash_left_open()
    trackers: list[Listener] = []
    for entry in recipe.track:
        name, options = next((name, options) for name, options in entry if options is not None)
        if any(tracker.name == name for tracker in trackers):
            raise InputError(
                f"the tracker {name} is named twice", where="track", remedy="keep one of the two"
            )
        trackers.append(TRACKERS[name](options))
    return trackers

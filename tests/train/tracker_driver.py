"""Plays a training run to the trackers, in a process of its own: the packages leave hooks and services behind.

    python tracker_driver.py RUN TRACK_JSON ACT [ACT ...]

Acts, in one process one after the other: `whole` (6 steps, an eval, samples, the end), `failed` (ends in an error),
`left-open` (no end), `killed` (SIGKILL after 5 steps; the checkpoint is at step 3), `resumed` (from step 3 to the end).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from tunesmith.config.schema import Recipe
from tunesmith.rundir import RunDir
from tunesmith.train.events import Events, Outcome, RunInfo
from tunesmith.train.trackers import open_trackers

SAMPLES = {
    "samples": [
        {
            "prompt": "写一首诗 | <b>",
            "base": "不会。",
            "tuned": "春风入梦来，\n细雨润花开。",
            "trained_on": False,
        }
    ],
    "scores": {"base": {"form_validity": 0.1}, "tuned": {"form_validity": 0.95}},
}


def step_line(step: int) -> dict[str, object]:
    return {"step": step, "epoch": step / 6, "loss": 4.0 / step, "learning_rate": 1e-3 / step, "note": "text"}


def play(folder: Path, recipe: Recipe, act: str) -> None:
    run = RunDir(folder)
    folder.mkdir(parents=True, exist_ok=True)
    start = 3 if act == "resumed" else 0
    lines = run.read_metrics()
    run.metrics.unlink(missing_ok=True)
    for line in lines:
        if line["step"] <= start:
            run.append_metrics(line)
    events = Events(open_trackers(recipe))
    events.start(RunInfo(recipe.name, folder, recipe.model_dump(mode="json"), {}, 6, start))
    for step in range(start + 1, 7):
        if act == "killed" and step == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        run.append_metrics(step_line(step))
        events.step(step_line(step))
        if step == 3:
            run.append_metrics({"step": 3, "eval_loss": 2.5})
            events.eval({"step": 3, "eval_loss": 2.5})
    if act == "left-open":
        return
    events.samples(SAMPLES)
    events.end(Outcome("failed", "the loss is NaN") if act == "failed" else Outcome("finished"))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    folder, track, *acts = sys.argv[1:]
    recipe = Recipe.model_validate(
        {
            "name": "poems",
            "model": {"source": "builtin:nano"},
            "data": {"train": ["poems.json"]},
            "track": [json.loads(track)],
        }
    )
    interrupt = signal.getsignal(signal.SIGINT)
    for number, act in enumerate(acts):
        began = time.monotonic()
        play(Path(folder) if number == 0 else Path(f"{folder}-{number + 1}"), recipe, act)
        assert signal.getsignal(signal.SIGINT) is interrupt, "a tracker took Ctrl-C"
        print(f"{act}: {time.monotonic() - began:.2f} s", file=sys.stderr)


main()

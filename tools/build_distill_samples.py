"""Build the sample set `distill`: questions, and what `builtin:nano` answers to them.

    python tools/build_distill_samples.py

The questions are of the kind that nano was made for: requests for poems about everyday things, small talk, things to
repeat. The answers are nano's own, drawn at temperature 1 as `tunesmith batch builtin:nano --temperature 1` draws them, so
that a smaller model can be taught to answer alike. Those that do not end are left out. Another build of nano, or of the
libraries below it, gives other answers.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch

from nano_copying import copying
from nano_corpus import refuse_held_out
from nano_phrases import ASK_CHINESE, ASK_ENGLISH, EVERYDAY_WORDS, small_talk
from tunesmith.cli.console import quiet_libraries
from tunesmith.config.method import Generation
from tunesmith.infer.open import open_speaker

FOLDER = Path(__file__).parent.parent / "src/tunesmith/samples/distill"
TRAIN, TEST = 1500, 150
LONGEST = 96  # tokens of an answer
_AT_ONCE = 64


def questions(rng: random.Random) -> list[str]:
    """Different questions, none of them about what the quickstart holds out."""
    found: dict[str, None] = {}
    while len(found) < 1.25 * (TRAIN + TEST):
        draw = rng.random()
        if draw < 0.7:
            chinese, english = rng.choice(EVERYDAY_WORDS)
            ask = rng.choice(ASK_CHINESE if rng.random() < 0.5 else ASK_ENGLISH)
            question = ask.format(zh=chinese, en=english)
        else:
            question = (small_talk(rng) if draw < 0.85 else copying(rng))[0][1]
        try:
            refuse_held_out(question)
        except ValueError:
            continue
        found[question] = None
    return list(found)


def main() -> None:
    quiet_libraries()
    torch.set_num_threads(1)
    speaker = open_speaker("builtin:nano", device="cpu").speaker
    torch.set_num_threads(1)  # opening it takes all cores
    asked = questions(random.Random(0))
    rows = []
    for at in range(0, len(asked), _AT_ONCE):
        some = asked[at : at + _AT_ONCE]
        drawing = Generation(temperature=1.0, max_new_tokens=LONGEST, seed=at)
        for question, reply in zip(some, speaker.answer(some, drawing), strict=True):
            if reply.ended and reply.text.strip():
                rows.append({"question": question, "answer": reply.text})
    FOLDER.mkdir(exist_ok=True)
    for name, part in (("train", rows[:TRAIN]), ("test", rows[TRAIN : TRAIN + TEST])):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in part]
        (FOLDER / f"{name}.jsonl").write_text("".join(lines), "utf-8")
        print(f"{name}: {len(part)} rows")


if __name__ == "__main__":
    main()

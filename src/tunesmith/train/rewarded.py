"""Groups of answers that are rewarded: drawn, judged, kept in the run folder, and used for one update or more."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tunesmith.config.method import Grpo
from tunesmith.config.words import nearest
from tunesmith.data.schema import Sample
from tunesmith.errors import InputError
from tunesmith.methods.base import Example, Rollout
from tunesmith.methods.grpo import advantages, answers_in
from tunesmith.metrics.rewards import REWARDS, Attempt, Reward
from tunesmith.models.generate import Answer
from tunesmith.rundir import RunDir
from tunesmith.train.examples import batches_of
from tunesmith.train.rollout import Sampler, group

log = logging.getLogger("tunesmith")

_SHOWN = 200  # characters of an answer in a message


class _Samples(Protocol):
    def __getitem__(self, at: int) -> Sample: ...


def find_rewards(options: Grpo) -> dict[str, Reward]:
    """The recipe's reward functions by the names that they have in its evidence.

    Raises:
        InputError: there is no such function.
    """
    found: dict[str, Reward] = {}
    for reward in options.rewards:
        file, colon, name = reward.function.rpartition(":")
        if colon and file.endswith(".py"):
            found[name] = _from_file(Path(file), name)
        elif reward.function in REWARDS:
            found[reward.function] = REWARDS[reward.function]
        else:
            near = nearest(reward.function, REWARDS)
            raise InputError(
                f"there is no reward function `{reward.function}`",
                where="method.rewards",
                expected=f"one of {', '.join(REWARDS)}, or FILE.py:NAME",
                remedy=f"the nearest name is `{near}`" if near else None,
            )
    if len(found) < len(options.rewards):
        raise InputError("a reward function is listed twice", where="method.rewards", remedy="list each once")
    return found


def _from_file(path: Path, name: str) -> Reward:
    if not path.is_file():
        raise InputError(f"there is no file {path}", where="method.rewards")
    spec = importlib.util.spec_from_file_location(f"tunesmith_rewards_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            f"{path} cannot be loaded ({type(error).__name__}: {error})", where="method.rewards"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{path} has no function {name}", where="method.rewards")
    log.info("answers are rewarded by %s of %s", name, path)
    return function


@dataclass
class Groups:
    """Draws a group of answers to each prompt of an update, and has them judged.

    Args:
        rewards: functions by name, in the order of the recipe's.
        read: the text of an answer.
        train, held_out: the samples that numbers mean.
        row_tokens: the token budget of a row.
    """

    run: RunDir
    sampler: Sampler
    options: Grpo
    rewards: Mapping[str, Reward]
    read: Callable[[Answer], str]
    train: _Samples
    held_out: _Samples
    row_tokens: int

    def __post_init__(self) -> None:
        self._last: tuple[int, list[Example]] | None = None

    def of(self, step: int | None, numbers: Sequence[int], examples: Sequence[Example]) -> list[Example]:
        if step is None:
            prompts = [example.tree[0] for example in examples]
            answers = self.sampler.draw(prompts, numbers, None, self.options.answers)
            return self._judged(answers, numbers, examples, self.held_out)
        first = step - step % self.options.updates
        if self._last is None or self._last[0] != first:
            self._last = (first, self._drawn(step, first, numbers, examples))
        return self._last[1]

    def _drawn(
        self, step: int, first: int, numbers: Sequence[int], examples: Sequence[Example]
    ) -> list[Example]:
        """Draw at step `first`; at a later one, take what was drawn then, with weights that are no more."""
        kept = [line for line in self.run.read_drawn() if line["step"] == first + 1] if step > first else []
        if kept:
            groups = [
                kept[at : at + self.options.answers] for at in range(0, len(kept), self.options.answers)
            ]
            answers = [[Answer(tuple(line["tokens"]), line["end"]) for line in one] for one in groups]
        else:
            prompts = [example.tree[0] for example in examples]
            answers = self.sampler.draw(prompts, numbers, first, self.options.answers)
        found = self._judged(answers, numbers, examples, self.train)
        found = self._with_reference(found)
        if kept:
            old = [tuple(tuple(line["logprobs"]) for line in one) for one in groups]
            return [_known(example, old=values) for example, values in zip(found, old, strict=True)]
        if self.options.updates > 1:
            old = self._token_logprobs(found)
            found = [_known(example, old=values) for example, values in zip(found, old, strict=True)]
        self._keep(first, numbers, found, answers)
        return found

    def _judged(
        self,
        answers: Sequence[Sequence[Answer]],
        numbers: Sequence[int],
        examples: Sequence[Example],
        samples: _Samples,
    ) -> list[Example]:
        found = []
        for number, example, own in zip(numbers, examples, answers, strict=True):
            sample = samples[number]
            judged = [self._values(sample, answer) for answer in own]
            totals = [
                sum(
                    reward.weight * values[name]
                    for reward, name in zip(self.options.rewards, values, strict=True)
                )
                for values in judged
            ]
            measures = {
                "reward": tuple(totals),
                "flat_groups": (float(max(totals) == min(totals)),) * len(own),
                "answer_tokens": tuple(float(len(answer.tokens)) for answer in own),
                "end_token_rate": tuple(float(answer.ended) for answer in own),
            }
            if len(self.rewards) > 1:
                measures |= {f"reward_{name}": tuple(one[name] for one in judged) for name in self.rewards}
            rollout = Rollout(tuple(advantages(totals, scale=self.options.scale)), measures)
            found.append(example._replace(tree=group(example.tree[0], own), rollout=rollout))
        return found

    def _values(self, sample: Sample, answer: Answer) -> dict[str, float]:
        """What each function gives for an answer.

        Raises:
            InputError: one of them fails, or gives no finite number.
        """
        text = self.read(answer)
        attempt = Attempt(sample.prompt or "", text, sample.answer, sample.keywords, answer.ended)
        values = {}
        for name, function in self.rewards.items():
            try:
                value = function(attempt)
                values[name] = float(value)
                wrong = None if math.isfinite(values[name]) else f"gave {value}"
            except Exception as error:  # noqa: BLE001 - anything may go wrong in a user's function
                wrong = f"failed with {type(error).__name__}: {error}"
            if wrong is not None:
                raise InputError(
                    f"the reward function {name} {wrong} for the answer {text[:_SHOWN]!r} to this row",
                    where=str(sample.place),
                    expected="a finite number",
                    remedy="bring rows that say what should be answered"
                    if function in REWARDS.values()
                    else f"mend the function, and go on with `{self.run.command('resume')}`",
                )
        return values

    def _with_reference(self, examples: list[Example]) -> list[Example]:
        if not self.options.kl:
            return examples
        with self.sampler.policy.reference():
            known = self._token_logprobs(examples)
        return [_known(example, reference=values) for example, values in zip(examples, known, strict=True)]

    def _token_logprobs(self, examples: Sequence[Example]) -> list[tuple[tuple[float, ...], ...]]:
        """Of each example, the log-probabilities of its answers' tokens under the policy as it is."""
        policy = self.sampler.policy
        found: list[list[tuple[float, ...]]] = [[] for _ in examples]
        with policy.scoring_mode():
            for batch in batches_of(
                examples, segments=policy.segments, row_tokens=self.row_tokens, share=True, whole=True
            ):
                logprobs = [policy(row).tolist() for row in batch.rows]
                for owner, _, row, numbers in answers_in(batch):
                    found[owner].append(tuple(logprobs[row][number] for number in numbers))
        return [tuple(values) for values in found]

    def _keep(
        self,
        step: int,
        numbers: Sequence[int],
        examples: Sequence[Example],
        answers: Sequence[Sequence[Answer]],
    ) -> None:
        """Write what was drawn to the run folder: evidence, and what a run that was killed goes on with."""
        lines: list[dict[str, Any]] = []
        for number, example, own in zip(numbers, examples, answers, strict=True):
            sample, rollout = self.train[number], example.rollout
            assert rollout is not None
            for draw, answer in enumerate(own):
                line: dict[str, Any] = {
                    "step": step + 1,
                    "place": str(sample.place),
                    "prompt": sample.prompt,
                    "answer": self.read(answer),
                    "advantage": rollout.advantages[draw],
                    **{
                        name: values[draw]
                        for name, values in rollout.measures.items()
                        if name.startswith("reward")
                    },
                    "tokens": list(answer.tokens),
                    "end": answer.end,
                }
                if rollout.old:
                    line["logprobs"] = list(rollout.old[draw])
                lines.append(line)
        self.run.append_drawn(lines)


def _known(example: Example, **values: Any) -> Example:
    assert example.rollout is not None
    return example._replace(rollout=example.rollout._replace(**values))

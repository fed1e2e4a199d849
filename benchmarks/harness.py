"""Runs the two sides of a benchmark in turn, A B A B, each time in a process of its own, and compares medians."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

Side = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Benchmark:
    """What is compared.

    Args:
        name: what the command line calls it.
        work: one line that says what is done.
        target: the ratio to reach, and where it is read.
        ours, peer: run in a process of their own; each gives `value` and `memory` (peak resident bytes), and what
            else is worth knowing.
        higher_is_better: whether `value` is a speed (True) or a time or size (False).
        rounds: how often each side runs.
    """

    name: str
    work: str
    target: str
    unit: str
    ours: Side
    peer: Side
    higher_is_better: bool = False
    rounds: int = 3


@dataclass(frozen=True)
class Result:
    """Medians of both sides. `ratio` is ours to the peer's; `low` and `high` are the extremes over the rounds."""

    name: str
    ours: float
    peer: float
    ratio: float
    low: float
    high: float
    memory_ratio: float
    memory_ours: int
    memory_peer: int
    unit: str
    target: str
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(benchmark: Benchmark, say: Callable[[str], None]) -> Result:
    """Measure a benchmark."""
    ours: list[dict[str, Any]] = []
    peer: list[dict[str, Any]] = []
    for number in range(1, benchmark.rounds + 1):
        for side, results in (("ours", ours), ("peer", peer)):
            results.append(_in_a_process(benchmark.name, side))
            say(f"{benchmark.name} {number}/{benchmark.rounds} {side}: {results[-1]}")
    ratios = [one["value"] / other["value"] for one, other in zip(ours, peer, strict=True)]
    memories = [statistics.median(result["memory"] for result in results) for results in (ours, peer)]
    medians = [statistics.median(result["value"] for result in results) for results in (ours, peer)]
    return Result(
        name=benchmark.name,
        ours=medians[0],
        peer=medians[1],
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        memory_ratio=memories[0] / memories[1],
        memory_ours=int(memories[0]),
        memory_peer=int(memories[1]),
        unit=benchmark.unit,
        target=benchmark.target,
        settings={"ours": ours[-1].get("settings"), "peer": peer[-1].get("settings")},
    )


def _in_a_process(name: str, side: str) -> dict[str, Any]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--side", side],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name}, {side}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def peak_memory() -> int:
    """Peak resident bytes of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def machine() -> str:
    """The machine in a line."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(
                (line.split(":")[1].strip() for line in file if line.startswith("model name")), model
            )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"

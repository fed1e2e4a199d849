"""`python -m benchmarks [NAME ...] [--json]`: measure, print, and renew the table in benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from benchmarks import data, models, plan
from benchmarks.harness import Benchmark, Result, machine, run

Table = Callable[[Callable[[str], None]], list[str]]
BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in (*data.BENCHMARKS,)}
# Measured against a bound instead of a peer; each is a table of its own in the README.
TABLES: dict[str, Table] = {"models-memory": models.memory_table, "plan": plan.table}
README = Path(__file__).with_name("README.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    there = [*BENCHMARKS, *TABLES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(there)}; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object a benchmark, a line each")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/README.md as it is")
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in there]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(there)}")
    chosen = [BENCHMARKS[name] for name in given.names or there if name in BENCHMARKS]
    if given.side:
        print(json.dumps(getattr(chosen[0], given.side)()))
        return 0
    for benchmark in chosen:
        result = run(benchmark, lambda line: print(line, file=sys.stderr, flush=True))
        print(json.dumps(result.as_dict()) if given.json else _line(benchmark, result))
        if not given.no_write:
            _write(benchmark, result)
    for name in given.names or there:
        if name in TABLES:
            rows = TABLES[name](lambda line: print(line, file=sys.stderr, flush=True))
            print("\n".join(rows))
            if not given.no_write:
                _write_table(name, rows)
    return 0


def _line(benchmark: Benchmark, result: Result) -> str:
    """One row of the table."""
    memory = (
        f"{result.memory_ours / 1e9:.2f} / {result.memory_peer / 1e9:.2f} GB ({result.memory_ratio:.2f} x)"
    )
    return (
        f"| {result.name} | {benchmark.work} | {result.ours:.3g} / {result.peer:.3g} {result.unit} | "
        f"{result.ratio:.2f} ({result.low:.2f} to {result.high:.2f}) | {memory} | {result.target} | "
        f"{date.today().isoformat()} |"
    )


def _write_table(name: str, rows: list[str]) -> None:
    """Put a table between its marks in the README, in place of the one that was there."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = README.read_text("utf-8").partition(begin)
    after = rest.partition(end)[2]
    README.write_text("\n".join([before + begin, "", *rows, "", end + after]), "utf-8")


def _write(benchmark: Benchmark, result: Result) -> None:
    """Put the row into the README's table, in place of the one that was there."""
    text = README.read_text("utf-8")
    line = _line(benchmark, result)
    pattern = re.compile(rf"^\| {re.escape(result.name)} \|.*$", re.MULTILINE)
    if pattern.search(text):
        text = pattern.sub(lambda _: line, text)
    else:
        text = text.replace("<!-- end of table -->", f"{line}\n<!-- end of table -->")
    text = re.sub(r"^Machine: .*$", lambda _: f"Machine: {machine()}.", text, flags=re.MULTILINE)
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""The command line, started many times cheaply.

Importing torch and transformers takes seconds, twenty kills and resumes would take minutes of imports. So one process
imports everything, computes nothing, and forks a child for each command; the child runs the real `main`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_SERVER = """
import json, os, sys
from tunesmith.cli.console import quiet_libraries
quiet_libraries()
from tunesmith import pipeline
from tunesmith.cli.main import main
import matplotlib.backends.backend_agg
print("ready", flush=True)
requests = os.fdopen(os.dup(0), encoding="utf-8")
for line in requests:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        errors = request["errors"]
        os.dup2(out, 1)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if errors else out, 2)
        os.dup2(os.open(request["typed"] or os.devnull, os.O_RDONLY), 0)
        os.chdir(request["cwd"])
        sys.argv = ["tunesmith", *request["argv"]]
        code = main()
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Started:
    """A command that runs."""

    def __init__(self, server: CommandServer, pid: int, out: Path) -> None:
        self._server, self.pid, self._out = server, pid, out

    def signal(self, number: int) -> None:
        """Send a signal; to a command that has ended meanwhile it is too late, and that is no error."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """Exit code (negative: killed by that signal) and everything printed."""
        code = int(self._server.process.stdout.readline())
        return code, self._out.read_bytes().decode("utf-8", errors="replace")


class CommandServer:
    """Forks commands; one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        assert self.process.stdout.readline().strip() == "ready"

    def start(self, *argv: str, cwd: Path, typed: Path | None = None, errors: Path | None = None) -> Started:
        """Start a command. `typed` is its standard input; standard error goes to `errors`, or is mixed in."""
        self._count += 1
        out = self._folder / f"out-{self._count}.txt"
        request = {
            "argv": argv,
            "cwd": str(cwd),
            "out": str(out),
            "typed": typed and str(typed),
            "errors": errors and str(errors),
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Started(self, int(self.process.stdout.readline()), out)

    def run(self, *argv: str, cwd: Path) -> tuple[int, str]:
        return self.start(*argv, cwd=cwd).wait()

    def run_apart(self, *argv: str, cwd: Path, typed: str = "") -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command to which something is typed."""
        keyboard, errors = self._folder / "typed.txt", self._folder / "errors.txt"
        keyboard.write_text(typed, encoding="utf-8")
        code, output = self.start(*argv, cwd=cwd, typed=keyboard, errors=errors).wait()
        return code, output, errors.read_bytes().decode("utf-8", errors="replace")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

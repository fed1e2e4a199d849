"""The one console, and what the log and the libraries may say on it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

# In a pipe or a log there is no width to fit into; tables get a reasonable one and lines are never broken.
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100)


class _ConsoleHandler(logging.Handler):
    """Log lines above the progress bar; warnings stand out."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        prefix = "warning: " if record.levelno == logging.WARNING else ""
        console.print(Text(prefix + record.getMessage(), style=style), soft_wrap=True)


@contextmanager
def log_to_console() -> Iterator[None]:
    """Show tunesmith's log on the console. Errors are left out: the command line prints them as it ends."""
    log = logging.getLogger("tunesmith")
    log.setLevel(logging.INFO)
    handler = _ConsoleHandler()
    handler.addFilter(lambda record: logging.INFO <= record.levelno < logging.ERROR)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def quiet_libraries() -> None:
    """Keep the libraries' own progress bars and advice out of our output; called before they are imported."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()

"""The entry point of `tunesmith`: the table of verbs, and how an error leaves the program.

Everything heavy (torch, pydantic, YAML) is imported inside the verbs, so `tunesmith --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.main import get_command

from tunesmith import __version__
from tunesmith.cli import check, compare, data, doctor, init, models, plan, recipes, talk, train
from tunesmith.errors import Interrupted, Problems, TunesmithError, no_room_is_a_work_error


class Verb(NamedTuple):
    """A line of the table."""

    name: str
    panel: str  # the heading in --help that it stands under
    what: Callable[..., None] | typer.Typer  # a function, or an app of sub-verbs


# To add a verb, write a function (its signature makes the options, its docstring the help) and give it a line here.
# --help keeps this order, but verbs with sub-verbs come last in their panel.
VERBS = (
    Verb("quickstart", "Begin", train.quickstart),
    Verb("init", "Begin", init.init),
    Verb("doctor", "Begin", doctor.doctor),
    Verb("recipes", "Begin", recipes.app),
    Verb("data", "Begin", data.app),
    Verb("models", "Begin", models.app),
    Verb("check", "Train", check.check),
    Verb("plan", "Train", plan.plan),
    Verb("train", "Train", train.train),
    Verb("resume", "Train", train.resume),
    Verb("compare", "Look and talk", compare.compare),
    Verb("ask", "Look and talk", talk.ask),
    Verb("chat", "Look and talk", talk.chat),
    Verb("batch", "Look and talk", talk.batch),
)

# Typer carries its own copy of click in later versions and uses the package in earlier ones; this names the class
# of wrong usage in both.
_WrongUsage: Any = typer.BadParameter.__mro__[1]


def build() -> typer.Typer:
    """The command line as a typer app."""
    app = typer.Typer(
        name="tunesmith",
        help="Fine-tune language models on the machine you have, and see that it worked.",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_global_options)
    for verb in VERBS:
        if isinstance(verb.what, typer.Typer):
            app.add_typer(verb.what, name=verb.name, rich_help_panel=verb.panel)
        else:
            app.command(verb.name, rich_help_panel=verb.panel)(verb.what)
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tunesmith {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and leave."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere in the line.")
    ] = False,
) -> None:
    # Both are dealt with before a verb begins: the version by its callback, --debug by `main`.
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    _speak_utf8()
    given, debug = _without_debug(list(sys.argv[1:] if arguments is None else arguments))
    try:
        # The verbs' own files say so themselves; this is for output that goes to a full disk.
        with no_room_is_a_work_error("this command's output", "free some disk space, or send it elsewhere"):
            code = get_command(build()).main(
                given or ["--help"], prog_name="tunesmith", standalone_mode=False
            )
            if code == Interrupted.exit_code:  # typer keeps a Ctrl-C to itself
                _say("interrupted")
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return 1  # a reader that left early (`| head`) is no error worth words
    except TunesmithError as error:
        _show_traceback(debug)
        _complain(error)
        return error.exit_code
    except _WrongUsage as error:
        _show_traceback(debug)
        _say(_usage(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        _show_traceback(debug)
        _say("interrupted")
        return Interrupted.exit_code
    # The last fence: whatever gets here is our mistake, and the user must not be left with a page of traceback.
    except Exception as error:  # noqa: BLE001
        _show_traceback(debug)
        _say(_bug(error, debug))
        return 1
    finally:
        _let_go_of_output()


def _speak_utf8() -> None:
    """Poems and prompts pass through whatever the console's own encoding is (Windows still has old ones)."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(
            stream, "reconfigure", None
        )  # absent where a test or a notebook put its own stream
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="replace")


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, and whether it was there; after `--` nothing is an option."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + arguments[end:], len(options) < end


def _let_go_of_output() -> None:
    """Where nobody takes what is left of the output, drop it: Python would complain of it as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _complain(error: TunesmithError) -> None:
    if isinstance(error, Interrupted):
        _say(str(error))
        return
    for problem in error.problems if isinstance(error, Problems) else [error]:
        _say(f"error: {problem}")


def _usage(error: Any) -> str:
    """Typer's own sentence (with the nearest verb or option) and where to read more."""
    sentence = error.format_message().strip()
    command = error.ctx.command_path if error.ctx is not None else "tunesmith"
    return f"error: {sentence[:1].lower()}{sentence[1:]}\nSee: {command} --help"


def _bug(error: Exception, debug: bool) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0][:200]
    what = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    advice = (
        "please report it with the traceback above"
        if debug
        else "--debug shows the traceback; please report it"
    )
    return f"error: this is a bug in tunesmith ({what}); {advice}."


def _show_traceback(debug: bool) -> None:
    if debug:
        traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())

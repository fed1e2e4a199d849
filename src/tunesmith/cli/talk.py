"""`tunesmith ask`, `chat` and `batch`: talk to a run, a model or an adapter."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.config.method import Generation
    from tunesmith.infer.open import Opened
    from tunesmith.infer.speaker import Reply

_WHOM = "A run folder, a model folder, an adapter folder, builtin:nano or a hub id."
Whom = Annotated[str, typer.Argument(metavar="RUN", help=_WHOM)]
Base = Annotated[bool, typer.Option("--base", help="Ask the untuned model below it, in the same way.")]
System = Annotated[str | None, typer.Option(help="A system prompt instead of the recipe's.")]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy; default: the recipe's.")]
TopP = Annotated[float | None, typer.Option(help="Nucleus sampling.")]
TopK = Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens.")]
Penalty = Annotated[float | None, typer.Option("--repetition-penalty", help="Above 1 repeats less.")]
NewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", help="The longest answer; the prompt never counts.")
]
Seed = Annotated[int | None, typer.Option(help="The same seed draws the same answer.")]


def ask(
    run: Whom,
    question: Annotated[str | None, typer.Argument(help="Default: the recipe's first prompt.")] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A picture to ask about; may be given several times. It stands where <image> is in the question, "
            "else in front.",
        ),
    ] = None,
    base: Base = False,
    system: System = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    repetition_penalty: Penalty = None,
    max_new_tokens: NewTokens = None,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Ask one question and print the answer."""
    from tunesmith.errors import InputError
    from tunesmith.infer.pictures import asked, in_words, picture
    from tunesmith.infer.pictures import question as with_pictures

    pictures = [picture(path, where="--image") for path in image or ()]
    if question is not None and not question.strip() and not pictures:
        raise InputError("the question is empty")
    opened = _open(run, base, device)
    options = _options(opened, temperature, top_p, top_k, repetition_penalty, max_new_tokens, seed)
    if question is not None:
        said = with_pictures(question, pictures, where="--image")
    elif opened.prompts:
        # A picture goes with the first prompt that is about one.
        about = [prompt for prompt in opened.prompts if pictures and not isinstance(prompt, str)]
        first = (about or opened.prompts)[0]
        text = first if isinstance(first, str) else first.text
        said = with_pictures(text, pictures, where="--image") if pictures else asked(first)
        typer.echo(f"> {text if pictures else in_words(first)}", err=True)
    else:
        raise InputError(
            f"there is no question, and {run} has no prompts of its own",
            remedy=f'ask something: tunesmith ask {run} "..."',
        )
    (reply,) = opened.speaker.answer([said], options, system=system, on_text=_write)
    _write("\n")
    _say_how_it_ended(reply)


def chat(
    run: Whom,
    base: Base = False,
    system: System = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    repetition_penalty: Penalty = None,
    max_new_tokens: NewTokens = None,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Talk; the conversation is kept. /reset, /system TEXT, /image FILE; quit, exit or q leaves."""
    from tunesmith.errors import InputError
    from tunesmith.infer.chat import HELP, QUIT_WORDS, Chat

    opened = _open(run, base, device)
    options = _options(opened, temperature, top_p, top_k, repetition_penalty, max_new_tokens, seed)
    conversation = Chat(opened.speaker, options, system)
    interactive = sys.stdin.isatty()
    if interactive:
        typer.echo(f"{run}{' (untuned)' if base else ''} — {HELP}")
    while True:
        try:
            said = input("you> " if interactive else "")
        except EOFError:
            break
        if not said.strip():
            continue
        if said.strip().lower() in QUIT_WORDS:
            break
        try:
            told = conversation.command(said)
        except InputError as error:
            told = str(error)
        if told is not None:
            typer.echo(told)
            continue
        try:
            reply = conversation.say(said, on_text=_write)
            _write("\n")
            _say_how_it_ended(reply)
        except InputError as error:  # such as a conversation that outgrew the context
            typer.echo(f"{error} /reset forgets the conversation." if conversation.turns else str(error))
        except KeyboardInterrupt:
            _write(" …\n")


def batch(
    run: Whom,
    file: Annotated[str, typer.Argument(help="Questions: .json, .jsonl, .csv or .txt.")],
    output: Annotated[str, typer.Option("-o", "--output", help="Where the answers go, as JSON.")],
    base: Base = False,
    system: System = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    repetition_penalty: Penalty = None,
    max_new_tokens: NewTokens = None,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Answer a file of questions."""
    from pathlib import Path

    from tunesmith.config.words import counted
    from tunesmith.data.writing import must_be_ordinary
    from tunesmith.errors import InputError
    from tunesmith.infer.batch import answer_file, read_questions

    questions = read_questions(file)
    target = Path(output)
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise InputError(f"answers cannot be written to {output}", expected="a file in a folder that exists")
    must_be_ordinary(target, where="-o")
    opened = _open(run, base, device)
    options = _options(opened, temperature, top_p, top_k, repetition_penalty, max_new_tokens, seed)
    answer_file(opened.speaker, questions, options, target, system=system)
    typer.echo(f"{counted(len(questions), 'answer')} in {output}")


def _open(run: str, base: bool, device: str) -> Opened:
    from tunesmith.cli.console import quiet_libraries
    from tunesmith.errors import InputError

    if device not in ("auto", "cuda", "mps", "cpu"):
        raise InputError(f"--device {device}", expected="auto, cuda, mps or cpu")
    quiet_libraries()
    from tunesmith.infer.open import open_speaker

    return open_speaker(run, base=base, device=device)


def _options(
    opened: Opened,
    temperature: float | None,
    top_p: float | None,
    top_k: int | None,
    repetition_penalty: float | None,
    max_new_tokens: int | None,
    seed: int | None,
) -> Generation:
    """The recipe's way of drawing answers, with what the command line changes.

    Raises:
        InputError: a value is out of its range.
    """
    from pydantic import ValidationError

    from tunesmith.config.method import Generation
    from tunesmith.errors import InputError

    given = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "repetition_penalty": repetition_penalty,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        return Generation.model_validate(opened.generation.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise InputError(f"{flag} {first['input']} is out of range: {first['msg'].lower()}") from None


def _say_how_it_ended(reply: Reply) -> None:
    from tunesmith.config.words import counted

    if not reply.ended:
        typer.echo(
            f"(cut off after {counted(reply.tokens, 'token')}; --max-new-tokens allows more)", err=True
        )
    elif not reply.text.strip():
        typer.echo("(the answer is empty: the model ended it at once)", err=True)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()

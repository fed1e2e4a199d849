"""`tunesmith data from-pdf` and `data questions`: books -> passages -> questions and answers."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

if TYPE_CHECKING:
    from tunesmith.data.books.glyphs import BadPdf
    from tunesmith.data.books.questions import Ask, Outcome
    from tunesmith.data.books.rows import Done

_SECONDS_BETWEEN_LINES = 10.0  # of progress in a log, unless a tenth of the work is done before

AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output instead of the table.")
]


def from_pdf(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="PDF files, or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the rows go, as JSON Lines.")],
    form: Annotated[
        str, typer.Option(help="passages: chats in the author's voice; text: plain text.")
    ] = "passages",
    persona: Annotated[
        str | None, typer.Option(help="The system prompt; default: the book's author.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="User prompts to cycle through: one a line, or a JSON list.")
    ] = None,
    unit: Annotated[
        str, typer.Option(help="auto, words or characters; auto counts Chinese in characters.")
    ] = "auto",
    words: Annotated[int, typer.Option(min=1, help="The length of a passage, in words or characters.")] = 350,
    overlap: Annotated[
        int, typer.Option(min=0, help="At most so much of a passage stands in the next too.")
    ] = 50,
    least: Annotated[
        int, typer.Option("--min", min=0, help="A chapter's last passage with less that is new is dropped.")
    ] = 50,
    keep_matter: Annotated[
        bool, typer.Option("--keep-matter", help="Keep title, copyright, contents, index, bibliography.")
    ] = False,
    password: Annotated[str | None, typer.Option(help="The password of encrypted files.")] = None,
    on_bad_file: Annotated[str, typer.Option(help="error, or skip and count.")] = "error",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make passages of books, without running heads, front and back matter; say what was dropped."""
    from tunesmith.config.words import counted
    from tunesmith.data.books.rows import Wanted, make_rows, read_prompts

    _must_be_one_of("--form", form, ("passages", "text"))
    _must_be_one_of("--unit", unit, ("auto", "words", "characters"))
    _must_be_one_of("--on-bad-file", on_bad_file, ("error", "skip"))
    _must_overlap_less(overlap, words)
    found = _books(files)
    _must_be_free(output, overwrite, found)
    wanted = Wanted(
        form="text" if form == "text" else "passages",
        persona=persona,
        prompts=read_prompts(prompts) if prompts else (),
        unit=unit,
        size=words,
        overlap=overlap,
        least=least,
        keep_matter=keep_matter,
        password=password,
    )
    done, bad = make_rows(found, output, wanted, skip_bad=on_bad_file == "skip")
    rows = sum(len(one.cut.passages) for one in done)
    if as_json:
        skipped = [{"file": error.where, "status": error.kind, "reason": error.found} for error in bad]
        report = {"output": str(output), "rows": rows, "files": [one.as_dict() for one in done] + skipped}
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    _show_books(done, bad)
    _say(f"{counted(rows, 'row')} in {output}")


def questions(
    file: Annotated[Path, typer.Argument(help="Passages: what from-pdf wrote, or any rows with a text.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the pairs go, as JSON Lines.")],
    model: Annotated[
        str, typer.Option(help="With --endpoint its model's name; else a run, folder or hub id.")
    ],
    endpoint: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible address, such as http://localhost:8000/v1.")
    ] = None,
    key_env: Annotated[
        str | None, typer.Option("--key-env", help="The environment variable that holds the endpoint's key.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop at so many pairs in the output, those of earlier runs counted; default: all passages.",
        ),
    ] = None,
    each: Annotated[int, typer.Option(min=1, help="How many pairs to ask for a passage.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Draws the order of the passages, and the replies.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="The longest reply.")] = 1024,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the endpoint.")] = 120.0,
    device: Annotated[str, typer.Option(help="For a local model: auto, cuda, mps or cpu.")] = "auto",
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Ask on where the first 20 passages gave nothing that can be used."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew; replies that were kept are used again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a model ask and answer questions about passages. Run it again and it goes on where it stopped."""
    from tunesmith.config.words import counted
    from tunesmith.data.books.questions import cache_of, read_passages, write_questions
    from tunesmith.data.writing import must_be_ordinary

    _must_be_free(output, True, [file])
    must_be_ordinary(cache_of(output))
    passages = read_passages(file)
    if endpoint is None:
        ask = _local(model, temperature, max_new_tokens, seed, device)
    else:
        ask = _remote(endpoint, model, key_env, temperature, max_new_tokens, seed, timeout)
    if overwrite:
        output.unlink(missing_ok=True)
    drawn = f"{model} at temperature {temperature:g}, {max_new_tokens} tokens, seed {seed}"

    with _Progress(len(passages), count, silent=as_json) as progress:
        outcome = write_questions(
            passages,
            ask,
            output,
            model=drawn,
            count=count,
            each=each,
            seed=seed,
            keep_going=keep_going,
            on_row=progress.tell,
        )
    if as_json:
        told = {"output": str(output), **vars(outcome), "left_out": dict(outcome.left_out)}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for reason, many in outcome.left_out.most_common():
        _say(f"  left out {many}: {reason}", style="yellow")
    _say(
        f"{counted(outcome.rows, 'pair')} from {counted(outcome.passages, 'passage')} in {output}, "
        f"{outcome.written:,} new; asked {counted(outcome.asked, 'time')}, "
        f"{counted(outcome.from_cache, 'reply', 'replies')} there already ({cache_of(output).name})"
    )


# ---- what was given


def _must_be_one_of(flag: str, given: str, allowed: tuple[str, ...]) -> None:
    from tunesmith.config.words import any_of
    from tunesmith.errors import InputError

    if given not in allowed:
        raise InputError(f"{flag} {given}", expected=any_of(allowed))


def _must_overlap_less(overlap: int, size: int) -> None:
    from tunesmith.errors import InputError

    if overlap >= size:
        raise InputError(
            f"--overlap {overlap} leaves nothing new in a passage of --words {size}",
            expected="a smaller overlap",
        )


def _books(given: list[Path]) -> list[Path]:
    """The files, with the PDF files of a folder in the order of their names.

    Raises:
        InputError: a folder holds none, or one file is named twice.
    """
    from tunesmith.errors import InputError

    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() == ".pdf" and one.is_file())
            if not inside:
                raise InputError("the folder holds no PDF files", where=str(path))
            found += inside
        else:
            found.append(path)
    resolved = [path.resolve() for path in found]
    for place, path in enumerate(resolved):
        if path in resolved[:place]:
            raise InputError("the file is named twice", where=str(found[place]), expected="each book once")
    return found


def _must_be_free(output: Path, overwrite: bool, inputs: list[Path]) -> None:
    from tunesmith.data.writing import must_be_free
    from tunesmith.errors import InputError

    if output.is_dir() or not output.absolute().parent.is_dir():
        raise InputError(f"rows cannot be written to {output}", expected="a file in a folder that exists")
    if output.resolve() in {path.resolve() for path in inputs}:
        raise InputError(
            "the output is one of the files to read", where=str(output), remedy="give it another name"
        )
    must_be_free(output, overwrite=overwrite)


class _Progress:
    """How far the asking is, on standard error: one line that changes on a terminal, else a line now and then.

    Args:
        count: pairs, where there may be enough of them before the passages end.
    """

    def __init__(self, passages: int, count: int | None, *, silent: bool) -> None:
        self._passages, self._count, self._silent = passages, count, silent
        self._terminal = sys.stderr.isatty()
        self._tenths, self._time = 0, time.monotonic()
        self._line_is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._line_is_open:  # so that an error does not begin in the middle of it
            typer.echo(err=True)

    def tell(self, so_far: Outcome) -> None:
        from tunesmith.config.words import counted

        tenths, now = self._tenths_of(so_far), time.monotonic()
        due = tenths > self._tenths or now >= self._time + _SECONDS_BETWEEN_LINES
        if self._silent or not (self._terminal or due):
            return
        self._tenths, self._time = tenths, now
        line = (
            f"{so_far.gone_through:,} of {counted(self._passages, 'passage')}: {counted(so_far.rows, 'pair')}, "
            f"{sum(so_far.left_out.values()):,} left out"
        )
        typer.echo(f"\r{line}" if self._terminal else line, err=True, nl=not self._terminal)
        self._line_is_open = self._terminal

    def _tenths_of(self, so_far: Outcome) -> int:
        """How much of the work is done."""
        of_count = 10 * so_far.rows // self._count if self._count else 0
        return max(10 * so_far.gone_through // self._passages, of_count)


# ---- whom to ask


def _remote(
    url: str, model: str, key_env: str | None, temperature: float, tokens: int, seed: int, timeout: float
) -> Ask:
    from tunesmith.data.books.endpoint import Endpoint, asking
    from tunesmith.errors import InputError

    key = None if key_env is None else os.environ.get(key_env)
    if key_env is not None and not key:
        raise InputError(
            f"there is no environment variable {key_env}", expected="one that holds the endpoint's key"
        )
    return asking(Endpoint(url, model, key, temperature, tokens, seed, timeout))


def _local(model: str, temperature: float, tokens: int, seed: int, device: str) -> Ask:
    from tunesmith.cli.console import quiet_libraries

    _must_be_one_of("--device", device, ("auto", "cuda", "mps", "cpu"))
    quiet_libraries()
    from tunesmith.config.method import Generation
    from tunesmith.data.books.questions import Refused
    from tunesmith.data.schema import Message
    from tunesmith.errors import InputError
    from tunesmith.infer.open import open_speaker

    speaker = open_speaker(model, device=device).speaker
    options = Generation(temperature=temperature, max_new_tokens=tokens, seed=seed)

    def ask(messages: list[dict[str, str]]) -> str:
        try:
            (reply,) = speaker.reply([[Message(one["role"], one["content"]) for one in messages]], options)
        except InputError as error:  # such as a passage that is longer than the model's context
            reason = re.sub(r"\d+", "…", error.found)  # so that the same reason is counted as one
            raise Refused(f"the model cannot take the prompt: {reason}") from None
        return reply.text

    return ask


# ---- what came of it


def _say(text: str, style: str | None = None) -> None:
    from tunesmith.cli.console import console

    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _show_books(done: list[Done], bad: list[BadPdf]) -> None:
    from rich.table import Table

    from tunesmith.cli.console import console
    from tunesmith.config.words import counted

    table = Table("book", box=None, header_style="bold")
    for heading in ("pages", "dropped", "length", "passages", "mean", "short tails", "hyphens mended"):
        table.add_column(heading, justify="right")
    for one in done:
        facts: dict[str, Any] = one.as_dict()
        gone = len({page for dropped in one.book.dropped if not dropped.part for page in dropped.pages})
        table.add_row(
            one.book.name,
            f"{one.book.pages:,}",
            f"{gone:,}",
            counted(one.units, one.unit.removesuffix("s")),
            f"{len(one.cut.passages):,}",
            f"{facts['passage_length']['mean']:g}",
            f"{one.cut.short_tails:,}",
            f"{one.book.mended:,}",
        )
    console.print(table)
    for one in done:
        _show_what_went(one)
    for error in bad:
        _say(f"skipped ({error.kind}) {error}", style="yellow")


def _show_what_went(one: Done) -> None:
    from tunesmith.config.words import counted

    name = one.book.name
    for dropped in one.book.dropped:
        part = "a part of " if dropped.part else ""
        _say(f"  {name}: dropped {part}{_pages(dropped.pages)}: {dropped.reason}", style="yellow")
    if one.book.running.lines:
        some = ", ".join(f"{text!r}" for text, _ in one.book.running.texts.most_common(3))
        _say(
            f"  {name}: took out {counted(one.book.running.lines, 'line')} of running heads, feet and page numbers: {some}",
            style="dim",
        )
    if one.cut.short_tails:
        tails = counted(one.cut.short_tails, "short tail of a chapter", "short tails of chapters")
        lost = counted(one.cut.units_dropped, one.unit.removesuffix("s"))
        _say(f"  {name}: dropped {tails}, {lost}", style="yellow")
    if one.book.unreadable:
        unreadable = counted(one.book.unreadable, "character has", "characters have")
        _say(f"  {name}: {unreadable} no letters in the file", style="yellow")


def _pages(pages: tuple[int, ...]) -> str:
    return f"page {pages[0]}" if len(pages) == 1 else f"pages {pages[0]} to {pages[-1]}"

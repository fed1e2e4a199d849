"""`tunesmith data`: bring data sets here, make any known format into chats, split files so that nothing leaks."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli import books

if TYPE_CHECKING:
    from tunesmith.config.schema import Source
    from tunesmith.data.readers.hub import Downloaded

app = typer.Typer(help="Download, convert and split data; make books into passages and questions.")

# An option of `convert` says something to the formats that read one of these fields.
_READ_WITH = {
    "images": ("images", "image_path"),
    "join": ("instruction",),
    "instruction": ("category", "entities", "image_path"),
    "labels": ("category",),
}

Encoding = Annotated[str, typer.Option(help="The encoding of text files, such as gb18030.")]
FormatName = Annotated[str | None, typer.Option("--format", help="The format's name; detected if not given.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN",
        help="A field of the format as the file names it; may be repeated.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


@app.command()
def download(
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="REFERENCE...", help="hf:owner/name[:subset][@split], hf:owner/name/path, or ms:..."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The folder; default: the data set's name.")
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(min=1, help="Of a caption set: the first N pictures and a CSV of their captions."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns", metavar="FIELD=COLUMN", help="With --first: what the set calls image, caption or id."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Bring data sets of the hub or of ModelScope into a folder. What is there is not fetched again."""
    from tunesmith.cli.console import log_to_console
    from tunesmith.config.words import counted
    from tunesmith.data.captions import download_first
    from tunesmith.data.readers import hub

    wanted = [hub.parse(reference) for reference in references]
    names = _pairs(columns, "image", "caption", "id")
    for reference in wanted:
        name = reference.repository.partition("/")[2]
        folder = Path(name) if output is None else output if len(wanted) == 1 else output / name
        _must_be_a_folder(folder)
        with log_to_console():
            if first is None:
                _tell_download(reference.text, folder, hub.download(reference.text, folder, progress=_bars()))
            else:
                done = download_first(
                    reference.text, first, folder, columns=names, overwrite=overwrite, progress=_bars()
                )
                typer.echo(
                    f"wrote {done.table}: {counted(done.rows, 'caption')} of {counted(done.pictures + done.there, 'picture')} "
                    f"({done.pictures} fetched, {done.there} there already)"
                )
                _tell_recipe({"train": [done.table]})


def _bars() -> bool:
    return sys.stderr.isatty()


def _tell_download(reference: str, folder: Path, done: Downloaded) -> None:
    from tunesmith.config.words import byte_size, counted

    everything = [path for paths in done.splits.values() for path in paths] + list(done.others)
    total = sum(path.stat().st_size for path in everything)
    typer.echo(f"{reference} -> {folder}: {counted(len(everything), 'file')}, {byte_size(total)}")
    for split, paths in done.splits.items():
        for path in paths:
            typer.echo(f"  {split}: {_typed(path, folder)}")
    for path in done.others[:10]:
        typer.echo(f"  {_typed(path, folder)}")
    if len(done.others) > 10:
        typer.echo(f"  and {len(done.others) - 10} more")
    train = done.splits.get("train") or next(iter(done.splits.values()), ())
    held_out = next((done.splits[name] for name in ("validation", "test") if name in done.splits), ())
    if train:
        parts = {"train": [_under(path, folder) for path in train]}
        if held_out and held_out != train:
            parts["eval"] = [_under(path, folder) for path in held_out]
        _tell_recipe(parts)


def _typed(path: Path, folder: Path) -> str:
    return str(_under(path, folder).relative_to(folder))


def _under(path: Path, folder: Path) -> Path:
    """The path as the user would type it, whatever the hub's client made of the folder's name."""
    return folder / path.resolve().relative_to(folder.resolve())


def _tell_recipe(parts: dict[str, list[Path]], images: Path | None = None) -> None:
    """The lines that use these files; paths of a recipe are relative to its own folder."""
    typer.echo("\nIn a recipe in this folder:\ndata:")
    for part, paths in parts.items():
        values = [json.dumps(path.as_posix(), ensure_ascii=False) for path in paths]
        if images is not None:
            values = [
                f"{{path: {value}, images: {json.dumps(images.as_posix(), ensure_ascii=False)}}}"
                for value in values
            ]
        typer.echo(f"  {part}: [{', '.join(values)}]")


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(help="A file, a folder, a pattern or hf:owner/name, as in a recipe.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The JSON Lines file to write.")],
    format_name: FormatName = None,
    columns: Columns = None,
    images: Annotated[str | None, typer.Option(help="The folder with the pictures.")] = None,
    on_bad_row: Annotated[
        str, typer.Option(help="error: stop and write nothing; skip: drop and list it.")
    ] = "error",
    encoding: Encoding = "utf-8",
    join: Annotated[
        str | None,
        typer.Option(
            help="What stands between an instruction and its input (alpaca); default: \\n, a line feed.",
            show_default=False,
        ),
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="The instruction of a classification or entities task.")
    ] = None,
    labels: Annotated[list[str] | None, typer.Option(help="The name of label 0, 1, ...; repeat it.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make rows of any known format into chats: `{"messages": [...]}`, a line a row, no row lost in silence.

    Preference rows become `prompt`, `chosen` and `rejected`, lists of messages;
    judged chats keep their `label`; plain text stays `{"text": "..."}`.
    """
    from tunesmith.config.words import counted
    from tunesmith.data.convert import convert_file
    from tunesmith.data.words import drop_reason
    from tunesmith.data.writing import must_be_free
    from tunesmith.errors import InputError

    if on_bad_row not in ("error", "skip"):
        raise InputError(f"--on-bad-row is {on_bad_row!r}", expected="error or skip")
    special = {
        "images": images,
        "join": join,
        "instruction": instruction,
        "labels": tuple(labels) if labels else None,
    }
    given = {name: value for name, value in special.items() if value is not None}
    read_from = _source(source, format_name, columns, encoding, **given)
    must_be_free(output, overwrite=overwrite)
    _must_be_read(given, read_from)
    done = convert_file(read_from, output, skip=on_bad_row == "skip")
    for note in (*done.notes, f"the format is {done.format}"):
        typer.echo(note)
    for error in done.dropped:
        typer.echo(f"  dropped {error.where}: {drop_reason(error)}")
    typer.echo(
        f"wrote {output}: {counted(done.read, 'row')} read = {done.written:,} written + {len(done.dropped):,} dropped"
    )
    _tell_recipe({"train": [output]})


def _must_be_read(given: Iterable[str], source: Source) -> None:
    """Raises an InputError for an option that says nothing to rows of the source's format."""
    from tunesmith.config.words import any_of
    from tunesmith.data.convert import rows_and_format
    from tunesmith.data.converters import FORMATS
    from tunesmith.data.readers import find
    from tunesmith.errors import InputError

    if not given:
        return
    format = rows_and_format(find(source))[1]
    for option in given:
        fitting = [one.name for one in FORMATS.values() if set(_READ_WITH[option]) & set(one.known)]
        if format.name not in fitting:
            raise InputError(
                f"--{option} says nothing to rows of the format {format.name}",
                where=source.path,
                expected=f"the format {any_of(fitting)} with it",
                remedy=f"leave --{option} out, or name the format with --format",
            )


@app.command()
def split(
    source: Annotated[
        str, typer.Argument(help="A file, a folder, a pattern or hf:owner/name, as in a recipe.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder for train.jsonl and eval.jsonl.")
    ],
    share: Annotated[float, typer.Option(help="The share of the rows to hold out.")] = 0.1,
    test: Annotated[float, typer.Option(help="A second held-out share, test.jsonl.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Which rows are held out.")] = 0,
    by: Annotated[
        str | None,
        typer.Option(help="A field whose values all parts get their share of; default: a known label."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="A field: rows with the same value stay in one part.")
    ] = None,
    prompts: Annotated[
        bool,
        typer.Option("--prompts/--no-prompts", help="Whether rows with the same prompt stay in one part."),
    ] = True,
    format_name: FormatName = None,
    columns: Columns = None,
    encoding: Encoding = "utf-8",
    overwrite: Overwrite = False,
) -> None:
    """Split rows into train.jsonl and eval.jsonl so that no row, and no question, is on both sides. Rows stay as they are."""
    from tunesmith.config.words import counted
    from tunesmith.data.split import assign
    from tunesmith.data.split_files import look, write_parts
    from tunesmith.data.writing import must_be_free
    from tunesmith.errors import InputError

    if not (0 < share < 1 and 0 <= test < 1 and share + test < 1):
        raise InputError(
            f"the shares to hold out are {share:g} and {test:g}",
            expected="shares between 0 and 1 that leave rows to train on",
        )
    names = ["train.jsonl", "eval.jsonl", *(["test.jsonl"] if test else [])]
    shares = [1 - share - test, share, *([test] if test else [])]
    _must_be_a_folder(output)
    for name in names:
        must_be_free(output / name, overwrite=overwrite)
    read_from = _source(source, format_name, columns, encoding)
    looked = look(read_from, by=by, group=group, same_prompt=prompts)
    parts = assign(looked.keys, looked.strata, shares, seed)
    for part, name in enumerate(names):
        if part not in parts:
            raise InputError(
                f"{name} would hold none of {counted(len(parts), 'row')}: like rows stay together, and no group of them "
                f"is small enough for its share",
                where=source,
                remedy="hold out a larger share, or let rows with the same prompt part with --no-prompts",
            )
    write_parts(read_from, [output / name for name in names], parts)
    for note in looked.notes:
        typer.echo(note)
    _tell_parts([output / name for name in names], parts, looked.strata)
    evals = {"train": [output / names[0]], "eval": [output / names[1]]}
    _tell_recipe(evals, Path(source).parent if looked.pictures else None)


def _tell_parts(files: list[Path], parts: list[int], strata: list[str]) -> None:
    """How many rows each file got, in all and of each stratum."""
    from tunesmith.config.words import counted

    counts = Counter(zip(parts, strata, strict=True))
    of_stratum = Counter(strata)
    shown = [stratum for stratum, _ in of_stratum.most_common(20)] if len(of_stratum) > 1 else []
    for part, file in enumerate(files):
        rows = parts.count(part)
        typer.echo(f"wrote {file}: {counted(rows, 'row')}, {rows / len(parts):.1%}")
    if shown:
        width = max(len(_short(stratum)) for stratum in shown)
        typer.echo("  " + " " * width + "".join(f"  {file.stem:>7}" for file in files))
    for stratum in shown:
        numbers = "".join(f"  {counts[part, stratum]:>7}" for part in range(len(files)))
        typer.echo(f"  {_short(stratum):<{width}}{numbers}")
    if shown and len(of_stratum) > len(shown):
        typer.echo(f"  and {len(of_stratum) - len(shown)} more")


def _short(stratum: str) -> str:
    plain = " ".join(stratum.split())
    return plain if len(plain) <= 30 else plain[:29] + "…"


def _source(
    path: str, format_name: str | None, columns: list[str] | None, encoding: str, **more: Any
) -> Source:
    """What a recipe would say of this source; paths are relative to the current folder."""
    from tunesmith.config.schema import Source

    return Source(path=path, format=format_name, columns=_pairs(columns) or None, encoding=encoding, **more)


def _pairs(given: list[str] | None, *known: str) -> dict[str, str]:
    """`FIELD=COLUMN` options.

    Raises:
        InputError: one has no `=`, a field stands twice, or it is none of the known ones.
    """
    from tunesmith.errors import InputError

    pairs: dict[str, str] = {}
    for text in given or ():
        field, equals, column = text.partition("=")
        if not (field and equals and column):
            raise InputError(f"--columns is {text!r}", expected="FIELD=COLUMN, such as instruction=question")
        if field in pairs:
            raise InputError(f"--columns names the field {field!r} twice")
        if known and field not in known:
            raise InputError(f"--columns names the field {field!r}", expected=f"one of {', '.join(known)}")
        pairs[field] = column
    return pairs


def _must_be_a_folder(path: Path) -> None:
    from tunesmith.errors import InputError

    if path.exists() and not path.is_dir():
        kind = "a file" if path.is_file() else "no folder"
        raise InputError(f"{path} is {kind}", expected="a folder to write to", remedy="name another with -o")


app.command("from-pdf")(books.from_pdf)
app.command("questions")(books.questions)

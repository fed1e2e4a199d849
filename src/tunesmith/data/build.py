"""The data flow of this folder on one page: find -> read -> convert -> render -> store -> split, every row accounted for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith import __version__
from tunesmith.config.schema import Data, Source
from tunesmith.data.cache import LAST_FILE, PassingFolder, read_prepared
from tunesmith.data.flow import run
from tunesmith.data.ledger import ledger_of
from tunesmith.data.readers import Found, digest, find
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Labelled, Pair, Place, Text
from tunesmith.data.store import SampleStore, StoreWriter
from tunesmith.data.tally import Flow, Seen, Side
from tunesmith.errors import InputError, Problems
from tunesmith.rundir import FREE_AND_REPEAT, read_json, write_json

MOST_PROBLEMS_SHOWN = 20
FILES_SHOWN = 5  # a format
_FORM = 8  # of the store and of what lies beside it; a change of it makes kept data anew
# Whose versions may change what is read, or which tokens it becomes.
_MAKERS = ("transformers", "tokenizers", "jinja2", "pyarrow", "pypdfium2", "pillow")


@dataclass(frozen=True)
class DataSet:
    """Everything that training needs to know of the data.

    `ledgers` is what data.json holds; `formats` has the format of each file; `notes` are sentences for the user.
    """

    train: SampleStore
    eval: SampleStore
    ledgers: dict[str, dict[str, Any] | None]
    formats: dict[str, str]
    notes: tuple[str, ...]
    _folder: PassingFolder | None = field(default=None, repr=False)  # lives as long as the data


@dataclass(frozen=True)
class _Sources:
    """What the recipe's paths led to; `eval` is None where no files are held out."""

    train: tuple[Found, ...]
    eval: tuple[Found, ...] | None

    def sides(self) -> dict[str, tuple[Found, ...]]:
        return {"train": self.train} | ({"eval": self.eval} if self.eval is not None else {})

    def all(self) -> list[Found]:
        return [found for founds in self.sides().values() for found in founds]


def build(
    data: Data,
    consumes: type,
    renderer: Renderer,
    seed: int,
    *,
    method: str = "sft",
    learn_chosen: bool = False,
) -> DataSet:
    """Build the samples of a recipe's data block. Rows keep their order; nothing in them is edited.

    Args:
        data: the block; the paths in it are taken as they are.
        consumes: the sample type that the method learns from.
        seed: decides which rows are held out, where `data.eval` is a share, and which `#N` takes.
        method: its name, to say what it does not learn from.
        learn_chosen: of rows that say which answer is better, learn that one.

    Raises:
        InputError: something is wrong with a file, or it changed meanwhile; `Problems` where it is several things.
        WorkError: the disk is full.
    """
    sources, missing = _find_all(data)
    stamps = {file: _stamp(file) for found in sources.all() for file in found.files}
    renderer = replace(renderer, everything=data.loss_on == "everything")

    def write(folder: Path) -> None:
        flow = Flow(data, method, consumes, learn_chosen, renderer, seed, missing)
        sides = _prepare(sources, flow, folder)
        _must_be_unchanged(stamps)
        train, held_out = _stores(folder, data, seed)
        if consumes is Labelled:
            _must_hold_both_labels(train, SampleStore(folder / "train.arrow"))
        prepared = {
            "ledgers": _ledgers(sides, train, held_out),
            "samples": [len(SampleStore(folder / f"{name}.arrow")) for name in ("train", "eval")],
            "formats": flow.formats,
            "notes": _notes(flow),
            "pictures": [[path, *_stamp(path)] for path in sorted(flow.images)],
        }
        write_json(folder / LAST_FILE, prepared, remedy=FREE_AND_REPEAT)

    def read(folder: Path) -> tuple[dict[str, Any], SampleStore, SampleStore]:
        return read_json(folder / LAST_FILE), *_stores(folder, data, seed)

    keep = data.cache and not missing  # with files missing, the others are only looked through
    key = _key(data, consumes, renderer, seed, learn_chosen, sources) if keep else None
    (prepared, train, held_out), temporary = read_prepared(key, _is_good, write, read)
    # What else lies in a folder is no part of the key, so what is said of it is never kept.
    of_files = [note for found in sources.all() for note in found.notes]
    notes = (*of_files, *prepared["notes"])
    return DataSet(train, held_out, prepared["ledgers"], prepared["formats"], notes, temporary)


def _find_all(data: Data) -> tuple[_Sources, list[InputError]]:
    """All files of both sides that are there, and an error for each that is not."""
    problems: list[InputError] = []

    def found(sources: Sequence[Source]) -> tuple[Found, ...]:
        files = []
        for source in sources:
            try:
                files.append(find(source))
            except InputError as error:
                problems.append(error)
        return tuple(files)

    return _Sources(found(data.train), found(data.eval) if isinstance(data.eval, tuple) else None), problems


def _key(
    data: Data, consumes: type, renderer: Renderer, seed: int, learn_chosen: bool, sources: _Sources
) -> str:
    """What prepared data depend on: content, recipe, template, tokenizer, and the versions of what makes them."""
    paths = [path for found in sources.all() for path in (*found.files, found.source.images) if path]
    parts = [
        [_FORM, __version__, {name: _version(name) for name in _MAKERS}],
        data.model_dump(mode="json", exclude={"cache"}),
        # Pictures are looked for beside the files: elsewhere, the same relative path leads to others.
        None if all(map(os.path.isabs, paths)) else os.getcwd(),
        [consumes.__name__, seed, learn_chosen],
        [renderer.encoder.fingerprint, *renderer.settings()],
        {side: [digest(found) for found in founds] for side, founds in sources.sides().items()},
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    """The version that is installed; some packages are optional."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# --- preparing ----------------------------------------------------------------------------------------------------


def _prepare(sources: _Sources, flow: Flow, folder: Path) -> dict[str, Side]:
    """Fill a folder with a store a side, and tell what became of the rows.

    Raises:
        InputError: something is wrong with the data.
    """
    sides: dict[str, Side] = {}
    for name in ("train", "eval"):
        with StoreWriter(folder / f"{name}.arrow") as writer:
            if name in sources.sides():
                sides[name] = run(sources.sides()[name], flow, writer)
    _raise_problems(flow)
    for name, side in sides.items():
        kept = SampleStore(folder / f"{name}.arrow")
        _must_hold_rows(side, kept, f"data.{name}")
    return sides


def _stores(folder: Path, data: Data, seed: int) -> tuple[SampleStore, SampleStore]:
    """The samples of both sides."""
    train, held_out = SampleStore(folder / "train.arrow"), SampleStore(folder / "eval.arrow")
    return _split(train, data.eval, seed) if isinstance(data.eval, float) else (train, held_out)


def _ledgers(
    sides: dict[str, Side], train: SampleStore, held_out: SampleStore
) -> dict[str, dict[str, Any] | None]:
    """What data.json holds. Rows that a share holds out were read as training rows, and count on one side only."""
    train_side, eval_side = sides["train"], sides.get("eval")
    if eval_side is None and len(held_out):
        eval_side = Side(read=_rows(held_out), formats=train_side.formats)
        train_side = Side(train_side.read - eval_side.read, train_side.dropped, train_side.formats)
    return {
        "train": ledger_of(train_side, train),
        "eval": ledger_of(eval_side, held_out, train) if eval_side else None,
    }


def _stamp(path: str | Path) -> list[int]:
    """What tells a changed file, without reading it, and one that is not there from one that is."""
    try:
        status = os.stat(path)
    except (
        OSError,
        ValueError,
    ):  # a row may name anything as a picture, such as a path with a null character
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def _must_be_unchanged(stamps: Mapping[Path, list[int]]) -> None:
    """Raise an InputError if a file is no longer what it was before its content was looked at."""
    for file, stamp in stamps.items():
        if _stamp(file) != stamp:
            raise InputError(
                "the file changed while it was read",
                where=str(file),
                remedy="wait until it is whole, and run again",
            )


def _is_good(folder: Path) -> bool:
    """Whether kept data can be taken: undamaged, and the pictures in them are what they were.

    Pictures are no part of the data files, whose content the key tells; a changed one may have another size, and one
    that was not there or broken, so that its row was dropped, may be good now.
    """
    try:
        prepared = read_json(folder / LAST_FILE)
        counts = [len(SampleStore(folder / f"{name}.arrow")) for name in ("train", "eval")]
        whole = counts == prepared["samples"] and {"ledgers", "formats", "notes"} <= set(prepared)
        return whole and all(_stamp(path) == stamp for path, *stamp in prepared["pictures"])
    except (InputError, OSError, ValueError, KeyError, TypeError):  # pyarrow's errors are ValueErrors
        return False


# --- what is wrong, and what to know ------------------------------------------------------------------------------


def _raise_problems(flow: Flow) -> None:
    """Tell everything that was found, at once."""
    # What is wrong with the template is found once a file; it is told once.
    problems = list({str(problem): problem for problem in flow.problems}.values())
    if flow.long:
        judged = flow.consumes in (Pair, Labelled)
        problems.append(_too_long(flow.long, flow.data.max_length, judged=judged))
    if len(problems) == 1:
        raise problems[0]
    if len(problems) > MOST_PROBLEMS_SHOWN:
        more = len(problems) + flow.more_problems - MOST_PROBLEMS_SHOWN
        # The rows that are too long share one entry, the last; it must not fall under "more".
        problems = [
            *problems[: MOST_PROBLEMS_SHOWN - 1],
            problems[-1],
            InputError(f"and {more} more problems"),
        ]
    if problems:
        raise Problems(problems)


def _too_long(long: list[tuple[Place, int]], limit: int, *, judged: bool) -> InputError:
    shown = ", ".join(f"{place} ({length} tokens)" for place, length in long[:5])
    more = f" and {len(long) - 5} more" if len(long) > 5 else ""
    longest = max(length for _, length in long)
    rows = "1 row is" if len(long) == 1 else f"{len(long)} rows are"
    return InputError(
        f"{rows} longer than data.max_length {limit}: {shown}{more}",
        remedy=f"raise data.max_length to {longest}, or say under data what is to be done with such rows: "
        "`on_long: truncate` (the question, never the answer), "
        + ("or `drop`" if judged else "`split` (between turns) or `drop`"),
    )


def _must_hold_rows(side: Side, kept: SampleStore, block: str) -> None:
    if len(kept):
        return
    reasons = "; ".join(f"{place}: {reason}" for place, reason in side.dropped[:3])
    raise InputError(
        f"no row of {block} is left: all {side.read} were dropped ({reasons}{', ...' if len(side.dropped) > 3 else ''})",
        expected="at least one row to learn from",
    )


def _must_hold_both_labels(train: SampleStore, unsplit: SampleStore) -> None:
    """Raise an InputError where the answers to learn from are all good or all bad, maybe as a share is held out."""
    found = set(train.column("good"))
    if len(found) > 1:
        return
    kind, missing = ("good", "bad") if found == {True} else ("bad", "good")
    remedy = f"add {missing} ones"
    if set(unsplit.column("good")) != found:
        remedy += " (data.eval holds out those there are), or hold out other rows with another train.seed"
    elif kind == "good":
        remedy += ", or learn the good ones: `method: {name: sft, preferences: chosen}`"
    raise InputError(
        f"all {len(train)} answers of data.train are judged {kind}",
        expected="good and bad ones",
        remedy=remedy,
    )


def _notes(flow: Flow) -> list[str]:
    notes = _notes_of_formats(flow)
    if flow.consumes is not Text:
        notes += flow.renderer.notes()

    def add(seen: Seen, sentence: str) -> None:
        if seen.rows:
            notes.append(
                f"{sentence}: {seen.rows} {'row' if seen.rows == 1 else 'rows'}, the first at {seen.first}"
            )

    add(
        flow.rewritten,
        "the template does not write every answer as it was given (it may trim blanks); what it writes is trained",
    )
    add(
        flow.guarded,
        "special tokens stand in messages and are read as plain text (`control_tokens: tokens` reads them as tokens)",
    )
    add(flow.control, "special tokens stand in texts and are read as the tokens they name")
    add(flow.thoughts, "what the assistant thought before it answered is left out")
    add(flow.chosen, "of rows that say which answer is better, only the better (or good) ones are learned")
    add(
        flow.lone_tokens,
        "texts end in a piece of a single token, which has nothing to be predicted from and is left out",
    )
    return notes


def _notes_of_formats(flow: Flow) -> list[str]:
    """The format of each file; of many files with the same one, of the first few."""
    files: dict[str, list[str]] = {}
    for file, name in flow.formats.items():
        files.setdefault(f"format {name}{'' if file in flow.named else ', detected'}", []).append(file)
    notes = []
    for how, same in files.items():
        notes += [f"{file}: {how}" for file in same[:FILES_SHOWN]]
        more = len(same) - FILES_SHOWN
        if more > 0:
            notes.append(f"and {more} more {'file' if more == 1 else 'files'}: {how}")
    return notes


# --- held out ----------------------------------------------------------------------------------------------------


def _rows(store: SampleStore) -> int:
    return len(np.unique(store.rows))


def _split(store: SampleStore, share: float, seed: int) -> tuple[SampleStore, SampleStore]:
    """Hold out a share of the kept rows, at least one, and leave at least one; dropped rows count as training rows.

    Which rows is a pure function of the seed and of how many there are, on every machine and Python.

    Raises:
        InputError: there is only one row.
    """
    count = _rows(store)
    if count < 2:
        raise InputError(
            f"data.eval holds out a share of {share} of the rows, but only {count} row is there",
            expected="at least two",
            remedy="set data.eval to null, or add rows",
        )
    held = min(max(1, round(share * count)), count - 1)
    digests = (hashlib.sha256(f"{seed}:{at}".encode()).digest() for at in range(count))
    lots = np.fromiter((int.from_bytes(digest[:8], "big") for digest in digests), np.uint64, count)
    is_held = np.zeros(count, bool)
    is_held[np.argsort(lots, kind="stable")[:held]] = True
    of_samples = is_held[store.rows]
    return store.select(np.flatnonzero(~of_samples)), store.select(np.flatnonzero(of_samples))

"""The data flow of this folder on one page: read -> convert -> render -> check -> split, with every row accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.config.schema import Data, Source
from tunesmith.data.converters import convert, detect
from tunesmith.data.converters.base import Format, bad_row
from tunesmith.data.ledger import Ledger, drop_reason, loss_tokens
from tunesmith.data.readers import read
from tunesmith.data.render import Renderer
from tunesmith.data.schema import BadRow, Conversation, Place, Sample, SourceRow, Text
from tunesmith.errors import InputError, Problems
from tunesmith.segments import Piece, single_paths, tree_length

MOST_PROBLEMS_SHOWN = 20
# The method that learns from each sample type, to name in a message the one that fits.
_METHOD_OF: dict[type, str] = {Conversation: "sft", Text: "pretrain"}


@dataclass(frozen=True)
class DataSet:
    """Everything that training needs to know of the data.

    `ledgers` is what data.json holds; `formats` has the format of each file; `notes` are sentences for the user.
    """

    train: list[Sample]
    eval: list[Sample]
    ledgers: dict[str, dict[str, Any] | None]
    formats: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """A kept row: its samples, several where a text was cut."""

    place: Place
    samples: list[Sample]


@dataclass
class _Side:
    """The rows of one side, training or held-out, before they are counted."""

    read: int = 0
    kept: list[_Row] = field(default_factory=list)
    dropped: list[tuple[Place, str]] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)

    def ledger(self) -> dict[str, Any]:
        ledger = Ledger()
        ledger.read(self.read)
        for name in self.formats:
            ledger.speaks(name)
        for row in self.kept:
            ledger.keep(row.samples)
        for place, reason in self.dropped:
            ledger.drop(place, reason)
        return ledger.as_dict()

    def samples(self) -> list[Sample]:
        return [sample for row in self.kept for sample in row.samples]


@dataclass
class _Flow:
    """What goes through all steps, and what they find."""

    data: Data
    consumes: type
    renderer: Renderer
    problems: list[InputError] = field(default_factory=list)
    long: list[tuple[Place, int]] = field(default_factory=list)
    rewritten: list[Place] = field(default_factory=list)
    lone_tokens: list[Place] = field(default_factory=list)
    formats: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def build(data: Data, consumes: type, renderer: Renderer, seed: int) -> DataSet:
    """Build the samples of a recipe's data block. Rows keep their order; nothing in them is edited.

    Args:
        data: the block; the paths in it are taken as they are.
        consumes: the sample type that the method learns from, Conversation or Text.
        seed: decides which rows are held out, where `data.eval` is a share.

    Raises:
        InputError: something is wrong with a file; `Problems` where it is several things.
    """
    flow = _Flow(data, consumes, renderer)
    train = _read_side(data.train, flow)
    held_out = _read_side(data.eval, flow) if isinstance(data.eval, tuple) else None
    _raise_problems(flow)
    _must_hold_rows(train, "data.train")
    if isinstance(data.eval, float):
        train, held_out = _split(train, data.eval, seed)
    elif held_out is not None:
        _must_hold_rows(held_out, "data.eval")
    return DataSet(
        train=train.samples(),
        eval=held_out.samples() if held_out else [],
        ledgers={"train": train.ledger(), "eval": held_out.ledger() if held_out else None},
        formats=flow.formats,
        notes=_notes(flow),
    )


def _read_side(sources: Sequence[Source], flow: _Flow) -> _Side:
    """Read the files of one side. What is wrong with one of them does not keep the others from being checked."""
    side = _Side()
    for source in sources:
        try:
            _read_source(source, side, flow)
        except InputError as error:
            flow.problems.append(error)
    return side


def _read_source(source: Source, side: _Side, flow: _Flow) -> None:
    rows = list(read(source.path))
    side.read += len(rows)
    if all(row.problem for row in rows):  # nothing to detect a format on
        for row in rows:
            if row.problem:
                _refuse(row.problem, row.place, side, flow)
        return
    format = detect(rows, source.format)
    _must_suit_the_method(format, source, flow)
    if format.name not in side.formats:
        side.formats.append(format.name)
    flow.formats[source.path] = format.name
    flow.notes.append(f"{source.path}: format {format.name}" + ("" if source.format else ", detected"))
    for row in rows:
        try:
            samples = _samples(row, format, flow)
        except BadRow as error:
            error.where = error.where or str(row.place)
            _refuse(error, row.place, side, flow)
        else:
            _keep_unless_long(_Row(row.place, samples), side, flow)


def _must_suit_the_method(format: Format, source: Source, flow: _Flow) -> None:
    if format.makes is flow.consumes:
        return
    method, fitting = _METHOD_OF[flow.consumes], _METHOD_OF[format.makes]
    raise InputError(
        f"the method {method} does not learn from rows of the format {format.name}",
        where=source.path,
        remedy=f"take the method that does (`method: {{name: {fitting}}}`), or bring rows for {method}",
    )


def _samples(row: SourceRow, format: Format, flow: _Flow) -> list[Sample]:
    """Convert and render one row.

    Raises:
        BadRow: it cannot be used.
    """
    converted = convert(row, format)
    samples = (
        _cut_text(converted, row.place, flow)
        if isinstance(converted, Text)
        else [_conversation(converted, row.place, flow)]
    )
    if not all(loss_tokens(sample.tree) for sample in samples):
        raise bad_row(
            f"no token of row {row.place.row} carries loss, so nothing can be learned from it", row.place
        )
    return samples


def _conversation(conversation: Conversation, place: Place, flow: _Flow) -> Sample:
    tree, rewritten = flow.renderer.rendered(conversation)
    if rewritten:
        flow.rewritten.append(place)

    def last(role: str) -> str | None:
        return next((m.content for m in reversed(conversation.messages) if m.role == role), None)

    return Sample(tree, place, prompt=last("user"), answer=last("assistant"))


def _cut_text(text: Text, place: Place, flow: _Flow) -> list[Sample]:
    """A text as pieces of at most `max_length` tokens, the last one as long as it comes.

    A piece's first token has nothing to be predicted from, so a last piece of one token would teach nothing.
    """
    ids = flow.renderer.text_ids(text.text)
    size = flow.data.max_length
    pieces = [ids[at : at + size] for at in range(0, len(ids), size)]
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces.pop()
        flow.lone_tokens.append(place)
    return [Sample((Piece(tuple(piece), (0.0,) + (1.0,) * (len(piece) - 1)),), place) for piece in pieces]


def _refuse(error: BadRow, place: Place, side: _Side, flow: _Flow) -> None:
    """Count a bad row as dropped, or remember it as a problem."""
    if flow.data.on_bad_row == "skip":
        side.dropped.append((place, drop_reason(error)))
    else:
        flow.problems.append(error)


def _keep_unless_long(row: _Row, side: _Side, flow: _Flow) -> None:
    """Keep the row, unless a path of it is longer than `max_length`."""
    length = max(_longest_path(sample) for sample in row.samples)
    limit = flow.data.max_length
    if length <= limit:
        side.kept.append(row)
    elif flow.data.on_long == "drop":
        side.dropped.append((row.place, f"{length} tokens, longer than max_length {limit}"))
    else:
        flow.long.append((row.place, length))


def _longest_path(sample: Sample) -> int:
    """Tokens from the first one to a leaf's last one: the length that the model sees."""
    if len(sample.tree) == 1:
        return len(sample.tree[0].tokens)
    return max(tree_length(path) for path in single_paths(sample.tree))


def _raise_problems(flow: _Flow) -> None:
    """Tell everything that was found, at once."""
    # What is wrong with the template is found once a file; it is told once.
    problems = list({str(problem): problem for problem in flow.problems}.values())
    if flow.long:
        problems.append(_too_long(flow.long, flow.data.max_length))
    if len(problems) == 1:
        raise problems[0]
    if len(problems) > MOST_PROBLEMS_SHOWN:
        more = len(problems) - MOST_PROBLEMS_SHOWN
        # The rows that are too long share one entry, the last; it must not fall under "more".
        problems = [
            *problems[: MOST_PROBLEMS_SHOWN - 1],
            problems[-1],
            InputError(f"and {more} more problems"),
        ]
    if problems:
        raise Problems(problems)


def _too_long(long: list[tuple[Place, int]], limit: int) -> InputError:
    shown = ", ".join(f"{place} ({length} tokens)" for place, length in long[:5])
    more = f" and {len(long) - 5} more" if len(long) > 5 else ""
    longest = max(length for _, length in long)
    rows = "1 row is" if len(long) == 1 else f"{len(long)} rows are"
    return InputError(
        f"{rows} longer than data.max_length {limit}: {shown}{more}",
        remedy=f"raise data.max_length to {longest}, or drop such rows with `on_long: drop` under data",
    )


def _must_hold_rows(side: _Side, block: str) -> None:
    if side.kept:
        return
    reasons = "; ".join(f"{place}: {reason}" for place, reason in side.dropped[:3])
    raise InputError(
        f"no row of {block} is left: all {side.read} were dropped ({reasons}{', ...' if len(side.dropped) > 3 else ''})",
        expected="at least one row to learn from",
    )


def _split(side: _Side, share: float, seed: int) -> tuple[_Side, _Side]:
    """Hold out a share of the kept rows, at least one, and leave at least one; dropped rows count as training rows.

    Which rows is a pure function of the seed and of how many there are, on every machine and Python.

    Raises:
        InputError: there is only one row.
    """
    count = len(side.kept)
    if count < 2:
        raise InputError(
            f"data.eval holds out a share of {share} of the rows, but only {count} row is there",
            expected="at least two",
            remedy="set data.eval to null, or add rows",
        )
    held = min(max(1, round(share * count)), count - 1)
    by_lot = sorted(range(count), key=lambda at: hashlib.sha256(f"{seed}:{at}".encode()).digest())
    chosen = set(by_lot[:held])
    train = _Side(side.read - held, [], side.dropped, side.formats)
    held_out = _Side(held, [], [], side.formats)
    for at, row in enumerate(side.kept):
        (held_out if at in chosen else train).kept.append(row)
    return train, held_out


def _notes(flow: _Flow) -> tuple[str, ...]:
    notes = list(flow.notes)
    if flow.consumes is Conversation:
        notes += flow.renderer.notes()
    if flow.rewritten:
        notes.append(
            f"the template does not write every answer as it was given (it may trim blanks): {len(flow.rewritten)} "
            f"rows, the first at {flow.rewritten[0]}; what it writes is what is trained"
        )
    if flow.lone_tokens:
        notes.append(
            f"{len(flow.lone_tokens)} texts end in a piece of a single token, which has nothing to be predicted from "
            f"and is left out; the first at {flow.lone_tokens[0]}"
        )
    return tuple(notes)

"""From rows to prepared samples: convert -> outline -> encode -> finish -> store, a chunk of rows at a time.

Encoding runs on all cores in a thread of its own; meanwhile this one renders the next chunk and finishes the last.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice

from tunesmith.config.schema import Source
from tunesmith.data.converters import convert, detect
from tunesmith.data.converters.base import Format, bad_row
from tunesmith.data.converters.images import BadPicture
from tunesmith.data.drafts import Drafter
from tunesmith.data.encode import Encoding
from tunesmith.data.pairs import conversations_of, with_sides
from tunesmith.data.readers import Found, read
from tunesmith.data.rendered import Outline
from tunesmith.data.reshape import (
    evenly,
    has_thoughts,
    only_last_turn,
    weighted,
    without_thoughts,
)
from tunesmith.data.schema import (
    BadRow,
    Conversation,
    Converted,
    Labelled,
    Pair,
    Place,
    Prompt,
    SourceRow,
    Text,
)
from tunesmith.data.store import StoreWriter
from tunesmith.data.tally import Dropped, Flow, Side
from tunesmith.data.words import drop_reason
from tunesmith.errors import InputError

ROWS_TO_DETECT_BY = 1000
_CHUNK_ROWS, _CHUNK_CHARACTERS = 512, 1 << 21
# The method that learns from each sample type, to name in a message the one that fits.
METHOD_OF: dict[type, str] = {
    Conversation: "sft", Text: "pretrain", Pair: "dpo", Labelled: "kto", Prompt: "grpo"
}  # fmt: skip


@dataclass
class _Row:
    """A row on its way: what it was made into, as text, until its tokens are there."""

    place: Place
    value: Converted | None = None
    outlines: tuple[Outline, ...] = ()  # of its conversation; of both, where the row is a pair
    error: BadRow | None = None


@dataclass
class _Chunk:
    """Rows that are encoded together."""

    rows: list[_Row]
    encodings: Future[Sequence[Encoding] | None]
    documents: Future[list[list[int]]]


def run(founds: Sequence[Found], flow: Flow, writer: StoreWriter) -> Side:
    """Take the rows of one side to the store. What is wrong with one file does not keep the others from being read."""
    side = Side()
    with ThreadPoolExecutor(1) as pool, _few_collections():
        for found in founds:
            try:
                for file, rows in groupby(read(found, flow.seed), key=lambda row: row.place.file):
                    _SourceFile(found.source, file, flow, side, writer, pool).take(rows)
            except InputError as error:
                flow.problem(error)
    return side


@contextmanager
def _few_collections() -> Iterator[None]:
    """Python's search for reference cycles looks through all rows at hand again and again, a sixth of the time.

    Rows form no cycles; what else does waits for the much rarer collections in here.
    """
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _SourceFile:
    """One file's rows on their way: they have one format, and unique ids where the format has ids."""

    def __init__(
        self,
        source: Source,
        file: str,
        flow: Flow,
        side: Side,
        writer: StoreWriter,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.source, self.file, self.flow, self.side = source, file, flow, side
        self.writer, self.pool = writer, pool
        self.drafter = Drafter(flow, source, side)
        self.ids: dict[int, int] = {}

    def take(self, rows: Iterable[SourceRow]) -> None:
        rows = iter(rows)
        first = list(islice(rows, ROWS_TO_DETECT_BY))
        while all(row.problem for row in first):  # nothing to detect a format on
            if not first:
                return
            for row in first:
                self.side.read += 1
                if row.problem:
                    self._refuse(row.problem, row.place)
            first = list(islice(rows, ROWS_TO_DETECT_BY))
        format = detect(first, self.source)
        self._must_suit_the_method(format)
        self._says(format)
        waiting: _Chunk | None = None
        for chunk in _chunks(self._prepared(row, format) for row in chain(first, rows)):
            following = self._encode(chunk)
            if waiting:
                self._finish(waiting)
            waiting = following
        if waiting:
            self._finish(waiting)

    def _says(self, format: Format) -> None:
        if format.name not in self.side.formats:
            self.side.formats.append(format.name)
        self.flow.formats[self.file] = format.name
        if self.source.format:
            self.flow.named.add(self.file)

    def _must_suit_the_method(self, format: Format) -> None:
        consumes, method, fitting = self.flow.consumes, self.flow.method, METHOD_OF[format.makes]
        if format.makes is consumes or (consumes is Prompt and format.makes is Conversation):
            return
        if consumes is Conversation and self.flow.learn_chosen and _judges(format):
            return
        way = f"take the method that does: `method: {{name: {fitting}}}`"
        if _judges(format):
            chosen = "learn the chosen (or good) answers alone: `method: {name: sft, preferences: chosen}`"
            raise InputError(
                f"rows of the format {format.name} say which answer is better, and the method {method} does not learn "
                "from that",
                where=self.file,
                remedy=f"{way}, or {chosen}",
            )
        raise InputError(
            f"the method {method} does not learn from rows of the format {format.name}",
            where=self.file,
            remedy=f"{way}, or bring rows for {method}",
        )

    # --- rows -> text ------------------------------------------------------------------------------------------

    def _prepared(self, row: SourceRow, format: Format) -> _Row:
        """One row converted and outlined, or with what is wrong with it."""
        self.side.read += 1
        try:
            value = convert(row, format, self.source)
            self._must_be_new(row, format)  # also a row that is not learned
            value = self._as_learned(value, row.place)
            outline = self.flow.renderer.outline
            return _Row(row.place, value, tuple(outline(side) for side in conversations_of(value)))
        except BadRow as error:
            return _Row(row.place, error=error)

    def _must_be_new(self, row: SourceRow, format: Format) -> None:
        if format.id_field is None:
            return
        column = (self.source.columns or {}).get(format.id_field, format.id_field)
        name = row.value.get(column)
        if name is None:
            return
        first = self.ids.setdefault(hash(str(name)), row.place.row)
        if first != row.place.row:
            raise bad_row(
                f"field {column!r} of row {row.place.row} is {str(name)[:40]!r}, which row {first} has too",
                row.place,
                expected="an id of its own",
            )

    def _as_learned(self, value: Converted, place: Place) -> Converted:
        """What is learned of a row: its sides, turns, thoughts and weights as the method and the recipe say."""
        flow = self.flow
        if isinstance(value, Pair) and flow.consumes is Conversation:
            flow.chosen.at(place)
            value = Conversation((*value.prompt, *value.chosen), value.tools)
        elif isinstance(value, Labelled) and flow.consumes is Conversation:
            flow.chosen.at(place)
            if not value.good:
                raise _NotLearned("the answer is judged bad, and only good ones are learned")
            value = value.conversation
        if isinstance(value, Conversation) and flow.consumes is Prompt:
            return _without_the_answer(value)
        if isinstance(value, Pair):
            shaped = [self._shaped(side, place) for side in conversations_of(value)]
            return with_sides(value, *shaped)
        if isinstance(value, Labelled):
            # What was judged is the last answer.
            return replace(value, conversation=only_last_turn(self._shaped(value.conversation, place)))
        return self._shaped(value, place) if isinstance(value, Conversation) else value

    def _shaped(self, value: Conversation, place: Place) -> Conversation:
        """A conversation with the thoughts and weights that the recipe wants."""
        flow = self.flow
        if flow.data.thinking == "drop" and has_thoughts(value):
            flow.thoughts.at(place)
            value = without_thoughts(value)
        if flow.data.loss_on == "last_turn":
            value = only_last_turn(value)
        elif flow.data.loss_on == "everything":
            value = evenly(value)
        return self._weighted(value, place)

    def _weighted(self, value: Conversation, place: Place) -> Conversation:
        if self.source.weight == 1:
            return value
        heavier = weighted(value, self.source.weight)
        for before, after in zip(value.messages, heavier.messages, strict=True):
            if before.loss and not 0 < after.loss < math.inf:
                raise bad_row(
                    f"a message's weight {before.loss:g} times the source's {self.source.weight:g} is {after.loss:g}",
                    place,
                    expected="a finite number above 0",
                )
        return heavier

    # --- text -> tokens ----------------------------------------------------------------------------------------

    def _encode(self, rows: list[_Row]) -> _Chunk:
        encoder, renderer = self.flow.renderer.encoder, self.flow.renderer
        joints = [outline.joint for row in rows for outline in row.outlines if outline.joint is not None]
        texts = [row.value.text for row in rows if isinstance(row.value, Text)]
        return _Chunk(
            rows, self.pool.submit(encoder.many, joints), self.pool.submit(renderer.many_text_ids, texts)
        )

    def _finish(self, chunk: _Chunk) -> None:
        encodings = chunk.encodings.result()
        encoded = iter(encodings or ())
        documents = iter(chunk.documents.result())
        for row in chunk.rows:
            try:
                if row.error is not None:
                    raise row.error
                # Taken before anything can fail: a row that is refused must not leave its tokens to the next one.
                ids = next(documents) if isinstance(row.value, Text) else []
                given = [
                    next(encoded) if encodings is not None and outline.joint is not None else None
                    for outline in row.outlines
                ]
                assert row.value is not None
                drafts = self.drafter.samples_of(row.value, row.place, row.outlines, given, ids)
                if drafts:
                    self.writer.add(drafts)
                    self._note(row)
            except BadRow as error:
                error.where = error.where or str(row.place)
                self._refuse(error, row.place)

    def _note(self, row: _Row) -> None:
        """Remember of a kept row what its user should know."""
        flow = self.flow
        if isinstance(row.value, Text):
            if flow.renderer.encoder.holds_special(row.value.text):
                flow.control.at(row.place)
        elif row.outlines:
            if any(turn.rewritten for outline in row.outlines for turn in outline.turns):
                flow.rewritten.at(row.place)
            if any(outline.guarded for outline in row.outlines):
                flow.guarded.at(row.place)

    # --- rows that are not kept --------------------------------------------------------------------------------

    def _refuse(self, error: BadRow, place: Place) -> None:
        """Count a bad row as dropped, or remember it as a problem."""
        if self.flow.data.on_bad_row == "skip" or isinstance(error, _NotLearned):
            if isinstance(error, BadPicture):
                self.flow.images.update(error.files)
            self.side.dropped.append(Dropped(place, drop_reason(error)))
        else:
            self.flow.problem(error)


class _NotLearned(BadRow):
    """A good row that this recipe does not learn from: dropped and counted, never an error."""


def _without_the_answer(value: Conversation) -> Prompt:
    """A chat up to its last answer, which a drawn one may be compared with."""
    last = max(number for number, message in enumerate(value.messages) if message.role == "assistant")
    answer = value.messages[last]
    return Prompt(value.messages[:last], value.tools, answer.text, answer.keywords)


def _judges(format: Format) -> bool:
    """Whether rows of the format say which answer is better, or whether one is good."""
    return format.makes in (Pair, Labelled)


def _chunks(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    """Rows in lists that are neither too many nor too much text."""
    chunk: list[_Row] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        if row.outlines:
            turns = (turn for outline in row.outlines for turn in outline.turns)
            characters += sum(len(turn.shown) + len(turn.full) for turn in turns)
        elif isinstance(row.value, Text):
            characters += len(row.value.text)
        if len(chunk) >= _CHUNK_ROWS or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk

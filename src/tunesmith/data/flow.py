"""From rows to prepared samples: convert -> outline -> encode -> finish -> store, a chunk of rows at a time.

Encoding runs on all cores in a thread of its own; meanwhile this one renders the next chunk and finishes the last.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, islice
from typing import NamedTuple

from tunesmith.config.schema import Data, Source
from tunesmith.data.converters import convert, detect
from tunesmith.data.converters.base import Format, bad_row
from tunesmith.data.converters.images import BadPicture
from tunesmith.data.encode import Encoding
from tunesmith.data.pairs import conversations_of, joined, truncated_pair, with_sides
from tunesmith.data.readers import Found, read
from tunesmith.data.render import Renderer
from tunesmith.data.rendered import Outline
from tunesmith.data.reshape import (
    evenly,
    has_thoughts,
    only_last_turn,
    split,
    truncated,
    weighted,
    without_thoughts,
)
from tunesmith.data.schema import (
    BadRow,
    Conversation,
    Converted,
    Labelled,
    Message,
    Pair,
    Place,
    Prompt,
    SourceRow,
    Stretch,
    Strip,
    Text,
)
from tunesmith.data.store import SPLIT, TRUNCATED, WHOLE, Draft, StoreWriter, longest_path, loss_tokens
from tunesmith.data.words import drop_reason
from tunesmith.errors import InputError

ROWS_TO_DETECT_BY = 1000
MOST_PROBLEMS_KEPT = 1000
_CHUNK_ROWS, _CHUNK_CHARACTERS = 512, 1 << 21
# The method that learns from each sample type, to name in a message the one that fits.
METHOD_OF: dict[type, str] = {
    Conversation: "sft", Text: "pretrain", Pair: "dpo", Labelled: "kto", Prompt: "grpo"
}  # fmt: skip


class Dropped(NamedTuple):
    """A row that is not used, and why."""

    place: Place
    reason: str


@dataclass
class Side:
    """What became of the rows of one side, training or held-out. The kept ones are in the store."""

    read: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)


class Seen:
    """How many rows something was seen in, and the first of them."""

    def __init__(self) -> None:
        self.rows = 0
        self.first: Place | None = None

    def at(self, place: Place) -> None:
        self.rows += 1
        self.first = self.first or place


@dataclass
class Flow:
    """What goes through all steps, and what they find."""

    data: Data
    method: str
    consumes: type
    learn_chosen: bool
    renderer: Renderer
    seed: int
    problems: list[InputError] = field(default_factory=list)
    more_problems: int = 0
    long: list[tuple[Place, int]] = field(default_factory=list)
    rewritten: Seen = field(default_factory=Seen)
    guarded: Seen = field(default_factory=Seen)
    thoughts: Seen = field(default_factory=Seen)
    control: Seen = field(default_factory=Seen)
    lone_tokens: Seen = field(default_factory=Seen)
    chosen: Seen = field(default_factory=Seen)
    formats: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)  # files whose format the recipe names
    images: set[str] = field(default_factory=set)

    def problem(self, error: InputError) -> None:
        if len(self.problems) < MOST_PROBLEMS_KEPT:
            self.problems.append(error)
        else:
            self.more_problems += 1


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
                if isinstance(row.value, Prompt):
                    drafts = self._prompt_drafts(row.value, row.place)
                else:
                    drafts = self._drafts(row, given) if row.outlines else self._text_drafts(ids, row.place)
                    _must_teach(drafts, row.place)
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

    def _drafts(self, row: _Row, encodings: Sequence[Encoding | None]) -> list[Draft]:
        """The samples of a row of chats: one, but for a long chat that is split; none for one that is too long."""
        assert row.value is not None
        flow, limit = self.flow, self.flow.data.max_length
        finished = [
            flow.renderer.finish(outline, encoding).strips
            for outline, encoding in zip(row.outlines, encodings, strict=True)
        ]
        strips = _as_tree(finished)
        length = longest_path(strips)
        if length <= limit:
            return [self._draft(row.value, strips, row.place, WHOLE)]
        if flow.data.on_long in ("error", "drop"):
            self._too_long(row.place, length)
            return []
        pieces, change = self._shortened(row.value, row.place)
        drafts = []
        for piece in pieces:
            strips = _as_tree([flow.renderer.rendered(side).strips for side in conversations_of(piece)])
            if longest_path(strips) > limit:
                raise _still_too_long(row.place, longest_path(strips), limit, change)
            drafts.append(self._draft(piece, strips, row.place, change))
        return drafts

    def _shortened(self, value: Converted, place: Place) -> tuple[list[Converted], int]:
        """A row that is too long as `on_long` says: truncated, or in pieces."""
        flow, limit = self.flow, self.flow.data.max_length
        if flow.data.on_long == "truncate":
            if isinstance(value, Pair):
                return [truncated_pair(value, self._length, limit)], TRUNCATED
            if isinstance(value, Labelled):
                cut = truncated(value.conversation, self._length, limit)
                return [replace(value, conversation=cut)], TRUNCATED
            assert isinstance(value, Conversation)
            return [truncated(value, self._length, limit)], TRUNCATED
        if not isinstance(value, Conversation):
            raise bad_row(
                f"row {place.row} is longer than data.max_length {limit}, and a judged answer cannot be split",
                place,
                remedy="truncate the questions (`on_long: truncate` under data), drop such rows, or raise max_length",
            )
        everything = flow.data.loss_on == "everything"
        return [*split(value, self._length, limit, keep_all=everything)], SPLIT

    def _length(self, conversation: Conversation) -> int:
        if not any(message.loss for message in conversation.messages):
            # A part of a chat may hold no answer to learn; it is as long as if its last one were.
            last = replace(conversation.messages[-1], loss=1.0)
            conversation = replace(conversation, messages=(*conversation.messages[:-1], last))
        return longest_path(self.flow.renderer.rendered(conversation).strips)

    def _draft(self, value: Converted, strips: tuple[Strip, ...], place: Place, change: int) -> Draft:
        conversation, *others = conversations_of(value)
        asked, answered = _last("user", conversation), _last("assistant", conversation)
        rejected = _last("assistant", others[0]) if others else None
        pictures = [image for m in conversation.messages for image in m.images]
        images = tuple(image.path for image in pictures)
        self.flow.images.update(images)
        return Draft(
            strips,
            place,
            asked.text if asked else None,
            answered.text if answered else None,
            images,
            change,
            contents=tuple(image.digest for image in pictures),
            keywords=answered.keywords if answered else (),
            rejected=rejected.text if rejected else None,
            good=value.good if isinstance(value, Labelled) else None,
        )

    def _text_drafts(self, ids: list[int], place: Place) -> list[Draft]:
        """A text as pieces of at most `max_length` tokens, the last one as long as it comes.

        A piece's first token has nothing to be predicted from, so a last piece of one token would teach nothing.
        """
        self.flow.renderer.pictures_in(ids, ())  # raises where a text holds the token of pictures
        size = self.flow.data.max_length
        pieces = [ids[at : at + size] for at in range(0, len(ids), size)]
        if len(pieces) > 1 and len(pieces[-1]) == 1:
            pieces.pop()
            self.flow.lone_tokens.at(place)
        weight = self.source.weight
        return [Draft((Strip(piece, (Stretch(1, len(piece), weight),)),), place) for piece in pieces]

    def _prompt_drafts(self, value: Prompt, place: Place) -> list[Draft]:
        """A prompt as the model is shown it, with nothing to learn yet: its answers are drawn in training."""
        renderer, limit = self.flow.renderer, self.flow.data.max_length
        pictures = [image for message in value.messages for image in message.images]
        ids = renderer.prompt(value.messages, value.tools)
        if len(ids) > limit:
            if self.flow.data.on_long in ("error", "drop"):
                self._too_long(place, len(ids))
                return []
            raise bad_row(
                f"row {place.row} is longer than data.max_length {limit}, and a prompt is neither truncated nor split",
                place,
                remedy="drop such rows (`on_long: drop` under data), or raise max_length",
            )
        images = tuple(image.path for image in pictures)
        self.flow.images.update(images)
        asked = next((m.text for m in reversed(value.messages) if m.role == "user"), None)
        return [
            Draft(
                (Strip(ids, (), None, tuple(renderer.pictures_in(ids, pictures))),),
                place,
                asked,
                value.reference,
                images,
                contents=tuple(image.digest for image in pictures),
                keywords=value.keywords,
            )
        ]

    # --- rows that are not kept --------------------------------------------------------------------------------

    def _too_long(self, place: Place, length: int) -> None:
        limit = self.flow.data.max_length
        if self.flow.data.on_long == "drop":
            self.side.dropped.append(Dropped(place, f"{length} tokens, longer than max_length {limit}"))
        else:
            self.flow.long.append((place, length))

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


def _last(role: str, conversation: Conversation) -> Message | None:
    return next((m for m in reversed(conversation.messages) if m.role == role), None)


def _as_tree(sides: Sequence[tuple[Strip, ...]]) -> tuple[Strip, ...]:
    """A chat as it was rendered; two as one tree."""
    return joined(*sides) if len(sides) > 1 else sides[0]


def _must_teach(drafts: Sequence[Draft], place: Place) -> None:
    if not all(loss_tokens(draft.strips) for draft in drafts):
        raise bad_row(f"no token of row {place.row} carries loss, so nothing can be learned from it", place)


def _still_too_long(place: Place, length: int, limit: int, change: int) -> BadRow:
    how = (
        "has, without its older turns and the end of its question, still"
        if change == TRUNCATED
        else "holds an exchange of"
    )
    return bad_row(
        f"row {place.row} {how} {length} tokens, longer than data.max_length {limit}",
        place,
        remedy=f"raise data.max_length to {length}, or drop such rows with `on_bad_row: skip` under data",
    )


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

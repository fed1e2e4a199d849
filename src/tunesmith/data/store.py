"""Prepared samples in a memory-mapped Arrow file: as many as the disk holds, in as little memory as one batch takes.

One record a sample. Its strips stand one behind the other in `tokens`; `strips` cuts them again. `numbers` of a whole
file (lengths, counts, digests) fit in memory at a few bytes a sample; everything else stays on disk until it is asked
for, and what was read is given back to the system from time to time.
"""

from __future__ import annotations

import hashlib
import mmap
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa

from tunesmith.data.schema import Place, Sample, Stretch, Strip
from tunesmith.segments import Picture, Tree

_BATCH_SAMPLES, _BATCH_TOKENS = 4096, 1 << 20
_BYTES_READ_BEFORE_RELEASE = 64 << 20
_BYTES_TOUCHED = (
    12 * 65536
)  # by one sample: what Linux maps at a touch, in the offsets and values of its columns

_INTS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    [
        ("tokens", _INTS),
        ("strips", _INTS),  # two numbers a strip: its length, its parent or -1
        ("stretches", _INTS),  # two numbers a stretch: start and end in `tokens`
        ("weights", pa.list_(pa.float64())),  # one a stretch
        ("file", pa.string()),
        ("line", pa.int64()),
        ("number", pa.int64()),  # of the row in its file, from 1
        ("row", pa.int64()),  # of the kept row in this store, from 0; pieces of one text share it
        ("change", pa.int8()),  # what was done to a long row: one of CHANGES
        ("with_loss", pa.int32()),
        ("longest", pa.int32()),  # tokens of the longest path from a root to a leaf
        ("digest", pa.binary(16)),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("keywords", pa.list_(pa.string())),  # what the answer should hold, where the row lists it
        ("images", pa.list_(pa.string())),  # the files of the pictures, in the order of the text
        ("rejected", pa.string()),  # the worse answer of a pair
        ("good", pa.bool_()),  # how the answer was judged, where it was
        ("placed", _INTS),  # three numbers a picture of a strip: start in `tokens`, length, which of `images`
    ]
)


CHANGES = WHOLE, TRUNCATED, SPLIT = range(3)


class Draft(NamedTuple):
    """A sample on its way to the store. `contents` are the digests of its pictures' files."""

    strips: tuple[Strip, ...]
    place: Place
    prompt: str | None = None
    answer: str | None = None
    images: tuple[str, ...] = ()
    change: int = WHOLE
    contents: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    rejected: str | None = None
    good: bool | None = None


class StoreWriter:
    """Writes samples in order. Use as a context manager; the file is whole when it ends without an error."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, SCHEMA)
        self._clear()

    def _clear(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        self._tokens = 0

    def add(self, drafts: Iterable[Draft]) -> None:
        """Add the samples of one row."""
        columns = self._columns
        for draft in drafts:
            flat = draft.strips[0].tokens
            if len(draft.strips) > 1:
                flat = [token for strip in draft.strips for token in strip.tokens]
            shape, spans, weights = _flat_shape(draft.strips)
            columns["tokens"].append(flat)
            columns["strips"].append(shape)
            columns["stretches"].append(spans)
            columns["weights"].append(weights)
            columns["file"].append(draft.place.file)
            columns["line"].append(draft.place.line)
            columns["number"].append(draft.place.row)
            columns["row"].append(self.rows)
            columns["change"].append(draft.change)
            columns["with_loss"].append(loss_tokens(draft.strips))
            columns["longest"].append(longest_path(draft.strips))
            columns["digest"].append(_digest(flat, shape, spans, weights, draft.contents, draft.good))
            columns["prompt"].append(draft.prompt)
            columns["answer"].append(draft.answer)
            columns["keywords"].append(list(draft.keywords))
            columns["images"].append(list(draft.images))
            columns["rejected"].append(draft.rejected)
            columns["good"].append(draft.good)
            columns["placed"].append(_placed(draft))
            self._tokens += len(flat)
        self.rows += 1
        if len(columns["row"]) >= _BATCH_SAMPLES or self._tokens >= _BATCH_TOKENS:
            self._flush()

    def _flush(self) -> None:
        if self._columns["row"]:
            arrays = [_array(self._columns[field.name], field.type) for field in SCHEMA]
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
            self._clear()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._writer.close()
        finally:
            self._sink.close()


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Lists of numbers by way of numpy, which is several times as fast as element by element."""
    if not (pa.types.is_list(kind) and pa.types.is_primitive(kind.value_type)):
        return pa.array(values, kind)
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    flat = array("i" if pa.types.is_integer(kind.value_type) else "d")
    for value in values:
        flat.extend(value)
    numbers = np.frombuffer(flat, flat.typecode) if flat else np.zeros(0, flat.typecode)
    return pa.ListArray.from_arrays(offsets, pa.array(numbers, kind.value_type))


def _flat_shape(strips: Sequence[Strip]) -> tuple[list[int], list[int], list[float]]:
    shape: list[int] = []
    spans: list[int] = []
    weights: list[float] = []
    start = 0
    for tokens, stretches, parent, _ in strips:
        shape += (len(tokens), -1 if parent is None else parent)
        for begin, end, weight in stretches:
            spans += (start + begin, start + end)
            weights.append(weight)
        start += len(tokens)
    return shape, spans, weights


def _placed(draft: Draft) -> list[int]:
    """Where in the flat tokens each picture stands, how long it is, and which of the sample's files it shows."""
    numbers: list[int] = []
    start = 0
    for strip in draft.strips:
        for picture in strip.pictures:
            numbers += (start + picture.start, picture.length, draft.images.index(picture.path))
        start += len(strip.tokens)
    return numbers


def _digest(
    tokens: Sequence[int],
    shape: list[int],
    spans: list[int],
    weights: list[float],
    pictures: Sequence[str],
    good: bool | None,
) -> bytes:
    """The same bytes for the same tokens, weights, shape, content of pictures and judgement on every machine."""
    numbers = array("i", tokens)
    numbers.extend((len(tokens), *shape, *spans))
    sizes = array("d", weights)
    if sys.byteorder == "big":
        numbers.byteswap()
        sizes.byteswap()
    content = "".join(pictures).encode() + (b"" if good is None else bytes([good]))
    return hashlib.blake2b(numbers.tobytes() + sizes.tobytes() + content, digest_size=16).digest()


def loss_tokens(strips: Sequence[Strip]) -> int:
    """How many tokens of a sample carry loss; the first token of a root has nothing to be predicted from."""
    count = 0
    for strip in strips:
        for start, end, weight in strip.stretches:
            if weight:
                count += end - start - (start == 0 and strip.parent is None)
    return count


def longest_path(strips: Sequence[Strip]) -> int:
    """Tokens from a root's first one to a leaf's last one, at most: the length that the model sees."""
    ends: list[int] = []
    for strip in strips:
        ends.append(len(strip.tokens) + (0 if strip.parent is None else ends[strip.parent]))
    return max(ends)


@dataclass(eq=False)
class _Batch:
    """The columns of one record batch; views of the mapped file."""

    record: pa.RecordBatch
    _lists: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def numbers(self, name: str, at: int) -> list[Any]:
        if name not in self._lists:
            column = self.record.column(name)
            self._lists[name] = column.offsets.to_numpy(), column.values.to_numpy(zero_copy_only=True)
        offsets, values = self._lists[name]
        numbers: list[Any] = values[offsets[at] : offsets[at + 1]].tolist()
        return numbers

    @cached_property
    def holds_images(self) -> bool:
        return len(self.record.column("images").values) > 0

    @cached_property
    def holds_keywords(self) -> bool:
        return len(self.record.column("keywords").values) > 0

    def place(self, at: int) -> Place:
        return Place(self.one("file", at), self.one("line", at), self.one("number", at))

    def one(self, name: str, at: int) -> Any:
        return self.record.column(name)[at].as_py()


class _File:
    """The mapped file, shared by all views of it."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self.map)))
        self.batches = [_Batch(reader.get_batch(at)) for at in range(reader.num_record_batches)]
        self.starts = np.cumsum([0, *(batch.record.num_rows for batch in self.batches)])
        self._read = 0

    def place_of(self, at: int) -> tuple[_Batch, int]:
        number = int(np.searchsorted(self.starts, at, side="right")) - 1
        return self.batches[number], at - int(self.starts[number])

    def was_read(self, tokens: int) -> None:
        """Give pages back to the system once much was read: they stay in its cache, and out of our memory."""
        self._read += 4 * tokens + _BYTES_TOUCHED
        if self._read > _BYTES_READ_BEFORE_RELEASE:
            self._read = 0
            self.release()

    def release(self) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self.map.madvise(mmap.MADV_DONTNEED)


class SampleStore(Sequence[Sample]):
    """Samples of a file, all of them or some, in order.

    Args:
        path: a file that StoreWriter wrote.
    """

    def __init__(self, path: Path) -> None:
        self._file = _File(path)
        self._chosen: np.ndarray | None = None

    def select(self, chosen: np.ndarray) -> SampleStore:
        """Some of these samples, by their numbers here."""
        view = SampleStore.__new__(SampleStore)
        view._file = self._file
        view._chosen = chosen if self._chosen is None else self._chosen[chosen]
        return view

    def __len__(self) -> int:
        return int(self._file.starts[-1]) if self._chosen is None else len(self._chosen)

    @overload
    def __getitem__(self, at: int) -> Sample: ...

    @overload
    def __getitem__(self, at: slice) -> list[Sample]: ...

    def __getitem__(self, at: int | slice) -> Sample | list[Sample]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        batch, inside = self._where(at)
        return Sample(
            self.tree(at),
            batch.place(inside),
            batch.one("prompt", inside),
            batch.one("answer", inside),
            tuple(batch.one("images", inside)) if batch.holds_images else (),
            tuple(batch.one("keywords", inside)) if batch.holds_keywords else (),
            batch.one("rejected", inside),
            batch.one("good", inside),
        )

    def tree(self, at: int) -> Tree:
        """The tokens of one sample and their weights, without the rest."""
        batch, inside = self._where(at)
        tokens = batch.numbers("tokens", inside)
        self._file.was_read(len(tokens))
        return tuple(strip.piece() for strip in _strips(batch, inside, tokens))

    def _where(self, at: int) -> tuple[_Batch, int]:
        at %= len(self)
        return self._file.place_of(at if self._chosen is None else int(self._chosen[at]))

    def column(self, name: str) -> Iterator[Any]:
        """The values of one column, in order, without the rest of the samples."""
        numbers = np.arange(len(self)) if self._chosen is None else self._chosen
        batches = np.searchsorted(self._file.starts, numbers, side="right") - 1
        for run in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(batches)) + 1):
            if len(run):  # samples that lie in one batch are taken together
                batch = int(batches[run[0]])
                inside = pa.array(numbers[run] - self._file.starts[batch])
                yield from self._file.batches[batch].record.column(name).take(inside).to_pylist()
                self._file.release()

    def good(self, at: int) -> bool | None:
        """How the answer of one sample was judged, where it was."""
        batch, inside = self._where(at)
        good: bool | None = batch.one("good", inside)
        return good

    def place(self, at: int) -> Place:
        """Where a sample comes from."""
        batch, inside = self._where(at)
        return batch.place(inside)

    # --- numbers, one a sample ---------------------------------------------------------------------------------

    def _numbers(self, name: str) -> np.ndarray:
        parts = [batch.record.column(name).to_numpy(zero_copy_only=False) for batch in self._file.batches]
        whole = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return whole if self._chosen is None else whole[self._chosen]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens a sample takes in a row; shared prefixes count once."""
        return self._list_lengths("tokens")

    @cached_property
    def pictures(self) -> np.ndarray:
        """How many pictures each sample holds."""
        return self._list_lengths("images")

    def _list_lengths(self, name: str) -> np.ndarray:
        parts = [np.diff(batch.record.column(name).offsets.to_numpy()) for batch in self._file.batches]
        whole = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        return whole if self._chosen is None else whole[self._chosen]

    @cached_property
    def longest(self) -> np.ndarray:
        """Tokens of each sample's longest path."""
        return self._numbers("longest")

    @cached_property
    def with_loss(self) -> np.ndarray:
        """Tokens with loss in each sample."""
        return self._numbers("with_loss")

    @cached_property
    def rows(self) -> np.ndarray:
        """The number of the row that each sample comes from."""
        return self._numbers("row")

    def rows_changed(self, change: int) -> int:
        """How many rows were truncated, or split."""
        return len(np.unique(self.rows[self._numbers("change") == change]))

    @cached_property
    def digests(self) -> np.ndarray:
        """16 bytes a sample: the same for the same tokens, weights, shape and content of pictures."""
        parts = [
            np.frombuffer(batch.record.column("digest").buffers()[1], "V16")[: batch.record.num_rows]
            for batch in self._file.batches
        ]
        whole = np.concatenate(parts) if parts else np.zeros(0, "V16")
        return whole if self._chosen is None else whole[self._chosen]

    def fingerprint(self) -> str:
        """SHA-256 over all samples in order."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()


def _strips(batch: _Batch, at: int, tokens: list[int]) -> Iterator[Strip]:
    shape = batch.numbers("strips", at)
    spans = batch.numbers("stretches", at)
    weights = batch.numbers("weights", at)
    stretches = [Stretch(*span) for span in zip(spans[::2], spans[1::2], weights, strict=True)]
    pictures = _pictures(batch, at) if batch.holds_images else []
    if len(shape) == 2:  # nearly all samples
        yield Strip(tokens, tuple(stretches), None, tuple(pictures))
        return
    start = 0
    for length, parent in zip(shape[::2], shape[1::2], strict=True):
        end = start + length
        own = (Stretch(s - start, e - start, w) for s, e, w in stretches if start <= s < end)
        shown = (picture.moved(-start) for picture in pictures if start <= picture.start < end)
        yield Strip(tokens[start:end], tuple(own), None if parent < 0 else parent, tuple(shown))
        start = end


def _pictures(batch: _Batch, at: int) -> list[Picture]:
    """The pictures of all strips, by their places in the flat tokens."""
    placed, files = batch.numbers("placed", at), batch.one("images", at)
    columns = zip(placed[::3], placed[1::3], placed[2::3], strict=True)
    return [Picture(start, length, files[number]) for start, length, number in columns]

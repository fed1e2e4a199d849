"""Parquet and Arrow files, a batch of rows at a time. They have no lines: a row's place is its number.

Values become what JSON has where they can: dates and times as ISO 8601 text, decimals as text. Bytes stay bytes. Where
`datasets` wrote down what the numbers of a column stand for, its ClassLabel, they become these names.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.config.schema import Source
from tunesmith.data.readers.file import cannot_be_read, is_empty, opened
from tunesmith.data.schema import BadRow, Place, SourceRow
from tunesmith.errors import InputError

BATCH = 1024  # rows
_FILE_MARK = b"ARROW1"


def read_parquet(path: Path, source: Source) -> Iterator[SourceRow]:
    """Read the rows.

    Raises:
        InputError: the file is damaged, no Parquet file, has no rows, or has two columns of one name.
    """
    import pyarrow.parquet

    def batches() -> Generator[Any]:
        with closing(pyarrow.parquet.ParquetFile(path, memory_map=True, pre_buffer=False)) as file:
            yield file.schema_arrow
            yield from file.iter_batches(batch_size=BATCH, use_threads=False)

    return _rows(path, "Parquet", batches())


def read_arrow(path: Path, source: Source) -> Iterator[SourceRow]:
    """Read the rows of a file in Arrow's IPC file form or its stream form, which is what `datasets` writes.

    Raises:
        InputError: as `read_parquet`.
    """
    import pyarrow

    def batches() -> Generator[Any]:
        with pyarrow.memory_map(str(path)) as file:
            is_file = file.read(len(_FILE_MARK)) == _FILE_MARK
            file.seek(0)
            with pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file) as reader:
                yield reader.schema
                many = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
                for batch in many:
                    batch.validate(full=True)  # a damaged file's offsets would lead out of its memory
                    yield from (batch.slice(at, BATCH) for at in range(0, batch.num_rows, BATCH))

    return _rows(path, "Arrow", batches())


def _rows(path: Path, kind: str, batches: Generator[Any]) -> Iterator[SourceRow]:
    """The rows of a schema and the record batches that follow it."""
    with opened(path) as file:
        if not file.read(1):
            raise is_empty(path)
    number = 0
    with closing(batches), _damage_is_told(path, kind):
        schema = next(batches)
        _must_have_names_of_their_own(schema.names, path)
        changes: list[tuple[str, Callable[[Any], Any]]] = [
            *((field.name, _plain) for field in schema if not _is_json(field.type)),
            *_named(_features(path, schema), schema.names),
        ]
        for batch in batches:
            for value in _values(batch):
                number += 1
                yield _row(value, changes, Place(str(path), number, number))
    if not number:
        raise InputError("the file holds no rows", where=str(path))


@contextmanager
def _damage_is_told(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise cannot_be_read(path, error) from error
        why = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise InputError(f"the file is damaged, or no {kind} file: {why}", where=str(path)) from error


def _must_have_names_of_their_own(names: list[str], path: Path) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(
                f"two columns have the name {name!r}",
                where=str(path),
                remedy="give one of them another name",
            )


def _values(batch: Any) -> Iterator[Any]:
    """The batch's rows; in place of one that Python cannot hold, the exception that says why."""
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError):  # not UTF-8, a date after the year 9999: find out which rows
        pass
    for at in range(batch.num_rows):
        try:
            yield batch.slice(at, 1).to_pylist()[0]
        except (ValueError, OverflowError) as error:
            yield error


def _row(value: Any, changes: list[tuple[str, Callable[[Any], Any]]], place: Place) -> SourceRow:
    if isinstance(value, Exception):
        problem = BadRow(f"row {place.row} holds a value that cannot be read: {value}", where=str(place))
        return SourceRow(None, place, problem)
    for name, change in changes:
        value[name] = change(value[name])
    return SourceRow(value, place)


# ---- the names of numbers


def _features(path: Path, schema: Any) -> dict[str, Any]:
    """What `datasets` wrote down of the columns: in the file's schema, else in a saved folder's `dataset_info.json`."""
    written = (schema.metadata or {}).get(b"huggingface")
    info = path.with_name("dataset_info.json")
    try:
        if written is not None:
            known = json.loads(written)["info"]
        else:
            known = json.loads(info.read_bytes()) if info.is_file() else {}
        features = known["features"]
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ):  # a note for other programs, and not in their form
        return {}
    return features if isinstance(features, dict) else {}


def _named(features: dict[str, Any], columns: list[str]) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    for column in columns:
        names = _names_in(features.get(column))
        if names:
            yield column, partial(_name, names)


def _names_in(feature: Any) -> list[str] | None:
    """The names of a ClassLabel, or of the ones in a list."""
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
            feature = feature.get("feature")
        else:
            break
    names = (
        feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    )
    is_of_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if is_of_names else None


def _name(names: list[str], value: Any) -> Any:
    """The name of a number; -1 is how `datasets` writes that there is none. Other numbers stay for converters to judge."""
    if isinstance(value, list):
        return [_name(names, item) for item in value]
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if value == -1:
        return None
    return names[value] if 0 <= value < len(names) else value


def _is_json(kind: Any) -> bool:
    """Whether all values of a column's type are ones of JSON's already."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return all(_is_json(field.type) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_json(kind.value_type)
    simple: list[Callable[[Any], bool]] = [
        types.is_null,
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_string,
        types.is_large_string,
    ]
    return any(is_of_it(kind) for is_of_it in simple)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta | uuid.UUID):
        return str(value)
    if isinstance(value, list | tuple):  # the items of a map are tuples
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value

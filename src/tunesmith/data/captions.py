"""The first pictures of a caption set on a hub: image files in a folder, and a CSV of `image_path,caption` beside them."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tunesmith.config.schema import Source
from tunesmith.config.words import nearest
from tunesmith.data.readers import hub, hub_files
from tunesmith.data.words import kind_of, quoted
from tunesmith.data.writing import written_whole
from tunesmith.errors import InputError

NAME = "captions.csv"
# What caption sets call their columns, the likelier first.
_NAMES = {
    "image": ("image", "image_path", "file_name", "image_file", "img", "picture", "jpg", "png", "path"),
    "caption": ("caption", "captions", "text", "sentences", "sentence", "description", "raw"),
    "id": ("image_id", "imgid", "cocoid", "id"),
}
_BEGINNINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}


class Written(NamedTuple):
    """What was done: the CSV, its rows, how many pictures were written and how many were there already."""

    table: Path
    rows: int
    pictures: int
    there: int


def download_first(
    reference: str, count: int, folder: Path, *, columns: Mapping[str, str], overwrite: bool, progress: bool
) -> Written:
    """Bring the first `count` pictures of a caption set into a folder. A picture with several captions has several rows.

    Args:
        columns: what the set calls `image`, `caption` and `id`, where it can't be guessed.

    Raises:
        InputError: the set has no such columns, holds addresses in place of pictures, or the folder holds another CSV.
    """
    wanted = hub.parse(reference)
    chosen = hub.choose(wanted, *hub.look_up(wanted))
    files = hub.of_split(chosen, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    shelf = _Shelf(folder, chosen)
    rows: list[tuple[str, str]] = []
    for path, place, row in _rows(chosen, files, progress):
        named = _columns(row, columns, place)
        name = shelf.put(
            row[named["image"]], row.get(named["id"]), path, f"{place}, column {named['image']!r}", count
        )
        if name is None:
            break
        rows += [
            (name, caption)
            for caption in _captions(row[named["caption"]], f"{place}, column {named['caption']!r}")
        ]
    shelf.fetch(progress)
    _write_table(folder / NAME, rows, overwrite)
    return Written(folder / NAME, len(rows), shelf.written, shelf.there)


class _Shelf:
    """The folder that the pictures go to."""

    def __init__(self, folder: Path, chosen: hub.Chosen) -> None:
        self.folder, self.chosen = folder, chosen
        self.written = self.there = 0
        self._sizes: dict[str, int] = {}  # pictures that lie in the rows themselves
        self._wanted: dict[str, None] = {}  # pictures that are files of the repository

    def put(self, image: Any, identity: Any, path: str, what: str, count: int) -> str | None:
        """The picture's name in the folder; None where it would be one more than `count`."""
        if isinstance(image, dict):
            content, name = image.get("bytes"), image.get("path")
            image = content if isinstance(content, bytes) else name
        else:
            name = None
        if isinstance(image, bytes):
            return self._put_content(image, identity, name, what, count)
        if not isinstance(image, str) or not image:
            raise InputError(
                f"there is {kind_of(image)}", where=what, expected="a picture, or the path of one"
            )
        if re.match(r"\w+://", image):
            raise InputError(
                f"there is an address ({image[:80]}), and pictures are not fetched from other hosts",
                where=what,
                remedy="download the pictures yourself, and write a CSV with the columns image_path and caption",
            )
        return self._put_file(image, path, what, count)

    def _put_content(self, content: bytes, identity: Any, name: Any, what: str, count: int) -> str | None:
        ending = next((end for start, end in _BEGINNINGS.items() if content.startswith(start)), None)
        if ending is None:
            raise InputError("these bytes are no picture", where=what, expected="JPEG, PNG, WebP, GIF or BMP")
        plain = str(identity) if identity is not None else PurePosixPath(str(name or "")).stem
        stem = re.sub(r"[^\w-]", "_", plain) or f"{len(self._sizes) + 1:06d}"
        file = stem + ending
        twin = 2
        while file in self._sizes and not self._holds(file, content):
            file, twin = f"{stem}-{twin}{ending}", twin + 1
        if file in self._sizes:
            return file
        if len(self._sizes) == count:
            return None
        self._sizes[file] = len(content)
        if self._holds(file, content):
            self.there += 1
        else:
            with written_whole(self.folder / file) as picture:
                picture.write(content)
            self.written += 1
        return file

    def _holds(self, file: str, content: bytes) -> bool:
        path = self.folder / file
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content

    def _put_file(self, image: str, path: str, what: str, count: int) -> str | None:
        beside = os.path.normpath(PurePosixPath(path).parent / image).replace(os.sep, "/")
        files = self.chosen.listed.files
        file = next((name for name in (beside, image) if name in files), None)
        if file is None:
            ends = [name for name in files if name.endswith("/" + PurePosixPath(image).name)]
            if len(ends) != 1:
                raise InputError(f"the repository holds no file {image}", where=what)
            file = ends[0]
        if file not in self._wanted and len(self._wanted) == count:
            return None
        self._wanted[file] = None
        return file

    def fetch(self, progress: bool) -> None:
        """Bring the pictures that are files of the repository, in one go."""
        if not self._wanted:
            return
        before = {file for file in self._wanted if (self.folder / file).is_file()}
        self.chosen.repository.get(self.chosen.listed, list(self._wanted), self.folder, progress)
        self.there += len(before)
        self.written += len(self._wanted) - len(before)


def _rows(
    chosen: hub.Chosen, files: tuple[str, ...], progress: bool
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(file in the repository, place, row); a file is fetched only when the ones before it were not enough."""
    for file in files:
        local = chosen.repository.get(chosen.listed, [file], None, progress) / file
        if hub_files.kind_of_file(file) == ".parquet":
            yield from (
                (file, f"{file}:{number}", row) for number, row in enumerate(_parquet(local), start=1)
            )
            continue
        from tunesmith.data.readers import find, read

        for found in read(find(Source(path=str(local))), 0):
            if found.problem is not None:
                raise found.problem
            if not isinstance(found.value, dict):
                raise InputError(
                    f"the row is {kind_of(found.value)}", where=str(found.place), expected="an object"
                )
            yield file, f"{file}:{found.place.line}", found.value


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    """A file's rows a few at a time: each may hold a picture of megabytes."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=16):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"the file cannot be read as parquet ({error})", where=str(path)) from None


def _columns(row: dict[str, Any], named: Mapping[str, str], place: str) -> dict[str, str]:
    """What this row calls `image`, `caption` and `id` (empty where it has none)."""
    found: dict[str, str] = {}
    for name, guesses in _NAMES.items():
        given = named.get(name)
        if given is not None and given not in row:
            alike = nearest(given, row)
            remedy = f"the nearest is {alike!r}" if alike else None
            raise InputError(
                f"there is no column {given!r}", where=place, expected=f"one of {quoted(row)}", remedy=remedy
            )
        found[name] = given or next((guess for guess in guesses if guess in row), "")
    for name in ("image", "caption"):
        if not found[name]:
            raise InputError(
                f"none of the columns {quoted(row)} is known to hold the {name}",
                where=place,
                remedy=f"name it with --columns {name}=COLUMN",
            )
    return found


def _captions(value: Any, what: str) -> list[str]:
    """One caption or several, as they are."""
    listed = value if isinstance(value, list) else [value]
    wrong = next((caption for caption in listed if not isinstance(caption, str)), None) if listed else value
    if not listed or any(not isinstance(caption, str) for caption in listed):
        raise InputError(f"there is {kind_of(wrong)}", where=what, expected="a caption or a list of captions")
    return listed


def _write_table(path: Path, rows: list[tuple[str, str]], overwrite: bool) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_path", "caption"))
    writer.writerows(rows)
    try:
        content = text.getvalue().encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a caption holds half a character, {error.object[error.start]!r}", where=str(path)
        ) from None
    before = path.read_bytes() if path.is_file() else b""
    # More of the same set, or less of it, replaces it; what somebody else wrote does not vanish.
    if not overwrite and before and not content.startswith(before) and not before.startswith(content):
        raise InputError(
            "the file holds other captions than those of this data set",
            where=str(path),
            remedy="choose another folder with -o, or replace it with --overwrite",
        )
    with written_whole(path) as file:
        file.write(content)

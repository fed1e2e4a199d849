"""Plain text and Markdown: a row a file. A large file is cut into rows, at blank lines where it has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tunesmith.config.schema import Source
from tunesmith.data.readers.file import is_empty
from tunesmith.data.readers.text import blocks
from tunesmith.data.schema import Place, SourceRow
from tunesmith.errors import InputError

LONGEST = 4_000_000  # characters of one row


def read_document(path: Path, source: Source) -> Iterator[SourceRow]:
    """The text as rows `{"text": ...}`, each with the line it begins on; together they are the whole file.

    A line end is a line feed in them, however the file writes it.

    Raises:
        InputError: the file is empty, not in the source's encoding, or no text.
    """
    line, row = 1, 0
    for piece in _pieces(_line_feeds(blocks(path, source.encoding))):
        if "\0" in piece:
            at = line + piece.count("\n", 0, piece.index("\0"))
            raise InputError("a null character stands here; this is no text file", where=f"{path}:{at}")
        if piece.strip():
            row += 1
            yield SourceRow({"text": piece}, Place(str(path), line, row))
        line += piece.count("\n")
    if not row:
        raise is_empty(path)


def _line_feeds(text: Iterable[str]) -> Iterator[str]:
    """The blocks with `\\r\\n` as `\\n`, also where a block ends between the two."""
    held = ""
    for block in text:
        block = held + block
        held = "\r" if block.endswith("\r") else ""
        yield block[: len(block) - len(held)].replace("\r\n", "\n")
    yield held


def _pieces(text: Iterable[str]) -> Iterator[str]:
    kept = ""
    for block in text:
        kept += block
        while len(kept) > LONGEST:
            cut = _cut(kept)
            yield kept[:cut]
            kept = kept[cut:]
    yield kept


def _cut(text: str) -> int:
    """Where the first piece ends: behind the last blank line of its second half, else a line end, else a blank."""
    for mark in ("\n\n", "\n", " "):
        at = text.rfind(mark, LONGEST // 2, LONGEST)
        if at >= 0:
            return at + len(mark)
    return LONGEST

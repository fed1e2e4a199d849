"""What all readers do before the first row: is the file there, and do the system and gzip hand it out?"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.config.words import nearest
from tunesmith.data.words import quoted
from tunesmith.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
GZIP = ".gz"


def must_be_a_file(path: Path) -> None:
    """Raise an InputError that helps, unless `path` is a file."""
    try:
        if path.is_file():
            return
        if path.is_dir():
            inside = sorted(entry.name for entry in path.iterdir() if entry.is_file())[:5]
            raise InputError(
                "this is a folder",
                where=str(path),
                expected="a data file",
                remedy=f"name one of the files in it, such as {quoted(inside)}" if inside else None,
            )
        if path.is_symlink():
            raise InputError(f"the link leads to {path.readlink()}, which is not there", where=str(path))
        if path.exists():
            raise InputError("this is no ordinary file", where=str(path), expected="a data file")
        if not path.parent.is_dir():
            raise InputError(f"no such file; the folder {path.parent} is not there either", where=str(path))
        alike = nearest(path.name, (entry.name for entry in path.parent.iterdir()))
    except OSError as error:
        raise cannot_be_read(path, error) from error
    remedy = f"the nearest name in that folder is {alike}" if alike else None
    raise InputError("no such file", where=str(path), remedy=remedy)


def cannot_be_read(path: Path, error: OSError) -> InputError:
    """The error for a file that the system does not hand out."""
    return InputError(f"the file cannot be read: {error.strerror or error}", where=str(path))


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """The file's bytes, unpacked if its name ends in `.gz`; what goes wrong inside the block is told as an InputError.

    Raises:
        InputError: the system refuses, or the file is no whole gzip file.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == GZIP else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"the gzip file is damaged: {str(error).rstrip('.')}",
            where=str(path),
            remedy="bring it here again, or take .gz off its name if it is not packed",
        ) from error
    except OSError as error:
        raise cannot_be_read(path, error) from error


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        InputError: the system refuses.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot_be_read(path, error) from error


def decode_utf8(content: bytes, path: Path) -> str:
    """Decode a whole file, strictly; a byte order mark at its start is dropped.

    Raises:
        InputError: it is not UTF-8; the message has the first bad byte and its offset in the file.
    """
    start = len(BYTE_ORDER_MARK) if content.startswith(BYTE_ORDER_MARK) else 0
    try:
        return content[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        at = start + error.start
        line = content.count(b"\n", 0, at) + 1
        utf_16 = ", as in UTF-16" if content.startswith(UTF_16_MARKS) else ""
        raise InputError(
            f"the file is not UTF-8: byte {at} is 0x{content[at]:02x}{utf_16}",
            where=f"{path}:{line}",
            remedy="save the file as UTF-8",
        ) from None


def is_empty(path: Path) -> InputError:
    """The error for a file with nothing in it."""
    return InputError("the file is empty", where=str(path), expected="at least one row")

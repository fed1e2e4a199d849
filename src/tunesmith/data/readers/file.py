"""What all readers do before the first row: is the file there, and is it UTF-8?"""

from __future__ import annotations

from pathlib import Path

from tunesmith.config.words import nearest
from tunesmith.data.words import quoted
from tunesmith.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


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


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        InputError: the system refuses.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot_be_read(path, error) from error


def decode_utf8(content: bytes, path: Path, *, offset: int = 0, line: int = 1) -> str:
    """Decode a file or a part of it, strictly; a byte order mark at the file's start is dropped.

    Args:
        offset: where `content` begins in the file, in bytes.
        line: the line it begins on.

    Raises:
        InputError: it is not UTF-8; the message has the first bad byte and its offset in the file.
    """
    if offset == 0 and content.startswith(BYTE_ORDER_MARK):
        content, offset = content[len(BYTE_ORDER_MARK) :], len(BYTE_ORDER_MARK)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        newlines = content.count(b"\n", 0, at)
        utf_16 = offset == 0 and content.startswith(_UTF_16_MARKS)
        raise InputError(
            f"the file is not UTF-8: byte {offset + at} is 0x{content[at]:02x}"
            + (", as in UTF-16" if utf_16 else ""),
            where=f"{path}:{line + newlines}",
            remedy="save the file as UTF-8",
        ) from None


def is_empty(path: Path) -> InputError:
    """The error for a file with nothing in it."""
    return InputError("the file is empty", where=str(path), expected="at least one row")

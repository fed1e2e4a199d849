"""A text file as blocks of text or as lines, strictly decoded, however large it is.

    bytes, unpacked -> decoded block by block -> lines

A line ends with a line feed and nothing else: U+2028 inside a string ends none.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from encodings.aliases import aliases
from pathlib import Path

from tunesmith.config.words import nearest
from tunesmith.data.readers.file import UTF_16_MARKS, opened
from tunesmith.errors import InputError

BLOCK = 1 << 20  # bytes
# Codecs of Python's that are no encoding of a text file: they need it whole, or read escapes.
_NO_ENCODINGS = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}
_GZIP_MARK = b"\x1f\x8b"


def blocks(path: Path, encoding: str) -> Iterator[str]:
    """The file's text in order, in blocks of about a megabyte; a byte order mark at its start is dropped.

    Raises:
        InputError: there is no such encoding, or the file is not in it: the first bad byte, its offset and line.
    """
    name = codec_of(encoding)
    decoder = codecs.getincrementaldecoder(name)("strict")
    offset, line, first = 0, 1, True
    with opened(path) as file:
        while True:
            content = file.read(BLOCK)
            pending = decoder.getstate()[0]
            try:
                text = decoder.decode(content, final=not content)
            except UnicodeError as error:
                bad = _Undecodable(pending + content, offset - len(pending), line, name)
                raise bad.told(error, path) from None
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            if text:
                yield text
            if not content:
                return
            offset += len(content)
            line += text.count("\n")


def lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its line feed.

    Raises:
        InputError: as `blocks`.
    """
    number, begun = 1, list[str]()
    for block in blocks(path, encoding):
        first, *rest = block.split("\n")
        begun.append(first)
        for text in rest:
            yield number, "".join(begun)
            number, begun = number + 1, [text]
    if any(begun):
        yield number, "".join(begun)


def codec_of(encoding: str) -> str:
    """Python's name of an encoding.

    Raises:
        InputError: it has none of that name, or it is one of a codec that does not encode text.
    """
    expected = "one that Python knows, such as utf-8, utf-16, gb18030 or big5"
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        name = ""
    if name and (name.replace("-", "_") in _NO_ENCODINGS or not _encodes_text(name)):
        raise InputError(f"{encoding!r} is no text encoding", expected=expected)
    if not name:
        near = nearest(encoding, ["utf-8", *sorted(aliases), *sorted(set(aliases.values()))])
        raise InputError(
            f"there is no encoding {encoding!r}",
            expected=expected,
            remedy=f"the nearest name is {near.replace('_', '-')}" if near else None,
        )
    return "utf-8" if name == "utf-8-sig" else name


def _encodes_text(name: str) -> bool:
    """Whether Python's codec is one between text and bytes, unlike hex and rot13."""
    try:
        "a".encode(name)
    except LookupError:
        return False
    return True


class _Undecodable:
    """Bytes with one among them that the encoding does not have; `offset` and `line` say where they begin."""

    def __init__(self, content: bytes, offset: int, line: int, encoding: str) -> None:
        self.content, self.offset, self.line, self.encoding = content, offset, line, encoding

    def told(self, error: UnicodeError, path: Path) -> InputError:
        if not isinstance(error, UnicodeDecodeError):  # UTF-16 and UTF-32 without their mark
            return InputError(
                f"the file is not {self.encoding}: {error}",
                where=str(path),
                remedy=f"name the byte order too: {self.encoding}-le or {self.encoding}-be",
            )
        at, before = error.start, self.content[: error.start]
        line = self.line + before.decode(self.encoding, "replace").count("\n")
        is_utf_8 = self.encoding == "utf-8"
        found = f"the file is not {'UTF-8' if is_utf_8 else self.encoding}: "
        found += (
            f"byte {self.offset + at} is 0x{self.content[at]:02x}"
            if at < len(self.content)
            else "it is cut off"
        )
        utf_16 = is_utf_8 and self.offset == 0 and self.content.startswith(UTF_16_MARKS)
        remedy = "save the file as UTF-8"
        if is_utf_8 and self.offset == 0 and self.content.startswith(_GZIP_MARK):
            remedy = "the file is packed with gzip: give its name the ending .gz"
        elif utf_16:
            remedy += ", or say `encoding: utf-16` beside its path"
        elif is_utf_8 and _looks_like_gb18030(path):
            remedy += (
                ", or, as it looks like Chinese text in GB 18030, say `encoding: gb18030` beside its path"
            )
        elif not is_utf_8:
            remedy = f"is {self.encoding} the right `encoding`? UTF-8 files need none"
        return InputError(found + (", as in UTF-16" if utf_16 else ""), where=f"{path}:{line}", remedy=remedy)


def _looks_like_gb18030(path: Path) -> bool:
    """Whether the file's first megabyte decodes as GB 18030, and mostly to common characters.

    Nearly any text of Western Europe decodes too, but to characters that GB 2312, the common ones, does not have.
    """
    with opened(path) as file:
        sample = file.read(BLOCK)
    try:
        text = codecs.getincrementaldecoder("gb18030")("strict").decode(sample, final=len(sample) < BLOCK)
    except UnicodeDecodeError:
        return False
    foreign = [character for character in text if not character.isascii()]
    common = "".join(foreign).encode("gb2312", "ignore").decode("gb2312")
    return len(common) * 2 > len(foreign)

"""Pictures: where they are named in a row, which file that is, and whether it can be used.

"Look: <|vision_start|>cats/1.jpg<|vision_end|>"                 the path in the text
"Look: <image>" beside `images: ["cats/1.jpg"]` or `image: ...`  a list, and a place for each of it
[{"type": "image", "image": "cats/1.jpg"}]                       OpenAI's parts
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple
from urllib.parse import unquote

from tunesmith import optional
from tunesmith.config.schema import Source
from tunesmith.data.converters.base import Row, bad_row, list_of, named, text_of
from tunesmith.data.schema import BadRow, Image, Place
from tunesmith.data.words import kind_of
from tunesmith.errors import InputError

# Between two markers stands no third; without that rule, a text full of opening ones would take a square of time.
VISION = re.compile(r"<\|vision_start\|>((?:(?!<\|vision_).)*)<\|vision_end\|>")
_PLACES = re.compile(rf"{VISION.pattern}|<image>")
# `<image>` where a person would hardly write it of the HTML or XML element, whose end is not far.
_LOOKS_LIKE_A_PLACE = re.compile(r"\A<image>|^[ \t]*<image>[ \t\r]*$", re.MULTILINE)
_LOOKS_LIKE_A_FIELD = re.compile(r"image|img|picture|photo", re.IGNORECASE)
_OTHER_MEDIA = re.compile(r"<(?:video|audio)>")
_OTHER_FIELDS = frozenset(("video", "videos", "audio", "audios"))
_PAD = re.compile(r"(<\|image_pad\|>)+")  # how Qwen's own files fill the space between the markers
_URL = re.compile(r"data:|[A-Za-z][A-Za-z0-9+.-]+://")
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MOST_PIXELS = 64_000_000
_ORIENTATION, _LYING = 0x0112, {5, 6, 7, 8}  # EXIF's tag, and its values for a picture stored on its side
# Everything that Pillow's decoders say to damaged files.
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error
)  # fmt: skip
_NOT_THERE = Image("", 0, 0)  # stands in for a picture until the counts are compared, then never leaves


class BadPicture(BadRow):
    """A row that cannot be used for a picture in it: once one of `files` is there, or is another, perhaps it can."""

    def __init__(
        self,
        found: str,
        place: Place | None,
        files: Sequence[str],
        *,
        expected: str | None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(found, where=None if place is None else str(place), expected=expected, remedy=remedy)
        self.files = tuple(map(os.path.abspath, files))


class Pictures:
    """The pictures of one row, handed out to the places for them in order."""

    def __init__(self, row: Row, place: Place, source: Source) -> None:
        self._place, self._source = place, source
        self._field = "images" if "images" in row else "image" if "image" in row else None
        self._paths = self._listed(row[self._field]) if self._field else []
        self._row = row
        self._places = 0

    def _listed(self, value: Any) -> list[Any]:
        if value is None or value == "":
            return []
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = list_of(value, named(self._field or "", self._place), self._place, "a list of paths")
        return value if isinstance(value, list) else [value]

    def in_text(self, text: str) -> str | tuple[str | Image, ...]:
        """A user's text with its pictures in place; in a row that lists none, `<image>` inside a sentence is plain text.

        Raises:
            BadRow: a picture cannot be used, or the text shows a place for one that is nowhere.
        """
        if not _OTHER_FIELDS.isdisjoint(self._row):
            self._must_show_no_other_media(text)
        parts: list[str | Image] = []
        end = 0
        for match in _PLACES.finditer(text):
            path = match[1]
            if path is None and self._field is None:
                self._must_be_plain(text)
                continue
            parts.append(text[end : match.start()])
            if path is None or path == "<image>" or _PAD.fullmatch(path):
                parts.append(self.next())
            else:
                parts.append(
                    self.at(path, f"the picture between the vision markers of row {self._place.row}")
                )
            end = match.end()
        return joined([*parts, text[end:]]) if parts else text

    def _must_be_plain(self, text: str) -> None:
        """Raise BadRow where `<image>` is meant for a picture, though the row has none in `images`."""
        field = next((name for name in self._row if _LOOKS_LIKE_A_FIELD.search(name)), None)
        if field is None and ("</image>" in text or not _LOOKS_LIKE_A_PLACE.search(text)):
            return
        remedy = "name the pictures in a list `images` beside the text"
        if field is not None:
            remedy = f"say which field names the pictures, beside the file's `path`: `columns: {{images: {field}}}`"
        raise bad_row(
            f"row {self._place.row} has `<image>` in the user's text and no field 'images'",
            self._place,
            expected="a picture for each place",
            remedy=f'{remedy}; if it is plain text, write it as a part of the content, {{"type": "text", "text": "..."}}',
        )

    def _must_show_no_other_media(self, text: str) -> None:
        """Raise BadRow where the text shows a place for a video or for audio and the row has (empty) lists of them."""
        place = _OTHER_MEDIA.search(text)
        if place is not None:
            raise bad_row(
                f"row {self._place.row} has `{place[0]}` in the user's text",
                self._place,
                expected="text and pictures, which are all that can be read",
            )

    def next(self) -> Image:
        """The picture for the next place."""
        self._places += 1
        if self._places > len(self._paths):
            return _NOT_THERE
        number = self._places
        return self.at(self._paths[number - 1], f"picture {number} of row {self._place.row}")

    def at(self, where: Any, what: str) -> Image:
        """The picture at a path, which may be wrapped as `{"path": ...}`.

        Raises:
            BadRow: it cannot be used.
        """
        if isinstance(where, dict):
            if where.get("bytes") is not None and not where.get("path"):
                raise bad_row(
                    f"{what} is stored in the row itself",
                    self._place,
                    expected="a path",
                    remedy="write the pictures to files and name these",
                )
            where = where.get("path")
        if not isinstance(where, str):
            raise bad_row(f"{what} is {kind_of(where)}", self._place, expected="a path")
        path = find(text_of(where, what, self._place), what, self._place, self._source)
        return look_at(path, what, self._place)

    def must_agree(self) -> None:
        """Raise BadRow unless every listed picture has its place, and every place its picture."""
        if self._places != len(self._paths):
            fewer = self._places < len(self._paths)
            raise bad_row(
                f"row {self._place.row} has {_count(self._places, 'place')} for pictures and "
                f"{_count(len(self._paths), 'picture')} in its field {self._field or 'images'!r}",
                self._place,
                expected="as many of the one as of the other",
                remedy="put `<image>` in the user's text where each picture belongs"
                if fewer
                else "name the missing pictures, or take the places out of the user's text",
            )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


@contextmanager
def pictures_of(row: Row, place: Place, source: Source) -> Iterator[Pictures]:
    """The row's pictures, for reading all its messages; at the end the counts must agree.

    Raises:
        BadRow: a place has no picture, or a picture no place.
    """
    pictures = Pictures(row, place, source)
    yield pictures
    pictures.must_agree()


def joined(parts: Sequence[str | Image]) -> str | tuple[str | Image, ...]:
    """Texts and pictures in order, neighbouring texts as one; a plain string where there is no picture."""
    whole: list[str | Image] = []
    for part in parts:
        last = whole[-1] if whole else None
        if isinstance(part, str) and isinstance(last, str):
            whole[-1] = last + part
        elif part != "":
            whole.append(part)
    if any(isinstance(part, Image) for part in whole):
        return tuple(whole)
    return "".join(part for part in whole if isinstance(part, str))


# ---- which file it is


def find(written: str, what: str, place: Place, source: Source) -> str:
    """The file that a path in a row means.

    As it is if absolute; else in the folder `images` of the recipe, else beside the data file. A path of another
    machine is looked up in `images` by as many of its last parts as exist there.

    Raises:
        BadRow: it is a web address, or there is no such file.
    """
    if written.startswith("file://"):
        written = unquote(written.removeprefix("file://"))
    if _URL.match(written):
        shown = written if len(written) <= 60 else written[:57] + "..."
        raise bad_row(
            f"{what} is {'data inside the row' if written.startswith('data:') else 'a web address'}, {shown!r}",
            place,
            expected="the path of a file on this machine",
            remedy="write the picture to a file first and name that",
        )
    candidates = list(_candidates(written, place, source))
    for candidate in candidates:
        if os.path.isfile(candidate):  # unlike Path.is_file it takes any text
            return os.path.abspath(candidate)
    raise BadPicture(
        f"{what} is not there: no file {written!r}",
        place,
        candidates,
        expected=f"it under {source.images!r} or beside the data file"
        if source.images
        else "it beside the data file",
        remedy="check the folder `images` beside the file's `path` in the recipe"
        if source.images
        else "name the folder with the pictures as `images` beside the file's `path` in the recipe",
    )


def _candidates(written: str, place: Place, source: Source) -> Iterator[str]:
    foreign = PureWindowsPath(written)  # splits at both kinds of slashes, and knows drives
    if os.path.isabs(written):
        yield written
    elif source.images is not None:
        yield os.path.join(source.images, written)
    if not foreign.anchor:
        yield os.path.join(os.path.dirname(place.file), written)
        yield os.path.join(os.path.dirname(place.file), *foreign.parts)
    if source.images is not None:
        parts = foreign.parts[1:] if foreign.anchor else foreign.parts
        for start in range(len(parts)):
            if ".." not in parts[start:]:
                yield str(Path(source.images, *parts[start:]))


# ---- whether it can be used


def read_picture(path: str) -> Any:
    """The picture in a file as a Pillow image in RGB, turned as its EXIF note says; what is transparent is white.

    Raises:
        InputError: it cannot be read.
    """
    optional.require("PIL", wanted_by="reading pictures")
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(path, formats=_FORMATS) as opened:
                picture = ImageOps.exif_transpose(opened)
                if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
                    picture = picture.convert("I").point(lambda level: level / 256).convert("L")
                if picture.has_transparency_data:
                    picture = picture.convert("RGBA")
                    white = Pillow.new("RGBA", picture.size, "white")
                    return Pillow.alpha_composite(white, picture).convert("RGB")
                return picture.convert("RGB")
    except _BROKEN as error:
        raise InputError(f"the picture {path!r} cannot be read: {error}") from error


class _Seen(NamedTuple):
    """What was found in a file: its size as shown and a digest of its bytes, or what is wrong with it."""

    width: int = 0
    height: int = 0
    problem: str | None = None
    digest: str = ""


def look_at(path: str, what: str, place: Place | None) -> Image:
    """The picture in a file, opened once and then remembered as long as the file stays as it is.

    Raises:
        BadRow: it is no picture, broken or gigantic.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        found = f"{what}, {path!r}, cannot be read: {error.strerror}"
        raise BadPicture(found, place, [path], expected=None) from None
    seen = _look_inside(path, state.st_mtime_ns, state.st_size)
    if seen.problem is not None:
        raise BadPicture(
            f"{what}, {path!r}, {seen.problem}",
            place,
            [path],
            expected=f"a whole picture of at most {MOST_PIXELS // 1_000_000} million pixels",
        )
    return Image(path, seen.width, seen.height, seen.digest)


@lru_cache(maxsize=1 << 16)
def _look_inside(path: str, _changed: int, _size: int) -> _Seen:
    """Decode a file to be sure that it is whole: a JPEG whose download broke off has a perfect header."""
    optional.require("PIL", wanted_by="reading pictures")
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit and odd metadata; ours is an error
            with Pillow.open(path, formats=_FORMATS) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    return _Seen(problem=f"is gigantic, {width} x {height} pixels")
                picture.draft("RGB", (1, 1))  # a JPEG is then decoded at an eighth of its size
                picture.load()
                lying = picture.getexif().get(_ORIENTATION) in _LYING
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except UnidentifiedImageError:
        return _Seen(problem=f"is no picture of a known kind ({', '.join(_FORMATS)})")
    except Pillow.DecompressionBombError:
        return _Seen(problem="is gigantic")
    except _BROKEN as error:
        return _Seen(problem=f"is broken: {error}")
    return _Seen(*((height, width) if lying else (width, height)), digest=digest)

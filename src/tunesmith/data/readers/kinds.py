"""The kinds of data files, by extension. A new kind is one module and one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tunesmith.config.schema import Source
from tunesmith.data.readers.arrow import read_arrow, read_parquet
from tunesmith.data.readers.csv import read_csv, read_tsv
from tunesmith.data.readers.documents import read_document
from tunesmith.data.readers.file import GZIP
from tunesmith.data.readers.json import read_json
from tunesmith.data.readers.jsonl import read_jsonl
from tunesmith.data.schema import SourceRow
from tunesmith.errors import InputError

Reader = Callable[[Path, Source], Iterator[SourceRow]]


def _read_pdf(path: Path, source: Source) -> Iterator[SourceRow]:
    from tunesmith.data.readers.pdf import read_pdf

    return read_pdf(path, source.password)


_TEXT: dict[str, Reader] = {
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".txt": read_document,
    ".md": read_document,
}
READERS: dict[str, Reader] = {
    **_TEXT,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".pdf": _read_pdf,
    **{f"{extension}{GZIP}": reader for extension, reader in _TEXT.items()},
}

_PACKED = "unpack it, and name what is in it"
_REMEDIES = {
    ".xlsx": "save the sheet as .csv (UTF-8)",
    ".xls": "save the sheet as .csv (UTF-8)",
    ".docx": "save it as .txt (UTF-8)",
    ".doc": "save it as .txt (UTF-8)",
    ".gz": "give its name the extension of what is in it too, such as .jsonl.gz",
    **dict.fromkeys((".zip", ".tar", ".tar.gz", ".tgz", ".zst", ".bz2", ".xz", ".7z", ".rar"), _PACKED),
}


def extension_of(path: Path) -> str:
    """`.jsonl`, or both of `.jsonl.gz`, in small letters."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == GZIP else last


def reader_of(path: Path) -> Reader:
    """The reader of a file's extension.

    Raises:
        InputError: there is none.
    """
    extension = extension_of(path)
    reader = READERS.get(extension)
    if reader is None:
        found = f"no reader for {extension!r} files" if extension else "the file's name has no extension"
        plain = [name for name in READERS if not name.endswith(GZIP)]
        raise InputError(
            found,
            where=str(path),
            expected=f"one of {', '.join(plain)}; text files may be packed as {GZIP}",
            remedy=_REMEDIES.get(extension),
        )
    return reader

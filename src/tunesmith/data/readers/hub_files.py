"""Which files of a data-set repository hold its rows: by the README's `configs`, else by folder and file names.

The rules are those of the `datasets` library, as far as they need no code of the repository's:
https://huggingface.co/docs/hub/datasets-data-files-configuration
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from tunesmith.config.words import nearest
from tunesmith.data.words import quoted
from tunesmith.errors import InputError

TABLES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow")
PROSE = (".txt", ".md")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
# What a whole data set is made of.
EVERYTHING = [
    *(f"*{kind}{end}" for kind in (*TABLES, *PROSE) for end in ("", ".gz")),
    *(f"*{kind}" for kind in PICTURES),
    "*LICENSE*",
]

# Files about the data, and no data.
_ABOUT = re.compile(
    r"(?:readme|licen[cs]e|notice|changelog|contributing|citation|requirements)\b.*\.(?:md|txt)"
    r"|readme_\w+\.md|(?:dataset_infos?|dataset_dict|state|configuration|config)\.json",
    re.IGNORECASE,
)
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_CANONICAL = {word: split for split, words in _SPLIT_WORDS.items() for word in words}
_SPLIT_WORD = re.compile(rf"(?<![a-z0-9])({'|'.join(sorted(_CANONICAL, key=len, reverse=True))})(?![a-z0-9])")
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\b.*")
_NUMBERS = re.compile(r"([0-9]{1,18})")
# The hub's own conversion: subset/split/0000.parquet; `partial-` where it stopped at a size.
_CONVERTED = re.compile(r"([^/]+)/(partial-)?([^/]+)/\d{4,}\.parquet")

Splits = dict[str, tuple[str, ...]]


class Config(NamedTuple):
    """A subset as the README declares it: patterns of files, a split; an empty mapping where it names none."""

    name: str
    default: bool
    patterns: dict[str, tuple[str, ...]]
    folder: str | None


def kind_of_file(path: str) -> str:
    """A file's extension in small letters, `.gz` left aside; the two names of JSON Lines are one."""
    name = PurePosixPath(path.lower())
    extension = PurePosixPath(name.stem).suffix if name.suffix == ".gz" else name.suffix
    return ".jsonl" if extension == ".ndjson" else extension


def is_data(path: str, kinds: Sequence[str] = (*TABLES, *PROSE)) -> bool:
    """Whether a file may hold rows, by its name alone."""
    parts = PurePosixPath(path).parts
    return kind_of_file(path) in kinds and not _about_or_hidden(parts)


def _about_or_hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith((".", "__")) for part in parts) or _ABOUT.fullmatch(parts[-1]) is not None


def configs_of(readme: str) -> list[Config]:
    """The subsets that a README's header declares; none where it has no header, or one that is no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    header = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", readme, re.DOTALL)
    if header is None:
        return []
    try:
        values = YAML(typ="safe", pure=True).load(header[1])
    except (YAMLError, ValueError):
        return []
    listed = values.get("configs") if isinstance(values, dict) else None
    return [_config(value) for value in listed if isinstance(value, dict)] if isinstance(listed, list) else []


def _config(value: dict[str, Any]) -> Config:
    files = value.get("data_files")
    patterns: dict[str, tuple[str, ...]] = {}
    if isinstance(files, dict):
        patterns = {str(split): _strings(paths) for split, paths in files.items()}
    elif isinstance(files, list) and any(isinstance(entry, dict) for entry in files):
        for entry in files:
            if isinstance(entry, dict):
                split = str(entry.get("split", "train"))
                patterns[split] = patterns.get(split, ()) + _strings(entry.get("path"))
    elif files is not None:
        patterns = {"train": _strings(files)}
    folder = value.get("data_dir")
    return Config(
        str(value.get("config_name", "default")),
        value.get("default") is True,
        patterns,
        folder.strip("/") if isinstance(folder, str) else None,
    )


def _strings(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(entry for entry in listed if isinstance(entry, str))


def splits_of(files: Sequence[str], configs: Sequence[Config], subset: str | None, where: str) -> Splits:
    """The data files of a subset, a split. Empty where the repository holds no data file at all.

    Raises:
        InputError: there is no such subset, or there are several and none was named.
    """
    if configs:
        config = _chosen_config(configs, subset, where)
        inside = [path for path in files if config.folder in (None, "", ".") or _is_in(path, config.folder)]
        if config.patterns:
            return {
                split: _matching(inside, paths, config.folder) for split, paths in config.patterns.items()
            }
        return _by_names(inside)
    converted = {path: match for path in files if (match := _CONVERTED.fullmatch(path))}
    if converted and len(converted) == sum(is_data(path, TABLES) for path in files):
        names = sorted({match[1] for match in converted.values()})
        config = _chosen_config([Config(name, False, {}, None) for name in names], subset, where)
        found: dict[str, list[str]] = {}
        for path, match in converted.items():
            if match[1] == config.name:
                found.setdefault(match[3], []).append(path)
        return {split: natural(paths) for split, paths in found.items()}
    if subset is None or not any(map(is_data, files)):
        return _by_names(files)
    return _by_names(_of_subset(files, subset, where))


def _is_in(path: str, folder: str | None) -> bool:
    return folder is not None and path.startswith(folder + "/")


def _chosen_config(configs: Sequence[Config], subset: str | None, where: str) -> Config:
    named = {config.name: config for config in configs}
    if subset is not None:
        if subset in named:
            return named[subset]
        alike = nearest(subset, named)
        raise InputError(
            f"the data set has no subset {subset!r}",
            where=where,
            expected=f"one of {quoted(named)}",
            remedy=f"the nearest is {alike!r}" if alike else None,
        )
    marked = [config for config in configs if config.default] or [c for c in configs if c.name == "default"]
    if marked or len(named) == 1:
        return (marked or list(configs))[0]
    raise InputError(
        f"the data set has {len(named)} subsets: {quoted(named)}",
        where=where,
        expected="one of them to be named",
        remedy=f"write for example {_repository(where)}:{next(iter(named))}",
    )


def _of_subset(files: Sequence[str], subset: str, where: str) -> list[str]:
    """The files in a folder of that name, or of that name themselves."""

    def names(path: str) -> list[str]:
        *folders, name = path.lower().split("/")
        return [*folders, name.partition(".")[0]]

    data = [path for path in files if is_data(path)]
    chosen = [path for path in data if subset.lower() in names(path)]
    if chosen:
        return chosen
    known = sorted({name for path in data for name in names(path)})
    alike = nearest(subset.lower(), known)
    raise InputError(
        f"the data set has no subset {subset!r}: no folder or file has that name",
        where=where,
        expected=f"one of {quoted(known[:20])}" + (" and others" if len(known) > 20 else "")
        if known
        else None,
        remedy=f"the nearest is {alike!r}" if alike else None,
    )


def _by_names(files: Iterable[str]) -> Splits:
    """Files by the split that their names tell; those that tell none are the training part, unless others are."""
    files = list(files)
    data = [path for path in files if is_data(path, TABLES)] or [
        path for path in files if is_data(path, PROSE)
    ]
    found: dict[str | None, list[str]] = {}
    for path in data:
        found.setdefault(_split_of(path), []).append(path)
    untold = found.pop(None, [])
    if untold and "train" not in found:
        found["train"] = untold
    return {split: natural(paths) for split, paths in found.items() if split is not None}


def _split_of(path: str) -> str | None:
    *folders, name = path.split("/")
    shard = _SHARD.fullmatch(name)
    if shard is not None:
        return _CANONICAL.get(shard[1].lower(), shard[1])
    for part in (name.partition(".")[0], *reversed(folders)):
        word = _SPLIT_WORD.search(part.lower())
        if word is not None:
            return _CANONICAL[word[1]]
    return None


def choose(splits: Splits, split: str | None, where: str) -> tuple[str, ...]:
    """The files of one split: the named one, else train, else the only one.

    Raises:
        InputError: there is no such split, several and none is train, or the split comes in several kinds of files.
    """
    if split is not None:
        wanted = split if split in splits else _CANONICAL.get(split.lower(), split)
    else:
        wanted = "train" if "train" in splits or len(splits) != 1 else next(iter(splits))
    if wanted not in splits:
        remedy = f"write for example {where.partition('@')[0]}@{next(iter(splits))}" if splits else None
        raise InputError(f"the data set has no split {wanted!r}", where=where, expected=f"one of {quoted(splits)}", remedy=remedy)  # fmt: skip
    files = splits[wanted]
    if not files:
        raise InputError(
            f"the README names files for the split {wanted!r} that the repository does not hold", where=where
        )
    kinds = sorted({kind_of_file(path) for path in files})
    if len(kinds) > 1:  # most often the same rows twice
        raise InputError(
            f"the split {wanted!r} comes as {' and '.join(kinds)} files, perhaps the same rows twice",
            where=where,
            expected="one kind",
            remedy=f"name a file or a folder, such as {_repository(where)}/{files[0]}",
        )
    return files


def _repository(where: str) -> str:
    """`hf:owner/name` of a longer reference."""
    match = re.match(r"\w+:[^/:@]+/[^/:@]+", where)
    return match[0] if match else where


def named_files(files: Sequence[str], path: str, where: str) -> tuple[str, ...]:
    """The file of that path, or the data files in that folder.

    Raises:
        InputError: there is neither.
    """
    if path in files:
        return (path,)
    inside = [file for file in files if _is_in(file, path.rstrip("/"))]
    data = [file for file in inside if is_data(file, TABLES)] or [file for file in inside if is_data(file)]
    if data:
        return choose({"train": natural(data)}, None, where)
    known = [file for file in files if is_data(file)]
    alike = nearest(path, known)
    raise InputError(
        f"the repository holds no data in {path}" if inside else f"the repository holds no file {path}",
        where=where,
        expected=f"one of {quoted(known[:20])}" + (" and others" if len(known) > 20 else "")
        if known
        else None,
        remedy=f"the nearest is {alike}" if alike else None,
    )


def missing_shards(files: Iterable[str]) -> list[str]:
    """`NAME-00000-of-00003` names that their siblings promise and that are not there."""
    there: dict[tuple[str, str], set[int]] = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        shard = _SHARD.fullmatch(name)
        if shard is not None:
            there.setdefault((f"{folder}/{shard[1]}".lstrip("/"), shard[3]), set()).add(int(shard[2]))
    return [
        f"{stem}-{number:05d}-of-{count}"
        for (stem, count), numbers in there.items()
        for number in range(min(int(count), 100_000))
        if number not in numbers
    ]


def partly_converted(files: Iterable[str]) -> bool:
    """Whether the hub converted only the first part of the data set."""
    return any((match := _CONVERTED.fullmatch(path)) is not None and match[2] for path in files)


def _matching(files: Sequence[str], patterns: Sequence[str], folder: str | None) -> tuple[str, ...]:
    base = f"{folder}/" if folder not in (None, "", ".") else ""
    wanted = [re.compile(_regex(base + pattern.removeprefix("./").lstrip("/"))) for pattern in patterns]
    return natural([path for path in files if any(regex.fullmatch(path) for regex in wanted)])


def _regex(pattern: str) -> str:
    """A glob over repository paths as a regular expression: `*` stays within a folder, `**` does not."""
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]/]+\])", pattern)
    return "".join(
        known.get(part) or (_class(part) if _is_class(part) else re.escape(part)) for part in parts
    )


def _class(part: str) -> str:
    """`[0-9]` or `[!ab]`; ranges stay ranges, all else is a plain character."""
    inside = part[1:-1]
    negated, inside = ("^", inside[1:]) if inside.startswith("!") and len(inside) > 1 else ("", inside)
    return f"[{negated}{re.sub(r'([^0-9A-Za-z-])', lambda found: chr(92) + found[1], inside)}]"


def _is_class(part: str) -> bool:
    return len(part) > 2 and part[0] == "[" and part[-1] == "]"


def natural(paths: Iterable[str]) -> tuple[str, ...]:
    """In order, numbers by their value."""

    def key(path: str) -> list[tuple[bool, int, str]]:
        return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in _NUMBERS.split(path)]

    return tuple(sorted(paths, key=key))

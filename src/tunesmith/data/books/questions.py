"""Questions and answers that a model makes from passages, written row by row.

Every reply is kept beside the output before its rows are written. A run that was killed is run again from the start
with the replies that are there: it comes to the same rows, passes over those already written, and goes on.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from tunesmith.config import schema as configured
from tunesmith.config.words import counted
from tunesmith.data.books.script import han, is_chinese
from tunesmith.data.readers import find, read
from tunesmith.data.readers.strict import BrokenJson, parse_value
from tunesmith.errors import InputError, WorkError, no_room_is_a_work_error

# Messages as OpenAI writes them -> the model's reply.
Ask = Callable[[list[dict[str, str]]], str]

FEWEST_WORDS = 5  # of a question; Han characters in Chinese
MOST_IN_VAIN = 20  # passages at the start that give nothing, before it is given up

_ENGLISH = (
    "You write questions and answers for training a language model. You reply with JSON and nothing else.",
    "Write {} from the following passage of the book “{}”. Each question must make sense to somebody who does not have "
    "the passage before them, and must not mention it. Each answer is complete, true to the passage, and in the voice "
    'of its author. Give one JSON object a line: {{"question": "...", "answer": "..."}}\n\nThe passage:\n\n{}',
)
_CHINESE = (
    "你为语言模型的训练编写问答。只用 JSON 回复，不要写别的内容。",
    "请根据《{1}》一书的以下段落编写{0}。问题要让没有看到段落的人也能看懂，不要提到“本段”。答案要完整、忠于原文，"
    '并保持作者的笔调。每行一个 JSON 对象：{{"question": "...", "answer": "..."}}\n\n段落：\n\n{2}',
)
_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_THINKING_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINKING_BEGIN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_Q, _A = r"(?:Question|Q|问题?|提问)\s*\d*\s*[:：.]", r"(?:Answer|A|答案?|回答)\s*\d*\s*[:：.]"
_PLAIN_PAIR = re.compile(
    rf"^\W*{_Q}\W*(.+?)\s*^\W*{_A}\W*(.+?)\s*(?=^\W*{_Q}|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE
)


class Refused(Exception):
    """The model does not take this prompt; another passage may do."""


class Source(NamedTuple):
    """A passage to ask about."""

    text: str
    book: str


@dataclass
class Outcome:
    """What a run did: the output's rows, those it wrote itself, replies asked for and found, and what was left out."""

    passages: int = 0
    rows: int = 0
    written: int = 0
    asked: int = 0
    from_cache: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def gone_through(self) -> int:
        """How many passages have had their turn."""
        return self.asked + self.from_cache


def read_passages(path: Path) -> list[Source]:
    """Passages of a file: rows with a `text`, or the last assistant's message of `messages`.

    Raises:
        InputError: the file cannot be read, or a row holds no passage.
    """
    found = []
    for row in read(find(configured.Source(path=str(path))), 0):
        if row.problem is not None:
            raise row.problem
        text = _passage_in(row.value)
        if text is None:
            raise InputError(
                "the row holds no passage",
                where=str(row.place),
                expected="`text`, or `messages` with an assistant's turn",
            )
        book = row.value.get("book")
        source = Source(text, book if isinstance(book, str) and book.strip() else path.stem)
        if not _is_unicode(source.text + source.book):
            raise InputError("the passage holds half a character (a lone surrogate)", where=str(row.place))
        found.append(source)
    return found


def _passage_in(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    text = value.get("text")
    messages = value.get("messages")
    if text is None and isinstance(messages, list):
        said = [
            one.get("content") for one in messages if isinstance(one, dict) and one.get("role") == "assistant"
        ]
        text = said[-1] if said else None
    return text if isinstance(text, str) and text.strip() else None


def cache_of(output: Path) -> Path:
    """Where the replies are kept."""
    return output.with_name(f"{output.stem}.replies.jsonl")


def write_questions(
    passages: Sequence[Source],
    ask: Ask,
    output: Path,
    *,
    model: str,
    count: int | None = None,
    each: int = 1,
    seed: int = 0,
    keep_going: bool = False,
    on_row: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Ask about the passages, in an order drawn by the seed, until there are `count` rows or no passages left.

    Args:
        model: what the replies are kept under: the model's name and how it draws.
        count: rows in the output, those of earlier runs among them.
        each: how many questions a passage is asked for.
        keep_going: ask on where the first MOST_IN_VAIN passages gave nothing.
        on_row: called after each passage.

    Raises:
        InputError: the output holds other rows than these passages and this model give.
        WorkError: not one question came of it, or of the first passages, or the disk is full.
    """
    outcome = Outcome(passages=len(passages))
    order = random.Random(seed).sample(range(len(passages)), len(passages))
    with no_room_is_a_work_error(str(output), "free some space; the same command goes on where it stopped"):
        there = _mended(output)
        replies = _Replies(cache_of(output), model)
        asked_before: set[str] = set()
        with _Lines(output) as rows, replies.lines:
            for index in order:
                if count is not None and outcome.rows >= count:
                    break
                passage = passages[index]
                for pair in _pairs(
                    replies.reply(_prompt(passage, each), ask, outcome), asked_before, outcome
                ):
                    if count is not None and outcome.rows >= count:
                        break
                    _put(rows, pair | {"book": passage.book}, there, outcome, output)
                on_row(outcome)
                if outcome.gone_through == MOST_IN_VAIN and not outcome.rows and not keep_going:
                    break
    if not outcome.rows:
        raise _in_vain(outcome, output)
    return outcome


def _in_vain(outcome: Outcome, output: Path) -> WorkError:
    reasons = "; ".join(
        f"{reason} ({counted(many, 'time')})" for reason, many in outcome.left_out.most_common(3)
    )
    if outcome.gone_through < outcome.passages:
        what = f"the first {outcome.gone_through} of {outcome.passages} passages"
        remedy = "try a model that can, or longer replies with --max-new-tokens; --keep-going asks about the others too"
    else:
        what = counted(outcome.passages, "passage")
        remedy = "try a model that can, or longer replies with --max-new-tokens"
    return WorkError(f"not one question came of {what}: {reasons}", where=str(output), remedy=remedy)


def _prompt(passage: Source, each: int) -> list[dict[str, str]]:
    chinese = is_chinese(passage.text)
    system, user = _CHINESE if chinese else _ENGLISH
    if chinese:
        many = f" {each} 组问答"
    else:
        many = "one question and its answer" if each == 1 else f"{each} questions and their answers"
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": user.format(many, passage.book, passage.text)},
    ]


def _put(rows: _Lines, row: dict[str, str], there: list[str], outcome: Outcome, output: Path) -> None:
    """Write a row, unless an earlier run did: then it must be the same."""
    line = json.dumps(row, ensure_ascii=False)
    if outcome.rows < len(there):
        if there[outcome.rows] != line:
            raise InputError(
                "this row is not what these passages, this model and this seed give",
                where=f"{output}:{outcome.rows + 1}",
                remedy="choose another name for the output, or start it anew with --overwrite",
            )
    else:
        rows.add(line)
        outcome.written += 1
    outcome.rows += 1


# ---- replies


def _pairs(reply: str | Refused, asked_before: set[str], outcome: Outcome) -> Iterator[dict[str, str]]:
    """The good pairs of a reply; all others are counted with the reason."""
    if isinstance(reply, Refused):
        outcome.left_out[str(reply)] += 1
        return
    text = _THINKING_END.split(_THINKING.sub("", reply))[-1]
    if _THINKING_BEGIN.search(text):
        outcome.left_out["the model was still thinking when its reply ended"] += 1
        return
    pairs = list(_parsed(text))
    if not pairs:
        outcome.left_out["no question with an answer in the reply"] += 1
    for question, answer in pairs:
        key = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", question).lower()))
        reason = _why_not(question, answer) or ("asked before" if key in asked_before else None)
        if reason:
            outcome.left_out[reason] += 1
            continue
        asked_before.add(key)
        yield {"question": question, "answer": answer}


def _parsed(text: str) -> Iterator[tuple[str, str]]:
    """Question and answer from JSON objects wherever they stand in the text, or else from lines with Q: and A:."""
    position, found = 0, False
    while (position := text.find("{", position)) >= 0:
        try:
            value, position = parse_value(text, position)
        except BrokenJson:
            position += 1
            continue
        for one in _objects(value):
            question, answer = one.get("question"), one.get("answer")
            if isinstance(question, str) and isinstance(answer, str):
                found = True
                yield question.strip(), answer.strip()
    if not found:
        for match in _PLAIN_PAIR.finditer(text):
            yield match[1].strip(), match[2].strip()


def _objects(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object, and those in its lists: some models put the pairs under one key."""
    yield value
    for inner in value.values():
        if isinstance(inner, list):
            yield from (one for one in inner if isinstance(one, dict))


def _why_not(question: str, answer: str) -> str | None:
    length = han(question) if han(question) else len(question.split())
    if length < FEWEST_WORDS:
        return f"a question of fewer than {FEWEST_WORDS} words (or Han characters)"
    if not answer:
        return "an empty answer"
    return None if _is_unicode(question + answer) else "half a character (a lone surrogate) in the reply"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


class _Replies:
    """The replies on the disk, and those yet to come, which are put there at once."""

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        self.known: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(_mended(path), start=1):
            try:
                entry = json.loads(line)
                self.known[entry["key"]] = entry
            except (ValueError, RecursionError, LookupError, TypeError):
                raise InputError(
                    "this line is not the JSON that tunesmith wrote",
                    where=f"{path}:{number}",
                    remedy="take the line out",
                ) from None
        self.lines = _Lines(path)

    def reply(self, messages: list[dict[str, str]], ask: Ask, outcome: Outcome) -> str | Refused:
        """The reply to a prompt. A refusal is kept too: asked again, it could change the rows that follow."""
        key = hashlib.sha256(json.dumps([self.model, messages]).encode("ascii")).hexdigest()
        entry = self.known.get(key)
        if entry is not None:
            outcome.from_cache += 1
        else:
            outcome.asked += 1
            try:
                entry = {"key": key, "model": self.model, "reply": ask(messages)}
            except Refused as refusal:
                entry = {"key": key, "model": self.model, "refused": str(refusal)}
            self.known[key] = entry
            # ASCII, so that half a character in a reply cannot stop the writing.
            self.lines.add(json.dumps(entry))
        return str(entry["reply"]) if "reply" in entry else Refused(str(entry.get("refused", "")))


class _Lines:
    """A file that grows line by line, each on the disk at once. It is made with the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, line: str) -> None:
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        self._file.write(line + "\n")
        self._file.flush()


def _mended(path: Path) -> list[str]:
    """The whole lines of a file that may not be there; the half of one that a kill left at its end is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    try:
        return whole.decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        raise InputError("the file is not UTF-8, so tunesmith did not write it", where=str(path)) from None

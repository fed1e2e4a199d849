"""YAML in and out: values that remember their lines, and errors that name them.

YAML 1.2 is read, so `2e-4` is a number and `yes` is text. Duplicate keys are errors.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from tunesmith.config.words import Path
from tunesmith.errors import InputError


def _parser() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # `read` finds them all itself; the library would stop at the first
    return yaml


@dataclass(frozen=True)
class Document:
    """A YAML text: its values, and the line of each."""

    name: str
    values: Any
    root: Node | None
    problems: list[InputError] = field(default_factory=list)  # duplicate keys

    def line(self, path: Path) -> tuple[int, int]:
        """How many parts of `path` stand in the text, and the line (from 1) of the deepest of them."""
        node, line, depth = self.root, 1, 0
        for part in path:
            found = _below(node, part)
            if found is None:
                break
            depth += 1
            line, node = found[0].start_mark.line + 1, found[1]
        return depth, line


def _below(node: Node | None, part: str | int) -> tuple[Node, Node] | None:
    """The node that carries a part's line (the key, or the list's item) and the node of its value."""
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    if not isinstance(node, MappingNode):
        # One item may stand for a list of one; it has the list's own line.
        return (node, node) if node is not None and part == 0 else None
    for key, value in node.value:
        if key.value == str(part):
            return key, value
    if part == 0:
        return node, node
    for key, value in node.value:
        if key.value == "<<":  # keys merged in from an anchor
            merged = value.value if isinstance(value, SequenceNode) else [value]
            for block in merged:
                found = _below(block, part)
                if found is not None:
                    return found
    return None


def read(content: bytes, name: str) -> Document:
    """Read a YAML file's bytes.

    Raises:
        InputError: not UTF-8, or not YAML; names line and column. Duplicate keys are in `problems` instead.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"the file is not UTF-8 (byte 0x{content[error.start]:02x})",
            where=f"{name}:{line}",
            remedy="save it as UTF-8 in your editor",
        ) from None
    try:
        root, values = _parser().compose(text), _parser().load(text)
    except YAMLError as error:
        raise _syntax_error(error, text, name) from None
    except ValueError as error:  # such as the date 2001-99-99
        raise InputError(
            f"a value cannot be read: {error}", where=name, remedy="put texts in quotes"
        ) from None
    except RecursionError:
        raise InputError("brackets or blocks are nested too deeply", where=name) from None
    return Document(name, values, root, _duplicates(root, name))


def read_value(text: str, where: str) -> Any:
    """Read one value given on the command line.

    Raises:
        InputError: it is not YAML.
    """
    try:
        return _parser().load(text)
    except (YAMLError, ValueError, RecursionError):
        raise InputError(
            f"the value {text!r} is not YAML",
            where=where,
            remedy="put it in quotes, such as 'data.system=\"a: b\"'",
        ) from None


def write(values: Any) -> str:
    """YAML text in block style, keys in the given order, non-ASCII kept; `read` gives the same values back."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 110
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(values, stream)
    return stream.getvalue()


class _Representer(SafeRepresenter):
    """Writes texts so that they read back to the letter."""

    # Line breaks of Unicode that the library's emitter takes for its own, and reads back as spaces.
    _ODD_BREAKS = frozenset("\x85\u2028\u2029\ufeff")

    def represent_str(self, data: str) -> ScalarNode:
        style = '"' if self._ODD_BREAKS.intersection(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


def _duplicates(root: Node | None, name: str) -> list[InputError]:
    """One problem for each key that stands twice in its block."""
    problems: list[InputError] = []
    seen_nodes: set[int] = set()  # an alias may make the text's tree a loop
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            first_line: dict[Any, int] = {}
            for key, value in node.value:
                waiting.append(value)
                line = key.start_mark.line + 1
                if not isinstance(key.value, str) or key.value == "<<":
                    continue
                if key.value in first_line:
                    problems.append(
                        InputError(
                            f"the key `{key.value}` stands twice; the first is on line {first_line[key.value]}",
                            where=f"{name}:{line}",
                            remedy="keep one of them",
                        )
                    )
                first_line.setdefault(key.value, line)
    return problems


def _syntax_error(error: YAMLError, text: str, name: str) -> InputError:
    """The library's complaint as a sentence with line and column."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        return InputError(
            f"a character that YAML does not allow (code {error.character!r})",
            where=f"{name}:{line}:{column}",
        )
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return InputError(f"this is not YAML: {error}", where=name)
    problem, context, mark = error.problem or "", error.context or "", error.problem_mark
    found, expected, remedy = (
        f"this is not YAML: {problem}",
        "",
        "check the indentation, brackets and quotes there",
    )
    if "'\\t'" in problem:
        found, expected, remedy = "a tab", "spaces: YAML does not indent with tabs", ""
    elif problem.startswith("mapping values are not allowed"):
        found = "a colon that makes no sense there"
        remedy = (
            "check the indentation, put a space after each key's colon, and put texts with `: ` in quotes"
        )
    elif "quoted scalar" in context and error.context_mark is not None:
        found, remedy, mark = "a quote is opened here and never closed", "", error.context_mark
    elif "flow" in context and error.context_mark is not None:
        found, remedy, mark = (
            "a bracket is opened here and not closed as it should be",
            "",
            error.context_mark,
        )
    elif "another document" in problem:
        found, expected, remedy = "a second document (`---`)", "one document a file", ""
    elif "constructor for the tag" in problem:
        found, expected, remedy = (
            "a tag (`!...`)",
            "plain values",
            "put a text that begins with `!` in quotes",
        )
    elif "found character" in problem:
        remedy = "put texts that begin with a special character in quotes"
    return InputError(
        found,
        where=f"{name}:{mark.line + 1}:{mark.column + 1}",
        expected=expected or None,
        remedy=remedy or None,
    )

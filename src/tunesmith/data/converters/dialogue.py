"""A chat in one string, `\\n\\nHuman: ...\\n\\nAssistant: ...`, as Anthropic's preference sets have it."""

from __future__ import annotations

import re

_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant): ?")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def turns_of(text: str) -> list[dict[str, str]] | None:
    """Its turns as messages, their text as it is; None unless it begins with one of the user's and one of the assistant's
    follows.
    """
    found = list(_TURN.finditer(text))
    if len(found) < 2 or found[0].start() != 0 or found[0][1] != "Human":
        return None
    ends = [*(turn.start() for turn in found[1:]), len(text)]
    return [
        {"role": _ROLES[turn[1]], "content": text[turn.end() : end]}
        for turn, end in zip(found, ends, strict=True)
    ]

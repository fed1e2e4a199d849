"""Write docs/templates.md from the chat templates that come along; `--check` only says whether the page is up to date.

python tools/write_template_docs.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from tunesmith.data.templates import TEMPLATES, Template, template_named

PAGE = Path(__file__).resolve().parents[1] / "docs" / "templates.md"

CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "That is all."},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "Rome?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "sunny"},
    {"role": "assistant", "content": "It is sunny."},
]
THOUGHT: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!", "reasoning_content": "A greeting."},
]

HEAD = """\
# Chat templates

<!-- Written by tools/write_template_docs.py from src/tunesmith/data/templates; edit those, not this page. -->

A model's own chat template is used wherever there is one. A base model that brings none needs `data.template`:

```yaml
data: {train: chats.jsonl, template: chatml} # a name from below, or the path of a Jinja file
```

A name is never guessed. `tunesmith recipes templates` prints the list. A bare word that is a file beside the recipe is
that file.

- **Special tokens.** `<s>` and `</s>` below stand for the model's own beginning and end tokens, whatever they are
  called. The control tokens in the table should be special tokens of the model's tokenizer. Where they are not, they are
  trained as ordinary text, and the same text in a message can pass for them; `tunesmith check` says so. The templates
  without control tokens are made of ordinary text, and suit any model.
- **What is learned.** ⟦ and ⟧ are no part of the text: what stands between them is what the model must write when it is
  shown what stands before.
- **Content is written as it is**, blanks included. A template refuses what it has no place for: tools and thoughts where
  the table has none, a system message in mid-conversation, pictures.
"""


def page() -> str:
    """The whole page."""
    rows = "\n".join(row(name, template) for name, template in TEMPLATES.items())
    table = f"| name | for | control tokens | tools | thinking |\n|---|---|---|---|---|\n{rows}\n"
    return f"{HEAD}\n{table}" + "".join(section(name, template) for name, template in TEMPLATES.items())


def row(name: str, template: Template) -> str:
    tokens = " ".join(f"`{token}`" for token in template.control_tokens).replace("|", "\\|")
    tools, thinking = ("yes" if has else "" for has in (template.tools, template.thinking))
    return f"| [`{name}`](#{name}) | {template.about} | {tokens} | {tools} | {thinking} |"


def section(name: str, template: Template) -> str:
    """One template: its name, and a chat as it writes it."""
    blocks = [fenced(rendered(name, CHAT))]
    if template.thinking:
        blocks += ["With a thought:", fenced(rendered(name, THOUGHT))]
    if template.tools:
        blocks += ["With a tool:", fenced(rendered(name, CALLED, [TOOL]))]
    return f"\n## {name}\n\n" + "\n\n".join(blocks) + "\n"


def fenced(text: str) -> str:
    text = text.rstrip("\n")
    return f"````text\n{text}\n````"


def rendered(name: str, chat: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> str:
    """The chat, with the last answer in brackets."""
    shown, full = (
        render_jinja_template(
            conversations=[list(messages)],
            tools=list(tools) or None,
            chat_template=template_named(name),
            add_generation_prompt=generation,
            bos_token="<s>",
            eos_token="</s>",
        )[0][0]
        for messages, generation in ((chat[:-1], True), (chat, False))
    )
    answer = full[len(shown) :]
    bare = answer.rstrip("\n")
    return f"{shown}⟦{bare}⟧{answer[len(bare) :]}"


def complaints(arguments: list[str]) -> Iterator[str]:
    """Do what the arguments ask; yields what is wrong."""
    if arguments not in ([], ["--check"]):
        yield "usage: python tools/write_template_docs.py [--check]"
    elif not arguments:
        PAGE.write_text(page(), "utf-8", newline="\n")
    elif not PAGE.is_file() or PAGE.read_text("utf-8") != page():
        yield f"{PAGE} is not up to date; run: python tools/write_template_docs.py"


if __name__ == "__main__":
    sys.exit("\n".join(complaints(sys.argv[1:])) or 0)

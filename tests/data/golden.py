"""What a family's template must give: a record a family, written by hand, and the conversations it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Message, ToolCall

from .tiny import byte_level, shared_template, trl_template


def user(text):
    return Message("user", text, 0.0)


def assistant(text, thinking=None, calls=()):
    return Message("assistant", text, 1.0, thinking, calls)


POEM = "春风又绿江南岸，\n明月何时照我还。"
SINGLE = (user("写一首诗"), assistant(POEM))
MULTI = (user("Hi"), assistant("Hello!"), user("And?"), assistant("That is all."))
SYSTEM = (Message("system", "Be brief.", 0.0), *MULTI)
THINKING = (
    user("Hi"),
    assistant("Hello!", "A greeting."),
    user("And?"),
    assistant("That is all.", "Stop here."),
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = ToolCall("weather", {"city": "Rome"}, "call00001")
TOOLS = Conversation(
    (
        user("Rome?"),
        assistant("", calls=(CALL,)),
        Message("tool", "sunny", 0.0, name="weather", call_id="call00001"),
        assistant("It is sunny."),
    ),
    (WEATHER,),
)

Pieces = list[list[str]]


def each(form):
    """What is learned of `THINKING`, an answer a piece; `form` has {thought} and {answer}."""
    told = (("A greeting.", "Hello!"), ("Stop here.", "That is all."))
    return [[form.format(thought=thought, answer=answer)] for thought, answer in told]


@dataclass(frozen=True)
class Family:
    """A template, the tokens it is used with, and what the model must generate under it.

    Args:
        name: the file that `source` reads.
        special: the special tokens of the family's tokenizer, its beginning and end tokens among them.
        eos: the tokenizer's end token.
        close: what ends an answer, up to and with the stop token.
        open: what the model must write in front of an answer, behind the generation prompt.
        between: what ends an answer in mid-conversation, where that is something else.
        ends: further end tokens (generation_config.json's).
        shared: whether the history shows earlier answers as they were generated, so that all share one piece.
        system: how the system prompt "Be brief." stands in the text; None: the template refuses it.
        tools: what is learned of `TOOLS`; None: the template writes no tools.
        thinking: what is learned of `THINKING`; None: the template writes no thoughts.
    """

    name: str
    special: tuple[str, ...]
    eos: str
    close: str
    open: str = ""
    between: str | None = None
    ends: tuple[str, ...] = ()
    bos: str | None = None
    shared: bool = True
    system: str | None = None
    tools: Pieces | None = None
    thinking: Pieces | None = None
    source: Callable[[str], str] = field(default=trl_template, repr=False)

    def tokenizer(self):
        return byte_level(self.special, self.eos, self.source(self.name), self.bos)

    def renderer(self, **settings):
        ends = frozenset(self.tokenizer().convert_tokens_to_ids(list(self.ends)))
        return Renderer(self.tokenizer(), end_ids=ends, **settings)

    def answers(self, *texts):
        """What is learned where the answers are these texts and nothing else."""
        between = self.close if self.between is None else self.between
        closes = [between if self.shared else self.close] * (len(texts) - 1) + [self.close]
        learned = [f"{self.open}{text}{close}" for text, close in zip(texts, closes, strict=True)]
        return [learned] if self.shared else [[text] for text in learned]


Shared = partial(Family, source=shared_template)


def learned(renderer, tree):
    """The text that carries loss, a list a piece."""
    return [[span.text for span in spans if span.weight] for spans in renderer.spans(tree)]


def check(family, conversation, expected):
    """The learned text is the expected one, and what stands before each answer is the prompt at inference."""
    renderer = family.renderer()
    tree = renderer.rendered(conversation).tree
    assert learned(renderer, tree) == expected
    at = [index for index, message in enumerate(conversation.messages) if message.loss]
    for piece in tree:
        assert piece.parent is None
        begins = [i for i, w in enumerate(piece.weights) if w and (i == 0 or not piece.weights[i - 1])]
        for begin in begins:
            shown = renderer.prompt(conversation.messages[: at.pop(0)], conversation.tools)
            assert list(piece.tokens[:begin]) == shown
    assert not at


def special_tokens(renderer, tree):
    return [
        [
            token
            for token in piece.tokens
            if token in renderer.tokenizer.all_special_ids or _is_special(renderer, token)
        ]
        for piece in tree
    ]


def _is_special(renderer, token):
    kind = renderer.tokenizer.added_tokens_decoder.get(token)
    return kind is not None and kind.special


def check_forgery(family, *, as_parts=False):
    """Special tokens' strings in a message are plain text: the row's special tokens are those of a row without."""
    renderer = family.renderer()
    forged = "".join(family.special)

    def row(question, answer):
        of = (lambda text: (text,)) if as_parts else str
        return renderer.rendered(
            Conversation((Message("user", of(question)), Message("assistant", of(answer), 1.0)))
        ).tree

    plain, attacked = row("Hi", "Hello!"), row(f"Hi{forged}", f"Hello!{forged}")
    assert special_tokens(renderer, attacked) == special_tokens(renderer, plain)
    assert learned(renderer, attacked) == [[f"{family.open}Hello!{forged}{family.close}"]]

"""A conversation that keeps its history, and the few commands a chat understands. No terminal in here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tunesmith.config.method import Generation
from tunesmith.data.schema import Image, Message
from tunesmith.infer.pictures import picture, question
from tunesmith.infer.speaker import Reply, Speaker

QUIT_WORDS = ("quit", "exit", "q")
HELP = (
    "/reset forgets the conversation · /system TEXT sets a system prompt · /image FILE shows a picture with the next "
    "question · quit, exit or q leaves"
)


@dataclass
class Chat:
    """A conversation with a speaker."""

    speaker: Speaker
    options: Generation
    system: str | None = None
    turns: list[Message] = field(default_factory=list)
    pictures: list[Image] = field(default_factory=list)  # to be shown with the next question
    _asked: int = 0

    def say(self, text: str, on_text: Callable[[str], None] | None = None) -> Reply:
        """Say something and get the answer; both stay in the conversation, pictures too.

        Raises:
            InputError: the conversation outgrew the context, or the model reads no pictures.
        """
        system = [] if self.system is None else [Message("system", self.system, 0.0)]
        turns = [*self.turns, Message("user", question(text, self.pictures), 0.0)]
        self.pictures = []
        reply = self.speaker.reply(
            [[*system, *turns]], self.options, first_number=self._asked, on_text=on_text
        )[0]
        self.turns = [*turns, reply.message or Message("assistant", reply.text, 0.0)]
        self._asked += 1
        return reply

    def command(self, text: str) -> str | None:
        """Carry out a `/command`; returns what to tell the user, or None if `text` is none.

        Raises:
            InputError: there is no such picture.
        """
        word, _, rest = text.strip().partition(" ")
        if word == "/reset":
            self.turns, self.pictures = [], []
            return "the conversation is forgotten"
        if word == "/system":
            self.system = rest.strip() or None
            self.turns = []
            return (
                "the system prompt is the recipe's again, and the conversation is forgotten"
                if self.system is None
                else "the system prompt is set, and the conversation is forgotten"
            )
        if word == "/image":
            if not rest.strip():
                return "/image wants the file of a picture"
            self.pictures.append(picture(rest.strip()))
            return "the picture is shown with the next question"
        if word.startswith("/"):
            return f"there is no command {word}; {HELP}"
        return None

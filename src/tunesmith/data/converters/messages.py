"""messages: `{"messages": [{"role", "content"}, ...]}`, chats as OpenAI writes them.

An optional `weight` on an assistant's message says how much it is learned; 0 is context only.
https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import Format, Row, conversation_of, field_of, has, with_system
from tunesmith.data.converters.images import pictures_of
from tunesmith.data.converters.judged import is_judged
from tunesmith.data.converters.tools import tools_of
from tunesmith.data.converters.turns import messages_of
from tunesmith.data.schema import Conversation, Place


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """Take the messages as they are.

    Raises:
        BadRow: a field is missing or of another type, a role is unknown, the roles are out of order, an answer is
            empty, or no answer is to be learned.
    """
    with pictures_of(row, place, source) as pictures:
        messages = messages_of(field_of(row, "messages", place), "messages", place, pictures)
    return conversation_of(with_system(row, messages, place), place, tools_of(row, place))


FORMAT = Format(
    name="messages",
    shape='{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    fields=("messages",),
    others=("system", "system_prompt", "tools", "functions", "images", "image"),
    makes=Conversation,
    convert=convert,
    test=lambda row: has(row, "messages") and not is_judged(row),
)

"""A row's value -> the samples that are kept of it: one, several pieces of a long one, or none that is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import bad_row
from tunesmith.data.encode import Encoding
from tunesmith.data.pairs import conversations_of, joined, truncated_pair
from tunesmith.data.rendered import Outline
from tunesmith.data.reshape import split, truncated
from tunesmith.data.schema import (
    BadRow,
    Conversation,
    Converted,
    Labelled,
    Message,
    Pair,
    Place,
    Prompt,
    Stretch,
    Strip,
)
from tunesmith.data.store import SPLIT, TRUNCATED, WHOLE, Draft, longest_path, loss_tokens
from tunesmith.data.tally import Dropped, Flow, Side


class Drafter:
    """Makes the samples of one file's rows."""

    def __init__(self, flow: Flow, source: Source, side: Side) -> None:
        self.flow, self.source, self.side = flow, source, side

    def samples_of(
        self,
        value: Converted,
        place: Place,
        outlines: Sequence[Outline],
        encodings: Sequence[Encoding | None],
        ids: list[int],
    ) -> list[Draft]:
        """The samples of a row.

        Args:
            outlines, encodings: of its chats, where it holds some.
            ids: its tokens, where it is plain text.

        Raises:
            BadRow: nothing can be learned from it.
        """
        if isinstance(value, Prompt):
            return self._prompt_drafts(value, place)
        if outlines:
            drafts = self._chat_drafts(value, place, outlines, encodings)
        else:
            drafts = self._text_drafts(ids, place)
        _must_teach(drafts, place)
        return drafts

    def _chat_drafts(
        self,
        value: Converted,
        place: Place,
        outlines: Sequence[Outline],
        encodings: Sequence[Encoding | None],
    ) -> list[Draft]:
        """One, but for a long chat that is split; none for one that is too long."""
        flow, limit = self.flow, self.flow.data.max_length
        finished = [
            flow.renderer.finish(outline, encoding).strips
            for outline, encoding in zip(outlines, encodings, strict=True)
        ]
        strips = _as_tree(finished)
        length = longest_path(strips)
        if length <= limit:
            return [self._draft(value, strips, place, WHOLE)]
        if flow.data.on_long in ("error", "drop"):
            self._too_long(place, length)
            return []
        pieces, change = self._shortened(value, place)
        drafts = []
        for piece in pieces:
            strips = _as_tree([flow.renderer.rendered(side).strips for side in conversations_of(piece)])
            if longest_path(strips) > limit:
                raise _still_too_long(place, longest_path(strips), limit, change)
            drafts.append(self._draft(piece, strips, place, change))
        return drafts

    def _shortened(self, value: Converted, place: Place) -> tuple[list[Converted], int]:
        """A row that is too long as `on_long` says: truncated, or in pieces."""
        flow, limit = self.flow, self.flow.data.max_length
        if flow.data.on_long == "truncate":
            if isinstance(value, Pair):
                return [truncated_pair(value, self._length, limit)], TRUNCATED
            if isinstance(value, Labelled):
                cut = truncated(value.conversation, self._length, limit)
                return [replace(value, conversation=cut)], TRUNCATED
            assert isinstance(value, Conversation)
            return [truncated(value, self._length, limit)], TRUNCATED
        if not isinstance(value, Conversation):
            raise bad_row(
                f"row {place.row} is longer than data.max_length {limit}, and a judged answer cannot be split",
                place,
                remedy="truncate the questions (`on_long: truncate` under data), drop such rows, or raise max_length",
            )
        everything = flow.data.loss_on == "everything"
        return [*split(value, self._length, limit, keep_all=everything)], SPLIT

    def _length(self, conversation: Conversation) -> int:
        if not any(message.loss for message in conversation.messages):
            # A part of a chat may hold no answer to learn; it is as long as if its last one were.
            last = replace(conversation.messages[-1], loss=1.0)
            conversation = replace(conversation, messages=(*conversation.messages[:-1], last))
        return longest_path(self.flow.renderer.rendered(conversation).strips)

    def _draft(self, value: Converted, strips: tuple[Strip, ...], place: Place, change: int) -> Draft:
        conversation, *others = conversations_of(value)
        asked, answered = _last("user", conversation), _last("assistant", conversation)
        rejected = _last("assistant", others[0]) if others else None
        pictures = [image for m in conversation.messages for image in m.images]
        images = tuple(image.path for image in pictures)
        self.flow.images.update(images)
        return Draft(
            strips,
            place,
            asked.text if asked else None,
            answered.text if answered else None,
            images,
            change,
            contents=tuple(image.digest for image in pictures),
            keywords=answered.keywords if answered else (),
            rejected=rejected.text if rejected else None,
            good=value.good if isinstance(value, Labelled) else None,
        )

    def _text_drafts(self, ids: list[int], place: Place) -> list[Draft]:
        """A text as pieces of at most `max_length` tokens, the last one as long as it comes.

        A piece's first token has nothing to be predicted from, so a last piece of one token would teach nothing.
        """
        self.flow.renderer.pictures_in(ids, ())  # raises where a text holds the token of pictures
        size = self.flow.data.max_length
        pieces = [ids[at : at + size] for at in range(0, len(ids), size)]
        if len(pieces) > 1 and len(pieces[-1]) == 1:
            pieces.pop()
            self.flow.lone_tokens.at(place)
        weight = self.source.weight
        return [Draft((Strip(piece, (Stretch(1, len(piece), weight),)),), place) for piece in pieces]

    def _prompt_drafts(self, value: Prompt, place: Place) -> list[Draft]:
        """A prompt as the model is shown it, with nothing to learn yet: its answers are drawn in training."""
        renderer, limit = self.flow.renderer, self.flow.data.max_length
        pictures = [image for message in value.messages for image in message.images]
        ids = renderer.prompt(value.messages, value.tools)
        if len(ids) > limit:
            if self.flow.data.on_long in ("error", "drop"):
                self._too_long(place, len(ids))
                return []
            raise bad_row(
                f"row {place.row} is longer than data.max_length {limit}, and a prompt is neither truncated nor split",
                place,
                remedy="drop such rows (`on_long: drop` under data), or raise max_length",
            )
        images = tuple(image.path for image in pictures)
        self.flow.images.update(images)
        asked = next((m.text for m in reversed(value.messages) if m.role == "user"), None)
        return [
            Draft(
                (Strip(ids, (), None, tuple(renderer.pictures_in(ids, pictures))),),
                place,
                asked,
                value.reference,
                images,
                contents=tuple(image.digest for image in pictures),
                keywords=value.keywords,
            )
        ]

    def _too_long(self, place: Place, length: int) -> None:
        limit = self.flow.data.max_length
        if self.flow.data.on_long == "drop":
            self.side.dropped.append(Dropped(place, f"{length} tokens, longer than max_length {limit}"))
        else:
            self.flow.long.append((place, length))


def _last(role: str, conversation: Conversation) -> Message | None:
    return next((m for m in reversed(conversation.messages) if m.role == role), None)


def _as_tree(sides: Sequence[tuple[Strip, ...]]) -> tuple[Strip, ...]:
    """A chat as it was rendered; two as one tree."""
    return joined(*sides) if len(sides) > 1 else sides[0]


def _must_teach(drafts: Sequence[Draft], place: Place) -> None:
    if not all(loss_tokens(draft.strips) for draft in drafts):
        raise bad_row(f"no token of row {place.row} carries loss, so nothing can be learned from it", place)


def _still_too_long(place: Place, length: int, limit: int, change: int) -> BadRow:
    how = (
        "has, without its older turns and the end of its question, still"
        if change == TRUNCATED
        else "holds an exchange of"
    )
    return bad_row(
        f"row {place.row} {how} {length} tokens, longer than data.max_length {limit}",
        place,
        remedy=f"raise data.max_length to {length}, or drop such rows with `on_bad_row: skip` under data",
    )

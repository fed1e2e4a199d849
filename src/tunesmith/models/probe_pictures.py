"""The probe's second look: a row with pictures against the family's own forward, and packed against alone.

Two drawn pictures of unlike sizes stand in a small forest: one in a root that two leaves share, one in a root of its
own. What is compared are log-probabilities, relative to their spread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith import optional
from tunesmith.kernels.segment_attention import NAME
from tunesmith.models.policy import Policy, attention
from tunesmith.models.vision import PictureTokens, Pixels
from tunesmith.segments import Block, Picture, Piece, Tree, lay_row, single_paths

_SIZES = {"wide": (112, 64), "tall": (64, 160)}


@dataclass(frozen=True)
class Drawn:
    """Eyes that see the drawn pictures, whatever size the recipe asks for."""

    seen: dict[str, Pixels]

    @classmethod
    def by(cls, eyes: PictureTokens) -> Drawn:
        """Draw them, and cut them as the family's processor does."""
        optional.require("PIL", wanted_by="reading pictures")
        from PIL import Image as Pillow

        as_they_are = replace(eyes, size=None)
        shades = Pillow.linear_gradient("L")
        return cls(
            {
                name: as_they_are.cut(Pillow.merge("RGB", (shades, shades.rotate(90), shades.rotate(180))).resize(size))
                for name, size in _SIZES.items()
            }
        )  # fmt: skip

    def pixels(self, picture: Picture) -> Pixels:
        return self.seen[picture.path]


@dataclass(frozen=True)
class PictureTrial:
    """A model with pictures in its rows.

    Args:
        model: a vision model in evaluation mode.
        eyes: how it takes pictures.
        own_logits: as the policy has it.
    """

    model: PreTrainedModel
    eyes: PictureTokens
    compute: torch.dtype
    own_logits: bool

    def error_alone(self) -> float:
        """How far a lone sequence is from the family's own forward, which places tokens and pictures by itself."""
        (path, *_) = single_paths(self._tree)
        (piece,) = path
        ours = self._policy(segments=False)(lay_row([Block.of(path)]))
        tokens = torch.tensor(piece.tokens, device=self.model.device)
        looks = [self._drawn.pixels(picture) for picture in piece.pictures]
        inputs: dict[str, Any] = {
            "input_ids": tokens[None],
            "mm_token_type_ids": (tokens == self._picture_id).int()[None],
            "pixel_values": torch.cat([look.patches for look in looks]).to(tokens.device),
            "image_grid_thw": torch.cat([look.grid for look in looks]).to(tokens.device),
        }
        with torch.autocast(tokens.device.type, dtype=self.compute, enabled=self.compute != torch.float32):
            logits = self.model(**inputs, use_cache=False).logits[0, :-1]
        theirs = logits.float().log_softmax(-1).gather(1, tokens[1:, None])[:, 0]
        learned = torch.tensor([at for at, weight in enumerate(piece.weights[1:]) if weight])
        return _error(ours, theirs[learned])

    def error_packed(self) -> float:
        """How far the forest in one row is from its paths run alone."""
        own, packed = self._policy(segments=False), self._policy(segments=True)
        alone = torch.cat([own(lay_row([Block.of(path)])) for path in single_paths(self._tree)])
        row = lay_row([Block.of(self._tree)])
        with attention(self.model, NAME):
            together = packed(row)
        by_leaf = sorted(range(len(row.targets)), key=lambda index: row.targets[index].leaf)
        return _error(together[by_leaf], alone)

    def _policy(self, *, segments: bool) -> Policy:
        return Policy(
            self.model,
            segments=segments,
            compute=self.compute,
            seed=0,
            own_logits=self.own_logits,
            eyes=self._drawn,
        )

    @cached_property
    def _drawn(self) -> Drawn:
        return Drawn.by(self.eyes)

    @cached_property
    def _picture_id(self) -> int:
        return int(self.model.config.image_token_id)

    @cached_property
    def _tree(self) -> Tree:
        merged = int(self.eyes.processor.merge_size) ** 2
        lengths = {name: look.patches.shape[0] // merged for name, look in self._drawn.seen.items()}
        draws = torch.randint(self._first_special, (40,), generator=torch.Generator().manual_seed(4)).tolist()

        def piece(first: int, last: int, parent: int | None, shown: str | None = None) -> Piece:
            text = draws[first:last]
            if shown is None:
                return Piece(tuple(text), (1.0,) * len(text), parent)
            length = lengths[shown]
            pads, nothing = [self._picture_id] * length, [0.0] * length
            return Piece(
                (*text[:3], *pads, *text[3:]),
                (1.0, 1.0, 1.0, *nothing, *[1.0] * (len(text) - 3)),
                parent,
                (Picture(3, length, shown),),
            )

        return (
            piece(0, 8, None, "wide"),
            piece(8, 13, 0),
            piece(13, 22, 0, "tall"),
            piece(22, 30, None, "tall"),
            piece(30, 40, None),
        )

    @cached_property
    def _first_special(self) -> int:
        """Tokens below it stand for no picture and no film."""
        config = self.model.config
        names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
        return min(value for name in names if isinstance(value := getattr(config, name, None), int))


def _error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.std())

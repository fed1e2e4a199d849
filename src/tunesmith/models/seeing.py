"""What the forward of a vision model is given besides tokens: the features of pictures, and where tokens stand.

Families of Qwen2-VL's kind turn a token by three angles (M-RoPE): a picture's tokens stand in a plane, and the text
behind it goes on from the plane's longer side. The family's own `get_rope_index` says where, for one whole sequence; a
flat row takes it for each path from a root to a leaf, and lays it where the path's tokens stand in the row. What
several leaves share comes out the same for each: what stands before a token alone decides.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tunesmith.errors import InputError
from tunesmith.models.vision import Eyes, Pixels, not_known
from tunesmith.segments import Picture, Row


class Seen(NamedTuple):
    """Pictures as a forward takes them.

    Args:
        features: what goes in as `mm_encoder_outputs`.
        grids: [n, 3], patches of each picture (time, height, width).
    """

    features: dict[str, Any]
    grids: Tensor


def takes_pictures(trunk: nn.Module) -> bool:
    """Whether a model is of the kind that is known here; whether its numbers come out right, the probe sees."""
    known = hasattr(trunk, "get_rope_index") and hasattr(trunk, "get_image_features")
    return known and "mm_encoder_outputs" in inspect.signature(trunk.forward).parameters


def trunk_of(model: nn.Module) -> nn.Module:
    """The layers below the head, under whatever PEFT put around the model."""
    causal: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    # Llama 4's text model names a trunk that it does not have, and is then given out as its own trunk.
    trunk: nn.Module = causal.model if causal.base_model is causal else causal.base_model
    return trunk


def must_take_pictures(model: nn.Module, eyes: Eyes | None) -> None:
    """Raise an InputError unless a model can be shown pictures."""
    if eyes is None:
        raise InputError("there are pictures to be shown, and the model reads none")
    if not takes_pictures(trunk_of(model)):
        family: Any = getattr(model.config, "model_type", None)
        raise InputError(f"there are pictures to be shown, and {not_known(family)}")


def see(trunk: nn.Module, eyes: Eyes, pictures: Sequence[Picture], device: torch.device) -> Seen:
    """Look at pictures, in the order of their tokens. A tower in which nothing learns keeps nothing for a backward pass.

    Raises:
        InputError: a file is gone, or is another than it was.
    """
    looks: list[Pixels] = [eyes.pixels(picture) for picture in pictures]
    grids = torch.cat([look.grid for look in looks]).to(device)
    patches = torch.cat([look.patches for look in looks]).to(device)
    features = trunk.get_image_features(  # type: ignore[operator]
        pixel_values=patches, image_grid_thw=grids, return_dict=True
    )
    return Seen({"image": features}, grids)


def path_positions(trunk: nn.Module, tokens: Tensor, pictures: Sequence[Picture], grids: Tensor) -> Tensor:
    """Where the tokens of one sequence stand: [T] -> [axes, T].

    Args:
        pictures: those of the sequence, by their places in it.
        grids: [n, 3], patches of each of them.
    """
    kinds = torch.zeros_like(tokens)
    for picture in pictures:
        kinds[picture.start : picture.start + picture.length] = 1
    positions, _ = trunk.get_rope_index(  # type: ignore[operator]
        input_ids=tokens[None], mm_token_type_ids=kinds[None], image_grid_thw=grids
    )
    return positions[:, 0]


def row_positions(trunk: nn.Module, row: Row, tokens: Tensor, grids: Tensor) -> Tensor:
    """Where the tokens of a flat row with pictures stand, each on its own path: [axes, 1, T]."""
    plan = row.plan
    positions: Tensor | None = None
    for leaf in plan.leaves():
        path = [plan.segments[index] for index in plan.lineage(leaf)]
        seen = [
            (number, picture.moved(segment.offset - segment.start))
            for segment in path
            for number, picture in enumerate(row.pictures)
            if segment.start <= picture.start < segment.start + segment.length
        ]
        if not seen:
            continue
        numbers, pictures = zip(*seen, strict=True)
        places = torch.tensor(plan.path_positions(leaf), device=tokens.device)
        on_path = path_positions(trunk, tokens[places], pictures, grids[list(numbers)])
        if positions is None:
            positions = torch.tensor(plan.positions, device=tokens.device).repeat(on_path.shape[0], 1)
        positions[:, places] = on_path
    assert positions is not None, "a row with pictures has a leaf that sees one"
    return positions[:, None]

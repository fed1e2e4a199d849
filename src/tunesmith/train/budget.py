"""How many layers are recomputed so that training stays within its memory: settled before step 1, and kept."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import psutil

from tunesmith.config.schema import Recipe
from tunesmith.config.words import byte_size
from tunesmith.errors import InputError
from tunesmith.kernels.head import CHUNK
from tunesmith.models.placement import free_bytes, parse_bytes
from tunesmith.models.skeleton import model_config
from tunesmith.train.dry_run import CannotPretend
from tunesmith.train.memory_plan import Needs, Setting, needs_of
from tunesmith.train.rows import Stored, planned_rows

log = logging.getLogger("tunesmith")

_RESERVE = 0.05  # of what is free, under `memory_budget: auto`
_DOUBT = 1.1  # a plan may be wrong by this much before a run is refused for it


def memory_budget(recipe: Recipe, device: str) -> float | None:
    """Bytes that training may take of the device, this process's own included; None where it cannot be told."""
    if recipe.train.memory_budget != "auto":
        return parse_bytes(recipe.train.memory_budget)
    free = free_bytes(device)
    if free is None:
        return None
    mine = psutil.Process().memory_info().rss if device == "cpu" else 0
    return mine + free * (1 - _RESERVE)


def needs_with_rows(
    recipe: Recipe, setting: Setting, samples: Stored, row_tokens: int
) -> tuple[Needs, Setting]:
    """What the recipe needs with the rows that its samples come to; where the family cannot take several samples a row,
    with one in each. The setting returned says which.

    Raises:
        CannotPretend: the model's step cannot be foreseen.
    """
    rows = planned_rows(recipe, samples, segments=setting.segments, row_tokens=row_tokens)
    try:
        return needs_of(recipe, setting, rows), setting
    except CannotPretend:
        if not setting.segments:
            raise
        return needs_with_rows(recipe, replace(setting, segments=False), samples, row_tokens)


def settle_recomputed(recipe: Recipe, setting: Setting, samples: Stored, row_tokens: int) -> int | None:
    """How many layers are recomputed; None: all. What cannot be foreseen is trained as the recipe says.

    Raises:
        InputError: training does not fit even with all of them recomputed, or as the recipe fixes it.
    """
    wanted = recipe.train.gradient_checkpointing
    fixed = {True: None, False: 0}[wanted] if isinstance(wanted, bool) else wanted
    asked = 0 if fixed == "auto" else fixed
    budget = memory_budget(recipe, setting.device)
    spread = recipe.model.device_map == "auto"  # what goes where is planned by models/placement.py
    if budget is None or spread or _surely_fits(recipe, setting, samples.lengths, row_tokens, budget):
        return asked
    try:
        needs, _ = needs_with_rows(recipe, setting, samples, row_tokens)
    except CannotPretend as why:
        log.info("how much memory a step takes cannot be foreseen for this family (%s)", why)
        return asked
    all_layers = needs.step.layers
    if fixed == "auto":
        asked = fewest_recomputed(needs, budget)
    count = all_layers if asked is None else min(asked, all_layers)
    peak = needs.plan(count).peak.total
    if peak > budget:
        _short(recipe, peak, budget)
    if fixed == "auto" and count:
        log.info(
            "%d of %d layers are recomputed to stay within %s", count, all_layers, byte_size(int(budget))
        )
    return asked


def fewest_recomputed(needs: Needs, budget: float) -> int:
    """The fewest layers to recompute with which training stays within the budget; all, where none suffices."""
    layers = needs.step.layers
    return next((count for count in range(layers) if needs.plan(count).peak.total <= budget), layers)


def _short(recipe: Recipe, peak: float, budget: float) -> None:
    own = recipe.train.memory_budget != "auto"
    there = (
        f"train.memory_budget allows {recipe.train.memory_budget}"
        if own
        else f"{byte_size(int(budget))} are free"
    )
    if own or peak > budget * _DOUBT:
        raise InputError(
            f"training needs about {byte_size(int(peak))} of memory and {there}: short by {byte_size(int(peak - budget))}",
            remedy="`tunesmith plan` with this recipe shows what needs it, and settings that fit",
        )
    log.warning("training needs about %s of memory, and %s", byte_size(int(peak)), there)


def _surely_fits(
    recipe: Recipe, setting: Setting, lengths: np.ndarray, row_tokens: int, budget: float
) -> bool:
    """Whether even a generous guess is below half of the budget, so that nothing need be tried."""
    config = model_config(setting.folder, trust_remote_code=setting.trust_remote_code).get_text_config()
    sizes = [
        getattr(config, name, None) for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    ]
    if not all(isinstance(size, int) for size in sizes):
        return False
    hidden, intermediate, layers = (int(size or 0) for size in sizes)
    files = sum(path.stat().st_size for path in setting.folder.glob("*.safetensors"))
    longest = int(lengths.max(initial=0))
    tokens = min(max(row_tokens, longest), longest * recipe.samples_an_update)
    activations = tokens * layers * (40 * hidden + 20 * intermediate) * 4 * 2
    logits = CHUNK * config.vocab_size * 16
    # fp32 weights, gradients and both moments, where the files have two bytes a weight.
    state = files * 8 if recipe.adapter.type == "none" else files * 3
    return psutil.Process().memory_info().rss + activations + logits + state < budget / 2

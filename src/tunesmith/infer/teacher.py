"""The model that a distilled one learns from: whatever can be asked can teach, if it knows the same tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from transformers import PreTrainedTokenizerBase

from tunesmith.config.method import Distill
from tunesmith.errors import InputError
from tunesmith.infer.open import Named, look_at, open_speaker
from tunesmith.models.load import DTYPES
from tunesmith.models.policy import Policy
from tunesmith.models.probe import probe
from tunesmith.train.teacher import LiveTeacher

log = logging.getLogger("tunesmith")


def find_teacher(options: Distill, tokenizer: PreTrainedTokenizerBase) -> Named:
    """The recipe's teacher, before its weights are read.

    Raises:
        InputError: there is none of that name, or it knows other tokens than the student.
    """
    try:
        found = look_at(options.teacher)
    except InputError as error:
        error.where = error.where or "method.teacher"
        raise
    _check_same_tokens(options.teacher, found.tokenizer.get_vocab(), tokenizer.get_vocab())
    return found


def load_teacher(options: Distill, *, device: str, precision: str, vocabulary: int) -> LiveTeacher:
    """Load what `ask` would ask, with nothing in it that learns.

    Args:
        precision: of the matrix products.
        vocabulary: how many tokens teacher and student share.

    Raises:
        InputError: it cannot be loaded.
    """
    log.info("loading the teacher %s", options.teacher)
    threads = torch.get_num_threads()
    speaker = open_speaker(options.teacher, device=device).speaker
    torch.set_num_threads(threads)  # what talks takes all cores; how many train is settled
    speaker.model.requires_grad_(False)
    compute = DTYPES[precision]
    plain = Policy(speaker.model, segments=False, compute=compute, seed=0)
    found = probe(plain.causal_lm, compute=compute)
    policy = Policy(
        speaker.model,
        segments=found.segments,
        compute=compute,
        seed=0,
        own_logits=found.own_logits,
        eyes=speaker.eyes,
    )
    return LiveTeacher(policy, vocabulary, options.temperature)


def _check_same_tokens(name: str, theirs: Mapping[str, int], ours: Mapping[str, int]) -> None:
    if theirs == ours:
        return
    differing = min(
        (number for token, number in {**theirs, **ours}.items() if theirs.get(token) != ours.get(token)),
    )
    at = [next((token for token, n in known.items() if n == differing), None) for known in (theirs, ours)]
    there, here = ("none" if token is None else repr(token) for token in at)
    raise InputError(
        f"the teacher {name} knows {len(theirs):,} tokens and the student {len(ours):,}, and token {differing} is {there} "
        f"to the teacher and {here} to the student",
        where="method.teacher",
        expected="the same tokens, so that chances can be compared",
        remedy="choose a teacher with the student's tokenizer, or have another one write answers: `tunesmith batch`, and "
        "train on them with `method: {name: sft}`",
    )

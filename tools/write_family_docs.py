"""Write docs/families.md: what becomes of each causal model type of transformers; `--check` only compares.

python tools/write_family_docs.py [--check] [TYPE ...]

Every type is built tiny, probed, and trained for one update (LoRA and all weights at once) beside transformers and PEFT
run the plain way, one sequence at a time. Each has a process of its own, so that one that hangs or falls is a row of
the table too. Takes some minutes; with TYPEs, only those rows are made and printed.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import PreTrainedModel

from tiny_families import IMAGE_TEXT_TYPES, NOT_TRIED, TYPES, default_attention_dropout, tiny
from tunesmith.config.method import Sft
from tunesmith.config.schema import Adapter
from tunesmith.errors import InputError
from tunesmith.methods import METHODS
from tunesmith.methods.base import Batch, Example
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.models.probe import probe
from tunesmith.segments import Block, Piece, Row, Tree, lay_row, plan_rows, single_paths

PAGE = Path(__file__).resolve().parents[1] / "docs" / "families.md"
SECONDS = 120  # for one type
VOCABULARY = 250  # tokens to draw from: what each tiny family has

Way = Literal["packed", "alone", "fails", "unbuilt"]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a type.

    Args:
        way: packed rows; one sequence a row; it cannot be trained; or no tiny form of it runs on text.
        reason: why not packed; empty for packed rows.
        notes: what else is to be known.
    """

    type: str
    way: Way
    reason: str = ""
    notes: tuple[str, ...] = ()


def verdict(model_type: str) -> Verdict:
    """Build, probe and train one type."""
    if model_type in NOT_TRIED:
        return Verdict(model_type, "unbuilt", NOT_TRIED[model_type])
    try:
        model = tiny(model_type)
        with torch.no_grad():
            model(input_ids=torch.tensor([[3, 4, 5, 6]]), use_cache=False)
    except Exception as error:  # noqa: BLE001 - whatever a family makes of a form that makes no sense to it is a row
        return Verdict(model_type, "unbuilt", _short(error))
    try:
        found = probe(model, compute=torch.float32)
    except InputError as error:
        return Verdict(model_type, "fails", _reason(error.found))
    notes = []
    if found.own_logits:
        notes.append("its own logits")
    if found.segments and default_attention_dropout(model_type):
        notes.append("packed where the configuration sets dropout on attention weights to 0")
    try:
        wrong = _wrong_update(model, segments=found.segments, own_logits=found.own_logits)
    except Exception as error:  # noqa: BLE001 - as above
        wrong = _short(error)
    if wrong:
        return Verdict(model_type, "fails", wrong)
    way: Way = "packed" if found.segments else "alone"
    return Verdict(model_type, way, "" if found.segments else _reason(found.reason), tuple(notes))


def samples() -> list[Tree]:
    """Three lone sequences longer than the tiny windows, and a question with two answers."""
    generator = torch.Generator().manual_seed(3)

    def piece(length: int, context: int, parent: int | None = None) -> Piece:
        tokens = torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
        return Piece(tuple(tokens), (0.0,) * context + (1.0,) * (length - context), parent)

    lone = [(piece(length, 4),) for length in (9, 12, 15)]
    return [*lone, (piece(8, 8), piece(5, 0, 0), piece(7, 0, 0))]


def _wrong_update(model: PreTrainedModel, *, segments: bool, own_logits: bool) -> str:
    """What differs between our update and the plain one; empty if nothing does."""
    tuned = _adapted(model)
    tuned.requires_grad_(True)
    policy = Policy(tuned, segments=segments, compute=torch.float32, seed=0, own_logits=own_logits)
    trees = samples()
    if segments:
        rows = plan_rows(trees, 10_000)
    else:
        rows = [lay_row([Block.of(path)]) for tree in trees for path in single_paths(tree)]
    our_loss, ours = _update(policy, rows, trees)
    their_loss, theirs = plain_update(tuned, trees)
    if not abs(our_loss - their_loss) < 1e-5 * abs(their_loss):
        return f"its loss is {our_loss:.5f} and should be {their_loss:.5f}"
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        scale = max(float(gradient.abs().max()), 1e-2 * largest)
        if name not in ours or not float((ours[name] - gradient).abs().max()) < 1e-4 * scale:
            return f"the gradient of {name} is wrong"
    return ""


def _adapted(model: PreTrainedModel) -> Any:
    """LoRA on all linear layers, moved away from its start, where B is zero and would hide the gradients of A."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = add_adapter(model, Adapter(rank=2, alpha=4, dropout=0.0), base_name="tiny", seed=0)
    for number, (name, weight) in enumerate(tuned.named_parameters()):
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(number))
    return tuned


def _update(policy: Policy, rows: list[Row], trees: list[Tree]) -> tuple[float, dict[str, torch.Tensor]]:
    method, loss, examples = METHODS["sft"](Sft()), 0.0, [Example(tree) for tree in trees]
    totals = method.plan(examples)
    with policy.training_mode():
        for number, row in enumerate(rows):
            policy.seat(1, number)
            value = method.loss(policy, Batch((row,), examples)).share_of(totals)
            value.backward()
            loss += value.item()
    return loss, _gradients(policy.model)


def plain_update(model: Any, trees: list[Tree]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients by transformers (and PEFT) alone: one sequence at a time, weighted by hand.

    The mean negative log-likelihood over all tokens with loss; a question's own tokens would count once an answer.
    """
    paths = [path[0] for tree in trees for path in single_paths(tree)]
    total = sum(sum(path.weights) for path in paths)
    model.train()
    loss = 0.0
    for path in paths:
        logits = model(input_ids=torch.tensor([path.tokens]), use_cache=False).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(path.tokens[1:]), reduction="none")
        value = (losses * torch.tensor(path.weights[1:])).sum() / total
        value.backward()
        loss += value.item()
    return loss, _gradients(model)


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {
        name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
    }
    model.zero_grad()
    return found


def _reason(text: str) -> str:
    """A reason without the digits that differ between machines."""
    return re.sub(r", by [0-9.e+-]+ of their spread", "", text)


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = (
        lines[1] if len(lines) > 1 and lines[0].startswith("Class validation error") else (lines or [""])[0]
    )
    return f"{type(error).__name__}: {told[:140]}"


def _in_child(model_type: str, pipe: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    pipe.send(verdict(model_type))


def verdict_apart(model_type: str) -> Verdict:
    """`verdict` in a process of its own, which may hang or fall."""
    context = multiprocessing.get_context("fork")  # the imports come along
    ours, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(model_type, theirs))
    child.start()
    theirs.close()
    try:
        found: Verdict = (
            ours.recv() if ours.poll(SECONDS) else Verdict(model_type, "fails", "it takes too long")
        )
    except EOFError:
        found = Verdict(model_type, "fails", "its process fell")
    if child.is_alive():
        child.kill()
    child.join()
    return found


HEAD = f"""\
# Model families

<!-- Written by tools/write_family_docs.py, which trains them all; edit that, not this page. -->

Which of the causal model types of transformers tunesmith trains, and how. Each type was built tiny, with random weights
and transformers {transformers.__version__}, and trained for one update in fp32 on the CPU: LoRA on all linear layers and all other
weights at once. Loss and gradients were compared with transformers and PEFT run the plain way, one sequence at a time.

- **Packed**: several samples share a row, and what they begin with is computed once. The fast way.
- **One sequence a row**: the family's own attention runs. The same numbers, slower where samples are short.
- The choice is made when a model is loaded, by comparing numbers (the *probe*), not from this page; `train` says what
  was found and why. A type that is not here is tried the same way.
- *Its own logits*: the head is more than a linear layer, so the logits of all tokens with loss exist at once, which takes
  more memory.
- Rotary embeddings that depend on the row's length (`dynamic`, `longrope`) and dropout on attention weights make any
  family train one sequence a row.
- Types with pictures were trained on text here; see [captions](captions.md) for pictures.
- Not run for this page: CUDA, MPS, and weights of real size.
"""


def page(verdicts: Sequence[Verdict]) -> str:
    """The whole page."""
    by_way: dict[str, list[Verdict]] = {"packed": [], "alone": [], "fails": [], "unbuilt": []}
    for found in verdicts:
        by_way[found.way].append(found)
    count = {way: len(found) for way, found in by_way.items()}
    parts = [
        HEAD,
        f"Of {len(verdicts)} types, {count['packed']} are packed, {count['alone']} train one sequence a row, "
        f"{count['fails']} cannot be trained, and of {count['unbuilt']} no tiny form that runs on text alone could be made here.\n",
    ]
    for way, title in (
        ("packed", "Packed rows"),
        ("alone", "One sequence a row"),
        ("fails", "Cannot be trained"),
        ("unbuilt", "Not tried: no tiny form that runs on text alone"),
    ):
        if by_way[way]:
            parts.append("\n".join([f"## {title}\n", *_table(by_way[way])]) + "\n")
    return "\n".join(parts)


def _table(verdicts: Sequence[Verdict]) -> list[str]:
    packed = verdicts[0].way == "packed"
    head = ["| type | to know |", "|---|---|"] if packed else ["| type | why |", "|---|---|"]
    return [*head, *(row(found) for found in verdicts)]


def row(found: Verdict) -> str:
    """A type's row of its table."""
    told = "; ".join(part for part in (found.reason, *found.notes) if part)
    return f"| `{found.type}` | {told.replace('|', chr(92) + '|')} |"


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    check = "--check" in arguments
    wanted = [name for name in arguments if name != "--check"]
    verdicts = [verdict_apart(name) for name in wanted or (*TYPES, *IMAGE_TEXT_TYPES)]
    if wanted:
        print("\n".join(f"{found.way}: {row(found)}" for found in verdicts))
        return 0
    text = page(verdicts)
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/families.md is out of date: run python tools/write_family_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

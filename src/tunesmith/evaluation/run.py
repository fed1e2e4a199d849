"""Evidence on held-out rows: the base and the tuned model answer them, and metrics compare answers with references.

A row is asked with exactly the tokens that stand in front of its last answer as training would lay it, so what is
measured is what was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tunesmith.config.schema import Evaluate, Recipe
from tunesmith.data.render import Renderer
from tunesmith.data.store import SampleStore
from tunesmith.errors import InputError
from tunesmith.infer.reading import ReplyReader
from tunesmith.infer.speaker import Reply
from tunesmith.metrics import Answers, answer_facts, score, those_that_compare
from tunesmith.models.generate import generate
from tunesmith.models.vision import Eyes
from tunesmith.segments import Picture, Tree

_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class HeldOutRow:
    """A row that neither model has learned: what it asks, and what the answer should be.

    `question` is its last user turn, for people to read; `tokens` are the whole prompt.
    """

    place: str
    question: str
    reference: str
    keywords: tuple[str, ...]
    tokens: tuple[int, ...]
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """The rows that are answered, and what the base model answered; both empty where no metric compares answers."""

    rows: list[HeldOutRow]
    base: list[Reply]


def check_metrics(recipe: Recipe) -> None:
    """Whether the recipe's metrics can be computed, before anything is loaded.

    Raises:
        InputError: there is no metric of that name, or one that compares answers has nothing to compare with.
    """
    compare = those_that_compare(recipe.evaluate.metrics)
    if not compare:
        return
    found = f"`{compare[0]}` compares answers with those of held-out rows, and "
    if recipe.method.name == "pretrain":
        raise InputError(
            found + "plain text has no answers", where="evaluate.metrics", remedy="leave the metric out"
        )
    if recipe.data.eval is None:
        raise InputError(
            found + "no rows are held out",
            where="evaluate.metrics",
            remedy="hold some out with `eval: 0.1` under data, or leave the metric out",
        )
    if recipe.data.loss_on == "everything":
        raise InputError(
            found + "with `loss_on: everything` nothing says where an answer begins",
            where="evaluate.metrics",
            remedy="learn the answers alone (`loss_on: all_turns`), or leave the metric out",
        )


def held_out_rows(evaluate: Evaluate, samples: SampleStore) -> list[HeldOutRow]:
    """The first `evaluate.rows` held-out samples as questions; none where no metric compares answers."""
    if not those_that_compare(evaluate.metrics):
        return []
    rows = []
    for at in range(min(evaluate.rows, len(samples))):
        sample = samples[at]
        tokens, pictures = _prompt(sample.tree)
        rows.append(
            HeldOutRow(
                place=str(sample.place),
                question=sample.prompt or "",
                reference=sample.answer or "",
                keywords=sample.keywords,
                tokens=tokens,
                pictures=pictures,
            )
        )
    return rows


def _prompt(tree: Tree) -> tuple[tuple[int, ...], tuple[Picture, ...]]:
    """What stands in front of a sample's last answer: the tokens on its path, and the pictures among them."""
    path = [tree[-1]]
    while (parent := path[0].parent) is not None:
        path.insert(0, tree[parent])
    tokens: list[int] = []
    weights: list[float] = []
    pictures: list[Picture] = []
    for piece in path:
        pictures += [picture.moved(len(tokens)) for picture in piece.pictures]
        tokens += piece.tokens
        weights += piece.weights
    begin = max(at for at, weight in enumerate(weights) if weight)
    while begin and weights[begin - 1]:
        begin -= 1
    return tuple(tokens[:begin]), tuple(picture for picture in pictures if picture.start < begin)


def answer_rows(
    model: nn.Module,
    renderer: Renderer,
    rows: Sequence[HeldOutRow],
    evaluate: Evaluate,
    *,
    eyes: Eyes | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[Reply]:
    """Each row's answer, drawn as the recipe says (greedily unless it says so).

    Rows of like length are answered together, which pads little. Where answers are drawn by chance, a row's place in
    that order is what its draws depend on.

    Args:
        model: in evaluation mode.
        eyes: where the pixels of pictures come from.
        between: called after each batch; what it raises ends the work.
    """
    reader = ReplyReader(renderer)
    order = sorted(range(len(rows)), key=lambda at: len(rows[at].tokens))
    replies: dict[int, Reply] = {}
    for begin in range(0, len(order), _ROWS_AT_ONCE):
        batch = order[begin : begin + _ROWS_AT_ONCE]
        answers = generate(
            model,
            [rows[at].tokens for at in batch],
            evaluate.generation,
            renderer.stop_ids,
            pictures=[rows[at].pictures for at in batch],
            eyes=eyes,
            first_number=begin,
        )
        for at, answer in zip(batch, answers, strict=True):
            text = reader.text(answer.tokens, ended=answer.ended)
            replies[at] = Reply(text, len(answer.tokens), answer.ended)
        between()
    return [replies[at] for at in range(len(rows))]


def score_rows(
    metrics: Sequence[str], rows: Sequence[HeldOutRow], replies: Sequence[Reply]
) -> dict[str, float]:
    """The numbers of the metrics that compare, and the facts of the answers; nothing where there are no rows."""
    return score(
        those_that_compare(metrics),
        Answers(
            texts=tuple(reply.text for reply in replies),
            token_counts=tuple(reply.tokens for reply in replies),
            ended=tuple(reply.ended for reply in replies),
            references=tuple(row.reference for row in rows),
            keywords=tuple(row.keywords for row in rows),
        ),
    )


def evaluation(
    metrics: Sequence[str], rows: Sequence[HeldOutRow], base: Sequence[Reply], tuned: Sequence[Reply]
) -> dict[str, Any]:
    """The content of evaluation.json: the tuned model's numbers, and the base's beside them."""
    return {
        "metrics": score_rows(metrics, rows, tuned),
        "base": score_rows(metrics, rows, base),
        "rows": len(rows),
    }


def told(content: dict[str, Any]) -> Iterator[str]:
    """A line a metric for the log, such as `accuracy 0.19 → 0.93 on 120 held-out rows`."""
    facts = answer_facts((0,), (True,))
    for name, value in content["metrics"].items():
        if name not in facts:
            yield f"{name} {content['base'][name]:.2f} → {value:.2f} on {content['rows']} held-out rows"


def evaluation_rows(
    rows: Sequence[HeldOutRow], base: Sequence[Reply], tuned: Sequence[Reply] | None
) -> list[dict[str, Any]]:
    """The lines of evaluation.jsonl. While training goes on there is no `tuned` yet."""
    lines = []
    for at, row in enumerate(rows):
        line = {
            "place": row.place,
            "prompt": row.question,
            **_shown(row.pictures),
            "reference": row.reference,
            **_side("base", base[at]),
        }
        lines.append(line if tuned is None else line | _side("tuned", tuned[at]))
    return lines


def _shown(pictures: Sequence[Picture]) -> dict[str, Any]:
    """The pictures that a row shows, as before_after.json tells those of a prompt; several are a list."""
    files = [picture.path for picture in pictures]
    return {"image": files[0] if len(files) == 1 else files} if files else {}


def _side(name: str, reply: Reply) -> dict[str, Any]:
    return {name: reply.text, f"{name}_tokens": reply.tokens, f"{name}_ended": reply.ended}


def stored_base(lines: Sequence[dict[str, Any]], rows: Sequence[HeldOutRow]) -> list[Reply] | None:
    """The base model's answers from an earlier evaluation.jsonl; None if it holds other rows.

    Raises:
        KeyError, TypeError: the lines are not what `evaluation_rows` made.
    """
    asked = [(line["place"], line["prompt"], line["reference"]) for line in lines]
    if asked != [(row.place, row.question, row.reference) for row in rows]:
        return None
    return [Reply(line["base"], line["base_tokens"], line["base_ended"]) for line in lines]

"""The report: one self-contained page of everything in a run folder, for a run at any moment of its life.

This file turns the files of the folder into words and numbers; `report.html.jinja` and `report.css` lay them out. What
is not there yet is None or empty here, and the page says so.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ruamel.yaml import YAML

from tunesmith.report.curve import PANELS
from tunesmith.rundir import RunDir, read_json, read_json_lines, write_bytes

_DROPPED_SHOWN = 100  # more are in data.json
_HELD_OUT_SHOWN = 200  # more are in evaluation.jsonl
_GROUPS_SHOWN = 6  # of drawn answers; all are in drawn.jsonl
_QUESTION_SHOWN = 300  # characters; the end of a long question says what is asked
# True of answers to anything; a verdict names them only where nothing says more.
_FACTS = ("mean tokens", "end token rate")

Row = tuple[str, str]  # a label and its value


@dataclass(frozen=True)
class Score:
    """One line of the score table, ready to read."""

    label: str
    base: str | None
    tuned: str | None


@dataclass(frozen=True)
class Page:
    """What the template is given."""

    name: str
    status: str
    facts: list[Row]
    verdict: str | None
    samples: list[dict[str, Any]]
    scores: list[tuple[str, list[Score]]]  # a table for each set of questions, and what it was asked
    held_out: list[dict[str, Any]]
    held_out_are: str
    held_out_shown: int
    drawn: list[
        tuple[str, list[dict[str, Any]]]
    ]  # answers of the first and the last step, each with a heading
    curve: str | None  # a PNG in base64
    summary: list[Row]
    ledgers: list[tuple[str, dict[str, Any]]]
    dropped_shown: int
    environment: list[tuple[str, list[Row]]]
    recipe: str | None
    commands: list[Row]


def write_report(run: RunDir) -> Path:
    """Write report.html from the run folder and nothing else, and give its path."""
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["number"] = number
    jinja.filters["picture_names"] = picture_names
    page = jinja.get_template("report.html.jinja").render(page=page_of(run))
    # A model may answer with half a surrogate pair, which UTF-8 cannot hold.
    write_bytes(run.report, page.encode(errors="replace"))
    return run.report


def page_of(run: RunDir) -> Page:
    recipe_text = run.recipe.read_text("utf-8") if run.recipe.exists() else None
    recipe = (YAML(typ="safe").load(recipe_text) if recipe_text else None) or {}
    before_after = read_json(run.before_after) or {}
    lines = run.read_metrics()
    data = read_json(run.data) or {}
    environment = read_json(run.environment) or {}
    finished = environment.get("finished") is True
    scores = before_after.get("scores") or {}
    held_out = held_out_rows(read_json_lines(run.evaluation_rows))
    return Page(
        name=str(recipe.get("name") or run.name),
        status=status_of(environment, lines),
        facts=headline_facts(recipe, run.result() if finished else None),
        verdict=verdict(scores, lines),
        samples=before_after.get("samples") or [],
        scores=score_tables(before_after, read_json(run.evaluation), bool(held_out)),
        held_out=held_out,
        held_out_are=held_out_in_words(len(held_out), data.get("eval") or {}),
        held_out_shown=_HELD_OUT_SHOWN,
        drawn=drawn_answers(run.read_drawn()),
        curve=base64.b64encode(run.curve.read_bytes()).decode() if run.curve.exists() else None,
        summary=summary_of(lines),
        ledgers=[(side, data[side]) for side in ("train", "eval") if data.get(side)],
        dropped_shown=_DROPPED_SHOWN,
        environment=environment_sections(environment),
        recipe=recipe_text,
        commands=commands_for(
            run, finished, before_after.get("samples") or [], (recipe.get("method") or {}).get("name")
        ),
    )


def status_of(environment: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """The environment says when a run is finished; before that, the metrics say how far it has come."""
    if environment.get("finished"):
        return "finished"
    last = max((line["step"] for line in lines), default=0)
    return f"not finished, {number(last)} {'step' if last == 1 else 'steps'} so far" if last else "just begun"


def headline_facts(recipe: dict[str, Any], result: Path | None) -> list[Row]:
    """Model, method and result folder, as far as they are known."""
    facts: list[Row] = []
    if source := (recipe.get("model") or {}).get("source"):
        facts.append(("model", str(source)))
    if recipe:
        adapter = recipe.get("adapter") or {}
        facts.append(("method", f"{(recipe.get('method') or {}).get('name', 'sft')}, {_trained(adapter)}"))
    facts.append(("result", str(result) if result else "none yet"))
    return facts


def _trained(adapter: dict[str, Any]) -> str:
    """What the recipe's adapter block trains, in a few words."""
    full = adapter.get("type") == "none"
    how = "all weights" if full else f"LoRA, rank {adapter['rank']}" if "rank" in adapter else "LoRA"
    if adapter.get("unfreeze"):
        return how + ", unfrozen gradually"
    if (top := adapter.get("top_layers")) is None:
        return how
    layers = "the top layer" if top == 1 else f"the top {top} layers"
    return layers if full else f"{how}, {layers}"


def verdict(scores: dict[str, Any], lines: list[dict[str, Any]]) -> str | None:
    """What training changed, in one sentence: the scores, else the loss; None where there is nothing to tell."""
    told = [score for score in score_table(scores) if score.base and score.tuned]
    told = [score for score in told if score.label not in _FACTS] or told
    if told:
        sentence = ", ".join(f"{score.label} {score.base} → {score.tuned}" for score in told)
        return sentence[0].upper() + sentence[1:]
    for name, label in (
        ("eval_reward_accuracy", "Share of held-out pairs told apart"),
        ("eval_reward", "Reward of answers to held-out prompts"),
        ("eval_loss", "Loss on held-out data"),
        ("loss", "Training loss"),
    ):
        losses = [line[name] for line in lines if line.get(name) is not None]
        if len(losses) > 1:
            return f"{label} {losses[0]:.3g} → {losses[-1]:.3g}"
    return None


def held_out_rows(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of evaluation.jsonl with long questions cut to their end."""
    return [
        line | {"prompt": "… " + line["prompt"][-_QUESTION_SHOWN:]}
        if len(line["prompt"]) > _QUESTION_SHOWN
        else line
        for line in lines
    ]


def drawn_answers(lines: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Of the first and the last step some answers that were drawn, the best and the worst of each group first."""
    found = []
    steps = [line["step"] for line in lines]
    for step in dict.fromkeys((min(steps, default=0), max(steps, default=0))):
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for line in lines:
            if line["step"] == step:
                groups.setdefault((line["place"], line["prompt"]), []).append(line)
        shown = []
        for group in list(groups.values())[:_GROUPS_SHOWN]:
            ranked = sorted(group, key=lambda line: -line["reward"])
            shown += [ranked[0], ranked[-1]]
        if shown:
            found.append((f"drawn at step {number(step)}", shown))
    return found


def held_out_in_words(count: int, ledger: dict[str, Any]) -> str:
    """How many rows were answered, and as far as the ledger of the held-out part knows, whether training saw them."""
    rows = f"{count} row{'' if count == 1 else 's'}"
    if (leaked := ledger.get("leaked")) is None:
        return f"{rows} of the held-out part, answered by both models."
    if not leaked["rows"]:
        return f"{rows} that were not trained on, answered by both models."
    return (
        f"{rows} of the held-out part, answered by both models. Of the {number(ledger['rows_kept'])} held out, "
        f"{number(leaked['rows'])} can be answered from memory: the same question is among the training rows."
    )


def picture_names(image: str | list[str] | None) -> str:
    """The names of picture files, without their folders."""
    files = [image] if isinstance(image, str) else image or []
    return ", ".join(re.split(r"[/\\]", file)[-1] for file in files)


def score_tables(
    before_after: dict[str, Any], evaluation: dict[str, Any] | None, rows_are_asked: bool
) -> list[tuple[str, list[Score]]]:
    """The scores on held-out rows and those on the prompts, each with a heading; before_after.json has them in one.

    Until evaluation.json is there nothing tells them apart, and where held-out rows are asked the heading is empty.
    """
    scores, prompts = before_after.get("scores") or {}, len(before_after.get("samples") or [])
    on_prompts = "on the prompt" if prompts == 1 else f"on the {prompts} prompts"
    if not evaluation:
        tables = [("" if rows_are_asked or not prompts else on_prompts, score_table(scores))]
    else:
        rows = evaluation["rows"]
        heading = f"on {number(rows)} held-out row{'' if rows == 1 else 's'}"
        of_prompts = {
            side: {
                name: value
                for name, value in numbers.items()
                if name not in evaluation["metrics"] or (prompts and _words(name) in _FACTS)
            }
            for side, numbers in scores.items()
        }
        tables = [
            (heading, score_table({"base": evaluation["base"], "tuned": evaluation["metrics"]})),
            (on_prompts, score_table(of_prompts)),
        ]
    return [(heading, table) for heading, table in tables if table]


def score_table(scores: dict[str, Any]) -> list[Score]:
    sides = [_numbers(scores.get("base")), _numbers(scores.get("tuned"))]
    table = []
    for name in dict.fromkeys(name for side in sides for name in side):
        # Shares lie between 0 and 1, and so does nothing else that is scored but means and losses.
        share = all(0 <= side.get(name, 0) <= 1 for side in sides)
        share = share and not name.startswith("mean_") and "loss" not in name
        base, tuned = (
            (_percent(side[name]) if share else f"{side[name]:.4g}") if name in side else None
            for side in sides
        )
        table.append(Score(_words(name), base, tuned))
    return table


def _numbers(scores: dict[str, Any] | None) -> dict[str, float]:
    return {name: value for name, value in (scores or {}).items() if isinstance(value, int | float)}


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def summary_of(lines: list[dict[str, Any]]) -> list[Row]:
    """Losses, tokens, speed, memory and time, as far as metrics.jsonl has them."""

    def column(name: str) -> list[Any]:
        return [line[name] for line in lines if line.get(name) is not None]

    rows: list[Row] = []
    if lines:
        rows.append(("steps", number(max(line["step"] for line in lines))))
    for name, label in (("loss", "training loss"), ("eval_loss", "held-out loss")):
        if losses := column(name):
            rows.append((label, f"{losses[0]:.4g} → {losses[-1]:.4g} (best {min(losses):.4g})"))
    for name in (name for panel in PANELS for name in panel.lines):
        for key, label in ((name, _words(name)), (f"eval_{name}", f"{_words(name)}, held out")):
            if values := column(key):
                rows.append((label, f"{values[0]:.4g} → {values[-1]:.4g}"))
    if tokens := column("tokens"):
        rows.append(("tokens trained on", number(tokens[-1])))
    if speeds := column("tokens_per_second"):
        rows.append(("tokens a second", number(round(median(speeds)))))
    if peaks := column("peak_memory_bytes"):
        rows.append(("peak memory", byte_size(max(peaks))))
    if seconds := column("seconds"):
        # A clock that starts again at a resume falls between two lines; the time before it counts too.
        rows.append(("time", duration(seconds[-1] + sum(a for a, b in pairwise(seconds) if b < a))))
    return rows


def environment_sections(environment: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Any nested JSON as titled lists of rows; what stands outside of all blocks comes first.

    What the headline says already is left out, and so is what there is none of.
    """
    loose = {
        name: value
        for name, value in environment.items()
        if not isinstance(value, dict) and name not in ("finished", "result")
    }
    sections = [("run", _rows(loose))] if loose else []
    return sections + [
        (_words(name), _rows(block)) for name, block in environment.items() if isinstance(block, dict)
    ]


def _rows(block: dict[str, Any], prefix: str = "") -> list[Row]:
    rows: list[Row] = []
    for name, value in block.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{_words(name)}: ")
        elif value is None:
            continue
        elif name.endswith("_bytes") and isinstance(value, int):
            rows.append((prefix + _words(name.removesuffix("_bytes")), byte_size(value)))
        else:
            rows.append((prefix + _words(name), _plain(value)))
    return rows


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return number(value)


def commands_for(run: RunDir, finished: bool, samples: list[dict[str, Any]], method: str | None) -> list[Row]:
    """What to type next, and what it does. A prompt that a shell would read in its own way is not shown."""
    folder = _quoted(str(run.folder))
    if not finished:
        return [(f"tunesmith resume {folder}", "go on from the last checkpoint")]
    if method == "reward":  # it does not write
        return []
    short = [
        sample["prompt"]
        for sample in samples
        if "image" not in sample
        and len(sample["prompt"]) <= 60
        and not set(sample["prompt"]) & set('"$`\\!<>&|%\n')
    ]
    question = short[0] if short else "..."
    return [
        (f"tunesmith chat {folder}", "talk to it"),
        (f'tunesmith ask {folder} "{question}"', "one question; add --base for the untuned model"),
        (f"tunesmith batch {folder} questions.txt -o answers.json", "a file of questions"),
    ]


def _quoted(path: str) -> str:
    return f'"{path}"' if any(character.isspace() for character in path) else path


def number(value: Any) -> str:
    """A number with its thousands apart; anything else as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def byte_size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"

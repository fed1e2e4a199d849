"""`tunesmith plan`: memory, disk and time before you spend them, and settings that fit."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tunesmith.plan import Plan

_WHAT = {
    "process": "Python, libraries and data (measured)",
    "weights": "weights",
    "teacher": "the teacher's weights",
    "reference": "what learns, as it was before step 1",
    "adapter": "adapter, fp32",
    "optimizer": "optimizer",
    "gradients": "gradients",
    "activations": "activations",
    "head": "the head's chunk of logits",
    "gaps": "what the allocator wastes (estimated)",
    "model": "the model's download",
    "checkpoints": "checkpoints, at their most",
    "result": "the result",
}


def plan(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shipped recipe's name.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as model.quantize=nf4."),
    ] = None,
    time: Annotated[
        bool, typer.Option(help="Time a small piece of the model to foresee how long it takes.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Foresee memory, disk and time without loading weights; propose settings that fit."""
    from tunesmith.cli.console import quiet_libraries
    from tunesmith.config.load import load

    loaded = load(recipe, overrides or ())
    quiet_libraries()
    from tunesmith.plan import make_plan

    made = make_plan(loaded, timed=time)
    if as_json:
        typer.echo(json.dumps(as_dict(made), ensure_ascii=False, indent=2))
        return
    _show(made, ["tunesmith", "train", recipe, *(overrides or ())])


def as_dict(plan: Plan) -> dict[str, Any]:
    """What `--json` prints. Sizes are in bytes, times in seconds."""
    memory, times = plan.memory, plan.times
    return {
        "fits": plan.fits,
        "device": plan.device,
        "precision": plan.precision,
        "budget_bytes": _whole(plan.budget),
        "peak_bytes": None if memory is None else _whole(memory.peak.total),
        "unforeseen": plan.unforeseen,
        "recomputed_layers": None if memory is None else memory.recomputed,
        "layers": None if memory is None else memory.step.layers,
        "phases": {}
        if memory is None
        else {
            phase.name: {name: _whole(size) for name, size in phase.parts.items()} for phase in memory.phases
        },
        "disk": {name: _whole(size) for name, size in plan.disk.items()},
        "disk_free_bytes": plan.disk_free,
        "time": None
        if times is None
        else {
            "step": times.step,
            "steps": times.steps,
            "tokens_per_second": times.tokens_per_second,
            "training": times.training,
            "evaluations": times.evaluations,
            "answers_at_most": times.answers,
            "other_work_ran": times.others_ran,
            "not_counted": times.not_counted,
        },
        "changes": [
            {"key": one.key, "from": one.old, "to": one.new, "peak_bytes": _whole(one.peak)}
            for one in plan.changes
        ],
    }


def _whole(size: float | None) -> int | None:
    return None if size is None else round(size)


def _show(plan: Plan, command: list[str]) -> None:
    from tunesmith.cli.console import console
    from tunesmith.config.words import byte_size

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    if plan.memory is None:
        say(f"How much memory a step takes cannot be foreseen for this family: {plan.unforeseen}.", "yellow")
    else:
        memory, peak = plan.memory, plan.memory.peak
        say(f"memory of the {plan.device} in {plan.precision}, at its peak ({peak.name})", "bold")
        _table(peak.parts)
        say(f"  {byte_size(round(peak.total)):>9}  in all" + _allowed(plan))
        if memory.recomputed:
            say(f"  {memory.recomputed} of {memory.step.layers} layers are recomputed in the backward pass")
    if plan.disk:
        say("\ndisk", "bold")
        _table(plan.disk)
        say(f"  {byte_size(plan.disk_free):>9}  are free")
    if plan.times is not None:
        _show_times(plan, say)
    say("")
    _show_verdict(plan, command, say)


def _allowed(plan: Plan) -> str:
    from tunesmith.config.words import byte_size

    return "" if plan.budget is None else f", and {byte_size(round(plan.budget))} may be taken"


def _table(parts: Any) -> None:
    from tunesmith.cli.console import console
    from tunesmith.config.words import byte_size

    for name, size in parts.items():
        if size:
            console.print(
                f"  {byte_size(round(size)):>9}  {_WHAT[name]}", markup=False, highlight=False, soft_wrap=True
            )


def _show_times(plan: Plan, say: Any) -> None:
    from tunesmith.config.words import counted

    times = plan.times
    assert times is not None
    say("\ntime, from timing two layers of this shape just now; loading comes on top", "bold")
    if times.others_ran:
        say(
            "  other work is running on this machine: with it out of the way, it may take less time", "yellow"
        )
    say(f"  {_duration(times.training)} for {counted(times.steps, 'step')} of {times.step:.3g} s, "
        f"{times.tokens_per_second:.3g} tokens a second")  # fmt: skip
    if times.not_counted:
        say(f"  {times.not_counted} comes on top", "yellow")
    if times.evaluations:
        say(f"  {_duration(times.evaluations)} for evaluations on the held-out part")
    if times.answers:
        say(f"  {_duration(times.answers)} at most for the answers before and after")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )


def _show_verdict(plan: Plan, command: list[str], say: Any) -> None:
    from tunesmith.config.words import byte_size

    if plan.fits:
        say(f"It fits; start with: {shlex.join(command)}")
        return
    if plan.fits is None:
        say("Whether it fits cannot be told.")
        return
    if sum(plan.disk.values()) > plan.disk_free:
        say("The disk is too small: free some, choose another with -o, or lower train.keep.", "yellow")
    if plan.memory is None or plan.budget is None or plan.memory.peak.total <= plan.budget:
        return
    say(f"It does not fit: {byte_size(round(plan.memory.peak.total - plan.budget))} short.", "yellow")
    if not plan.changes:
        say("No setting makes it fit; take a smaller model.")
        return
    fits = plan.changes[-1].peak <= plan.budget
    say(
        "With these changes to the recipe it does:"
        if fits
        else "These changes save most, and it still does not fit:"
    )
    for change in plan.changes:
        say(f"- {change.key}: {_value(change.old)}", "red")
        say(f"+ {change.key}: {_value(change.new)}    # {byte_size(round(change.peak))} in all", "green")
    settings = [f"{change.key}={_value(change.new)}" for change in plan.changes]
    say(shlex.join([*command, *settings]))


def _value(value: Any) -> str:
    """As YAML has it."""
    return json.dumps(value) if not isinstance(value, str) else value

"""Each tracker with its real package, offline: what was told arrives in its files, once, and is closed."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config.schema import Recipe
from tunesmith.errors import InputError
from tunesmith.train.events import RunInfo
from tunesmith.train.trackers import TRACKERS, open_trackers
from tunesmith.train.trackers.base import check_reachable, filled_in, within

STEPS = {step: 4.0 / step for step in range(1, 7)}
SECRET = "5ecre7" * 8
OPTIONS = {
    "wandb": {"wandb": {"project": "poetry", "name": "{name}-{time}", "mode": "offline"}},
    "swanlab": {"swanlab": {"project": "poetry", "name": "{name}-{time}", "mode": "offline"}},
    "tensorboard": {"tensorboard": {}},
}
every_tracker = pytest.mark.parametrize("tracker", TRACKERS)


def play(
    home: Path, track: dict[str, Any], *acts: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the driver with a home of its own, so that no login of this machine counts and nothing stays behind."""
    mine = {
        name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SWANLAB", "XDG"))
    }
    (home / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("tracker_driver.py"),
            home / "run",
            json.dumps(track),
            *acts,
        ],
        cwd=home,
        env=mine | {"HOME": str(home / "home"), "TMPDIR": str(home / "tmp")} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass
class Arrived:
    """What a tracker's files hold of one run."""

    numbers: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    config: str = ""
    samples: str = ""
    name: str = ""
    ended: str | None = None

    def add(self, name: str, step: int, value: float) -> None:
        self.numbers.setdefault(name, []).append((step, pytest.approx(value, rel=1e-6)))


def records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb or .swanlab file: LevelDB's log format after a header of 7 bytes."""
    content, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left_in_block = 32768 - place % 32768
        if left_in_block < 7:
            place += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield record
            record = b""


def read_wandb(run: Path) -> Arrived:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    arrived = Arrived()
    for content in records(file):
        record = Record()
        record.ParseFromString(content)
        if record.HasField("run"):
            arrived.name = record.run.display_name
            arrived.config += "".join(f"{item.key}={item.value_json};" for item in record.run.config.update)
        if record.HasField("history"):
            row = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            for name, value in row.items():
                if isinstance(value, int | float) and not name.startswith(("_", "samples")):
                    arrived.add(name, row["_step"], value)
            if "samples/path" in row:
                arrived.samples += (file.parent / "files" / row["samples/path"]).read_text("utf-8")
        if record.HasField("exit"):
            arrived.ended = "finished" if record.exit.exit_code == 0 else "failed"
    return arrived


def read_swanlab(run: Path) -> Arrived:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record

    (file,) = run.glob("swanlab/run-*/*.swanlab")
    arrived = Arrived(config=(file.parent / "files" / "config.yaml").read_text("utf-8"))
    for content in records(file):
        record = Record()
        record.ParseFromString(content)
        if record.HasField("start"):
            arrived.name = record.start.name
        if record.HasField("scalar") and not record.scalar.key.startswith("__"):
            arrived.add(record.scalar.key, record.scalar.step, record.scalar.value.number)
        if record.HasField("media"):
            for item in record.media.value.items:
                arrived.samples += item.caption
                arrived.samples += (file.parent / "media" / "text" / item.filename).read_text("utf-8")
        if record.HasField("finish"):
            arrived.ended = "failed" if "the loss is NaN" in record.finish.error else "finished"
    return arrived


def read_tensorboard(run: Path) -> Arrived:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    arrived = Arrived()
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            arrived.add(tag, event.step, event.value)

    def text(tag: str) -> str:
        tensors = events.Tensors(tag) if tag in events.Tags()["tensors"] else []
        return "".join(tensor.tensor_proto.string_val[0].decode() for tensor in tensors)

    arrived.config, arrived.samples = text("recipe/text_summary"), text("samples/text_summary")
    return arrived


READ = {"wandb": read_wandb, "swanlab": read_swanlab, "tensorboard": read_tensorboard}


def assert_everything_arrived(arrived: Arrived) -> None:
    """Every number once, at its step; the recipe; the samples and their scores."""
    assert arrived.numbers["loss"] == list(STEPS.items())
    assert [step for step, _ in arrived.numbers["learning_rate"]] == list(STEPS)
    assert arrived.numbers["eval_loss"] == [(3, 2.5)]
    assert arrived.numbers["base/form_validity"] == [(6, 0.1)]
    assert arrived.numbers["tuned/form_validity"] == [(6, 0.95)]
    assert "note" not in arrived.numbers
    assert "builtin:nano" in arrived.config
    assert "learning_rate" in arrived.config
    samples = json.loads(f'"{arrived.samples}"') if "\\u" in arrived.samples else arrived.samples
    assert "春风入梦来" in samples
    assert "细雨润花开" in samples
    assert "不会。" in samples


@every_tracker
def test_numbers_recipe_and_samples_arrive_and_nothing_leaves_the_run_folder(
    tracker: str, tmp_path: Path
) -> None:
    done = play(tmp_path, OPTIONS[tracker], "whole", WANDB_API_KEY=SECRET, SWANLAB_API_KEY=SECRET)

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert f"INFO {tracker}: " in done.stderr
    assert str(tmp_path / "run" / tracker) in done.stderr
    arrived = READ[tracker](tmp_path / "run")
    assert_everything_arrived(arrived)
    if tracker != "tensorboard":
        assert re.fullmatch(r"poems-\d{8}-\d{6}", arrived.name)
        assert arrived.ended == "finished"
    assert {path.name for path in tmp_path.iterdir()} <= {"run", "home", "tmp"}
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), f"{path} holds the API key"
    assert SECRET not in done.stderr + done.stdout


@every_tracker
def test_a_killed_and_resumed_run_holds_every_step_once(tracker: str, tmp_path: Path) -> None:
    killed = play(tmp_path, OPTIONS[tracker], "killed")
    assert killed.returncode == -9, killed.stderr
    identity = json.loads((tmp_path / "run" / "trackers.json").read_text("utf-8"))

    resumed = play(tmp_path, OPTIONS[tracker], "resumed")

    assert resumed.returncode == 0, resumed.stderr
    assert "WARNING" not in resumed.stderr
    assert_everything_arrived(READ[tracker](tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "trackers.json").read_text("utf-8")) == identity


@every_tracker
def test_it_is_closed_on_an_error(tracker: str, tmp_path: Path) -> None:
    done = play(tmp_path, OPTIONS[tracker], "failed")

    assert done.returncode == 0, done.stderr
    arrived = READ[tracker](tmp_path / "run")
    assert_everything_arrived(arrived)
    if tracker != "tensorboard":
        assert arrived.ended == "failed"


@every_tracker
def test_a_second_run_in_one_process_closes_what_a_crash_left_open(tracker: str, tmp_path: Path) -> None:
    done = play(tmp_path, OPTIONS[tracker], "left-open", "whole", "whole")

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    crashed = READ[tracker](tmp_path / "run")
    assert crashed.numbers["loss"] == list(STEPS.items())
    for name in ("run-2", "run-3"):
        assert_everything_arrived(READ[tracker](tmp_path / name))
    if tracker != "tensorboard":
        assert crashed.ended is not None


@pytest.mark.parametrize("tracker", ["wandb", "swanlab"])
def test_online_without_a_login_warns_once_and_the_run_goes_on(tracker: str, tmp_path: Path) -> None:
    done = play(tmp_path, {tracker: {"mode": "online"}}, "whole")

    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert "no " in warning
    assert "login on this machine" in warning
    assert "offline" in warning
    seconds = float(re.search(r"whole: ([\d.]+) s", done.stderr)[1])
    assert seconds < 15
    assert not list((tmp_path / "run").rglob("*run-*"))


@pytest.mark.parametrize(("tracker", "host"), [("wandb", "WANDB_BASE_URL"), ("swanlab", "SWANLAB_API_HOST")])
def test_an_unreachable_server_warns_once_and_the_run_goes_on(
    tracker: str, host: str, tmp_path: Path
) -> None:
    environment = {host: "http://127.0.0.1:9", "WANDB_API_KEY": SECRET, "SWANLAB_API_KEY": SECRET}

    done = play(tmp_path, {tracker: {"mode": "online"}}, "whole", **environment)

    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert "127.0.0.1:9 cannot be reached" in warning
    assert float(re.search(r"whole: ([\d.]+) s", done.stderr)[1]) < 15
    assert SECRET not in done.stderr + done.stdout


def test_tensorboard_writes_where_the_recipe_says(tmp_path: Path) -> None:
    done = play(tmp_path, {"tensorboard": {"folder": "boards/{name}"}}, "whole")

    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "boards" / "poems").glob("events.out.*"))
    assert not (tmp_path / "run" / "tensorboard").exists()


def recipe_with(track: list[Any]) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "poems",
            "model": {"source": "builtin:nano"},
            "data": {"train": ["poems.json"]},
            "track": track,
        }
    )


def test_no_tracker_is_the_default() -> None:
    assert open_trackers(recipe_with([])) == []


def test_a_tracker_named_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="tensorboard is named twice"):
        open_trackers(recipe_with(["tensorboard", {"tensorboard": {"folder": "elsewhere"}}]))


def test_a_missing_package_is_an_error_that_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.optional.installed", lambda module: False)
    with pytest.raises(InputError, match=r'pip install "tunesmith\[swanlab\]"'):
        open_trackers(recipe_with(["swanlab"]))


def test_names_are_filled_in(tmp_path: Path) -> None:
    run = RunInfo("poems", tmp_path, {}, {}, 1, 0)
    assert re.fullmatch(r"tiny-poems-\d{8}-\d{6} \{other\}", filled_in("tiny-{name}-{time} {other}", run))


def test_waiting_has_an_end_and_errors_come_through() -> None:
    import threading

    from tunesmith.errors import WorkError

    for_ever = threading.Event()
    with pytest.raises(WorkError, match="knitting took longer"):
        within(0.05, "knitting", for_ever.wait)
    for_ever.set()
    with pytest.raises(ZeroDivisionError):
        within(5, "dividing", lambda: 1 / 0)
    with pytest.raises(WorkError, match=r"cannot be reached .* Knit instead"):
        check_reachable("http://127.0.0.1:9", remedy="knit instead")

"""What the model before step 1 thought of the samples: kept, and taken only where it is whole and of this model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.methods.test_kto import Stored, samples
from tests.train.test_gradients import make_policy
from tunesmith.train.examples import reference_of


class Named(Stored):
    def fingerprint(self) -> str:
        return "these"


def another_model(values: Path) -> None:
    about = values.with_name("prepared.json")
    about.write_text(json.dumps(json.loads(about.read_text("utf-8")) | {"key": "0" * 64}), "utf-8")


def header(values: Path) -> None:
    values.write_bytes(values.read_bytes().replace(b"{", b"(", 1))


def last_bit(values: Path) -> None:
    content = bytearray(values.read_bytes())
    content[-1] ^= 1
    values.write_bytes(content)


DAMAGES = {
    "of another model": another_model,
    "no account of them": lambda values: values.with_name("prepared.json").write_text("[]"),
    "empty": lambda values: values.write_bytes(b""),
    "cut short": lambda values: values.write_bytes(values.read_bytes()[:-8]),
    "header": header,
    "an archive": lambda values: values.write_bytes(b"PK\x03\x04" + values.read_bytes()[4:]),
    "last bit": last_bit,
    "gone": lambda values: values.unlink(),
}


@pytest.fixture(scope="module")
def policy():
    return make_policy()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_values_are_said_and_made_anew(policy, tmp_path, monkeypatch, caplog, damage):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))

    def values(model: str = "a") -> np.ndarray:
        return reference_of(policy, Named(samples()), others=True, row_tokens=4096, key={"model": model})

    first = values()
    assert first.shape == (5, 2)
    (kept,) = tmp_path.rglob("logprobs.npy")
    DAMAGES[damage](kept)
    assert values().tobytes() == first.tobytes()
    assert caplog.text.count("are damaged or of another model; they are computed anew") == 1
    monkeypatch.setattr("tunesmith.train.examples._computed", lambda *_: pytest.fail("they were kept"))
    assert values().tobytes() == first.tobytes()
    with pytest.raises(pytest.fail.Exception):
        values("b")

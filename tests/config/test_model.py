"""The block `model`: what its keys take, and that a saved recipe says the same."""

from __future__ import annotations

import pytest

from tunesmith.config.load import dump, load
from tunesmith.errors import InputError

RECIPE = (
    "name: a\nmodel: {source: builtin:nano, device_map: auto, max_memory: %s}\ndata: {train: poems.json}\n"
)


def written(folder, max_memory: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE % max_memory, "utf-8")
    return str(path)


def test_room_on_gpus_by_number_is_read_and_saved(tmp_path):
    recipe = load(written(tmp_path, "{0: 20GB, cpu: 40 GB}"))
    assert recipe.model.max_memory == {0: "20GB", "cpu": "40 GB"}
    (tmp_path / "saved.yaml").write_text(dump(recipe), "utf-8")
    assert load(str(tmp_path / "saved.yaml")) == recipe
    assert load(written(tmp_path, "{cpu: 1GB}"), ["model.max_memory.1=7GB"]).model.max_memory == {
        "cpu": "1GB",
        1: "7GB",
    }


@pytest.mark.parametrize(
    ("max_memory", "told"),
    [
        ("{gpu: 1GB}", "max_memory names 'gpu'; it takes GPUs by number, and `cpu`"),
        ("{0: 20}", "`model.max_memory.0` is 20; expected an amount of memory such as 8GB"),
        ("lots", "expected a block of `place: amount` lines"),
    ],
)
def test_what_is_no_room_is_told(tmp_path, max_memory, told):
    with pytest.raises(InputError) as refused:
        load(written(tmp_path, max_memory))
    assert told in str(refused.value)

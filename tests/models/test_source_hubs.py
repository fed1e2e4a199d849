"""Models of the hubs: they arrive whole, at one state, and once; what is said when they don't; offline, the cache."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import tiny_llama
from tunesmith.errors import InputError, TunesmithError
from tunesmith.hubs.repository import failure
from tunesmith.models.load import load_model
from tunesmith.models.source import Located, files_wanted, locate

CARD = b"---\nlanguage: zh\nlicense: other\nlicense_name: tiny-licence\n---\n# Model\n"


@pytest.fixture(params=["", "ms:"], ids=["huggingface", "modelscope"])
def prefix(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def files(tiny_model_folder) -> dict[str, bytes]:
    """A small model as a repository holds it."""
    return {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()} | {"README.md": CARD}


@pytest.fixture(scope="module")
def sharded(tiny_model_folder, tmp_path_factory) -> dict[str, bytes]:
    """The same in two weight files."""
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path_factory.mktemp("sharded") / "model"))
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {}
    for number, part in enumerate((sorted(weights)[::2], sorted(weights)[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def error_of(source: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        locate(source, **options)
    return str(caught.value)


def offline(monkeypatch) -> None:
    """Nobody listens where the hubs were."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("modelscope_hub.config._default_config", None)
    monkeypatch.setattr("time.sleep", lambda _: None)  # the clients' pauses between attempts


# ---- which files


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        (["model.safetensors", "pytorch_model.bin", "onnx/model.onnx"], ["model.safetensors"]),
        (["model-00001-of-00001.safetensors", "original/model.safetensors", "consolidated.safetensors"],
         ["model-00001-of-00001.safetensors"]),
        (["model.safetensors", "model.fp16.safetensors", "model-00001-of-00002.safetensors"], ["model.safetensors"]),
        (["weights.safetensors", "consolidated.safetensors"], ["weights.safetensors"]),
    ],
)  # fmt: skip
def test_the_weights_come_once(listed, wanted):
    about = ["config.json", "README.md", "templates/tools.jinja"]
    assert files_wanted([*about, *listed, "onnx/config.json", "a.gif"], weights=True) == [*about, *wanted]
    assert files_wanted([*about, *listed], weights=False) == about


# ---- both hubs


def test_a_model_arrives_whole_and_only_once(net, prefix, files):
    net.publish("o/n", files | {"pytorch_model.bin": b"0", "original/model.safetensors": b"0"})
    found = locate(f"{prefix}o/n")
    assert {path.name: path.read_bytes() for path in found.folder.iterdir() if path.name[0] != "."} == files
    model = load_model(found.folder, dtype=torch.float32, device="cpu")
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(model(ids).logits, tiny_llama()(ids).logits)
    assert sorted(net.paths()) == sorted(files)
    assert locate(f"{prefix}o/n") == found
    assert sorted(net.paths()) == sorted(files)


def test_without_weights_only_what_check_needs_comes(net, prefix, files):
    net.publish("o/n", files)
    locate(f"{prefix}o/n", weights=False)
    assert sorted(net.paths()) == sorted(set(files) - {"model.safetensors"})
    locate(f"{prefix}o/n")
    assert sorted(net.paths()) == sorted(files)


def test_the_cache_folder_is_the_users_choice(net, prefix, files, tmp_path):
    net.publish("o/n", files)
    assert locate(f"{prefix}o/n", cache_dir=str(tmp_path / "mine")).folder.is_relative_to(tmp_path / "mine")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix == ".safetensors"]


def test_a_model_can_come_into_a_plain_folder(net, prefix, files, tmp_path):
    net.publish("o/n", files)
    folder = locate(f"{prefix}o/n", output=tmp_path / "here").folder
    assert folder == tmp_path / "here"
    assert {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."
    } == files


def test_what_changed_on_the_hub_comes_anew(net, prefix, files):
    net.publish("o/n", files)
    locate(f"{prefix}o/n")
    changed = files["README.md"].replace(b"zh", b"en")  # as long as before
    net.publish("o/n", files | {"README.md": changed})
    assert (locate(f"{prefix}o/n").folder / "README.md").read_bytes() == changed


def test_a_revision_is_what_comes(net, prefix, files):
    net.publish("o/n", files | {"README.md": b"new"})
    net.publish("o/n", files | {"README.md": b"old"}, "v1")
    assert (locate(f"{prefix}o/n", revision="v1").folder / "README.md").read_bytes() == b"old"
    assert "v2" in error_of(f"{prefix}o/n", revision="v2")


def test_an_unknown_model_is_told(net, prefix):
    assert "has no model o/none, or it is private" in error_of(f"{prefix}o/none")


def test_a_gated_model_is_told_with_the_way_in(net, prefix, files):
    net.publish("o/n", files)
    net.gated.add("o/n")
    message = error_of(f"{prefix}o/n")
    assert "terms" in message and "on the model's page" in message and "login`" in message


def test_pickled_weights_are_refused_before_anything_comes(net, prefix, files):
    pickled = {name: content for name, content in files.items() if not name.endswith(".safetensors")}
    net.publish("o/n", pickled | {"pytorch_model.bin": b"0"})
    message = error_of(f"{prefix}o/n")
    assert "only as pytorch_model.bin, which can run code" in message and "expected *.safetensors" in message
    assert net.paths() == []


def test_a_disk_that_is_too_small_is_told_before_the_download(net, prefix, files):
    net.publish("o/n", files)
    net.sizes["model.safetensors"] = 10**15
    message = error_of(f"{prefix}o/n")
    assert " GB short: 1000000.0 GB are to be downloaded and" in message and "model.cache_dir" in message
    assert net.paths() == []


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(net, prefix, files, monkeypatch):
    weights = {"filler": torch.arange(500_000, dtype=torch.float32)} | {
        name: tensor.clone() for name, tensor in tiny_llama().state_dict().items()
    }
    from safetensors.torch import save

    content = save(weights, metadata={"format": "pt"})
    net.publish("o/n", {"config.json": files["config.json"], "model.safetensors": content})
    locate(f"{prefix}o/n", weights=False)
    # The hub's client gives up after some attempts in vain; ModelScope's waits long between them, so it needs one only.
    net.cuts = [300_000, *([0] * 6 if not prefix else [])]
    monkeypatch.setattr("time.sleep", lambda _: None)  # the clients' pauses between attempts
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    if not prefix:
        message = error_of("o/n")
        assert "the download stopped" in message and "goes on with what is missing" in message
        net.cuts = []
    assert (locate(f"{prefix}o/n").folder / "model.safetensors").read_bytes() == content
    resumed = [asked for name, asked in net.fetched if name == "model.safetensors" and asked]
    assert resumed and not resumed[0].startswith("bytes=0-")


def test_a_silent_hub_is_told_and_the_cache_serves(net, prefix, files, monkeypatch):
    net.publish("o/n", files)
    found = locate(f"{prefix}o/n")
    offline(monkeypatch)
    assert locate(f"{prefix}o/n") == found
    message = error_of(f"{prefix}o/other")
    assert "the model o/other cannot be had: " in message and "nothing in the cache" in message
    assert ("there is no local folder of that name" in message) == (prefix == "")
    assert "failed (" in message and "builtin:nano works without any network" in message


def test_offline_a_missing_shard_is_named(net, prefix, sharded, monkeypatch):
    net.publish("o/n", sharded)
    folder = locate(f"{prefix}o/n").folder
    (folder / "model-00002-of-00002.safetensors").unlink()
    offline(monkeypatch)
    assert "model-00002-of-00002.safetensors" in error_of(f"{prefix}o/n")


def test_a_folder_that_cannot_be_written_is_told(net, prefix, files, tmp_path):
    net.publish("o/n", files)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TunesmithError, match="cannot be written"):
        locate(f"{prefix}o/n", output=tmp_path / "file" / "folder")


# ---- the Hugging Face hub alone: states are commits


def test_the_prefix_of_the_hub_may_be_written(net, files):
    commit = net.publish("o/n", files)
    found = locate("hf:o/n")
    assert found == locate("o/n") == Located(found.folder, "o/n", commit, commit)


def test_what_a_branch_led_to_is_found_again_when_it_has_moved(net, files, monkeypatch):
    first = net.publish("o/n", files)
    found = locate("o/n")
    second = net.publish("o/n", files | {"README.md": b"new"})
    assert (found.commit, locate("o/n").commit) == (first, second)
    assert locate("o/n", revision=first) == found
    offline(monkeypatch)
    assert locate("o/n", revision=first) == found
    assert locate("o/n").commit == second


def test_a_tag_leads_to_its_commit(net, files):
    net.publish("o/n", files)
    commit = net.publish("o/n", files | {"README.md": b"old"}, "v1")
    assert locate("o/n", revision="v1")[2:4] == (commit, commit)


def test_other_tools_find_the_model_offline(net, files, monkeypatch):
    from huggingface_hub import snapshot_download

    net.publish("o/n", files)
    found = locate("o/n")
    offline(monkeypatch)
    assert (
        Path(snapshot_download("o/n", local_files_only=True, cache_dir=found.folder.parents[2]))
        == found.folder
    )


def test_hf_hub_offline_is_obeyed_and_said(net, files, monkeypatch, caplog):
    from huggingface_hub import constants

    net.publish("o/n", files)
    found = locate("o/n")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with caplog.at_level(logging.INFO, "tunesmith"):
        assert locate("o/n") == found
    assert "o/n: taken from the cache; the hub is not asked (HF_HUB_OFFLINE is set)" in caplog.text
    assert "HF_HUB_OFFLINE is set" in error_of("o/other")


# ---- ModelScope alone


def test_modelscope_tells_no_commit_so_the_revision_stays_as_asked(net, files):
    net.publish("o/n", files)
    net.publish("o/n", files, "v1")
    assert locate("ms:o/n")[1:4] == ("ms:o/n", None, None)
    assert locate("ms:o/n", revision="v1")[1:4] == ("ms:o/n", "v1", None)


def test_without_the_client_the_pip_line_is_said(monkeypatch):
    monkeypatch.setattr("tunesmith.optional.installed", lambda module: module != "modelscope")
    assert 'pip install "tunesmith[modelscope]"' in error_of("ms:o/n")


def test_what_a_hub_says_goes_on_without_signatures():
    told = failure(
        OSError("403 for url: https://cdn.example/model.bin?Signature=abc&Key=def (refused)\nmore")
    )
    assert told == "failed (403 for url: https://cdn.example/model.bin (refused))"
    assert failure(TimeoutError()) == "failed (TimeoutError)"

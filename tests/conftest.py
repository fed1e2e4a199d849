"""Small models made on the spot: real architectures, random weights, nothing downloaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Nothing in the tests may reach for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tiny models gain nothing from threads, and on a busy machine threads wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _prepared_data_are_kept_apart(tmp_path_factory):
    """What the tests prepare is found by later tests, and by nobody else. Set before the CLI's server starts."""
    os.environ["TUNESMITH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _threads_of_one_test_are_not_left_to_the_next():
    """Whatever trains or speaks settles the threads of its process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def byte_tokenizer(chat_template: str | None = CHATML):
    """A tokenizer of single bytes and three special tokens: any text, no training."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=512
    )
    wrapped.chat_template = chat_template
    return wrapped


@pytest.fixture(scope="session")
def tokenizer():
    return byte_tokenizer()


def tiny_llama(**changes):
    """A two-layer Llama with seeded random weights, large enough for attention to matter."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    model = LlamaForCausalLM(LlamaConfig(**{**TINY, "initializer_range": 0.1, "eos_token_id": 2, **changes}))
    return model.eval()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory) -> Path:
    """A whole model folder: weights, configuration, tokenizer, chat template."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tiny_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """Folders of the families' stand-ins (tests/standins.py), each built once and not to be written to."""
    from functools import cache

    from tests.standins import build

    folder = tmp_path_factory.mktemp("stand-ins")
    return cache(lambda family: build(family, folder / family))


@pytest.fixture(scope="session")
def hub_server():
    """One server on loopback that plays both hubs."""
    from tests.data.readers.stand_ins import standing_in

    with standing_in() as server:
        yield server


@pytest.fixture
def net(hub_server, tmp_path, monkeypatch):
    """Both hubs, without repositories, and empty caches."""
    from tests.data.readers.stand_ins import Hub, going_to

    hub_server.__dict__.update(Hub().__dict__ | {"url": hub_server.url})
    with going_to(hub_server, tmp_path / "cache", monkeypatch) as hub:
        yield hub


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """The real command line, cheap to start many times."""
    from tests.invariant.command import CommandServer

    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    server = CommandServer(tmp_path_factory.mktemp("command"))
    yield server
    server.close()


# Unlike the model's own template: a stranger to it must not be able to guess the prompt.
SHOUTING = (
    "{% for m in messages %}[{{ m.role | upper }}] {{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}[ASSISTANT] {% endif %}"
)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, tiny_model_folder) -> Path:
    """A finished LoRA run with a system prompt and a chat template of its own."""
    from tests.recipes import write_recipe
    from tunesmith import pipeline
    from tunesmith.config.load import load

    folder = tmp_path_factory.mktemp("trained")
    (folder / "shouting.jinja").write_text(SHOUTING, encoding="utf-8")
    recipe = write_recipe(
        folder,
        tiny_model_folder,
        data={"system": "Be brief.", "template": "shouting.jinja"},
        train={"epochs": 1, "learning_rate": 0.01, "threads": 1},
    )
    return pipeline.train(load(str(recipe))).folder

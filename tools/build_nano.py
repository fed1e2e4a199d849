"""Build `builtin:nano`, the small chat model that comes with the package.

    python tools/build_nano.py --poems tang_poems.jsonl.gz --work build/nano

The poems are a gzipped JSON-lines file of `{"title", "author", "lines"}`: 49,526 Tang poems in simplified characters,
drawn from the chinese-poetry project (MIT licence), which a user can get from that project's public repository. To
them comes text that `nano_corpus.py` generates. The steps: corpus, tokenizer, random weights from a seed, then
tunesmith's own method `pretrain`, and last the weights in bf16 in the package. docs/nano.md records the build.

Killed on the way, the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from nano_corpus import build_corpus, read_poems, write_corpus
from nano_tokenizer import train_tokenizer
from tunesmith import pipeline
from tunesmith.cli.console import console, log_to_console, quiet_libraries
from tunesmith.cli.progress import progress_listener
from tunesmith.config.schema import Recipe
from tunesmith.rundir import RunDir

PACKAGE_FOLDER = Path(__file__).parent.parent / "src/tunesmith/models/builtin/nano"
CARD = """---
license: apache-2.0
language: [zh, en]
---
# nano
A Llama-architecture chat model of 4.4 million parameters that comes with tunesmith, made by tunesmith's method
`pretrain` (tools/build_nano.py). It writes poems in the manner of the Tang and makes small talk, in Chinese and
English; it knows nothing else. Its training text: 49,526 Tang poems drawn from chinese-poetry (MIT), and text
generated for this project.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--poems", type=Path, required=True, help="the gzipped JSON-lines file of poems")
    parser.add_argument(
        "--work", type=Path, default=Path("build/nano"), help="where the intermediate files go"
    )
    parser.add_argument("--steps", type=int, default=2000, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    quiet_libraries()

    start, corpus = options.work / "start", options.work / "corpus.jsonl"
    if not (start / "model.safetensors").exists():
        start.mkdir(parents=True, exist_ok=True)
        write_corpus(options.poems, corpus, options.seed)
        # Its merges are learned from real words: half of those that are copied mean nothing.
        train_tokenizer(build_corpus(read_poems(options.poems), options.seed), start)
        write_untrained_model(start, options.seed)
    recipe = pretraining_recipe(start, corpus, options.work / "run", options.steps, options.seed)
    run = RunDir(recipe.output_folder)
    with log_to_console():
        listeners = [progress_listener(console)]
        if run.holds_a_run():
            pipeline.resume(run.folder, listeners=listeners)
        else:
            pipeline.train(recipe, listeners=listeners)
    put_into_package(run.model)
    print(f"nano is in {PACKAGE_FOLDER}; its last lines of metrics: {run.read_metrics()[-2:]}")


def write_untrained_model(folder: Path, seed: int) -> None:
    """Random weights from a seed: 4.39 M parameters, a quarter of them the tied embedding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)


def pretraining_recipe(start: Path, corpus: Path, output: Path, steps: int, seed: int) -> Recipe:
    """The recipe of the build; bf16 compute, fp32 weights, one piece of text a sample."""
    return Recipe.model_validate(
        {
            "name": "nano",
            "model": {"source": str(start.absolute()), "precision": "bf16", "device": "cpu"},
            "adapter": {"type": "none"},
            "data": {"train": str(corpus.absolute()), "eval": 0.01, "max_length": 256},
            "method": {"name": "pretrain"},
            "train": {
                "max_steps": steps,
                "batch_size": 64,
                "accumulate": 1,
                "learning_rate": 3e-3,
                "warmup_steps": 60,
                "betas": [0.9, 0.95],
                "weight_decay": 0.05,
                "row_tokens": 4608,
                "threads": 1,
                "seed": seed,
                "save_every": 200,
                "eval_every": 400,
                "log_every": 10,
            },
            "run": {"output": str(output.absolute())},
        }
    )


def put_into_package(trained: Path) -> None:
    """The trained weights in bf16, their tokenizer and a card, where the package finds them."""
    model = AutoModelForCausalLM.from_pretrained(trained, dtype=torch.bfloat16)
    shutil.rmtree(PACKAGE_FOLDER, ignore_errors=True)
    model.save_pretrained(PACKAGE_FOLDER)
    AutoTokenizer.from_pretrained(trained).save_pretrained(PACKAGE_FOLDER)
    (PACKAGE_FOLDER / "README.md").write_text(CARD, encoding="utf-8")
    for path in PACKAGE_FOLDER.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone


if __name__ == "__main__":
    main()

"""Twelve steps beside TRL's DPOTrainer: the same pairs in the same order give the same losses and rewards."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import byte_tokenizer, tiny_llama
from tests.recipes import write_recipe, write_rows
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.train.order import epoch_order

STEPS, BATCH = 12, 4
PAIRS = [
    {
        "prompt": f"What is {i * 7}?",
        "chosen": f"It is {i * 7}, " * (1 + i % 3),
        "rejected": f"No idea {i}." * (1 + i % 2),
    }
    for i in range(STEPS * BATCH)
]
# As in test_against_trl.py: with nothing behind the stop token both name the same tokens.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def ours(folder, model_folder, method: dict) -> list[dict]:
    (folder / "template.jinja").write_text(TEMPLATE, "utf-8")
    recipe = write_recipe(
        folder,
        model_folder,
        adapter={"dropout": 0.0},
        data={"eval": None, "template": "template.jinja"},
        method={"name": "dpo", **method},
        train={
            "epochs": 1, "batch_size": 2, "accumulate": 2, "learning_rate": 5e-3, "warmup_steps": 3, "threads": 1,
            "eval_every": 100, "save_every": 100,
        },
        evaluate={"prompts": []},
    )  # fmt: skip
    write_rows(folder / "rows.jsonl", PAIRS)
    return pipeline.train(load(str(recipe))).read_metrics()


def theirs(folder, settings: dict) -> list[dict]:
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from torch.utils.data import SequentialSampler
    from trl import DPOConfig, DPOTrainer

    rows = [
        {
            "prompt": [{"role": "user", "content": PAIRS[i]["prompt"]}],
            "chosen": [{"role": "assistant", "content": PAIRS[i]["chosen"]}],
            "rejected": [{"role": "assistant", "content": PAIRS[i]["rejected"]}],
        }
        for i in epoch_order(len(PAIRS), 0, 0)
    ]
    config = DPOConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=BATCH, gradient_accumulation_steps=1,
        num_train_epochs=1, learning_rate=5e-3, lr_scheduler_type="cosine", warmup_steps=3, max_grad_norm=1.0,
        logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, bf16=False, seed=0, max_length=None,
        gradient_checkpointing=False, disable_tqdm=True, **settings,
    )  # fmt: skip
    model = tiny_llama()
    torch.manual_seed(0)  # that our adapter is drawn from
    peft_config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )

    class InOrder(DPOTrainer):
        def _get_train_sampler(self, dataset=None):
            return SequentialSampler(self.train_dataset)

    trainer = InOrder(
        model=get_peft_model(model, peft_config),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=byte_tokenizer(TEMPLATE),
    )
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ({}, {}),
        ({"label_smoothing": 0.1, "loss": "robust"}, {"label_smoothing": 0.1, "loss_type": "robust"}),
        ({"loss": "ipo", "beta": 0.2}, {"loss_type": "ipo", "beta": 0.2}),
        ({"loss": "hinge"}, {"loss_type": "hinge"}),
        (
            {"length_normalised": True, "sft": 0.5},
            {"loss_type": ["sigmoid_norm", "sft"], "loss_weights": [1.0, 0.5]},
        ),
    ],
    ids=["sigmoid", "robust", "ipo", "hinge", "with sft"],
)
def test_losses_and_rewards_agree_with_trl(tmp_path, tiny_model_folder, method, settings):
    mine, others = ours(tmp_path, tiny_model_folder, method), theirs(tmp_path, settings)
    assert len(mine) == len(others) == STEPS
    assert [line["loss"] for line in mine] == pytest.approx(
        [line["loss"] for line in others], rel=1e-4, abs=1e-5
    )
    by_length = method.get("loss") == "ipo" or "length_normalised" in method  # TRL logs sums all the same
    if not by_length:
        for name, theirs_is in (("reward_chosen", "rewards/chosen"), ("reward_rejected", "rewards/rejected")):
            assert [line[name] for line in mine] == pytest.approx(
                [line[theirs_is] for line in others], rel=1e-3, abs=1e-4
            )

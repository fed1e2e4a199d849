"""Steps beside TRL's KTOTrainer: the same judged answers give the same losses, gradients, estimates of KL and weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import byte_tokenizer, tiny_llama
from tests.recipes import write_recipe, write_rows
from tests.train.test_dpo_against_trl import TEMPLATE
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.train.order import epoch_order

BATCH = 4
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {i * 7}?"},
            {
                "role": "assistant",
                "content": f"It is {i * 7}, " * (1 + i % 3) if i % 3 else f"No idea {i}." * (1 + i % 2),
            },
        ],
        "label": bool(i % 3),
    }
    for i in range(12 * BATCH)
]


def ours(folder, model_folder, rows, method: dict, train: dict):
    """The logged lines, and the adapter's weights at the end."""
    (folder / "template.jinja").write_text(TEMPLATE, "utf-8")
    recipe = write_recipe(
        folder,
        model_folder,
        adapter={"dropout": 0.0},
        data={"eval": None, "template": "template.jinja"},
        method={"name": "kto", **method},
        train={
            "learning_rate": 5e-3, "warmup_steps": 3, "threads": 1, "eval_every": 100, "save_every": 100, **train,
        },
        evaluate={"prompts": []},
    )  # fmt: skip
    write_rows(folder / "rows.jsonl", rows)
    run = pipeline.train(load(str(recipe)))
    (weights,) = (run.folder / "adapter").glob("*.safetensors")
    return run.read_metrics(), load_file(weights)


def theirs(folder, rows, order, settings: dict, *, epochs: int, batch: int, others: list[int] | None):
    """As `ours`, of the rows in this order.

    Args:
        others: for each place in the order, the place of the row whose answer its prompt gets for the estimate of KL;
            None: as TRL pairs them, with the one before in the batch.
    """
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from trl import KTOConfig, KTOTrainer

    config = KTOConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=batch, gradient_accumulation_steps=1,
        num_train_epochs=epochs, learning_rate=5e-3, lr_scheduler_type="cosine", warmup_steps=3, max_grad_norm=1.0,
        logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, bf16=False, seed=0, max_length=None,
        gradient_checkpointing=False, disable_tqdm=True, **settings,
    )  # fmt: skip
    model = tiny_llama()
    torch.manual_seed(0)  # that our adapter is drawn from
    peft_config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )

    class Paired(KTOTrainer):
        def _prepare_dataset(self, *args):
            prepared = super()._prepare_dataset(*args)
            if others is None:
                return prepared
            answers = prepared["completion_ids"]
            return prepared.map(lambda _, at: {"KL_completion_ids": answers[others[at]]}, with_indices=True)

    trainer = Paired(
        model=get_peft_model(model, peft_config),
        args=config,
        train_dataset=Dataset.from_list(
            [
                {
                    "prompt": rows[i]["messages"][:1],
                    "completion": rows[i]["messages"][1:],
                    "label": rows[i]["label"],
                }
                for i in order
            ]
        ),
        processing_class=byte_tokenizer(TEMPLATE),
    )
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    return lines, get_peft_model_state_dict(trainer.model)


NAMES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "kl": "kl",
    "reward_good": "rewards/chosen",
    "reward_bad": "rewards/rejected",
    "logprob_good": "logps/chosen",
    "logprob_bad": "logps/rejected",
}


def assert_same(mine, others):
    assert len(mine[0]) == len(others[0])
    for line, other in zip(mine[0], others[0], strict=True):
        assert {name: line.get(name) for name in NAMES} == {
            name: pytest.approx(other[theirs_is], rel=1e-4, abs=1e-4) if theirs_is in other else None
            for name, theirs_is in NAMES.items()
        }
    assert mine[1].keys() == others[1].keys()
    for name, weight in mine[1].items():
        torch.testing.assert_close(weight, others[1][name], rtol=1e-4, atol=1e-4)
    assert any(line["kl"] > 0.1 for line in mine[0])  # else all would be the same without it


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ({}, {}),
        (
            {"beta": 0.02, "good_weight": 0.5, "bad_weight": 1.5},
            {"beta": 0.02, "desirable_weight": 0.5, "undesirable_weight": 1.5},
        ),
    ],
    ids=["plain", "weighted"],
)
def test_twelve_updates_agree_with_trl(tmp_path, tiny_model_folder, method, settings):
    order = epoch_order(len(ROWS), 0, 0).tolist()
    others = [order.index((at + 1) % len(ROWS)) for at in order]
    mine = ours(
        tmp_path, tiny_model_folder, ROWS, method, {"epochs": 1, "batch_size": BATCH // 2, "accumulate": 2}
    )
    assert_same(mine, theirs(tmp_path, ROWS, order, settings, epochs=1, batch=BATCH, others=others))


def test_answers_are_paired_as_trl_pairs_them_where_an_update_is_all_rows(tmp_path, tiny_model_folder):
    rows = ROWS[:6]
    mine = ours(tmp_path, tiny_model_folder, rows, {}, {"epochs": 8, "batch_size": 6, "accumulate": 1})
    backwards = list(reversed(range(6)))  # TRL takes the answer of the row before, we that of the next
    assert_same(mine, theirs(tmp_path, rows, backwards, {}, epochs=8, batch=6, others=None))

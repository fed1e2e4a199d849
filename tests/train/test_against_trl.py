"""Twenty steps beside TRL's SFTTrainer: the same rows in the same order give the same losses."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import byte_tokenizer, tiny_llama
from tests.train.jobs import Samples
from tunesmith.config.method import Sft
from tunesmith.config.schema import Adapter, Train
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Message, Place, Sample
from tunesmith.methods import METHODS
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.rundir import RunDir
from tunesmith.train.events import Events
from tunesmith.train.examples import Examples
from tunesmith.train.loop import Job, run_loop
from tunesmith.train.order import epoch_order

STEPS, BATCH, ACCUMULATE = 20, 2, 2
# TRL's completion runs to the end of the rendered text, ours to the stop token: with nothing behind the stop token
# both rules name the same tokens, and TRL's own rendering checks ours.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROWS = [
    (f"question {i} " + "why " * (i % 5), f"answer {i}: " + "because " * (1 + i % 4))
    for i in range(STEPS * 4)
]


def our_losses(tmp_path, lora: bool) -> list[float]:
    renderer = Renderer(byte_tokenizer(TEMPLATE))
    samples = []
    for number, (question, answer) in enumerate(ROWS):
        turns = (Message("user", question, 0.0), Message("assistant", answer, 1.0))
        samples.append(Sample(renderer.sample(Conversation(turns)), Place("rows", number + 1, number + 1)))
    model = tiny_llama()
    tuned = (
        add_adapter(model, Adapter(rank=4, alpha=8), base_name="tiny", seed=0)
        if lora
        else model.requires_grad_(True)
    )
    train = Train(
        epochs=1, batch_size=BATCH, accumulate=ACCUMULATE, learning_rate=5e-3, schedule="cosine", warmup_steps=4,
        weight_decay=0.1, max_grad_norm=1.0, save_every=1000,
    )  # fmt: skip
    run = RunDir(tmp_path / "run")
    run.folder.mkdir()
    policy = Policy(tuned, segments=True, compute=torch.float32, seed=0)
    run_loop(
        Job(
            train,
            run,
            policy,
            METHODS["sft"](Sft()),
            Examples(Samples(samples)),
            Examples(Samples()),
            4096,
            {},
            Events([]),
            lambda: False,
        ),
        None,
    )
    return [line["loss"] for line in run.read_metrics()]


def their_losses(tmp_path, lora: bool) -> list[float]:
    from datasets import Dataset
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from trl import SFTConfig, SFTTrainer

    order = epoch_order(len(ROWS), 0, 0)
    rows = [
        {
            "prompt": [{"role": "user", "content": ROWS[i][0]}],
            "completion": [{"role": "assistant", "content": ROWS[i][1]}],
        }
        for i in order
    ]
    config = SFTConfig(
        output_dir=str(tmp_path / "trl"), per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATE,
        num_train_epochs=1, learning_rate=5e-3, lr_scheduler_type="cosine", warmup_steps=4, weight_decay=0.1,
        max_grad_norm=1.0, logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, bf16=False, seed=0,
        completion_only_loss=True, max_length=None, gradient_checkpointing=False, disable_tqdm=True,    )  # fmt: skip

    model = tiny_llama()
    if lora:
        # The same first adapter as ours: A is drawn from the seed that our adapter is drawn from.
        torch.manual_seed(0)
        from peft import get_peft_model

        peft_config = LoraConfig(
            r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, peft_config)

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, dataset=None):
            return SequentialSampler(self.train_dataset)

    trainer = InOrder(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=byte_tokenizer(TEMPLATE),
    )
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_twenty_losses_agree_with_trl(tmp_path, lora):
    ours, theirs = our_losses(tmp_path, lora), their_losses(tmp_path, lora)
    assert len(ours) == len(theirs) == STEPS
    assert ours[-1] < ours[0]
    assert ours == pytest.approx(theirs, rel=1e-4)

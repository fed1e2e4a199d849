"""Twenty steps of each method through the command line: the numbers are pinned.

A change that moves them changes what every user's recipe learns: CHANGELOG.md says so, and they are written anew here.
The tests make the model, so its weights never change. There is no dropout, whose random numbers differ between kinds of
processors; the other rounding that differs there stays far below the tolerance.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import write_recipe
from tunesmith.rundir import RunDir

SAMPLES = Path(__file__).parents[2] / "src" / "tunesmith" / "samples" / "preference"
ROWS = {
    "sft": {"path": str(SAMPLES / "kto.jsonl"), "format": "messages"},
    "dpo": {"path": str(SAMPLES / "prompt.jsonl")},
    "kto": {"path": str(SAMPLES / "kto.jsonl")},
    "reward": {"path": str(SAMPLES / "prompt.jsonl")},
    "distill": {"path": str(SAMPLES / "kto.jsonl"), "format": "messages"},
}
OPTIONS = {"distill": {"sft": 0.5}}  # of a teacher that is the student as it began
LOSSES = {
    "sft": [
        5.97173, 5.99071, 5.96395, 5.8971, 5.91447, 5.88462, 5.8962, 5.86505, 5.87924, 5.81328, 5.78232,
        5.78562, 5.7477, 5.75819, 5.75726, 5.72079, 5.68972, 5.65908, 5.69673, 5.72749,
    ],
    "dpo": [
        0.693147, 0.693147, 0.583205, 0.403394, 0.192289, 0.267011, 0.0609476, 0.0599938, 0.0646551,
        0.0168795, 0.0369951, 0.00931307, 0.0224466, 0.0105372, 0.0271382, 0.0182156, 0.0131572,
        0.0115182, 0.00954223, 0.0170925,
    ],
    "kto": [
        0.5, 0.5, 0.485679, 0.502503, 0.500363, 0.468283, 0.423612, 0.487871, 0.497461, 0.396569,
        0.346129, 0.388282, 0.306493, 0.413629, 0.292742, 0.271475, 0.412769, 0.424999, 0.240547,
        0.385325,
    ],
    "reward": [
        0.681197, 0.693912, 0.647992, 0.652401, 0.675513, 0.684751, 0.641227, 0.622766, 0.649836, 0.593796,
        0.588617, 0.58946, 0.563763, 0.522542, 0.583507, 0.532419, 0.508342, 0.470485, 0.476647, 0.515268,
    ],
    "distill": [
        2.98586, 2.99535, 2.98205, 2.94911, 2.95932, 2.94614, 2.95463, 2.94126, 2.95246, 2.92376, 2.91645,
        2.9147, 2.90522, 2.91085, 2.90689, 2.896, 2.87813, 2.86352, 2.88626, 2.8967,
    ],
}  # fmt: skip
HELD_OUT = {  # after the last step
    "sft": {"eval_loss": 5.70674},
    "dpo": {
        "eval_loss": 0.029268,
        "eval_reward_accuracy": 1,
        "eval_reward_margin": 3.55348,
        "eval_reward_chosen": 5.10932,
        "eval_reward_rejected": 1.55584,
        "eval_logprob_chosen": -727.302,
        "eval_logprob_rejected": -189.143,
        "eval_shift_chosen": 0.381462,
        "eval_shift_rejected": 0.438699,
        "eval_kl_from_reference": 0.161257,
    },
    "kto": {
        "eval_loss": 0.435819,
        "eval_reward_accuracy": 0.75,
        "eval_kl": 4.8187,
        "eval_reward_good": 0.731017,
        "eval_logprob_good": -792.552,
        "eval_reward_bad": 0.198547,
        "eval_logprob_bad": -696.127,
        "eval_kl_from_reference": 0.0152529,
    },
    "reward": {
        "eval_loss": 0.585761,
        "eval_reward_accuracy": 1,
        "eval_reward_margin": 0.230935,
        "eval_reward_chosen": 0.267962,
        "eval_reward_rejected": 0.0370273,
    },
    "distill": {
        "eval_loss": 2.88741,
        "eval_divergence": 0.054996,
        "eval_nll": 5.71982,
        "eval_teacher_agreement": 0.355246,
    },
}


@pytest.mark.parametrize("method", ROWS)
def test_twenty_steps_are_what_they_were(command, tmp_path, tiny_model_folder, method):
    recipe = write_recipe(
        tmp_path,
        tiny_model_folder,
        adapter={"dropout": 0.0},
        data={"train": [ROWS[method]], "eval": 0.25, "max_length": 512},
        method={
            "name": method,
            **OPTIONS.get(method, {}),
            **({"teacher": str(tiny_model_folder)} if method == "distill" else {}),
        },
        train={
            "max_steps": 20, "batch_size": 2, "accumulate": 2, "learning_rate": 2e-3, "eval_every": 20,
            "save_every": 20, "threads": 1,
        },
        evaluate={"prompts": []},
    )  # fmt: skip
    code, output = command.run("train", str(recipe), cwd=tmp_path)
    assert code == 0, output
    *steps, held_out = RunDir(tmp_path / "run").read_metrics()
    assert [line["loss"] for line in steps] == pytest.approx(LOSSES[method], rel=1e-3)
    evaluated = {name: value for name, value in held_out.items() if name.startswith("eval_")}
    assert evaluated == pytest.approx(HELD_OUT[method], rel=2e-3)

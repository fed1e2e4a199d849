"""The method's block of the recipe: how it learns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tunesmith.config.block import Block, one_is_a_list


def _reward_by_name(value: Any) -> Any:
    return {"function": value} if isinstance(value, str) else value


class Generation(Block):
    """How answers are drawn. Greedy unless a temperature is given."""

    max_new_tokens: int = Field(
        256, ge=1, description="The longest answer in tokens; the prompt never counts."
    )
    temperature: float = Field(0.0, ge=0, description="0 is greedy.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling.")
    top_k: int = Field(0, ge=0, description="Draw from the k likeliest tokens; 0: from all.")
    repetition_penalty: float = Field(1.0, gt=0, description="Above 1 makes tokens already seen less likely.")
    seed: int = Field(
        0,
        ge=0,
        le=2**63 - 1,
        description="Seeds the draws; an answer depends on it and on the prompt's place only.",
    )


class Sft(Block):
    """Supervised fine-tuning: the loss falls on what the assistant must generate."""

    name: Literal["sft"] = Field("sft", description="Supervised fine-tuning on conversations.")
    preferences: Literal["refuse", "chosen"] = Field(
        "refuse",
        description="Rows that say which answer is better: refuse them, or learn the chosen (or good) answers alone.",
    )


class Pretrain(Block):
    """Next-token prediction on plain text."""

    name: Literal["pretrain"] = Field(
        "pretrain",
        description="Plain text, every token predicted; texts are cut into pieces of `max_length`.",
    )


class Dpo(Block):
    """Pairs of a better and a worse answer: the better one is to become the likelier one."""

    name: Literal["dpo"] = Field(
        "dpo", description="Preference pairs: direct preference optimisation and its relatives."
    )
    loss: Literal["sigmoid", "robust", "hinge", "ipo", "simpo", "cpo", "orpo"] = Field(
        "sigmoid",
        description="`sigmoid` is DPO (with `label_smoothing` cDPO). `simpo`, `cpo` and `orpo` need no reference, the "
        "model as it was before step 1.",
    )
    beta: float = Field(
        0.1,
        gt=0,
        description="How much a log-ratio counts, which is how close the model stays to the reference; of `orpo` the "
        "weight of its odds, of `simpo` 2 unless given.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="The share of pairs that are taken to be the wrong way round."
    )
    gamma: float = Field(0.5, ge=0, description="The margin that `simpo` wants.")
    length_normalised: bool = Field(
        False,
        description="Compare means over tokens instead of sums, so that length does not count; `ipo`, `simpo` and `orpo` "
        "always do.",
    )
    sft: float = Field(
        0.0,
        ge=0,
        description="How much of the better answers' own negative log-likelihood is added; of `cpo` and `orpo` 1 unless "
        "given.",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_the_loss_has_it(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        usual = {"simpo": {"beta": 2.0}, "cpo": {"sft": 1.0}, "orpo": {"sft": 1.0}}
        return usual.get(str(given.get("loss")), {}) | given

    @model_validator(mode="after")
    def _fits_together(self) -> Dpo:
        if self.label_smoothing and self.loss not in ("sigmoid", "robust", "simpo", "cpo"):
            raise ValueError(f"label_smoothing does not go with loss: {self.loss}")
        if self.loss == "robust" and not self.label_smoothing:
            raise ValueError("loss: robust needs a label_smoothing, such as 0.1")
        return self

    @property
    def needs_reference(self) -> bool:
        """Whether the loss compares with the model as it was before step 1."""
        return self.loss not in ("simpo", "cpo", "orpo")

    @property
    def by_length(self) -> bool:
        """Whether means over tokens are compared."""
        return self.length_normalised or self.loss in ("ipo", "simpo", "orpo")


class Kto(Block):
    """Answers that were judged good or bad, each by itself."""

    name: Literal["kto"] = Field("kto", description="Judged answers: Kahneman-Tversky optimisation.")
    beta: float = Field(
        0.1,
        gt=0,
        description="How much a log-ratio counts, which is how close the model stays to what it was before step 1.",
    )
    good_weight: float = Field(1.0, ge=0, description="How much a good answer counts.")
    bad_weight: float = Field(
        1.0, ge=0, description="How much a bad answer counts; where one kind is rarer, it may count for more."
    )


class Reward(Block):
    """Pairs of a better and a worse answer: the model becomes one that scores answers, and writes none."""

    name: Literal["reward"] = Field(
        "reward", description="Preference pairs: a reward model (Bradley-Terry), which scores answers."
    )
    center: float = Field(
        0.0,
        ge=0,
        description="How much the squared sum of a pair's scores adds to the loss, which holds scores around 0; TRL's "
        "`center_rewards_coefficient`.",
    )


class Distill(Block):
    """A teacher's chances for each next token are learned, on answers of the data or the model's own."""

    name: Literal["distill"] = Field(
        "distill", description="A teacher's chances for each token: knowledge distillation."
    )
    teacher: str = Field(
        min_length=1,
        description="The model to learn from, of the same vocabulary: whatever `ask` takes, such as a run folder.",
    )
    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = Field(
        "forward_kl",
        description="How chances are compared: `forward_kl` covers what the teacher may say, `reverse_kl` keeps to what "
        "it would say, `jsd` (Jensen-Shannon) stands between.",
    )
    jsd_share: float = Field(0.5, gt=0, lt=1, description="The teacher's share in the mixture of `jsd`.")
    temperature: float = Field(1.0, gt=0, description="Above 1 softens the chances that are compared.")
    sft: float = Field(
        0.0, ge=0, le=1, description="The share of the answers' own negative log-likelihood in the loss."
    )
    top_k: int | None = Field(
        None,
        ge=1,
        description="Ask the teacher once, before step 1, and keep its so many likeliest tokens; unset: the teacher "
        "stays in memory, and is asked at every step for all tokens.",
    )
    answers: Literal["given", "student"] = Field(
        "given",
        description="Whose answers are learned on: the data's, or those that the model itself writes at every step "
        "(on-policy, GKD).",
    )
    student_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The share of samples whose answer the model writes (`answers: student`).",
    )
    max_new_tokens: int = Field(
        128,
        ge=1,
        description="The longest answer that the model writes, in tokens. It is drawn from the model's own chances "
        "(temperature 1).",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Distill:
        if self.answers == "student" and self.top_k is not None:
            raise ValueError(
                "top_k is kept of answers that are there before step 1, which answers: student are not"
            )
        if self.answers == "student" and self.sft:
            raise ValueError(
                "sft would have the model learn its own answers; leave it out, or answers: student"
            )
        return self


class RewardFunction(Block):
    """What an answer is worth: a function, and how much it counts."""

    function: str = Field(
        min_length=1,
        description="`poem_form`, `json`, `label` or `keyword_recall`, or a function of your own as `FILE.py:NAME`, "
        "relative to the recipe.",
    )
    weight: float = Field(1.0, description="How much it counts; below 0 it is a fine.")


class Grpo(Block):
    """Groups of answers that the model writes itself: the better ones of each group are to become likelier."""

    name: Literal["grpo"] = Field(
        "grpo", description="Rewarded answers of its own: group relative policy optimisation."
    )
    rewards: Annotated[
        tuple[Annotated[RewardFunction, BeforeValidator(_reward_by_name)], ...],
        BeforeValidator(one_is_a_list),
    ] = Field(min_length=1, description="Reward functions by name, or `{function, weight}`.")
    answers: int = Field(8, ge=2, description="How many answers are drawn for each prompt, a group.")
    max_new_tokens: int = Field(
        128,
        ge=1,
        description="The longest answer in tokens. Answers are drawn from the model's own chances (temperature 1).",
    )
    loss: Literal["grpo", "dapo", "dr_grpo"] = Field(
        "grpo",
        description="What tokens count: each answer the same (`grpo`), each token the same (`dapo`), each token against "
        "the longest answer allowed (`dr_grpo`).",
    )
    scale: bool = Field(
        True, description="Divide what an answer has over its group's mean by the group's standard deviation."
    )
    kl: float = Field(
        0.04, ge=0, description="The weight of the divergence from the model as it was before step 1."
    )
    clip: float = Field(
        0.2, gt=0, lt=1, description="How far the ratio to the model that drew the answers counts, below 1."
    )
    clip_high: float | None = Field(None, gt=0, description="The same above 1; unset: as `clip`.")
    updates: int = Field(1, ge=1, description="Updates from the same answers, before new ones are drawn.")

    @model_validator(mode="after")
    def _fits_together(self) -> Grpo:
        if not any(reward.weight for reward in self.rewards):
            raise ValueError("all rewards weigh 0; give one of them a weight")
        return self


def learns_chosen(method: Sft | Pretrain | Dpo | Kto | Reward | Distill | Grpo) -> bool:
    """Whether rows that say which answer is better are learned by that answer alone."""
    return isinstance(method, Sft) and method.preferences == "chosen"


def updates_of(method: Method) -> int:
    """How many updates in a row take the same samples."""
    return method.updates if isinstance(method, Grpo) else 1


Method = Annotated[Sft | Pretrain | Dpo | Kto | Reward | Distill | Grpo, Field(discriminator="name")]

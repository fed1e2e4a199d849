"""The recipe: one frozen, typed value that every verb reads. All defaults live here, in method.py and in model.py.

A field's `description` is its documentation: docs/recipe.md is generated from these files, and a test compares the two.
Types are strict — `rank: "16"` is an error, not a guess — and an unknown key is an error with the nearest name.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tunesmith.config.block import BUDGET_PATTERN, Block, none_in_words, one_is_a_list, tuple_of_list
from tunesmith.config.method import Generation, Method, Sft
from tunesmith.config.model import Adapter as Adapter
from tunesmith.config.model import Model as Model
from tunesmith.config.model import Unfreeze as Unfreeze

NAME_PATTERN = r"^[\w][\w.\- ]*$"


class Source(Block):
    """Where rows come from, and what is special about them."""

    path: str = Field(
        min_length=1,
        description="A file, a folder, a pattern such as `news/*.jsonl`, `hf:owner/name[:subset][@split]`, "
        "`hf:owner/name/path/to/file` or `ms:owner/name`; relative to the recipe's folder. `#N` at its end takes N "
        "rows, drawn by the seed.",
    )
    format: str | None = Field(None, description="The format's name; detected if unset.")
    columns: dict[str, str] | None = Field(
        None, description="The format's fields as the file names them, such as `{instruction: question}`."
    )
    weight: float = Field(1.0, gt=0, description="How much the tokens of these rows weigh in the loss.")
    encoding: str = Field("utf-8", description="The encoding of text files, such as `gb18030`.")
    join: str = Field("\n", description="What stands between an instruction and its input (alpaca).")
    separator: str | None = Field(
        None,
        description="What stands between answer keywords; unset: `，` where they hold Han characters, else `, `.",
    )
    instruction: str | None = Field(
        None,
        description="The instruction of a classification, entities or caption task; each has one of its own.",
    )
    labels: Annotated[tuple[str, ...] | None, BeforeValidator(tuple_of_list)] = Field(
        None, description="The names of the labels 0, 1, ... of a file with numbers, or those that may occur."
    )
    images: str | None = Field(
        None,
        description="The folder with the pictures; a path of another machine is looked up in it by its last parts.",
    )
    password: str | None = Field(None, description="The password of encrypted PDF files.")


Sources = Annotated[
    tuple[Annotated[Source, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)], ...],
    BeforeValidator(one_is_a_list),
]


class Data(Block):
    """The rows to learn from, and the rows held out."""

    train: Sources = Field(
        min_length=1, description="Files: a path, or `{path, format, ...}`, or a list of these."
    )
    eval: Annotated[Annotated[float, Field(gt=0, lt=1)] | Sources | None, BeforeValidator(none_in_words)] = (
        Field(None, description="The held-out part: a share of the rows such as 0.1, or files like `train`.")
    )
    system: str | None = Field(
        None, description="A system prompt for rows without one, the same in every verb."
    )
    template: str | None = Field(
        None,
        description="A chat template instead of the model's own: a name such as `chatml` (`tunesmith recipes "
        "templates` lists them), or a Jinja file; relative to the recipe.",
    )
    max_length: int = Field(
        1024, ge=8, description="The longest sample in tokens, prompt and answer together."
    )
    on_long: Literal["error", "drop", "split", "truncate"] = Field(
        "error",
        description="A sample over `max_length`: stop before training; drop it and count it; split a chat between "
        "its turns; or truncate the longest question, never the answer, and the oldest turns first.",
    )
    on_bad_row: Literal["error", "skip"] = Field(
        "error", description="A row that cannot be read: stop before training, or skip it and count it."
    )
    loss_on: Literal["all_turns", "last_turn", "everything"] = Field(
        "all_turns",
        description="Which tokens carry loss: all answers, the last one of each chat, or every token, prompts too, "
        "whatever weights the messages have.",
    )
    thinking: Literal["keep", "drop"] = Field(
        "keep", description="What a row's assistant thought before it answered: trained, or left out."
    )
    control_tokens: Literal["text", "tokens"] = Field(
        "text",
        description="Special tokens that stand in a message, such as `<|im_end|>`: read as plain text, which "
        "cannot forge a turn, or as the tokens they name.",
    )
    image_size: Annotated[tuple[int, int] | None, BeforeValidator(tuple_of_list)] = Field(
        None,
        description="Resize pictures to this width and height in pixels; unset: as the model's processor does.",
    )
    cache: bool = Field(
        True, description="Keep the prepared rows, so that the next start with the same data begins at once."
    )


class EarlyStop(Block):
    """When to stop before the last step."""

    patience: int = Field(
        3, ge=1, description="Stop after this many evaluations without a better `eval_loss`."
    )
    min_delta: float = Field(0.0, ge=0, description="How much lower counts as better.")


class Train(Block):
    """The loop."""

    epochs: int = Field(3, ge=1, description="Passes over the data.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimizer steps, whatever `epochs` says."
    )
    batch_size: int = Field(
        1, ge=1, description="Samples a micro-batch; an update takes `batch_size x accumulate`."
    )
    accumulate: int = Field(4, ge=1, description="Gradient accumulation: micro-batches an update.")
    learning_rate: float = Field(2e-4, gt=0, description="The peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="How the rate falls after warm-up."
    )
    warmup_steps: int | None = Field(None, ge=0, description="Steps of linear warm-up.")
    warmup_ratio: float | None = Field(None, ge=0, le=1, description="Warm-up as a share of all steps.")
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        "adamw", description="AdamW, or bitsandbytes' AdamW with 8-bit state."
    )
    betas: Annotated[tuple[float, float], BeforeValidator(tuple_of_list)] = Field(
        (0.9, 0.999), description="AdamW's decay rates of the two moments."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay; biases and norms are exempt.")
    max_grad_norm: float | None = Field(
        1.0, gt=0, description="Gradients are clipped to this norm; null: never."
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, description="Seeds the order of data, dropout and new adapter weights."
    )
    save_every: Annotated[int, Field(ge=1)] | Literal["epoch"] = Field(
        "epoch", description="Write a checkpoint every N steps, or at the end of each epoch."
    )
    keep: int = Field(2, ge=1, description="How many of the newest checkpoints are kept.")
    log_every: int = Field(1, ge=1, description="Steps between two lines of metrics.jsonl.")
    eval_every: Annotated[int, Field(ge=1)] | Literal["epoch"] = Field(
        "epoch", description="Steps between two evaluations on the held-out part, or the end of each epoch."
    )
    keep_best: bool = Field(
        False, description="Keep the checkpoint with the lowest `eval_loss`, and make it the result."
    )
    early_stop: EarlyStop | None = Field(None, description="Stop when `eval_loss` no longer falls.")
    gradient_checkpointing: bool | Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Recompute activations in the backward pass, which takes less memory and up to a third more time: in "
        "all layers (true), in none, in so many, or (`auto`) in as many as `memory_budget` demands.",
    )
    memory_budget: str = Field(
        "auto",
        pattern=BUDGET_PATTERN,
        description="What training may take of the device's memory, such as `8GB`; `auto`: what is free when it begins, "
        "less a reserve. `tunesmith plan` shows what it is needed for.",
    )
    row_tokens: int | None = Field(
        None,
        ge=8,
        description="Token budget of one flat row, into which an update's samples are laid; "
        "unset: 2048, or the longest sample if that is longer.",
    )
    share_prefixes: Literal["auto", "off"] = Field(
        "auto",
        description="Compute what the prompts of one update begin with (a system prompt, a long instruction) once for "
        "all of them: the same mathematics in less time. Needs packed rows.",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads; unset: one a core.")

    @model_validator(mode="after")
    def _fits_together(self) -> Train:
        if self.warmup_steps is not None and self.warmup_ratio is not None:
            raise ValueError("warmup_steps and warmup_ratio are both given; keep one of them")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("both betas must be at least 0 and below 1")
        return self


class PicturePrompt(Block):
    """A question about pictures."""

    text: str = Field(
        description="The question; `<image>` in it says where a picture stands, else it stands in front."
    )
    image: Annotated[tuple[str, ...], BeforeValidator(one_is_a_list)] = Field(
        min_length=1, description="The picture's file, or a list of files."
    )


class Evaluate(Block):
    """The evidence: what is asked before and after training, and how answers are scored."""

    metrics: Annotated[tuple[str, ...], BeforeValidator(one_is_a_list)] = Field(
        (),
        description="Scores, before and after: `poem_form` of the answers to `prompts`; `accuracy`, `exact_match`, "
        "`ner_f1` and `keyword_recall` of answers to held-out rows, compared with theirs.",
    )
    prompts: Annotated[tuple[str | PicturePrompt, ...], BeforeValidator(one_is_a_list)] = Field(
        (), description="Questions asked of the base model and of the tuned one: texts, or `{text, image}`."
    )
    rows: int = Field(
        200,
        ge=0,
        description="How many held-out rows the base and the tuned model answer for the metrics that compare with a "
        "reference; the first so many, 0: none.",
    )
    generation: Generation = Field(Generation(), description="How the answers are drawn.")


class WandbTracker(Block):
    """Weights & Biases."""

    project: str = Field("tunesmith", description="The project's name.")
    name: str | None = Field(
        None, description="The run's name; `{name}` and `{time}` are filled in. Default: the recipe's name."
    )
    mode: Literal["online", "offline"] = Field(
        "online", description="`offline` needs no account and no network."
    )


class SwanlabTracker(Block):
    """SwanLab."""

    project: str = Field("tunesmith", description="The project's name.")
    name: str | None = Field(
        None, description="The run's name; `{name}` and `{time}` are filled in. Default: the recipe's name."
    )
    mode: Literal["online", "offline"] = Field(
        "online", description="`offline` needs no account and no network."
    )


class TensorboardTracker(Block):
    """TensorBoard."""

    folder: str | None = Field(
        None, description="Where the event files go; default: `tensorboard` in the run folder."
    )


class Tracker(Block):
    """One tracker: `wandb`, or `{wandb: {project: poetry, mode: offline}}`."""

    wandb: WandbTracker | None = Field(None, description="Weights & Biases.")
    swanlab: SwanlabTracker | None = Field(None, description="SwanLab.")
    tensorboard: TensorboardTracker | None = Field(None, description="TensorBoard.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Tracker:
        if sum(value is not None for value in (self.wandb, self.swanlab, self.tensorboard)) != 1:
            raise ValueError("one tracker an entry, such as `- wandb: {project: poetry}`")
        return self


def _tracker_by_name(value: Any) -> Any:
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, dict):
        return {name: {} if options is None else options for name, options in value.items()}
    return value


class Run(Block):
    """Where things are written."""

    output: str | None = Field(
        None, description="The run folder; default: `runs/NAME` in the current folder."
    )
    result: str | None = Field(
        None, description="A folder for the tuned adapter or model, instead of the run folder."
    )


class Recipe(Block):
    """A whole recipe."""

    name: str = Field(pattern=NAME_PATTERN, description="The run's name.")
    model: Model = Field(description="Which model, and how it is held in memory.")
    adapter: Adapter = Field(Adapter(), description="What is trained: a LoRA adapter, or all weights.")
    data: Data = Field(description="The rows to learn from, and the rows held out.")
    method: Method = Field(Sft(), description="How it learns, and that method's options.")
    train: Train = Field(Train(), description="The loop.")
    evaluate: Evaluate = Field(
        Evaluate(), description="The evidence: what is asked before and after, and the scores."
    )
    track: Annotated[
        tuple[Annotated[Tracker, BeforeValidator(_tracker_by_name)], ...], BeforeValidator(one_is_a_list)
    ] = Field((), description="Trackers besides the run folder; none by default.")
    run: Run = Field(Run(), description="Where things are written.")

    @model_validator(mode="after")
    def _blocks_fit_together(self) -> Recipe:
        if self.data.eval is None:
            for name in ("keep_best", "early_stop"):
                if getattr(self.train, name):
                    raise ValueError(f"train.{name} needs a held-out part; add `eval: 0.1` under data")
        if self.method.name in ("dpo", "kto", "reward") and self.data.loss_on == "everything":
            raise ValueError(
                f"data.loss_on: everything does not go with the method {self.method.name}, which judges answers alone"
            )
        for name in ("prompts", "metrics"):
            if self.method.name == "reward" and getattr(self.evaluate, name):
                raise ValueError(
                    f"evaluate.{name} needs a model that writes, and a reward model scores and does not write; leave it "
                    "out: held-out pairs are scored without it"
                )
        if self.method.name == "grpo" and any(source.weight != 1 for source in self.data.train):
            raise ValueError(
                "the weight of a file does not go with the method grpo, whose rewards say what counts; leave it out"
            )
        if self.adapter.type == "none" and self.adapter.start:
            raise ValueError(
                "adapter.start goes with adapter.type: lora; for full tuning name the model as model.source"
            )
        return self

    @model_validator(mode="after")
    def _model_and_adapter_fit_together(self) -> Recipe:
        model, adapter = self.model, self.adapter
        if adapter.init != "lora" and model.quantize != "none":
            raise ValueError(
                f"adapter.init: {adapter.init} takes the weights apart, which needs model.quantize: none"
            )
        if adapter.init != "lora" and model.device_map != "none":
            raise ValueError(
                f"adapter.init: {adapter.init} needs the weights in one place: model.device_map: none"
            )
        if adapter.dora and model.quantize == "keep":
            raise ValueError("adapter.dora needs weights that can be unpacked, not model.quantize: keep")
        if model.layers is not None and adapter.type != "none":
            raise ValueError(
                "model.layers makes another model, which an adapter would not fit; use adapter.type: none"
            )
        if model.max_memory is not None and model.device_map == "none":
            raise ValueError("model.max_memory goes with model.device_map: auto")
        if adapter.type == "none" and model.quantize != "none":
            raise ValueError(
                f"full tuning changes the weights, which cannot be done in model.quantize: {model.quantize}; set "
                "quantize: none, or adapter.type: lora"
            )
        if model.new_tokens and adapter.type == "none" and adapter.top_layers and not adapter.unfreeze:
            raise ValueError(
                "model.new_tokens need embeddings that learn, and adapter.top_layers freezes them; leave one of them "
                "out, or use adapter.type: lora"
            )
        return self

    @property
    def samples_an_update(self) -> int:
        return self.train.batch_size * self.train.accumulate

    @property
    def output_folder(self) -> str:
        return self.run.output or str(PurePath("runs") / self.name)

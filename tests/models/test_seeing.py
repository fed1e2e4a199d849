"""Rows with pictures: loss and gradients are those of transformers, run plainly on each sequence."""

from __future__ import annotations

import pytest
import torch
import transformers
from PIL import Image as Pillow
from PIL import ImageDraw
from transformers import AutoImageProcessor

from tests import standins
from tests.train.test_gradients import assert_same, gradients
from tunesmith.config.method import Generation
from tunesmith.config.schema import Adapter
from tunesmith.data.converters.images import look_at, read_picture
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Message
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter
from tunesmith.models.generate import generate
from tunesmith.models.policy import Policy
from tunesmith.models.probe import probe
from tunesmith.models.recompute import recompute_activations
from tunesmith.models.vision import picture_tokens, why_blind
from tunesmith.segments import Block, Piece, lay_row, plan_rows, single_paths

FAMILIES = ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"]


class Family:
    """A stand-in, its folder, and how it takes pictures."""

    def __init__(self, name, folder, size=None):
        self.name, self.folder = name, standins.build(name, folder)
        self.tokenizer = standins.tokenizer_of(name)
        self.eyes = picture_tokens(self.folder, self.tokenizer, size)
        self.renderer = Renderer(self.tokenizer, images=self.eyes)

    def model(self):
        return standins.model_of(self.name)

    def sample(self, *said):
        roles = ("user", "assistant") * (len(said) // 2)
        messages = (Message(r, c, float(r == "assistant")) for r, c in zip(roles, said, strict=True))
        return self.renderer.sample(Conversation(tuple(messages)))

    def policy(self, *, segments=True, vision=False):
        adapter = Adapter(rank=4, alpha=8, vision=vision)
        tuned = add_adapter(self.model(), adapter, base_name="tiny", seed=0)
        with torch.no_grad():
            for name, weight in tuned.named_parameters():
                if "lora_B" in name:  # no adapter does nothing
                    weight.copy_(
                        torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name)))
                    )
                    weight.mul_(0.1)
        return Policy(tuned, segments=segments, compute=torch.float32, seed=0, eyes=self.eyes)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return Family(request.param, tmp_path_factory.mktemp("seeing") / request.param)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Drawn pictures of unlike sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = []
    for number, size in enumerate([(60, 60), (130, 70), (70, 190)]):
        picture = Pillow.new("RGB", size, (40 * number, 200, 90))
        ImageDraw.Draw(picture).ellipse((5, 9, size[0] - 20, size[1] - 9), fill=(250, 30 * number, 10))
        picture.save(folder / f"{number}.png")
        drawn.append(look_at(str(folder / f"{number}.png"), "it", None))
    return drawn


def plainly(family, policy, trees):
    """The same update by transformers alone: each path through the model as its documentation shows it."""
    processor = AutoImageProcessor.from_pretrained(family.folder)
    model, total, loss = policy.model, 0.0, 0.0
    model.zero_grad()
    paths = [piece for tree in trees for (piece,) in single_paths(tree)]
    total = sum(sum(piece.weights[1:]) for piece in paths)
    for piece in paths:
        inputs = {"input_ids": torch.tensor([piece.tokens])}
        if piece.pictures:
            files = [Pillow.open(picture.path).convert("RGB") for picture in piece.pictures]
            inputs |= processor(images=files, return_tensors="pt")
            inputs["mm_token_type_ids"] = (
                inputs["input_ids"] == policy.causal_lm.config.image_token_id
            ).int()
        logprobs = model(**inputs).logits[0, :-1].log_softmax(-1)
        wanted = torch.tensor(piece.tokens[1:])[:, None]
        part = -(logprobs.gather(1, wanted)[:, 0] * torch.tensor(piece.weights[1:])).sum() / total
        part.backward()
        loss += float(part.detach())
    return loss, {name: w.grad.clone() for name, w in policy.trainable().items() if w.grad is not None}


def forest(family, first, second):
    """A question about a picture with two answers, the second of which is shown a picture as well."""
    question = family.renderer.prompt([Message("user", (first, "Is this green?"))])
    answers = [family.sample((first, "Is this green?"), answer, (second, "And?"), "No.") for answer in "ab"]
    shown = family.renderer.pictures_in(question, [first])
    children = []
    for (piece,) in answers:
        later = tuple(p.moved(-len(question)) for p in piece.pictures if p.start >= len(question))
        children.append(Piece(piece.tokens[len(question) :], piece.weights[len(question) :], 0, later))
    return (Piece(tuple(question), (0.0,) * len(question), None, shown), *children)


def test_packed_pictures_give_the_gradients_of_each_sequence_alone(family, pictures):
    first, second, third = pictures
    trees = [
        family.sample((first, "What is it?"), "A circle."),
        family.sample(("Look: ", third, " and ", second, "?"), "Tall and wide.", "And?", "Nothing."),
        family.sample("Hello", "No picture."),
        family.sample((second, "What is it?"), "An ellipse."),
        forest(family, second, third),
    ]
    policy = family.policy()
    rows = plan_rows(trees, 10_000)
    assert len(rows) == 1 and len(rows[0].pictures) == 7
    packed = gradients(policy, rows, trees)
    assert_same(packed, plainly(family, policy, trees), 1e-5)
    alone = [lay_row([Block.of(path, n)]) for n, tree in enumerate(trees) for path in single_paths(tree)]
    assert_same(gradients(family.policy(segments=False), alone, trees), packed, 1e-5)


def test_an_adapter_on_the_tower_has_its_gradients(family, pictures):
    first, second, third = pictures
    trees = [family.sample((first, "What?"), "A circle."), forest(family, second, third)]
    policy = family.policy(vision=True)
    packed = gradients(policy, plan_rows(trees, 10_000), trees)
    towers = [name for name in packed[1] if "visual" in name]
    assert towers and all(packed[1][name].abs().sum() > 0 for name in towers if "blocks" in name)
    assert_same(packed, plainly(family, policy, trees), 1e-5)


def test_recomputed_activations_change_nothing(family, pictures):
    trees = [family.sample((picture, "What?"), "A circle.") for picture in pictures]
    rows = plan_rows(trees, 10_000)
    policy = family.policy()
    kept = gradients(policy, rows, trees)
    recompute_activations(policy.causal_lm)
    assert_same(gradients(policy, rows, trees), kept, 1e-6)


def test_the_probe_looks_at_pictures(family):
    found = probe(family.model(), compute=torch.float32, eyes=family.eyes)
    assert found.segments and found.blind is None
    assert found.reason.endswith("; with pictures too")


def test_the_probe_sees_what_is_placed_wrongly(family, monkeypatch):
    def flat(_, tokens, pictures, grids):
        return torch.arange(len(tokens)).repeat(3, 1)

    monkeypatch.setattr("tunesmith.models.seeing.path_positions", flat)
    found = probe(family.model(), compute=torch.float32, eyes=family.eyes)
    assert found.segments and "is not known here" in found.blind


# --- answers ----------------------------------------------------------------------------------------------------


def prompts_of(family, pictures):
    """Prompts with different numbers of pictures, of unlike lengths."""
    first, second, third = pictures
    said = [
        ((first, "What is it?"),),
        ("Hello",),
        (("Compare ", second, " and ", third, " and ", first, "."),),
        ((third, "Tall?"), "Yes.", "And wide?"),
    ]
    chats = [
        [Message(("user", "assistant")[at % 2], content) for at, content in enumerate(turns)]
        for turns in said
    ]
    prompts = [family.renderer.prompt(chat) for chat in chats]
    shown = [
        family.renderer.pictures_in(prompt, [image for m in chat for image in m.images])
        for prompt, chat in zip(prompts, chats, strict=True)
    ]
    return prompts, shown


def test_answers_about_pictures_are_those_of_transformers(family, pictures):
    model = family.model()
    prompts, shown = prompts_of(family, pictures)
    options = Generation(max_new_tokens=24, temperature=0.0)
    ours = generate(model, prompts, options, family.renderer.end_ids, pictures=shown, eyes=family.eyes)
    processor = AutoImageProcessor.from_pretrained(family.folder)
    for prompt, seen, answer in zip(prompts, shown, ours, strict=True):
        tokens = torch.tensor([prompt])
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        if seen:
            files = [Pillow.open(picture.path).convert("RGB") for picture in seen]
            inputs |= processor(images=files, return_tensors="pt")
            inputs["mm_token_type_ids"] = (tokens == model.config.image_token_id).int()
        theirs = model.generate(
            **inputs, max_new_tokens=24, do_sample=False, eos_token_id=sorted(family.renderer.end_ids)
        )[0, tokens.shape[1] :].tolist()
        ended = theirs[-1] in family.renderer.end_ids
        assert list(answer.tokens) == theirs[: len(theirs) - ended]


def test_an_answer_depends_on_the_picture(family, pictures):
    model = family.model()
    options = Generation(max_new_tokens=8, temperature=0.0)
    answers = []
    for picture in (pictures[1], pictures[2]):
        prompt = family.renderer.prompt([Message("user", (picture, "What?"))])
        shown = [family.renderer.pictures_in(prompt, [picture])]
        (answer,) = generate(model, [prompt], options, (), pictures=shown, eyes=family.eyes)
        answers.append(answer.tokens)
    assert answers[0] != answers[1]


# --- files ------------------------------------------------------------------------------------------------------


def test_a_picture_that_changed_meanwhile_is_told(tmp_path):
    family = Family("qwen2-vl", tmp_path / "model")
    path = tmp_path / "a.png"
    Pillow.new("RGB", (60, 60)).save(path)
    tree = family.sample((look_at(str(path), "it", None), "What?"), "Black.")
    policy, row = family.policy(), lay_row([Block.of(tree)])
    Pillow.new("RGB", (200, 60)).save(path)
    with pytest.raises(InputError, match=r"a\.png' takes \d+ tokens, and \d+ stand for it.*begin again"):
        policy(row)
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png' cannot be read"):
        policy(row)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.png' cannot be read: No such file"):
        policy(row)


def test_pictures_are_resized_as_the_recipe_says(tmp_path):
    family = Family("qwen2-vl", tmp_path / "model", size=(84, 56))
    Pillow.new("RGB", (300, 90), "red").save(tmp_path / "a.png")
    image = look_at(str(tmp_path / "a.png"), "it", None)
    ((picture,),) = (piece.pictures for piece in family.sample((image, "What?"), "Red."))
    pixels = family.eyes.pixels(picture)
    assert picture.length == family.eyes.count(image) == 6
    assert pixels.grid.tolist() == [[1, 4, 6]]


def test_what_is_transparent_is_white_and_what_lies_is_turned(tmp_path):
    Pillow.new("RGBA", (40, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(str(tmp_path / "clear.png")).getpixel((3, 3)) == (255, 255, 255)
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.new("RGB", (40, 20)).save(tmp_path / "lying.jpg", exif=exif)
    image = look_at(str(tmp_path / "lying.jpg"), "it", None)
    assert read_picture(image.path).size == (image.width, image.height) == (20, 40)


# --- other families ---------------------------------------------------------------------------------------------

QWEN3_TOWER = {
    "depth": 2, "num_heads": 2, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64, "patch_size": 16,
    "num_position_embeddings": 64, "initializer_range": 0.1,
}  # fmt: skip
OTHERS = {
    "qwen3-vl with experts": (
        "Qwen3VLMoe",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
        {**QWEN3_TOWER, "deepstack_visual_indexes": [0]},
        True,
    ),
    "qwen3.5, a state through the text": (
        "Qwen3_5",
        {
            "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2, "linear_num_value_heads": 2,
            "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        },
        QWEN3_TOWER,
        False,
    ),
    "glm4v": ("Glm4v", {}, {**QWEN3_TOWER, "patch_size": 14, "image_size": 112}, True),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_strangers_of_the_kind_see_what_their_own_forward_sees(name, tmp_path):
    kind, text, tower, fast = OTHERS[name]
    like = standins.config_of("qwen3-vl").to_dict()
    settings = {**like["text_config"], **text}
    settings = {k: v for k, v in settings.items() if k not in ("model_type", "dtype") and v is not None}
    if kind == "Glm4v":
        settings["rope_parameters"] = {**settings["rope_parameters"], "partial_rotary_factor": 1.0}
    tokens = {name: value for name, value in like.items() if name.endswith("_token_id")}
    config = getattr(transformers, f"{kind}Config")(text_config=settings, vision_config=tower, **tokens)
    torch.manual_seed(0)
    model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.float32).eval()
    config.save_pretrained(tmp_path)
    standins._write_image_processor(tmp_path, tower["patch_size"])
    eyes = picture_tokens(tmp_path, standins.tokenizer_of("qwen3-vl"), None)
    found = probe(model, compute=torch.float32, eyes=eyes)
    assert (found.segments, found.blind) == (fast, None), found.reason


def test_a_family_that_takes_pictures_otherwise_is_named(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "gemma3", "image_token_id": 7, "vision_config": {}}'
    )
    assert why_blind(tmp_path) == "how the family 'gemma3' takes them is not known here"
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert why_blind(tmp_path) == "the model reads none"

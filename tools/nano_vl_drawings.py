"""The drawings that `builtin:nano-vl` is taught to see with, and what it learns to answer of them.

The scenes are those of `build_captions.py`, drawn on papers of other tints. What they show is told in five forms, none
of them that of the sample's captions: a list ("left: green heart; right: yellow square"), a report ("I see, from left
to right, a green heart and a yellow square."), an index ("a yellow square: right; a green heart: left"), the shapes, and
the colours. All combinations of colour, shape and relation are drawn here, those too that no training picture of the
sample shows; no drawing is one of the sample's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from build_captions import (
    COLOURS,
    CORNERS,
    COUNTS,
    DARK,
    KINDS,
    LIGHT,
    OBJECTS,
    SHAPES,
    SKIES,
    Scene,
    a_or_an,
    paint,
    plural,
    random_scene,
    told_from_one_end,
)

# What is asked, in two languages, by the form of the answer.
QUESTIONS = {
    "list": ("List the things.", "列出画中的东西。"),
    "index": ("Say where each thing is.", "说出每样东西在哪里。"),
    "report": ("What do you see?", "你看到了什么？"),
    "shapes": ("Name the shapes.", "说出形状。"),
    "colours": ("Name the colours.", "说出颜色。"),
}
PLACES = {"to the left of": ("left", "right"), "above": ("top", "bottom"), "inside": ("inside", "outside")}
PLACES_IN_CHINESE = {"to the left of": ("左", "右"), "above": ("上", "下"), "inside": ("内", "外")}
# Half of the questions begin with one of these, and so do their answers. Without them the model looks for things at
# fixed distances from the start of an answer, and an answer that is shaped otherwise cannot be taught to it.
OPENINGS = (
    ("Well", "Here", "Look", "In short", "There it is", "I think", "As I see it", "Here you are",
     "In this picture", "It has to do with", "Let me see what there is", "On a board of nine squares"),
    ("好", "看", "有的", "画里", "我想", "看这里", "这一张", "简单说", "在我看来", "这里面有", "让我看看上面",
     "九个格子的板上"),
)  # fmt: skip
OPENED = 0.5
TINT = 25  # how far paper differs from that of the sample, in levels of a channel

# The squares of the board, numbered row by row, in which things of these scenes stand.
CORNER_SQUARES = {"top left": 0, "top right": 2, "bottom left": 6, "bottom right": 8}
COUNT_SQUARES = {"two": (0, 8), "three": (0, 4, 8), "four": (0, 2, 6, 8), "five": (0, 2, 4, 6, 8)}
PAIR_SQUARES = {"to the left of": ((3,), (5,)), "above": ((1,), (7,)), "inside": ((4,), (1, 3, 5, 7))}


class Drawing(NamedTuple):
    """A picture, what is asked of it and what is to be answered; `squares` holds (shape, colour) by square."""

    picture: Image.Image
    question: str
    answer: str
    squares: dict[int, tuple[str, str]]


def drawings(number: int, seed: int) -> Iterator[Drawing]:
    """As many drawings with question and answer; a pure function of the seed."""
    rng = random.Random(seed)
    for _ in range(number):
        scene = practice_scene(rng)
        picture = paint(scene, rng, board=True, paper=_paper(scene, rng))
        form = rng.choice(list(QUESTIONS))
        question, answer = rng.choice(QUESTIONS[form]), answers(scene)[form]
        if rng.random() < OPENED:
            opening = rng.choice(OPENINGS[scene.dark])
            question, answer = f"{opening}: {question}", f"{opening}: {answer}"
        yield Drawing(picture, question, answer, squares(scene))


def practice_scene(rng: random.Random) -> Scene:
    """A scene of any combination; every third pair is a thing inside another, the hardest to see.

    What the sample's test pictures show is told here too, in other words: a model can be taught to caption only what it
    can see.
    """
    kind = rng.choice(KINDS)
    inside = kind == "pair" and rng.random() < 1 / 3
    while True:
        scene = random_scene(kind, rng)
        if inside and scene.relation != "inside":
            continue
        return told_from_one_end(scene)


def _paper(scene: Scene, rng: random.Random) -> tuple[int, int, int]:
    red, green, blue = (
        max(0, min(255, level + rng.randint(-TINT, TINT))) for level in (DARK if scene.dark else LIGHT)
    )
    return red, green, blue


def squares(scene: Scene) -> dict[int, tuple[str, str]]:
    """What stands in which square of the board; nothing of a landscape, which is on no board."""
    thing = (scene.shape, scene.colour)
    if scene.kind == "corner":
        return {CORNER_SQUARES[scene.relation]: thing}
    if scene.kind == "count":
        return dict.fromkeys(COUNT_SQUARES[scene.relation], thing)
    if scene.other is None:
        return {}
    first, second = PAIR_SQUARES[scene.relation]
    colour, shape = scene.other
    return dict.fromkeys(first, thing) | dict.fromkeys(second, (shape, colour))


def answers(scene: Scene) -> dict[str, str]:
    """What stands on the picture, by the form of the answer; in Chinese where the paper is dark."""
    return _in_chinese(scene) if scene.dark else _in_english(scene)


def _in_english(scene: Scene) -> dict[str, str]:
    thing, shape, colours = f"{scene.colour} {scene.shape}", scene.shape, scene.colour
    one = a_or_an(thing)
    if scene.other is not None:
        first, second = PLACES[scene.relation]
        far = " ".join(scene.other)
        listed, index = f"{first}: {thing}; {second}: {far}", f"{a_or_an(far)}: {second}; {one}: {first}"
        other = a_or_an(far)
        seen = {
            "to the left of": f"from left to right, {one} and {other}",
            "above": f"from top to bottom, {one} and {other}",
            "inside": f"{other} with {one} in it",
        }[scene.relation]
        colours, shape = f"{colours}, {scene.other[0]}", f"{shape}, {scene.other[1]}"
    elif scene.kind == "landscape":
        sky = scene.relation.split()[1]
        listed, index = f"sky: {sky}; ground: {thing}", f"{one}: ground; {sky}: sky"
        seen, shape = f"{scene.relation} over {one}", f"{sky}, {shape}"
    elif scene.kind == "count":
        listed, index = (
            f"{scene.relation}: {thing}",
            f"{scene.colour} {plural(scene.shape)}: {scene.relation}",
        )
        seen = f"{scene.colour} {plural(scene.shape)}, {scene.relation} of them"
    else:
        listed, index = f"{scene.relation}: {thing}", f"{one}: {scene.relation}"
        seen = f"{one} at the {scene.relation}"
    return {"list": listed, "index": index, "report": f"I see {seen}.", "shapes": shape, "colours": colours}


def _in_chinese(scene: Scene) -> dict[str, str]:
    colour, (shape, measure) = COLOURS[scene.colour][0], (SHAPES | OBJECTS)[scene.shape]
    thing, one, colours = f"{colour}{shape}", f"{colour}的{shape}", colour
    if scene.other is not None:
        first, second = PLACES_IN_CHINESE[scene.relation]
        other_colour, (other_shape, other_measure) = COLOURS[scene.other[0]][0], SHAPES[scene.other[1]]
        far, other = f"{other_colour}{other_shape}", f"{other_colour}的{other_shape}"
        listed, index = (
            f"{first}：{thing}；{second}：{far}",
            f"一{other_measure}{far}：{second}；一{measure}{thing}：{first}",
        )
        seen = {
            "to the left of": f"从左到右是{one}和{other}",
            "above": f"从上到下是{one}和{other}",
            "inside": f"{other}包着{one}",
        }[scene.relation]
        colours, shape = f"{colours}、{other_colour}", f"{shape}、{other_shape}"
    elif scene.kind == "landscape":
        sky = SKIES[scene.relation]
        listed, index = f"天：{sky}；地：{thing}", f"一{measure}{thing}：地；{sky}：天"
        seen, shape = f"天上是{sky}，地上是{one}", f"{sky}、{shape}"
    elif scene.kind == "count":
        number = COUNTS[scene.relation]
        listed, index = f"{number}：{thing}", f"{thing}：{number}{measure}"
        seen = f"{one}，一共{number}{measure}"
    else:
        place = CORNERS[scene.relation]
        listed, index, seen = f"{place}：{thing}", f"一{measure}{thing}：{place}", f"{one}在{place}"
    return {"list": listed, "index": index, "report": f"我看到{seen}。", "shapes": shape, "colours": colours}

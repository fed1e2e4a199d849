"""Draw the sample pictures of `samples/captions` and write their captions, in every format that carries pictures.

    python tools/build_captions.py [--output src/tunesmith/samples/captions]

What is drawn is a pure function of the seed. Pillow may encode a PNG differently from one version to the next; the
pixels stay what they are but for rounding at the edges. A picture on light paper has an English caption, one on dark
paper a Chinese one, so that the language too can be learnt from the picture.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

SAMPLES = Path(__file__).parent.parent / "src/tunesmith/samples/captions"
SIZE, FINE = 84, 4  # pixels a side; everything is drawn FINE times larger and reduced, for smooth edges
PALETTE = 32
TRAIN, TEST, SEED = 144, 48, 3
BOARD_TRAIN, BOARD_TEST = 300, 90  # of the drawings on a board
MARKED = "COCO Yes: <|vision_start|>{path}<|vision_end|>"
DRAWINGS = "drawings"  # the folder of the drawings on a board
ELSEWHERE = "/mnt/workspace/coco_2014_caption"  # where the paths of foreign_paths.json pretend to come from

Colour = tuple[int, int, int]
LIGHT, DARK = (250, 246, 236), (26, 30, 54)
COLOURS: dict[str, tuple[str, Colour]] = {
    "red": ("红色", (214, 40, 40)),
    "blue": ("蓝色", (52, 112, 232)),
    "green": ("绿色", (38, 150, 70)),
    "yellow": ("黄色", (245, 200, 30)),
    "purple": ("紫色", (140, 70, 190)),
    "orange": ("橙色", (240, 125, 20)),
    "pink": ("粉色", (240, 130, 175)),
}
# The word in English, in Chinese, and the Chinese measure word.
SHAPES = {
    "circle": ("圆形", "个"),
    "square": ("正方形", "个"),
    "triangle": ("三角形", "个"),
    "star": ("星星", "颗"),
    "diamond": ("菱形", "个"),
    "cross": ("十字", "个"),
    "heart": ("爱心", "颗"),
    "crescent": ("月牙", "个"),
}
OBJECTS = {"house": ("房子", "座"), "boat": ("小船", "只"), "tree": ("树", "棵")}
RELATIONS = {
    "to the left of": "左边",
    "to the right of": "右边",
    "above": "上面",
    "below": "下面",
    "inside": "里面",
    "around": "外面",
}
OPPOSITE = {"to the left of": "to the right of", "above": "below", "inside": "around"}
OPPOSITE |= {back: there for there, back in OPPOSITE.items()}
COUNTS = {"two": "两", "three": "三", "four": "四", "five": "五"}
CORNERS = {"top left": "左上角", "top right": "右上角", "bottom left": "左下角", "bottom right": "右下角"}
SKIES = {"the sun": "太阳", "the moon": "月亮", "a cloud": "云"}
KINDS = ("pair", "pair", "pair", "count", "corner", "landscape")  # of six pictures one after the other


@dataclass(frozen=True)
class Scene:
    """One picture: its kind, what it shows, how the thing stands, and what it stands beside, if anything."""

    kind: str  # pair, count, corner, landscape
    colour: str
    shape: str
    relation: str
    dark: bool
    other: tuple[str, str] | None = None

    def combinations(self) -> tuple[tuple[str, str, str], ...]:
        """(colour, shape, relation) of what is drawn; a pair has two: read from either end, it is one picture."""
        first = (self.colour, self.shape, self.relation)
        return (first,) if self.other is None else (first, (*self.other, OPPOSITE[self.relation]))


def held_out(combination: tuple[str, str, str]) -> bool:
    """Whether a combination belongs to the test pictures: one in four, each colour, shape and relation among them."""
    colour, shape, relation = combination
    shapes, relations = [*SHAPES, *OBJECTS], [*RELATIONS, *COUNTS, *CORNERS, *SKIES]
    numbers = list(COLOURS).index(colour), shapes.index(shape), relations.index(relation)
    return (numbers[0] + 2 * numbers[1] + numbers[2]) % 4 == 0


def draw_scenes(
    train: int = TRAIN, test: int = TEST, seed: int = SEED, *, from_one_end: bool = False
) -> tuple[list[Scene], list[Scene]]:
    """The training scenes and the test scenes: no combination of colour, shape and relation stands in both.

    `from_one_end`: from which end a pair is told can be seen (`told_from_one_end`).
    """
    rng = random.Random(seed)
    parts: list[list[Scene]] = []
    for number, is_test in ((train, False), (test, True)):
        scenes: dict[Scene, None] = {}
        while len(scenes) < number:
            scene = random_scene(KINDS[len(scenes) % len(KINDS)], rng)
            if all(held_out(combination) == is_test for combination in scene.combinations()):
                scenes[told_from_one_end(scene) if from_one_end else scene] = None
        parts.append(list(scenes))
    return parts[0], parts[1]


def random_scene(kind: str, rng: random.Random) -> Scene:
    colour, dark = rng.choice(list(COLOURS)), rng.random() < 0.4
    if kind == "landscape":
        sky = rng.choice(list(SKIES))
        # The sun stands in a bright sky and the moon in a dark one; a cloud may stand in either.
        return Scene(
            kind, colour, rng.choice(list(OBJECTS)), sky, {"the sun": False, "the moon": True}.get(sky, dark)
        )
    shape = rng.choice(list(SHAPES))
    if kind != "pair":
        return Scene(kind, colour, shape, rng.choice(list(COUNTS if kind == "count" else CORNERS)), dark)
    relation = rng.choice([name for name in RELATIONS if name != "around"])
    others = ["circle", "square"] if relation == "inside" else [name for name in SHAPES if name != shape]
    other = (rng.choice([name for name in COLOURS if name != colour]), rng.choice(others))
    return Scene(kind, colour, shape, relation, dark, other)


def told_from_one_end(scene: Scene) -> Scene:
    """The same picture, a pair told from its left, upper or inner end: from which end it is told cannot be seen."""
    if scene.other is None or scene.relation in ("to the left of", "above", "inside"):
        return scene
    colour, shape = scene.other
    other = (scene.colour, scene.shape)
    return replace(scene, colour=colour, shape=shape, relation=OPPOSITE[scene.relation], other=other)


# --- captions


def caption(scene: Scene) -> str:
    return _in_chinese(scene) if scene.dark else _in_english(scene)


def _in_english(scene: Scene) -> str:
    if scene.kind == "count":
        return f"{scene.relation} {scene.colour} {plural(scene.shape)}"
    thing = a_or_an(f"{scene.colour} {scene.shape}")
    if scene.other is not None:
        return f"{thing} {scene.relation} {a_or_an(' '.join(scene.other))}"
    return f"{thing} {f'in the {scene.relation} corner' if scene.kind == 'corner' else f'under {scene.relation}'}"


def _in_chinese(scene: Scene) -> str:
    word, measure = (SHAPES | OBJECTS)[scene.shape]
    thing = f"{COLOURS[scene.colour][0]}的{word}"
    if scene.kind == "count":
        return f"{COUNTS[scene.relation]}{measure}{thing}"
    if scene.other is not None:
        colour, shape = scene.other
        place = f"{COLOURS[colour][0]}的{SHAPES[shape][0]}{RELATIONS[scene.relation]}"
    else:
        place = CORNERS.get(scene.relation) or f"{SKIES[scene.relation]}下面"
    return f"{place}有一{measure}{thing}"


def plural(shape: str) -> str:
    return shape + ("es" if shape == "cross" else "s")


def a_or_an(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def as_collected(text: str, number: int) -> str:
    """The caption as a collected file would hold it: some with a stray blank or line end."""
    strays: dict[int, Callable[[str], str]] = {
        2: lambda words: words + "\n",
        5: lambda words: " " + words,
        8: lambda words: words + "  \n",
        11: lambda words: words.replace(" ", "\n", 1),
    }
    return strays.get(number % 13, str)(text)


# --- pictures


def picture(scene: Scene, number: int) -> Image.Image:
    """The scene as it is drawn; `number` moves things about a little, so that no two pictures are alike."""
    return paint(scene, random.Random(f"{SEED}:{number}")).quantize(PALETTE, dither=Image.Dither.NONE)


def drawing(scene: Scene, number: int) -> Image.Image:
    """The scene on a board of nine squares, a thing in the middle of its square: easier to see for a tiny model."""
    return paint(scene, random.Random(f"board:{number}"), board=True).quantize(
        PALETTE, dither=Image.Dither.NONE
    )


def paint(
    scene: Scene, rng: random.Random, *, board: bool = False, paper: Colour | None = None
) -> Image.Image:
    """The scene in colours, on light or dark paper or on that given."""
    if scene.kind == "landscape":
        return _landscape(scene, rng).reduce(FINE)
    canvas = Image.new("RGB", (SIZE * FINE, SIZE * FINE), paper or (DARK if scene.dark else LIGHT))
    stray = 1.5 if board else 3
    for colour, shape, (x, y), radius in _places(scene, rng, board):
        x, y = x + rng.uniform(-stray, stray), y + rng.uniform(-stray, stray)
        _paint(canvas, shape, COLOURS[colour][1], x, y, radius)
    return canvas.reduce(FINE)


def _places(
    scene: Scene, rng: random.Random, board: bool
) -> Iterator[tuple[str, str, tuple[float, float], float]]:
    """Colour, shape, middle and radius of each thing, in the order of painting.

    On a board things stand in the middles of squares of 28 pixels.
    """
    radius = rng.uniform(10.5, 12.5) if board else rng.uniform(12, 15)
    if scene.kind == "corner":
        near, far = (14, 70) if board else (20, 64)
        place = near if "left" in scene.relation else far, near if "top" in scene.relation else far
        yield scene.colour, scene.shape, place, radius
    elif scene.kind == "count":
        near, far = (14, 70) if board else (21, 63)
        spots = [(near, near), (far, far), (far, near), (near, far), (42, 42)]
        # Two or four leave the middle empty, as on a die; three run along the diagonal.
        chosen = {2: [0, 1], 3: [0, 1, 4], 4: [0, 1, 2, 3], 5: [0, 1, 2, 3, 4]}[
            list(COUNTS).index(scene.relation) + 2
        ]
        for spot in chosen:
            yield scene.colour, scene.shape, spots[spot], radius if board else 9.5
    elif scene.other is not None:
        off = 28 if board else 20
        shift = {
            "to the left of": (-off, 0),
            "to the right of": (off, 0),
            "above": (0, -off),
            "below": (0, off),
        }
        dx, dy = shift.get(scene.relation, (0, 0))
        yield *scene.other, (42 - dx, 42 - dy), 31 if scene.relation == "inside" else radius
        yield scene.colour, scene.shape, (42 + dx, 42 + dy), radius


def _paint(canvas: Image.Image, shape: str, colour: Colour, x: float, y: float, radius: float) -> None:
    """Paint a shape whose middle and radius are given in pixels of the reduced picture."""
    mask = Image.new("L", canvas.size, 0)
    draw = ImageDraw.Draw(mask)
    x, y, radius = x * FINE, y * FINE, radius * FINE
    if shape in ("circle", "crescent"):
        draw.ellipse(_box(x, y, radius), fill=255)
        if shape == "crescent":
            bite = Image.new("L", canvas.size, 0)
            ImageDraw.Draw(bite).ellipse(_box(x + radius * 0.45, y - radius * 0.2, radius * 0.85), fill=255)
            mask = ImageChops.subtract(mask, bite)
    elif shape == "heart":
        lobe, half = radius * 0.53, radius * 0.47
        for side in (-1, 1):
            draw.ellipse(_box(x + side * half, y - radius * 0.35, lobe), fill=255)
        tip = [
            (x - radius * 0.93, y - radius * 0.12),
            (x + radius * 0.93, y - radius * 0.12),
            (x, y + radius),
        ]
        draw.polygon(tip, fill=255)
    elif shape == "cross":
        arm = radius * 0.34
        draw.rectangle((x - radius, y - arm, x + radius, y + arm), fill=255)
        draw.rectangle((x - arm, y - radius, x + arm, y + radius), fill=255)
    else:
        draw.polygon(_corners(shape, x, y, radius), fill=255)
    canvas.paste(colour, (0, 0), mask)


def _box(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


def _corners(shape: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    number, start, inner = {
        "square": (4, 45, 1),
        "triangle": (3, -90, 1),
        "diamond": (4, -90, 1),
        "star": (10, -90, 0.42),
    }[shape]
    points = []
    for corner in range(number):
        reach = radius * (inner if corner % 2 else 1.0)
        angle = math.radians(start + 360 * corner / number)
        narrow = 0.65 if shape == "diamond" else 1.0  # else it would be a square that stands on its tip
        points.append((x + narrow * reach * math.cos(angle), y + reach * math.sin(angle)))
    return points


def _landscape(scene: Scene, rng: random.Random) -> Image.Image:
    colour = COLOURS[scene.colour][1]
    canvas = Image.new("RGB", (SIZE * FINE, SIZE * FINE), DARK if scene.dark else (214, 232, 246))
    draw = ImageDraw.Draw(canvas)

    def at(*numbers: float) -> list[float]:
        return [number * FINE for number in numbers]

    sea = scene.shape == "boat"
    day, night = ((110, 165, 205), (38, 66, 110)) if sea else ((150, 190, 120), (40, 66, 48))
    draw.rectangle(at(0, 60, SIZE, SIZE), fill=night if scene.dark else day)
    x, sky = 42 + rng.uniform(-12, 12), rng.uniform(18, 66)
    if scene.relation == "a cloud":
        for dx, dy, radius in ((-9, 2, 6), (0, 0, 8), (9, 2, 6)):
            draw.ellipse(
                at(*_box(sky + dx, 15 + dy, radius)), fill=(170, 176, 190) if scene.dark else (255, 255, 255)
            )
    elif scene.relation == "the sun":
        draw.ellipse(at(*_box(sky, 15, 8)), fill=(250, 190, 20))
        for ray in range(8):
            cos, sin = math.cos(ray * math.pi / 4), math.sin(ray * math.pi / 4)
            ends = at(sky + 10 * cos, 15 + 10 * sin, sky + 13 * cos, 15 + 13 * sin)
            draw.line(ends, fill=(250, 190, 20), width=FINE * 3 // 2)
    else:
        _paint(canvas, "crescent", (245, 240, 205), sky, 15, 9)
    brown = (105, 72, 48)
    if scene.shape == "house":
        draw.rectangle(at(x - 14, 46, x + 14, 66), fill=colour)
        draw.polygon(at(x - 18, 46, x, 31, x + 18, 46), fill=(90, 80, 80))
        draw.rectangle(at(x - 3, 55, x + 3, 66), fill=brown)
    elif sea:
        draw.polygon(at(x - 18, 57, x + 18, 57, x + 11, 68, x - 11, 68), fill=colour)
        draw.line(at(x, 30, x, 57), fill=brown, width=FINE * 3 // 2)
        draw.polygon(at(x + 2, 31, x + 2, 54, x + 15, 54), fill=(240, 236, 226))
    else:
        draw.rectangle(at(x - 3, 48, x + 3, 68), fill=brown)
        draw.ellipse(at(*_box(x, 42, 13)), fill=colour)
    return canvas


# --- files


def name_of(number: int, folder: str = "images") -> str:
    return f"{folder}/scene_{number:03d}.png"


def write_all(output: Path) -> None:
    scenes, boards = numbered(draw_scenes()), numbered(board_scenes())
    for folder, draw, shown in (("images", picture, scenes), (DRAWINGS, drawing, boards)):
        (output / folder).mkdir(parents=True, exist_ok=True)
        for number, scene in shown:
            draw(scene, number).save(output / name_of(number, folder), optimize=True)
    for name, text in (texts(scenes) | board_texts(boards)).items():
        (output / name).write_text(text, "utf-8", newline="")


def board_scenes() -> tuple[list[Scene], list[Scene]]:
    return draw_scenes(BOARD_TRAIN, BOARD_TEST, from_one_end=True)


def numbered(sides: tuple[list[Scene], list[Scene]]) -> list[tuple[int, Scene]]:
    """The scenes with their pictures' numbers, the training ones first."""
    return list(enumerate([*sides[0], *sides[1]], start=1))


def board_texts(boards: Sequence[tuple[int, Scene]]) -> dict[str, str]:
    """Name and content of the files beside the drawings on a board."""
    rows = [(name_of(number, DRAWINGS), caption(scene)) for number, scene in boards]
    return {
        "drawings_train.csv": _csv([("image_path", "caption"), *rows[:BOARD_TRAIN]]),
        "drawings_test.csv": _csv([("image_path", "caption"), *rows[BOARD_TRAIN:]]),
    }


def texts(scenes: Sequence[tuple[int, Scene]]) -> dict[str, str]:
    """Name and content of each file beside the pictures. `scenes` are numbered, the training ones first."""
    rows = [(name_of(number), as_collected(caption(scene), number)) for number, scene in scenes]
    plain = [(name_of(number), caption(scene)) for number, scene in scenes]
    marked = [
        {
            "id": f"identity_{number}",
            "conversations": [
                {"from": "user", "value": MARKED.format(path=path)},
                {"from": "assistant", "value": words},
            ],
        }
        for number, (path, words) in enumerate(rows, start=1)
    ]
    foreign = json.loads(json.dumps(marked[:6]).replace("images/", f"{ELSEWHERE}/images/"))
    return {
        "captions.csv": _csv([("image_path", "caption"), *rows]),
        "train.json": _json(marked[:TRAIN]),
        "test.json": _json(marked[TRAIN:]),
        "foreign_paths.json": _json(foreign),
        "images_list.jsonl": _lines(_images_lists(plain[:12])),
        "openai_parts.jsonl": _lines(_openai_parts(plain[12:24])),
    }


def _images_lists(rows: Sequence[tuple[str, str]]) -> list[dict[str, object]]:
    """Placeholders in the text and the pictures in a list: ten rows with one picture, two with two."""
    made = [([path], "<image>What is drawn here?", words) for path, words in rows[:10]]
    for (path, words), (other, other_words) in pairwise([rows[9], rows[10], rows[11]]):
        both = f"First: {words}. Second: {other_words}."
        made.append(([path, other], "First <image>, then <image>: what is drawn?", both))
    return [
        {
            "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": words}],
            "images": paths,
        }
        for paths, ask, words in made
    ]


def _openai_parts(rows: Sequence[tuple[str, str]]) -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    for path, words in rows:
        parts = [
            {"type": "text", "text": "What is drawn here?"},
            {"type": "image_url", "image_url": {"url": path}},
        ]
        answer = [{"type": "text", "text": words}]
        made.append(
            {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]}
        )
    return made


def _csv(rows: Sequence[tuple[str, str]]) -> str:
    held = StringIO(newline="")
    csv.writer(held, lineterminator="\n").writerows(rows)
    return held.getvalue()


def _json(rows: object) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"


def _lines(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# --- baselines


def baselines(folder: Path) -> dict[str, tuple[float, float]]:
    """Two answers that need no model, on the test pictures: share of exact captions, and mean F1 over the words."""
    train, test = (_pictures_and_captions(folder, name) for name in ("train.json", "test.json"))
    common = Counter(words for _, words in train).most_common(1)[0][0]
    histograms = [_histogram(path) for path, _ in train]
    nearest = []
    for path, _ in test:
        own = _histogram(path)
        gaps = [sum(abs(a - b) for a, b in zip(own, other, strict=True)) for other in histograms]
        nearest.append(train[gaps.index(min(gaps))][1])
    truth = [words for _, words in test]
    return {
        "the most frequent caption": _scores([common] * len(truth), truth),
        "the caption of the picture with the most similar colours": _scores(nearest, truth),
    }


def _pictures_and_captions(folder: Path, name: str) -> list[tuple[Path, str]]:
    found = []
    for row in json.loads((folder / name).read_text("utf-8")):
        asked, answer = (turn["value"] for turn in row["conversations"])
        path = asked.split("<|vision_start|>")[1].split("<|vision_end|>")[0]
        found.append((folder / path, " ".join(answer.split())))
    return found


def _histogram(path: Path) -> list[int]:
    """How many pixels fall in each of 4 x 4 x 4 boxes of colour."""
    boxes = [0] * 64
    with Image.open(path) as opened:
        data = opened.convert("RGB").tobytes()
    for red, green, blue in zip(data[::3], data[1::3], data[2::3], strict=True):
        boxes[red // 64 * 16 + green // 64 * 4 + blue // 64] += 1
    return boxes


def _scores(answers: Sequence[str], truth: Sequence[str]) -> tuple[float, float]:
    exact = sum(answer == words for answer, words in zip(answers, truth, strict=True))
    overlap = sum(_f1(answer, words) for answer, words in zip(answers, truth, strict=True))
    return exact / len(truth), overlap / len(truth)


def _f1(answer: str, words: str) -> float:
    """F1 over words, or over characters where a caption is Chinese."""
    left, right = (Counter(text.split() if text.isascii() else text) for text in (answer, words))
    return 2 * (left & right).total() / (left.total() + right.total())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=SAMPLES, help="the folder to write")
    options = parser.parse_args()
    write_all(options.output)
    for name, (exact, overlap) in baselines(options.output).items():
        print(f"{name}: {exact:.1%} exact, F1 {overlap:.1%}")


if __name__ == "__main__":
    main()

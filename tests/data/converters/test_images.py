"""Pictures: where rows name them, which file that is, and what is wrong with it."""

import base64
import json
import os

import numpy as np
import pytest
from PIL import Image as Pillow

from tunesmith.data.converters import images
from tunesmith.data.schema import BadRow, Image, Place

from .rows import picture, read, turns


@pytest.fixture
def place(tmp_path):
    """A row of a data file in a folder of its own; pictures belong beside it."""
    return Place(str(tmp_path / "data" / "rows.json"), 1, 1)


def user(content, **more):
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "a"}], **more}


def content(row, place, **options):
    return turns(read("messages", row, place, **options))[0][1]


def error_of(row, place, **options) -> str:
    with pytest.raises(BadRow) as caught:
        read("messages", row, place, **options)
    message = str(caught.value)
    assert message.startswith(f"{place}: ")
    return message


# ---- where a row names its pictures


@pytest.mark.parametrize(
    "row",
    [
        user("<image> and <image>?", images=["a.png", "b.png"]),
        user("<image> and <image>?", images='["a.png", "b.png"]'),
        user("<image> and <image>?", images=[{"path": "a.png", "bytes": None}, {"path": "b.png"}]),
        user("<|vision_start|>a.png<|vision_end|> and <|vision_start|>b.png<|vision_end|>?"),
        user(
            "<|vision_start|><|image_pad|><|vision_end|> and <|vision_start|><image><|vision_end|>?",
            images=["a.png", "b.png"],
        ),
        user(
            [
                {"type": "image", "image": "a.png"},
                {"type": "text", "text": " and "},
                {"type": "image_url", "image_url": {"url": "b.png"}},
                "?",
            ]
        ),
        user(
            [{"type": "image"}, {"type": "text", "text": " and "}, {"type": "image", "path": "b.png"}, "?"],
            image="a.png",
        ),
    ],
)
def test_every_way_to_name_pictures(tmp_path, place, row):
    first = picture(tmp_path / "data" / "a.png", (4, 3))
    second = picture(tmp_path / "data" / "b.png", (2, 5))
    assert content(row, place) == (Image(first, 4, 3), " and ", Image(second, 2, 5), "?")


@pytest.mark.parametrize(
    ("format", "row"),
    [
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "a"}]},
        ),
        ("alpaca", {"instruction": "<image>?", "input": "", "output": "a"}),
        ("query_response", {"query": "<image>?", "response": "a"}),
        ("prompt_completion", {"prompt": "<image>?", "completion": "a"}),
        ("labelled", {"query": "<image>?", "response": "a", "label": True}),
        ("preference", {"prompt": "<image>?", "chosen": "a", "rejected": "b"}),
    ],
)
def test_other_formats_read_placeholders_too(tmp_path, place, format, row):
    path = picture(tmp_path / "data" / "a.png")
    converted = read(format, {**row, "images": ["a.png"]}, place)
    messages = getattr(converted, "prompt", None) or getattr(converted, "conversation", converted).messages
    assert messages[0].content == (Image(path, 4, 3), "?")


def test_placeholders_are_text_where_no_pictures_are_listed_and_in_answers(tmp_path, place):
    assert content(user("the <image> tag, <|vision_start|>"), place) == "the <image> tag, <|vision_start|>"
    picture(tmp_path / "data" / "a.png")
    row = user("<image>", images=["a.png"])
    row["messages"][1]["content"] = "<image>"
    assert turns(read("messages", row, place))[1][1] == "<image>"


@pytest.mark.parametrize(
    ("text", "listed", "found"),
    [
        ("<image> <image>", ["a.png"], "row 1 has 2 places for pictures and 1 picture in its field 'images'"),
        ("none", ["a.png"], "row 1 has 0 places for pictures and 1 picture in its field 'images'"),
        ("<image>", [], "row 1 has 1 place for pictures and 0 pictures in its field 'images'"),
    ],
)
def test_counts_must_agree(tmp_path, place, text, listed, found):
    picture(tmp_path / "data" / "a.png")
    assert found in error_of(user(text, images=listed), place)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("<image>Who is it?", {}),
        ("<image>", {"images": None}),
        ("Who is it?\n <image>\n", {}),
        ("Is <image> a cat?", {"image_path": "a.png"}),
        ("Is <image> a cat?", {"Pictures": ["a.png"]}),
    ],
)
def test_a_place_for_a_picture_that_is_nowhere_is_told(place, text, more):
    message = error_of(user(text, **more), place)
    assert "row 1 has `<image>` in the user's text and no field 'images'" in message
    assert ("`columns: {images: " in message) == bool(more.get("image_path") or more.get("Pictures"))


@pytest.mark.parametrize(
    "text", ["<image>\n<url>u</url>\n</image>", "the <image> tag", "<image href='a'>", "< image>"]
)
def test_a_tag_of_that_name_is_text(place, text):
    assert content(user(text), place) == text
    assert content(user([{"type": "text", "text": "<image>"}]), place) == "<image>"


@pytest.mark.parametrize(
    ("format", "row"),
    [
        ("question_answer", {"question": "<image>?", "answer": "a"}),
        ("conversation", {"conversation": [{"human": "<image>?", "assistant": "a"}]}),
    ],
)
def test_pictures_of_a_question_are_read_or_missed(tmp_path, place, format, row):
    path = picture(tmp_path / "data" / "a.png")
    converted = read(format, {**row, "image": "a.png"}, place)
    assert converted.messages[0].content == (Image(path, 4, 3), "?")
    row = json.loads(json.dumps(row).replace("<image>", ""))
    with pytest.raises(BadRow, match="has 0 places for pictures and 1 picture in its field 'image'"):
        read(format, {**row, "image": {"bytes": b"x", "path": None}}, place)


@pytest.mark.parametrize("field", ["video", "videos", "audio", "audios"])
def test_videos_and_audio_are_never_passed_over(place, field):
    message = error_of(user("q", **{field: ["a"]}), place)
    assert f"field '{field}' of row 1 holds {field[:5]}; expected text and pictures" in message
    assert content(user("q", **{field: []}), place) == content(user("q", **{field: None}), place) == "q"
    assert f"row 1 has `<{field[:5]}>` in the user's text" in error_of(
        user(f"<{field[:5]}>q", **{field: []}), place
    )
    assert content(user(f"the <{field[:5]}> tag"), place) == f"the <{field[:5]}> tag"
    row = user("q")
    row["messages"][0][field] = ["a"]
    assert f"message 1 of row 1 has a field '{field}', which is not read there" in error_of(row, place)


# ---- which file it is


def test_relative_paths_are_looked_up_in_images_then_beside_the_data(tmp_path, place):
    beside = picture(tmp_path / "data" / "a.png")
    row = user("<image>", image="a.png")
    assert content(row, place) == (Image(beside, 4, 3),)
    (tmp_path / "base").mkdir()
    assert content(row, place, images=str(tmp_path / "base")) == (Image(beside, 4, 3),)
    based = picture(tmp_path / "base" / "a.png")
    assert content(row, place, images=str(tmp_path / "base")) == (Image(based, 4, 3),)


@pytest.mark.parametrize(
    "written",
    [
        "/home/somebody/coco/2014/a.png",
        "C:\\Users\\somebody\\coco\\2014\\a.png",
        "coco\\2014\\a.png",
        "x/2014/a.png",
    ],
)
def test_paths_of_another_machine_are_found_by_their_last_parts(tmp_path, place, written):
    picture(tmp_path / "base" / "a.png")  # fewer parts agree
    path = picture(tmp_path / "base" / "2014" / "a.png")
    assert content(user("<image>", image=written), place, images=str(tmp_path / "base")) == (
        Image(path, 4, 3),
    )


def test_absolute_and_file_addresses_are_taken_as_they_are(tmp_path, place):
    path = picture(tmp_path / "else where" / "a.png")
    assert content(user("<image>", image=path), place) == (Image(path, 4, 3),)
    address = "file://" + path.replace(" ", "%20")
    assert content(user("<image>", image=address), place) == (Image(path, 4, 3),)


def test_parts_that_lead_out_of_the_folder_are_not_followed(tmp_path, place):
    picture(tmp_path / "a.png")
    (tmp_path / "base").mkdir()
    row = user("<image>", image="/x/../a.png")
    assert "is not there" in error_of(row, place, images=str(tmp_path / "base"))


def test_missing_pictures_name_the_folder_to_set(tmp_path, place):
    message = error_of(user("<image>", image="/home/x/a.png"), place)
    assert "picture 1 of row 1 is not there: no file '/home/x/a.png'" in message
    assert "name the folder with the pictures as `images`" in message.lower()
    assert (
        "check the folder `images`"
        in error_of(user("<image>", image="a"), place, images=str(tmp_path)).lower()
    )


@pytest.mark.parametrize(
    "written", ["a\0.png", "", ".", "x" * 5000, "..", "/", "C:\\", "\\\\host\\share\\a.png"]
)
def test_odd_paths_are_missing_files(tmp_path, place, written):
    assert "is not there" in error_of(
        user([{"type": "image", "image": written}]), place, images=str(tmp_path)
    )


@pytest.mark.parametrize("address", ["http://x.org/a.png", "https://x.org/a.png", "s3://bucket/a.png"])
def test_web_addresses_are_refused(place, address):
    message = error_of(user([{"type": "image_url", "image_url": {"url": address}}]), place)
    assert f"is a web address, {address!r}" in message
    assert "Write the picture to a file first" in message


def test_pictures_inside_the_row_are_refused(place):
    data = "data:image/png;base64," + base64.b64encode(b"x" * 90).decode()
    assert "is data inside the row" in error_of(user([{"type": "image_url", "image_url": data}]), place)
    assert "is stored in the row itself" in error_of(user("<image>", images=[{"bytes": b"x"}]), place)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (user("<image>", images=[3]), "picture 1 of row 1 is a number"),
        (user("<image>", images=[None]), "picture 1 of row 1 is null"),
        (user([{"type": "image_url"}]), "part 1 of the content of message 1 of row 1 is null"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "image", "image": "a.png"}]}]},
            "is a picture in the assistant's message",
        ),
    ],
)
def test_wrong_values_are_told(place, row, found):
    assert found in error_of(row, place)


# ---- whether it can be used


def test_size_is_the_one_shown(tmp_path, place):
    exif = Pillow.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = picture(tmp_path / "data" / "a.jpg", (40, 30), exif=exif)
    assert content(user("<image>", image="a.jpg"), place) == (Image(path, 30, 40),)


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off(tmp_path):
    levels = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
    Pillow.fromarray(levels).save(tmp_path / "a.png")
    shown = np.asarray(images.read_picture(str(tmp_path / "a.png")))
    assert shown.shape == (64, 64, 3)
    np.testing.assert_array_equal(shown[..., 0], levels // 256)


def test_a_changed_file_is_looked_at_again(tmp_path, place):
    path = picture(tmp_path / "data" / "a.png", (4, 3))
    row = user("<image>", image="a.png")
    assert content(row, place) == (Image(path, 4, 3),)
    picture(tmp_path / "data" / "a.png", (5, 6))
    os.utime(path, ns=(1, 1))
    assert content(row, place) == (Image(path, 5, 6),)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "gif", "bmp"])
def test_half_a_file_is_broken(tmp_path, place, kind):
    path = tmp_path / "data" / f"a.{kind}"
    path.parent.mkdir()
    Pillow.effect_noise((90, 90), 90).convert("RGB").save(path)
    whole = path.read_bytes()
    assert content(user("<image>", image=path.name), place) == (Image(str(path), 90, 90),)
    path.write_bytes(whole[: len(whole) // 2])
    assert repr(str(path)) in error_of(user("<image>", image=path.name), place)


@pytest.mark.parametrize("data", [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_files_of_another_kind_are_told(tmp_path, place, data):
    path = tmp_path / "data" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(data)
    assert "is no picture of a known kind (JPEG, PNG" in error_of(user("<image>", image="a.jpg"), place)


def test_gigantic_pictures_are_refused_by_their_header(tmp_path, place, monkeypatch):
    picture(tmp_path / "data" / "a.png", (40, 30))
    monkeypatch.setattr(images, "MOST_PIXELS", 1199)
    images._look_inside.cache_clear()
    assert "is gigantic, 40 x 30 pixels" in error_of(user("<image>", image="a.png"), place)
    images._look_inside.cache_clear()


def test_a_header_that_promises_too_much_is_refused(tmp_path, place):
    path = tmp_path / "data" / "a.ppm"
    path.parent.mkdir()
    path.write_bytes(b"P6 60000 60000 255\n")
    assert "is gigantic" in error_of(user("<image>", image="a.ppm"), place)

"""The captions format: rows of a picture's path and its caption."""

import pytest

from tunesmith.data.schema import BadRow, Image, Place

from .rows import picture, read, said, turns


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, lambda image: ("COCO Yes: ", image)),
        ({"instruction": "Describe <image> shortly."}, lambda image: ("Describe ", image, " shortly.")),
        ({"instruction": ""}, lambda image: (image,)),
    ],
)
def test_the_picture_and_its_caption_unedited(tmp_path, options, asked):
    image = Image(picture(tmp_path / "pictures" / "1.jpg"), 4, 3)
    row = {"image_path": "pictures/1.jpg", "caption": " a red\nbox "}
    assert turns(read("captions", row, Place(str(tmp_path / "rows.csv"), 2, 1), **options)) == [
        ("user", asked(image), 0.0),
        ("assistant", " a red\nbox ", 1.0),
    ]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"image_path": "nowhere.jpg", "caption": "c"}, "field 'image_path' of row 3 is not there"),
        ({"image_path": 3, "caption": "c"}, "field 'image_path' of row 3 is a number"),
        ({"image": "1.jpg", "caption": "c"}, "row 3 has no field 'image_path'"),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("captions", row)


def test_empty_caption_is_told(tmp_path):
    path = picture(tmp_path / "1.jpg")
    with pytest.raises(BadRow, match="field 'caption' of row 1 is empty"):
        read("captions", {"image_path": path, "caption": ""}, Place("rows.csv", 1, 1))

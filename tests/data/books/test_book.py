"""Books: what is printed on paper comes out as the author wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from tests.data.books.printer import CHINESE, Printer, typeset
from tests.data.tiny import STEADY
from tunesmith.data.books.book import Book, read_book
from tunesmith.data.books.glyphs import BadPdf
from tunesmith.data.readers.pdf import read_pdf
from tunesmith.errors import InputError

HALL = (
    "The clock stood in the hall for sixty years and nobody wound it, because nobody could find the key. On the "
    "morning of the sale a boy put his hand behind the case and there it was, on its nail, as bright as ever."
)
KITCHEN = (
    "There was a second clock in the kitchen, and that one went too fast. My aunt set her bread by it and her bread "
    "was never done. She blamed the oven for eleven years."
)
SHOP = (
    "In the shop nothing agreed with anything else. We opened at nine by the tall clock and shut at noon by the small "
    "one, and on some days we were open for twenty minutes."
)
RIVER = "春天来了，河边的柳树发了芽。老人坐在桥上，看着水慢慢地流过去。他说，水和钟一样，从来不等人。"
HILL = "山上的雪还没有化，牧童已经赶着羊出了门。他吹着一支旧笛子，笛声落在田里，像雨点一样轻。"


def read(printer: Printer, **options) -> Book:
    return read_book(Path("book.pdf"), printer.content(), **options)


def texts(book: Book) -> list[str]:
    return [paragraph.text for paragraph in book.paragraphs]


def dropped(book: Book) -> dict[int, str]:
    return {page: one.reason for one in book.dropped for page in one.pages}


# --- reading order ------------------------------------------------------------------------------------------------


def columns(printer: Printer, *, offset: float = 0.0, by_rows: bool = False) -> None:
    """Two columns below what is there; the right one `offset` points lower, or both drawn line by line."""
    left, right = (typeset(text, 145) for text in (HALL, KITCHEN))
    top = printer.y
    if by_rows:
        for one, two in zip(left, right, strict=False):
            printer.put(one)
            printer.y += 1.25 * 11
            printer.put(two, x=225)
        printer.put(left[len(right) :])
        return
    printer.put(left)
    printer.y = top - offset
    printer.put(right, x=225)


@pytest.mark.parametrize(("offset", "by_rows"), [(0, False), (6.5, False), (0, True)])
def test_two_columns_are_read_one_after_the_other(offset, by_rows):
    printer = Printer().page()
    columns(printer, offset=offset, by_rows=by_rows)
    assert texts(read(printer)) == [HALL, KITCHEN]


def test_a_heading_across_both_columns_parts_what_is_above_from_what_is_below():
    printer = Printer().page()
    printer.put("A History of the Clocks of Saltmarket", size=17, x=70)
    columns(printer)
    printer.y -= 140
    printer.put("And What Became of Every One of Them", size=17, x=70)
    columns(printer)
    first, *above = texts(read(printer))
    assert first == "A History of the Clocks of Saltmarket"
    assert above == [HALL, KITCHEN, "And What Became of Every One of Them", HALL, KITCHEN]


def test_a_table_is_read_by_its_rows():
    printer = Printer().page()
    for name, price in (("Tall clock", "40"), ("Small clock", "12"), ("Spring", "3"), ("Key", "1")):
        printer.put(name)
        printer.y += 1.25 * 11
        printer.put(price, x=300)
    assert " ".join(texts(read(printer))) == "Tall clock 40 Small clock 12 Spring 3 Key 1"


def test_a_table_of_long_cells_is_read_by_its_rows():
    printer = Printer().page()
    cells = [
        ("Quay side lamp", "every six seconds", "white, north east"),
        ("Rope Street", "steady", "red, to the west"),
    ] * 3
    for row in cells:
        for x, cell in zip((50, 160, 300), row, strict=True):
            printer.put(cell, x=x)
            printer.y += 1.25 * 11
        printer.y -= 1.5 * 11
    assert " ".join(texts(read(printer))) == " ".join(" ".join(row) for row in cells)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_text_that_is_turned_is_read_in_its_own_direction(degrees):
    printer = Printer().page()
    canvas = printer.canvas
    canvas.saveState()
    canvas.translate(210, 300)
    canvas.rotate(degrees)
    canvas.translate(-150, 0)
    printer.y = 100
    printer.prose(HALL).prose(KITCHEN)
    canvas.restoreState()
    assert texts(read(printer)) == [HALL, KITCHEN]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_that_is_shown_turned_reads_the_same(degrees):
    printer = Printer().page()
    printer.canvas.setPageRotation(degrees)
    columns(printer)
    assert texts(read(printer)) == [HALL, KITCHEN]


def test_text_across_the_others_is_kept_apart_and_a_stamp_on_every_page_goes():
    printer = Printer()
    for text in (HALL, KITCHEN, SHOP):
        printer.page().prose(text)
        printer.canvas.saveState()
        printer.canvas.translate(100, 200)
        printer.canvas.rotate(45)
        printer.canvas.drawString(0, 0, "DRAFT")
        if text == SHOP:
            printer.canvas.rotate(45)
            printer.canvas.drawString(0, 0, "See the plate.")
        printer.canvas.restoreState()
    book = read(printer)
    assert texts(book) == [HALL, KITCHEN, SHOP, "See the plate."]
    assert book.running.texts == {"DRAFT": 3}


# --- running heads and page numbers -------------------------------------------------------------------------------


def test_running_heads_and_page_numbers_go_and_are_counted():
    printer = Printer(head="THE CLOCKS OF SALTMARKET", folio="- {} -")
    for text in (HALL, KITCHEN, SHOP, HALL):
        printer.page().prose(text)
    book = read(printer)
    assert texts(book) == [HALL, KITCHEN, SHOP, HALL]
    assert book.running.lines == 8
    assert book.running.texts == {"THE CLOCKS OF SALTMARKET": 4, "a page number": 4}


@pytest.mark.parametrize(
    "numbers", [["iv", "v", "vi", "vii"], ["12", "13", "14", "15"], ["第3页", "第4页", "第5页", "第6页"]]
)
def test_numbers_that_grow_with_the_pages_go_whatever_they_look_like(numbers):
    printer = Printer()
    for text, number in zip((HALL, KITCHEN, SHOP, HALL), numbers, strict=True):
        printer.page().prose(text)
        printer.y = 30
        printer.put(number, x=200, font=CHINESE)
    assert texts(read(printer)) == [HALL, KITCHEN, SHOP, HALL]


def test_a_head_with_the_page_number_in_it_goes():
    printer = Printer()
    for number, text in enumerate((HALL, KITCHEN, SHOP), start=41):
        printer.head = f"{number}    The Clocks"
        printer.page().prose(text)
    assert texts(read(printer)) == [HALL, KITCHEN, SHOP]


def test_the_head_of_a_chapter_of_one_page_goes_by_its_place():
    printer = Printer(head="Hall and Kitchen")
    for text in (HALL, KITCHEN, HALL):
        printer.page().prose(text)
    printer.head = "Of the Shop"
    printer.page().prose(SHOP)
    assert texts(read(printer)) == [HALL, KITCHEN, HALL, SHOP]


def test_headings_at_one_height_whose_numbers_count_chapters_stay():
    printer = Printer(folio="{}")
    for number in range(1, 5):
        printer.page().put(f"Chapter {number}", size=16).prose(HALL)
        printer.page().prose(KITCHEN)
    assert [text for text in texts(read(printer)) if text.startswith("Chapter")] == [
        f"Chapter {number}" for number in range(1, 5)
    ]


def test_a_line_of_the_text_that_stands_twice_at_one_height_stays():
    printer = Printer()
    for text in (HALL, SHOP, HALL, KITCHEN, HALL, SHOP, KITCHEN, SHOP):
        printer.page().prose(text)
    assert texts(read(printer)) == [HALL, SHOP, HALL, KITCHEN, HALL, SHOP, KITCHEN, SHOP]


# --- paragraphs and hyphens ---------------------------------------------------------------------------------------


def test_paragraphs_are_told_by_indents_and_go_on_over_a_page():
    printer = Printer().page().prose(HALL).prose(KITCHEN)
    first, rest = typeset(SHOP, 320, indent=22)[:1], typeset(SHOP, 320, indent=22)[1:]
    printer.put(first, indent=22)
    printer.page().put(rest)
    book = read(printer)
    assert texts(book) == [HALL, KITCHEN, SHOP]
    assert [mark.page for mark in book.paragraphs[2].marks] == [1, 2]
    mark = book.paragraphs[2].marks[1]
    assert SHOP[mark.offset :].startswith(rest[0])


def hyphenated(*lines: str) -> Printer:
    """Lines that are long enough to be the whole width of a page."""
    return Printer().page().put(lines)


def test_a_word_broken_at_the_end_of_a_line_is_mended():
    book = read(
        hyphenated(
            "Nothing that I had seen before was so extraordi-",
            "nary as the tall clock of the old Custom House.",
        )
    )
    assert texts(book) == [
        "Nothing that I had seen before was so extraordinary as the tall clock of the old Custom House."
    ]
    assert book.mended == 1


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        # The book has it with its hyphen elsewhere.
        (
            (
                "The well-known clock stood there, and it was a well-",
                "known clock in the town, and everyone had wound it.",
            ),
            "a well-known clock",
        ),
        # Two words that the book has: a compound.
        (
            (
                "The lamp gave light, and beside it there was a lamp-",
                "light that nobody in the town had ever put out at all.",
            ),
            "a lamp-light",
        ),
        # A name, and numbers.
        (
            (
                "She had married into the old family of the Smith-",
                "Joneses, who had never wound a clock of their own.",
            ),
            "Smith-Joneses",
        ),
        (
            (
                "That was in the long and quiet years from 1919-",
                "1938, when nobody in the town would buy a clock.",
            ),
            "1919-1938",
        ),
    ],
)
def test_a_real_hyphen_at_the_end_of_a_line_stays(lines, kept):
    book = read(hyphenated(*lines))
    assert kept in texts(book)[0]
    assert book.mended == 0


def test_a_broken_word_that_the_book_has_whole_elsewhere_is_mended_although_both_halves_are_words():
    book = read(
        hyphenated(
            "He may be right, but maybe not; no man may be sure, may-",
            "be not even the boy who had found the old key there.",
        )
    )
    assert "sure, maybe not even" in texts(book)[0]


def test_ligatures_are_letters():
    from matplotlib import font_manager

    pdfmetrics.registerFont(TTFont("DejaVu", font_manager.findfont("DejaVu Sans")))
    printer = Printer().page().put("The oﬃce of the ﬁnest ﬂoor.", font="DejaVu")
    assert texts(read(printer)) == ["The office of the finest floor."]


# --- Chinese ------------------------------------------------------------------------------------------------------


def test_chinese_lines_are_joined_without_blanks():
    printer = Printer().page().prose(RIVER, font=CHINESE, width=180).prose(HILL, font=CHINESE, width=180)
    assert texts(read(printer)) == [RIVER, HILL]


def test_chinese_columns_are_read_one_after_the_other():
    printer = Printer().page().put(typeset(RIVER * 2, 140, font=CHINESE), font=CHINESE)
    printer.y = 520
    printer.put(typeset(HILL * 2, 140, font=CHINESE), font=CHINESE, x=220)
    assert "".join(texts(read(printer))) == RIVER * 2 + HILL * 2


# --- front and back matter ----------------------------------------------------------------------------------------


def english_book() -> Printer:
    printer = Printer(head="THE CLOCKS", folio="{}")
    printer.page(head=False, top=400).put("The Clocks of Saltmarket", size=24).put("Edith Harrow", size=14)
    printer.page(head=False).put(
        ["Copyright 2020 Edith Harrow", "All rights reserved.", "ISBN 978-0-00-000000-0"]
    )
    printer.page(head=False).put("For whoever winds it next", x=130)
    printer.page(head=False).put("Contents", size=16)
    printer.put(
        [
            f"{name} . . . . . . . . . . {page}"
            for name, page in (("Hall", 5), ("Kitchen", 6), ("Shop", 7), ("River", 9))
        ]
    )
    for name, text in (("Hall", HALL), ("Kitchen", KITCHEN), ("Shop", SHOP), ("Garden", HALL)):
        printer.page().put(name, size=18).prose(text).prose(SHOP).prose(text).prose(KITCHEN)
    printer.put("Bibliography", size=16)
    printer.put(
        ["Pell, Osric. The Patient Bench. Saltmarket, 1931.", "Harrow, E. On Dust. Quayside, 1987, pp. 3-9."]
    )
    printer.page().put("Index", size=16).put(
        ["B", "bread, 6, 12", "C", "clock, 1-5, 7", "K", "key, 9", "oven, 6"]
    )
    return printer


def test_english_front_and_back_matter_is_dropped_with_its_reasons():
    book = read(english_book())
    assert dropped(book) == {
        1: "title page",
        2: "copyright",
        3: "dedication",
        4: "contents",
        8: "bibliography",
        9: "index",
    }
    assert [one.pages for one in book.dropped if one.part] == [(8,)]
    expected = []
    for name, text in (("Hall", HALL), ("Kitchen", KITCHEN), ("Shop", SHOP), ("Garden", HALL)):
        expected += [name, text, SHOP, text, KITCHEN]
    assert texts(book) == expected


def test_matter_is_kept_on_request():
    book = read(english_book(), keep_matter=True)
    assert dropped(book) == {}
    whole = book.text
    for words in ("ISBN", "whoever winds", "Contents", "On Dust", "bread, 6, 12"):
        assert words in whole


def test_chinese_front_and_back_matter_is_dropped_with_its_reasons():
    printer = Printer(folio="{}")

    def put(lines, size=11):
        printer.put(lines, font=CHINESE, size=size)

    printer.page(top=400)
    put("河边的钟", 24)
    printer.page()
    put(["版权所有　侵权必究", "某某出版社出版发行", "定价：20元"])
    printer.page()
    put("目录", 16)
    put([f"第{name}章 ………………… {page}" for name, page in (("一", 4), ("二", 5), ("三", 6), ("四", 7))])
    for name, text in (("一", RIVER), ("二", HILL), ("三", RIVER), ("四", HILL)):
        printer.page()
        put(f"第{name}章", 16)
        printer.prose(text * 2, font=CHINESE)
    printer.page()
    put("参考文献", 16)
    put(["[1] 钟某. 论钟[M]. 北京, 1990.", "[2] 河某. 论河[J]. 上海, 2001."])
    printer.page()
    put("索引", 16)
    put(["柳树，4，6", "牧童，5，7", "钟，4"])
    book = read(printer)
    assert dropped(book) == {1: "title page", 2: "copyright", 3: "contents", 8: "bibliography", 9: "index"}
    assert texts(book) == ["第一章", RIVER * 2, "第二章", HILL * 2, "第三章", RIVER * 2, "第四章", HILL * 2]


def test_a_chapter_called_index_or_references_without_the_look_of_one_stays():
    printer = Printer()
    names = ("Hall", "Kitchen", "References", "Index")
    for name, text in zip(names, (HALL, KITCHEN, SHOP, HALL), strict=True):
        printer.page().put(name, size=18).prose(text).prose(text + " " + SHOP)
    book = read(printer)
    assert dropped(book) == {}
    assert set(names) <= set(texts(book))


def test_a_story_that_speaks_of_a_publisher_is_no_copyright_page():
    said = (
        "The publisher wrote to me twice. I put his letters into the clock, where the dust would find them. "
        * 3
    )
    printer = Printer().page().prose(HALL).page().prose(said).page().prose(SHOP)
    assert dropped(read(printer)) == {}


def test_blank_pages_and_pictures_are_named():
    printer = Printer().page().prose(HALL).page().page().picture().page().picture().page().prose(SHOP)
    assert dropped(read(printer)) == {2: "blank", 3: "a picture without text", 4: "a picture without text"}


def test_a_book_of_nothing_but_matter_says_so():
    printer = (
        Printer().page().put("The Clocks", size=24).page().put(["Copyright 2020", "All rights reserved."])
    )
    printer.page()
    with pytest.raises(BadPdf, match="title page, copyright") as caught:
        read(printer)
    assert caught.value.kind == "matter"


# --- files that cannot be used ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (
            lambda: Printer().page().picture().page().picture().content(),
            "scanned",
            "its 2 pages hold pictures",
        ),
        (lambda: Printer().page().content(), "empty", "neither text nor pictures"),
        (lambda: b"", "empty", "the file is empty"),
        (lambda: b"<html>not found</html>", "damaged", "no PDF"),
        (lambda: english_book().content()[:900], "damaged", "damaged"),
        (lambda: Printer(password="tick").page().prose(HALL).content(), "encrypted", "needs a password"),
    ],
)
def test_each_kind_of_bad_file_is_named(content, kind, words):
    with pytest.raises(BadPdf, match=words) as caught:
        read_book(Path("bad.pdf"), content())
    assert caught.value.kind == kind
    assert caught.value.where == "bad.pdf"


def test_the_password_opens_an_encrypted_file_and_a_wrong_one_is_told():
    content = Printer(password="tick").page().prose(HALL).content()
    assert texts(read_book(Path("locked.pdf"), content, "tick")) == [HALL]
    with pytest.raises(BadPdf, match="this password does not open it"):
        read_book(Path("locked.pdf"), content, "tock")


WHOLE = Printer().page().prose(HALL).page().prose(SHOP).content()


@STEADY
@given(
    st.integers(0, len(WHOLE)),
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=30),
)
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(end, changes):
    content = bytearray(WHOLE)
    for place, byte in changes:
        content[place] = byte
    try:
        found = read_book(Path("fuzz.pdf"), bytes(content[:end])).text
    except InputError as error:
        found = str(error)
    assert found.strip()


# --- as a source of a recipe --------------------------------------------------------------------------------------


def test_the_reader_gives_a_row_a_chapter_with_its_first_page(tmp_path):
    path = english_book().save(tmp_path / "clocks.pdf")
    rows = list(read_pdf(path))
    assert [(row.place.line, row.place.row) for row in rows] == [(5, 1), (6, 2), (7, 3), (8, 4)]
    assert rows[0].value == {"text": "\n\n".join(["Hall", HALL, SHOP, HALL, KITCHEN])}
    with pytest.raises(InputError, match="no such file"):
        list(read_pdf(tmp_path / "none.pdf"))


def test_letters_whose_font_neither_file_nor_machine_has_are_read_or_reported(tmp_path, caplog):
    """Which of the two depends on the machine's fonts; nothing may be gone in silence."""
    path = tmp_path / "font.pdf"
    canvas = Canvas(str(path))
    canvas.setFont("Helvetica", 12)
    canvas.drawString(72, 700, "The lamp was lit at dusk.")
    canvas.setFont(CHINESE, 12)
    for at, letter in enumerate("灯雾鸟"):
        canvas.drawString(72 + 40 * at, 600, letter)
    canvas.save()
    book = read_book(path, path.read_bytes())
    read = sum(letter in book.text for letter in "灯雾鸟")
    reported = [record.message for record in caplog.records if "of text cannot be read" in record.message]
    assert (read == 3 and not reported) or f"{3 - read} piece" in reported[0]

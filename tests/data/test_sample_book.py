"""The sample books: that the PDFs have the parts of a book, and say what their text files say."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import pypdfium2
import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

ROOT = Path(__file__).parents[2]
# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(ROOT / "tools"))

import build_book as tool  # noqa: E402

FOLDER = tool.SAMPLES
NAMES = ["clockmender", "lightkeeper"]
FRONT = 4  # title, copyright, dedication, contents
DIVIDED = "[\x02\ufffe\xad]|-(?=\r?\n)"  # a word divided at a line end, as pdfium gives it


@cache
def page_texts(path: Path) -> list[str]:
    document = pypdfium2.PdfDocument(path)
    texts = [page.get_textpage().get_text_range() for page in document]
    document.close()
    return texts


def book_texts(name: str) -> list[str]:
    return page_texts(FOLDER / f"{name}.pdf")


def tight(text: str) -> str:
    """Text without divided words and blanks, in which a paragraph of the text file can be looked up."""
    return re.sub(r"\s", "", re.sub(DIVIDED, "", text))


def without_head_and_foot(name: str) -> str:
    """The body's pages as one text, read between head and foot in the order in which they were set."""
    document = pypdfium2.PdfDocument(FOLDER / f"{name}.pdf")
    body = []
    for page in document:
        width, height = page.get_mediabox()[2:]
        folio_and_head = (0, 50, width, height - 50) if height > width else (0, 0, width, height)
        body.append(page.get_textpage().get_text_bounded(*folio_and_head))
    document.close()
    return tight("\n".join(body))


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_small_and_bring_ten_questions_and_a_persona(name):
    assert (FOLDER / f"{name}.pdf").stat().st_size < 300_000
    prompts = json.loads((FOLDER / f"{name}_prompts.json").read_text("utf-8"))
    assert len(set(prompts)) == 10 and all(isinstance(prompt, str) and prompt.strip() for prompt in prompts)
    assert len((FOLDER / f"{name}_persona.txt").read_text("utf-8").strip().splitlines()) == 1


def test_the_books_are_long_enough_and_never_repeat_a_paragraph():
    lengths = []
    for name in NAMES:
        sections = tool.read_book(FOLDER / f"{name}.md").of_kind("", "two columns")
        paragraphs = [paragraph for section in sections for paragraph in section.paragraphs]
        assert len(set(paragraphs)) == len(paragraphs) > 60
        lengths.append(" ".join(paragraphs))
    assert len(lengths[0].split()) > 6000
    assert len(tight(lengths[1])) > 9000


@pytest.mark.parametrize("name", NAMES)
def test_the_front_matter_stands_on_its_pages(name):
    book = tool.read_book(FOLDER / f"{name}.md")
    title, rights, dedication, contents = map(tight, book_texts(name)[:FRONT])
    assert tight(book.title + book.subtitle + book.author + book.imprint) == title
    assert all(tight(paragraph) in rights for paragraph in book.of_kind("copyright")[0].paragraphs)
    assert tight(book.of_kind("dedication")[0].paragraphs[0]) in dedication
    assert contents.startswith("Contents" if name == "clockmender" else "目录")


@pytest.mark.parametrize("name", NAMES)
def test_the_contents_name_the_page_on_which_each_part_begins(name):
    texts = book_texts(name)
    book = tool.read_book(FOLDER / f"{name}.md")
    entries = re.findall(r"^(.+?) ?(?:\. ?){5,}(\d+)\r?$", texts[FRONT - 1], re.MULTILINE)
    shown = book.of_kind("", "two columns", "rotated", "bibliography", "index")
    assert len(entries) == len(shown)
    for (entry, folio), section in zip(entries, shown, strict=True):
        assert tight(entry).endswith(tight(section.title))
        page = texts[FRONT + int(folio) - 1]
        assert tight(section.title) in tight(page[:60])
        assert page.strip().endswith(folio)


@pytest.mark.parametrize("name", NAMES)
def test_every_paragraph_of_the_text_is_in_the_pdf_in_order(name):
    body, position = without_head_and_foot(name), 0
    for section in tool.read_book(FOLDER / f"{name}.md").of_kind("", "two columns"):
        for paragraph in section.paragraphs:
            found = body.find(tight(paragraph), position)
            assert found >= 0, paragraph[:60]
            position = found + len(tight(paragraph))


@pytest.mark.parametrize("name", NAMES)
def test_one_chapter_has_two_columns(name):
    document = pypdfium2.PdfDocument(FOLDER / f"{name}.pdf")
    title = tool.read_book(FOLDER / f"{name}.md").of_kind("two columns")[0].title
    number = next(at for at, text in enumerate(book_texts(name)) if at >= FRONT and title in text)
    page = document[number]
    text_page = page.get_textpage()
    # Under the title nothing but the two blocks: the strip between them is empty.
    gutter = tool.WIDTH / 2 - 5, 50, tool.WIDTH / 2 + 5, tool.TOP - 60
    assert not text_page.get_text_bounded(*gutter).strip()
    left = text_page.get_text_bounded(0, 50, tool.WIDTH / 2, tool.TOP - 60)
    right = text_page.get_text_bounded(tool.WIDTH / 2, 50, tool.WIDTH, tool.TOP - 60)
    assert len(left) > 150 and len(right) > 150
    document.close()


@pytest.mark.parametrize(("name", "rotation"), [("clockmender", 90), ("lightkeeper", 0)])
def test_one_page_lies_on_its_side(name, rotation):
    document = pypdfium2.PdfDocument(FOLDER / f"{name}.pdf")
    table = tool.read_book(FOLDER / f"{name}.md").of_kind("rotated")[0]
    number = next(
        at
        for at, text in enumerate(book_texts(name))
        if at >= FRONT and tight(table.title) in tight(text[:40])
    )
    assert [page.get_rotation() for page in document] == [
        rotation if at == number else 0 for at in range(len(document))
    ]
    # Its lines run up the sheet: on the unturned page, a line's characters stand one above the other.
    text_page = document[number].get_textpage()
    first, later = (text_page.get_charbox(at) for at in (0, 5))
    assert abs(first[0] - later[0]) < 15 < later[1] - first[1]
    cells = [cell for row in table.paragraphs if "---" not in row for cell in row.strip("|").split("|")]
    assert all(tight(cell) in tight(book_texts(name)[number]) for cell in cells)
    document.close()


def test_running_heads_and_page_numbers():
    english, chinese = (book_texts(name)[FRONT:] for name in NAMES)
    for number, text in enumerate(english, start=1):
        assert re.search(rf"^{number}\r?$", text, re.MULTILINE)
    heads = [number for number, text in enumerate(english, start=1) if "The Clockmender’s Notebook" in text]
    assert len(heads) >= 5 and all(number % 2 == 0 for number in heads)
    assert sum("守灯人手记" in text for text in chinese) >= 5


def test_words_are_divided_at_line_ends_in_the_english_book_only():
    english, chinese = ("\n".join(book_texts(name)) for name in NAMES)
    assert len(re.findall(DIVIDED, english)) >= 10
    assert not re.search(DIVIDED, chinese)


@pytest.mark.parametrize("name", NAMES)
def test_the_index_is_right(name):
    texts, book = book_texts(name), tool.read_book(FOLDER / f"{name}.md")
    start = next(at for at, text in enumerate(texts) if text.startswith(book.of_kind("index")[0].title))
    index = tight(texts[start].strip().rsplit("\n", 1)[0])  # without the page's own number
    for row in book.of_kind("index")[0].paragraphs:
        term, sought = re.split(r": |：", row, maxsplit=1)
        pages = re.search(re.escape(tight(term)) + r"((?:[,，]\d+(?:–\d+)?)+)", index)
        assert pages, term
        for first in re.findall(r"[,，](\d+)", pages.group(1)):
            text = tight(texts[FRONT + int(first) - 1]).lower()
            assert any(tight(words).lower() in text for words in re.split(r"; |；", sought)), (term, first)


@pytest.mark.parametrize("name", NAMES)
def test_the_tool_makes_the_same_book_again(name, tmp_path):
    if tool.BOOKS[name].chinese:
        if not tool.FONT.is_file():
            pytest.skip(f"the Chinese book is set in {tool.FONT.name}, which this machine does not have")
        pdfmetrics.registerFont(TTFont(tool.HAN, tool.FONT))
    source, style = FOLDER / f"{name}.md", tool.BOOKS[name]
    for target in (tmp_path / "one.pdf", tmp_path / "two.pdf"):
        assert tool.write_book(source, style, target) == len(book_texts(name))
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
    assert page_texts(tmp_path / "one.pdf") == book_texts(name)


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("winter", "win-ter"),
        ("something", "some-thing"),
        ("running,", "run-ning,"),
        ("telling", "tell-ing"),
        ("movement.", "move-ment."),
        ("weather", "weather"),
        ("turned", "turned"),
        ("silence", "silence"),
        ("string", "string"),
        ("Winter", "Winter"),
    ],
)
def test_words_are_divided_where_a_reader_expects_it(word, parts):
    at = tool.syllables(word)
    assert (f"{word[: at[-1]]}-{word[at[-1] :]}" if at else word) == parts

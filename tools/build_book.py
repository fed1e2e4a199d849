"""Typeset the sample books of `samples/book`: each Markdown file there becomes a PDF such as a publisher would send.

    python tools/build_book.py [--output src/tunesmith/samples/book] [--font wqy-microhei.ttc]

Title page, copyright page, contents with dot leaders, running heads, page numbers, justified lines hyphenated at their
ends, a chapter in two columns, a page turned on its side, a bibliography and an index: what has to be read in the right
order, mended or left out when a model is to learn from the book. The same text gives the same bytes.

The Chinese type is embedded (WenQuanYi Micro Hei, Apache 2.0; Debian has it as fonts-wqy-microhei): where a file
leaves it out and the machine has no Chinese font either, PDFium loses letters.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

SAMPLES = Path(__file__).parent.parent / "src/tunesmith/samples/book"
FONT = Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc")
WIDTH, HEIGHT = 360.0, 540.0  # points: a book for a coat pocket
LEFT, TOP, BOTTOM = 44.0, HEIGHT - 62.0, 56.0
MEASURE = WIDTH - 2 * LEFT
GUTTER = 18.0
HAN_NUMBERS = [*"一二三四五六七八九十", "十一", "十二", "十三", "十四", "十五"]

# What must not begin or end a line of Chinese.
NOT_FIRST, NOT_LAST = "，。、；：？！”’）》…", "“‘（《"


@dataclass(frozen=True)
class Style:
    """How one language is set."""

    chinese: bool
    body: str
    italic: str
    bold: str
    size: float
    leading: float
    indent: float
    contents: str
    folio_in_head: bool  # else at the foot, in the middle


ENGLISH = Style(False, "Times-Roman", "Times-Italic", "Times-Bold", 10.5, 13.6, 14.0, "Contents", False)
HAN = "WenQuanYiMicroHei"
CHINESE = Style(True, HAN, HAN, HAN, 10.5, 17.0, 21.0, "目录", True)
BOOKS = {"clockmender": ENGLISH, "lightkeeper": CHINESE}


@dataclass(frozen=True)
class Section:
    """A heading of the Markdown file and the paragraphs under it; `kind` stands in braces behind the heading."""

    title: str
    kind: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Book:
    title: str
    subtitle: str
    author: str
    imprint: str
    sections: tuple[Section, ...]

    def of_kind(self, *kinds: str) -> list[Section]:
        return [section for section in self.sections if section.kind in kinds]


@dataclass(frozen=True)
class Run:
    """Text in one font at one place; `spread` is added at each blank (at each character, in Chinese)."""

    x: float
    y: float
    text: str
    font: str
    size: float
    spread: float = 0.0


@dataclass
class Page:
    folio: str = ""
    head: str = ""
    runs: list[Run] = field(default_factory=list)
    sideways: bool = False
    words: str = ""  # its text with the line ends mended, for the index


@dataclass(frozen=True)
class Line:
    """A line as it was broken: its words, each with its font, and whether it ends the paragraph."""

    words: tuple[tuple[str, str], ...]
    last: bool
    indent: float
    gap: float = 0.0  # white space above it


def read_book(path: Path) -> Book:
    """Parse the Markdown file: `key: value` lines, then `## Heading {kind}` and paragraphs."""
    front, *parts = path.read_text("utf-8").split("\n## ")
    facts = dict(line.split(": ", 1) for line in front.strip().splitlines())
    sections = []
    for part in parts:
        heading, _, text = part.partition("\n")
        title, _, kind = heading.partition(" {")
        separator = "\n" if kind.startswith(("index", "rotated")) else "\n\n"
        paragraphs = tuple(block.strip() for block in text.split(separator) if block.strip())
        sections.append(Section(title, kind.rstrip("}"), paragraphs))
    return Book(sections=tuple(sections), **facts)


# --- lines


def width_of(text: str, font: str, size: float) -> float:
    return float(pdfmetrics.stringWidth(text, font, size))


def syllables(word: str) -> list[int]:
    """Where a long English word may be divided: before an ending, else between two consonants. Cautious, not complete."""
    core = re.match(r"[a-z]{6,}", word)
    if core is None:
        return []
    letters = core.group()
    ending = re.search(r"[aeiouy].*?(thing|ness|ment|less|tion|sion|ful|ing|ly)$", letters)
    if ending:
        at = ending.start(1)
        if ending.group(1) == "ing" and letters[at - 1] == letters[at - 2] and letters[at - 1] not in "ls":
            at -= 1
        return [at] if at >= 3 else []
    found = []
    for match in re.finditer(r"(?<=[aeiouy])([b-df-hj-np-tvwxz])(?=([b-df-hj-np-tvwxz])[aeiouyl])", letters):
        at = match.end()
        kept_together = match.group(1) + match.group(2) in (
            "th",
            "ch",
            "sh",
            "ph",
            "gh",
            "ck",
            "wh",
            "qu",
        ) or (match.group(2) in "lr" and match.group(1) in "bcdfgpt")
        rest = letters[at:]
        if at >= 2 and len(rest) >= 3 and not kept_together and not re.fullmatch(r"[^aeiouy]+e[ds]?", rest):
            found.append(at)
    return found


def break_english(text: str, style: Style, measure: float, indent: float, lead: int = 0) -> Iterator[Line]:
    """Lines as full as they go. The first `lead` words are in italics."""
    words = [(word, style.italic if at < lead else style.body) for at, word in enumerate(text.split())]
    held: list[tuple[str, str]] = []
    room = measure - indent
    hyphened = False
    while words:
        word, font = words.pop(0)
        blank = width_of(" ", style.body, style.size) if held else 0.0
        wide = width_of(word, font, style.size)
        if blank + wide <= room:
            held.append((word, font))
            room -= blank + wide
            continue
        fitting = [
            at
            for at in syllables(word)
            if blank + width_of(word[:at] + "-", font, style.size) <= room
            and not hyphened
            and room > 0.03 * measure
        ]
        if fitting:
            held.append((word[: fitting[-1]] + "-", font))
            word = word[fitting[-1] :]
        hyphened = bool(fitting)
        yield Line(tuple(held), False, indent)
        words.insert(0, (word, font))
        held, room, indent = [], measure, 0.0
    yield Line(tuple(held), True, indent)


def break_chinese(text: str, style: Style, measure: float, indent: float) -> Iterator[Line]:
    """Lines of characters, none beginning with a closing mark or ending with an opening one."""
    tokens = re.findall(r"[A-Za-z0-9]+|.", text)
    start = 0
    while start < len(tokens):
        end, room = start, measure - indent
        while end < len(tokens) and (wide := width_of(tokens[end], style.body, style.size)) <= room + 0.01:
            room -= wide
            end += 1
        if end < len(tokens):
            while tokens[end] in NOT_FIRST or tokens[end - 1] in NOT_LAST:
                end -= 1
        yield Line((("".join(tokens[start:end]), style.body),), end == len(tokens), indent)
        start, indent = end, 0.0


def break_lines(text: str, style: Style, measure: float, indent: float, lead: int = 0) -> list[Line]:
    if style.chinese:
        return list(break_chinese(text, style, measure, indent))
    return list(break_english(text, style, measure, indent, lead))


def runs_of(line: Line, style: Style, x: float, y: float, measure: float) -> Iterator[Run]:
    """The line justified, unless it is the last one."""
    x += line.indent
    if style.chinese:
        text = line.words[0][0]
        spare = measure - line.indent - width_of(text, style.body, style.size)
        yield Run(x, y, text, style.body, style.size, 0.0 if line.last else spare / max(1, len(text) - 1))
        return
    blank = width_of(" ", style.body, style.size)
    natural = sum(width_of(word, font, style.size) for word, font in line.words)
    gaps = max(1, len(line.words) - 1)
    spread = 0.0 if line.last else (measure - line.indent - natural) / gaps - blank
    for font in dict.fromkeys(font for _, font in line.words):
        words = [word for word, own in line.words if own == font]
        text = " ".join(words) + (" " if words[-1] is not line.words[-1][0] else "")
        yield Run(x, y, text, font, style.size, spread)
        x += width_of(text, font, style.size) + text.count(" ") * spread


# --- pages


class Typesetter:
    """Lays sections out on pages, and notes the entries of the contents."""

    def __init__(self, book: Book, style: Style) -> None:
        self.book, self.style = book, style
        self.pages: list[Page] = []
        self.contents: list[tuple[str, str]] = []  # what stands there, and the page number

    def page(self, head: str) -> Page:
        number = len(self.pages) + 1
        self.pages.append(Page(str(number), self.book.title if number % 2 == 0 else head))
        return self.pages[-1]

    def body(self) -> None:
        """The preface, the numbered chapters, and the table among them."""
        number = 0
        for section in self.book.of_kind("", "two columns", "rotated"):
            if section.kind == "rotated":
                self.table(section)
                continue
            columns = 2 if section.kind else 1
            self.flow(section.title, self.numeral(number), self.broken(section, columns), columns)
            number += 1

    def numeral(self, number: int) -> str:
        """What stands above a chapter's title; the preface has nothing there."""
        if not number:
            return ""
        return f"第{HAN_NUMBERS[number - 1]}章" if self.style.chinese else str(number)

    def broken(self, section: Section, columns: int) -> list[Line]:
        """The lines of a chapter, or of the word list that is set in two columns."""
        style, lines = self.style, list[Line]()
        for at, text in enumerate(section.paragraphs):
            # An entry of the word list begins with its word in italics, where there are italics.
            lead = len(text.split(".")[0].split()) if columns == 2 and not style.chinese else 0
            flush = columns == 2 or (at == 0 and not style.chinese)
            entry = break_lines(text, style, column_width(columns), 0.0 if flush else style.indent, lead)
            if columns == 2 and at:
                entry[0] = replace(entry[0], gap=4.0)
            lines += entry
        return lines

    def flow(self, title: str, above: str, lines: Sequence[Line], columns: int) -> None:
        """Set lines on pages of so many columns, the first page under the title."""
        style, page = self.style, self.page(title)
        numeral = f"{above}{'　' if style.chinese else '. '}" if above else ""
        self.contents.append((numeral + title, page.folio))
        page.head = ""
        middle(page, above, TOP - 12, style.body, 10.5)
        middle(page, title, TOP - 34, style.italic, 17)
        top, column = TOP - 72, 0
        measure = column_width(columns)
        y = top
        for at, line in enumerate(lines):
            y -= line.gap if y != top else 0.0
            begins = line.indent > 0 or line.gap > 0
            lonely = begins and not line.last and at + 1 < len(lines) and y - style.leading < BOTTOM
            if y < BOTTOM or lonely:  # the first line of a paragraph does not stand alone at a foot
                column += 1
                if column == columns:
                    page, top, column = self.page(title), TOP, 0
                y = top
            page.runs.extend(runs_of(line, style, LEFT + column * (measure + GUTTER), y, measure))
            page.words += mended(line, style)
            y -= style.leading

    def table(self, section: Section) -> None:
        """A page on its side: an introduction, and the table under it."""
        style, page = self.style, self.page(section.title)
        page.sideways, page.head = True, ""
        self.contents.append((section.title, page.folio))
        x, y = 60.0, WIDTH - 62.0  # on the page as it lies, HEIGHT wide
        measure = HEIGHT - 2 * x
        page.runs.append(Run(x, y, section.title, style.italic, 15))
        y -= 26
        rows = [line for line in section.paragraphs if line.startswith("|") and "---" not in line]
        for text in (line for line in section.paragraphs if not line.startswith("|")):
            for line in break_lines(text, style, measure, 0.0):
                page.runs.extend(runs_of(line, style, x, y, measure))
                page.words += mended(line, style)
                y -= style.leading
        y -= 12
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        widths = [
            max(width_of(cell, style.bold, style.size) for cell in column)
            for column in zip(*cells, strict=True)
        ]
        gap = (measure - sum(widths)) / max(1, len(widths) - 1)
        for at, row in enumerate(cells):
            for column, cell in enumerate(row):
                left = x + sum(widths[:column]) + column * min(gap, 48.0)
                page.runs.append(Run(left, y, cell, style.body if at else style.bold, style.size))
            page.words += " ".join(row) + " "
            y -= style.leading + (4 if at == 0 else 1.5)

    def back_matter(self) -> None:
        body = [page.words.lower() for page in self.pages]
        for section in self.book.of_kind("bibliography"):
            entries = [self.hanging(text, MEASURE, 5.0) for text in section.paragraphs]
            self.flow(section.title, "", [line for entry in entries for line in entry], 1)
        for section in self.book.of_kind("index"):
            self.flow(section.title, "", list(self.index(section, body)), 2)

    def index(self, section: Section, body: Sequence[str]) -> Iterator[Line]:
        """Terms and the pages they stand on, found in the body's pages as they were set."""
        comma, initial = "，" if self.style.chinese else ", ", ""
        for row in section.paragraphs:
            term, sought = re.split(r": |：", row, maxsplit=1)
            # An English pattern begins where a word begins: "oil" is not in "boil".
            pattern = "|".join(re.escape(words) for words in re.split(r"; |；", sought.lower()))
            sought_for = re.compile(pattern if self.style.chinese else rf"\b(?:{pattern})")
            found = [at for at, text in enumerate(body, 1) if sought_for.search(text)]
            if not found:
                raise SystemExit(f"{self.book.title}: the index term '{term}' stands on no page")
            new_letter = initial and not self.style.chinese and term[0].lower() != initial
            entry = comma.join([term, *ranges(found)])
            yield from self.hanging(entry, column_width(2), 5.0 if new_letter else 0.0)
            initial = term[0].lower()

    def hanging(self, text: str, measure: float, gap: float) -> list[Line]:
        """Lines set ragged, every one but the first moved in; `gap` above the first."""
        first, *others = break_lines(text, self.style, measure - 14, 0.0)
        return [
            replace(first, last=True, gap=gap),
            *(replace(line, last=True, indent=14.0) for line in others),
        ]


def column_width(columns: int) -> float:
    return (MEASURE - GUTTER * (columns - 1)) / columns


def mended(line: Line, style: Style) -> str:
    """The words of a line, so that the next line's can follow."""
    text = " ".join(word for word, _ in line.words)
    if style.chinese:
        return text
    return text[:-1] if text.endswith("-") and not line.last else text + " "


def middle(page: Page, text: str, y: float, font: str, size: float, spread: float = 0.0) -> None:
    if text:
        wide = width_of(text, font, size) + spread * (len(text) - 1)
        page.runs.append(Run((WIDTH - wide) / 2, y, text, font, size, spread))


def ranges(numbers: Sequence[int]) -> list[str]:
    """Page numbers with three or more in a row as a range."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and groups[-1][-1] == number - 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return [
        part
        for group in groups
        for part in ([f"{group[0]}–{group[-1]}"] if len(group) > 2 else [str(number) for number in group])
    ]


def front_matter(book: Book, style: Style, typeset: Typesetter) -> list[Page]:
    """Title, copyright, dedication and contents, numbered in Roman numerals that the first two do not show."""
    title, rights, dedication, contents = Page(), Page(), Page("iii"), Page("iv")
    middle(title, book.title, HEIGHT * 0.70, style.body, 23, 6.0 if style.chinese else 0.0)
    middle(title, book.subtitle, HEIGHT * 0.70 - 34, style.italic, 13)
    middle(title, book.author, HEIGHT * 0.44, style.body, 13, 4.0 if style.chinese else 0.0)
    middle(title, book.imprint, 70, style.body, 10)
    y, small = 250.0, replace(style, size=8.5, leading=12.0)
    for text in book.of_kind("copyright")[0].paragraphs:
        for line in break_lines(text, small, MEASURE, 0.0):
            rights.runs.extend(runs_of(line, small, LEFT, y, MEASURE))
            y -= small.leading
        y -= 6
    middle(dedication, book.of_kind("dedication")[0].paragraphs[0], HEIGHT * 0.66, style.italic, 12)
    middle(contents, style.contents, TOP - 24, style.italic, 17)
    y = TOP - 70
    for entry, folio in typeset.contents:
        contents.runs.extend(leader(entry, folio, y, style))
        y -= 18
    return [title, rights, dedication, contents]


def leader(entry: str, folio: str, y: float, style: Style) -> Iterator[Run]:
    """A line of the contents: the entry, dots, the page number at the right."""
    size = style.size
    yield Run(LEFT, y, entry, style.body, size)
    right = LEFT + MEASURE - width_of(folio, "Times-Roman", size)
    yield Run(right, y, folio, "Times-Roman", size)
    dot = width_of(" .", "Times-Roman", size)
    start = LEFT + width_of(entry, style.body, size) + 3
    count = int((right - 4 - start) / dot)
    yield Run(right - 4 - count * dot, y, " ." * count, "Times-Roman", size)


# --- the file


def draw(canvas: Canvas, page: Page, style: Style) -> None:
    runs = list(page.runs)
    if page.folio and style.folio_in_head and page.head:
        even = int(page.folio) % 2 == 0
        left = LEFT if even else WIDTH - LEFT - width_of(page.folio, "Times-Roman", 9.5)
        runs.append(Run(left, HEIGHT - 42, page.folio, "Times-Roman", 9.5))
    elif page.folio:
        across = HEIGHT if page.sideways else WIDTH
        left = (across - width_of(page.folio, "Times-Roman", 9.5)) / 2
        runs.append(Run(left, 34, page.folio, "Times-Roman", 9.5))
    if page.head:
        wide = width_of(page.head, style.italic, 9)
        runs.append(Run((WIDTH - wide) / 2, HEIGHT - 42, page.head, style.italic, 9))
    # The English book's table is turned by the page's /Rotate, so that it opens upright; the Chinese one's is printed
    # on its side, so that the reader turns the book. A reader of PDFs meets both.
    turned = page.sideways and not style.chinese
    canvas.setPageRotation(90 if turned else 0)
    # reportlab takes the size of a turned page as it is seen.
    canvas.setPageSize((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
    if page.sideways:
        canvas.translate(WIDTH, 0)
        canvas.rotate(90)
    for run in runs:
        text = canvas.beginText(run.x, run.y)
        text.setFont(run.font, run.size)
        if style.chinese:
            text.setCharSpace(run.spread)
        else:
            text.setWordSpace(run.spread)
        text.textOut(run.text)
        canvas.drawText(text)
    canvas.showPage()


def write_book(source: Path, style: Style, target: Path) -> int:
    """Typeset one book; returns how many pages it has."""
    book = read_book(source)
    typeset = Typesetter(book, style)
    typeset.body()
    typeset.back_matter()
    pages = [*front_matter(book, style, typeset), *typeset.pages]
    canvas = Canvas(str(target), (WIDTH, HEIGHT), invariant=1, pageCompression=1)
    canvas.setTitle(book.title)
    canvas.setAuthor(book.author)
    for page in pages:
        draw(canvas, page, style)
    canvas.save()
    return len(pages)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=SAMPLES, help="the folder for the PDFs")
    parser.add_argument("--font", type=Path, default=FONT, help="the font file of the Chinese book")
    options = parser.parse_args()
    pdfmetrics.registerFont(TTFont(HAN, options.font))
    for name, style in BOOKS.items():
        target = options.output / f"{name}.pdf"
        pages = write_book(SAMPLES / f"{name}.md", style, target)
        print(f"{target}: {pages} pages, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""PDF files made on the spot with reportlab: a small printer that sets pages the way books are set."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from reportlab.lib import pdfencrypt
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = 420, 600
LATIN, CHINESE = "Times-Roman", "STSong-Light"
pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))


def typeset(text: str, width: float, *, font: str = LATIN, size: float = 11, indent: float = 0) -> list[str]:
    """Break a text into lines of this width; Chinese between any characters, but never before a mark."""
    words = list(text) if font == CHINESE else text.split()
    blank = "" if font == CHINESE else " "
    found: list[str] = []
    line = ""
    for word in words:
        room = width - (indent if not found else 0)
        longer = f"{line}{blank}{word}" if line else word
        if line and pdfmetrics.stringWidth(longer, font, size) > room and word not in "，。；：！？”":
            found.append(line)
            line = word
        else:
            line = longer
    return [*found, line]


class Printer:
    """A book in the making; pages are begun with `page` and texts put on them from the top down."""

    def __init__(
        self, *, head: str | None = None, folio: str | None = None, password: str | None = None
    ) -> None:
        self.buffer = io.BytesIO()
        encrypt = pdfencrypt.StandardEncryption(password, canPrint=1) if password else None
        self.canvas = Canvas(self.buffer, pagesize=(WIDTH, HEIGHT), encrypt=encrypt, invariant=1)
        self.head, self.folio = head, folio
        self.number = 0
        self.y = 0.0

    def page(self, *, head: bool = True, top: float = 520) -> Printer:
        """Begin a page, with its running head and its number."""
        if self.number:
            self.canvas.showPage()
        self.number += 1
        self.y = top
        self.canvas.setFont(LATIN, 9)
        if self.head and head:
            self.canvas.drawCentredString(WIDTH / 2, 560, self.head)
        if self.folio:
            self.canvas.drawCentredString(WIDTH / 2, 30, self.folio.format(self.number))
        return self

    def put(
        self,
        lines: Sequence[str] | str,
        *,
        x: float = 50,
        font: str = LATIN,
        size: float = 11,
        indent: float = 0,
        leading: float = 1.25,
    ) -> Printer:
        """Put lines under one another; the first may be indented."""
        self.canvas.setFont(font, size)
        for place, line in enumerate([lines] if isinstance(lines, str) else lines):
            self.canvas.drawString(x + (indent if place == 0 else 0), self.y, line)
            self.y -= leading * size
        return self

    def prose(
        self, text: str, *, width: float = 320, x: float = 50, font: str = LATIN, size: float = 11
    ) -> Printer:
        """A paragraph, its first line indented."""
        indent = 2 * size
        return self.put(
            typeset(text, width, font=font, size=size, indent=indent),
            x=x,
            font=font,
            size=size,
            indent=indent,
        )

    def picture(self) -> Printer:
        """A page full of a picture, as a scanner makes it."""
        from PIL import Image

        image = Image.new("L", (40, 60), 200)
        self.canvas.drawImage(ImageReader(image), 0, 0, WIDTH, HEIGHT)
        return self

    def content(self) -> bytes:
        self.canvas.save()
        return self.buffer.getvalue()

    def save(self, path: Path) -> Path:
        path.write_bytes(self.content())
        return path

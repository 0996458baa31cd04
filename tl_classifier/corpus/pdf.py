"""PDF as plain text: lines of pages back to paragraphs.

A PDF knows where letters stand, and nothing of paragraphs, headers or page numbers. Lines that come again at the same
place on other pages, page numbers and line numbers are left out. Lines are joined to paragraphs, which end where there
is a gap, an indent, a line that ends early after the end of a sentence, or a new speaker. A word that is divided at the
end of a line keeps its hyphen and the line break, since only cleaning can tell whether the hyphen belongs to it; see
`tl_classifier.preprocessing`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from tl_classifier.corpus import confined, textfiles
from tl_classifier.corpus.labels import find_labels
from tl_classifier.corpus.plaintext import Paragraphs, PlainText
from tl_classifier.corpus.rows import well_formed
from tl_classifier.errors import InputError

_EDGE = 3
"""How many lines at the top and at the bottom of a page may be headers and footers."""

_GAP = 1.35
"""How much further apart than usual lines are where there is a gap."""

_NUMBERS = re.compile(r"\d+|\b[ivxl]+\b")
_PAGE_NUMBER = re.compile(
    r"(?:\w{1,6}\.?\s+)?[-–—|\[(]?\s*\d{1,4}\s*[-–—|\])]?(?:\s*(?:of|von|de|di|sur|av|van|/)\s*\d{1,4})?"
)
_LINE_NUMBER = re.compile(r"\s*(\d{1,5})(?:[ \t]+|$)")
_ENDS_SENTENCE = re.compile(r"[.!?…:][\"'”’»)\]]*$")


@dataclass(slots=True)
class _Line:
    page: int
    left: float
    bottom: float
    right: float
    top: float
    bold: int
    text: str
    from_top: float

    @property
    def height(self) -> float:
        return max(self.top - self.bottom, 1.0)


def read_pdf(path: Path) -> PlainText:
    """Read the text of a PDF.

    Raises:
        InputError: if it cannot be read, is protected or damaged, holds no text, or takes too long or too much memory.
    """
    kind = textfiles.kind_of(path)
    if kind != "a PDF":
        raise InputError(f"{path} is not a .pdf file: its content is {kind or 'something else'}.")
    pages = confined.read("pdf", path)["pages"]
    lines = [_line(number, page["height"], *line) for number, page in enumerate(pages) for line in page["lines"]]
    if not any(character.isalpha() for line in lines for character in line.text):
        raise InputError(f"{path} has no text in it, only images of pages; run OCR on it first.")
    notes = []
    rows = _by_page(lines)
    kept = _without_furniture(rows, len(pages))
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept):,} lines of headers, footers and page numbers were left out.")
    if _strip_line_numbers(kept):
        notes.append("Line numbers were left out.")
    return _joined([line for line in kept if line.text.strip()], tuple(notes))


def _line(
    page: int, height: float, left: float, bottom: float, right: float, top: float, bold: int, text: str
) -> _Line:
    return _Line(page, left, bottom, right, top, bold, well_formed(text), height - top)


def _by_page(lines: Sequence[_Line]) -> list[_Line]:
    pages: dict[int, list[_Line]] = {}
    for line in lines:
        pages.setdefault(line.page, []).append(line)
    return [row for page in pages.values() for row in _rows(page)]


def _rows(lines: Sequence[_Line]) -> Iterator[_Line]:
    """The lines of a page from the top down; pieces that stand beside each other are one line, with a tab between."""
    row: _Line | None = None
    for line in sorted(lines, key=lambda line: (-line.top, line.left)):
        middle = (line.bottom + line.top) / 2
        if row is not None and row.bottom < middle < row.top:
            first, second = (row, line) if row.left <= line.left else (line, row)
            if first.right <= second.left + 1:
                gap = "\t" if second.left - first.right > first.height else " "
                row = _Line(
                    row.page,
                    first.left,
                    min(first.bottom, second.bottom),
                    second.right,
                    max(first.top, second.top),
                    first.bold,
                    f"{first.text.rstrip()}{gap}{second.text.lstrip()}",
                    row.from_top,
                )
                continue
        if row is not None:
            yield row
        row = line
    if row is not None:
        yield row


# --- headers, footers, numbers ----------------------------------------------------------------------------------


def _without_furniture(lines: Sequence[_Line], pages: int) -> list[_Line]:
    """The lines without those that come again on other pages, and page numbers."""
    by_page: dict[int, list[_Line]] = {}
    for line in lines:
        by_page.setdefault(line.page, []).append(line)
    seen: Counter[tuple[str, int]] = Counter()
    for page in by_page.values():
        seen.update({_place(line) for line in (*page[:_EDGE], *page[-_EDGE:])})
    enough = max(2, 0.5 * pages)
    pitch = _pitch(lines)
    out: set[int] = set()
    for number, page in by_page.items():
        for inwards in (page, page[::-1]):
            run = 0
            for at, line in enumerate(inwards[:_EDGE]):
                what, height = _place(line)
                times = max(seen[what, height + near] for near in (-1, 0, 1))
                if times < enough and _PAGE_NUMBER.fullmatch(line.text.strip()) is None:
                    break
                # The text itself may be alike; what is no text has a gap behind it, or is on every page.
                gap = at + 1 == len(inwards) or abs(line.top - inwards[at + 1].top) > _GAP * pitch
                if gap or (at == 0 and times == pages > 2):
                    run = at + 1
            if run < len(page) or number > 0:
                out.update(id(line) for line in inwards[:run])
    return [line for line in lines if id(line) not in out]


def _pitch(lines: Sequence[_Line]) -> float:
    """How far apart lines are, from top to top; 0 where there are too few to know."""
    pitches = [
        above.top - below.top
        for above, below in pairwise(lines)
        if above.page == below.page and 0 < above.top - below.top < 4 * above.height
    ]
    return median(pitches) if pitches else 0.0


def _place(line: _Line) -> tuple[str, int]:
    """What a line has in common with a header on another page: its text but for numbers, and how far down it stands."""
    return _likeness(line), round(line.from_top / 4)


def _likeness(line: _Line) -> str:
    """The text of a line with its numbers made alike, as headers and footers differ in them."""
    return _NUMBERS.sub("#", " ".join(line.text.split()).casefold())


def _strip_line_numbers(lines: Sequence[_Line]) -> bool:
    """Take the numbers that a transcript's lines are counted with off them; False where there are none."""
    numbered = [(at, match) for at, line in enumerate(lines) if (match := _LINE_NUMBER.match(line.text))]
    if len(numbered) < 8:
        return False
    numbers = [int(match[1]) for _, match in numbered]
    steps = [after - before for before, after in pairwise(numbers)]
    step = Counter(steps).most_common(1)[0][0]
    regular = sum(1 for difference in steps if difference == step)
    # Each line, or every fifth or tenth; they may begin anew on each page.
    dense = len(numbered) >= 0.6 * len(lines) if step == 1 else step in (2, 5, 10)
    if not dense or regular < 0.8 * len(steps):
        return False
    for at, match in numbered:
        line = lines[at]
        line.bold = max(0, line.bold - match.end())
        line.text = line.text[match.end() :]
    return True


# --- paragraphs -------------------------------------------------------------------------------------------------


def _joined(lines: Sequence[_Line], notes: tuple[str, ...]) -> PlainText:
    if not lines:
        return PlainText("", "a PDF", notes=notes)
    pitch = _pitch(lines)
    right = sorted(line.right for line in lines)[int(0.9 * (len(lines) - 1))]
    left = sorted(line.left for line in lines)[int(0.1 * (len(lines) - 1))]
    groups: list[list[_Line]] = [[lines[0]]]
    for above, below in pairwise(lines):
        if _breaks(above, below, pitch, left, right):
            groups.append([below])
        else:
            groups[-1].append(below)
    # Who speaks is found in the lines as they stand, since a name begins a line.
    draft = Paragraphs()
    for group in groups:
        draft.add("\n".join(line.text.strip() for line in group), apart=group[0].bold)
    found = draft.to_text("a PDF")
    starts = {label.start for label in find_labels(found.text, found.marks)}
    final = Paragraphs()
    at = 0
    for group in groups:
        pieces: list[_Line] = []
        for line in group:
            if pieces and at in starts:
                final.add(_flowing(pieces), apart=pieces[0].bold)
                pieces = []
            pieces.append(line)
            at += len(line.text.strip()) + 1
        at += 1  # two line breaks stand between paragraphs
        final.add(_flowing(pieces), apart=pieces[0].bold)
    return final.to_text("a PDF", notes=notes)


def _breaks(above: _Line, below: _Line, pitch: float, left: float, right: float) -> bool:
    """Whether a paragraph ends between two lines."""
    width = max(right - left, 1.0)
    ended = _ENDS_SENTENCE.search(above.text.rstrip()) is not None
    short = above.right < right - 0.12 * width
    if above.page != below.page:
        return ended and (short or below.left > left + 0.03 * width)
    if above.top - below.top > _GAP * pitch + 0.5 or below.top > above.top:
        return True
    if 0 < below.bold < len(below.text) and above.bold < len(above.text) and (ended or short):
        return True  # a name in bold, likely
    indented = below.left > above.left + 1.2 * below.height and below.left > left + 1.2 * below.height
    return (short and ended) or (indented and ended)


def _flowing(lines: Sequence[_Line]) -> str:
    pieces = []
    for line in lines:
        text = line.text.strip()
        pieces += [text, "\n" if text.endswith(("-", "\u00ad")) else " "]
    return "".join(pieces).rstrip()

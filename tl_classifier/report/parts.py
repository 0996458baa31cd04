"""What the sections of a report are built from: its data, its words for numbers, and heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from tl_classifier.codebook import Code, Codebook, Dimension
from tl_classifier.excerpts import Span
from tl_classifier.report.markup import Contents, Markup, element
from tl_classifier.report.survey import Details, Source, Survey

MAX_COLUMNS = 16
"""Codes beside each other in a heat map; more make a second one."""

SHADED_FROM = 5
"""Excerpts from which on a share is shaded: one of two is no half worth seeing."""

SHADES = (0.05, 0.10, 0.20, 0.35, 0.50)
"""Shares at which a darker shade begins, in the style sheet ``h2`` to ``h6``; ``h1`` is for less, ``h0`` for none."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a report is made of.

    Attributes:
        name: Name of the scored file.
        codebook: What was coded with.
        survey: The counts.
        details: What was found by looking closer.
        with_quotes: Whether the words of excerpts may be shown.
        with_tables: Whether the tables are written beside the report.
        made: The day.
    """

    name: str
    codebook: Codebook
    survey: Survey
    details: Details
    with_quotes: bool
    with_tables: bool
    made: date

    @property
    def shows_words(self) -> bool:
        """Whether words are shown: they may be, and they are there."""
        return self.with_quotes and self.survey.has_text

    def count(self, dimension: Dimension, code: Code) -> int:
        """How many excerpts carry a code."""
        return self.survey.total.codes[self.place(dimension, code)]

    def place(self, dimension: Dimension, code: Code) -> int:
        """Where counts by code hold a code."""
        return self.survey.places[dimension.id, code.id]

    def rest(self, hidden: int, what: str, file: str) -> str:
        """Where the rows are that a table does not show."""
        if self.with_tables:
            return f"{count(hidden, 'further ' + what)} {'is' if hidden == 1 else 'are'} in {file}."
        return f"{count(hidden, 'further ' + what)} can be had in {file}, with the option --tables."


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    Attributes:
        id: Of its element.
        title: Its heading.
        content: What is below.
        on_new_page: Whether it begins a page in print.
    """

    id: str
    title: str
    content: Sequence[Contents]
    on_new_page: bool = True

    def html(self) -> Markup:
        """The section with its heading."""
        return element(
            "section",
            element("h2", self.title, id=f"{self.id}-title"),
            *self.content,
            id=self.id,
            class_="page" if self.on_new_page else None,
            aria_labelledby=f"{self.id}-title",
        )


# --- words ------------------------------------------------------------------------------------------------------


def count(number: int, what: str) -> str:
    """A number of things; `what` is one of them."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def share(part: int, whole: int) -> str:
    """A share in whole per cent; what is there but hardly, and what is missing but hardly, is not rounded away."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1%"
    return ">99%" if 99 < percent < 100 else f"{percent:.0f}%"


def day(of: date) -> str:
    """A day in words, the same for readers everywhere."""
    return f"{of.day} {of:%B %Y}"


def source_line(source: Source) -> str:
    """Where an excerpt comes from."""
    parts = [
        source.document,
        source.speaker,
        None if source.turn is None else f"turn {source.turn:,}",
        None if source.id is None else f"id {source.id}",
    ]
    return " · ".join(part for part in parts if part) or "(no document)"


def words(source: Source, characters: int | None = None, *, marked: Span | None = None) -> Markup:
    """The words of an excerpt, with a sign where they are cut.

    Args:
        source: The excerpt.
        characters: Show so many of them at most.
        marked: The passage that is marked, as offsets into the text.
    """
    text = source.text or ""
    cut = source.cut
    if characters is not None and len(text) > characters:
        text, cut = text[:characters].rsplit(maxsplit=1)[0], True
    end = " […]" if cut else ""
    if marked is None or marked[0] >= len(text):
        return element("blockquote", text.strip() + end, dir="auto")
    before, passage, behind = text[: marked[0]], text[slice(*marked)], text[marked[1] :]
    return element("blockquote", before.lstrip(), element("mark", passage), behind.rstrip() + end, dir="auto")


def note(*sentences: str) -> Markup:
    """A remark below something."""
    return element("p", " ".join(sentences), class_="note")


def block(*content: Contents) -> Markup:
    """Content that stays on one page in print, where it fits on one."""
    return element("div", *content, class_="block")


# --- tables -----------------------------------------------------------------------------------------------------


def head(name: str, *, number: bool = False) -> Markup:
    """The head of a column."""
    return element("th", name, scope="col", class_="n" if number else None)


def number_cell(value: str) -> Markup:
    """A cell with a number."""
    return element("td", value, class_="n")


def shade(part: int, whole: int) -> str:
    """The class of a cell whose shade says a share."""
    if not part:
        return "cell h0"
    if whole < SHADED_FROM:
        return "cell"
    return f"cell h{1 + sum(part / whole >= begins for begins in SHADES)}"


def shades(of: str) -> Markup:
    """What the shades of heat maps mean."""
    between = [f"{low:.0%}–{high:.0%}" for low, high in pairwise(SHADES)]
    labels = [f"under {SHADES[0]:.0%}", *between, f"{SHADES[-1]:.0%} and more"]
    return element(
        "ul",
        element("li", f"Share of {of}: "),
        [element("li", label, class_=f"h{number}") for number, label in enumerate(labels, start=1)],
        element("li", f"no shade: fewer than {SHADED_FROM} excerpts", class_="h0"),
        class_="shades",
    )


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row of a heat map.

    Attributes:
        name: Its head.
        excerpts: What shares are of.
        counts: By place of the code; see `Survey.places`.
        summary: Whether it sums up the others.
    """

    name: str
    excerpts: int
    counts: Sequence[int]
    summary: bool = False


def heat_maps(
    report: Report, dimension: Dimension, what: str, rows: Sequence[HeatRow], caption: str, *, with_shares: bool = False
) -> list[Markup]:
    """Counts by row and code, shaded by their share of the row; as many tables as are needed to fit on paper.

    Args:
        report: The report.
        dimension: Whose codes are the columns.
        what: What a row is.
        rows: The rows.
        caption: What the table shows.
        with_shares: Whether the share stands beside the count.
    """
    tables = []
    parts = [dimension.codes[at : at + MAX_COLUMNS] for at in range(0, len(dimension.codes), MAX_COLUMNS)]
    for number, codes in enumerate(parts, start=1):
        places = [report.place(dimension, code) for code in codes]
        begins = [at > 0 and code.group != codes[at - 1].group for at, code in enumerate(codes)]
        body = [_heat_row(row, places, begins, with_shares=with_shares) for row in rows]
        title = caption if len(parts) == 1 else f"{caption}, part {number} of {len(parts)}"
        table = element(
            "table",
            element("caption", title, class_="unseen" if len(parts) == 1 else None),  # the heading says it
            element("thead", _code_heads(what, codes)),
            element("tbody", body),
            class_="heat",
        )
        tables.append(element("div", table, class_="scroll", tabindex=0, role="region", aria_label=title))
    return tables


def _heat_row(row: HeatRow, places: Sequence[int], begins: Sequence[bool], *, with_shares: bool) -> Markup:
    """A row; where a group begins, there is a gap."""
    counts = [row.counts[at] for at in places]
    cells = [
        element(
            "td",
            f"{part:,}" if part else "·",
            element("small", share(part, row.excerpts)) if with_shares and part else None,
            class_=shade(part, row.excerpts) + (" begins" if begin else ""),
        )
        for part, begin in zip(counts, begins, strict=True)
    ]
    return element(
        "tr",
        element("th", row.name, scope="row", class_="name"),
        number_cell(f"{row.excerpts:,}"),
        cells,
        class_="all" if row.summary else None,
    )


def _code_heads(what: str, codes: Sequence[Code]) -> Markup:
    return element(
        "tr",
        head(what),
        head("Excerpts", number=True),
        [element("th", element("span", code.name), scope="col", class_="code") for code in codes],
    )

"""The report's drawings, as SVG: bars, and ways through the codes as small multiples.

They say the same thing twice, so that nobody depends on colours: what is coloured by group also stands in its own row.
Colours are Okabe and Ito's (2008), which the colour-blind tell apart, in an order that prints well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tl_classifier.codebook import Dimension
from tl_classifier.report.markup import Content, Markup, element, joined
from tl_classifier.report.survey import Mark, Way, Who

GROUP_COLOURS = ("#0072b2", "#b84f00", "#007a5a", "#a3427f", "#7a5c00", "#3b3b3b")
"""Okabe and Ito's blue, vermilion, green, purple, orange and black; the light ones darker, to show on white."""

_WIDTH = 960
_NAMES = 262
_GAP = 28
_ACROSS = 2
_PANEL = (_WIDTH - _NAMES - _GAP * _ACROSS) / _ACROSS + _GAP / _ACROSS
_ROW = 17.0
_TOP = 30
_BOTTOM = 36
_RADIUS = 6.4
_MAX_NAME = 36
_MAX_TURNS = 12


def bar(share: float, *, of: float) -> Markup:
    """A bar as long as `share` is of `of`. What it says stands in numbers beside it."""
    width = 100 * share / of if of else 0.0
    return element(
        "svg",
        element("rect", x=0, y=0, width=width, height=10) if width else None,
        class_="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def colours(dimension: Dimension) -> list[str]:
    """The colour of each code: that of its group."""
    order = {group.id: number for number, group in enumerate(dimension.groups)}
    return [
        GROUP_COLOURS[order.get(code.group or "", len(order) if order else 0) % len(GROUP_COLOURS)]
        for code in dimension.codes
    ]


def key() -> Markup:
    """What the marks of a way mean."""

    def mark(width: float, *drawing: Content) -> Markup:
        return element(
            "svg", *drawing, class_="key", viewBox=f"0 0 {width} 16", width=width, height=16, aria_hidden="true"
        )

    filled = [element("circle", cx=8 + 17 * n, cy=8, r=_radius(p), class_="given") for n, p in enumerate((0.3, 0.6, 1))]
    ring = element("circle", cx=8, cy=8, r=_radius(0.3), class_="not")
    tick = element("line", x1=8, x2=8, y1=5, y2=11, class_="tick")
    return element(
        "p",
        element("span", mark(52, *filled), " code given; area as probability"),
        element("span", mark(16, ring), " not given, but likely enough to be seen"),
        element("span", mark(16, tick), " a turn that was read, with a code or without"),
        class_="keys",
    )


def ways(dimension: Dimension, found: Sequence[Way], prefix: str) -> list[Markup]:
    """Ways through the codes of a dimension, as drawings of as many as fit beside each other.

    Args:
        dimension: Whose codes are the rows.
        found: The ways.
        prefix: Of the ids of elements, unique in the page.
    """
    height = _TOP + _ROW * len(dimension.codes) + _BOTTOM
    drawings = []
    for first in range(0, len(found), _ACROSS):
        some = found[first : first + _ACROSS]
        number = f"{prefix}-{first // _ACROSS + 1}"
        names = " and ".join(name_of(way.who) for way in some)
        drawings.append(
            element(
                "svg",
                element("title", f"{dimension.name}: {names}", id=f"{number}-title"),
                element("desc", joined((_described(way, dimension) for way in some), " "), id=f"{number}-desc"),
                _row_names(dimension),
                [_panel(way, dimension, _NAMES + n * (_PANEL + _GAP)) for n, way in enumerate(some)],
                class_="ways",
                viewBox=f"0 0 {_WIDTH} {height:g}",
                role="img",
                aria_labelledby=f"{number}-title {number}-desc",
            )
        )
    return drawings


def name_of(who: Who) -> str:
    """A speaker in a document."""
    document, speaker = who
    return " · ".join(part for part in (document, speaker) if part) or "(no document)"


def _row_names(dimension: Dimension) -> list[Markup]:
    return [
        element("text", _fitting(code.name, _MAX_NAME), x=_NAMES - 14, y=_y(at) + 4, text_anchor="end", fill=colour)
        for at, (code, colour) in enumerate(zip(dimension.codes, colours(dimension), strict=True))
    ]


def _panel(way: Way, dimension: Dimension, left: float) -> Markup:
    bottom = _TOP + _ROW * len(dimension.codes)
    of_codes = colours(dimension)

    def x(turn: float) -> float:
        inset = 9
        return inset + (turn - way.first) / max(1, way.last - way.first) * (_PANEL - 2 * inset)

    coded = len({mark.turn for mark in way.marks.values() if mark.given})
    marks = sorted(way.marks.values(), key=lambda mark: (mark.given, -mark.probability))  # small ones on top
    ticks = _ticks(way.first, way.last)
    return element(
        "g",
        element("text", _fitting(name_of(way.who), 34), x=0, y=14, class_="name"),
        element("text", f"{coded} of {len(way.turns)} coded", x=_PANEL, y=14, text_anchor="end", class_="quiet"),
        _bands(dimension),
        [element("line", x1=0, x2=_PANEL, y1=_y(at), y2=_y(at), class_="rule") for at in range(len(dimension.codes))],
        [element("line", x1=x(t), x2=x(t), y1=bottom + 3, y2=bottom + 8, class_="tick") for t in way.turns.values()],
        [_mark(mark, x(mark.turn), of_codes[mark.code], dimension.codes[mark.code].name) for mark in marks],
        [
            element(
                "text",
                f"turn {tick:,}" if number == 0 else f"{tick:,}",
                x=max(0.0, x(tick) - 4) if number == 0 else x(tick),
                y=bottom + 23,
                text_anchor="start" if number == 0 else "end" if tick == way.last else "middle",
                class_="quiet",
            )
            for number, tick in enumerate(ticks)
        ],
        transform=f"translate({left:g} 0)",
    )


def _bands(dimension: Dimension) -> list[Markup]:
    """A ground behind every second group, so that groups are seen without colours."""
    bands = []
    shaded, before = False, dimension.codes[0].group
    for at, code in enumerate(dimension.codes):
        shaded ^= code.group != before
        before = code.group
        if shaded:
            bands.append(element("rect", x=0, y=_y(at) - _ROW / 2, width=_PANEL, height=_ROW, class_="band"))
    return bands


def _mark(mark: Mark, x: float, colour: str, name: str) -> Markup:
    paint = {"fill": colour} if mark.given else {"stroke": colour}
    return element(
        "circle",
        element("title", f"turn {mark.turn:,}: {name}, {mark.probability:.2f}{'' if mark.given else ', not given'}"),
        cx=x,
        cy=_y(mark.code),
        r=_radius(mark.probability),
        class_="given" if mark.given else "not",
        **paint,
    )


def _described(way: Way, dimension: Dimension) -> str:
    """A way in words."""
    said = []
    for at, code in enumerate(dimension.codes):
        turns = sorted(mark.turn for mark in way.marks.values() if mark.code == at and mark.given)
        if turns:
            more = f" and {len(turns) - _MAX_TURNS} more" if turns[_MAX_TURNS:] else ""
            said.append(f"{code.name} at {', '.join(map(str, turns[:_MAX_TURNS]))}{more}")
    return f"{name_of(way.who)}, turns {way.first} to {way.last}: {'; '.join(said) or 'no codes'}."


def _ticks(first: int, last: int) -> list[int]:
    """The first turn, the last, and round numbers between them that leave room for their labels."""
    step = 10 ** math.floor(math.log10(max(1, last - first)))
    for factor in (1, 2, 5, 10):
        if (last - first) / (step * factor) <= 5:
            step *= factor
            break
    room = (last - first) * 0.17
    between = range(first - first % step + step, last, step)
    return [first, *(tick for tick in between if first + room <= tick <= last - room / 2), last]


def _y(at: int) -> float:
    return _TOP + _ROW * (at + 0.5)


def _radius(probability: float) -> float:
    return max(1.5, _RADIUS * math.sqrt(probability))


def _fitting(text: str, characters: int) -> str:
    """A name that is not too long; what tells names apart is at their beginning or at their end."""
    if len(text) <= characters:
        return text
    end = characters // 3
    return f"{text[: characters - end - 1].rstrip()}…{text[-end:].lstrip()}"

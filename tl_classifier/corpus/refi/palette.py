"""Colours of codes that people with any kind of colour vision can tell apart, and that print well.

Okabe and Ito's eight colours (2008) serve where eight are enough. A longer list of codes takes steps of cividis
(Nunez et al. 2018), which runs from dark blue to yellow and keeps its order in grey. A group of codes has one colour,
and its codes have lighter and darker ones of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tl_classifier.codebook import Dimension

_OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#f0e442")
_CIVIDIS = (
    "#00224e",
    "#123570",
    "#3b496c",
    "#575d6d",
    "#707173",
    "#8a8678",
    "#a59c74",
    "#c3b369",
    "#e1cc55",
    "#fee838",
)


def colors_of(dimension: Dimension, number: int = 0) -> dict[str, str]:
    """A colour (``#rrggbb``) for each code and group of a dimension, by id.

    Args:
        dimension: The dimension.
        number: Which of the codebook's dimensions it is; the colours of groups differ between dimensions.
    """
    colors = {group.id: _OKABE_ITO[(at + 2 * number) % len(_OKABE_ITO)] for at, group in enumerate(dimension.groups)}
    single = [code.id for code in dimension.codes if code.group is None or len(dimension.codes) > len(_OKABE_ITO)]
    palette = _OKABE_ITO if len(single) <= len(_OKABE_ITO) else _steps(_CIVIDIS, len(single))
    colors |= {code: palette[at] for at, code in enumerate(single)}
    for group in dimension.groups:
        members = [code.id for code in dimension.codes if code.group == group.id and code.id not in colors]
        for at, code in enumerate(members):
            colors[code] = _mixed(colors[group.id], (at + 0.5) / len(members))
    return colors


def _steps(palette: Sequence[str], count: int) -> list[str]:
    """`count` colours from the whole of a palette that runs from dark to light."""
    found = []
    for at in range(count):
        place = at * (len(palette) - 1) / (count - 1)
        low = min(int(place), len(palette) - 2)
        found.append(_between(palette[low], palette[low + 1], place - low))
    return found


def _mixed(color: str, share: float) -> str:
    """A darker (share towards 0) or lighter (towards 1) colour of the same hue."""
    return _between(color, "#000000", 0.5 - share) if share < 0.5 else _between(color, "#ffffff", 1.2 * (share - 0.5))


def _between(one: str, other: str, share: float) -> str:
    parts = (round((1 - share) * int(one[at : at + 2], 16) + share * int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in parts)

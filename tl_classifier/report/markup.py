"""HTML and SVG that is safe by construction: what is not markup already is escaped when it becomes part of some."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

_VOID = frozenset({"br", "col", "hr", "link", "meta"})
_EMPTY_IN_SVG = frozenset({"circle", "line", "path", "rect"})
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Markup(str):
    """A text that is markup; what makes it from other texts is in this module."""

    __slots__ = ()


def trusted(text: str) -> Markup:
    """A text of the program's own, such as its style sheet, as markup. Never one that a user gave."""
    return Markup(text)


Content = str | int | float | None
Contents: TypeAlias = "Content | Iterable[Contents]"
Attribute = str | int | float | bool | None


def escaped(content: Content) -> Markup:
    """Content as markup: markup as it is, None as nothing, any other text with all that HTML would act on escaped.

    Characters that HTML cannot hold become U+FFFD.
    """
    if content is None:
        return Markup()
    if isinstance(content, Markup):
        return content
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", str(content)), quote=True))


def element(tag: str, *content: Contents, **attributes: Attribute) -> Markup:
    """An element.

    Args:
        tag: Its name.
        content: What stands in it, in order; see `escaped`. A list stands for its items.
        attributes: Named as in HTML, but with ``_`` for ``-``, and with ``_`` at the end of Python's own words
            (``class_``). None and False leave an attribute out, True gives it no value.
    """
    given = []
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            given.append(f" {name}")
        elif value is not None and value is not False:
            given.append(f' {name}="{escaped(_short(value))}"')
    inner = joined(content)
    if tag in _VOID:
        return Markup(f"<{tag}{''.join(given)}>")
    if not inner and tag in _EMPTY_IN_SVG:
        return Markup(f"<{tag}{''.join(given)}/>")
    return Markup(f"<{tag}{''.join(given)}>{inner}</{tag}>")


def joined(content: Iterable[Contents], between: str = "") -> Markup:
    """Content put together."""
    parts = []
    for item in content:
        if item is None or isinstance(item, str | int | float):
            parts.append(escaped(item))
        else:
            parts.append(joined(item))
    return Markup(between.join(parts))


def _short(value: str | int | float) -> str:
    """A value as short as it can be said; numbers are coordinates, which need no more than two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

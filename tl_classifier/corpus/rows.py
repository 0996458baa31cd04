"""From what a file holds to excerpts: the same rules for every format."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable

from tl_classifier.excerpts import Excerpt, Unscorable
from tl_classifier.preprocessing import is_blank

MAX_CONTEXT = 2_000
"""Characters of a question that are kept: more than a model reads of it."""

MAX_CHARACTERS = 1_000_000
"""Longest text that is scored, in characters; about a day of talk."""

EMPTY = "the text is empty"

_MAX_TURN = 2**53
"""Turn numbers beyond it are not exact in a spreadsheet."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def excerpt(
    text: object,
    *,
    id: object = None,
    document: object = None,
    speaker: object = None,
    turn: object = None,
    start: int | None = None,
    end: int | None = None,
    context: object = None,
) -> Excerpt | Unscorable:
    """An excerpt from the cells of a row, or why there is none. Whether it has words is for `unless_blank` to say."""
    about = (label(id), label(document), label(speaker), turn_number(turn))
    if text is None:
        return Unscorable(EMPTY, *about)
    if not isinstance(text, str):
        return Unscorable(f"the text is {_kind(text)}, not words", *about)
    if not text or text.isspace():
        return Unscorable(EMPTY, *about)
    if len(text) > MAX_CHARACTERS:
        return Unscorable(f"the text has {len(text):,} characters; at most {MAX_CHARACTERS:,} can be scored", *about)
    return Excerpt(well_formed(text), *about, start=start, end=end, context=question(context))


def question(words: object) -> str | None:
    """What an excerpt answers, its end alone where it is long; None where nothing is said."""
    if not isinstance(words, str) or words.isspace():
        return None
    return well_formed(words[-MAX_CONTEXT:]) or None


def unless_blank(row: Excerpt | Unscorable) -> Excerpt | Unscorable:
    """`row`, or why it cannot be scored where cleaning leaves no word of it ("...", "[00:12:31]", "P1:")."""
    if isinstance(row, Excerpt) and is_blank(row.text):
        return Unscorable("the text has no words", row.id, row.document, row.speaker, row.turn)
    return row


def well_formed(text: str) -> str:
    """`text` with halves of broken characters (unpaired surrogates, which no file can hold) as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def label(value: object) -> str | None:
    """An id, or the name of a document or speaker, from a cell; None where the cell is empty."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # spreadsheets keep 12 as 12.0
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return well_formed(str(value)).strip() or None


def turn_number(value: object) -> int | None:
    """The number of a turn from a cell; None where the cell holds no whole number."""
    if isinstance(value, str):
        text = value.strip()
        number = int(text) if text.isdecimal() and len(text) <= 16 else None
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    else:
        number = None
    return number if number is not None and 0 <= number <= _MAX_TURN else None


def shown(name: str) -> str:
    """A name from a file, fit for a message: quoted, printable, and only if it is no longer than names are.

    A name of many words is interview text in the wrong place, which no message repeats.
    """
    if len(name) > 40 or len(name.split()) > 5:
        return f"(a text of {len(name):,} characters)"
    return "'" + "".join(character if character.isprintable() else "?" for character in name) + "'"


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names for a message: the first few, and how many more."""
    every = [shown(name) for name in names]
    more = f" and {len(every) - limit} more" if every[limit:] else ""
    return ", ".join(every[:limit]) + more


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return "a date or time"
    if isinstance(value, bytes):
        return "binary data"
    return "a list or an object" if isinstance(value, list | dict) else "a value of another kind"

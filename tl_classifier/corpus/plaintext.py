"""The plain text of a document, and what its format says of names.

Every reader of transcripts gives a `PlainText`. Its `text` is what offsets count in. A format may also set words apart
- a name in bold, a cell of a table, the voice of a subtitle - which is a hint at who speaks that plain text loses; such
words are marked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tl_classifier.corpus.rows import well_formed
from tl_classifier.errors import InputError

MAX_CHARACTERS = 3_000_000
"""Longest text of a document, which is held in memory; a day of talk has less than a million characters."""

BETWEEN = "\n\n"
"""What stands between two paragraphs."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Words at the beginning of a paragraph that a format sets apart.

    Attributes:
        start: Offset of the first character, in Unicode code points.
        end: Offset one past the last.
        certain: Whether the format says that this is who speaks; else it may be emphasis.
    """

    start: int
    end: int
    certain: bool = False


@dataclass(frozen=True, slots=True)
class PlainText:
    """A document as plain text.

    Attributes:
        text: The text.
        format: What the file is, for people ("a Word document").
        encoding: The encoding of a text file, for people; None where the format settles it.
        marks: Words that the format sets apart, in order.
        notes: What was left out or changed in reading, as sentences.
    """

    text: str
    format: str
    encoding: str | None = None
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()


def too_long(path: Path) -> InputError:
    """The error for a document of more than `MAX_CHARACTERS` characters."""
    return InputError(f"{path} has more than {MAX_CHARACTERS:,} characters, too much for one transcript; split it.")


@dataclass(slots=True)
class Paragraphs:
    """Builds a plain text of paragraphs.

    Attributes:
        length: Characters so far.
    """

    length: int = 0
    _pieces: list[str] = field(default_factory=list)
    _marks: list[Mark] = field(default_factory=list)

    def add(self, text: str, *, apart: int = 0, certain: bool = False) -> None:
        """Add a paragraph, unless it is empty.

        Args:
            text: Its text.
            apart: How many of its first characters are set apart.
            certain: Whether they are who speaks.
        """
        text = well_formed(text).rstrip()
        stripped = text.lstrip()
        if not stripped:
            return
        apart -= len(text) - len(stripped)
        if self._pieces:
            self._pieces.append(BETWEEN)
            self.length += len(BETWEEN)
        if apart > 0:
            self._marks.append(Mark(self.length, self.length + min(apart, len(stripped)), certain))
        self._pieces.append(stripped)
        self.length += len(stripped)

    def to_text(self, format: str, encoding: str | None = None, notes: Sequence[str] = ()) -> PlainText:
        """The text of all paragraphs."""
        return PlainText("".join(self._pieces), format, encoding, tuple(self._marks), tuple(notes))


# --- tables in documents ----------------------------------------------------------------------------------------

_NUMBER_OR_TIME = re.compile(
    r"[#\[(]?\s*(?:\d{1,5}\.?|\d{1,3}(?::\d{1,2}){1,2}(?:[.,]\d+)?(?:[\s>–-]+[\d:.,]+)?)\s*[#\])]?"
)
_SPEAKER_COLUMN = frozenset({"intervenant", "name", "person", "speaker", "speakers", "sprecher", "sprecherin", "who"})
_TEXT_COLUMN = frozenset(
    {"content", "inhalt", "speech", "text", "texte", "texto", "transcript", "transcription", "transkript", "utterance"}
)


class Columns:
    """What the columns of one table in a document hold: transcripts are often laid out as tables.

    A row becomes a paragraph, ``name TAB words``. A header that names the columns is followed; else the first cell that
    is no number and no time is taken for the name.
    """

    def __init__(self) -> None:
        self._places: tuple[int, int] | None = None
        self._begun = False

    def paragraph(self, cells: Sequence[str]) -> tuple[str, int]:
        """A row as a paragraph, and how many of its first characters are set apart; empty for a header."""
        cells = [cell.strip() for cell in cells]
        if not self._begun:
            self._begun = any(cells)
            names = [cell.casefold().rstrip(":") for cell in cells]
            speakers = [at for at, name in enumerate(names) if name in _SPEAKER_COLUMN]
            texts = [at for at, name in enumerate(names) if name in _TEXT_COLUMN]
            if speakers and texts:
                self._places = (speakers[0], texts[0])
                return "", 0
        if self._places is not None and max(self._places) < len(cells):
            cells = [cells[place] for place in self._places]
        else:
            cells = [cell for cell in cells if cell and not _NUMBER_OR_TIME.fullmatch(cell)]
        filled = [cell for cell in cells if cell]
        if len(filled) < 2:
            return "".join(filled), 0
        return "\t".join(filled), len(filled[0])

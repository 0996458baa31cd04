"""Transcripts: a text file as turns, each with its speaker and its place in the file.

A turn begins with a label, ``SPEAKER: words``, and goes on to the next one. Not everything before a colon is a
label: "Remember: nobody asked me" is talk. What is one, and what is not, is decided here over the whole file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tl_classifier.corpus import textfiles
from tl_classifier.corpus.rows import excerpt
from tl_classifier.errors import InputError
from tl_classifier.excerpts import Excerpt, Unscorable

MAX_BYTES = 50_000_000
"""Largest transcript that is read; a whole one is held in memory. A day of talk has less than 1 MB."""

ROLES = frozenset(
    {
        "coach",
        "facilitator",
        "host",
        "interviewee",
        "interviewer",
        "moderator",
        "participant",
        "researcher",
        "respondent",
        "speaker",
    }
)
"""Words that name who speaks, and hardly ever begin a sentence before a colon."""

# Up to 40 characters without a colon, then a colon before a space or the end of the line.
_CANDIDATE = re.compile(r"[^\S\r\n]*([^\s:][^:\r\n]{0,39}?)[^\S\r\n]*:(?=\s|\Z)")
_WORD = re.compile(r"\(?\w[\w'’/&#-]*\)?|\w{1,4}\.")
_CODE = re.compile(r"[^\W\d_]{1,4}\d{1,3}(?:[-_/]?[^\W\d_]{0,3}\d{0,3})")
_LINE = re.compile(r"[^\r\n]+")
_PARAGRAPH_END = re.compile(r"(?:\r\n|\r|\n)(?:[^\S\r\n]*(?:\r\n|\r|\n))+")


class Turn(NamedTuple):
    """A turn: ``text[start:end]`` are its words, without the label and the space around them.

    Attributes:
        speaker: As labelled; None where there is no label.
        start: Offset of its first character, in Unicode code points.
        end: Offset one past its last character; equal to `start` where the label is all there is.
    """

    speaker: str | None
    start: int
    end: int


def read_transcript(path: Path) -> Iterator[Excerpt | Unscorable]:
    """The turns of a .txt file, numbered from 1. The document is named as the file is, without its ending.

    Raises:
        InputError: if the file cannot be read, is not text, is larger than `MAX_BYTES`, or holds no words.
    """
    text = textfiles.text(path, max_bytes=MAX_BYTES)
    turns = find_turns(text)
    if not turns:
        raise InputError(f"{path} has no words in it.")
    for number, turn in enumerate(turns, start=1):
        yield excerpt(
            text[turn.start : turn.end],
            document=path.stem,
            speaker=turn.speaker,
            turn=number,
            start=turn.start,
            end=turn.end,
        )


def find_turns(text: str) -> list[Turn]:
    """The turns of a transcript.

    What comes before the first label is a turn without a speaker. In a text without labels, each paragraph
    (between blank lines) is one.
    """
    labels = _labels(text)
    if not labels:
        return _paragraphs(text)
    turns = []
    begin = labels[0].start()
    if text[:begin].strip():
        turns.append(Turn(None, *_stripped(text, 0, begin)))
    ends = [label.start() for label in labels[1:]] + [len(text)]
    for label, end in zip(labels, ends, strict=True):
        turns.append(Turn(" ".join(label[1].split()), *_stripped(text, label.end(), end)))
    return turns


def _labels(text: str) -> list[re.Match[str]]:
    """The labels of a text, in order; none where a few words before a colon do not make it a transcript."""
    candidates = [match for match in _candidates(text) if _may_be_label(match[1])]
    times = Counter(_folded(match[1]) for match in candidates)
    labels = [match for match in candidates if _is_certain(match[1]) or times[_folded(match[1])] > 1]
    if len(labels) == 1 and text[: labels[0].start()].strip():
        return []  # one "NOTE: ..." within prose
    return labels


def _candidates(text: str) -> Iterator[re.Match[str]]:
    """What stands before the first colon of each line that has one."""
    for line in _LINE.finditer(text):
        match = _CANDIDATE.match(text, line.start())
        if match is not None:
            yield match


def _may_be_label(name: str) -> bool:
    """One to four words, no punctuation of sentences, and no lower-case word to begin with unless it is a role."""
    words = name.split()
    if len(words) > 4 or not all(map(_WORD.fullmatch, words)) or not any(map(str.isalpha, name)):
        return False
    return not name[0].islower() or _is_certain(name)


def _is_certain(name: str) -> bool:
    """Whether a label needs no second occurrence: a role (Speaker 1), a code (P1, FG2-P3), or all capitals."""
    first, *others = name.split()
    if first.casefold() in ROLES and all(len(word) == 1 or word.isdecimal() for word in others):
        return True
    return name.isupper() or _CODE.fullmatch(name) is not None


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _paragraphs(text: str) -> list[Turn]:
    ends = [match.span() for match in _PARAGRAPH_END.finditer(text)] + [(len(text), len(text))]
    turns, begin = [], 0
    for end, next_begin in ends:
        start, stop = _stripped(text, begin, end)
        if start < stop:
            turns.append(Turn(None, start, stop))
        begin = next_begin
    return turns


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the space at its ends."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())

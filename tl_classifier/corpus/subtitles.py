"""Subtitles (.vtt, .srt) as plain text: what Zoom, Teams, Whisper and the like make of a recording.

A subtitle shows a few words for a few seconds. What one person says in subtitles one after the other becomes one
paragraph, ``Name: words``; where nobody is named, a paragraph ends with a sentence before a pause. The libraries for
these formats keep one speaker for each subtitle at most, and refuse files that players play; the format is some lines
of text, and is read here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from tl_classifier.corpus import textfiles
from tl_classifier.corpus.labels import find_labels
from tl_classifier.corpus.plaintext import Paragraphs, PlainText, too_long
from tl_classifier.errors import InputError

MAX_CUES = 200_000
"""Most subtitles of a file: two days of one every second."""

PAUSE = 1.5
"""Seconds without a word that end a paragraph where a sentence has ended, and nobody is named."""

_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s>]{0,100})?\s+([^<>\n]{1,200})>")
_TAG = re.compile(
    r"</?(?:v|c|i|b|u|s|font|ruby|rt|lang)\b[^<>\n]{0,200}>|<\d[\d:.]{0,20}>|\{\\[^{}\n]{0,50}\}", re.IGNORECASE
)
_ROLLING = re.compile(r"<\d{1,4}:\d\d[:.\d]{0,12}>")
_CHANGE = re.compile(r"(?:>>+|&gt;&gt;)\s*")
_ENDS_SENTENCE = re.compile(r"[.!?…。？！][\"'”’»)\]]*$")
_NUMBER = re.compile(r"\s*\d{1,9}\s*")


class Cue(NamedTuple):
    """A subtitle.

    Attributes:
        start: When it is shown, in seconds.
        end: When no longer.
        lines: Its lines, with tags.
    """

    start: float
    end: float
    lines: tuple[str, ...]


class _Piece(NamedTuple):
    speaker: str | None
    text: str
    cue: Cue
    begins: bool


def read_subtitles(path: Path) -> PlainText:
    """Read a .vtt or .srt file.

    Raises:
        InputError: if it cannot be read, is not text, is too long, or holds no subtitle.
    """
    cues = find_cues(textfiles.text(path))
    if len(cues) > MAX_CUES:
        raise too_long(path)
    if not cues:
        raise InputError(
            f"{path} has no subtitles in it: no line says from when to when (00:00:01.000 --> 00:00:04.000)."
        )
    pieces = _voiced(cues) if any(_VOICE.search(line) for cue in cues for line in cue.lines) else _labelled(cues)
    paragraphs = Paragraphs()
    for speaker, words in _turns(pieces):
        label = f"{speaker}: " if speaker else ""
        paragraphs.add(label + words, apart=len(label) - 2 if label else 0, certain=bool(label))
    kind = "WebVTT" if path.suffix.lower() == ".vtt" else "SubRip"
    return paragraphs.to_text(f"subtitles ({kind})", textfiles.encoding_name(path))


def find_cues(text: str) -> list[Cue]:
    """The subtitles of a file, in order, at most one more than `MAX_CUES`; what is none (headers, notes, styles) is
    passed over."""
    cues: list[Cue] = []
    times: tuple[float, float] | None = None
    lines: list[str] = []
    blank = False

    def close() -> None:
        if times is not None:
            kept = [line for line in lines if line.strip()]
            cues.append(Cue(*times, tuple(kept)))

    for line in text.splitlines():
        match = _TIMES.fullmatch(line) if "-->" in line else None
        if match is not None:
            if lines and not blank and _NUMBER.fullmatch(lines[-1]):
                lines.pop()  # the number of this subtitle, without a blank line before it
            close()
            if len(cues) > MAX_CUES:
                return cues
            times = (_seconds(match, 1), _seconds(match, 5))
            lines, blank = [], False
        elif not line.strip():
            blank = True
        elif not blank:
            lines.append(line)
    close()
    return cues


def _seconds(match: re.Match[str], group: int) -> float:
    hours, minutes, seconds, parts = (match[group + at] or "0" for at in range(4))
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(parts.ljust(3, "0")) / 1000


def _words(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", text)).split())


def _voiced(cues: Sequence[Cue]) -> Iterator[_Piece]:
    """Pieces of subtitles that say who speaks in voice tags."""
    for cue in cues:
        text = "\n".join(cue.lines)
        places = list(_VOICE.finditer(text))
        before = _words(text[: places[0].start()] if places else text)
        if before or not places:
            yield _Piece(None, before, cue, False)
        for place, after in zip_longest(places, places[1:]):
            words = text[place.end() : after.start() if after else len(text)]
            yield _Piece(_words(place[1]) or None, _words(words), cue, False)


def _labelled(cues: Sequence[Cue]) -> Iterator[_Piece]:
    """Pieces of subtitles that say who speaks in words (``Name: ...``), or with ``>>`` that another does, or not."""
    rolling = any(_ROLLING.search(line) for cue in cues for line in cue.lines)
    lines: list[tuple[str, Cue, bool]] = []
    last = ""
    for cue in cues:
        for line in cue.lines:
            words = _words(_CHANGE.sub("", line, count=1) if _CHANGE.match(line) else line)
            if not words or (rolling and words == last):
                continue  # subtitles that roll show each line again, above the next
            lines.append((words, cue, _CHANGE.match(line) is not None))
            last = words
    text = "\n".join(words for words, _, _ in lines)
    labels = {label.start: label for label in find_labels(text, alone=False)}
    speaker = None
    at = 0
    for words, cue, change in lines:
        label = labels.get(at)
        if label is not None:
            speaker = label.speaker
            yield _Piece(speaker, text[label.end : at + len(words)].strip(), cue, True)
        else:
            speaker = None if change else speaker
            yield _Piece(speaker, words, cue, change)
        at += len(words) + 1


def _turns(pieces: Iterator[_Piece]) -> Iterator[tuple[str | None, str]]:
    """Who speaks, and what, until another does."""
    before: _Piece | None = None
    words: list[str] = []
    for piece in pieces:
        if before is not None and words:
            pause = piece.cue.start - before.cue.end >= PAUSE and _ENDS_SENTENCE.search(words[-1]) is not None
            if piece.speaker != before.speaker or (piece.speaker is None and (pause or piece.begins)):
                yield before.speaker, " ".join(words)
                words = []
        if piece.text:
            words.append(piece.text)
        if piece.text or before is None:
            before = piece
    if before is not None and words:
        yield before.speaker, " ".join(words)

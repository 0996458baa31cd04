"""Long turns cut at sentences, so that a code is given to a passage and not to ten minutes of talk."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import pairwise

MAX_WORDS = 250
"""Longest piece, in words; about a minute and a half of talk."""

_WORD = re.compile(r"\S+")
# The end of a sentence: behind its mark, and before a word that is not in small letters.
_SENTENCE = re.compile(
    r"(?:(?<!\b[A-Z])(?<!\b[DM]r)(?<!\bM[rs]s)(?<!\bM[rs])(?<!\bProf)[.!?…]|[。！？])[\"'”’»)\]]*(?=\s+[^\sa-zà-öø-ÿ])"
)
_CLAUSE = re.compile(r"[,;:–—-][\"'”’»)\]]*(?=\s)|(?=\r|\n)")


def cut(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Cut a span of a text into pieces of at most `MAX_WORDS` words, of about the same length.

    A piece ends with a sentence; where none ends, with a part of one; and where that is not found either, with a word.

    Returns:
        The pieces as spans, in order, without the space between them; the span itself where it is short enough.
    """
    words = [match.span() for match in _WORD.finditer(text, start, end)]
    if len(words) <= MAX_WORDS:
        return [(start, end)]
    ends = [word_end for _, word_end in words]
    sentences = _places(_SENTENCE, text, start, end, ends)
    clauses = _places(_CLAUSE, text, start, end, ends)
    pieces = []
    done = 0
    while done < len(words):
        left = len(words) - done
        size = left / -(-left // MAX_WORDS)  # of as many pieces as are needed
        upto = len(words) if left <= MAX_WORDS else done + _nearest(done, size, (sentences, clauses))
        pieces.append((words[done][0], ends[upto - 1]))
        done = upto
    return pieces


def _places(pattern: re.Pattern[str], text: str, start: int, end: int, ends: list[int]) -> list[int]:
    """How many words there are up to each match."""
    return sorted({bisect_left(ends, match.end()) + 1 for match in pattern.finditer(text, start, end)})


def _nearest(done: int, size: float, places: tuple[list[int], ...]) -> int:
    """How many words the next piece has: up to the place nearest to the wanted size, and not a sliver."""
    for found in places:
        first = bisect_left(found, done + int(size / 2))
        last = bisect_right(found, done + MAX_WORDS)
        near = [place - done for place in found[first:last] if place > done]
        if near:
            return min(near, key=lambda words: abs(words - size))
    return min(MAX_WORDS, round(size))


def sentences(text: str) -> list[tuple[int, int]]:
    """The sentences of a text as spans, in order, without the space between them."""
    return _between(_SENTENCE, text)


def clauses(text: str) -> list[tuple[int, int]]:
    """The parts of sentences, as `sentences` gives whole ones; what stands between commas, dashes and the like."""
    return _between(_CLAUSE, text)


def _between(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    ends = [match.end() for match in pattern.finditer(text)]
    spans = []
    for start, end in pairwise([0, *ends, len(text)]):
        words = text[start:end].strip()
        if words:
            first = start + text[start:end].index(words)
            spans.append((first, first + len(words)))
    return spans

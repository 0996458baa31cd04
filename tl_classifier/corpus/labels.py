"""Labels: what in a transcript says who speaks from there on.

Transcribers and programs write them in many ways, and talk looks like them: "Remember: nobody asked me" is no label,
and so is no "Yes" before a tab. What is one, and what is not, is decided over the whole text: a name must come again,
or be a role (``Speaker 1``), a code (``P1``, ``FG2-P3``) or in capitals. The ways that are known:

====================================  ==========================================================
``Anna: words``, ``P1: words``        also ``**Anna:**``, ``- Anna:``, ``>> Anna:``, ``[P1]: words``
``[00:12:31] Anna: words``            times before or behind the name, in brackets or not
``Anna (00:12):``                     with the words on the next line
``Anna 00:12:31``                     the same, without a colon (Otter, Teams, Trint)
``00:12:31 Anna``                     the same
``Speaker 1 [00:00:03] words``        names that need not come again
``Anna TAB words``                    also cells of a table
``Q. words`` and ``A. words``         both, at least three in all
``INTERVIEWER`` on a line of its own  with the words below; other names if they come again
``Anna`` in bold, or a heading        where the format says so, see `tl_classifier.corpus.plaintext`
====================================  ==========================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from tl_classifier.corpus.plaintext import Mark
from tl_classifier.corpus.roles import ROLES

SHARE = 0.25
"""The least share of paragraphs that begin with a label, where its form alone could be talk too."""

LEAST_SHARE = 0.05
"""The same where names stand before a colon."""


class Label(NamedTuple):
    """A label.

    Attributes:
        speaker: The name, as written.
        start: Offset of its first character, of a time before it if there is one.
        end: Offset of the first character behind it.
    """

    speaker: str
    start: int
    end: int


class _Candidate(NamedTuple):
    name: str
    start: int
    end: int
    timed: bool  # whether there is a time beside it


_B = r"[^\S\r\n]"  # a blank that ends no line
_BREAK = r"(?>\r\n|\r|\n)"
_CLOCK = r"\d{1,3}:\d{1,2}(?::\d{1,2})?(?:[.,:]\d{1,3})?"
_SPAN = rf"{_CLOCK}(?:{_B}*(?:-->|[-–—]){_B}*(?:{_CLOCK}|\d{{1,2}}))?"
_ENCLOSED = rf"(?:\[{_B}*{_SPAN}{_B}*\]|\({_B}*{_SPAN}{_B}*\)|<{_SPAN}>|\{{{_SPAN}\}}|#{_SPAN}#)"
_STAMP = rf"(?:{_ENCLOSED}|{_SPAN})"
_LEAD = rf"(?:(?:>>+|[-–—•*]|#{{1,6}}){_B}+|>>+)?"
_STRONG = r"(?:\*\*|__|\*)?"
_NAME = r"(?P<name>[^\s:\[(<{#*_>|][^:\r\n\t]{0,39}?)"

PARAGRAPH_END = re.compile(rf"{_BREAK}(?:{_B}*+{_BREAK})++")
"""Blank lines, and the end of the line before them."""

# Up to 40 characters without a colon, then a colon before a space or the end of the line.
_COLON = re.compile(
    rf"{_B}*{_LEAD}(?:{_STAMP}{_B}*(?:[-–—|]{_B}*)?)?{_STRONG}(?:\[(?P<inside>[^\]:\r\n]{{1,40}})\]|(?P<name>[^\s:\[<{{#*_>|]"
    rf"[^:\r\n\t]{{0,39}}?)){_STRONG}{_B}*(?:{_ENCLOSED}{_B}*)?:{_STRONG}(?=\s|\Z)"
)
_NAME_TIME = re.compile(
    rf"{_B}*{_STRONG}\[?{_NAME}\]?{_STRONG}{_B}*[,|–—-]?{_B}*{_STAMP}{_B}*{_STRONG}{_B}*(?=[\r\n]|\Z)"
)
_TIME_NAME = re.compile(
    rf"{_B}*{_STAMP}{_B}*(?:{_BREAK}|[-–—|,])?{_B}*{_STRONG}\[?{_NAME}\]?{_STRONG}{_B}*(?=[\r\n]|\Z)"
)
_NAME_TIME_WORDS = re.compile(rf"{_B}*\[?{_NAME}\]?{_B}*{_ENCLOSED}{_B}+(?=\S)")
_TABBED = re.compile(
    rf"{_B}*(?:{_STAMP}{_B}+)?{_NAME}[^\S\r\n\t]*(?:\t{_B}*{_STAMP}{_B}*|{_ENCLOSED}[^\S\r\n\t]*)?\t{_B}*(?=\S)"
)
_QUESTION_ANSWER = re.compile(rf"{_B}*(?P<name>[QA])\.{_B}+(?=\S)")
_ALONE = re.compile(rf"{_B}*{_STRONG}\[?{_NAME}\]?{_STRONG}{_B}*(?=[\r\n]|\Z)")

_WORD = re.compile(r"\(?\w[\w'’/&#-]*\)?|\w{1,4}\.")
_CODE = re.compile(r"[^\W\d_]{1,4}\d{1,3}(?:[-_/]?[^\W\d_]{0,3}\d{0,3})")
_SMALL = "al bin da de del della den der di dos du el la le van von"
_ANSWERS = """
aha doch exactly genau gut hm hmm ja maybe mhm mm mmm nein nee no non oh ok okay oui right so sure sí thanks true uh um
vale well yeah yes
"""
_PARTICLES = frozenset(_SMALL.split())
"""Words in names that may be in small letters."""

_TALK = frozenset(_ANSWERS.split())
"""Words that stand by themselves in talk, and look like names where no colon is behind them."""

_LINE = re.compile(r"[^\r\n]+")
_BEFORE_PARAGRAPH = re.compile(rf"(?:\A|{_BREAK}{_B}*{_BREAK}){_B}*\Z")
_WORDS_BELOW = re.compile(rf"{_B}*{_BREAK}{_B}*\S")
_TIMED = re.compile(_CLOCK)
_AFTER_NAME = re.compile(rf"{_B}*(?:{_STAMP}{_B}*)?:?")
_TIME_IN_NAME = re.compile(rf"{_B}*{_ENCLOSED}|{_B}+{_SPAN}")


def find_labels(text: str, marks: Sequence[Mark] = (), *, alone: bool = True) -> list[Label]:
    """The labels of a text, in order; none where a few words before a colon do not make it a transcript.

    Args:
        text: The text.
        marks: What its format sets apart.
        alone: Whether a name on a line of its own may be a label.
    """
    certain = [mark for mark in marks if mark.certain]
    if certain:
        return [_of_mark(text, mark) for mark in certain]
    lines = [match.start() for match in _LINE.finditer(text)]
    paragraphs = 1 + sum(1 for _ in PARAGRAPH_END.finditer(text.strip()))
    page = _Page(text, lines, paragraphs)
    found = _apart([*_before_colon(page), *_timed(page), *_marked(page, marks)])
    if not found:
        found = _tabbed(page) or _questions_and_answers(page)
    if not found and alone:
        found = _alone(page)
    if len(found) == 1 and text[: found[0].start].strip():
        return []  # one "NOTE: ..." within prose
    return found


# --- names ------------------------------------------------------------------------------------------------------


def folded(name: str) -> str:
    """A name as names are compared: without regard to case and spaces."""
    return " ".join(name.casefold().split())


def _may_be_name(name: str) -> bool:
    """One to four words, no punctuation of sentences, and no lower-case word to begin with unless it is a role."""
    words = name.split()
    if not words or len(words) > 4 or not all(map(_WORD.fullmatch, words)) or not any(map(str.isalpha, name)):
        return False
    return not name[0].islower() or _is_certain(name)


def _is_role(name: str) -> bool:
    first, *others = name.replace("_", " ").split()
    return first.casefold() in ROLES and all(len(word) == 1 or word.isdecimal() for word in others)


def _is_code(name: str) -> bool:
    return _CODE.fullmatch(name) is not None


def _is_certain(name: str) -> bool:
    """Whether a label needs no second occurrence: a role (Speaker 1), a code (P1, FG2-P3), or all capitals."""
    return _is_role(name) or name.isupper() or _is_code(name)


def _is_plain(name: str) -> bool:
    """As `_is_certain`, without those in capitals: on a line of its own, that could be a heading."""
    return _is_role(name) or _is_code(name)


def _is_capitalised(name: str) -> bool:
    """Whether every word of a name begins as names do, and it is no word that people answer with."""
    if folded(name) in _TALK:
        return False
    return all(
        not word.lstrip("(")[:1].islower() or word.casefold() in _PARTICLES for word in name.split()
    ) or _is_role(name)


# --- ways -------------------------------------------------------------------------------------------------------


class _Page(NamedTuple):
    text: str
    lines: Sequence[int]  # where they begin
    paragraphs: int  # how many there are

    def candidates(self, pattern: re.Pattern[str]) -> Iterator[_Candidate]:
        """What is at the beginning of lines, and may be a label."""
        for start in self.lines:
            match = pattern.match(self.text, start)
            if match is None:
                continue
            groups = match.groupdict()
            name = " ".join((groups.get("inside") or groups["name"] or "").split())
            if _may_be_name(name):
                begin = match.start() + len(match[0]) - len(match[0].lstrip())
                yield _Candidate(name, begin, match.end(), _TIMED.search(match[0]) is not None)

    def names(self, *patterns: re.Pattern[str]) -> list[_Candidate]:
        """Of the candidates, at most one in each place, those that are written as names are."""
        found = {c.start: c for pattern in reversed(patterns) for c in self.candidates(pattern)}
        return [candidate for candidate in found.values() if _is_capitalised(candidate.name)]

    def begins_paragraph(self, start: int) -> bool:
        return _BEFORE_PARAGRAPH.search(self.text, max(0, start - 200), start) is not None

    def has_words_below(self, end: int) -> bool:
        return _WORDS_BELOW.match(self.text, end) is not None


def _labels(candidates: Iterable[_Candidate]) -> list[Label]:
    return [Label(candidate.name, candidate.start, candidate.end) for candidate in candidates]


def _known(candidates: Sequence[_Candidate], certain: Callable[[str], bool]) -> list[_Candidate]:
    """The candidates whose names are certain, or come again."""
    times = Counter(folded(candidate.name) for candidate in candidates)
    return [c for c in candidates if certain(c.name) or times[folded(c.name)] > 1]


def _before_colon(page: _Page) -> list[Label]:
    candidates = list(page.candidates(_COLON))
    labels = _known(candidates, _is_certain)
    if len(labels) < LEAST_SHARE * page.paragraphs and not any(_is_certain(label.name) for label in labels):
        labels = []  # "For example:" within a long text
    timed = [candidate for candidate in candidates if candidate.timed and _is_capitalised(candidate.name)]
    if len(timed) >= max(2, SHARE * page.paragraphs):  # who has a time before the name need not speak again
        labels += timed
    return _labels(labels)


def _timed(page: _Page) -> list[Label]:
    """Names with a time before or behind them, on lines of their own or not."""
    last = len(page.text.rstrip())
    candidates = [candidate for candidate in page.names(_NAME_TIME, _TIME_NAME) if candidate.end < last]
    times = Counter(folded(candidate.name) for candidate in candidates)
    alone = [
        candidate
        for candidate in candidates
        if _is_plain(candidate.name)
        or times[folded(candidate.name)] > 1
        or (page.begins_paragraph(candidate.start) and page.has_words_below(candidate.end))
    ]
    if len(alone) < max(2, SHARE * page.paragraphs):
        alone = []
    candidates = page.names(_NAME_TIME_WORDS)
    many = len(candidates) >= max(2, SHARE * page.paragraphs)
    within = [c for c in _known(candidates, _is_plain) if _is_plain(c.name) or (many and " " in c.name)]
    return _labels(alone + within)


def _marked(page: _Page, marks: Sequence[Mark]) -> list[Label]:
    """Names in bold, in headings or in the first cell of a row."""
    candidates = []
    for mark in marks:
        name = _TIME_IN_NAME.sub("", page.text[mark.start : mark.end]).strip().strip("[]")
        name = " ".join(name.rstrip(":.,;–—- ").split())
        if _may_be_name(name) and _is_capitalised(name):
            candidates.append(_Candidate(name, mark.start, _behind(page.text, mark.end), False))
    known = _known(candidates, _is_plain)
    if len(known) >= page.paragraphs / 2:
        known = candidates  # among so many, who is named once is a speaker too
    return _labels(known) if len(known) >= max(2, SHARE * page.paragraphs / 2) else []


def _tabbed(page: _Page) -> list[Label]:
    known = _known(page.names(_TABBED), _is_plain)
    return _labels(known) if len(known) >= max(2, SHARE * page.paragraphs) else []


def _questions_and_answers(page: _Page) -> list[Label]:
    found = [match for start in page.lines if (match := _QUESTION_ANSWER.match(page.text, start))]
    if len(found) < 3 or len({match["name"] for match in found}) < 2:
        return []
    return [Label(match["name"], match.start("name"), match.end()) for match in found]


def _alone(page: _Page) -> list[Label]:
    """Names on lines of their own, with words below them."""
    candidates = [
        candidate
        for candidate in page.names(_ALONE)
        if _is_role(candidate.name) or (page.has_words_below(candidate.end) and page.begins_paragraph(candidate.start))
    ]
    known = _known(candidates, _is_plain)
    return _labels(known) if len(known) >= max(2, SHARE * page.paragraphs / 2) else []


def _of_mark(text: str, mark: Mark) -> Label:
    return Label(" ".join(text[mark.start : mark.end].split()), mark.start, _behind(text, mark.end))


def _behind(text: str, end: int) -> int:
    """Where the words begin behind a name: behind a colon, and a time, if there are."""
    match = _AFTER_NAME.match(text, end)
    return end if match is None else match.end()


def _apart(labels: Iterable[Label]) -> list[Label]:
    """Labels in order, the first of those that overlap."""
    kept: list[Label] = []
    for label in sorted(labels, key=lambda label: (label.start, -label.end)):
        if not kept or label.start >= kept[-1].end:
            kept.append(label)
    return kept

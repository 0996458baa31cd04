"""Who interviews, and so whose turns are not coded: a codebook is about what participants say.

What interviewers say just before a turn is its context.

Who interviews is told, or recognised in each document: by the name, where it says so (``Interviewer``, ``INT``,
``Moderatorin``); else by who asks, where that is clear: one speaker ends most turns with a question mark, far more than
anybody else, and says less than the others. Where it is not clear, nobody is taken for the interviewer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tl_classifier.corpus.labels import folded
from tl_classifier.corpus.roles import ASKING
from tl_classifier.corpus.rows import question
from tl_classifier.excerpts import Excerpt, Unscorable

Row = Excerpt | Unscorable

How = Literal["told", "name", "questions"]

_ASKS = ASKING | {"int", "intv", "iv", "mod"}
"""First words of names that say that somebody asks."""

_CODE = re.compile(r"(?:int|iv|mod)(?:[-_ ]?\d{1,3}|[-_ ][a-z])")

_LETTER = re.compile(r"i ?\d{0,2}|q")

LEAST_TURNS = 3
"""Fewer turns say nothing of who asks."""

LEAST_SHARE = 0.5
"""The least share of the turns of who asks that end with a question mark."""

_QUESTION = re.compile(r"[?？][\"'”’»)\]\s]*\Z")


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker of a document.

    Attributes:
        name: As first written.
        turns: Number of turns.
        words: Number of words.
        questions: Number of turns that end with a question mark.
    """

    name: str
    turns: int
    words: int
    questions: int


@dataclass(frozen=True, slots=True)
class Interviewers:
    """Who interviews in a document.

    Attributes:
        names: Each name, as first written, to how it is known.
        reason: Why, or why nobody, as a clause.
    """

    names: dict[str, How]
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which speakers are coded.

    Attributes:
        interviewers: Names of interviewers, in upper or lower case. A document in which none of them speaks is read as
            if there were none.
        include_interviewers: Whether interviewers are coded too.
        skipped: Names of others whose turns are left out.
    """

    interviewers: tuple[str, ...] = ()
    include_interviewers: bool = False
    skipped: tuple[str, ...] = ()


EVERYBODY = Selection(include_interviewers=True)
"""All speakers are coded."""

MAX_UNCLEAR = 1_000
"""Documents without a known interviewer that are kept by name."""


@dataclass(slots=True)
class LeftOut:
    """What a selection left out.

    Attributes:
        skipped: Each name that was to be skipped to its rows.
        interviewers: Names of interviewers, and how they are known, to their rows.
        unclear: Documents with several speakers of whom nobody is known to interview; at most `MAX_UNCLEAR`.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    interviewers: Counter[tuple[str, How]] = field(default_factory=Counter)
    unclear: dict[str | None, None] = field(default_factory=dict)


def asks_by_name(name: str, others: Collection[str] = ()) -> bool:
    """Whether a name says that its bearer asks.

    Args:
        name: The name.
        others: Names of the others, where they are known: letters are read beside them.
    """
    short = folded(name).replace("_", " ").strip(".:")
    if short.partition(" ")[0].strip("().-") in _ASKS or _CODE.fullmatch(short) is not None:
        return True
    if _LETTER.fullmatch(short) is not None:
        return True
    return short == "f" and bool({folded(other) for other in others} & {"a", "b"})


def speakers_of(rows: Iterable[Row]) -> list[Speaker]:
    """The speakers of a document, in the order in which they begin; pieces of a turn count as one turn."""
    names: dict[str, str] = {}
    turns: Counter[str] = Counter()
    words: Counter[str] = Counter()
    questions: Counter[str] = Counter()
    before: Row | None = None
    for row in rows:
        if row.speaker is None:
            before = row
            continue
        key = folded(row.speaker)
        names.setdefault(key, row.speaker)
        goes_on = (
            before is not None and row.turn is not None and (before.speaker, before.turn) == (row.speaker, row.turn)
        )
        if goes_on and isinstance(before, Excerpt):
            questions[key] -= _is_question(before)
        turns[key] += not goes_on
        if isinstance(row, Excerpt):
            words[key] += len(row.text.split())
            questions[key] += _is_question(row)
        before = row
    return [Speaker(name, turns[key], words[key], questions[key]) for key, name in names.items()]


def _is_question(row: Excerpt) -> bool:
    return _QUESTION.search(row.text[-80:]) is not None


def recognise(speakers: Sequence[Speaker], selection: Selection = EVERYBODY) -> Interviewers:
    """Who of the speakers of a document interviews."""
    told = {folded(name) for name in selection.interviewers}
    named: dict[str, How] = {speaker.name: "told" for speaker in speakers if folded(speaker.name) in told}
    if named:
        return Interviewers(named, "told with --interviewer")
    if not speakers:
        return Interviewers({}, "nobody is named")
    every = [speaker.name for speaker in speakers]
    by_name = [name for name in every if asks_by_name(name, every)]
    if by_name and len(by_name) < len(every):
        return Interviewers(dict.fromkeys(by_name, "name"), "the name says so")
    if len(speakers) == 1:
        return Interviewers({}, "nobody else speaks")
    if by_name:
        return Interviewers({}, "everybody's name says so")
    skipped = {folded(name) for name in selection.skipped}
    if any(folded(name) in skipped for name in every):
        return Interviewers({}, "no name says so, and --skip-speaker leaves somebody out")
    return _by_questions(speakers)


def _by_questions(speakers: Sequence[Speaker]) -> Interviewers:
    def share(speaker: Speaker) -> float:
        return speaker.questions / max(speaker.turns, 1)

    who, *others = sorted(speakers, key=share, reverse=True)
    rest = [speaker for speaker in others if speaker.turns >= LEAST_TURNS]
    turns = sum(speaker.turns for speaker in others)
    asked = f"{who.questions} of {who.turns} turns end with a question mark"
    next_share = max(map(share, rest), default=0.0)
    clear = (
        who.turns >= LEAST_TURNS
        and turns >= LEAST_TURNS
        and share(who) >= LEAST_SHARE
        and share(who) >= next_share + 0.3
        # Who interviews says less than who answers.
        and who.words * turns < sum(speaker.words for speaker in others) * who.turns
    )
    if clear:
        return Interviewers({who.name: "questions"}, f"{asked}, and the others ask less and say more")
    return Interviewers({}, "no name says so, and nobody clearly asks the questions")


def select(rows: Iterable[Row], selection: Selection, left_out: LeftOut) -> Iterator[Row]:
    """The rows of transcripts that are to be coded; the rows of a document follow each other, and are held together."""
    document: list[Row] = []
    for row in rows:
        if document and row.document != document[0].document:
            yield from _select(document, selection, left_out)
            document = []
        document.append(row)
    yield from _select(document, selection, left_out)


def _select(rows: Sequence[Row], selection: Selection, left_out: LeftOut) -> Iterator[Row]:
    if not rows:
        return
    skipped = {folded(name): name for name in selection.skipped}
    asking: dict[str, tuple[str, How]] = {}
    if not selection.include_interviewers:
        speakers = speakers_of(rows)
        found = recognise(speakers, selection)
        asking = {folded(name): (name, how) for name, how in found.names.items()}
        others = [speaker for speaker in speakers if folded(speaker.name) not in skipped]
        if not asking and len(others) > 1 and len(left_out.unclear) < MAX_UNCLEAR:
            left_out.unclear[rows[0].document] = None
    yield from _Sieve(skipped, asking, left_out).pass_on(rows)


def select_rows(rows: Iterable[Row], selection: Selection, left_out: LeftOut) -> Iterator[Row]:
    """The rows of a table that are to be coded; interviewers are those who are told, or whose name says so."""
    told = {folded(name) for name in selection.interviewers}
    skipped = {folded(name): name for name in selection.skipped}
    asking: dict[str, tuple[str, How]] = {}
    known: set[str] = set()
    sieve = _Sieve(skipped, asking, left_out)
    for row in rows:
        if row.speaker is not None and not selection.include_interviewers and row.speaker not in known:
            key = folded(row.speaker)
            if len(known) < MAX_UNCLEAR:
                known.add(row.speaker)
            if key in told:
                asking[key] = (row.speaker, "told")
            elif asks_by_name(row.speaker):
                asking[key] = (row.speaker, "name")
        yield from sieve.pass_on((row,))


class _Sieve:
    """Keeps back those who are not coded, and gives what interviewers said to the turn that answers it.

    Args:
        skipped: Folded names of those to be skipped to the names as given.
        asking: Folded names of interviewers to the name as written, and how it is known.
        left_out: Counts what is kept back.
    """

    def __init__(self, skipped: dict[str, str], asking: dict[str, tuple[str, How]], left_out: LeftOut) -> None:
        self._skipped = skipped
        self._asking = asking
        self._left_out = left_out
        self._said: list[Excerpt] = []  # by interviewers, since somebody else spoke
        self._answer: tuple[Excerpt, str | None] | None = None  # the row before, and what it answers

    def pass_on(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows that are to be coded."""
        for row in rows:
            key = None if row.speaker is None else folded(row.speaker)
            if key in self._skipped:
                self._left_out.skipped[self._skipped[key]] += 1
                self._said.clear()
            elif key in self._asking:
                self._left_out.interviewers[self._asking[key]] += 1
                if isinstance(row, Excerpt):
                    self._said.append(row)
            else:
                yield self._with_context(row) if isinstance(row, Excerpt) else row

    def _with_context(self, row: Excerpt) -> Excerpt:
        said = " ".join(one.text for one in self._said if one.document == row.document)
        self._said.clear()
        context = question(said)
        if self._answer is not None and context is None:
            before, its = self._answer
            # The pieces of a long turn answer the same.
            if row.turn is not None and (row.document, row.turn) == (before.document, before.turn):
                context = its
        context = row.context or context
        self._answer = row, context
        return row if context == row.context else replace(row, context=context)

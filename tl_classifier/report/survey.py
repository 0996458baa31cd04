"""What a report tells, gathered from a scored file in two passes and in memory that does not grow with it.

The first pass counts (`Survey`). The second, which knows the counts, looks closer (`Details`): at the ways through
the codes of those who say most, and at the decisions that were close.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.excerpts import Span

Record = Mapping[str, Any]

MAX_KEPT = 20_000
"""Documents, and speakers, that are counted apart; the further ones are counted together."""

MAX_NAMES = 1_000
"""Models, and reasons why rows were not scored, that are counted apart."""

STRONGEST = 5
"""Excerpts kept for each code."""

CLOSE = 0.1
"""A decision is close where the probability is no further than this from the threshold."""

MAX_CLOSE = 1_000
"""Close decisions that are kept, the closest."""

SHOWN_FROM = 0.15
"""Probability from which on a code that was not given is a mark on a way."""

MIN_WAY_CODES = 3
"""Codes that a dimension must have for a way through them to be drawn."""

MIN_WAY_CODINGS = 3
"""Codings that a speaker must have for a way."""

MAX_WAYS = 24
"""Ways drawn for each dimension."""

WAY_STEPS = 300
"""Places along a way; longer documents have several turns to a place."""

MAX_TEXT = 900
"""Characters of an excerpt that are kept."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an excerpt comes from, and its beginning.

    Attributes:
        id: As in the record, as are `document`, `speaker` and `turn`.
        text: The words, at most `MAX_TEXT` characters of them; None where the file has none.
        cut: Whether there are more.
    """

    id: str | None
    document: str | None
    speaker: str | None
    turn: int | None
    text: str | None
    cut: bool = False

    @classmethod
    def of(cls, record: Record) -> Source:
        """The source of a record."""
        text = record.get("text")
        kept = None if text is None else text[:MAX_TEXT]
        about = (record["id"], record["document"], record["speaker"], record["turn"])
        return cls(*about, kept, cut=text is not None and len(text) > MAX_TEXT)


def _span(record: Record, dimension: str, code: str) -> Span | None:
    found = ((record.get("evidence") or {}).get(dimension) or {}).get(code)
    return None if found is None else (found[0], found[1])


@dataclass(slots=True)
class Tally:
    """Counts over some of the excerpts.

    Attributes:
        codes: For each code of the codebook, in order over all dimensions: the excerpts that carry it.
        excerpts: Excerpts scored.
        first: Lowest number of a turn; None without one.
        last: Highest.
    """

    codes: array[int]
    excerpts: int = 0
    first: int | None = None
    last: int | None = None

    @classmethod
    def empty(cls, codes: int) -> Tally:
        """Counts of nothing yet."""
        return cls(array("L", bytes(array("L").itemsize * codes)))

    def add(self, given: list[int], turn: int | None) -> None:
        """Count an excerpt that carries the codes at these places."""
        self.excerpts += 1
        for at in given:
            self.codes[at] += 1
        if turn is not None:
            self.first = turn if self.first is None else min(self.first, turn)
            self.last = turn if self.last is None else max(self.last, turn)


_Key = TypeVar("_Key", bound=Hashable)


class Tallies(dict[_Key, Tally]):
    """Counts by document or by speaker, in order of appearance; at most `MAX_KEPT`.

    Args:
        codes: How many codes there are.

    Attributes:
        beyond: Excerpts of those that are not counted apart.
    """

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.beyond = 0
        self._codes = codes

    def count(self, key: _Key, given: list[int], turn: int | None) -> None:
        """Count an excerpt; see `Tally.add`."""
        tally = self.get(key)
        if tally is None:
            if len(self) >= MAX_KEPT:
                self.beyond += 1
                return
            tally = self[key] = Tally.empty(self._codes)
        tally.add(given, turn)


@dataclass(frozen=True, slots=True)
class Strong:
    """An excerpt that a code was given with a high probability.

    Attributes:
        probability: The code's.
        source: The excerpt.
        evidence: The passage that carries the code, as offsets into its text; None where the file does not say.
    """

    probability: float
    source: Source
    evidence: Span | None = None


Who = tuple[str | None, str | None]
"""A document and a speaker in it. The P1 of one document need not be the P1 of another."""


class Survey:
    """The first pass: counts.

    Args:
        codebook: What was coded with.

    Attributes:
        codes: Dimension and code id of each code, in codebook order; the places of all counts by code.
        total: Counts over all excerpts that were scored.
        documents: Counts by document.
        speakers: Counts by speaker within a document.
        unscored: Reasons to numbers of rows.
        models: Models to numbers of rows.
        together: Shape (codes, codes): excerpts that carry both.
        groups: Dimension and group id to the excerpts that carry one of its codes.
        none: Dimension id to the excerpts that carry none of its codes.
        rated: Dimension id to the excerpts that were coded in it.
        has_text: Whether any row has its words.
    """

    def __init__(self, codebook: Codebook) -> None:
        self.codebook = codebook
        self.codes = [(dimension.id, code) for dimension in codebook.dimensions for code in dimension.code_ids]
        self.places = {name: at for at, name in enumerate(self.codes)}
        self.total = Tally.empty(len(self.codes))
        self.documents: Tallies[str | None] = Tallies(len(self.codes))
        self.speakers: Tallies[Who] = Tallies(len(self.codes))
        self.unscored: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.together: npt.NDArray[np.int64] = np.zeros((len(self.codes), len(self.codes)), dtype=np.int64)
        self.groups: Counter[tuple[str, str]] = Counter()
        self.none: Counter[str] = Counter()
        self.rated: Counter[str] = Counter()
        self.has_text = False
        self._strongest: list[list[tuple[float, int, Strong]]] = [[] for _ in self.codes]
        self._lowest_given = [2.0] * len(self.codes)
        self._highest_not = [-1.0] * len(self.codes)

    def add(self, record: Record) -> None:
        """Count a record."""
        _count(self.models, record["model"])
        if record["codes"] is None:
            _count(self.unscored, record["error"])
            return
        self.has_text |= record.get("text") is not None
        given: list[int] = []
        for dimension in self.codebook.dimensions:
            if dimension.id in record["probabilities"]:
                given += self._add_dimension(record, dimension)
        self.total.add(given, None)
        for first in given:
            for second in given:
                self.together[first, second] += 1
        self.documents.count(record["document"], given, record["turn"])
        self.speakers.count((record["document"], record["speaker"]), given, record["turn"])

    def strongest(self, dimension: str, code: str) -> list[Strong]:
        """The excerpts that carry a code with the highest probability, highest first."""
        kept = sorted(self._strongest[self.places[dimension, code]], reverse=True, key=lambda item: item[:2])
        return [strong for _, _, strong in kept]

    def threshold(self, dimension: str, code: str) -> float:
        """The probability from which on a code is given, as far as the file shows it.

        It lies between the highest probability without the code and the lowest with it. Where these leave the choice,
        or cross because people corrected codes, it is 0.5.
        """
        at = self.places[dimension, code]
        low, high = max(self._highest_not[at], 0.0), min(self._lowest_given[at], 1.0)
        return 0.5 if low >= high or low < 0.5 < high else (low + high) / 2

    def documents_with(self, dimension: str, code: str) -> int:
        """In how many documents a code was given."""
        at = self.places[dimension, code]
        return sum(tally.codes[at] > 0 for tally in self.documents.values())

    def used(self) -> list[Dimension]:
        """The dimensions that something was coded in."""
        return [dimension for dimension in self.codebook.dimensions if self.rated[dimension.id]]

    def ways(self, dimension: Dimension) -> list[Who]:
        """Whose ways through a dimension are drawn: who has most codings, in order of appearance."""
        candidates = self.ways_possible(dimension)
        chosen = set(heapq.nlargest(MAX_WAYS, candidates, key=lambda who: candidates[who]))
        return [who for who in candidates if who in chosen]

    def ways_possible(self, dimension: Dimension) -> dict[Who, int]:
        """Whose ways could be drawn, to the number of their codings: turns are numbered, and enough of them coded."""
        if len(dimension.codes) < MIN_WAY_CODES:
            return {}
        places = [self.places[dimension.id, code] for code in dimension.code_ids]
        return {
            who: codings
            for who, tally in self.speakers.items()
            if tally.first is not None
            and tally.first != tally.last
            and (codings := sum(tally.codes[at] for at in places)) >= MIN_WAY_CODINGS
        }

    def _add_dimension(self, record: Record, dimension: Dimension) -> list[int]:
        """Count a record in one dimension; returns the places of the codes that it carries."""
        codes = set(record["codes"].get(dimension.id, ()))
        self.rated[dimension.id] += 1
        if not codes:
            self.none[dimension.id] += 1
        self.groups.update((dimension.id, group) for group in dimension.groups_of(codes))
        given = []
        for code, probability in record["probabilities"][dimension.id].items():
            at = self.places[dimension.id, code]
            if code in codes:
                given.append(at)
                self._lowest_given[at] = min(self._lowest_given[at], probability)
                self._keep_strong(at, probability, record, _span(record, dimension.id, code))
            else:
                self._highest_not[at] = max(self._highest_not[at], probability)
        return given

    def _keep_strong(self, at: int, probability: float, record: Record, evidence: Span | None) -> None:
        kept = self._strongest[at]
        if len(kept) == STRONGEST and probability <= kept[0][0]:
            return
        source = Source.of(record)
        if source.text is not None and any(source.text == other.source.text for _, _, other in kept):
            return  # said twice, shown once
        # Of equals, the first in the file.
        item = (probability, -self.total.excerpts, Strong(probability, source, evidence))
        if len(kept) < STRONGEST:
            heapq.heappush(kept, item)
        else:
            heapq.heapreplace(kept, item)


def _count(counter: Counter[str], name: str) -> None:
    """Count a name; those of a file that has ever new ones are counted together."""
    counter[name if name in counter or len(counter) < MAX_NAMES else "others"] += 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A code on a way.

    Attributes:
        turn: Number of the turn.
        code: Place of the code in its dimension.
        probability: Its probability.
        given: Whether it was given.
    """

    turn: int
    code: int
    probability: float
    given: bool


@dataclass(slots=True)
class Way:
    """Somebody's way through the codes of a dimension.

    Attributes:
        who: Document and speaker.
        first: Number of the first turn in the document.
        last: Number of the last.
        turns: Turns that were scored, one for each place along the way.
        marks: By place and code; the likeliest where a place has several.
    """

    who: Who
    first: int
    last: int
    turns: dict[int, int] = field(default_factory=dict)
    marks: dict[tuple[int, int], Mark] = field(default_factory=dict)

    def add(self, turn: int, marks: list[Mark]) -> None:
        """Add an excerpt."""
        length = self.last - self.first + 1
        place = (turn - self.first) * min(length, WAY_STEPS) // length
        self.turns.setdefault(place, turn)
        for mark in marks:
            other = self.marks.get((place, mark.code))
            if other is None or (mark.given, mark.probability) > (other.given, other.probability):
                self.marks[place, mark.code] = mark


@dataclass(frozen=True, slots=True)
class CloseCall:
    """A decision that could have gone the other way.

    Attributes:
        dimension: Dimension id.
        code: Code id.
        given: Whether the code was given.
        probability: Of the code.
        against: What the probability is measured by: the threshold, or in an exclusive dimension the next likeliest.
        rival: The next likeliest code of an exclusive dimension, ``none`` where it is that none applies; else None.
        source: The excerpt.
    """

    dimension: str
    code: str
    given: bool
    probability: float
    against: float
    rival: str | None
    source: Source

    @property
    def distance(self) -> float:
        """How close it was."""
        return abs(self.probability - self.against)


class Details:
    """The second pass: ways and close calls.

    Args:
        survey: The first pass over the same file.

    Attributes:
        close_given: For each code, the excerpts that carry it but only just.
        close_not: For each code, the excerpts that only just do not.
    """

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.close_given: Counter[tuple[str, str]] = Counter()
        self.close_not: Counter[tuple[str, str]] = Counter()
        self.ways: dict[str, dict[Who, Way]] = {}
        for dimension in survey.used():
            self.ways[dimension.id] = {
                who: Way(who, *self._span(who[0], survey.speakers[who])) for who in survey.ways(dimension)
            }
        self._thresholds = {name: survey.threshold(*name) for name in survey.codes}
        self._close: list[tuple[float, int, CloseCall]] = []
        self._rows = 0

    def add(self, record: Record) -> Iterator[tuple[str, Mark]]:
        """Look at a record; gives dimension ids and the marks that it makes on a way, drawn or not."""
        if record["codes"] is None:
            return
        self._rows += 1
        who = (record["document"], record["speaker"])
        for dimension in self.survey.used():
            probabilities = record["probabilities"].get(dimension.id)
            if probabilities is None:
                continue
            given = set(record["codes"].get(dimension.id, ()))
            self._add_close(record, dimension, probabilities, given)
            if record["turn"] is None or len(dimension.codes) < MIN_WAY_CODES:
                continue
            marks = [
                Mark(record["turn"], at, probabilities[code], code in given)
                for at, code in enumerate(dimension.code_ids)
                if code in probabilities and (code in given or probabilities[code] >= SHOWN_FROM)
            ]
            way = self.ways[dimension.id].get(who)
            if way is not None:
                way.add(record["turn"], marks)
            yield from ((dimension.id, mark) for mark in marks)

    def close_calls(self) -> list[CloseCall]:
        """The closest decisions, the closest first."""
        return [call for _, _, call in sorted(self._close, reverse=True, key=lambda item: item[:2])]

    def _span(self, document: str | None, speaker: Tally) -> tuple[int, int]:
        """First and last turn of the document, so that the ways of its speakers lie above each other."""
        tally = self.survey.documents.get(document) or speaker
        assert tally.first is not None and tally.last is not None
        return tally.first, tally.last

    def _add_close(
        self, record: Record, dimension: Dimension, probabilities: Mapping[str, float], given: set[str]
    ) -> None:
        decisions = _exclusive if dimension.exclusive else self._each_by_itself
        for code, probability, against, rival in decisions(dimension, probabilities, given):
            if abs(probability - against) > CLOSE:
                continue
            (self.close_given if code in given else self.close_not)[dimension.id, code] += 1
            if rival not in (None, "none") and code not in given:
                continue  # the excerpt is listed with the rival, which it was given
            if len(self._close) == MAX_CLOSE and -abs(probability - against) <= self._close[0][0]:
                continue
            call = CloseCall(dimension.id, code, code in given, probability, against, rival, Source.of(record))
            # Of equals, the first in the file and in the codebook; no two calls have the same number.
            number = len(self.survey.codes) * self._rows + self.survey.places[dimension.id, code]
            item = (-call.distance, -number, call)
            if len(self._close) < MAX_CLOSE:
                heapq.heappush(self._close, item)
            else:
                heapq.heapreplace(self._close, item)

    def _each_by_itself(
        self, dimension: Dimension, probabilities: Mapping[str, float], given: set[str]
    ) -> Iterator[tuple[str, float, float, str | None]]:
        for code, probability in probabilities.items():
            yield code, probability, self._thresholds[dimension.id, code], None


def _exclusive(
    dimension: Dimension, probabilities: Mapping[str, float], given: set[str]
) -> Iterator[tuple[str, float, float, str | None]]:
    """The likeliest code against the next, and the other way round; "none" has the probability that is left."""
    ranked = [(probability, code) for code, probability in probabilities.items()]
    if dimension.optional:
        ranked.append((max(0.0, 1.0 - sum(probabilities.values())), "none"))
    ranked.sort(reverse=True)
    if len(ranked) > 1:
        (high, first), (low, second) = ranked[:2]
        if first != "none":
            yield first, high, low, second
        if second != "none":
            yield second, low, high, first

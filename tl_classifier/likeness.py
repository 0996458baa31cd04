"""How alike texts are, by their words: which of them say nearly the same.

Two texts are compared by the sets of their words and of their pairs of neighbouring words; the likeness of two sets is
Jaccard's index, what they share over what either has.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tl_classifier.preprocessing import clean

NEARLY_THE_SAME = 0.7
"""Texts of this likeness are the same passage, but for a few words."""

_WORD = re.compile(r"\w+(?:'\w+)?")

Features = frozenset[str]


def features(text: str) -> Features:
    """The words of a text and its pairs of neighbouring words, cleaned and in lower case."""
    words = _WORD.findall(clean(text).text.casefold())
    return frozenset(words).union(map(" ".join, pairwise(words)))


def likeness(one: Features, other: Features) -> float:
    """Jaccard's index, in [0, 1]; 1 for two empty sets."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if one or other else 1.0


def near_duplicates(sets: Sequence[Features], *, least: float = NEARLY_THE_SAME) -> Iterator[tuple[int, int, float]]:
    """Every pair of sets that are at least so alike.

    Sets that are so alike share one of their first few features, if features are put in any one order; where the rare
    ones come first, hardly any others do (Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity search"). So
    the time grows with the number of texts and of pairs, not with the square of the texts.

    Args:
        sets: As `features` gives them; an empty one is like no other.
        least: The least likeness, more than 0.

    Returns:
        Numbers of both, the smaller first, and their likeness.
    """
    times = Counter(feature for of_text in sets for feature in of_text)
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for number, of_text in enumerate(sets):
        ordered = sorted(of_text, key=lambda feature: (times[feature], feature))
        first = ordered[: len(ordered) - math.ceil(least * len(ordered) - 1e-9) + 1]
        candidates = {other for feature in first for other in seen[feature]}
        for other in sorted(candidates):
            if (found := likeness(of_text, sets[other])) >= least:
                yield other, number, found
        for feature in first:
            seen[feature].append(number)

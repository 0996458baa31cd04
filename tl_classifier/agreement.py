"""How far coders agree: percent agreement, Cohen's and Fleiss' kappa, Krippendorff's alpha, MASI, bootstrap intervals.

Ratings are an array of shape (units, coders) that holds numbers of categories, from 0 on, and `MISSING` where a coder
did not code a unit. A code of a codebook is rated with the categories 0 (not given) and 1 (given).

A statistic is made of *tallies*, numbers that add up over units, and a formula over their sums. So a bootstrap sample
costs a sum, not a pass over the units.

References:
    Cohen, J. (1960). A coefficient of agreement for nominal scales. Educ. and Psychol. Measurement 20, 37-46.
    Fleiss, J. L. (1971). Measuring nominal scale agreement among many raters. Psychological Bulletin 76, 378-382.
    Krippendorff, K. (2011). Computing Krippendorff's alpha-reliability. University of Pennsylvania.
    Passonneau, R. (2006). Measuring agreement on set-valued items (MASI) for semantic and pragmatic annotation. LREC.
    Efron, B., Tibshirani, R. (1993). An Introduction to the Bootstrap. Chapman & Hall. (Percentile intervals, ch. 13.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Ratings = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MISSING = -1
"""Stands in ratings where a coder did not code a unit."""

ROUNDS = 2_000
"""Bootstrap samples."""

_BLOCK = 4_000_000
"""Numbers drawn at a time; what bounds the memory of a bootstrap."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A statistic with its 95% bootstrap interval.

    Attributes:
        value: The statistic; NaN where it does not exist.
        low: Lower bound; None where there is no interval.
        high: Upper bound.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """A form for JSON; null for what does not exist."""
        return {"value": rounded(self.value), "low": rounded(self.low), "high": rounded(self.high)}


def rounded(value: float | None) -> float | None:
    """`value` with 4 decimals; None for NaN."""
    return None if value is None or np.isnan(value) else round(float(value), 4)


# --- statistics, as functions -----------------------------------------------------------------------------------


def percent_agreement(ratings: npt.ArrayLike) -> float:
    """Share of pairs of coders who agree on a unit, averaged over the units that at least two coded.

    Returns:
        In [0, 1]; NaN without such a unit.
    """
    return _of(Agreement(), ratings)


def cohen_kappa(ratings: npt.ArrayLike) -> float:
    """Cohen's (1960) kappa of two coders, over the units that both coded.

    Args:
        ratings: Shape (units, 2).

    Returns:
        1 for perfect agreement, 0 for what chance would bring; NaN without units, and where both only ever used one
        and the same category.

    Raises:
        ValueError: if there are not two coders.
    """
    return _of(CohenKappa(_categories(ratings)), ratings)


def fleiss_kappa(ratings: npt.ArrayLike) -> float:
    """Fleiss' (1971) kappa, over the units that all coders coded; who rated what does not matter.

    Returns:
        As for `cohen_kappa`.

    Raises:
        ValueError: if there are fewer than two coders.
    """
    return _of(FleissKappa(_categories(ratings)), ratings)


def krippendorff_alpha(ratings: npt.ArrayLike, distances: npt.ArrayLike | None = None) -> float:
    """Krippendorff's (2011) alpha for any number of coders and any missing ratings.

    Args:
        ratings: Shape (units, coders).
        distances: Shape (categories, categories): how far apart two categories are, symmetric and 0 on the
            diagonal. None for nominal categories, which are 1 apart.

    Returns:
        1 for perfect agreement, 0 for what chance would bring; NaN where all ratings that can be paired are the same,
        since then nothing shows that the coders tell anything apart.
    """
    if distances is None:
        distances = nominal(_categories(ratings))
    return _of(KrippendorffAlpha(np.asarray(distances, dtype=np.float64)), ratings)


def masi_distance(first: Collection[Any], second: Collection[Any]) -> float:
    """Passonneau's (2006) distance of two sets: 1 - Jaccard x monotonicity.

    Monotonicity is 1 for equal sets, 2/3 where one contains the other, 1/3 where they overlap otherwise, 0 where they
    have nothing in common. Two empty sets are equal; an empty set has nothing in common with any other.
    """
    a, b = set(first), set(second)
    if a == b:
        return 0.0
    common = len(a & b)
    if not common:
        return 1.0
    monotonicity = 2 / 3 if a <= b or b <= a else 1 / 3
    return 1.0 - common / len(a | b) * monotonicity


def masi_distances(sets: Sequence[Collection[Any]]) -> Floats:
    """The distances of sets from each other, shape (sets, sets)."""
    distances = np.zeros((len(sets), len(sets)))
    for i, first in enumerate(sets):
        for j in range(i):
            distances[i, j] = distances[j, i] = masi_distance(first, sets[j])
    return distances


def nominal(categories: int) -> Floats:
    """Distances of categories that are only the same or not, shape (categories, categories)."""
    return np.ones((categories, categories)) - np.eye(categories)


# --- statistics, as tallies and formulas ------------------------------------------------------------------------


class Statistic(Protocol):
    """A statistic that can be bootstrapped."""

    def tallies(self, ratings: Ratings) -> Floats:
        """What adds up, unit by unit; shape (units, tallies)."""

    def value(self, totals: Floats) -> Floats:
        """The statistic of summed tallies; shape (..., tallies) to (...). NaN where it does not exist."""


@dataclass(frozen=True)
class Agreement:
    """See `percent_agreement`. Tallies: the share of pairs that agree, and 1; zeros for units of fewer than two."""

    def tallies(self, ratings: Ratings) -> Floats:
        """Shape (units, 2)."""
        counts = _counts(ratings, _categories(ratings))
        coded = counts.sum(axis=1)
        usable = coded >= 2
        agreeing = _divided((counts * (counts - 1)).sum(axis=1), coded * (coded - 1))
        return np.stack([np.where(usable, agreeing, 0.0), usable.astype(float)], axis=1)

    def value(self, totals: Floats) -> Floats:
        """Mean over the units."""
        return _divided(totals[..., 0], totals[..., 1])


@dataclass(frozen=True)
class CohenKappa:
    """See `cohen_kappa`. Tallies: the two coders' contingency table.

    Attributes:
        categories: How many there are.
    """

    categories: int

    def tallies(self, ratings: Ratings) -> Floats:
        """Shape (units, categories x categories)."""
        if ratings.shape[1] != 2:
            raise ValueError("Cohen's kappa is for two coders")
        both = (ratings != MISSING).all(axis=1)
        cells = np.zeros((len(ratings), self.categories**2))
        first, second = ratings[both].T
        cells[np.flatnonzero(both), first * self.categories + second] = 1
        return cells

    def value(self, totals: Floats) -> Floats:
        """(observed - expected) / (1 - expected) agreement."""
        table = totals.reshape(*totals.shape[:-1], self.categories, self.categories)
        units = table.sum(axis=(-1, -2))
        observed = _divided(np.trace(table, axis1=-2, axis2=-1), units)
        expected = _divided((table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1), units**2)
        return _beyond_chance(observed, expected)


@dataclass(frozen=True)
class FleissKappa:
    """See `fleiss_kappa`. Tallies: the share of pairs that agree, 1, and the ratings in each category.

    Attributes:
        categories: How many there are.
    """

    categories: int

    def tallies(self, ratings: Ratings) -> Floats:
        """Shape (units, 2 + categories)."""
        coders = ratings.shape[1]
        if coders < 2:
            raise ValueError("Fleiss' kappa needs two coders or more")
        complete = (ratings != MISSING).all(axis=1)
        counts = _counts(ratings, self.categories)
        agreeing = (counts * (counts - 1)).sum(axis=1) / (coders * (coders - 1))
        return np.asarray(np.column_stack([agreeing, np.ones(len(ratings)), counts]) * complete[:, None])

    def value(self, totals: Floats) -> Floats:
        """(observed - expected) / (1 - expected) agreement."""
        counts = totals[..., 2:]
        shares = _divided(counts, counts.sum(axis=-1, keepdims=True))
        return _beyond_chance(_divided(totals[..., 0], totals[..., 1]), (shares**2).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class KrippendorffAlpha:
    """See `krippendorff_alpha`. Tallies: a unit's disagreement, and its ratings in each category.

    Attributes:
        distances: Shape (categories, categories).
    """

    distances: Floats

    def tallies(self, ratings: Ratings) -> Floats:
        """Shape (units, 1 + categories); zeros for units with fewer than two ratings, which pair with nothing."""
        counts = _counts(ratings, len(self.distances))
        coded = counts.sum(axis=1)
        pairable = coded >= 2
        counts *= pairable[:, None]
        disagreement = _divided(((counts @ self.distances) * counts).sum(axis=1), coded - 1)
        return np.column_stack([np.where(pairable, disagreement, 0.0), counts])

    def value(self, totals: Floats) -> Floats:
        """1 - observed / expected disagreement."""
        counts = totals[..., 1:]
        ratings = counts.sum(axis=-1)
        expected = _divided(((counts @ self.distances) * counts).sum(axis=-1), ratings - 1)
        return np.asarray(1.0 - _divided(totals[..., 0], expected))


def figure(
    statistic: Statistic,
    ratings: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Figure:
    """A statistic with the interval that holds the middle 95% of its values over bootstrap samples.

    Args:
        statistic: What is asked.
        ratings: Shape (units, coders).
        clusters: Shape (units,): numbers from 0 on, such as of documents. Clusters are drawn, with replacement and
            with all of their units, since units of one document are more alike than those of two. None: each unit by
            itself.
        rounds: Bootstrap samples.
        seed: Of the draws; the same ratings give the same interval.

    Returns:
        The figure; without bounds where there are fewer than two clusters, or the statistic does not exist in more
        than a tenth of the samples (a code that hardly occurs).
    """
    ratings = _array(ratings)
    tallies = statistic.tallies(ratings)
    value = float(statistic.value(tallies.sum(axis=0)))
    if clusters is not None:
        owner = np.asarray(clusters)
        sums = np.zeros((int(owner.max()) + 1 if len(owner) else 0, tallies.shape[1]))
        np.add.at(sums, owner, tallies)
        tallies = sums
    drawn = len(tallies)
    if drawn < 2 or np.isnan(value):
        return Figure(value)
    # Clusters with the same tallies are interchangeable, and there are few different ones: draw of those.
    tallies, alike = np.unique(tallies, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    samples: list[Floats] = []
    block = max(1, _BLOCK // len(tallies))
    for first in range(0, rounds, block):
        draws = generator.multinomial(drawn, alike / drawn, size=min(block, rounds - first))
        samples.append(statistic.value(draws.astype(np.float64) @ tallies))
    found = np.concatenate(samples)
    found = found[~np.isnan(found)]
    if len(found) < 0.9 * rounds:
        return Figure(value)
    low, high = np.percentile(found, [2.5, 97.5])
    return Figure(value, float(low), float(high))


def _of(statistic: Statistic, ratings: npt.ArrayLike) -> float:
    return float(statistic.value(statistic.tallies(_array(ratings)).sum(axis=0)))


def _array(ratings: npt.ArrayLike) -> Ratings:
    array = np.asarray(ratings, dtype=np.int64)
    if array.ndim != 2:
        raise ValueError("ratings must have the shape (units, coders)")
    return array


def _categories(ratings: npt.ArrayLike) -> int:
    array = _array(ratings)
    return int(array.max()) + 1 if array.size else 0


def _counts(ratings: Ratings, categories: int) -> Floats:
    """How many coders put each unit into each category; shape (units, categories)."""
    counts = np.zeros((len(ratings), categories))
    units, coders = np.nonzero(ratings != MISSING)
    np.add.at(counts, (units, ratings[units, coders]), 1)
    return counts


def _divided(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """The quotient; NaN where the denominator is not positive."""
    above, below = np.broadcast_arrays(np.asarray(numerator, dtype=np.float64), np.asarray(denominator, np.float64))
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0))


def _beyond_chance(observed: Floats, expected: Floats) -> Floats:
    # What is left of 1 - expected by rounding alone is nothing: all ratings are in one category.
    return _divided(observed - expected, np.where(1 - expected > 1e-12, 1 - expected, 0.0))

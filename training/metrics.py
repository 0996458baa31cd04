"""How well codings agree with a coder's: figures code by code, macro and micro, with intervals over documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from tl_classifier.agreement import cohen_kappa

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

BINS = 10
"""Bins of equal width for the calibration error and the reliability diagram."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% bootstrap interval over documents; the bounds are None with fewer than two documents."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """A form for JSON."""
        return {"value": _rounded(self.value), "low": _rounded(self.low), "high": _rounded(self.high)}


@dataclass(frozen=True)
class Accepted:
    """What the review policy accepts unseen of one code, or of all together, at the precision that it was asked for.

    Attributes:
        accepted: Excerpts for which the code is accepted.
        right: How many of them carry it.
        support: Excerpts that carry it, by the coder's word.
    """

    accepted: int
    right: int
    support: int

    @property
    def precision(self) -> float:
        """Share of what is accepted that is right; NaN where nothing is."""
        return self.right / self.accepted if self.accepted else float("nan")

    @property
    def coverage(self) -> float:
        """Share of the excerpts carrying the code for which it is accepted; NaN without support."""
        return self.right / self.support if self.support else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "accepted": self.accepted,
            "right": self.right,
            "precision": _rounded(self.precision),
            "coverage": _rounded(self.coverage),
        }


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: decisions (excerpt and code) whose probability falls in it.

    Attributes:
        decisions: How many.
        predicted: Their mean probability; NaN without decisions.
        observed: Share of them in which the coder gave the code; NaN without decisions.
    """

    decisions: int
    predicted: float
    observed: float

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "decisions": self.decisions,
            "predicted": _rounded(self.predicted),
            "observed": _rounded(self.observed),
        }


@dataclass(frozen=True)
class CodeMetrics:
    """Figures for one code.

    Attributes:
        code: Its id.
        support: Excerpts that carry it, by the coder's word.
        precision: Share of the excerpts given the code that carry it; 0 where none was given it.
        recall: Share of the excerpts carrying it that were given it; NaN without support.
        f1: Their harmonic mean; NaN without support.
        average_precision: Area under precision over recall; NaN without support.
        kappa: Cohen's kappa between model and coder; NaN where neither ever gave the code.
        accepted: What the review policy accepts of it; None where no precision was asked for.
    """

    code: str
    support: int
    precision: float
    recall: float
    f1: Interval
    average_precision: float
    kappa: float
    accepted: Accepted | None = None

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON; null for a figure that does not exist."""
        figures: dict[str, Any] = {
            "code": self.code,
            "support": self.support,
            "precision": _rounded(self.precision),
            "recall": _rounded(self.recall),
            "f1": self.f1.to_dict(),
            "average_precision": _rounded(self.average_precision),
            "kappa": _rounded(self.kappa),
        }
        return figures if self.accepted is None else {**figures, "accepted": self.accepted.to_dict()}


@dataclass(frozen=True)
class DimensionMetrics:
    """Figures for one dimension.

    Attributes:
        dimension: Its id.
        excerpts: How many were coded in it.
        documents: In how many documents.
        codes: Code by code, in codebook order.
        macro_f1: Mean over the codes that have support.
        micro_f1: Over all decisions together.
        calibration_error: Expected calibration error over all decisions (10 bins of equal width).
        reliability: Those bins, from the lowest probabilities to the highest.
        none_rate: Share of the excerpts without any code that were given one.
        given_rate: Share of all excerpts that were given a code.
        carrying_rate: Share of all excerpts that carry one, by the coder's word.
        accuracy: Share of excerpts whose set of codes is exactly the coder's.
    """

    dimension: str
    excerpts: int
    documents: int
    codes: tuple[CodeMetrics, ...]
    macro_f1: Interval
    micro_f1: Interval
    calibration_error: float
    reliability: tuple[Bin, ...]
    none_rate: float
    given_rate: float
    carrying_rate: float
    accuracy: float

    @property
    def accepted(self) -> Accepted | None:
        """What the review policy accepts, over all codes; None where no precision was asked for."""
        found = [code.accepted for code in self.codes if code.accepted is not None]
        if not found:
            return None
        return Accepted(
            sum(one.accepted for one in found), sum(one.right for one in found), sum(one.support for one in found)
        )

    def gist(self) -> dict[str, Any]:
        """A form for JSON: the figures over all codes."""
        return {
            "excerpts": self.excerpts,
            "documents": self.documents,
            "macro_f1": self.macro_f1.to_dict(),
            "micro_f1": self.micro_f1.to_dict(),
            "calibration_error": _rounded(self.calibration_error),
            "none_rate": _rounded(self.none_rate),
            "given_rate": _rounded(self.given_rate),
            "carrying_rate": _rounded(self.carrying_rate),
            "accuracy": _rounded(self.accuracy),
        }

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON: the gist, the bins of the reliability diagram, and the figures code by code."""
        return {
            **self.gist(),
            "reliability": [one.to_dict() for one in self.reliability],
            "codes": [code.to_dict() for code in self.codes],
        }


def dimension_metrics(
    dimension: str,
    codes: Sequence[str],
    truth: Bools,
    given: Bools,
    probabilities: Floats,
    documents: Sequence[str | None],
    *,
    accepted: Bools | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> DimensionMetrics:
    """All figures of one dimension.

    Args:
        dimension: Its id.
        codes: Code ids.
        truth: Shape (excerpts, codes): what the coder gave.
        given: The same shape: what the model gave.
        probabilities: The same shape.
        documents: Each excerpt's document; excerpts of no document count as one each.
        accepted: The same shape: what the review policy accepts; None where no precision was asked for.
        rounds: Bootstrap samples.
        seed: Of the samples.
    """
    names = [name if name is not None else f"\0{i}" for i, name in enumerate(documents)]
    _, owner = np.unique(names, return_inverse=True)
    count = int(owner.max()) + 1 if len(owner) else 0
    tallies = np.zeros((count, 3, len(codes)))  # by document: true positives, false positives, false negatives
    for row, part in enumerate((truth & given, ~truth & given, truth & ~given)):
        np.add.at(tallies[:, row], owner, part)
    samples = _resample(tallies, rounds, seed)
    supported = truth.any(axis=0)
    per_code = [
        _code_metrics(
            code,
            truth[:, i],
            given[:, i],
            probabilities[:, i],
            samples[:, :, i],
            None if accepted is None else accepted[:, i],
        )
        for i, code in enumerate(codes)
    ]
    sampled_f1 = _f1(samples)[:, supported]
    with np.errstate(invalid="ignore"):
        macro = [row[~np.isnan(row)].mean() for row in sampled_f1 if not np.isnan(row).all()]
    none = ~truth.any(axis=1)
    return DimensionMetrics(
        dimension=dimension,
        excerpts=len(truth),
        documents=count,
        codes=tuple(per_code),
        macro_f1=_interval(
            float(np.mean([m.f1.value for m in per_code if m.support])) if supported.any() else float("nan"), macro
        ),
        micro_f1=_interval(float(_f1(tallies.sum(axis=(0, 2)))), _f1(samples.sum(axis=2))),
        calibration_error=calibration_error(truth, probabilities),
        reliability=reliability(truth, probabilities),
        none_rate=float(given[none].any(axis=1).mean()) if none.any() else float("nan"),
        given_rate=float(given.any(axis=1).mean()) if len(truth) else float("nan"),
        carrying_rate=float((~none).mean()) if len(truth) else float("nan"),
        accuracy=float((truth == given).all(axis=1).mean()) if len(truth) else float("nan"),
    )


def _resample(tallies: Floats, rounds: int, seed: int) -> Floats:
    """Tallies of `rounds` samples of documents, drawn with replacement; shape (rounds, 3, codes)."""
    documents = len(tallies)
    if documents < 2:
        return np.empty((0, *tallies.shape[1:]))
    draws = np.random.default_rng(seed).multinomial(documents, np.full(documents, 1 / documents), size=rounds)
    return np.asarray(np.einsum("rd,dtc->rtc", draws, tallies))


def _f1(tallies: Floats) -> Floats:
    """F1 from tallies whose second axis (the first of a single one) is tp, fp, fn; NaN without support."""
    tp, fp, fn = np.moveaxis(tallies, -2 if tallies.ndim == 3 else -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan))


def _interval(value: float, samples: Sequence[float] | Floats) -> Interval:
    found = np.asarray(samples, dtype=np.float64)
    usable = found[~np.isnan(found)]
    if len(usable) < 20:
        return Interval(value)
    low, high = np.percentile(usable, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _code_metrics(
    code: str, truth: Bools, given: Bools, probabilities: Floats, samples: Floats, accepted: Bools | None
) -> CodeMetrics:
    both, support, positives = int((truth & given).sum()), int(truth.sum()), int(given.sum())
    f1 = 2 * both / (support + positives) if support else float("nan")
    return CodeMetrics(
        code=code,
        support=support,
        precision=both / positives if positives else 0.0,
        recall=both / support if support else float("nan"),
        f1=_interval(f1, _f1(samples)),
        average_precision=float(average_precision_score(truth, probabilities)) if support else float("nan"),
        kappa=cohen_kappa(np.stack([truth, given], axis=1)),
        accepted=None if accepted is None else Accepted(int(accepted.sum()), int((accepted & truth).sum()), support),
    )


def calibration_error(truth: Bools, probabilities: Floats) -> float:
    """Expected calibration error: mean distance of probability and frequency over bins, weighted by their size."""
    bins = [one for one in reliability(truth, probabilities) if one.decisions]
    if not bins:
        return float("nan")
    gaps = sum(one.decisions * abs(one.predicted - one.observed) for one in bins)
    return gaps / sum(one.decisions for one in bins)


def reliability(truth: Bools, probabilities: Floats) -> tuple[Bin, ...]:
    """Probability against frequency, over all decisions, in `BINS` bins of equal width."""
    p, t = probabilities.ravel(), truth.ravel()
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    sizes = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, p, BINS), np.bincount(place, t, BINS)
    with np.errstate(invalid="ignore"):
        predicted, observed = (total / sizes for total in sums)
    return tuple(Bin(int(n), float(x), float(y)) for n, x, y in zip(sizes, predicted, observed, strict=True))


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 4)

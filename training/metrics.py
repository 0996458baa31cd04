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
"""Bins of equal width for the calibration error."""


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
    """

    code: str
    support: int
    precision: float
    recall: float
    f1: Interval
    average_precision: float
    kappa: float

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON; null for a figure that does not exist."""
        return {
            "code": self.code,
            "support": self.support,
            "precision": _rounded(self.precision),
            "recall": _rounded(self.recall),
            "f1": self.f1.to_dict(),
            "average_precision": _rounded(self.average_precision),
            "kappa": _rounded(self.kappa),
        }


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
        none_rate: Share of the excerpts without any code that were given one.
        accuracy: Share of excerpts whose set of codes is exactly the coder's.
    """

    dimension: str
    excerpts: int
    documents: int
    codes: tuple[CodeMetrics, ...]
    macro_f1: Interval
    micro_f1: Interval
    calibration_error: float
    none_rate: float
    accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "excerpts": self.excerpts,
            "documents": self.documents,
            "macro_f1": self.macro_f1.to_dict(),
            "micro_f1": self.micro_f1.to_dict(),
            "calibration_error": _rounded(self.calibration_error),
            "none_rate": _rounded(self.none_rate),
            "accuracy": _rounded(self.accuracy),
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
        _code_metrics(code, truth[:, i], given[:, i], probabilities[:, i], samples[:, :, i])
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
        micro_f1=_interval(float(_f1(tallies.sum(axis=(0, 2)))), list(_f1(samples.sum(axis=2)))),
        calibration_error=calibration_error(truth, probabilities),
        none_rate=float(given[none].any(axis=1).mean()) if none.any() else float("nan"),
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


def _interval(value: float, samples: Sequence[float]) -> Interval:
    usable = [sample for sample in samples if not np.isnan(sample)]
    if len(usable) < 20:
        return Interval(value)
    low, high = np.percentile(usable, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _code_metrics(code: str, truth: Bools, given: Bools, probabilities: Floats, samples: Floats) -> CodeMetrics:
    both, support, positives = int((truth & given).sum()), int(truth.sum()), int(given.sum())
    f1 = 2 * both / (support + positives) if support else float("nan")
    return CodeMetrics(
        code=code,
        support=support,
        precision=both / positives if positives else 0.0,
        recall=both / support if support else float("nan"),
        f1=_interval(f1, list(_f1(samples))),
        average_precision=float(average_precision_score(truth, probabilities)) if support else float("nan"),
        kappa=cohen_kappa(np.stack([truth, given], axis=1)),
    )


def calibration_error(truth: Bools, probabilities: Floats) -> float:
    """Expected calibration error: mean distance of probability and frequency over bins, weighted by their size."""
    p, t = probabilities.ravel(), truth.ravel()
    if not len(p):
        return float("nan")
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    sizes = np.bincount(bins, minlength=BINS)
    gaps = np.abs(np.bincount(bins, p, BINS) - np.bincount(bins, t, BINS))
    return float(gaps.sum() / sizes.sum())


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 4)

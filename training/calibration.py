"""Calibration and thresholds, fitted on held-out documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import binom

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Array, Decoding, DimensionDecoding

PRECISIONS = (0.7, 0.8, 0.9, 0.95)
"""For which a model says what can be accepted unseen."""

CONFIDENCE = 0.95
"""With which a model promises them."""

PRIOR_STRENGTH = 4.0
"""How firmly a code's slope is held to its dimension's, as inverse variance of the log slope: codes with few
positives cannot carry a slope of their own."""


def fit_decoding(
    logits: Array,
    labels: npt.NDArray[np.float32],
    codebook: Codebook,
    weights: Sequence[float] | npt.NDArray[np.float64] | None = None,
) -> Decoding:
    """Fit what turns logits into probabilities and codes.

    A multi-label dimension gets Platt scaling (Platt 1999, with his smoothed targets) code by code; the slopes are
    drawn to a slope that the dimension's codes share. An exclusive dimension gets one temperature (Guo et al. 2017).
    The threshold of a code is the one with the highest expected F1 under the calibrated probabilities.

    Args:
        logits: Shape (excerpts, outputs), of documents that were not trained on.
        labels: The same shape; NaN in a dimension that was not coded.
        codebook: Says which outputs are whose.
        weights: Shape (excerpts,): how much each excerpt counts.
    """
    weight = np.ones(len(logits)) if weights is None else np.asarray(weights, dtype=np.float64)
    fitted = {}
    for dimension in codebook.dimensions:
        part = codebook.slices[dimension.id]
        coded = ~np.isnan(labels[:, part]).any(axis=1)
        scores, truth, w = logits[coded][:, part], labels[coded][:, part].astype(np.float64), weight[coded]
        thresholds = np.full(len(dimension.codes), 0.5)
        if not len(scores):
            fitted[dimension.id] = Decoding.uncalibrated(codebook).dimensions[dimension.id]
            continue
        if dimension.exclusive:
            slope = _temperature(scores, truth, w)
            slopes, intercepts = np.full(dimension.outputs, slope), np.zeros(dimension.outputs)
        else:
            shared, _ = _platt(scores.ravel(), truth.ravel(), np.repeat(w, scores.shape[1]), 1.0, 0.0)
            pairs = [_platt(s, t, w, shared, PRIOR_STRENGTH) for s, t in zip(scores.T, truth.T, strict=True)]
            slopes, intercepts = np.array(pairs).T
        decoding = DimensionDecoding(slopes, intercepts, thresholds)
        if not dimension.exclusive:
            probabilities = decoding.probabilities(scores, dimension)
            thresholds[:] = [expected_f1_threshold(p, w) for p in probabilities.T]
        shown = decoding.probabilities(scores, dimension)
        given = decoding.decide(shown, dimension)
        accepted_from = {
            precision: np.array(
                [
                    accepting_threshold(p[g], t[g] > 0.5, precision)
                    for p, t, g in zip(shown.T, truth.T, given.T, strict=False)
                ]
            )
            for precision in PRECISIONS
        }
        fitted[dimension.id] = replace(decoding, accepted_from=accepted_from)
    return Decoding(fitted)


def accepting_threshold(probabilities: Array, right: npt.NDArray[np.bool_], precision: float) -> float:
    """From which probability on a code can be accepted unseen.

    Going down from the highest probability, as long as so few of the accepted codes are wrong that a lower precision is
    ruled out with `CONFIDENCE` by a binomial test. This is "Learn then test" (Angelopoulos et al. 2021) with thresholds
    tested in a fixed order; its guarantee asks for a first threshold that is fixed beforehand, too, where here it is
    the first at which there are enough to tell.

    Args:
        probabilities: Shape (excerpts,), of excerpts that were given the code.
        right: The same shape: whether they carry it.
        precision: What share is to be right.

    Returns:
        A probability; infinite where there are too few to tell.
    """
    order = np.argsort(-probabilities, kind="stable")
    wrong = np.cumsum(~right[order])
    count = np.arange(1, len(order) + 1)
    holds = binom.cdf(wrong, count, 1 - precision) <= 1 - CONFIDENCE
    if not holds.any():
        return math.inf
    first = int(holds.argmax())
    beyond = len(order) if holds[first:].all() else first + int((~holds[first:]).argmax())
    # Excerpts with the same probability are accepted together or not at all.
    while 0 < beyond < len(order) and probabilities[order[beyond - 1]] == probabilities[order[beyond]]:
        beyond -= 1
    return float(probabilities[order[beyond - 1]]) if beyond else math.inf


def _platt(scores: Array, truth: Array, weight: Array, slope: float, strength: float) -> tuple[float, float]:
    positives, negatives = float((weight * truth).sum()), float((weight * (1 - truth)).sum())
    target = np.where(truth > 0.5, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: Array) -> float:
        log_slope, intercept = float(parameters[0]), float(parameters[1])
        z = math.exp(log_slope) * scores + intercept
        nll = float((weight * (np.logaddexp(0, z) - target * z)).sum())
        return nll + 0.5 * strength * (log_slope - math.log(slope)) ** 2

    best = minimize(loss, np.array([np.log(slope), 0.0]), method="L-BFGS-B", bounds=[(-4, 3), (-15, 15)])
    return float(np.exp(best.x[0])), float(best.x[1])


def _temperature(scores: Array, truth: Array, weight: Array) -> float:
    def loss(parameters: Array) -> float:
        z = scores * np.exp(parameters[0])
        z = z - z.max(axis=1, keepdims=True)
        return float((weight * (np.log(np.exp(z).sum(axis=1)) - (z * truth).sum(axis=1))).sum())

    best = minimize(loss, np.zeros(1), method="L-BFGS-B", bounds=[(-4, 3)])
    return float(np.exp(best.x[0]))


def expected_f1_threshold(probabilities: Array, weights: Array) -> float:
    """The threshold with the highest expected F1, if the probabilities are right.

    It uses no labels but through the calibration, and so wavers less than the threshold that happened to be best on
    a few dozen positives (Lipton, Elkan and Narayanaswamy 2014).

    Args:
        probabilities: Shape (excerpts,).
        weights: Shape (excerpts,).

    Returns:
        A threshold in [0.05, 0.95].
    """
    order = np.argsort(-probabilities)
    p, w = probabilities[order], weights[order]
    f1 = 2 * np.cumsum(w * p) / (np.cumsum(w) + (w * p).sum() + 1e-12)
    best = int(f1.argmax())
    following = p[best + 1] if best + 1 < len(p) else p[best]
    return float(np.clip((p[best] + following) / 2, 0.05, 0.95))

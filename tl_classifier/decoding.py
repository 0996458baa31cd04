"""Logits to calibrated probabilities to codes. Plain numpy: the same on every machine and for every runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.errors import InputError
from tl_classifier.excerpts import Prediction

Array = npt.NDArray[np.float64]

ACCEPTED, TO_REVIEW = "accepted", "to review"

DECIMALS = 4
"""Decimals of a reported probability: more would only show the rounding of the arithmetic."""


def pool_windows(logits: npt.NDArray[Any], counts: Sequence[int], codebook: Codebook) -> Array:
    """Logits of excerpts from the logits of their windows.

    A code of a multi-label dimension is in an excerpt if it is in one of its windows, so the highest logit counts;
    the codes of an exclusive dimension compete for the whole excerpt, so there the mean does.

    Args:
        logits: Shape (windows, outputs), the windows of an excerpt side by side.
        counts: How many windows each excerpt has, at least 1 each.
        codebook: Says which outputs are whose.

    Returns:
        Shape (excerpts, outputs), float64.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if len(counts) == len(logits):  # one window each: nothing to pool
        return logits
    firsts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    pooled = np.maximum.reduceat(logits, firsts, axis=0)
    means = np.add.reduceat(logits, firsts, axis=0) / np.asarray(counts)[:, None]
    for dimension in codebook.dimensions:
        if dimension.exclusive:
            pooled[:, codebook.slices[dimension.id]] = means[:, codebook.slices[dimension.id]]
    return pooled


@dataclass(frozen=True, eq=False)
class DimensionDecoding:
    """How the logits of one dimension become probabilities and codes.

    Attributes:
        slopes: Shape (outputs,). The calibrated logit is slope x logit + intercept. An exclusive dimension has the
            same slope everywhere (one over its temperature).
        intercepts: Shape (outputs,).
        thresholds: Shape (codes,). A code of a multi-label dimension is given from this probability on; an exclusive
            dimension gives its likeliest code and ignores them.
        accepted_from: For some precisions, shape (codes,): from which probability on a code can be accepted unseen, if
            that share of what is accepted is to be right; infinite where the held-out documents did not show that.
    """

    slopes: Array
    intercepts: Array
    thresholds: Array
    accepted_from: Mapping[float, Array] = field(default_factory=dict)

    def probabilities(self, logits: Array, dimension: Dimension) -> Array:
        """Calibrated probabilities, shape (excerpts, outputs); an exclusive row sums to 1, "none" last if optional."""
        scores = logits * self.slopes + self.intercepts
        if dimension.exclusive:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scores)))  # the logistic function, without overflow

    def decide(self, probabilities: Array, dimension: Dimension) -> npt.NDArray[np.bool_]:
        """Which codes are given, shape (excerpts, codes)."""
        codes = len(dimension.codes)
        if dimension.exclusive:
            return np.asarray(probabilities.argmax(axis=1)[:, None] == np.arange(codes)[None, :])
        return np.asarray(probabilities[:, :codes] >= self.thresholds)


@dataclass(frozen=True, eq=False)
class Decoding:
    """How a model's logits become predictions: one `DimensionDecoding` for each dimension of the codebook."""

    dimensions: Mapping[str, DimensionDecoding]

    @classmethod
    def uncalibrated(cls, codebook: Codebook) -> Decoding:
        """Logits taken at their word, and codes given from a probability of one half on."""
        return cls(
            {
                d.id: DimensionDecoding(np.ones(d.outputs), np.zeros(d.outputs), np.full(len(d.codes), 0.5))
                for d in codebook.dimensions
            }
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], codebook: Codebook) -> Decoding:
        """Read what `to_dict` gave.

        Raises:
            ValueError: if `data` does not fit the codebook.
        """
        dimensions = {}
        for dimension in codebook.dimensions:
            stored = data["dimensions"][dimension.id]
            slopes, intercepts, thresholds = (
                np.array(stored[name], dtype=np.float64) for name in ("slopes", "intercepts", "thresholds")
            )
            decoding = DimensionDecoding(slopes, intercepts, thresholds)
            expected = (dimension.outputs, dimension.outputs, len(dimension.codes))
            found = (decoding.slopes.size, decoding.intercepts.size, decoding.thresholds.size)
            if found != expected:
                raise ValueError(f"dimension {dimension.id!r} has {found} values where {expected} are needed")
            accepted_from = {
                float(precision): np.array([np.inf if p is None else p for p in values], dtype=np.float64)
                for precision, values in stored.get("accepted_from", {}).items()
            }
            if any(len(values) != len(dimension.codes) for values in accepted_from.values()):
                raise ValueError(f"dimension {dimension.id!r} accepts other codes than it has")
            dimensions[dimension.id] = replace(decoding, accepted_from=accepted_from)
        return cls(dimensions)

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "version": 1,
            "dimensions": {
                name: {
                    "slopes": [round(float(v), 6) for v in d.slopes],
                    "intercepts": [round(float(v), 6) for v in d.intercepts],
                    "thresholds": [round(float(v), 4) for v in d.thresholds],
                    "accepted_from": {
                        str(precision): [round(float(v), 4) if np.isfinite(v) else None for v in values]
                        for precision, values in d.accepted_from.items()
                    },
                }
                for name, d in self.dimensions.items()
            },
        }

    @property
    def precisions(self) -> list[float]:
        """The precisions that `review` can be asked for."""
        return sorted(set.intersection(*(set(d.accepted_from) for d in self.dimensions.values())))

    def review(self, predictions: Sequence[Prediction], codebook: Codebook, precision: float) -> list[Prediction]:
        """The predictions with `review` set: which of their codes can be accepted, and which somebody should look at.

        Args:
            predictions: From this decoding's probabilities.
            codebook: Whose codes they are.
            precision: What share of the accepted codes is to be right; one of `precisions`.

        Raises:
            InputError: if it is none of them.
        """
        if precision not in self.precisions:
            known = ", ".join(map(str, self.precisions))
            raise InputError(
                f"This model cannot promise a precision of {precision:g}; "
                + (f"ask for one of {known}." if known else "train it anew to have it fitted.")
            )
        limits = {
            d.id: dict(zip(d.code_ids, self.dimensions[d.id].accepted_from[precision], strict=True))
            for d in codebook.dimensions
        }
        return [
            replace(
                found,
                review={
                    dimension: {
                        code: ACCEPTED if found.probabilities[dimension][code] >= limits[dimension][code] else TO_REVIEW
                        for code in codes
                    }
                    for dimension, codes in found.codes.items()
                },
            )
            for found in predictions
        ]

    def predictions(self, logits: Array, codebook: Codebook, model: str) -> list[Prediction]:
        """Predictions from logits of excerpts, shape (excerpts, outputs)."""
        shown: dict[str, Array] = {}
        given: dict[str, npt.NDArray[np.bool_]] = {}
        for dimension in codebook.dimensions:
            decoding = self.dimensions[dimension.id]
            # Codes follow from the probabilities that are shown, so that nobody sees 0.5 below a threshold of 0.5.
            shown[dimension.id] = np.round(
                decoding.probabilities(logits[:, codebook.slices[dimension.id]], dimension), DECIMALS
            )
            given[dimension.id] = decoding.decide(shown[dimension.id], dimension)
        predictions = []
        for row in range(len(logits)):
            codes = {
                d.id: tuple(code for code, yes in zip(d.code_ids, given[d.id][row], strict=True) if yes)
                for d in codebook.dimensions
            }
            predictions.append(
                Prediction(
                    codes=codes,
                    groups={d.id: d.groups_of(codes[d.id]) for d in codebook.dimensions},
                    # An exclusive dimension's "none" is an output, not a code: zip leaves it out.
                    probabilities={
                        d.id: dict(zip(d.code_ids, shown[d.id][row].tolist(), strict=False))
                        for d in codebook.dimensions
                    },
                    model=model,
                )
            )
        return predictions

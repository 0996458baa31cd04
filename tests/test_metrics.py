"""Figures and calibration against hand-made data and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, precision_score, recall_score

from tl_classifier import Codebook
from training.calibration import expected_f1_threshold, fit_decoding
from training.metrics import calibration_error, dimension_metrics

RNG = np.random.default_rng(1)


def sample(n: int = 300, codes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probabilities = RNG.random((n, codes)) ** 2
    truth = RNG.random((n, codes)) < probabilities
    return truth, probabilities >= 0.4, probabilities


def test_figures_agree_with_scikit_learn() -> None:
    truth, predicted, probabilities = sample()
    m = dimension_metrics("d", list("abcd"), truth, predicted, probabilities, [f"doc{i % 12}" for i in range(300)])
    assert m.macro_f1.value == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert m.micro_f1.value == pytest.approx(f1_score(truth, predicted, average="micro"))
    for i, code in enumerate(m.codes):
        assert code.support == truth[:, i].sum()
        assert code.precision == pytest.approx(precision_score(truth[:, i], predicted[:, i]))
        assert code.recall == pytest.approx(recall_score(truth[:, i], predicted[:, i]))
        assert code.kappa == pytest.approx(cohen_kappa_score(truth[:, i], predicted[:, i]))
        assert code.f1.low is not None and code.f1.high is not None
        assert code.f1.low < code.f1.value < code.f1.high
    assert m.documents == 12
    none = ~truth.any(axis=1)
    assert m.none_rate == pytest.approx(predicted[none].any(axis=1).mean())


def test_intervals_are_over_documents_not_excerpts() -> None:
    """Excerpts of a document stand together: with all of them in two documents the interval must widen."""
    truth, predicted, probabilities = sample()
    wrong = np.arange(300) < 150
    predicted[wrong] = ~truth[wrong]
    predicted[~wrong] = truth[~wrong]
    few = dimension_metrics("d", list("abcd"), truth, predicted, probabilities, ["a" if w else "b" for w in wrong])
    many = dimension_metrics("d", list("abcd"), truth, predicted, probabilities, [None] * 300)
    assert few.micro_f1.high - few.micro_f1.low > 3 * (many.micro_f1.high - many.micro_f1.low)  # type: ignore[operator]


def test_codes_without_support_do_not_count_as_failures() -> None:
    truth = np.array([[True, False], [False, False], [True, False]])
    m = dimension_metrics("d", ["a", "b"], truth, truth, truth.astype(float), ["x", "y", "z"])
    assert m.macro_f1.value == 1.0
    assert math.isnan(m.codes[1].f1.value)
    assert m.codes[1].to_dict()["f1"]["value"] is None


def test_calibration_error() -> None:
    truth = np.array([[True], [False], [False], [False]])
    assert calibration_error(truth, np.full((4, 1), 0.25)) == pytest.approx(0.0)
    assert calibration_error(truth, np.full((4, 1), 0.95)) == pytest.approx(0.7)


def test_calibration_mends_overconfidence() -> None:
    codebook = Codebook.default()
    n = 2000
    truth = (RNG.random((n, codebook.outputs)) < 0.2).astype(np.float32)
    honest = np.where(truth > 0, 1.2, -1.9) + RNG.normal(0, 1.2, truth.shape)
    overconfident = honest * 4 + 3
    decoding = fit_decoding(overconfident[:1000], truth[:1000], codebook)
    stage = codebook.dimension("stage")
    held_out = decoding.dimensions["stage"].probabilities(overconfident[1000:, codebook.slices["stage"]], stage)
    naive = 1 / (1 + np.exp(-overconfident[1000:, codebook.slices["stage"]]))
    labels = truth[1000:, codebook.slices["stage"]] > 0.5
    assert calibration_error(labels, held_out) < 0.02 < 0.1 < calibration_error(labels, naive)


def test_the_threshold_maximises_expected_f1() -> None:
    probabilities = np.concatenate([np.full(10, 0.9), np.full(30, 0.4), np.full(500, 0.02)])
    threshold = expected_f1_threshold(probabilities, np.ones(540))

    def expected_f1(t: float) -> float:
        chosen = probabilities[probabilities >= t]
        return 2 * chosen.sum() / (len(chosen) + probabilities.sum())

    assert expected_f1(threshold) == max(expected_f1(t) for t in (0.01, 0.1, 0.3, 0.5, 0.95))

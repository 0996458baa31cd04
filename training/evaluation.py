"""A model against coded data, and against baselines on the same documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tl_classifier.classifier import Classifier
from tl_classifier.codebook import Codebook
from tl_classifier.decoding import ACCEPTED, Array, Decoding
from tl_classifier.errors import InputError
from tl_classifier.excerpts import CodedExcerpt, Excerpt, Prediction
from tl_classifier.preprocessing import is_blank
from training.baselines import Scorer, frozen_encoder, most_frequent, tfidf
from training.calibration import fit_decoding
from training.data import label_matrix
from training.metrics import DimensionMetrics, dimension_metrics
from training.slices import Coder, slices

MODEL = "this model"
"""Name of the model's own figures, beside the baselines'."""

TFIDF = "TF-IDF, logistic regression"

REVIEW_PRECISION = 0.9
"""What share of the codes that are accepted unseen is to be right, where figures of the review policy are made."""

Metrics = Mapping[str, DimensionMetrics]
"""Dimension id to figures."""


def _coder(classifier: Classifier) -> Coder:
    """Codes, and says what is accepted at `REVIEW_PRECISION` if the model was fitted for that."""
    precision = REVIEW_PRECISION if REVIEW_PRECISION in classifier.decoding.precisions else None
    return lambda excerpts: classifier.predict(excerpts, precision=precision)


def metrics_of(predictions: Sequence[Prediction], coded: Sequence[CodedExcerpt], codebook: Codebook) -> Metrics:
    """Figures of predictions against coded data, row by row; dimensions that nobody coded are left out."""
    figures = {}
    for dimension in codebook.dimensions:
        rows = [(p, c) for p, c in zip(predictions, coded, strict=True) if dimension.id in c.codes]
        if not rows:
            continue
        ids = dimension.code_ids
        figures[dimension.id] = dimension_metrics(
            dimension.id,
            ids,
            truth=_table([c.codes[dimension.id] for _, c in rows], ids),
            given=_table([p.codes[dimension.id] for p, _ in rows], ids),
            probabilities=np.array([[p.probabilities[dimension.id][code] for code in ids] for p, _ in rows]),
            documents=[c.excerpt.document for _, c in rows],
            accepted=_accepted([p for p, _ in rows], dimension.id, ids),
        )
    return figures


def _accepted(predictions: Sequence[Prediction], dimension: str, ids: Sequence[str]) -> npt.NDArray[np.bool_] | None:
    reviews = [p.review[dimension] for p in predictions if p.review is not None]
    if len(reviews) < len(predictions):
        return None
    return _table([[code for code, mark in review.items() if mark == ACCEPTED] for review in reviews], ids)


def _table(rows: Sequence[Sequence[str]], ids: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([[code in row for code in ids] for row in rows], dtype=bool)


def baselines(
    train: Sequence[CodedExcerpt],
    validation: Sequence[CodedExcerpt],
    codebook: Codebook,
    embed: Any = None,
    weights: npt.NDArray[np.float64] | None = None,
) -> dict[str, tuple[Scorer, Decoding]]:
    """Baselines by name, trained on `train` and calibrated on `validation`, each as (texts to logits, decoding).

    Args:
        train: What the model is trained on, without additions.
        validation: What it is calibrated on.
        codebook: What is coded.
        embed: Texts to embeddings of the frozen encoder, shape (texts, width); None leaves that baseline out.
        weights: Shape (excerpts,): how much each of `validation` counts.
    """
    excerpts, labels = [one.excerpt for one in train], label_matrix(train, codebook)
    scorers: dict[str, Scorer] = {
        "most frequent codes": most_frequent(labels, codebook),
        TFIDF: tfidf(excerpts, labels),
    }
    if any(excerpt.context for excerpt in excerpts):
        scorers[f"{TFIDF}, question too"] = tfidf(excerpts, labels, with_context=True)
    if embed is not None:
        scorers["frozen encoder, logistic regression"] = frozen_encoder(embed, excerpts, labels)
    held_out, truth = [one.excerpt for one in validation], label_matrix(validation, codebook)
    return {
        name: (scorer, fit_decoding(scorer(held_out), truth, codebook, weights)) for name, scorer in scorers.items()
    }


def _baseline_coder(baseline: tuple[Scorer, Decoding], codebook: Codebook) -> Coder:
    scorer, decoding = baseline

    def code(excerpts: Sequence[Excerpt]) -> list[Prediction]:
        logits: Array = scorer(excerpts)
        return decoding.predictions(logits, codebook, "baseline")

    return code


def beside(
    fitted: Mapping[str, tuple[Scorer, Decoding]], held_out: Mapping[str, list[CodedExcerpt]], codebook: Codebook
) -> dict[str, tuple[list[CodedExcerpt], dict[str, Metrics]]]:
    """What figures are made on, and the baselines' figures on it.

    Args:
        fitted: As `baselines` gives them.
        held_out: Coded data by name.
        codebook: What is coded.

    Returns:
        By name the coded data, and behind it its parts (`training.slices`), each with the figures of every baseline.

    Raises:
        InputError: if nothing in one of them can be coded.
    """
    coders = {system: _baseline_coder(baseline, codebook) for system, baseline in fitted.items()}
    parts: dict[str, list[CodedExcerpt]] = {}
    for name, coded in held_out.items():
        parts[name] = [one for one in coded if not is_blank(one.excerpt.text)]
        if not parts[name]:
            raise InputError("The coded data has no excerpt with words, so there is nothing to evaluate.")
        parts |= slices(name, parts[name], coders.get(TFIDF))
    figures = {system: _on_slices(coder, parts, codebook) for system, coder in coders.items()}
    return {name: (coded, {system: found[name] for system, found in figures.items()}) for name, coded in parts.items()}


def with_model(
    classifier: Classifier, compared: Mapping[str, tuple[list[CodedExcerpt], Mapping[str, Metrics]]]
) -> dict[str, dict[str, Metrics]]:
    """Figures of a classifier, and behind them those of the baselines.

    Args:
        classifier: The model; its figures stand under `MODEL`.
        compared: As `beside` gives it.

    Returns:
        Name of the data or of a part of it to system to figures.
    """
    own = _on_slices(_coder(classifier), {name: coded for name, (coded, _) in compared.items()}, classifier.codebook)
    return {name: {MODEL: own[name], **systems} for name, (_, systems) in compared.items()}


def _on_slices(coder: Coder, parts: Mapping[str, Sequence[CodedExcerpt]], codebook: Codebook) -> dict[str, Metrics]:
    """Figures on data and its parts: each excerpt is coded once, with the others of the same data."""
    found = {}
    for name, coded in parts.items():
        if not is_part(name):
            excerpts = list(dict.fromkeys(one.excerpt for one in coded))
            found[name] = dict(zip(excerpts, coder(excerpts), strict=True))
    return {
        name: metrics_of([found[whole(name)][one.excerpt] for one in coded], coded, codebook)
        for name, coded in parts.items()
    }


def whole(name: str) -> str:
    """Of a part ``data, part`` the data; of the data itself its own name."""
    return name.partition(", ")[0]


def is_part(name: str) -> bool:
    """Whether figures under this name are on a part of other data."""
    return whole(name) != name


def to_dict(figures: Mapping[str, Mapping[str, Metrics]]) -> dict[str, Any]:
    """A form for JSON: the model's figures on whole data with all detail, the gist of the others."""
    return {
        name: {
            system: {
                dimension: m.to_dict() if system == MODEL and not is_part(name) else m.gist()
                for dimension, m in metrics.items()
            }
            for system, metrics in systems.items()
        }
        for name, systems in figures.items()
    }

"""A model against coded data, and against baselines on the same documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tl_classifier.classifier import Classifier
from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Array, Decoding
from tl_classifier.errors import InputError
from tl_classifier.excerpts import CodedExcerpt, Prediction
from tl_classifier.preprocessing import is_blank
from training.baselines import Scorer, frozen_encoder, most_frequent, tfidf
from training.calibration import fit_decoding
from training.data import label_matrix
from training.metrics import DimensionMetrics, dimension_metrics

Metrics = Mapping[str, DimensionMetrics]
"""Dimension id to figures."""


def evaluate(classifier: Classifier, coded: Sequence[CodedExcerpt]) -> Metrics:
    """Figures of a classifier on coded data, by the way it codes in use.

    Raises:
        InputError: if nothing in the data can be scored.
    """
    usable = [one for one in coded if not is_blank(one.excerpt.text)]
    if not usable:
        raise InputError("The coded data has no excerpt with words, so there is nothing to evaluate.")
    return metrics_of(classifier.predict([one.excerpt for one in usable]), usable, classifier.codebook)


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
        )
    return figures


def _table(rows: Sequence[Sequence[str]], ids: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([[code in row for code in ids] for row in rows], dtype=bool)


def baselines(
    train: Sequence[CodedExcerpt],
    validation: Sequence[CodedExcerpt],
    codebook: Codebook,
    embed: Any = None,
) -> dict[str, tuple[Scorer, Decoding]]:
    """Baselines by name, trained on `train` and calibrated on `validation`, each as (texts to logits, decoding).

    Args:
        train: What the model is trained on, without additions.
        validation: What it is calibrated on.
        codebook: What is coded.
        embed: Texts to embeddings of the frozen encoder, shape (texts, width); None leaves that baseline out.
    """
    texts, labels = [one.excerpt.text for one in train], label_matrix(train, codebook)
    scorers: dict[str, Scorer] = {
        "most frequent codes": most_frequent(labels, codebook),
        "TF-IDF, logistic regression": tfidf(texts, labels),
    }
    if embed is not None:
        scorers["frozen encoder, logistic regression"] = frozen_encoder(embed, texts, labels)
    held_out, truth = [one.excerpt.text for one in validation], label_matrix(validation, codebook)
    return {name: (scorer, fit_decoding(scorer(held_out), truth, codebook)) for name, scorer in scorers.items()}


def evaluate_baseline(baseline: tuple[Scorer, Decoding], coded: Sequence[CodedExcerpt], codebook: Codebook) -> Metrics:
    """Figures of a baseline on coded data, computed as a classifier's are."""
    scorer, decoding = baseline
    logits: Array = scorer([one.excerpt.text for one in coded])
    return metrics_of(decoding.predictions(logits, codebook, "baseline"), coded, codebook)

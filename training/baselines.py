"""What a model must beat: simple ones, trained and calibrated on the same documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Array
from tl_classifier.excerpts import Excerpt
from tl_classifier.preprocessing import clean

Features = Callable[[Sequence[Excerpt]], Any]
Scorer = Callable[[Sequence[Excerpt]], Array]
"""Excerpts to logits, shape (excerpts, outputs)."""


def most_frequent(labels: npt.NDArray[np.float32], codebook: Codebook) -> Scorer:
    """Gives every excerpt the same: how often each code occurs in `labels`, as logits."""
    with np.errstate(invalid="ignore"):
        share = np.clip(np.nanmean(labels, axis=0), 1e-4, 1 - 1e-4)
    logits = np.log(share / (1 - share))
    return lambda excerpts: np.tile(logits, (len(excerpts), 1)).astype(np.float64)


def tfidf(excerpts: Sequence[Excerpt], labels: npt.NDArray[np.float32], *, with_context: bool = False) -> Scorer:
    """TF-IDF of words and pairs of words, and one logistic regression a code: cue words alone.

    Args:
        excerpts: What is learnt from.
        labels: Shape (excerpts, outputs); NaN where not coded.
        with_context: Let it read the questions, too, as words of their own kind.
    """
    columns: list[Callable[[Excerpt], str]] = [lambda e: e.text]
    if with_context and any(e.context for e in excerpts):
        columns.append(lambda e: e.context or "")
    vectorizers = [
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, strip_accents="unicode") for _ in columns
    ]
    for vectorizer, column in zip(vectorizers, columns, strict=True):
        vectorizer.fit([clean(column(e)).text for e in excerpts])

    def features(new: Sequence[Excerpt]) -> Any:
        return hstack(
            [v.transform([clean(column(e)).text for e in new]) for v, column in zip(vectorizers, columns, strict=True)]
        ).tocsr()

    return _regressions(features, features(excerpts), labels)


def frozen_encoder(
    embed: Callable[[Sequence[str]], npt.NDArray[np.float32]],
    excerpts: Sequence[Excerpt],
    labels: npt.NDArray[np.float32],
) -> Scorer:
    """Embeddings of the texts by an encoder as it comes, and one logistic regression a code."""

    def features(new: Sequence[Excerpt]) -> Any:
        return embed([e.text for e in new])

    return _regressions(features, features(excerpts), labels)


def _regressions(features: Features, train: Any, labels: npt.NDArray[np.float32]) -> Scorer:
    models: list[LogisticRegression | None] = []
    for column in labels.T:
        coded = ~np.isnan(column)
        truth = column[coded] > 0.5
        if truth.all() or not truth.any():
            models.append(None)
            continue
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)
        models.append(model.fit(train[np.flatnonzero(coded)], truth))

    def score(excerpts: Sequence[Excerpt]) -> Array:
        found = features(excerpts)
        columns = [m.decision_function(found) if m is not None else np.full(len(excerpts), -9.0) for m in models]
        return np.stack(columns, axis=1).astype(np.float64)

    return score

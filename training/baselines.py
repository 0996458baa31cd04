"""What a model must beat: simple ones, trained and calibrated on the same documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Array
from tl_classifier.preprocessing import clean

Features = Callable[[Sequence[str]], Any]
Scorer = Callable[[Sequence[str]], Array]


def most_frequent(labels: npt.NDArray[np.float32], codebook: Codebook) -> Scorer:
    """Gives every excerpt the same: how often each code occurs in `labels`, as logits."""
    with np.errstate(invalid="ignore"):
        share = np.clip(np.nanmean(labels, axis=0), 1e-4, 1 - 1e-4)
    logits = np.log(share / (1 - share))
    return lambda texts: np.tile(logits, (len(texts), 1)).astype(np.float64)


def tfidf(texts: Sequence[str], labels: npt.NDArray[np.float32]) -> Scorer:
    """TF-IDF of words and pairs of words, and one logistic regression a code: cue words alone."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, strip_accents="unicode")
    train = vectorizer.fit_transform([clean(text).text for text in texts])
    return _regressions(lambda new: vectorizer.transform([clean(text).text for text in new]), train, labels)


def frozen_encoder(
    embed: Callable[[Sequence[str]], npt.NDArray[np.float32]], texts: Sequence[str], labels: npt.NDArray[np.float32]
) -> Scorer:
    """Embeddings of an encoder as it comes, and one logistic regression a code."""
    return _regressions(embed, embed(texts), labels)


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

    def score(texts: Sequence[str]) -> Array:
        found = features(texts)
        columns = [m.decision_function(found) if m is not None else np.full(len(texts), -9.0) for m in models]
        return np.stack(columns, axis=1).astype(np.float64)

    return score

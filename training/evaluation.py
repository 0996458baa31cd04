"""A model against coded data, and against baselines on the same documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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

TFIDF = "TF-IDF, logistic regression"

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


def evaluate_baseline(baseline: tuple[Scorer, Decoding], coded: Sequence[CodedExcerpt], codebook: Codebook) -> Metrics:
    """Figures of a baseline on coded data, computed as a classifier's are."""
    return metrics_of(_coded_by(baseline, coded, codebook), coded, codebook)


def _coded_by(baseline: tuple[Scorer, Decoding], coded: Sequence[CodedExcerpt], codebook: Codebook) -> list[Prediction]:
    scorer, decoding = baseline
    logits: Array = scorer([one.excerpt for one in coded])
    return decoding.predictions(logits, codebook, "baseline")


def beside(
    fitted: Mapping[str, tuple[Scorer, Decoding]], held_out: Mapping[str, list[CodedExcerpt]], codebook: Codebook
) -> dict[str, tuple[list[CodedExcerpt], dict[str, Metrics]]]:
    """What figures are made on, and the baselines' figures on it.

    Args:
        fitted: As `baselines` gives them.
        held_out: Coded data by name.
        codebook: What is coded.

    Returns:
        By name the coded data, and behind it the parts of it that cue words alone do not code (`hard_slices`), each
        with the figures of every baseline.
    """
    parts: dict[str, list[CodedExcerpt]] = {}
    for name, coded in held_out.items():
        parts[name] = coded
        if TFIDF in fitted:
            hard = hard_slices(fitted[TFIDF], coded, codebook)
            parts.update({f"{name}, {kind}": some for kind, some in hard.items() if some})
    return {
        name: (coded, {system: evaluate_baseline(baseline, coded, codebook) for system, baseline in fitted.items()})
        for name, coded in parts.items()
    }


def hard_slices(
    cue_words: tuple[Scorer, Decoding], coded: Sequence[CodedExcerpt], codebook: Codebook
) -> dict[str, list[CodedExcerpt]]:
    """What cannot be coded by cue words: two parts of coded data, each dimension by itself.

    Args:
        cue_words: The TF-IDF baseline.
        coded: The data.
        codebook: What is coded.

    Returns:
        ``without cue words``: excerpts with a code that the baseline misses; ``cue words without the code``: excerpts
        to which it gives a code that they do not carry. An excerpt has the codes of those dimensions alone in which it
        is one of them.
    """
    missed: list[CodedExcerpt] = []
    hit: list[CodedExcerpt] = []
    for prediction, one in zip(_coded_by(cue_words, coded, codebook), coded, strict=True):
        given = {d: (set(prediction.codes[d]), set(codes)) for d, codes in one.codes.items()}
        for part, apart in (
            (missed, [d for d, (found, truth) in given.items() if truth - found]),
            (hit, [d for d, (found, truth) in given.items() if found - truth]),
        ):
            if apart:
                part.append(replace(one, codes={d: one.codes[d] for d in apart}))
    return {"without cue words": missed, "cue words without the code": hit}

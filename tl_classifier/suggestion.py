"""What to code next: the excerpts of a corpus whose coding would teach a model most.

A strategy (Settles 2009, "Active learning literature survey"; Schröder et al. 2023, "Small-Text") sees a pool of
excerpts and what the model thinks of each, and chooses. Distances between embeddings are no part of it: what runs on an
analyst's machine gives logits alone, and in simulations (``benchmarks/suggest_curve.py``) spreading over embeddings
chose odd excerpts rather than telling ones. Codes, words and documents keep a choice from being fifty of the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tl_classifier.classifier import Classifier
from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Decoding
from tl_classifier.excerpts import CodedExcerpt, Excerpt, Prediction
from tl_classifier.likeness import Features, features, likeness
from tl_classifier.preprocessing import is_blank

Floats = npt.NDArray[np.float64]

TOO_ALIKE = 0.5
"""Of two excerpts that are so alike, coding the second teaches little."""

UNSURE = 0.5
"""Doubt from which on a code is named as a reason for a choice."""

BATCH = 1_024
"""Excerpts that are scored at a time."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Excerpts to choose from, and what a model thinks of them.

    Attributes:
        texts: The excerpts' words.
        documents: Each one's document; None where unknown.
        probabilities: Calibrated, shape (excerpts, codes), the codes of all dimensions side by side.
        thresholds: Shape (codes,): from which probability on each is given.
        support: Shape (codes,): how many examples of each were coded before; None for none.
        coded: The words of what was coded before.
    """

    texts: Sequence[str]
    documents: Sequence[str | None]
    probabilities: Floats
    thresholds: Floats
    support: Floats | None = None
    coded: Sequence[str] = ()

    @cached_property
    def doubt(self) -> Floats:
        """How unsure the model is of each code, in [0, 1], shape (excerpts, codes); 1 where a probability is at its
        threshold, so that nothing speaks for giving the code or against it.

        It is the entropy, in bits, of the probability, with the threshold stretched to one half: a rare code is given
        from 0.2 on, and there its probability is as doubtful as it gets.
        """
        p, t = self.probabilities, self.thresholds
        q = np.clip(np.where(p < t, 0.5 * p / t, 0.5 + 0.5 * (p - t) / (1 - t)), 1e-9, 1 - 1e-9)
        return np.asarray(-(q * np.log2(q) + (1 - q) * np.log2(1 - q)))


class Strategy(Protocol):
    """A way to choose what to code next."""

    def choose(self, pool: Pool, count: int) -> list[int]:
        """Numbers of excerpts of the pool, the most telling first; fewer than `count` if there are not as many."""
        ...


@dataclass(frozen=True)
class AtRandom:
    """Any excerpts: what other strategies must beat."""

    seed: int = 0

    def choose(self, pool: Pool, count: int) -> list[int]:
        """See `Strategy`."""
        order = np.random.default_rng(self.seed).permutation(len(pool.texts))
        return [int(i) for i in order[:count]]


@dataclass(frozen=True)
class MostDoubtful:
    """The excerpts with the most doubt over all codes together, whatever else they have in common."""

    def choose(self, pool: Pool, count: int) -> list[int]:
        """See `Strategy`."""
        order = np.argsort(-pool.doubt.sum(axis=1), kind="stable")
        return [int(i) for i in order[:count]]


@dataclass(frozen=True)
class Telling:
    """Doubtful excerpts that cover the codes, the rare ones first, with no two alike and from many documents.

    Each choice is the excerpt that adds most to the sum, over the codes, of the square root of what is known of a code:
    its examples so far, and the doubt that was chosen. The root makes the first excerpts about a code worth more than
    later ones, so codes with few examples come first and none takes the whole choice (a concave cover; Wei, Iyer and
    Bilmes 2015, "Submodularity in data subset selection and active learning"). An excerpt that is `TOO_ALIKE` to one
    that was coded or chosen is left out; a document gives at most twice its even share, unless nothing else is left.
    """

    def choose(self, pool: Pool, count: int) -> list[int]:
        """See `Strategy`."""
        doubt = pool.doubt
        known = 1.0 + (np.zeros(doubt.shape[1]) if pool.support is None else pool.support)
        seen = [features(text) for text in pool.coded]
        documents = Counter(pool.documents)
        share = max(2, math.ceil(2 * count / max(1, len(documents))))
        taken: Counter[str | None] = Counter()
        open_ = np.ones(len(doubt), dtype=bool)
        later: list[int] = []
        chosen: list[int] = []
        while len(chosen) < count:
            if not open_.any():
                if not later:
                    break
                open_[later] = True
                later, share = [], count
            gain = (np.sqrt(known + doubt) - np.sqrt(known)).sum(axis=1)
            best = int(np.where(open_, gain, -1.0).argmax())
            open_[best] = False
            document = pool.documents[best]
            if document is not None and taken[document] >= share:
                later.append(best)
                continue
            words = features(pool.texts[best])
            if not _is_new(words, seen):
                continue
            chosen.append(best)
            seen.append(words)
            taken[document] += 1
            known = known + doubt[best]
        return chosen


def _is_new(words: Features, seen: Sequence[Features]) -> bool:
    return all(likeness(words, other) < TOO_ALIKE for other in seen)


# --- with a model -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suggestion:
    """An excerpt that should be coded.

    Attributes:
        number: Its place in the corpus, from 0 on.
        excerpt: The excerpt.
        prediction: What the model thinks of it.
        unsure: Dimension id and code id of what the model is unsure of, the most doubtful first.
    """

    number: int
    excerpt: Excerpt
    prediction: Prediction
    unsure: tuple[tuple[str, str], ...]


def suggest(
    excerpts: Sequence[Excerpt],
    classifier: Classifier,
    count: int,
    *,
    coded: Sequence[CodedExcerpt] = (),
    strategy: Strategy | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Suggestion]:
    """Choose the excerpts of a corpus to be coded next.

    Args:
        excerpts: The corpus.
        classifier: The model that is to learn from them.
        count: How many are wanted.
        coded: What was coded before; none of it is chosen again.
        strategy: How to choose; None for `Telling`.
        progress: Told how many excerpts have been scored.

    Returns:
        The most telling first; fewer than `count` if there are not as many that differ.
    """
    numbers = [number for number, excerpt in enumerate(excerpts) if not is_blank(excerpt.text)]
    predictions: list[Prediction] = []
    for first in range(0, len(numbers), BATCH):
        predictions += classifier.predict([excerpts[number] for number in numbers[first : first + BATCH]])
        progress(len(predictions))
    if not predictions:
        return []
    codebook = classifier.codebook
    codes = codes_of(codebook)
    pool = Pool(
        texts=[excerpts[number].text for number in numbers],
        documents=[excerpts[number].document for number in numbers],
        probabilities=np.array([[p.probabilities[d][code] for d, code in codes] for p in predictions]),
        thresholds=thresholds_of(classifier.decoding, codebook),
        support=np.array([sum(code in one.codes.get(d, ()) for one in coded) for d, code in codes], dtype=np.float64),
        coded=[one.excerpt.text for one in coded],
    )
    chosen = (strategy or Telling()).choose(pool, count)
    return [
        Suggestion(
            number=numbers[i],
            excerpt=excerpts[numbers[i]],
            prediction=predictions[i],
            unsure=tuple(codes[k] for k in np.argsort(-pool.doubt[i], kind="stable") if pool.doubt[i, k] >= UNSURE),
        )
        for i in chosen
    ]


def codes_of(codebook: Codebook) -> list[tuple[str, str]]:
    """Dimension id and code id of all codes, in codebook order."""
    return [(dimension.id, code) for dimension in codebook.dimensions for code in dimension.code_ids]


def thresholds_of(decoding: Decoding, codebook: Codebook) -> Floats:
    """From which probability on each code is given, shape (codes,); one half in an exclusive dimension, where the
    likeliest code is given.
    """
    return np.concatenate(
        [
            np.full(len(d.codes), 0.5) if d.exclusive else np.clip(decoding.dimensions[d.id].thresholds, 0.01, 0.99)
            for d in codebook.dimensions
        ]
    )

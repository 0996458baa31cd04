"""Rehearsal: what a model that is refined sees again of the shipped corpus, so that it does not forget it.

Robins (1995), "Catastrophic forgetting, rehearsal and pseudorehearsal". A model that learns from new excerpts alone
drifts from what it knew wherever the new ones do not hold it; some of the old ones beside them do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import CodedExcerpt
from training.data import load_corpus

PER_NEW = 2
"""Excerpts of the shipped corpus for each new one."""


def rehearses(codebook: Codebook) -> bool:
    """Whether the shipped corpus is coded with this codebook."""
    return codebook.fingerprint == Codebook.default().fingerprint


def rehearsed(
    new: Sequence[CodedExcerpt], codebook: Codebook, *, per_new: int = PER_NEW, seed: int
) -> list[CodedExcerpt]:
    """Excerpts of the shipped training documents, `per_new` for each of `new`, as far as there are so many."""
    known = {one.excerpt.text for one in new}
    corpus = [one for one in load_corpus("train", codebook) if one.excerpt.text not in known]
    return random.Random(seed).sample(corpus, min(len(corpus), per_new * len(new)))

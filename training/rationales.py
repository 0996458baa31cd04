"""Whether the passages that are named as evidence are what the codes hang on (DeYoung et al. 2020, "ERASER")."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tl_classifier.classifier import Classifier
from tl_classifier.evidence import passages, without
from tl_classifier.excerpts import Excerpt
from tl_classifier.preprocessing import is_blank


@dataclass(frozen=True)
class RationaleMetrics:
    """Figures of evidence, over the codes given to excerpts that have another passage, too.

    Attributes:
        cases: How many codes.
        comprehensiveness: By how much the probability falls without the passage that is named, on average.
        comprehensiveness_of_others: By how much it falls without another passage, drawn at random.
        sufficiency: By how much it falls if there is nothing but the passage.
        sufficiency_of_others: By how much it falls if there is nothing but the other.
        beats_others: Share of the cases in which leaving out the passage lowers it more than leaving out the other;
            by this very measure passages are chosen.
        alone_beats_others: Share of the cases in which the probability is higher for the passage by itself than for
            the other by itself; passages are not chosen by that.
    """

    cases: int
    comprehensiveness: float
    comprehensiveness_of_others: float
    sufficiency: float
    sufficiency_of_others: float
    beats_others: float
    alone_beats_others: float

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {name: value if name == "cases" else round(value, 4) for name, value in asdict(self).items()}


def rationale_metrics(classifier: Classifier, excerpts: Sequence[Excerpt], *, seed: int = 0) -> RationaleMetrics | None:
    """Measure the evidence that `classifier` names.

    Args:
        classifier: Codes and names its evidence.
        excerpts: What it codes.
        seed: Of the other passages.

    Returns:
        The figures; None if no code is given to an excerpt with several passages.
    """
    rng = random.Random(seed)
    usable = [excerpt for excerpt in excerpts if not is_blank(excerpt.text)]
    cases: list[tuple[float, str, str]] = []
    variants: list[Excerpt] = []
    for excerpt, found in zip(usable, classifier.predict(usable, evidence=True), strict=True):
        spans = [span for span in passages(excerpt.text) if not is_blank(excerpt.text[slice(*span)])]
        for dimension, by_code in (found.evidence or {}).items():
            for code, named in by_code.items():
                others = [span for span in spans if span != named and not is_blank(without(excerpt, span).text)]
                if named not in spans or not others:
                    continue
                other = rng.choice(others)
                cases.append((found.probabilities[dimension][code], dimension, code))
                variants += [without(excerpt, span) for span in (named, other)]
                variants += [replace(excerpt, text=excerpt.text[slice(*span)]) for span in (named, other)]
    if not cases:
        return None
    distinct = list(dict.fromkeys(variants))
    coded = dict(zip(distinct, classifier.predict(distinct), strict=True))
    wholes = np.array([whole for whole, _, _ in cases])
    rests = np.array(
        [
            [coded[variant].probabilities[dimension][code] for variant in variants[4 * i : 4 * i + 4]]
            for i, (_, dimension, code) in enumerate(cases)
        ]
    )
    without_it, without_other, alone, other_alone = (wholes - rest for rest in rests.T)
    return RationaleMetrics(
        cases=len(cases),
        comprehensiveness=float(without_it.mean()),
        comprehensiveness_of_others=float(without_other.mean()),
        sufficiency=float(alone.mean()),
        sufficiency_of_others=float(other_alone.mean()),
        beats_others=float((without_it > without_other).mean()),
        alone_beats_others=float((alone < other_alone).mean()),
    )

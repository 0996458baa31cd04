"""Whether the passages that are named as evidence are what the codes hang on (DeYoung et al. 2020, "ERASER")."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

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
        beats_others: Share of the cases in which leaving out the passage lowers it more than leaving out the other.
    """

    cases: int
    comprehensiveness: float
    comprehensiveness_of_others: float
    sufficiency: float
    beats_others: float

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
                others = [without(excerpt, span) for span in spans if span != named]
                others = [other for other in others if not is_blank(other.text)]
                if named not in spans or not others:
                    continue
                cases.append((found.probabilities[dimension][code], dimension, code))
                alone = replace(excerpt, text=excerpt.text[slice(*named)])
                variants += [without(excerpt, named), rng.choice(others), alone]
    if not cases:
        return None
    coded = classifier.predict(variants)
    falls = [
        [whole - rest.probabilities[dimension][code] for rest in coded[3 * i : 3 * i + 3]]
        for i, (whole, dimension, code) in enumerate(cases)
    ]
    without_it, without_other, nothing_else = ([fall[i] for fall in falls] for i in range(3))
    return RationaleMetrics(
        cases=len(cases),
        comprehensiveness=sum(without_it) / len(cases),
        comprehensiveness_of_others=sum(without_other) / len(cases),
        sufficiency=sum(nothing_else) / len(cases),
        beats_others=sum(a > b for a, b in zip(without_it, without_other, strict=True)) / len(cases),
    )

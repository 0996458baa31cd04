"""All that is found out of a finished model for its bundle and its card: figures, evidence, where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tl_classifier.classifier import Classifier
from tl_classifier.excerpts import CodedExcerpt
from training.difficulties import Outcome, outcomes
from training.evaluation import Metrics, is_part, to_dict, with_model
from training.rationales import RationaleMetrics, rationale_metrics


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        figures: Name of the data, or of a part of it, to system to figures.
        evidence: Name of the data to figures of the evidence that the model names there.
        difficult: How it does on kinds of difficult excerpts; empty for a codebook other than the shipped one.
    """

    figures: Mapping[str, Mapping[str, Metrics]]
    evidence: Mapping[str, RationaleMetrics]
    difficult: list[Outcome]

    def to_dict(self) -> dict[str, Any]:
        """Their entries in a bundle's manifest."""
        return {
            "metrics": to_dict(self.figures),
            "evidence": {name: found.to_dict() for name, found in self.evidence.items()},
            "difficult": {outcome.kind: outcome.to_dict() for outcome in self.difficult},
        }


def examine(
    classifier: Classifier, compared: Mapping[str, tuple[list[CodedExcerpt], Mapping[str, Metrics]]]
) -> Findings:
    """Find it out.

    Args:
        classifier: The model.
        compared: As `training.evaluation.beside` gives it. Evidence, which is slow, is measured on its first data.
    """
    first = next((name for name in compared if not is_part(name)), None)
    found = None if first is None else rationale_metrics(classifier, [one.excerpt for one in compared[first][0]])
    return Findings(
        figures=with_model(classifier, compared),
        evidence={} if first is None or found is None else {first: found},
        difficult=outcomes(classifier),
    )

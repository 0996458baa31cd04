"""Which words carry a code: the sentence of an excerpt without which the model is least sure of it.

Each sentence is left out in turn and the rest is coded again (occlusion, after Zeiler and Fergus 2014; as measures of
such rationales: DeYoung et al. 2020, "ERASER"). This asks nothing of the runtime but to code, and what it names was
tried, not guessed from weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from tl_classifier.corpus.sentences import clauses, sentences
from tl_classifier.excerpts import Excerpt, Prediction, Span
from tl_classifier.preprocessing import is_blank

VARIANTS = 1_024
"""Variants that are coded at once."""


class Coder(Protocol):
    """What codes: a `tl_classifier.classifier.Classifier`, or anything that codes as one."""

    def predict(self, excerpts: Sequence[Excerpt]) -> list[Prediction]:
        """Code a batch of excerpts, in their order."""


def with_evidence(coder: Coder, excerpts: Sequence[Excerpt], predictions: Sequence[Prediction]) -> list[Prediction]:
    """The predictions, with the evidence of each code that they give.

    Args:
        coder: Gave the predictions.
        excerpts: What was coded.
        predictions: One an excerpt.
    """
    trial = Trial(excerpts, predictions)
    found: list[Prediction] = []
    for start in range(0, len(trial.variants), VARIANTS):
        found += coder.predict(trial.variants[start : start + VARIANTS])
    return trial.outcome(found)


class Trial:
    """What has to be coded to find the evidence, and what follows from it; whoever codes stands between the two.

    Args:
        excerpts: What was coded.
        predictions: One an excerpt.

    Attributes:
        variants: The excerpts, each several times, each time without another of its passages.
    """

    def __init__(self, excerpts: Sequence[Excerpt], predictions: Sequence[Prediction]) -> None:
        self._predictions = predictions
        self._passages = [
            passages(e.text) if any(p.codes.values()) else [] for e, p in zip(excerpts, predictions, strict=True)
        ]
        tried = [
            (number, part, without(excerpt, span))
            for number, (excerpt, spans) in enumerate(zip(excerpts, self._passages, strict=True))
            for part, span in enumerate(spans)
            if len(spans) > 1
        ]
        tried = [one for one in tried if not is_blank(one[2].text)]
        self._places = [(number, part) for number, part, _ in tried]
        self.variants = [variant for _, _, variant in tried]

    def outcome(self, found: Sequence[Prediction]) -> list[Prediction]:
        """The predictions, with `evidence` set: offsets into the excerpt's text as it was given.

        Args:
            found: What was coded in `variants`.
        """
        rests: list[list[Mapping[str, Mapping[str, float]] | None]] = [[None] * len(spans) for spans in self._passages]
        for (number, part), prediction in zip(self._places, found, strict=True):
            rests[number][part] = prediction.probabilities
        return [
            replace(prediction, evidence=_evidence(prediction, spans, rest))
            for prediction, spans, rest in zip(self._predictions, self._passages, rests, strict=True)
        ]


def passages(text: str) -> list[Span]:
    """What may be evidence: the sentences of a text; of a single sentence, its clauses."""
    found = sentences(text)
    return found if len(found) > 1 else clauses(text)


def without(excerpt: Excerpt, span: Span) -> Excerpt:
    """An excerpt with a span of its text left out."""
    before, behind = excerpt.text[: span[0]].rstrip(), excerpt.text[span[1] :].lstrip()
    return replace(excerpt, text=f"{before} {behind}".strip())


def _evidence(
    prediction: Prediction, spans: Sequence[Span], left: Sequence[Mapping[str, Mapping[str, float]] | None]
) -> dict[str, dict[str, Span]]:
    """For each code the span without which its probability is lowest; the first of equal ones."""

    def remains(part: int, dimension: str, code: str) -> float:
        found = left[part]
        return found[dimension][code] if found is not None else 0.0  # nothing to code is left without it

    return {
        dimension: {
            code: spans[min(range(len(spans)), key=lambda part: remains(part, dimension, code))] for code in codes
        }
        for dimension, codes in prediction.codes.items()
    }

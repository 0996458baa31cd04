"""Where models fail: invented excerpts of kinds that are known to be difficult, and how many a model gets right.

The excerpts are in ``corpus/difficult.tsv``, invented and coded for this project with its codebook; no model learns
from them, and nothing is fitted with them in view.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tl_classifier.classifier import Classifier
from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import CodedExcerpt, Excerpt, Prediction
from training.data import CORPUS

FILE = CORPUS / "difficult.tsv"
CODER = "difficult excerpts, first coder"


@dataclass(frozen=True)
class Difficult:
    """An excerpt and the kind of difficulty that it stands for."""

    kind: str
    coded: CodedExcerpt


@dataclass(frozen=True)
class Outcome:
    """How a model does on one kind.

    Attributes:
        kind: What is difficult.
        excerpts: How many there are.
        right: Dimension id to how many have exactly the coder's codes in it.
        wrong: Those with other codes in any dimension, and what the model says of them, the surest mistakes first.
    """

    kind: str
    excerpts: int
    right: dict[str, int]
    wrong: list[tuple[CodedExcerpt, Prediction]]

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON: the counts."""
        return {"excerpts": self.excerpts, "right": {**self.right, "all": self.excerpts - len(self.wrong)}}


def read_difficult(codebook: Codebook) -> list[Difficult]:
    """The excerpts, in the order of the file: those of a kind side by side.

    Args:
        codebook: The shipped one.
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Difficult(
            row["kind"],
            CodedExcerpt(
                Excerpt(row["text"], id=str(number), context=row["question"] or None),
                {d.id: d.in_order(row[d.id].split(",") if row[d.id] else ()) for d in codebook.dimensions},
                coder=CODER,
            ),
        )
        for number, row in enumerate(rows, start=1)
    ]


def outcomes(classifier: Classifier) -> list[Outcome]:
    """How `classifier` does on each kind; nothing for a codebook other than the shipped one."""
    if classifier.codebook.fingerprint != Codebook.default().fingerprint:
        return []
    difficult = read_difficult(classifier.codebook)
    found = classifier.predict([one.coded.excerpt for one in difficult])
    by_kind: dict[str, list[tuple[CodedExcerpt, Prediction]]] = {}
    for one, prediction in zip(difficult, found, strict=True):
        by_kind.setdefault(one.kind, []).append((one.coded, prediction))
    return [_outcome(kind, pairs) for kind, pairs in by_kind.items()]


def _outcome(kind: str, pairs: Sequence[tuple[CodedExcerpt, Prediction]]) -> Outcome:
    wrong = [pair for pair in pairs if any(pair[1].codes[d] != codes for d, codes in pair[0].codes.items())]
    return Outcome(
        kind,
        len(pairs),
        {d: sum(p.codes[d] == c.codes[d] for c, p in pairs) for d in pairs[0][0].codes},
        sorted(wrong, key=lambda pair: -_sureness(*pair)),
    )


def _sureness(coded: CodedExcerpt, prediction: Prediction) -> float:
    """How sure the model is of its worst mistake: a code that is not there, or a missed one that is."""
    return max(
        p if code not in codes else 1 - p
        for dimension, codes in coded.codes.items()
        for code, p in prediction.probabilities[dimension].items()
        if (code in prediction.codes[dimension]) != (code in codes)
    )

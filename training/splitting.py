"""Which documents train, which validate, which test: whole documents, always the same for the same data."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt

SMALLEST = 20
"""Fewer coded excerpts than this cannot be split into training, validation and test."""


@dataclass(frozen=True)
class Splits:
    """Coded data split by document.

    Attributes:
        train: To learn from.
        validation: For early stopping, calibration and thresholds.
        test: For the figures alone.
        by_document: False where there were too few documents, so that excerpts were split instead.
    """

    train: list[CodedExcerpt]
    validation: list[CodedExcerpt]
    test: list[CodedExcerpt]
    by_document: bool = True


def split(coded: Sequence[CodedExcerpt]) -> Splits:
    """Split coded data about 70 : 15 : 15, by document where there are at least six.

    Documents go by the hash of their name, so that more data later leaves each document where it was as far as the
    shares allow.

    Raises:
        TrainingError: if there is too little data.
    """
    if len(coded) < SMALLEST:
        raise TrainingError(
            f"There are {len(coded)} coded excerpts; at least {SMALLEST} are needed to train, calibrate and test, "
            "so code more."
        )
    groups: dict[str, list[CodedExcerpt]] = defaultdict(list)
    for one in coded:
        groups[one.excerpt.document or ""].append(one)
    by_document = len(groups) >= 6
    if not by_document:
        groups = {str(i): [one] for i, one in enumerate(coded)}
    names = sorted(groups, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    parts: tuple[list[CodedExcerpt], ...] = ([], [], [])
    share = max(1, len(coded) * 15 // 100)
    for name in names:
        # Fill test, then validation, then train; a document that would overfill a part too far goes on.
        for part, limit in ((parts[2], share), (parts[1], share), (parts[0], len(coded))):
            if len(part) + len(groups[name]) / 2 <= limit:
                part.extend(groups[name])
                break
    train, validation, test = parts
    if not train or not validation or not test:
        raise TrainingError(
            "The documents are too unequal in length to be split into training, validation and test; name more "
            "documents in the column 'document', or leave the column out."
        )
    return Splits(train, validation, test, by_document)

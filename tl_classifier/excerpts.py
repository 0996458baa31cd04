"""The values that move through the program: excerpts in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Span = tuple[int, int]
"""Offsets in Unicode code points: of the first character, and one past the last."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of a transcript to be coded: one speaker's turn, or part of one.

    Attributes:
        text: The words, as they stand in the source (cleaning happens in preprocessing and keeps the alignment).
        id: The user's own identifier; None where unknown.
        document: The transcript that the excerpt comes from; None where unknown.
        speaker: Who speaks; None where unknown.
        turn: The number of the turn within its document, the first is 1; None where unknown.
        start: Offset of the excerpt's first character in its source, in Unicode code points; None where unknown.
        end: Offset one past its last character; None where unknown.
        context: What the excerpt answers, which is the interviewer's words just before it; None where unknown. It is
            read to understand the text ("Not at all. It was the other way round.") and never coded itself.
    """

    text: str
    id: str | None = None
    document: str | None = None
    speaker: str | None = None
    turn: int | None = None
    start: int | None = None
    end: int | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Unscorable:
    """A row of an input that cannot be scored; it is kept in the output, with the reason.

    Attributes:
        reason: One short clause, without interview text ("the text is empty").
        id: As for `Excerpt`, as are `document`, `speaker` and `turn`.
    """

    reason: str
    id: str | None = None
    document: str | None = None
    speaker: str | None = None
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class CodedExcerpt:
    """An excerpt with the codes that a coder gave it.

    Attributes:
        excerpt: What was coded.
        codes: Dimension id to the code ids given; an empty tuple says "none of them". A dimension that is
            missing was not coded.
        coder: Who coded; None where unknown.
    """

    excerpt: Excerpt
    codes: Mapping[str, tuple[str, ...]]
    coder: str | None = None


@dataclass(frozen=True, slots=True)
class Coding:
    """One code that one coder gave one excerpt.

    Attributes:
        coder: A person, or a model as ``name@version``.
        excerpt: What was coded.
        dimension: Dimension id.
        code: Code id.
        probability: The model's calibrated probability; None for a person.
    """

    coder: str
    excerpt: Excerpt
    dimension: str
    code: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one excerpt.

    Attributes:
        codes: Dimension id to the codes given, in codebook order; empty where none applies.
        groups: Dimension id to the groups of those codes (a theme is present where a subtheme is), in codebook order.
        probabilities: Dimension id to code id to calibrated probability in [0, 1], rounded to 4 decimals.
        model: ``name@version`` of the model.
        evidence: Dimension id to code id to the passage that carries the code, for each code given, as offsets into
            the excerpt's text; None where it was not asked for.
        review: Dimension id to code id to ``accepted`` or ``to review``, for each code given; None where no precision
            was asked for.
    """

    codes: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    probabilities: Mapping[str, Mapping[str, float]] = field(repr=False)
    model: str = ""
    evidence: Mapping[str, Mapping[str, Span]] | None = None
    review: Mapping[str, Mapping[str, str]] | None = None


def record(
    source: Excerpt | Unscorable, prediction: Prediction | None, *, model: str, with_text: bool = True
) -> dict[str, Any]:
    """The JSON record of one scored row: the one place where its shape is decided.

    Args:
        source: The row.
        prediction: Its prediction; None for an `Unscorable`.
        model: ``name@version`` of the model.
        with_text: False leaves `text` out.

    Returns:
        The keys ``id, document, speaker, turn, text, codes, groups, probabilities, model`` in this order. A row that
        could not be scored has null `codes`, `groups` and `probabilities` (an empty list would say that no code
        applies) and one key more, `error`, with the reason. Where evidence was asked for, there is the key
        `evidence`, behind `model`: ``{dimension: {code: [start, end]}}``; where a precision was, the key `review`:
        ``{dimension: {code: "accepted" or "to review"}}``.
    """
    row: dict[str, Any] = {
        "id": source.id,
        "document": source.document,
        "speaker": source.speaker,
        "turn": source.turn,
    }
    if with_text:
        row["text"] = source.text if isinstance(source, Excerpt) else None
    if prediction is None:
        row |= {"codes": None, "groups": None, "probabilities": None, "model": model}
        row["error"] = source.reason if isinstance(source, Unscorable) else "not scored"
        return row
    row["codes"] = {dimension: list(codes) for dimension, codes in prediction.codes.items()}
    row["groups"] = {dimension: list(groups) for dimension, groups in prediction.groups.items()}
    row["probabilities"] = {dimension: dict(values) for dimension, values in prediction.probabilities.items()}
    row["model"] = model
    if prediction.evidence is not None:
        row["evidence"] = {
            d: {code: list(span) for code, span in found.items()} for d, found in prediction.evidence.items()
        }
    if prediction.review is not None:
        row["review"] = {dimension: dict(found) for dimension, found in prediction.review.items()}
    return row

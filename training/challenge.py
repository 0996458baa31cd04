"""Champion and challenger on the same held-out documents: what was gained, what was forgotten, and who is promoted.

Both models code the same excerpts, and a bootstrap draws documents for both at once. So what makes a document easy or
hard cancels out, and a difference shows with far fewer documents than two separate intervals would need (Berg-
Kirkpatrick, Burkett and Klein 2012, "An empirical investigation of statistical significance in NLP").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tl_classifier.agreement import rounded
from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.comparison import MIN_DOCUMENTS
from tl_classifier.errors import InputError
from tl_classifier.excerpts import CodedExcerpt, Prediction
from tl_classifier.preprocessing import is_blank
from tl_classifier.scoring import Coder

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ROUNDS = 2_000
"""Bootstrap samples."""

CONFIDENCE = 0.95
"""A difference is believed where its sign is the same in this share of the samples."""

MARGIN = 0.05
"""A code may not fall by more F1 than this, unless by chance."""

FORGETTING = 0.01
"""On the shipped test documents, macro-F1 may not fall by more than this, unless by chance."""

OWN, SHIPPED = "own test", "test"
"""Names of the user's held-out documents and of the shipped ones, as training calls them."""

_BLOCK = 4_000_000
"""Numbers drawn at a time; what bounds the memory of a bootstrap."""


@dataclass(frozen=True)
class Difference:
    """A figure of both models, and how sure the difference is.

    Attributes:
        champion: The champion's figure.
        challenger: The challenger's.
        low: Lower bound of the 95% interval of challenger minus champion; None where there is none.
        high: Upper bound.
        confidence: Share of the bootstrap samples in which the challenger is ahead (a tie counts half); None where
            there is no interval.
    """

    champion: float
    challenger: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None

    @property
    def value(self) -> float:
        """Challenger minus champion."""
        return self.challenger - self.champion

    @property
    def better(self) -> bool:
        """Whether the challenger is better with a confidence of `CONFIDENCE`."""
        return self.confidence is not None and self.confidence >= CONFIDENCE

    @property
    def worse(self) -> bool:
        """Whether it is worse with that confidence."""
        return self.confidence is not None and self.confidence <= 1 - CONFIDENCE

    def to_dict(self) -> dict[str, float | None]:
        """A form for JSON."""
        return {
            "champion": rounded(self.champion),
            "challenger": rounded(self.challenger),
            "difference": rounded(self.value),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "confidence": rounded(self.confidence),
        }


@dataclass(frozen=True)
class CodeComparison:
    """The F1 of one code; `support` is the number of excerpts that carry it."""

    code: str
    support: int
    f1: Difference


@dataclass(frozen=True)
class DimensionComparison:
    """One dimension.

    Attributes:
        dimension: Its id.
        excerpts: How many were coded in it.
        macro_f1: Over the codes that have support.
        codes: Those codes, in codebook order.
        gained: Excerpts whose codes the challenger has exactly and the champion had not.
        forgotten: Excerpts the other way round.
    """

    dimension: str
    excerpts: int
    macro_f1: Difference
    codes: tuple[CodeComparison, ...]
    gained: int
    forgotten: int


@dataclass(frozen=True)
class Comparison:
    """Two models on the same documents.

    Attributes:
        part: Name of the documents.
        excerpts: How many were coded.
        drawn: What the bootstrap draws: ``documents``, or ``excerpts`` where there are too few documents.
        count: How many of them there are.
        overall: Mean of the dimensions' macro-F1: each dimension counts the same, and each code within it, the rare
            ones too.
        dimensions: One by one, those that both models code.
    """

    part: str
    excerpts: int
    drawn: Literal["documents", "excerpts"]
    count: int
    overall: Difference
    dimensions: tuple[DimensionComparison, ...]

    @property
    def caution(self) -> str | None:
        """What a reader must know of the intervals, a sentence; None where there is nothing."""
        if self.drawn == "documents":
            return None
        return (
            f"'{self.part}' has fewer than {MIN_DOCUMENTS} documents, so the intervals are over single excerpts; they "
            "are too narrow, because excerpts of one interview are alike."
        )

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "excerpts": self.excerpts,
            "intervals_over": {"of": self.drawn, "count": self.count},
            "overall": self.overall.to_dict(),
            "dimensions": {
                found.dimension: {
                    "excerpts": found.excerpts,
                    "macro_f1": found.macro_f1.to_dict(),
                    "gained": found.gained,
                    "forgotten": found.forgotten,
                    "codes": [{"code": c.code, "support": c.support, **c.f1.to_dict()} for c in found.codes],
                }
                for found in self.dimensions
            },
        }


def challenge(
    champion: Coder, challenger: Coder, parts: Mapping[str, Sequence[CodedExcerpt]], *, seed: int = 0
) -> list[Comparison]:
    """Let both models code the same documents, and compare.

    Args:
        champion: The one.
        challenger: The other.
        parts: Coded excerpts that neither was trained on, by name of the documents.
        seed: Of the bootstrap.

    Returns:
        One a part, in order; without the parts in which no dimension is coded that both models code.

    Raises:
        InputError: if the models have no dimension in common.
    """
    dimensions = shared_dimensions(champion.codebook, challenger.codebook)
    if not dimensions:
        raise InputError(
            f"{champion.model} and {challenger.model} have no dimension with the same codes in common, so they cannot "
            "be compared."
        )
    found = []
    for part, coded in parts.items():
        usable = [one for one in coded if any(d.id in one.codes for d in dimensions) and not is_blank(one.excerpt.text)]
        if usable:
            excerpts = [one.excerpt for one in usable]
            first, second = champion.predict(excerpts), challenger.predict(excerpts)
            found.append(compare(part, first, second, usable, dimensions, seed=seed))
    return found


def shared_dimensions(one: Codebook, other: Codebook) -> tuple[Dimension, ...]:
    """The dimensions of `one` that the other codebook has with the same codes."""
    same = {(d.id, d.code_ids, d.exclusive) for d in other.dimensions}
    return tuple(d for d in one.dimensions if (d.id, d.code_ids, d.exclusive) in same)


def compare(
    part: str,
    champion: Sequence[Prediction],
    challenger: Sequence[Prediction],
    coded: Sequence[CodedExcerpt],
    dimensions: Sequence[Dimension],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Comparison:
    """Compare the predictions of two models with a coder's codes.

    Args:
        part: Name of the documents.
        champion: Predictions, one for each of `coded`.
        challenger: Likewise.
        coded: At least one of them coded in one of `dimensions`.
        dimensions: What is compared.
        rounds: Bootstrap samples.
        seed: Of the samples.
    """
    drawn, owners = _clusters(coded)
    count = int(owners.max()) + 1
    codings = [[one.codes for one in coded], [one.codes for one in champion], [one.codes for one in challenger]]
    tables = []
    for dimension in dimensions:
        rows = [i for i, one in enumerate(coded) if dimension.id in one.codes]
        if not rows:
            continue
        ids = dimension.code_ids
        truth, *given = (
            np.array([[code in codes[i][dimension.id] for code in ids] for i in rows], dtype=bool) for codes in codings
        )
        tables.append((dimension, _tallies(truth, given, owners[rows], count), truth, given))
    sampled = _samples([tallies for _, tallies, _, _ in tables], rounds, seed)
    found, macros, sampled_macros = [], [], []
    for (dimension, tallies, truth, given), samples in zip(tables, sampled, strict=True):
        support = truth.sum(axis=0)
        value, f1 = _f1(tallies.sum(axis=1)), _f1(samples)
        kept = np.flatnonzero(support)
        macros.append(_mean(value[:, kept]))
        sampled_macros.append(_mean(f1[..., kept]))
        right = [(table == truth).all(axis=1) for table in given]
        found.append(
            DimensionComparison(
                dimension=dimension.id,
                excerpts=len(truth),
                macro_f1=_difference(macros[-1], sampled_macros[-1]),
                codes=tuple(
                    CodeComparison(dimension.code_ids[i], int(support[i]), _difference(value[:, i], f1[..., i]))
                    for i in kept
                ),
                gained=int((right[1] & ~right[0]).sum()),
                forgotten=int((right[0] & ~right[1]).sum()),
            )
        )
    overall = _difference(_mean(np.stack(macros, axis=-1)), _mean(np.stack(sampled_macros, axis=-1)))
    return Comparison(part, len(coded), drawn, count, overall, tuple(found))


def _clusters(coded: Sequence[CodedExcerpt]) -> tuple[Literal["documents", "excerpts"], npt.NDArray[np.int64]]:
    """What is drawn, and each excerpt's number among it; an excerpt of no document is one of its own."""
    names = [one.excerpt.document or f"\0{i}" for i, one in enumerate(coded)]
    distinct = {name: number for number, name in enumerate(dict.fromkeys(names))}
    without = sum(name.startswith("\0") for name in distinct)
    if len(distinct) - without < MIN_DOCUMENTS:
        return "excerpts", np.arange(len(coded))
    return "documents", np.array([distinct[name] for name in names], dtype=np.int64)


def _tallies(truth: Bools, given: Sequence[Bools], owners: npt.NDArray[np.int64], count: int) -> Floats:
    """True positives, false positives and false negatives; shape (models, clusters, 3, codes)."""
    tallies = np.zeros((len(given), count, 3, truth.shape[1]))
    for of_model, codes in zip(tallies, given, strict=True):
        for row, part in enumerate((truth & codes, ~truth & codes, truth & ~codes)):
            np.add.at(of_model[:, row], owners, part)
    return tallies


def _samples(tables: Sequence[Floats], rounds: int, seed: int) -> list[Floats]:
    """Sums of `_tallies` over samples of clusters, the same draws for all; each of shape (models, rounds, 3, codes)."""
    count = tables[0].shape[1]
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // count)
    found: list[list[Floats]] = [[] for _ in tables]
    for first in range(0, rounds, block):
        draws = generator.multinomial(count, np.full(count, 1 / count), size=min(block, rounds - first))
        for sums, table in zip(found, tables, strict=True):
            sums.append(np.einsum("rd,mdtc->mrtc", draws.astype(np.float64), table, optimize=True))
    return [np.concatenate(sums, axis=1) for sums in found]


def _f1(tallies: Floats) -> Floats:
    """F1 of tallies whose axis before the last is tp, fp, fn; NaN where the code does not occur."""
    tp, fp, fn = np.moveaxis(tallies, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan))


def _mean(values: Floats) -> Floats:
    """Mean over the last axis of what exists; NaN where nothing does."""
    exists = ~np.isnan(values)
    count = exists.sum(axis=-1)
    return np.asarray(np.where(count > 0, np.where(exists, values, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan))


def _difference(values: Floats, samples: Floats) -> Difference:
    """A figure of both models, shape (2,), with samples of it, shape (2, rounds)."""
    champion, challenger = (float(value) for value in values)
    differences = samples[1] - samples[0]
    differences = differences[~np.isnan(differences)]
    if len(differences) < 0.9 * samples.shape[1]:  # a code that hardly occurs
        return Difference(champion, challenger)
    low, high = np.percentile(differences, [2.5, 97.5])
    # What differs by rounding alone is the same.
    ahead = float(((differences > 1e-12) + 0.5 * (np.abs(differences) <= 1e-12)).mean())
    return Difference(champion, challenger, float(low), float(high), ahead)


# --- promotion --------------------------------------------------------------------------------------------------

Rule = Literal["auto", "always", "never"]
RULES: tuple[Rule, ...] = get_args(Rule)
"""When a challenger is promoted: if it is better, in any case, in no case."""


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion.

    Attributes:
        promote: Whether.
        why: A sentence.
    """

    promote: bool
    why: str


def decide(rule: Rule, comparisons: Sequence[Comparison], *, margin: float = MARGIN) -> Decision:
    """Decide on a promotion.

    ``auto`` promotes where, on the user's held-out documents (where there are none, on the shipped test documents),

    - the mean of the dimensions' macro-F1 is higher, with 95% confidence: it is higher in 95% of the bootstrap
      samples. Macro-F1, because rare codes are what models of small data lose first; the mean over dimensions, because
      one figure can be tested once, and fifteen would let chance in;

    and, there and on the shipped test documents where both models can code them,

    - no code falls by more than `margin`, unless chance explains it: a fall counts where it is one in 95% of the
      samples, since the F1 of a code with five examples goes up and down by more than any margin;
    - on the shipped documents, that mean does not fall by more than `FORGETTING`, unless by chance.

    Args:
        rule: One of `RULES`.
        comparisons: As `challenge` gives them; parts named other than `OWN` and `SHIPPED` are of no account.
        margin: What a code may fall by.
    """
    if rule != "auto":
        return Decision(rule == "always", f"As asked for (--promote {rule}).")
    by_part = {found.part: found for found in comparisons}
    own, shipped = by_part.get(OWN), by_part.get(SHIPPED)
    main = own or shipped
    if main is None:
        return Decision(
            False,
            "There are no held-out documents that both it and the champion can code, so it was not promoted; "
            "'tl-classifier models promote' promotes it by hand.",
        )
    gain = f"macro-F1 on '{main.part}' went from {main.overall.champion:.3f} to {main.overall.challenger:.3f}"
    if not main.overall.better:
        confidence = main.overall.confidence
        sure = "unknown, for want of examples" if confidence is None else f"{confidence:.0%}"
        return Decision(
            False, f"It is not surely better: {gain}; confidence that it is better: {sure}, {CONFIDENCE:.0%} is needed."
        )
    for found in filter(None, (own, shipped)):
        fallen = [
            (code.f1.value, f"'{code.code}' ({code.f1.champion:.3f} to {code.f1.challenger:.3f})")
            for dimension in found.dimensions
            for code in dimension.codes
            if code.f1.worse and code.f1.value < -margin
        ]
        if fallen:
            names = ", ".join(name for _, name in sorted(fallen))
            return Decision(
                False,
                f"Though {gain}, F1 on '{found.part}' falls by more than {margin:.2f} for {names}, "
                "and chance does not explain it.",
            )
    if shipped is not None and shipped.overall.worse and shipped.overall.value < -FORGETTING:
        return Decision(
            False,
            f"Though {gain}, on the shipped documents it fell from {shipped.overall.champion:.3f} to "
            f"{shipped.overall.challenger:.3f}, by more than {FORGETTING:.2f}.",
        )
    return Decision(
        True,
        f"It is better with {main.overall.confidence:.0%} confidence: {gain}; no code fell by more than {margin:.2f} "
        "beyond chance.",
    )


# --- for people -------------------------------------------------------------------------------------------------


def print_comparison(found: Comparison, *, champion: str, challenger: str, stderr: bool = False) -> None:
    """Print a comparison, on standard output unless told otherwise; `champion` and `challenger` name the models."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, stderr=stderr)
    if not console.is_terminal:
        console.width = 140
    console.print(Text(f"{challenger} against {champion} on {found.part}", style="bold"), end="")
    console.print(Text(f": {found.excerpts:,} excerpts; intervals over {found.count:,} {found.drawn}"))
    if found.caution:
        console.print(Text(f"Note: {found.caution}"))
    table = Table("F1", "support", "champion", "challenger", "difference [95%]", "")
    for column in table.columns[1:5]:
        column.justify = "right"
    table.add_row(Text("mean of macro-F1", style="bold"), "", *_cells(found.overall), end_section=True)
    for of in found.dimensions:
        table.add_row(Text(f"{of.dimension}, macro-F1", style="bold"), "", *_cells(of.macro_f1))
        for code in of.codes:
            table.add_row(f"  {code.code}", f"{code.support:,}", *_cells(code.f1))
        table.add_section()
    console.print(table)
    for of in found.dimensions:
        console.print(
            Text(
                f"{of.dimension}: {of.gained:,} excerpts gained (now coded exactly right), "
                f"{of.forgotten:,} forgotten (no longer so)."
            )
        )


def _cells(difference: Difference) -> tuple[str, str, str, str]:
    if np.isnan(difference.value):  # no code occurs
        return ("-", "-", "-", "")
    interval = "" if difference.low is None else f" [{difference.low:+.3f}, {difference.high:+.3f}]"
    word = "better" if difference.better else "worse" if difference.worse else ""
    return (f"{difference.champion:.3f}", f"{difference.challenger:.3f}", f"{difference.value:+.3f}{interval}", word)

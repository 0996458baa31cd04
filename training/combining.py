"""Several coders' coded data to one: the same excerpts found, their agreement told, their codes combined by a rule.

Who coded is said by the column ``coder`` of a table, by the key of that name in a .jsonl file, or by the users of a
project (.qdpx). Rows of different coders are the same excerpt as `tl_classifier.comparison` finds them: by document and
turn, by id, or by the words.

The rules, where coders differ on a dimension of an excerpt:

- ``majority``: a code is given where more than half of those who coded the excerpt gave it (of two coders, both). In an
  exclusive dimension, what more than half gave, a code or none.
- ``union``: a code is given where anybody gave it; in an exclusive dimension, as ``majority``.
- ``shares``: as ``majority`` where codes are counted, and the share of the coders who gave a code is what is learnt
  (soft labels; Uma et al. 2021, "Learning from disagreement: a survey").
- the name of a coder: what they gave; where they did not code, as ``majority``.

A dimension that a rule cannot decide (an exclusive one without a majority) counts as not coded in that excerpt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.comparison import Coder, DimensionAgreement, Matched, agreement, match
from tl_classifier.corpus.rows import listed
from tl_classifier.errors import InputError, TrainingError
from tl_classifier.excerpts import CodedExcerpt
from training.data import labels_of

RULES = ("majority", "union", "shares")
"""The rules that have names of their own; any other is taken for the name of a coder."""

Labels = npt.NDArray[np.float32]
Unit = Sequence[CodedExcerpt | None]


@dataclass(frozen=True)
class Combined:
    """Coded data with one coding an excerpt.

    Attributes:
        coded: The excerpts, in the order in which they first came; without a coder where several were combined.
        rule: The rule.
        coders: Names of the coders to the number of excerpts that each coded; empty where nobody is named.
        several: Excerpts that two or more coded.
        differing: Those of them on which they differ.
        undecided: Dimension id to the number of excerpts in which the rule could not decide.
        agreement: How far they agree, by dimension; empty where no excerpt was coded twice.
    """

    coded: list[CodedExcerpt]
    rule: str
    coders: Mapping[str, int] = field(default_factory=dict)
    several: int = 0
    differing: int = 0
    undecided: Mapping[str, int] = field(default_factory=dict)
    agreement: Sequence[DimensionAgreement] = ()
    _shares: Mapping[int, Labels] = field(default_factory=dict, repr=False)

    def labels(self, coded: Sequence[CodedExcerpt], codebook: Codebook) -> Labels:
        """What is learnt from excerpts: shares of coders where that is the rule, else 0 and 1.

        Args:
            coded: Of `self.coded`, any of them in any order; others (of the shipped corpus) have labels of 0 and 1.
            codebook: The one that they were combined with.

        Returns:
            Shape (excerpts, outputs), as `training.data.label_matrix`.
        """
        if not coded:
            return np.empty((0, codebook.outputs), dtype=np.float32)
        return np.stack(
            [self._shares[id(one)] if id(one) in self._shares else labels_of(one, codebook) for one in coded]
        )

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON, for a bundle's manifest."""
        return {
            "rule": self.rule,
            "coders": dict(self.coders),
            "coded_by_several": self.several,
            "differing": self.differing,
            "undecided": dict(self.undecided),
            "agreement": {found.dimension: found.to_dict() for found in self.agreement},
        }

    def lines(self) -> list[str]:
        """What to tell before training, a sentence each; nothing where there was one coder."""
        if len(self.coders) < 2:
            return []
        who = ", ".join(f"{name} ({count:,})" for name, count in self.coders.items())
        if not self.several:
            return [f"{len(self.coders)} coders, no two of whom coded the same excerpt: {who}."]
        found = [
            f"{len(self.coders)} coders: {who}; {self.several:,} excerpts were coded by two or more, "
            f"{self.differing:,} of them differently; combined by the rule '{self.rule}'."
        ]
        for of in self.agreement:
            if np.isnan(of.alpha.value):  # nobody gave a code
                continue
            least = min(
                (c for c in of.codes if c.alpha.value == c.alpha.value), key=lambda c: c.alpha.value, default=None
            )
            line = f"They agree on '{of.dimension}' with Krippendorff's alpha {of.alpha.value:.2f}"
            if of.alpha.low is not None and of.alpha.high is not None:
                line += f" [{of.alpha.low:.2f}, {of.alpha.high:.2f}]"
            if least is not None:
                line += f", least on '{least.code}' ({least.alpha.value:.2f})"
            found.append(line + ".")
        for dimension, count in self.undecided.items():
            found.append(
                f"In {count:,} excerpts no code of '{dimension}' has a majority; they count as not coded in it."
            )
        return found


def combine(coded: Sequence[CodedExcerpt], codebook: Codebook, rule: str = "majority") -> Combined:
    """Combine coders.

    Args:
        coded: Coded data; each with its coder, where that is known. Those without are one coder.
        codebook: What is coded.
        rule: One of `RULES`, or the name of a coder.

    Raises:
        TrainingError: if the rule is neither.
    """
    by_coder: dict[str | None, list[CodedExcerpt]] = {}
    for one in coded:
        by_coder.setdefault(one.coder, []).append(one)
    names = {name or "(no name)": len(items) for name, items in by_coder.items()}
    if rule not in RULES and rule not in names:
        known = listed(name for name in by_coder if name)
        raise TrainingError(
            f"{rule!r} is neither a rule for combining coders ({', '.join(RULES)}) nor one of the coders"
            f"{f' ({known})' if known else ', of whom the data names none'}."
        )
    plain = Combined(list(coded), rule, {} if set(by_coder) == {None} else names)
    if len(by_coder) < 2:
        return plain
    try:
        matched = match([Coder(name or "(no name)", items) for name, items in by_coder.items()])
    except InputError:  # no two coded the same
        return plain
    return _combined(coded, matched, codebook, rule, names)


def _combined(
    coded: Sequence[CodedExcerpt], matched: Matched, codebook: Codebook, rule: str, names: Mapping[str, int]
) -> Combined:
    place = {id(one): number for number, one in enumerate(coded)}
    found: list[tuple[int, CodedExcerpt]] = [(place[id(one)], one) for of in matched.unmatched for one in of]
    shares: dict[int, Labels] = {}
    undecided: Counter[str] = Counter()
    differing = 0
    for unit in matched.units:
        there = [one for one in unit if one is not None]
        given = matched.coders.index(rule) if rule in matched.coders and rule not in RULES else None
        codes = {}
        differs = False
        for dimension in codebook.dimensions:
            votes = [one.codes[dimension.id] for one in there if dimension.id in one.codes]
            differs |= len({frozenset(vote) for vote in votes}) > 1
            told = unit[given] if given is not None else None
            if told is not None and dimension.id in told.codes:
                codes[dimension.id] = told.codes[dimension.id]
            elif votes:
                decided = _decided(votes, dimension, union=rule == "union")
                if decided is None:
                    undecided[dimension.id] += 1
                else:
                    codes[dimension.id] = decided
        differing += differs
        # The words as the first coder has them who has any.
        source = min((one for one in there if one.excerpt.text), key=lambda one: place[id(one)], default=there[0])
        one = replace(source, codes=codes, coder=None)
        if rule == "shares":
            shares[id(one)] = _shares(there, codebook)
        if codes or rule == "shares":
            found.append((min(place[id(other)] for other in there), one))
    agreed = [of for dimension in codebook.dimensions if (of := agreement(matched, dimension)) is not None]
    return Combined(
        [one for _, one in sorted(found, key=lambda item: item[0])],
        rule,
        names,
        len(matched.units),
        differing,
        dict(undecided),
        agreed,
        shares,
    )


def _decided(votes: Sequence[tuple[str, ...]], dimension: Dimension, *, union: bool) -> tuple[str, ...] | None:
    """What a rule makes of the codings of a dimension; None where it cannot decide."""
    if dimension.exclusive:
        codes, count = Counter(votes).most_common(1)[0]
        return codes if 2 * count > len(votes) else None
    times = Counter(code for vote in votes for code in vote)
    least = 1 if union else len(votes) // 2 + 1
    return dimension.in_order(code for code, count in times.items() if count >= least)


def _shares(codings: Sequence[CodedExcerpt], codebook: Codebook) -> Labels:
    """Mean of the labels, over those who coded a dimension; NaN in one that nobody coded."""
    rows = np.stack([labels_of(one, codebook) for one in codings])
    coded = (~np.isnan(rows)).sum(axis=0)
    sums = np.nansum(rows, axis=0)
    return np.where(coded > 0, sums / np.maximum(coded, 1), np.nan).astype(np.float32)

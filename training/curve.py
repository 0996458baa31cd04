"""The learning curve: what more coded data would buy.

Heads are fitted, on the features of the encoder as it is, to a quarter, a half and three quarters of the training
documents and to all of them, and measured on the held-out documents. That takes seconds where the training itself takes
minutes or hours; the trained model is better than its heads alone, but how much more data helps shows in these, too.

The share of what is missed is taken to fall as a power of the number of excerpts (Hestness et al. 2017, "Deep learning
scaling is predictable, empirically"), and the curve is prolonged to twice the data, no further. How sure that is comes
from a bootstrap over the held-out documents, and from how much it matters which documents were learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tl_classifier.codebook import Codebook
from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt
from training.calibration import fit_decoding
from training.challenge import OWN, SHIPPED
from training.data import label_matrix
from training.gathering import Data
from training.heads import fit_heads, refit_heads
from training.model import ExcerptModel
from training.network import Network

Floats = npt.NDArray[np.float64]

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the training documents."""

DRAWS = 8
"""How often documents are drawn for each share but the whole."""

ROUNDS = 1_000
"""Bootstrap samples."""

FIRMNESS = 1.0
"""Of the heads, as `training.heads.fit_heads` takes it."""


@dataclass(frozen=True)
class Point:
    """One size.

    Attributes:
        share: Of the training documents.
        excerpts: Learnt from, on average over the draws.
        f1: Mean of the dimensions' macro-F1 on the held-out documents, mean over the draws.
        low: Lower bound of its 95% interval.
        high: Upper bound.
    """

    share: float
    excerpts: int
    f1: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A learning curve.

    Attributes:
        points: Sizes in rising order.
        gain: What as much again would add to the last point's F1: estimate, and bounds of its 95% interval.
        held_out: How many excerpts it is measured on.
    """

    points: tuple[Point, ...]
    gain: tuple[float, float, float]
    held_out: int

    @property
    def sentence(self) -> str:
        """What more data would buy."""
        value, low, high = self.gain
        size = self.points[-1].excerpts
        if low <= 0:
            return (
                f"Whether another {size:,} coded excerpts would help cannot be told: the curve is too flat or too "
                f"unsteady (they would change macro-F1 by {low:+.3f} to {high:+.3f})."
            )
        return (
            f"Another {size:,} coded excerpts would raise macro-F1 by about {value:.3f} (95% interval {low:.3f} to "
            f"{high:.3f}), if the curve goes on as it has begun."
        )

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        value, low, high = (round(bound, 4) for bound in self.gain)
        return {
            "points": [
                {
                    "share": p.share,
                    "excerpts": p.excerpts,
                    **{k: round(getattr(p, k), 4) for k in ("f1", "low", "high")},
                }
                for p in self.points
            ],
            "as_much_again": {"value": value, "low": low, "high": high},
            "held_out": self.held_out,
        }


def learning_curve(network: Network, data: Data, *, refines: bool, seed: int = 0) -> Curve:
    """Measure the curve.

    Args:
        network: As a training would start from it; it stays as it is.
        data: What it would learn from.
        refines: Whether its heads are moved from where they are, and not fitted anew.
        seed: Of the draws.

    Raises:
        TrainingError: if there is too little to draw from, or nothing was held out.
    """
    codebook = network.model.codebook
    held_out = data.held_out.get(OWN) or data.held_out.get(SHIPPED) or []
    groups = _groups(data.train)
    if len(groups) < len(SHARES) or not held_out:
        raise TrainingError(
            f"A learning curve needs at least {len(SHARES)} documents to learn from and one held out; name more "
            "documents in the column 'document', or leave the column out."
        )
    labels = data.labels(data.train, codebook)
    features, of_validation, of_held_out = (
        network.features([one.excerpt for one in part]) for part in (data.train, data.validation, held_out)
    )
    truth = label_matrix(held_out, codebook)
    documents = _numbered(held_out)
    rng = np.random.default_rng(seed)
    tallies: list[list[Floats]] = []
    sizes = []
    for share in SHARES:
        drawn = [_drawn(groups, share, rng) for _ in range(DRAWS if share < 1 else 1)]
        sizes.append(float(np.mean([len(rows) for rows in drawn])))
        of_share = []
        for rows in drawn:
            model = deepcopy(network.model)
            if refines:
                refit_heads(model, features[rows], labels[rows])
            else:
                fit_heads(model, features[rows], labels[rows], firmness=FIRMNESS)
            decoding = fit_decoding(
                logits_of(model, of_validation), label_matrix(data.validation, codebook), codebook, data.weights
            )
            logits = logits_of(model, of_held_out)
            given = [
                decoding.dimensions[d.id].decide(
                    decoding.dimensions[d.id].probabilities(logits[:, codebook.slices[d.id]], d), d
                )
                for d in codebook.dimensions
            ]
            of_share.append(_tally(truth, given, codebook, documents))
        tallies.append(of_share)
    return _curve(np.array(sizes), tallies, codebook, len(held_out), rng)


def _curve(
    sizes: Floats, tallies: Sequence[Sequence[Floats]], codebook: Codebook, held_out: int, rng: np.random.Generator
) -> Curve:
    """The curve, from tallies by share and draw, each of shape (documents, 3, codes)."""
    count = len(tallies[0][0])
    single = [[_macro_f1(one.sum(axis=0), codebook) for one in draws] for draws in tallies]
    whole = [np.mean(values) for values in single]
    # All documents can be drawn in one way only, though other documents would have given another figure. Halves of them
    # tell how much: drawn without replacement, their variance is half of that between halves of other data, which is
    # twice that between wholes.
    luck = float(np.std(single[SHARES.index(0.5)], ddof=1))
    samples = np.empty((ROUNDS, len(sizes)))
    for sample in samples:
        weights = rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
        for at, draws in enumerate(tallies):
            picked = [draws[i] for i in rng.integers(len(draws), size=len(draws))]
            sample[at] = np.mean([_macro_f1(np.einsum("d,dtc->tc", weights, one), codebook) for one in picked])
        sample[-1] += rng.normal(0, luck)
    bounds = np.nanpercentile(samples, [2.5, 97.5], axis=0)
    gains = [as_much_again(sizes, sample) for sample in samples[~np.isnan(samples).any(axis=1)]]
    low, high = np.percentile(gains, [2.5, 97.5])
    points = tuple(
        Point(share, round(size), float(f1), float(least), float(most))
        for share, size, f1, least, most in zip(SHARES, sizes, whole, *bounds, strict=True)
    )
    return Curve(points, (as_much_again(sizes, np.array(whole)), float(low), float(high)), held_out)


def as_much_again(sizes: Floats, f1: Floats) -> float:
    """What twice the largest size would add to F1, by a power law for what is missed, 1 - F1.

    Args:
        sizes: Excerpts, rising.
        f1: F1 at each.
    """
    missed = np.log(np.clip(1 - f1, 1e-3, None))
    slope, intercept = np.polyfit(np.log(sizes), missed, 1)
    now, then = (np.exp(intercept + slope * np.log(size)) for size in (sizes[-1], 2 * sizes[-1]))
    return float(now - then)


def _groups(coded: Sequence[CodedExcerpt]) -> list[list[int]]:
    """Rows of each document; where there are too few documents, each row for itself."""
    groups: dict[str, list[int]] = {}
    for row, one in enumerate(coded):
        groups.setdefault(one.excerpt.document or f"\0{row}", []).append(row)
    return list(groups.values()) if len(groups) >= len(SHARES) else [[row] for row in range(len(coded))]


def _drawn(groups: Sequence[Sequence[int]], share: float, rng: np.random.Generator) -> list[int]:
    chosen = rng.permutation(len(groups))[: max(1, round(share * len(groups)))]
    return sorted(row for group in chosen for row in groups[group])


def _numbered(coded: Sequence[CodedExcerpt]) -> npt.NDArray[np.int64]:
    names = [one.excerpt.document or f"\0{row}" for row, one in enumerate(coded)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(numbers) < len(SHARES):
        return np.arange(len(coded))
    return np.array([numbers[name] for name in names], dtype=np.int64)


def logits_of(model: ExcerptModel, features: npt.NDArray[np.float32]) -> Floats:
    """What a model's heads make of features, shape (excerpts, outputs)."""
    with torch.no_grad():
        given = torch.from_numpy(features).to(next(model.parameters()).device)
        logits = torch.cat([head(given) for head in model.linear_heads()], dim=1)
    return logits.double().cpu().numpy()


def _tally(
    truth: npt.NDArray[np.float32],
    given: Sequence[npt.NDArray[np.bool_]],
    codebook: Codebook,
    documents: npt.NDArray[np.int64],
) -> Floats:
    """True positives, false positives and false negatives; shape (documents, 3, codes of all dimensions)."""
    columns = []
    for dimension, codes in zip(codebook.dimensions, given, strict=True):
        part = truth[:, codebook.slices[dimension.id]][:, : len(dimension.codes)]
        coded = np.asarray(~np.isnan(part).any(axis=1))
        right = part > 0.5
        columns.append(np.stack([codes & right, codes & ~right, ~codes & right], axis=1) & coded[:, None, None])
    table = np.concatenate(columns, axis=2)
    tallies = np.zeros((int(documents.max()) + 1, *table.shape[1:]))
    np.add.at(tallies, documents, table)
    return tallies


def _macro_f1(tallies: Floats, codebook: Codebook) -> float:
    """Mean over the dimensions of macro-F1, over the codes that occur; NaN where none does."""
    tp, fp, fn = tallies
    values = []
    first = 0
    for dimension in codebook.dimensions:
        part = slice(first, first := first + len(dimension.codes))
        occurs = tp[part] + fn[part] > 0
        if occurs.any():
            f1 = 2 * tp[part] / np.maximum(2 * tp[part] + fp[part] + fn[part], 1e-9)
            values.append(f1[occurs].mean())
    return float(np.mean(values)) if values else float("nan")


def print_curve(curve: Curve) -> None:
    """Print the curve and what follows from it, on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table("documents", "excerpts", "macro-F1", "95% interval")
    for column in table.columns:
        column.justify = "right"
    for point in curve.points:
        table.add_row(
            f"{point.share:.0%}", f"{point.excerpts:,}", f"{point.f1:.3f}", f"{point.low:.3f} to {point.high:.3f}"
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(curve.sentence, soft_wrap=True)

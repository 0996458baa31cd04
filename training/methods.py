"""Which way of training suits the data at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tl_classifier.codebook import Codebook
from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt
from training.data import label_matrix
from training.rehearsal import rehearses

Method = Literal["heads", "few-shot", "adapters", "full"]
METHODS: tuple[Method, ...] = get_args(Method)
"""What is fitted: the heads alone; the encoder by contrast, then the heads; low-rank adapters and heads of a model that
codes with this codebook already; everything."""

Asked = Literal["auto", "heads", "few-shot", "adapters", "full"]
ASKED: tuple[Asked, ...] = get_args(Asked)
"""What a user can ask for."""

ADAPTERS_FROM = 100
"""From so many excerpts to learn from on, a model for the same codebook is refined with adapters; with fewer, only its
heads are fitted anew, which cannot bend its encoder to a few dozen excerpts."""

FULL_FROM = 2_000
"""From so many on, a model for the same codebook is trained anew: they outweigh what the shipped corpus taught it."""

FEW_PER_CODE = 100
"""Up to so many examples a code (the median over the codes), a codebook of one's own is learnt by contrast."""


@dataclass(frozen=True)
class Choice:
    """A way of training.

    Attributes:
        method: One of `METHODS`.
        refines: Whether it goes on from a model that codes with the same codebook, its heads included.
        why: A sentence that says what was chosen and why.
    """

    method: Method
    refines: bool
    why: str


def choose(asked: Asked, coded: Sequence[CodedExcerpt], codebook: Codebook, *, more: bool, refinable: bool) -> Choice:
    """Choose how to train.

    Args:
        asked: The user's word; ``auto`` to decide by the rules below.
        coded: The user's excerpts to learn from.
        codebook: What is coded.
        more: Whether the shipped corpus or real texts are trained on, too.
        refinable: Whether there is a model to go on from that codes with the same codebook.

    ``auto`` takes ``full`` where a corpus is trained on; for the shipped codebook, if there is a model and fewer than
    `FULL_FROM` excerpts, ``adapters`` from `ADAPTERS_FROM` excerpts on, else ``heads``; for another codebook
    ``few-shot`` up to a median of `FEW_PER_CODE` examples a code, else ``full``.

    Raises:
        TrainingError: if `asked` cannot be done.
    """
    if asked != "auto":
        if asked == "adapters" and not refinable:
            raise TrainingError(
                "Adapters go on from a model that codes with the same codebook, and there is none: the champion, the "
                "shipped model or what --base names code with another; use --method few-shot or --method full."
            )
        if more and asked != "full":
            raise TrainingError(
                f"--with-corpus and --real train a model on thousands of excerpts, for which --method {asked} is not "
                "meant; leave them out (a refinement rehearses the shipped corpus by itself) or use --method full."
            )
        return Choice(asked, refinable and asked in {"adapters", "heads"}, f"Method: {asked}, as asked for.")
    count = len(coded)
    refinable = refinable and rehearses(codebook)  # one's own data can be had as a whole, the shipped only as a corpus
    if more:
        return Choice("full", False, "Method: full, because a whole corpus is trained on.")
    if refinable and count < FULL_FROM:
        if count >= ADAPTERS_FROM:
            return Choice(
                "adapters",
                True,
                f"Method: adapters, because {count} excerpts refine a model that codes with the same codebook (from "
                f"{FULL_FROM:,} on it would be full).",
            )
        return Choice(
            "heads",
            True,
            f"Method: heads, because {count} excerpts are too few to change the encoder of a model that codes with the "
            f"same codebook (from {ADAPTERS_FROM} on it would be adapters).",
        )
    per_code = examples_per_code(coded, codebook)
    if per_code <= FEW_PER_CODE and not refinable:
        return Choice(
            "few-shot",
            False,
            f"Method: few-shot, because half of the codes have {per_code} examples or fewer (with more than "
            f"{FEW_PER_CODE} it would be full).",
        )
    enough = f"{count:,} excerpts" if refinable else f"{per_code} examples for half of the codes"
    return Choice("full", False, f"Method: full, because {enough} are enough to train a model of its own.")


def examples_per_code(coded: Sequence[CodedExcerpt], codebook: Codebook) -> int:
    """Median over the codes of the number of excerpts that carry them."""
    labels = label_matrix(coded, codebook)
    columns = [codebook.slices[d.id].start + i for d in codebook.dimensions for i in range(len(d.codes))]
    return int(np.median((labels[:, columns] > 0.5).sum(axis=0)))

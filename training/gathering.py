"""The coded data of a training, by use: what is learnt from, calibrated on, held out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook
from tl_classifier.corpus.refi.codings import read_code_map
from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt
from tl_classifier.preprocessing import is_blank
from training.bases import LARGE, SMALL
from training.challenge import OWN, SHIPPED
from training.checks import LATIN, Checked, check
from training.combining import Combined, combine
from training.data import label_matrix, load_corpus
from training.job import Job
from training.real import REAL_VALIDATION, read_real, weighed
from training.rehearsal import rehearsed
from training.splitting import split


@dataclass(frozen=True)
class Data:
    """Coded excerpts by use.

    Attributes:
        train: To learn from.
        validation: For calibration.
        weights: Shape (excerpts,): how much each of `validation` counts in calibration.
        held_out: For figures and comparisons, by name of the documents.
        description: Sentences.
        combined: The codings of several coders, combined; None where there is no data of the user's.
        judged: For the choice of the best epoch; empty for all of `validation`.
        rehearsed: Excerpts of the shipped corpus that a refined model learns from, too, so as not to forget them.
    """

    train: list[CodedExcerpt]
    validation: list[CodedExcerpt]
    weights: npt.NDArray[np.float64]
    held_out: dict[str, list[CodedExcerpt]]
    description: str
    combined: Combined | None = None
    judged: list[CodedExcerpt] = field(default_factory=list)
    rehearsed: list[CodedExcerpt] = field(default_factory=list)

    def labels(self, coded: Sequence[CodedExcerpt], codebook: Codebook) -> npt.NDArray[np.float32]:
        """What is learnt from excerpts, shape (excerpts, outputs)."""
        return label_matrix(coded, codebook) if self.combined is None else self.combined.labels(coded, codebook)


def gather(job: Job, codebook: Codebook) -> Data:
    """The coded data of a job, by use."""
    own, combined, checked = _own(job, codebook)
    if not own and not job.with_corpus and not job.real:
        raise TrainingError("There is no coded data to train on; name files with coded data, or add --with-corpus.")
    train: list[CodedExcerpt] = []
    validation: list[CodedExcerpt] = []
    held_out: dict[str, list[CodedExcerpt]] = {}
    described = []
    if own:
        parts = split(own)
        for problem in checked.with_splits(parts) if checked is not None else ():
            job.say(f"Warning: {problem.sentence}")
        train += parts.train
        validation += parts.validation
        held_out[OWN] = parts.test
        described.append(f"{len(own)} coded excerpts of the user's.")
        if not parts.by_document:
            job.say(
                "There are fewer than six documents, so single excerpts are held out for the test; figures on them "
                "flatter the model, because it has seen other parts of the same interviews."
            )
    if job.with_corpus:
        train += load_corpus("train", codebook)
        validation += load_corpus("validation", codebook)
        held_out[SHIPPED] = load_corpus("test", codebook)
        held_out["unseen"] = load_corpus("unseen", codebook)
        held_out["ordinary"] = load_corpus("ordinary", codebook)
        described.append("The shipped corpus (synthetic interviews and excerpts).")
    real = [read_real(specification, codebook) for specification in job.real]
    for texts in real:
        train += texts.train
        held_out.setdefault(REAL_VALIDATION, []).extend(texts.validation)
        described.append(f"{len(texts.train) + len(texts.validation):,} real passages ({texts.about}).")
    validation, weights = weighed(validation, [texts.validation for texts in real])
    return Data(train, validation, weights, held_out, " ".join(described), combined)


def _own(job: Job, codebook: Codebook) -> tuple[list[CodedExcerpt], Combined | None, Checked | None]:
    """The user's coded data, checked, and the codes of several coders combined.

    Raises:
        UserError: if the data has errors; all of them, and what else is odd, have been told before.
    """
    if not job.data:
        return [], None, None
    code_map = read_code_map(job.code_map, codebook) if job.code_map else None
    checked = check(
        job.data,
        codebook,
        code_map=code_map,
        scripts=LATIN if (job.base or job.recipe.base) in {SMALL, LARGE, "default"} else None,
        others=load_corpus("train", codebook) if job.with_corpus else (),
    )
    if checked.problems[1:] or not checked.errors:  # a single error is said when it stops the training
        for problem in checked.problems:
            job.say(f"{problem.severity.capitalize()}: {problem.sentence}")
    checked.stop_if_broken()
    combined = combine([one for one in checked.coded if not is_blank(one.excerpt.text)], codebook, job.combine)
    for line in combined.lines():
        job.say(line)
    return combined.coded, combined, checked


def with_rehearsal(data: Data, codebook: Codebook, *, learnt: bool, seed: int) -> Data:
    """The data of a refinement: excerpts of the shipped corpus are calibrated on and tested on, too.

    Args:
        data: The user's.
        codebook: The shipped one.
        learnt: Whether they are learnt from, too.
        seed: Of the draw.
    """
    of_corpus = load_corpus("validation", codebook)
    validation = data.validation + of_corpus
    # As many of each: a choice by all of the corpus would fall on the epoch that has learnt the least.
    judged = data.validation + random.Random(seed).sample(of_corpus, min(len(of_corpus), len(data.validation)))
    return replace(
        data,
        judged=judged,
        rehearsed=rehearsed(data.train, codebook, seed=seed) if learnt else [],
        validation=validation,
        weights=np.ones(len(validation)),
        held_out={**data.held_out, SHIPPED: load_corpus("test", codebook)},
    )

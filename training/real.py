"""Real texts that the project ships codes for, and never the words: the user's own copy of them is joined to the codes.

CEReD (Štefánik and Nehyba 2021, doi 11372/LRT-3573, CC BY 4.0): passages of student teachers' diaries on their teaching
practice, in English translation, coded for this project with its codebook by four coders, large language models, each
a part of its own. Most passages carry nothing, as in life. They are the column `context` of CEReD's ``train.tsv``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook
from tl_classifier.corpus import textfiles
from tl_classifier.errors import CodebookError, InputError
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from training.data import CORPUS

CODES = CORPUS / "real"
REAL_VALIDATION = "real-validation"
"""Name of the part that is held out."""

MAX_BYTES = 100_000_000
_CERED_CODES = {
    "cered_codes.tsv": "CEReD passages, first coder",
    "cered_codes_2.tsv": "CEReD passages, second coder",
    "cered_codes_3.tsv": "CEReD passages, third coder",
    "cered_codes_4.tsv": "CEReD passages, fourth coder",
}
"""Files of codes and whose they are; what is held out is the first coder's."""


@dataclass(frozen=True)
class RealTexts:
    """Real passages with their codes.

    Attributes:
        train: To learn from.
        validation: A third of what the first coder coded, by a fixed list: thresholds and calibration see them, and
            figures on them stand apart.
        about: What they are, for the model card.
    """

    train: list[CodedExcerpt]
    validation: list[CodedExcerpt]
    about: str


def read_real(specification: str, codebook: Codebook) -> RealTexts:
    """Join a user's copy of real texts to the codes.

    Args:
        specification: ``NAME=PATH``; the names are those of `SOURCES`.
        codebook: Has to have the codes of the shipped one.

    Raises:
        InputError: if there is no such source, or the file is not it.
        CodebookError: if `codebook` lacks a code.
    """
    name, equals, path = specification.partition("=")
    if not equals or name not in SOURCES:
        raise InputError(f"--real {specification}: write NAME=PATH, where NAME is one of {', '.join(SOURCES)}.")
    return SOURCES[name](Path(path), codebook)


def weighed(
    validation: Sequence[CodedExcerpt], real: Sequence[Sequence[CodedExcerpt]]
) -> tuple[list[CodedExcerpt], npt.NDArray[np.float64]]:
    """What calibration and thresholds are fitted on, and how much each excerpt counts, shape (excerpts,).

    Real texts are as heavy as all the others together: how rare codes are in them then decides how freely codes are
    given, and not their share of the data.
    """
    found = list(validation)
    weights = np.ones(len(found))
    for texts in real:
        each = len(found) / len(texts) if found else 1.0
        weights = np.concatenate([weights, np.full(len(texts), each)])
        found += texts
    return found, weights


def _cered(path: Path, codebook: Codebook) -> RealTexts:
    passages = _passages(path)
    rows = []
    for name, coder in _CERED_CODES.items():
        with (CODES / name).open(encoding="utf-8", newline="") as file:
            rows += [(coder, row) for row in csv.DictReader(file, delimiter="\t")]
    missing = sum(row["idx"] not in passages for _, row in rows)
    if missing:
        raise InputError(
            f"{path}: {missing:,} of the {len(rows):,} coded passages are not in it; name train.tsv of CEReD's English "
            "part."
        )
    held_out = set(json.loads((CODES / "splits.json").read_text("utf-8"))[REAL_VALIDATION])
    found = RealTexts([], [], "CEReD, Štefánik and Nehyba 2021, CC BY 4.0, codes of this project")
    for coder, row in rows:
        idx = row["idx"]
        excerpt = Excerpt(passages[idx], id=idx, document=f"cered-{idx}")
        codes = {dimension: _codes(row[dimension], dimension, codebook) for dimension in ("stage", "theme")}
        part = found.validation if int(idx) in held_out else found.train
        part.append(CodedExcerpt(excerpt, codes, coder=coder))
    return found


def _passages(path: Path) -> dict[str, str]:
    """The passages of a copy of CEReD by their sentences' ids, white space folded."""
    words = textfiles.text(path, max_bytes=MAX_BYTES)
    try:
        reader = csv.DictReader(io.StringIO(words, newline=""), delimiter="\t", strict=True)
        return {row["idx"]: " ".join(row["context"].split()) for row in reader}
    except (KeyError, AttributeError, csv.Error):
        raise InputError(
            f"{path}: this is not a file of CEReD, which has tabs between the columns idx and context; name train.tsv."
        ) from None


def _codes(cell: str, dimension: str, codebook: Codebook) -> tuple[str, ...]:
    given = () if cell == "-" else tuple(cell.split(","))
    known = next((d for d in codebook.dimensions if d.id == dimension), None)
    lacking = [code for code in given if known is None or code not in known.code_ids]
    if lacking:
        raise CodebookError(f"The codebook lacks the code '{lacking[0]}' of '{dimension}', which the real texts carry.")
    return known.in_order(given) if known is not None else ()


SOURCES: dict[str, Callable[[Path, Codebook], RealTexts]] = {"cered": _cered}
"""Readers by name."""

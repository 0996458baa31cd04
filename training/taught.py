"""What a larger model says of the shipped corpus: its probabilities are shipped, so that a small model can learn from
them without the larger one being trained first.

``python -m training.taught BUNDLE...`` writes them anew, from bundles that were trained on the corpus (their mean); see
`training.distillation` for what they are good for. Texts are known by their fingerprints, so that real texts that are
not shipped are served, too.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import Excerpt
from training.data import CORPUS

FILE = CORPUS / "taught.tsv"

UNTAUGHT = "oth-|exn-1[1-3]"
"""Documents that were written because models took such talk for a code: none of those is to teach it."""


def taught_by_file(excerpts: Sequence[Excerpt], codebook: Codebook, file: Path = FILE) -> npt.NDArray[np.float64]:
    """The shipped probabilities of excerpts, shape (excerpts, outputs); NaN where there is none.

    Args:
        excerpts: What is asked for.
        codebook: Has the outputs; a code that the file does not know is NaN.
        file: Where they stand.
    """
    found = np.full((len(excerpts), codebook.outputs), np.nan)
    with file.open(encoding="utf-8", newline="") as lines:
        next(lines)  # who taught
        reader = csv.reader(lines, delimiter="\t")
        columns = next(reader)[1:]
        rows = {row[0]: np.array(row[1:], dtype=np.float64) for row in reader}
    names = [f"{d.id}.{code}" for d in codebook.dimensions for code in (*d.code_ids, "")[: d.outputs]]
    places = [(i, columns.index(name)) for i, name in enumerate(names) if name in columns]
    to, of = [i for i, _ in places], [j for _, j in places]
    for number, excerpt in enumerate(excerpts):
        row = rows.get(fingerprint(excerpt))
        if row is not None:
            found[number, to] = row[of]
    return found


def taught_by(file: Path = FILE) -> str:
    """The models whose probabilities they are."""
    with file.open(encoding="utf-8") as lines:
        return next(lines).removeprefix("#").strip()


def fingerprint(excerpt: Excerpt) -> str:
    """16 hexadecimal digits of a text and what it answers."""
    whole = f"{excerpt.text}\0{excerpt.context or ''}"
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write(
    file: Path, teachers: str, codebook: Codebook, excerpts: Sequence[Excerpt], probabilities: npt.NDArray[np.float64]
) -> None:
    """Write what `taught_by_file` reads.

    Args:
        file: Where to.
        teachers: Names and versions of the models.
        codebook: Has the codes.
        excerpts: Of equal ones the first counts.
        probabilities: Shape (excerpts, codes).
    """
    rows: dict[str, list[str]] = {}
    for excerpt, row in zip(excerpts, probabilities, strict=True):
        rows.setdefault(fingerprint(excerpt), [f"{value:.3f}" for value in row])
    new = file.with_name(file.name + ".new")
    with new.open("w", encoding="utf-8", newline="") as lines:
        lines.write(f"# {teachers}\n")
        writer = csv.writer(lines, delimiter="\t", lineterminator="\n")
        writer.writerow(["text", *(f"{d.id}.{code}" for d in codebook.dimensions for code in d.code_ids)])
        writer.writerows([key, *values] for key, values in sorted(rows.items()))
    new.replace(file)


def main() -> None:
    """Write the file from the bundles that are named."""
    from tl_classifier.classifier import Classifier
    from training.data import load_corpus
    from training.distillation import examples
    from training.presets import SMALL_ALONE
    from training.real import read_real

    parser = argparse.ArgumentParser(prog="python -m training.taught", description=__doc__)
    parser.add_argument("bundle", nargs="+", type=Path)
    parser.add_argument("--real", action="append", default=[], metavar="NAME=PATH")
    given = parser.parse_args()
    codebook = Codebook.default()
    coded = [one for one in load_corpus("train", codebook) if not re.match(UNTAUGHT, one.excerpt.document or "")]
    for specification in given.real:
        coded += read_real(specification, codebook).train
    excerpts = [one.excerpt for one in examples(coded, codebook, SMALL_ALONE.options.joins, uncoded=True)]
    teachers = [Classifier.load(bundle) for bundle in given.bundle]
    tables = [
        [[p.probabilities[d.id][code] for d in codebook.dimensions for code in d.code_ids] for p in t.predict(excerpts)]
        for t in teachers
    ]
    write(FILE, ", ".join(t.model for t in teachers), codebook, excerpts, np.mean(tables, axis=0))


if __name__ == "__main__":
    main()

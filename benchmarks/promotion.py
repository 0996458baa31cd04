"""Whether the comparison with the champion can be trusted: who is promoted, over many trainings.

python -m benchmarks.promotion [--runs 20] [--excerpts 1000]

The champion has learnt from a few documents of the shipped (synthetic) corpus. In each run a challenger learns from
many more of them, drawn anew: once with their codes, once with the codes shuffled among the excerpts. Both are held
against the champion on documents that neither has seen, by the rule of ``--promote auto``. To make so many trainings
in minutes, only heads are trained, on the features of the base encoder, which knows nothing of the codes; features are
read once.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Decoding
from tl_classifier.excerpts import CodedExcerpt
from training.bases import find_base
from training.calibration import fit_decoding
from training.challenge import OWN, SHIPPED, compare, decide
from training.curve import logits_of
from training.data import label_matrix, load_corpus
from training.heads import fit_heads
from training.network import Network, open_network

CODEBOOK = Codebook.default()


@dataclass(frozen=True)
class Part:
    """Coded excerpts, their features and labels."""

    coded: list[CodedExcerpt]
    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]

    def rows(self, rows: Sequence[int]) -> Part:
        """Some of them."""
        return Part([self.coded[i] for i in rows], self.features[rows], self.labels[rows])


def part(network: Network, coded: list[CodedExcerpt]) -> Part:
    return Part(coded, network.features([one.excerpt for one in coded]), label_matrix(coded, CODEBOOK))


def documents(coded: Sequence[CodedExcerpt], count: int, rng: random.Random) -> list[int]:
    """Rows of whole documents, at least `count`."""
    names = sorted({str(one.excerpt.document) for one in coded})
    rng.shuffle(names)
    rows: list[int] = []
    while len(rows) < count and names:
        name = names.pop()
        rows += [i for i, one in enumerate(coded) if one.excerpt.document == name]
    return rows


@dataclass(frozen=True)
class Trained:
    """Heads, as they code."""

    logits: dict[str, npt.NDArray[np.float64]]
    decoding: Decoding


def trained(network: Network, learnt: Part, validation: Part, held_out: dict[str, Part]) -> Trained:
    fit_heads(network.model, learnt.features, learnt.labels, firmness=0.1)
    decoding = fit_decoding(logits_of(network.model, validation.features), validation.labels, CODEBOOK)
    return Trained({name: logits_of(network.model, of.features) for name, of in held_out.items()}, decoding)


def promoted(champion: Trained, challenger: Trained, held_out: dict[str, Part]) -> tuple[bool, str]:
    comparisons = []
    for name, of in held_out.items():
        before, after = (one.decoding.predictions(one.logits[name], CODEBOOK, "m") for one in (champion, challenger))
        comparisons.append(compare(name, before, after, of.coded, CODEBOOK.dimensions))
    decision = decide("auto", comparisons)
    return decision.promote, decision.why


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--champion", type=int, default=150, help="excerpts that the champion learnt from")
    parser.add_argument("--excerpts", type=int, default=1_000, help="excerpts that a challenger learns from")
    parser.add_argument(
        "--base", help="encoder, as 'train --base' takes it", default="sentence-transformers/all-MiniLM-L6-v2"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        network = open_network(find_base(given.base), CODEBOOK, Path(folder), dropout=0.0, seed=0)
    pool, validation = (part(network, load_corpus(name, CODEBOOK)) for name in ("train", "validation"))
    # As where a user refines: documents of the user's own, and those that the project ships.
    held_out = {
        OWN: part(network, load_corpus("unseen", CODEBOOK)),
        SHIPPED: part(network, load_corpus("test", CODEBOOK)),
    }
    champion = trained(
        network, pool.rows(documents(pool.coded, given.champion, random.Random(0))), validation, held_out
    )
    count = {"good": 0, "shuffled": 0}
    for run in range(given.runs):
        learnt = pool.rows(documents(pool.coded, given.excerpts, random.Random(run + 1)))
        mixed = np.random.default_rng(run).permutation(len(learnt.coded))
        for name, codes in (("good", learnt.labels), ("shuffled", learnt.labels[mixed])):
            data = Part(learnt.coded, learnt.features, codes)
            promote, why = promoted(champion, trained(network, data, validation, held_out), held_out)
            count[name] += promote
            print(f"run {run}, {name}: {'promoted' if promote else 'not promoted'}. {why}", flush=True)
    for name, times in count.items():
        print(f"{name} data: promoted in {times} of {given.runs}")


if __name__ == "__main__":
    main()

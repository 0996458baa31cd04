"""A few examples a code: `train --method few-shot` beside SetFit, with the same examples and the same encoder.

python -m benchmarks.few_shot CERED --setfit PYTHON [--seeds 1] [--only cered] [--per-code 8 16]

CERED is the folder with train.tsv and val.tsv of CEReD's English part (sentences of nine exclusive categories). The
examples are drawn from train.tsv, as many of each category; val.tsv is coded. The other task is the shipped (synthetic)
corpus: stages, of which an excerpt has several or none, in interviews of the setting `unseen`; examples are drawn from
six in ten of its documents until every stage has so many, with as many excerpts without any, and the other documents
are coded. PYTHON is that of an environment with `setfit`; without it, SetFit is left out.

Both learn from all examples, and nothing is held out for thresholds: where there may be several codes, one is given
from where the expected F1 over the questions is highest. SetFit's own threshold, 0.5, would give hardly any; what
comes of it is printed, too. Times are the processor's, of all cores together, since the larger tasks take long and
machines have other things to do.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Decoding
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from training.bases import SMALL, find_base
from training.calibration import expected_f1_threshold
from training.data import label_matrix, load_corpus
from training.distillation import probabilities
from training.fewshot import Contrast, fit_few
from training.network import open_network

Bools = npt.NDArray[np.bool_]
PEER = Path(__file__).with_name("few_shot_setfit.py")
LEAST_CONFIDENCE = 3
"""Sentences of CEReD of which the annotators were surer than that on average, as in its publication."""


@dataclass(frozen=True)
class Task:
    """What is learnt from, and what is asked."""

    codebook: Codebook
    examples: list[CodedExcerpt]
    questions: list[CodedExcerpt]

    @property
    def exclusive(self) -> bool:
        """Whether an excerpt has one code."""
        return self.codebook.dimensions[0].exclusive

    def labels(self, coded: Sequence[CodedExcerpt]) -> Bools:
        """Shape (excerpts, codes)."""
        return np.asarray(label_matrix(coded, self.codebook) > 0.5)


@dataclass(frozen=True)
class Sentence:
    """A sentence of CEReD, in its surroundings, and its category."""

    text: str
    surroundings: str
    category: str


def read_cered(folder: Path, part: str) -> list[Sentence]:
    """The sentences of a part, ``train`` or ``val``, of which the annotators were sure enough."""
    with (folder / f"{part}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    sure = [row for row in rows if np.mean(json.loads(row["confidence"])) >= LEAST_CONFIDENCE]
    return [Sentence(row["sentence"], row["context"], row["y"]) for row in sure]


def cered_task(examples: Sequence[Sentence], questions: Sequence[Sentence], *, context: bool = False) -> Task:
    """CEReD's categories, one a sentence."""
    ids = {name: name.lower().replace(" ", "_") for name in sorted({one.category for one in examples})}
    codebook = Codebook.from_dict(
        {
            "schema": 1,
            "name": "cered",
            "version": "1",
            "title": "CEReD",
            "dimensions": [
                {
                    "id": "category",
                    "kind": "exclusive",
                    "optional": False,
                    "codes": [{"id": code} for code in ids.values()],
                }
            ],
        }
    )

    def coded(sentences: Sequence[Sentence]) -> list[CodedExcerpt]:
        return [
            CodedExcerpt(Excerpt(s.text, context=s.surroundings if context else None), {"category": (ids[s.category],)})
            for s in sentences
        ]

    return Task(codebook, coded(examples), coded(questions))


def cered(folder: Path, per_code: int, seed: int) -> Task:
    """As many sentences of each category, drawn at random."""
    sentences = read_cered(folder, "train")
    rng = random.Random(seed)
    drawn = []
    for name in sorted({one.category for one in sentences}):
        of_code = [one for one in sentences if one.category == name]
        drawn += rng.sample(of_code, min(per_code, len(of_code)))
    return cered_task(drawn, read_cered(folder, "val"))


def stages(per_code: int, seed: int) -> Task:
    whole = Codebook.default()
    codebook = replace(whole, dimensions=(whole.dimension("stage"),))
    coded = [
        replace(one, excerpt=replace(one.excerpt, context=None), codes={"stage": one.codes["stage"]})
        for one in load_corpus("unseen", whole)
    ]
    documents = sorted({str(one.excerpt.document) for one in coded})
    rng = random.Random(seed)
    rng.shuffle(documents)
    known = set(documents[: round(0.6 * len(documents))])
    pool = [one for one in coded if one.excerpt.document in known]
    rng.shuffle(pool)
    labels = label_matrix(pool, codebook) > 0.5
    taken: list[int] = []
    for code in np.argsort(labels.sum(axis=0)):  # rare ones first: others come with them
        for row in np.flatnonzero(labels[:, code]):
            if labels[taken, code].sum() >= per_code:
                break
            if row not in taken:
                taken.append(int(row))
    taken += np.flatnonzero(~labels.any(axis=1))[:per_code].tolist()
    return Task(codebook, [pool[i] for i in taken], [one for one in coded if one.excerpt.document not in known])


def ours(task: Task, encoder: str, seed: int, contrast: Contrast) -> tuple[Bools, float]:
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        network = open_network(find_base(encoder), task.codebook, Path(folder), dropout=0.0, seed=seed)
    examples = [one.excerpt for one in task.examples]
    fit_few(network, examples, label_matrix(task.examples, task.codebook), replace(contrast, seed=seed))
    seconds = time.process_time() - started
    questions = [one.excerpt for one in task.questions]
    chances = probabilities(network.model, network.preprocessor, questions, task.codebook, pad_id=network.pad_id)
    return decided(task, chances), seconds


def decided(task: Task, chances: npt.NDArray[np.float64]) -> Bools:
    """Codes by their probabilities, both of shape (questions, codes); where there may be several, the thresholds are
    those of the highest expected F1."""
    dimension = task.codebook.dimensions[0]
    plain = Decoding.uncalibrated(task.codebook).dimensions[dimension.id]
    if not task.exclusive:
        plain.thresholds[:] = [expected_f1_threshold(column, np.ones(len(column))) for column in chances.T]
    return np.asarray(plain.decide(chances, dimension))


def setfit(task: Task, encoder: str, seed: int, python: str, pairs: int = 20) -> tuple[Bools, float, float]:
    """SetFit's codes, from so many pairs of each kind for each example, and how long it learnt: seconds of all cores
    together, and seconds by the clock. Where an excerpt may have several codes, it is given the thresholds that ours
    has; what its own, 0.5, would have given is printed."""
    asked = {
        "pairs": pairs,
        "texts": [one.excerpt.text for one in task.examples],
        "labels": task.labels(task.examples).astype(int).tolist(),
        "exclusive": task.exclusive,
        "questions": [one.excerpt.text for one in task.questions],
        "seed": seed,
    }
    done = subprocess.run(
        [python, str(PEER), str(find_base(encoder).path)], input=json.dumps(asked), capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    answer = json.loads(done.stdout.splitlines()[-1])
    given = np.array(answer["given"], dtype=bool)
    if not task.exclusive:
        of_its_own = macro_f1(task.labels(task.questions), given)
        print(f"SetFit, with its own thresholds: {of_its_own:.3f}", flush=True)
        given = decided(task, np.array(answer["chances"]))
    return given, float(answer["seconds"]), float(answer["elapsed"])


def macro_f1(truth: Bools, given: Bools) -> float:
    return float(np.mean(2 * (truth & given).sum(axis=0) / np.maximum(truth.sum(axis=0) + given.sum(axis=0), 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cered", type=Path, help="folder with train.tsv and val.tsv")
    parser.add_argument("--setfit", metavar="PYTHON", help="Python of an environment with setfit")
    parser.add_argument("--only", choices=["cered", "unseen"])
    parser.add_argument("--per-code", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--encoder", default=SMALL)
    for name, kind in (("steps", int), ("passes", int), ("batch", int), ("learning-rate", float), ("firmness", float)):
        parser.add_argument(f"--{name}", type=kind, help="ours, instead of what 'train' does")
    given = parser.parse_args()
    changes = {
        name: getattr(given, name)
        for name in ("steps", "passes", "batch", "learning_rate", "firmness")
        if getattr(given, name) is not None
    }
    contrast = replace(Contrast(), **changes)
    table = Table("task", "a code", "examples", "coded", "ours, macro-F1", "s", "SetFit, macro-F1", "s")
    for name in ("cered", "unseen"):
        for per_code in given.per_code if given.only in (None, name) else ():
            found: dict[str, list[tuple[float, float]]] = {"ours": [], "setfit": []}
            for seed in range(given.seeds):
                task = cered(given.cered, per_code, seed) if name == "cered" else stages(per_code, seed)
                truth = task.labels(task.questions)
                for who in ("ours", "setfit") if given.setfit else ("ours",):
                    if who == "ours":
                        codes, seconds = ours(task, given.encoder, seed, contrast)
                    else:
                        codes, seconds, _ = setfit(task, given.encoder, seed, given.setfit)
                    found[who].append((macro_f1(truth, codes), seconds))
                    print(
                        f"{name} {per_code} seed {seed} {who}: {found[who][-1][0]:.3f} in {seconds:.0f} s", flush=True
                    )
            fewest = int(task.labels(task.examples).sum(axis=0).min())
            table.add_row(
                name,
                f"{per_code}" if fewest >= per_code else f"{per_code} (some {fewest})",
                str(len(task.examples)),
                str(len(task.questions)),
                *_cells(found["ours"]),
                *_cells(found["setfit"]),
            )
    Console(width=120).print(table)


def _cells(values: Sequence[tuple[float, float]]) -> tuple[Any, Any]:
    if not values:
        return ("-", "-")
    f1, seconds = np.array(values).T
    spread = f" (s.d. {f1.std(ddof=1):.3f})" if len(f1) > 1 else ""
    return (f"{f1.mean():.3f}{spread}", f"{seconds.mean():.0f}")


if __name__ == "__main__":
    main()

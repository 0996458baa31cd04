"""What refining the shipped model with 200 newly coded excerpts brings, and what it costs.

python -m benchmarks.refine [--seeds 3] [--method auto] [--excerpts 200] [--learning-rate R] [--epochs N]

The new excerpts are interviews of the shipped (synthetic) corpus's setting `unseen`, of which the model that ships was
trained on none: whole documents, drawn at random, until there are enough. They are split, trained on and calibrated as
`train` does it with a file of them. Macro-F1 is measured on the other documents of `unseen` (what was gained) and on
the `test` documents (what was forgotten), before and after.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tl_classifier.classifier import Classifier
from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import CodedExcerpt
from training.data import load_corpus
from training.evaluation import metrics_of
from training.export import export_network
from training.fitting import fit_network, start
from training.job import Job
from training.methods import ASKED
from training.presets import SMALL_ALONE
from training.run import calibrated, prepare

CODEBOOK = Codebook.default()


def draw(coded: Sequence[CodedExcerpt], count: int, seed: int) -> tuple[list[CodedExcerpt], list[CodedExcerpt]]:
    """`count` excerpts of whole documents (the last may be cut), and those of the documents not drawn from."""
    documents = sorted({str(one.excerpt.document) for one in coded})
    random.Random(seed).shuffle(documents)
    drawn: list[CodedExcerpt] = []
    while len(drawn) < count:
        document = documents.pop()
        drawn += [one for one in coded if one.excerpt.document == document]
    return drawn[:count], [one for one in coded if one.excerpt.document in documents]


def write(coded: Sequence[CodedExcerpt], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, one in enumerate(coded):
            e = one.excerpt
            row = {"id": str(number), "document": e.document, "speaker": e.speaker, "text": e.text}
            file.write(json.dumps({**row, "context": e.context, "codes": one.codes}) + "\n")


def macro_f1(classifier: Classifier, coded: Sequence[CodedExcerpt]) -> list[float]:
    """Macro-F1 of each dimension, and their mean."""
    figures = metrics_of(classifier.predict([one.excerpt for one in coded]), coded, CODEBOOK)
    values = [figures[dimension.id].macro_f1.value for dimension in CODEBOOK.dimensions]
    return [*values, float(np.mean(values))]


def refined(new: Sequence[CodedExcerpt], given: argparse.Namespace, folder: Path) -> Classifier:
    """The shipped model, refined as `train` does it."""
    write(new, folder / "new.jsonl")
    changes = {name: getattr(given, name) for name in ("learning_rate", "epochs") if getattr(given, name) is not None}
    job = Job(
        [folder / "new.jsonl"],
        folder / "model",
        SMALL_ALONE,
        CODEBOOK,
        method=given.method,
        base="default",
        changes=changes,
        quiet=True,
        say=lambda line: None if line.startswith("Warning") else print("  " + line, flush=True),
    )
    data, planned = prepare(job)
    network = start(planned, CODEBOOK, folder / "work")
    fit_network(job, planned, network, data, folder / "work")
    export_network(network.model, network.tokenizer, folder / "bundle")
    return calibrated(folder / "bundle", network, data, "refined")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--excerpts", type=int, default=200)
    parser.add_argument("--method", choices=ASKED, default="auto")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    unseen, test = load_corpus("unseen", CODEBOOK), load_corpus("test", CODEBOOK)
    champion = Classifier.load()
    on_test = macro_f1(champion, test)
    rows = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        new, rest = draw(unseen, given.excerpts, seed)
        before = macro_f1(champion, rest)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            model = refined(new, given, Path(folder))
            seconds = time.monotonic() - started
            rows.append((before, macro_f1(model, rest), on_test, macro_f1(model, test)))
        shown = ["/".join(f"{value:.3f}" for value in values) for values in rows[-1]]
        print(f"seed {seed}: rest of unseen {shown[0]} to {shown[1]}, test {shown[2]} to {shown[3]}; {seconds:.0f} s")
    table = Table(
        "macro-F1",
        *(dimension.id for dimension in CODEBOOK.dimensions),
        "mean",
        title=f"{given.excerpts} excerpts, {len(rows)} draws",
    )
    means = np.array(rows).mean(axis=0)
    for name, values in zip(("rest of unseen, before", "after", "test, before", "after"), means, strict=True):
        table.add_row(name, *(f"{value:.3f}" for value in values))
    for name, change in (("rest of unseen, change", means[1] - means[0]), ("test, change", means[3] - means[2])):
        table.add_row(name, *(f"{value:+.3f}" for value in change))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

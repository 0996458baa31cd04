"""A codebook of one's own, at full size: CEReD's nine exclusive categories, beside SetFit on the same encoder.

python -m benchmarks.cered CERED [--setfit PYTHON] [--only small accurate] [--contexts without with] [--epochs N]

CERED is the folder with train.tsv and val.tsv of CEReD's English part. All sentences of train.tsv of which its
annotators were sure enough are learnt from, a tenth of them held out to stop and to calibrate; those of val.tsv are
coded. Ours is trained as `train --method full` does it, from the small encoder and from the large one (``--preset
accurate``), without and with the sentence's surroundings as context. SetFit has no context and learns from all of them,
two pairs of each kind for each sentence (its customary twenty would take it hours), one epoch; PYTHON is that of an
environment with `setfit`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.few_shot import Bools, Task, cered_task, macro_f1, read_cered, setfit
from tl_classifier.excerpts import CodedExcerpt
from training.bases import SMALL
from training.export import export_network
from training.fitting import fit_network, plan, start
from training.gathering import Data
from training.job import Job
from training.methods import Choice
from training.presets import PRESETS
from training.run import calibrated

HELD_OUT = 0.1
PAIRS = 2


def ours(task: Task, preset: str, changes: dict[str, int | float]) -> tuple[Bools, float]:
    """Codes of the questions, shape (questions, codes), and the seconds of the training."""
    started = time.monotonic()
    order = np.random.default_rng(0).permutation(len(task.examples))
    held = round(HELD_OUT * len(order))
    validation, train = ([task.examples[i] for i in part] for part in (order[:held], order[held:]))
    data = Data(train, validation, np.ones(len(validation)), {}, "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = Job(
            [],
            folder / "model",
            PRESETS[preset],
            task.codebook,
            changes=changes,
            quiet=True,
            say=lambda line: print("  " + line, flush=True),
        )
        planned = plan(job, Choice("full", False, ""), None)
        network = start(planned, task.codebook, folder / "work")
        fit_network(job, planned, network, data, folder / "work")
        export_network(network.model, network.tokenizer, folder / "bundle")
        classifier = calibrated(folder / "bundle", network, data, "cered")
        seconds = time.monotonic() - started
        predicted = classifier.predict([one.excerpt for one in task.questions])
    given = [CodedExcerpt(one.excerpt, p.codes) for one, p in zip(task.questions, predicted, strict=True)]
    return task.labels(given), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cered", type=Path, help="folder with train.tsv and val.tsv")
    parser.add_argument("--setfit", metavar="PYTHON", help="Python of an environment with setfit")
    parser.add_argument("--only", nargs="*", choices=["small", "accurate"], default=["small", "accurate"])
    parser.add_argument("--contexts", nargs="+", choices=["without", "with"], default=["without", "with"])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--patience", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=13)
    given = parser.parse_args()
    names = ("epochs", "patience", "learning_rate", "seed")
    changes = {name: value for name in names if (value := getattr(given, name)) is not None}
    examples, questions = (read_cered(given.cered, part) for part in ("train", "val"))
    table = Table(
        "trained",
        "context",
        "accuracy",
        "macro-F1",
        "training, s",
        title=f"{len(examples)} sentences, {len(questions)} coded",
    )

    def add(name: str, context: str, task: Task, codes: Bools, seconds: float) -> None:
        truth = task.labels(task.questions)
        accuracy = float((truth & codes).any(axis=1).mean())
        cells = (f"{accuracy:.3f}", f"{macro_f1(truth, codes):.3f}", f"{seconds:.0f}")
        print(name, context, *cells, flush=True)
        table.add_row(name, context, *cells)

    for preset in given.only:
        for context in given.contexts:
            task = cered_task(examples, questions, context=context == "with")
            add(f"ours, --preset {preset}", context, task, *ours(task, preset, changes))
    if given.setfit:
        task = cered_task(examples, questions)
        codes, _, elapsed = setfit(task, SMALL, given.seed, given.setfit, PAIRS)
        add("SetFit, small encoder", "without", task, codes, elapsed)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

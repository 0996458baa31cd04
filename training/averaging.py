"""`python -m training.averaging BUNDLE BUNDLE... -o OUT`: one model out of several trainings from the same base.

Their weights are averaged (Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves
accuracy without increasing inference time"); the average is calibrated and examined anew, on the data of the last one
named. It codes as fast as any of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tl_classifier.bundle import MANIFEST, Bundle
from tl_classifier.errors import TrainingError, UserError
from training.bases import Base
from training.export import export_network, finish_bundle, replace_folder
from training.network import Network, reopen_network
from training.recard import data_of, recard
from training.run import calibrated

SAME = ("tokenizer.json", "preprocessing.json")
"""Files that have to be the same in all of them: what the models read."""


def average(
    folders: Sequence[Path],
    output: Path,
    *,
    name: str | None = None,
    real: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Write the bundle of the average.

    Args:
        folders: Two bundles or more, trained on the shipped corpus from the same base, with one codebook.
        output: Folder of the bundle to be written.
        name: Its name; None for that of the last one.
        real: Copies of the real texts that the last one was trained with, as `training.real.read_real` takes them.
        say: Told, line by line, what is going on.

    Raises:
        UserError: if the bundles do not go together, or the last one was not trained on the corpus as it is.
    """
    bundles = [Bundle.open(folder) for folder in folders]
    _check(bundles, output)
    last = bundles[-1]
    data = data_of(last, real)
    say("Averaging.")
    networks = [_open(bundle) for bundle in bundles]
    network = networks[-1]
    states = [one.model.state_dict() for one in networks]
    mean = {
        key: torch.stack([state[key] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for key, value in states[-1].items()
    }
    network.model.load_state_dict(mean)
    output.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.resolve().parent, prefix=f".{output.name}-") as work:
        new = Path(work) / "bundle"
        export_network(network.model, network.tokenizer, new)
        say("Calibrating.")
        classifier = calibrated(new, network, data, name or last.name)
        kept = {key: value for key, value in last.manifest.items() if key not in {"schema", "files", "challenge"}}
        manifest = {
            **kept,
            "name": classifier.name,
            "version": classifier.version,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "averaged": [f"{bundle.name}@{bundle.version}" for bundle in bundles],
        }
        finish_bundle(
            new,
            model=network.model,
            preprocessor=network.preprocessor,
            decoding=classifier.decoding,
            manifest=manifest,
            card="",
        )
        recard(new, real=real, say=say)
        replace_folder(new, output.resolve())


def _check(bundles: Sequence[Bundle], output: Path) -> None:
    if len(bundles) < 2:
        raise TrainingError("An average takes two bundles or more; name another.")
    last = bundles[-1]
    for bundle in bundles[:-1]:
        what = None
        if bundle.codebook.fingerprint != last.codebook.fingerprint:
            what = "codebook"
        elif bundle.manifest["base_model"]["sha256"] != last.manifest["base_model"]["sha256"]:
            what = "base model"
        elif any((bundle.path / file).read_bytes() != (last.path / file).read_bytes() for file in SAME):
            what = "way of reading texts"
        if what:
            raise TrainingError(f"{bundle.path} and {last.path} differ in their {what}; only models that share it mix.")
    if output.exists() and not (output / MANIFEST).is_file():
        raise TrainingError(f"{output}: this folder is no bundle, so it is not overwritten; name another.")


def _open(bundle: Bundle) -> Network:
    return reopen_network(Base(f"{bundle.name}@{bundle.version}", bundle.path, ""), dropout=0.0, seed=0)


def main() -> None:
    """Average the bundles that are named."""
    parser = argparse.ArgumentParser(prog="python -m training.averaging", description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--name", help="Name of the model; the last one's if left out.")
    parser.add_argument("--real", action="append", default=[], metavar="NAME=PATH", help="As for tl-classifier train.")
    given = parser.parse_args()
    average(
        given.bundles,
        given.output,
        name=given.name,
        real=given.real,
        say=lambda line: print(line, file=sys.stderr),
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")

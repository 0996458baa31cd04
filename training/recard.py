"""`python -m training.recard BUNDLE`: examine a bundle anew and write its figures and its card, without training.

For a model that was trained on the shipped corpus, when the form of the card has changed or more is reported than was.
Weights, calibration and version stay as they are.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tl_classifier.bundle import MANIFEST, Bundle, write_manifest
from tl_classifier.classifier import Classifier
from tl_classifier.errors import TrainingError, UserError
from training.bases import SMALL, find_base
from training.cards import model_card
from training.challenge import OWN
from training.data import fingerprint
from training.evaluation import baselines, beside
from training.export import replace_folder
from training.findings import examine
from training.gathering import Data, gather
from training.heads import Embed, embeddings
from training.job import Job
from training.model import ExcerptModel
from training.presets import SMALL_ALONE
from training.tried import Tried, read_tried


def recard(
    folder: Path,
    *,
    real: Sequence[str] = (),
    tried: Sequence[Tried] = (),
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Examine the bundle in `folder` anew; it is replaced when the new one is finished.

    Args:
        folder: The bundle.
        real: Copies of the real texts that it was trained with, as `training.real.read_real` takes them.
        tried: Every model that was tried on the way to it, for its card.
        say: Told, line by line, what is going on.

    Raises:
        UserError: if it was not trained on the shipped corpus as it is, or with other real texts.
    """
    bundle = Bundle.open(folder)
    classifier = Classifier.load(folder)
    data = data_of(bundle, real)
    say("Training the baselines.")
    fitted = baselines(data.train, data.validation, bundle.codebook, _embed(bundle), data.weights)
    compared = beside(fitted, data.held_out, bundle.codebook)
    say("Examining the model.")
    findings = examine(classifier, compared)
    manifest: dict[str, Any] = {key: value for key, value in bundle.manifest.items() if key not in {"schema", "files"}}
    manifest |= findings.to_dict()
    manifest["software"] = {**manifest["software"], "device": classifier.runtime.device}
    with tempfile.TemporaryDirectory(dir=folder.resolve().parent, prefix=f".{folder.name}-") as work:
        new = Path(work) / "bundle"
        shutil.copytree(folder, new)
        (new / "README.md").write_text(model_card(manifest, bundle.codebook, findings, tried), "utf-8")
        (new / MANIFEST).unlink()
        write_manifest(new, manifest)
        Bundle.open(new)
        replace_folder(new, folder.resolve())


def data_of(bundle: Bundle, real: Sequence[str]) -> Data:
    """What the bundle was trained, calibrated and evaluated with."""
    about: Mapping[str, Any] = bundle.manifest.get("data") or {}
    if not about.get("with_corpus") or OWN in about.get("held_out", {}):
        raise TrainingError(
            f"{bundle.path}: only a model that was trained on the shipped corpus, without data of the user's, can be "
            "examined anew; evaluate others with: tl-classifier evaluate"
        )
    wanted = about.get("real", [])
    if sorted(specification.split("=")[0] for specification in real) != sorted(wanted):
        raise TrainingError(
            f"{bundle.path}: this model was trained "
            + (f"with real texts; name {' and '.join(f'--real {name}=PATH' for name in wanted)}." if wanted else "")
            + ("" if wanted else "without real texts; leave --real out.")
        )
    job = Job((), bundle.path, SMALL_ALONE, bundle.codebook, with_corpus=True, real=real)
    data = gather(job, bundle.codebook)
    if fingerprint(data.train + data.validation) != about["fingerprint"]:
        raise TrainingError(
            f"{bundle.path}: the shipped corpus is not as it was when this model was trained, so its figures would not "
            "be comparable; train it anew."
        )
    return data


def _embed(bundle: Bundle) -> Embed:
    """Features of texts by the encoder that the bundle's model started from.

    A bundle that it was trained on from had learnt the corpus already; then it is the small encoder as published.
    """
    base = find_base(SMALL if bundle.manifest.get("parent") else bundle.manifest["base_model"]["name"])
    preprocessor = bundle.preprocessor()
    model = ExcerptModel.from_pretrained(str(base.path), bundle.codebook, separator=preprocessor.separator)
    return embeddings(model, preprocessor, pad_id=int(AutoTokenizer.from_pretrained(str(base.path)).pad_token_id))


def main() -> None:
    """Examine the bundle that is named."""
    parser = argparse.ArgumentParser(prog="python -m training.recard", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--real", action="append", default=[], metavar="NAME=PATH", help="As for tl-classifier train.")
    parser.add_argument("--tried", type=Path, metavar="FILE", help="The models that were tried (training/tried.py).")
    parser.add_argument("--card", type=Path, metavar="FILE", help="Write a copy of the card here, too.")
    given = parser.parse_args()
    tried = read_tried(given.tried) if given.tried else ()
    recard(given.bundle, real=given.real, tried=tried, say=lambda line: print(line, file=sys.stderr))
    if given.card:
        shutil.copyfile(given.bundle / "README.md", given.card)
    print(given.bundle)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")

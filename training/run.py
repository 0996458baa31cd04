"""From coded data to a finished bundle: the whole of `tl-classifier train`."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
import time
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from tl_classifier.bundle import DEFAULT_BUNDLE, Bundle, sha256
from tl_classifier.classifier import Classifier
from tl_classifier.decoding import Decoding
from tl_classifier.errors import TrainingError
from tl_classifier.registry import Registry
from tl_classifier.runtimes.openvino import OpenVINORuntime
from training.bases import Base
from training.calibration import fit_decoding
from training.cards import model_card
from training.curve import Curve, learning_curve
from training.data import fingerprint, label_matrix
from training.evaluation import baselines, beside
from training.export import export_network, finish_bundle, replace_folder
from training.findings import examine
from training.fitting import Plan, fit_network, plan, start, taught_by_corpus
from training.gathering import Data, gather, with_rehearsal
from training.job import Job
from training.methods import choose
from training.network import Network, parent, refinable
from training.rehearsal import rehearses
from training.succession import challenged, enter
from training.taught import taught_by


def train(job: Job) -> Path:
    """Train, calibrate, evaluate, and write the bundle.

    Returns:
        The bundle's folder.

    Raises:
        UserError: with one sentence, before anything is written, if something is wrong with what was given.
    """
    started = time.monotonic()
    codebook = job.codebook
    _check_output(job)
    data, planned = prepare(job)
    work = job.output.with_name(job.output.name + ".training")
    work.mkdir(parents=True, exist_ok=True)

    network = start(planned, codebook, work)
    fitted_baselines = baselines(data.train, data.validation, codebook, network.embed, data.weights)
    compared = beside(fitted_baselines, data.held_out, codebook)
    fitted = fit_network(job, planned, network, data, work)
    if fitted.get("interrupted"):
        job.say("The training was ended early; the model is the best of what it had come to.")

    job.say("Calibrating and evaluating.")
    new = work / "bundle"
    shutil.rmtree(new, ignore_errors=True)
    export_network(network.model, network.tokenizer, new)
    classifier = calibrated(new, network, data, job.name or job.output.resolve().name)
    findings = examine(classifier, compared)
    outcome = challenged(job, classifier, data.held_out)
    manifest = {
        **_lineage(job, data, network, planned, classifier),
        "training": {**planned.to_dict(job.recipe), **fitted, "seconds": round(time.monotonic() - started)},
        **findings.to_dict(),
        "combined": data.combined.to_dict() if data.combined is not None else None,
        "challenge": outcome.to_dict() if outcome is not None else None,
    }
    finish_bundle(
        new,
        model=network.model,
        preprocessor=network.preprocessor,
        decoding=classifier.decoding,
        manifest=manifest,
        card=model_card(manifest, codebook, findings),
    )
    Bundle.open(new)
    replace_folder(new, job.output)
    shutil.rmtree(work)
    if outcome is not None:
        enter(job, outcome)
    return job.output


def prepare(job: Job) -> tuple[Data, Plan]:
    """Gather the data of a job, and choose how to train on it; what was chosen is said.

    Raises:
        UserError: if something is wrong with what was given.
    """
    codebook = job.codebook
    data = gather(job, codebook)
    more = job.with_corpus or bool(job.real)
    refined = refinable(codebook, job.base, Registry(job.registry)) if job.method != "full" and not more else None
    choice = choose(job.method, data.train, codebook, more=more, refinable=refined is not None)
    planned = plan(job, choice, refined)
    job.say(choice.why)
    if choice.refines and rehearses(codebook):
        data = with_rehearsal(data, codebook, learnt=choice.method == "adapters", seed=planned.options.seed)
    beside_them = f" and {len(data.rehearsed)} rehearsed ones" if data.rehearsed else ""
    job.say(f"Training on {len(data.train)} excerpts{beside_them}, validating on {len(data.validation)}.")
    return data, planned


def curve_of(job: Job) -> Curve:
    """The learning curve of a job; nothing is trained or written.

    Raises:
        UserError: if something is wrong with what was given.
    """
    data, planned = prepare(job)
    with tempfile.TemporaryDirectory() as folder:
        network = start(planned, job.codebook, Path(folder))
    job.say("Fitting heads to parts of it.")
    return learning_curve(network, data, refines=planned.choice.refines, seed=planned.options.seed)


def calibrated(folder: Path, network: Network, data: Data, name: str) -> Classifier:
    """The classifier that a bundle will be, calibrated by its own runtime's logits.

    Args:
        folder: Where `training.export.export_network` put the network.
        network: The network.
        data: Calibrated on its validation part.
        name: Name of the model.
    """
    codebook = network.model.codebook
    runtime = OpenVINORuntime(folder, pad_id=network.pad_id)

    def classifier(decoding: Decoding) -> Classifier:
        version = _version(folder, decoding)
        return Classifier(codebook, network.preprocessor, runtime, decoding, name=name, version=version)

    logits = classifier(Decoding.uncalibrated(codebook)).logits([one.excerpt for one in data.validation])
    fitted = fit_decoding(logits, label_matrix(data.validation, codebook), codebook, data.weights)
    # As it will be read from disk, so that the figures are those of the files.
    return classifier(Decoding.from_dict(json.loads(json.dumps(fitted.to_dict())), codebook))


def _lineage(job: Job, data: Data, network: Network, planned: Plan, classifier: Classifier) -> dict[str, Any]:
    """What a bundle's manifest says of where the model comes from."""
    codebook = classifier.codebook
    return {
        "name": classifier.name,
        "version": classifier.version,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "codebook": {"name": codebook.name, "version": codebook.version, "fingerprint": codebook.fingerprint},
        "base_model": _base_dict(planned.base),
        "teacher": _base_dict(planned.teacher) if planned.teacher else None,
        "taught_by": taught_by() if taught_by_corpus(job, planned.choice) else None,
        "parent": parent(planned.base),
        "pad_id": network.pad_id,
        "data": {
            "description": data.description,
            "with_corpus": job.with_corpus,
            "real": [specification.split("=")[0] for specification in job.real],
            "fingerprint": fingerprint(data.train + data.validation),
            "train": len(data.train),
            "rehearsed": len(data.rehearsed),
            "validation": len(data.validation),
            "held_out": {part: len(coded) for part, coded in data.held_out.items()},
        },
        "software": {
            "python": platform.python_version(),
            "device": classifier.runtime.device,
            **{package: installed(package) for package in ("torch", "transformers", "openvino", "tokenizers")},
        },
    }


def _base_dict(base: Base) -> dict[str, str]:
    return {"name": base.name, "sha256": base.sha256}


def _check_output(job: Job) -> None:
    if job.output.exists() and not job.overwrite:
        raise TrainingError(f"{job.output}: the output folder exists; name another or add --overwrite.")
    if job.output.exists() and any(job.output.iterdir()) and not (job.output / "bundle.json").is_file():
        raise TrainingError(f"{job.output}: this folder is no bundle, so it is not overwritten; name another.")
    if job.output.resolve() == DEFAULT_BUNDLE.resolve() and job.data:
        raise TrainingError("The shipped bundle is trained on the shipped corpus alone; name another output folder.")


def _version(folder: Path, decoding: Decoding) -> str:
    """Date and fingerprint of weights and calibration: the same name never stands for another model."""
    parts = [sha256(folder / "model.safetensors"), sha256(folder / "heads.safetensors"), json.dumps(decoding.to_dict())]
    digest = hashlib.sha256("".join(parts).encode())
    return f"{time.strftime('%Y.%m.%d', time.gmtime())}-{digest.hexdigest()[:8]}"

"""From coded data to a finished bundle: the whole of `tl-classifier train`."""

from __future__ import annotations

import hashlib
import json
import platform
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoTokenizer

from tl_classifier.bundle import DEFAULT_BUNDLE, Bundle, sha256
from tl_classifier.classifier import Classifier
from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Decoding
from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt
from tl_classifier.preprocessing import VERSION, Preprocessor, is_blank
from tl_classifier.runtimes.openvino import LENGTH_STEP, OpenVINORuntime
from training.bases import Base, find_base
from training.calibration import fit_decoding
from training.cards import MODEL, model_card
from training.data import fingerprint, join_turns, label_matrix, load_corpus, read_own, to_dataset
from training.distillation import pieces, probabilities, teach
from training.evaluation import Metrics, baselines, evaluate, evaluate_baseline
from training.export import export_network, finish_bundle, replace_folder
from training.heads import embeddings, start_heads
from training.model import ExcerptModel
from training.presets import Recipe
from training.splitting import split
from training.trainer import fit


@dataclass(frozen=True)
class Job:
    """What to train.

    Attributes:
        data: Files of coded data.
        output: Folder of the bundle to be written.
        recipe: Encoder, options and teacher.
        codebook: What is coded.
        code_map: For projects, a file that says what their codes are.
        with_corpus: Add the shipped corpus.
        name: Name of the model; None for the output folder's.
        resume: Go on with a training into the same folder that was interrupted.
        overwrite: Replace an output folder that exists.
        quiet: No progress bar.
        say: Told, line by line, what is going on.
    """

    data: Sequence[Path]
    output: Path
    recipe: Recipe
    codebook: Codebook
    code_map: Path | None = None
    with_corpus: bool = False
    name: str | None = None
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class _Data:
    """Coded excerpts by use; `held_out` by name of the documents."""

    train: list[CodedExcerpt]
    validation: list[CodedExcerpt]
    held_out: dict[str, list[CodedExcerpt]]
    description: str


@dataclass(frozen=True)
class _Network:
    """An encoder with heads, and what belongs to it."""

    base: Base
    tokenizer: Any
    preprocessor: Preprocessor
    model: ExcerptModel

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Features of texts by the encoder as it is."""
        return embeddings(self.model, self.preprocessor, pad_id=self.pad_id)(texts)


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
    data = _gather(job, codebook)
    recipes = [recipe for recipe in (job.recipe, job.recipe.teacher) if recipe is not None]
    bases = [find_base(recipe.base) for recipe in recipes]
    work = job.output.with_name(job.output.name + ".training")
    work.mkdir(parents=True, exist_ok=True)
    _warn_of_rare_codes(data.train, codebook, job.say)
    job.say(f"Training on {len(data.train)} excerpts, validating on {len(data.validation)}.")

    examples, labels = _examples(job.recipe, data.train, codebook)
    if job.recipe.teacher is not None:
        taught = _teacher(job, data, codebook, bases[1], work, [one.excerpt.text for one in examples])
        labels = teach(labels, taught)
    network = _network(job.recipe, bases[0], codebook, work)
    compared = _baselines(data, codebook, network)
    fitted = _fit(job, job.recipe, network, data, (examples, labels), work / "checkpoints")

    job.say("Calibrating and evaluating.")
    new = work / "bundle"
    shutil.rmtree(new, ignore_errors=True)
    export_network(network.model, network.tokenizer, new)
    classifier = _calibrated(new, network, data.validation, job.name or job.output.resolve().name)
    slices: dict[str, dict[str, Metrics]] = {
        part: {MODEL: evaluate(classifier, coded), **compared[part]} for part, coded in data.held_out.items()
    }
    manifest = {
        **_lineage(job, data, network, bases, classifier),
        "training": {**_recipe_dict(job.recipe), **fitted, "seconds": round(time.monotonic() - started)},
        "metrics": {
            part: {
                system: {dimension: m.to_dict() for dimension, m in metrics.items()}
                for system, metrics in systems.items()
            }
            for part, systems in slices.items()
        },
    }
    finish_bundle(
        new,
        model=network.model,
        preprocessor=network.preprocessor,
        decoding=classifier.decoding,
        manifest=manifest,
        card=model_card(manifest, codebook, slices),
    )
    Bundle.open(new)
    replace_folder(new, job.output)
    shutil.rmtree(work)
    return job.output


def _network(recipe: Recipe, base: Base, codebook: Codebook, work: Path) -> _Network:
    _seed(recipe.options.seed)
    tokenizer = AutoTokenizer.from_pretrained(str(base.path))
    model = ExcerptModel.from_pretrained(str(base.path), codebook, dropout=recipe.options.dropout)
    return _Network(base, tokenizer, _preprocessor(tokenizer, work), model)


def _examples(
    recipe: Recipe, coded: list[CodedExcerpt], codebook: Codebook
) -> tuple[list[CodedExcerpt], npt.NDArray[np.float32]]:
    """What is trained on: the coded excerpts, neighbouring turns joined, and uncoded pieces for a teacher to code."""
    options = recipe.options
    rng = random.Random(options.seed)
    examples = coded + [one for _ in range(options.joins) for one in join_turns(coded, codebook, rng)]
    if recipe.teacher is not None:
        examples = examples + pieces(coded, rng)
    return examples, label_matrix(examples, codebook)


def _fit(
    job: Job,
    recipe: Recipe,
    network: _Network,
    data: _Data,
    examples: tuple[list[CodedExcerpt], npt.NDArray[np.float32]],
    folder: Path,
) -> dict[str, Any]:
    codebook = network.model.codebook
    texts = [one.excerpt.text for one in data.train]
    start_heads(network.model, network.embed(texts), label_matrix(data.train, codebook))
    return fit(
        network.model,
        to_dataset(examples[0], codebook, network.preprocessor, examples[1]),
        to_dataset(data.validation, codebook, network.preprocessor),
        recipe.options,
        folder,
        pad_id=network.pad_id,
        mask_id=network.tokenizer.mask_token_id,
        resume=job.resume,
        quiet=job.quiet,
        say=job.say,
    )


def _teacher(
    job: Job, data: _Data, codebook: Codebook, base: Base, work: Path, texts: Sequence[str]
) -> npt.NDArray[np.float64]:
    """The probabilities that the teacher gives `texts`; it is trained first, unless an interrupted run had done so."""
    recipe = job.recipe.teacher
    assert recipe is not None
    kept = work / "teacher.npy"
    if job.resume and kept.is_file():
        return np.asarray(np.load(kept))
    job.say(f"First the teacher ({recipe.base}).")
    network = _network(recipe, base, codebook, work)
    _fit(job, recipe, network, data, _examples(recipe, data.train, codebook), work / "teacher")
    found = probabilities(network.model, network.preprocessor, texts, codebook, pad_id=network.pad_id)
    new = work / "teacher.new.npy"
    np.save(new, found)
    new.replace(kept)
    job.say("Now the model itself.")
    return found


def _baselines(data: _Data, codebook: Codebook, network: _Network) -> dict[str, dict[str, Metrics]]:
    """Figures of the baselines by held-out documents; `network` must not have been trained yet."""
    fitted = baselines(data.train, data.validation, codebook, network.embed)
    return {
        part: {name: evaluate_baseline(baseline, coded, codebook) for name, baseline in fitted.items()}
        for part, coded in data.held_out.items()
    }


def _calibrated(folder: Path, network: _Network, validation: Sequence[CodedExcerpt], name: str) -> Classifier:
    """The classifier that the bundle in `folder` will be, calibrated by its own runtime's logits."""
    codebook = network.model.codebook
    runtime = OpenVINORuntime(folder, pad_id=network.pad_id)

    def classifier(decoding: Decoding) -> Classifier:
        return Classifier(codebook, network.preprocessor, runtime, decoding, name=name, version=_version(folder))

    logits = classifier(Decoding.uncalibrated(codebook)).logits([one.excerpt.text for one in validation])
    fitted = fit_decoding(logits, label_matrix(validation, codebook), codebook)
    # As it will be read from disk, so that the figures are those of the files.
    return classifier(Decoding.from_dict(json.loads(json.dumps(fitted.to_dict())), codebook))


def _lineage(job: Job, data: _Data, network: _Network, bases: Sequence[Base], classifier: Classifier) -> dict[str, Any]:
    """What a bundle's manifest says of where the model comes from."""
    codebook = classifier.codebook
    return {
        "name": classifier.name,
        "version": classifier.version,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "codebook": {"name": codebook.name, "version": codebook.version, "fingerprint": codebook.fingerprint},
        "base_model": _base_dict(bases[0]),
        "teacher": _base_dict(bases[1]) if bases[1:] else None,
        "parent": _parent(bases[0]),
        "pad_id": network.pad_id,
        "data": {
            "description": data.description,
            "with_corpus": job.with_corpus,
            "fingerprint": fingerprint(data.train + data.validation),
            "train": len(data.train),
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


def _recipe_dict(recipe: Recipe) -> dict[str, Any]:
    return {
        "options": recipe.options.to_dict(),
        "teacher_options": recipe.teacher.options.to_dict() if recipe.teacher is not None else None,
    }


def _check_output(job: Job) -> None:
    if job.output.exists() and not job.overwrite:
        raise TrainingError(f"{job.output}: the output folder exists; name another or add --overwrite.")
    if job.output.exists() and any(job.output.iterdir()) and not (job.output / "bundle.json").is_file():
        raise TrainingError(f"{job.output}: this folder is no bundle, so it is not overwritten; name another.")
    if job.output.resolve() == DEFAULT_BUNDLE.resolve() and job.data:
        raise TrainingError("The shipped bundle is trained on the shipped corpus alone; name another output folder.")


def _gather(job: Job, codebook: Codebook) -> _Data:
    given = read_own(job.data, codebook, job.code_map) if job.data else []
    own = [one for one in given if not is_blank(one.excerpt.text)]
    if not own and not job.with_corpus:
        raise TrainingError("There is no coded data to train on; name files with coded data, or add --with-corpus.")
    train: list[CodedExcerpt] = []
    validation: list[CodedExcerpt] = []
    held_out: dict[str, list[CodedExcerpt]] = {}
    described = []
    if own:
        parts = split(own)
        train += parts.train
        validation += parts.validation
        held_out["own test"] = parts.test
        described.append(f"{len(own)} coded excerpts of the user's.")
        if not parts.by_document:
            job.say(
                "There are fewer than six documents, so single excerpts are held out for the test; figures on them "
                "flatter the model, because it has seen other parts of the same interviews."
            )
    if job.with_corpus:
        train += load_corpus("train", codebook)
        validation += load_corpus("validation", codebook)
        held_out["test"] = load_corpus("test", codebook)
        held_out["unseen"] = load_corpus("unseen", codebook)
        described.append("The shipped corpus (synthetic interviews and excerpts).")
    return _Data(train, validation, held_out, " ".join(described))


def _warn_of_rare_codes(train: Sequence[CodedExcerpt], codebook: Codebook, say: Callable[[str], None]) -> None:
    for dimension in codebook.dimensions:
        given = [code for one in train for code in one.codes.get(dimension.id, ())]
        rare = [f"{code} ({given.count(code)})" for code in dimension.code_ids if given.count(code) < 8]
        if rare:
            say(f"Too few examples to learn these codes of '{dimension.id}' well: {', '.join(rare)}.")


def _preprocessor(tokenizer: Any, work: Path) -> Preprocessor:
    """The one that the bundle will have, from the tokenizer file that it will have."""
    folder = work / "tokenizer"
    tokenizer.save_pretrained(str(folder))
    longest = min(256, int(tokenizer.model_max_length)) // LENGTH_STEP * LENGTH_STEP  # as windows are padded
    settings = {"version": VERSION, "max_tokens": longest, "overlap": longest // 4}
    return Preprocessor.from_file(folder / "tokenizer.json", settings)


def _version(folder: Path) -> str:
    """Date and fingerprint of the weights: the same name never stands for another model."""
    digest = hashlib.sha256((sha256(folder / "model.safetensors") + sha256(folder / "heads.safetensors")).encode())
    return f"{time.strftime('%Y.%m.%d', time.gmtime())}-{digest.hexdigest()[:8]}"


def _parent(base: Base) -> str | None:
    if not (base.path / "bundle.json").is_file():
        return None
    bundle = Bundle.open(base.path)
    return f"{bundle.name}@{bundle.version}"


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

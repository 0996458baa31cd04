"""From coded data to a finished bundle: the whole of `tl-classifier train`."""

from __future__ import annotations

import hashlib
import json
import platform
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
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
from tl_classifier.corpus.refi.codings import read_code_map
from tl_classifier.decoding import Decoding
from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from tl_classifier.preprocessing import VERSION, Preprocessor, is_blank
from tl_classifier.registry import Registry, resolve
from tl_classifier.runtimes.openvino import LENGTH_STEP, OpenVINORuntime
from training.bases import LARGE, SMALL, Base, find_base
from training.calibration import fit_decoding
from training.cards import MODEL, model_card
from training.challenge import (
    OWN,
    SHIPPED,
    Comparison,
    Decision,
    Rule,
    challenge,
    decide,
    print_comparison,
    shared_dimensions,
)
from training.checks import LATIN, Checked, check
from training.combining import Combined, combine
from training.data import fingerprint, label_matrix, load_corpus, to_dataset
from training.distillation import examples, probabilities, teach
from training.evaluation import Metrics, baselines, beside, evaluate
from training.export import export_network, finish_bundle, replace_folder
from training.heads import embeddings, start_heads
from training.model import ExcerptModel
from training.presets import Recipe
from training.real import REAL_VALIDATION, read_real, weighed
from training.splitting import split
from training.taught import taught_by, taught_by_file
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
        real: Copies of real texts that the project has codes for, as `training.real.read_real` takes them.
        name: Name of the model; None for the output folder's.
        combine: Where several people coded the same: a rule of `training.combining`, or a coder's name.
        promote: When the new model becomes the champion, as `training.challenge.decide` takes it; asked only where
            there is data of the user's.
        registry: Where the models of this machine are; None for the user's.
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
    real: Sequence[str] = ()
    name: str | None = None
    combine: str = "majority"
    promote: Rule = "auto"
    registry: Path | None = None
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class _Data:
    """Coded excerpts by use; `held_out` by name of the documents, `weights` how much each of `validation` counts."""

    train: list[CodedExcerpt]
    validation: list[CodedExcerpt]
    weights: npt.NDArray[np.float64]
    held_out: dict[str, list[CodedExcerpt]]
    description: str
    combined: Combined | None = None

    def labels(self, coded: Sequence[CodedExcerpt], codebook: Codebook) -> npt.NDArray[np.float32]:
        """What is learnt from excerpts, shape (excerpts, outputs)."""
        return label_matrix(coded, codebook) if self.combined is None else self.combined.labels(coded, codebook)


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
    job.say(f"Training on {len(data.train)} excerpts, validating on {len(data.validation)}.")

    trained_on, labels = _taught(job, data, codebook, bases, work)
    network = _network(job.recipe, bases[0], codebook, work)
    fitted_baselines = baselines(data.train, data.validation, codebook, network.embed, data.weights)
    compared = beside(fitted_baselines, data.held_out, codebook)
    fitted = _fit(job, job.recipe, network, data, (trained_on, labels), work / "checkpoints")

    job.say("Calibrating and evaluating.")
    new = work / "bundle"
    shutil.rmtree(new, ignore_errors=True)
    export_network(network.model, network.tokenizer, new)
    classifier = _calibrated(new, network, data, job.name or job.output.resolve().name)
    slices: dict[str, dict[str, Metrics]] = {
        part: {MODEL: evaluate(classifier, coded), **systems} for part, (coded, systems) in compared.items()
    }
    outcome = _challenged(job, classifier, data.held_out)
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
        "combined": data.combined.to_dict() if data.combined is not None else None,
        "challenge": outcome.to_dict() if outcome is not None else None,
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
    if outcome is not None:
        _enter(job, outcome)
    return job.output


def _enter(job: Job, outcome: _Challenge) -> None:
    """Keep the new model among those of this machine, and promote it if it has won."""
    registry = Registry(job.registry)
    entry = registry.add(job.output)
    for found in outcome.comparisons:
        print_comparison(found, champion=outcome.champion, challenger=entry.id, stderr=True)
    if outcome.decision.promote:
        registry.promote(entry.id, why=outcome.decision.why, comparison=outcome.to_dict()["comparisons"])
    job.say(f"{'Promoted' if outcome.decision.promote else 'Not promoted'}: {outcome.decision.why}")


def _network(recipe: Recipe, base: Base, codebook: Codebook, work: Path) -> _Network:
    _seed(recipe.options.seed)
    tokenizer = AutoTokenizer.from_pretrained(str(base.path))
    preprocessor = _preprocessor(tokenizer, work)
    model = ExcerptModel.from_pretrained(
        str(base.path), codebook, separator=preprocessor.separator, dropout=recipe.options.dropout
    )
    return _Network(base, tokenizer, preprocessor, model)


def _taught(
    job: Job, data: _Data, codebook: Codebook, bases: Sequence[Base], work: Path
) -> tuple[list[CodedExcerpt], npt.NDArray[np.float32]]:
    """What the model is trained on: excerpts, and their codes mixed with a teacher's probabilities."""
    recipe = job.recipe
    kept = _keeps(job)
    found = examples(data.train, codebook, recipe.options.joins, uncoded=kept or recipe.teacher is not None)
    labels = data.labels(found, codebook)
    excerpts = [one.excerpt for one in found]
    if recipe.teacher is not None:
        labels = teach(labels, _teacher(job, data, codebook, bases[1], work, excerpts))
    elif kept:
        labels = teach(labels, taught_by_file(excerpts, codebook))
    # Pieces of texts that no teacher has seen are nobody's.
    usable = np.flatnonzero(~np.isnan(labels).all(axis=1))
    return [found[i] for i in usable], labels[usable]


def _keeps(job: Job) -> bool:
    """Whether the model is taught by the probabilities that are shipped with the corpus."""
    return job.recipe.taught and job.with_corpus and job.codebook.fingerprint == Codebook.default().fingerprint


def _fit(
    job: Job,
    recipe: Recipe,
    network: _Network,
    data: _Data,
    trained_on: tuple[list[CodedExcerpt], npt.NDArray[np.float32]],
    folder: Path,
) -> dict[str, Any]:
    codebook = network.model.codebook
    texts = [one.excerpt.text for one in data.train]
    start_heads(network.model, network.embed(texts), data.labels(data.train, codebook))
    return fit(
        network.model,
        to_dataset(trained_on[0], codebook, network.preprocessor, trained_on[1]),
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
    job: Job, data: _Data, codebook: Codebook, base: Base, work: Path, excerpts: Sequence[Excerpt]
) -> npt.NDArray[np.float64]:
    """The teacher's probabilities for `excerpts`; it is trained first, unless an interrupted run had done so."""
    recipe = job.recipe.teacher
    assert recipe is not None
    kept = work / "teacher.npy"
    if job.resume and kept.is_file():
        return np.asarray(np.load(kept))
    job.say(f"First the teacher ({recipe.base}).")
    network = _network(recipe, base, codebook, work)
    learnt = examples(data.train, codebook, recipe.options.joins, uncoded=False)
    _fit(job, recipe, network, data, (learnt, data.labels(learnt, codebook)), work / "teacher")
    found = probabilities(network.model, network.preprocessor, excerpts, codebook, pad_id=network.pad_id)
    new = work / "teacher.new.npy"
    np.save(new, found)
    new.replace(kept)
    job.say("Now the model itself.")
    return found


def _calibrated(folder: Path, network: _Network, data: _Data, name: str) -> Classifier:
    """The classifier that the bundle in `folder` will be, calibrated by its own runtime's logits."""
    codebook = network.model.codebook
    runtime = OpenVINORuntime(folder, pad_id=network.pad_id)

    def classifier(decoding: Decoding) -> Classifier:
        version = _version(folder, decoding)
        return Classifier(codebook, network.preprocessor, runtime, decoding, name=name, version=version)

    logits = classifier(Decoding.uncalibrated(codebook)).logits([one.excerpt for one in data.validation])
    fitted = fit_decoding(logits, label_matrix(data.validation, codebook), codebook, data.weights)
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
        "taught_by": taught_by() if _keeps(job) else None,
        "parent": _parent(bases[0]),
        "pad_id": network.pad_id,
        "data": {
            "description": data.description,
            "with_corpus": job.with_corpus,
            "real": [specification.split("=")[0] for specification in job.real],
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
    own, combined, checked = _own(job, codebook)
    if not own and not job.with_corpus and not job.real:
        raise TrainingError("There is no coded data to train on; name files with coded data, or add --with-corpus.")
    train: list[CodedExcerpt] = []
    validation: list[CodedExcerpt] = []
    held_out: dict[str, list[CodedExcerpt]] = {}
    described = []
    if own:
        parts = split(own)
        for problem in checked.with_splits(parts) if checked is not None else ():
            job.say(f"Warning: {problem.sentence}")
        train += parts.train
        validation += parts.validation
        held_out[OWN] = parts.test
        described.append(f"{len(own)} coded excerpts of the user's.")
        if not parts.by_document:
            job.say(
                "There are fewer than six documents, so single excerpts are held out for the test; figures on them "
                "flatter the model, because it has seen other parts of the same interviews."
            )
    if job.with_corpus:
        train += load_corpus("train", codebook)
        validation += load_corpus("validation", codebook)
        held_out[SHIPPED] = load_corpus("test", codebook)
        held_out["unseen"] = load_corpus("unseen", codebook)
        described.append("The shipped corpus (synthetic interviews and excerpts).")
    real = [read_real(specification, codebook) for specification in job.real]
    for texts in real:
        train += texts.train
        held_out.setdefault(REAL_VALIDATION, []).extend(texts.validation)
        described.append(f"{len(texts.train) + len(texts.validation):,} real passages ({texts.about}).")
    validation, weights = weighed(validation, [texts.validation for texts in real])
    return _Data(train, validation, weights, held_out, " ".join(described), combined)


def _own(job: Job, codebook: Codebook) -> tuple[list[CodedExcerpt], Combined | None, Checked | None]:
    """The user's coded data, checked, and the codes of several coders combined.

    Raises:
        UserError: if the data has errors; all of them, and what else is odd, have been told before.
    """
    if not job.data:
        return [], None, None
    code_map = read_code_map(job.code_map, codebook) if job.code_map else None
    checked = check(
        job.data,
        codebook,
        code_map=code_map,
        scripts=LATIN if job.recipe.base in {SMALL, LARGE, "default"} else None,
        others=load_corpus("train", codebook) if job.with_corpus else (),
    )
    if checked.problems[1:] or not checked.errors:  # a single error is said when it stops the training
        for problem in checked.problems:
            job.say(f"{problem.severity.capitalize()}: {problem.sentence}")
    checked.stop_if_broken()
    combined = combine([one for one in checked.coded if not is_blank(one.excerpt.text)], codebook, job.combine)
    for line in combined.lines():
        job.say(line)
    return combined.coded, combined, checked


def _challenged(job: Job, classifier: Classifier, held_out: Mapping[str, list[CodedExcerpt]]) -> _Challenge | None:
    """The new model against the champion on the same documents; None where there is no data of the user's."""
    if not job.data:
        return None
    champion = Classifier.load(resolve(None, Registry(job.registry)))
    comparisons = []
    if shared_dimensions(champion.codebook, classifier.codebook):
        comparisons = challenge(champion, classifier, held_out)
    decision = decide(job.promote, comparisons)
    return _Challenge(champion.model, comparisons, decision)


@dataclass(frozen=True)
class _Challenge:
    """How a new model stands against the champion, and what becomes of it."""

    champion: str
    comparisons: Sequence[Comparison]
    decision: Decision

    def to_dict(self) -> dict[str, Any]:
        return {
            "champion": self.champion,
            "promoted": self.decision.promote,
            "why": self.decision.why,
            "comparisons": {found.part: found.to_dict() for found in self.comparisons},
        }


def _preprocessor(tokenizer: Any, work: Path) -> Preprocessor:
    """The one that the bundle will have, from the tokenizer file that it will have."""
    folder = work / "tokenizer"
    tokenizer.save_pretrained(str(folder))
    longest = min(256, int(tokenizer.model_max_length)) // LENGTH_STEP * LENGTH_STEP  # as windows are padded
    settings = {
        "version": VERSION,
        "max_tokens": longest,
        "overlap": longest // 4,
        "context_tokens": longest // 4 if tokenizer.sep_token_id is not None else 0,
    }
    return Preprocessor.from_file(folder / "tokenizer.json", settings)


def _version(folder: Path, decoding: Decoding) -> str:
    """Date and fingerprint of weights and calibration: the same name never stands for another model."""
    parts = [sha256(folder / "model.safetensors"), sha256(folder / "heads.safetensors"), json.dumps(decoding.to_dict())]
    digest = hashlib.sha256("".join(parts).encode())
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

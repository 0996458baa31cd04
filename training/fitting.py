"""The network is fitted, by the method that was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tl_classifier.codebook import Codebook
from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from training.bases import Base, find_base
from training.data import to_dataset
from training.distillation import examples, probabilities, teach
from training.fewshot import Contrast, fit_few
from training.gathering import Data
from training.heads import fit_heads, refit_heads
from training.job import Job
from training.methods import Choice
from training.network import Network, open_network, reopen_network
from training.presets import ADAPTERS, Recipe
from training.rehearsal import rehearses
from training.taught import taught_by_file
from training.trainer import Options, fit

Labels = npt.NDArray[np.float32]

HEADS_FIRMNESS = 1.0
"""How firmly new heads follow the examples, as `training.heads.fit_heads` takes it."""


@dataclass(frozen=True)
class Heads:
    """Options of the method that fits heads alone.

    Attributes:
        seed: Of everything random.
    """

    seed: int = 13

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {"seed": self.seed}


AnyOptions = Options | Contrast | Heads


@dataclass(frozen=True)
class Plan:
    """How the network is fitted.

    Attributes:
        choice: The method.
        base: What it starts from.
        options: Of the method.
        teacher: The encoder of the teacher that is trained first; None for no such.
    """

    choice: Choice
    base: Base
    options: AnyOptions
    teacher: Base | None = None

    def to_dict(self, recipe: Recipe) -> dict[str, Any]:
        """What a bundle's manifest says of it."""
        return {
            "method": self.choice.method,
            "options": self.options.to_dict(),
            "teacher_options": recipe.teacher.options.to_dict() if self.teacher and recipe.teacher else None,
        }


def plan(job: Job, choice: Choice, refined: Base | None) -> Plan:
    """Find what the method starts from, and its options.

    Args:
        job: What the user asked for.
        choice: The method.
        refined: The model to go on from, where there is one.

    Raises:
        TrainingError: if something is not found, or the method has no such option as the user gave.
    """
    method = choice.method
    if choice.refines:
        assert refined is not None
        base = refined
    else:
        base = find_base(job.base or job.recipe.base)
    if method == "full":
        teacher = find_base(job.recipe.teacher.base) if job.recipe.teacher is not None else None
        alone = not (job.with_corpus or job.real)
        options = job.recipe.own if alone and job.recipe.own is not None else job.recipe.options
        return Plan(choice, base, _changed(options, job.changes, method), teacher)
    defaults: Mapping[str, AnyOptions] = {"heads": Heads(), "few-shot": Contrast(), "adapters": ADAPTERS}
    return Plan(choice, base, _changed(defaults[method], job.changes, method))


def _changed(options: AnyOptions, changes: Mapping[str, Any], method: str) -> AnyOptions:
    unknown = changes.keys() - {field.name for field in fields(options)}
    if unknown:
        name = "--" + min(unknown).replace("_", "-")
        raise TrainingError(f"{name} means nothing to the method {method}; leave it out, or add --method full.")
    return replace(options, **changes)


def start(plan: Plan, codebook: Codebook, work: Path) -> Network:
    """The network as the method starts from it."""
    dropout = plan.options.dropout if isinstance(plan.options, Options) else 0.0
    seed = plan.options.seed
    if plan.choice.refines:
        return reopen_network(plan.base, dropout=dropout, seed=seed)
    return open_network(plan.base, codebook, work / "tokenizer", dropout=dropout, seed=seed)


def fit_network(job: Job, plan: Plan, network: Network, data: Data, work: Path) -> dict[str, Any]:
    """Fit the network in place.

    Args:
        job: What the user asked for.
        plan: How.
        network: As `start` gives it.
        data: What it learns from.
        work: Folder for what an interrupted training goes on from.

    Returns:
        What the manifest says of how it went.
    """
    options, codebook = plan.options, job.codebook
    if isinstance(options, Options):
        if plan.choice.refines:
            found, labels = _refining(data, codebook, options)
        else:
            found, labels = _taught(job, plan, data, codebook, work)
            start_from = [one.excerpt.text for one in data.train]
            fit_heads(network.model, network.embed(start_from), data.labels(data.train, codebook))
        # A training goes on only from its own checkpoints.
        folder = work / f"{plan.choice.method}-{plan.base.sha256[:12]}"
        return _fit(job, options, network, data, (found, labels), folder)
    excerpts, labels = [one.excerpt for one in data.train], data.labels(data.train, codebook)
    if isinstance(options, Contrast):
        return fit_few(network, excerpts, labels, options, quiet=job.quiet, say=job.say)
    if plan.choice.refines:
        refit_heads(network.model, network.features(excerpts), labels)
    else:
        fit_heads(network.model, network.features(excerpts), labels, firmness=HEADS_FIRMNESS)
    return {}


def _refining(data: Data, codebook: Codebook, options: Options) -> tuple[list[CodedExcerpt], Labels]:
    """New excerpts and rehearsed ones; a model that learnt these from a teacher hears its word again."""
    found = examples(data.train, codebook, options.joins, uncoded=False)
    labels = data.labels([*found, *data.rehearsed], codebook)
    if data.rehearsed:
        labels[len(found) :] = teach(
            labels[len(found) :], taught_by_file([one.excerpt for one in data.rehearsed], codebook)
        )
    return [*found, *data.rehearsed], labels


def taught_by_corpus(job: Job, choice: Choice) -> bool:
    """Whether the model is taught by the probabilities that are shipped with the corpus."""
    return (choice.refines and choice.method == "adapters" and rehearses(job.codebook)) or (
        choice.method == "full" and job.recipe.taught and job.with_corpus and rehearses(job.codebook)
    )


def _taught(job: Job, plan: Plan, data: Data, codebook: Codebook, work: Path) -> tuple[list[CodedExcerpt], Labels]:
    """What a full fine-tuning learns from: excerpts, and their codes mixed with a teacher's probabilities."""
    assert isinstance(plan.options, Options)
    kept = taught_by_corpus(job, plan.choice)
    found = examples(data.train, codebook, plan.options.joins, uncoded=kept or plan.teacher is not None)
    labels = data.labels(found, codebook)
    excerpts = [one.excerpt for one in found]
    if plan.teacher is not None:
        labels = teach(labels, _teacher(job, plan.teacher, data, codebook, work, excerpts))
    elif kept:
        labels = teach(labels, taught_by_file(excerpts, codebook))
    # Pieces of texts that no teacher has seen are nobody's.
    usable = np.flatnonzero(~np.isnan(labels).all(axis=1))
    return [found[i] for i in usable], labels[usable]


def _teacher(
    job: Job, base: Base, data: Data, codebook: Codebook, work: Path, excerpts: Sequence[Excerpt]
) -> npt.NDArray[np.float64]:
    """The teacher's probabilities for `excerpts`; it is trained first, unless an interrupted run had done so."""
    recipe = job.recipe.teacher
    assert recipe is not None
    kept = work / "teacher.npy"
    if job.resume and kept.is_file():
        return np.asarray(np.load(kept))
    job.say(f"First the teacher ({recipe.base}).")
    options = recipe.options
    network = open_network(base, codebook, work / "teacher-tokenizer", dropout=options.dropout, seed=options.seed)
    learnt = examples(data.train, codebook, options.joins, uncoded=False)
    fit_heads(network.model, network.embed([one.excerpt.text for one in data.train]), data.labels(data.train, codebook))
    _fit(job, options, network, data, (learnt, data.labels(learnt, codebook)), work / "teacher")
    found = probabilities(network.model, network.preprocessor, excerpts, codebook, pad_id=network.pad_id)
    new = work / "teacher.new.npy"
    np.save(new, found)
    new.replace(kept)
    job.say("Now the model itself.")
    return found


def _fit(
    job: Job,
    options: Options,
    network: Network,
    data: Data,
    trained_on: tuple[Sequence[CodedExcerpt], Labels],
    folder: Path,
) -> dict[str, Any]:
    codebook = network.model.codebook
    return fit(
        network.model,
        to_dataset(trained_on[0], codebook, network.preprocessor, trained_on[1]),
        to_dataset(data.judged or data.validation, codebook, network.preprocessor),
        options,
        folder,
        pad_id=network.pad_id,
        mask_id=network.tokenizer.mask_token_id,
        resume=job.resume,
        quiet=job.quiet,
        say=job.say,
    )

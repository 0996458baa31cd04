"""What becomes of a new model: it is compared with the champion, and promoted if it has won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tl_classifier.bundle import Bundle
from tl_classifier.classifier import Classifier
from tl_classifier.excerpts import CodedExcerpt
from tl_classifier.registry import Entry, Registry, resolve
from training.challenge import Comparison, Decision, challenge, decide, print_comparison, shared_dimensions
from training.job import Job

_MODEL_FILES = ("model.safetensors", "heads.safetensors", "decoding.json", "codebook.yaml")
"""What a model is, in a bundle; the rest tells of it."""


@dataclass(frozen=True)
class Challenge:
    """How a new model stands against the champion, and what becomes of it.

    Attributes:
        champion: The champion, ``name@version``.
        comparisons: Of the two, one for each of the held-out documents.
        decision: Whether it is promoted.
    """

    champion: str
    comparisons: Sequence[Comparison]
    decision: Decision

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "champion": self.champion,
            "promoted": self.decision.promote,
            "why": self.decision.why,
            "comparisons": {found.part: found.to_dict() for found in self.comparisons},
        }


def challenged(job: Job, classifier: Classifier, held_out: Mapping[str, list[CodedExcerpt]]) -> Challenge | None:
    """The new model against the champion on the same documents; None where there is no data of the user's."""
    if not job.data:
        return None
    champion = Classifier.load(resolve(None, Registry(job.registry)))
    comparisons = []
    if shared_dimensions(champion.codebook, classifier.codebook):
        comparisons = challenge(champion, classifier, held_out)
    decision = decide(job.promote, comparisons)
    return Challenge(champion.model, comparisons, decision)


def enter(job: Job, outcome: Challenge) -> None:
    """Keep the new model among those of this machine, and promote it if it has won."""
    registry = Registry(job.registry)
    entry = _trained_before(registry, Bundle.open(job.output)) or registry.add(job.output)
    for found in outcome.comparisons:
        print_comparison(found, champion=outcome.champion, challenger=entry.id, stderr=True)
    if outcome.decision.promote:
        registry.promote(entry.id, why=outcome.decision.why, comparison=outcome.to_dict()["comparisons"])
    job.say(f"{'Promoted' if outcome.decision.promote else 'Not promoted'}: {outcome.decision.why}")


def _trained_before(registry: Registry, bundle: Bundle) -> Entry | None:
    """The same model, where the same training was run before: only the time differs."""
    for entry in registry.entries():
        if entry.id == f"{bundle.name}@{bundle.version}" and entry.problem is None:
            files = (entry.manifest.get("files", {}), bundle.manifest["files"])
            if all(files[0].get(name) == files[1].get(name) for name in _MODEL_FILES):
                return entry
    return None

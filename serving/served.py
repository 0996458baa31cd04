"""A model with its queue: loaded and tried out, served with, and let go when its last answer is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.batching import Batcher
from serving.bodies import Asked
from serving.metrics import Metrics
from serving.settings import Settings
from tl_classifier.classifier import Classifier
from tl_classifier.errors import BundleError
from tl_classifier.evidence import Trial
from tl_classifier.excerpts import Excerpt, Prediction

Load = Callable[[Path], Classifier]
"""Loads the bundle in a folder, or raises a BundleError."""

_WARM_UP = tuple(Excerpt(text=" ".join(["word"] * words)) for words in (4, 16, 64, 200))


class ServedModel:
    """A model with its queue. What it has begun, it ends: a request, or a stream, is answered by one model.

    Args:
        classifier: The model.
        settings: Limits of the queue and of batches.
        metrics: Told what the queue does.
    """

    def __init__(self, classifier: Classifier, settings: Settings, metrics: Metrics) -> None:
        self.classifier = classifier
        self.batcher = Batcher(
            classifier.predict,
            metrics,
            queue_requests=settings.queue_requests,
            queue_excerpts=settings.queue_excerpts,
            batch_excerpts=settings.batch_excerpts,
            batch_characters=settings.batch_characters,
            batch_wait=settings.batch_wait_ms / 1000,
        )
        self._leases = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def label(self) -> dict[str, Any]:
        """What an answer says of the model that gave it."""
        codebook = self.classifier.codebook
        return {
            "name": self.classifier.name,
            "version": self.classifier.version,
            "codebook": codebook.name,
            "codebook_version": codebook.version,
        }

    @property
    def card(self) -> dict[str, Any]:
        """All that is told of it."""
        fingerprint = self.classifier.codebook.fingerprint
        return {**self.label, "codebook_fingerprint": fingerprint, "info": self.classifier.info}

    @contextmanager
    def lease(self) -> Iterator[None]:
        """While it lasts, the model takes work, even where another has taken its place."""
        self._leases += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._leases -= 1
            if not self._leases:
                self._unused.set()

    async def code(self, asked: Asked) -> list[Prediction]:
        """What a request asks for, in the order of its excerpts.

        Raises:
            QueueFull: if there is no place for it.
            Closed: if none is accepted any more.
        """
        predictions = await self.batcher.predict(asked.excerpts)
        if asked.evidence:
            # Sentences left out one by one are excerpts as others are: they go through the same queue, as part of what
            # was accepted.
            trial = await asyncio.to_thread(Trial, asked.excerpts, predictions)
            predictions = trial.outcome(await self.batcher.predict(trial.variants, admitted=True))
        if asked.precision is not None:
            decoding, codebook = self.classifier.decoding, self.classifier.codebook
            predictions = decoding.review(predictions, codebook, asked.precision)
        return predictions

    async def retire(self) -> None:
        """Wait until nobody holds a lease, then finish what is left."""
        await self._unused.wait()
        await self.batcher.finish()


def load_and_try(path: Path, load: Load) -> Classifier:
    """Load a bundle, warm it up, and see that it answers as its codebook says.

    Raises:
        BundleError: if it cannot be loaded, or its answers are not of its codebook.
    """
    classifier = load(path)
    warm_up(classifier)
    return classifier


def warm_up(classifier: Classifier) -> None:
    """Score a few lengths: the first batches of a new shape take longer than later ones, and no client waits for them.

    Raises:
        BundleError: if the answers are not of the model's codebook.
    """
    codes = {dimension.id: list(dimension.code_ids) for dimension in classifier.codebook.dimensions}
    alone = [prediction for excerpt in _WARM_UP for prediction in classifier.predict([excerpt])]
    for prediction in [*alone, *classifier.predict(_WARM_UP)]:
        given = {dimension: list(values) for dimension, values in prediction.probabilities.items()}
        values = [value for of_dimension in prediction.probabilities.values() for value in of_dimension.values()]
        if given != codes or not all(0 <= value <= 1 for value in values):
            raise BundleError(
                f"The model {classifier.model} gives no probability for each code of its codebook; train it anew."
            )

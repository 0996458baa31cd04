"""The model that serves, and what belongs to it while the server runs."""

from __future__ import annotations

import asyncio
from typing import Any

from serving.batching import Batcher
from serving.bodies import Memory
from serving.metrics import Metrics
from serving.problems import not_ready
from serving.security import Guard
from serving.settings import Settings
from tl_classifier.classifier import Classifier
from tl_classifier.excerpts import Excerpt

_WARM_UP = tuple(Excerpt(text=" ".join(["word"] * words)) for words in (4, 16, 64, 200))


class ServedModel:
    """A loaded model with its queue; a request is served by one from its acceptance to its answer.

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


class Service:
    """State of one application.

    Attributes:
        settings: Its settings.
        guard: Who may ask.
        metrics: What it counts.
        memory: Room for the bodies of requests.
        draining: True from the moment it was told to stop.
    """

    def __init__(self, settings: Settings, classifier: Classifier | None = None) -> None:
        self.settings = settings
        self.guard = Guard.from_settings(settings)
        self.metrics = Metrics()
        self.memory = Memory(settings.max_held_bytes)
        self.draining = False
        self._classifier = classifier
        self._served: ServedModel | None = None

    @property
    def served(self) -> ServedModel:
        """The model that serves.

        Raises:
            Problem: if there is none: the server is starting, or its worker has died.
        """
        if self._served is None:
            raise not_ready("The model is being loaded.")
        return self._served

    async def start(self) -> None:
        """Load the model if none was given, warm it up and serve with it.

        Raises:
            BundleError: if it cannot be loaded.
        """
        classifier = await asyncio.to_thread(self._load)
        served = ServedModel(classifier, self.settings, self.metrics)
        served.batcher.start()
        self.metrics.name_model(classifier.name, classifier.version)
        self.metrics.watch(
            requests=lambda: served.batcher.requests,
            excerpts=lambda: served.batcher.excerpts,
            held_bytes=lambda: self.memory.held,
        )
        self._served = served

    def refuse(self) -> None:
        """Accept no more work; what was accepted is finished."""
        self.draining = True
        if self._served is not None:
            self._served.batcher.close()

    async def stop(self) -> None:
        """Finish what was accepted and let the model go."""
        self.refuse()
        if self._served is not None:
            await self._served.batcher.finish()

    def _load(self) -> Classifier:
        if self._classifier is None:
            self._classifier = Classifier.load(self.settings.model, device=self.settings.device)
        # The first batches of a new shape take longer than later ones; let no client wait for them.
        self._classifier.predict(_WARM_UP)
        return self._classifier

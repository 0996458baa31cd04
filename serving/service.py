"""The state of a running server: the model that serves, how another takes its place, and the stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from serving.bodies import Memory
from serving.logs import LOGGER
from serving.metrics import Metrics
from serving.problems import Problem, busy, not_ready
from serving.security import Guard
from serving.served import Load, ServedModel, load_and_try, warm_up
from serving.settings import Settings
from tl_classifier.bundle import DEFAULT_BUNDLE
from tl_classifier.classifier import Classifier
from tl_classifier.errors import BundleError
from tl_classifier.registry import Registry, resolve

_PATIENCE = 2.0
"""Seconds for which a change waits until the model before the present one has finished."""


class Changing(Exception):
    """The model cannot be changed now; ``str(error)`` says why, a clause."""


class Service:
    """State of one application.

    A change of model: the new one is loaded and tried out in a thread, beside the old one, which goes on serving. Then
    it takes its place, between two turns of the event loop: what was accepted before is answered by the old one, what
    comes later by the new one. Where the new one is no good, the old one stays. At most two models are in memory: while
    a replaced one still finishes its work, there is no further change.

    Args:
        settings: Its settings.
        classifier: The model to begin with; None for the one that the settings name.
        load: Loads bundles; None for `Classifier.load`.

    Attributes:
        settings: Its settings.
        guard: Who may ask.
        metrics: What it counts.
        memory: Room for the bodies of requests.
        registry: Where models have names.
        draining: True from the moment it was told to stop.
        refusing: Set when no more work is accepted.
        streams: How many streams are at hand.
    """

    def __init__(self, settings: Settings, classifier: Classifier | None = None, *, load: Load | None = None) -> None:
        self.settings = settings
        self.guard = Guard.from_settings(settings)
        self.metrics = Metrics()
        self.memory = Memory(settings.max_held_bytes)
        self.registry = Registry(settings.models)
        self.draining = False
        self.refusing = asyncio.Event()
        self.streams = 0
        self._load: Load = load or partial(Classifier.load, device=settings.device, dtype=settings.dtype)
        self._first = classifier
        self._follows_champion = classifier is None and settings.model is None
        self._champion: str | None = None  # the one last taken up, or tried
        self._served: ServedModel | None = None
        self._replaced: ServedModel | None = None
        self._change: asyncio.Task[ServedModel] | None = None
        self._retirement: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    @property
    def served(self) -> ServedModel:
        """The model that serves.

        Raises:
            Problem: if there is none: the server is starting.
        """
        if self._served is None:
            raise not_ready("The model is being loaded.")
        return self._served

    def load(self) -> Classifier:
        """Load the model to begin with, if none was given.

        Raises:
            BundleError: if it cannot be loaded.
        """
        if self._first is None:
            if self._follows_champion:
                self._champion = self.registry.current()
            self._first = self._load(resolve(self.settings.model, self.registry))
        return self._first

    async def start(self) -> None:
        """Load the model, warm it up and serve with it.

        Raises:
            BundleError: if it cannot be loaded, or is no good.
        """
        classifier = await asyncio.to_thread(self.load)
        await asyncio.to_thread(warm_up, classifier)
        self._first = None  # from here on it is held by who serves with it
        self.metrics.watch(
            requests=lambda: sum(model.batcher.requests for model in self._models()),
            excerpts=lambda: sum(model.batcher.excerpts for model in self._models()),
            held_bytes=lambda: self.memory.held,
            streams=lambda: self.streams,
            models=lambda: len(self._models()),
        )
        self._serve_with(classifier)
        if self._follows_champion:
            self._follower = asyncio.create_task(self._follow())

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A place for a stream.

        Raises:
            Problem: if there is none.
        """
        if self.streams >= self.settings.max_streams:
            raise busy(5, "The server has as many streams as it may")
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    # --- changing the model -------------------------------------------------------------------------------------

    async def change(self, find: Callable[[], Path]) -> ServedModel:
        """Serve with another model from now on. Who is cancelled while waiting for it does not stop it.

        Args:
            find: Called in a thread; gives the folder of the bundle.

        Returns:
            The model, which serves now.

        Raises:
            Changing: if there is a change under way, or the last one is not over yet.
            BundleError: if the new model cannot be used; the old one goes on serving.
            Problem: if the server is being stopped.
        """
        if self._change is not None:
            raise Changing("Another change of the model is under way")
        self._change = asyncio.create_task(self._change_to(find))
        self._change.add_done_callback(self._changed)
        return await asyncio.shield(self._change)

    async def _change_to(self, find: Callable[[], Path]) -> ServedModel:
        if self._retirement is not None:
            await asyncio.wait({self._retirement}, timeout=_PATIENCE)
            if not self._retirement.done():
                raise Changing("The model before this one still finishes what it had accepted")
        try:
            classifier = await asyncio.to_thread(lambda: load_and_try(find(), self._load))
        except BundleError:
            raise
        except Exception as error:
            LOGGER.error("model failed", exc_info=True)
            raise BundleError("The model could not be loaded; the server's log has more.") from error
        if self.refusing.is_set():
            raise not_ready("The server is shutting down.")
        old = self.served
        self._serve_with(classifier)
        self._replaced = old
        self._retirement = asyncio.create_task(self._retire())
        LOGGER.info("model changed", extra={"fields": {"from": old.classifier.model, "to": classifier.model}})
        return self.served

    def _changed(self, change: asyncio.Task[ServedModel]) -> None:
        self._change = None
        error = None if change.cancelled() else change.exception()
        if isinstance(error, Changing):
            return
        outcome = "failed" if change.cancelled() or error else "done"
        self.metrics.model_changes.labels(outcome).inc()
        if isinstance(error, BundleError):
            LOGGER.error("model not changed", extra={"fields": {"reason": str(error)}})

    def _serve_with(self, classifier: Classifier) -> None:
        served = ServedModel(classifier, self.settings, self.metrics)
        served.batcher.start()
        self._served = served
        self.metrics.name_model(classifier.name, classifier.version, classifier.codebook.fingerprint)

    async def _retire(self) -> None:
        assert self._replaced is not None
        await self._replaced.retire()
        self._replaced = None

    async def _follow(self) -> None:
        """Take up each champion that is promoted; one that is no good is not tried again until another is promoted."""
        readable = True
        while True:
            await asyncio.sleep(self.settings.champion_seconds)
            try:
                champion = await asyncio.to_thread(self.registry.current)
            except BundleError as error:
                if readable:  # said once, not at every look
                    LOGGER.error("champion not known", extra={"fields": {"reason": str(error)}})
                readable = False
                continue
            readable = True
            if champion == self._champion:
                continue
            try:
                await self.change(lambda: self.registry.champion() or DEFAULT_BUNDLE)
            except Changing:
                continue  # it is still another at the next look
            except (BundleError, Problem):  # logged where it happened; or the server is being stopped
                pass
            self._champion = champion

    def _models(self) -> list[ServedModel]:
        return [model for model in (self._served, self._replaced) if model is not None]

    # --- stopping -----------------------------------------------------------------------------------------------

    def refuse(self) -> None:
        """Accept no more work; what was accepted is finished."""
        self.draining = True
        self.refusing.set()
        for model in self._models():
            model.batcher.close()

    async def stop(self) -> None:
        """Finish what was accepted and let the models go."""
        self.refuse()
        tasks = [task for task in (self._follower, self._change) if task is not None]
        if self._follower is not None:
            self._follower.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(model.batcher.finish() for model in self._models()))
        if self._retirement is not None:
            await self._retirement

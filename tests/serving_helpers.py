"""A stand-in for the model, and a real server around it on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

from serving.app import create_app
from serving.server import Server, bind, configure
from serving.settings import Settings
from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import Excerpt, Prediction


class FakeClassifier:
    """Gives each text codes that depend on it alone, and remembers the batches it was given.

    Attributes:
        gate: Predictions wait until it is set.
        seconds: How long an excerpt takes.
        batches: The texts of each batch.
    """

    name = "fake"
    version = "1"
    model = "fake@1"

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.codebook = Codebook.default()
        self.info: dict[str, Any] = {"base_model": "none"}
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = seconds
        self.batches: list[list[str]] = []

    def predict(self, excerpts: Sequence[Excerpt]) -> list[Prediction]:
        self.batches.append([excerpt.text for excerpt in excerpts])
        self.gate.wait(30)
        time.sleep(self.seconds * len(excerpts))
        for excerpt in excerpts:
            if "explode" in excerpt.text:
                raise RuntimeError(f"cannot digest: {excerpt.text}")
        return [self.predict_one(excerpt.text) for excerpt in excerpts]

    def predict_one(self, text: str) -> Prediction:
        """What it says of one text."""
        digest = iter(hashlib.sha256(text.encode()).digest() * 4)
        probabilities = {d.id: {c: next(digest) / 256 for c in d.code_ids} for d in self.codebook.dimensions}
        codes = {d: tuple(c for c, p in of.items() if p > 0.5) for d, of in probabilities.items()}
        groups = {d.id: d.groups_of(codes[d.id]) for d in self.codebook.dimensions}
        return Prediction(codes=codes, groups=groups, probabilities=probabilities, model=self.model)


@contextlib.contextmanager
def running(classifier: Any, **options: Any) -> Iterator[RunningServer]:
    """A server with these settings, listening on a free port."""
    settings = Settings(port=0, **options)
    app = create_app(settings, classifier)
    with bind(settings.host, 0) as bound:
        ready = threading.Event()
        server = Server(app.state.service, configure(app, settings), ready.set)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            assert ready.wait(10)
            yield RunningServer(server, app.state.service, bound.getsockname()[1], thread)
        finally:
            server.should_exit = True
            if hasattr(classifier, "gate"):
                classifier.gate.set()
            thread.join(30)
            assert not thread.is_alive(), "the server did not stop"


class RunningServer:
    """A server that runs in a thread."""

    def __init__(self, server: Server, service: Any, port: int, thread: threading.Thread) -> None:
        self.server = server
        self.service = service
        self.port = port
        self.thread = thread
        self.url = f"http://127.0.0.1:{port}"

    def client(self, **options: Any) -> httpx.Client:
        """A client of it."""
        # There is no TLS; without certificates to read, a client is made at once.
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=False, **options)


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


async def soon(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait in the event loop until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)

"""A stand-in for the model, and a real server around it on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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

    def __init__(self, *, seconds: float = 0.0, name: str = "fake", version: str = "1") -> None:
        self.name = name
        self.version = version
        self.model = f"{name}@{version}"
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
        digest = iter(hashlib.sha256(f"{self.model} {text}".encode()).digest() * 4)
        probabilities = {d.id: {c: next(digest) / 256 for c in d.code_ids} for d in self.codebook.dimensions}
        codes = {d: tuple(c for c, p in of.items() if p > 0.5) for d, of in probabilities.items()}
        groups = {d.id: d.groups_of(codes[d.id]) for d in self.codebook.dimensions}
        return Prediction(codes=codes, groups=groups, probabilities=probabilities, model=self.model)


@contextlib.contextmanager
def running(classifier: Any = None, *, load: Any = None, **options: Any) -> Iterator[RunningServer]:
    """A server with these settings, listening on a free port."""
    settings = Settings(port=0, **options)
    app = create_app(settings, classifier, load=load)
    with bind(settings.host, 0) as bound:
        ready = threading.Event()
        server = Server(app.service, configure(app, settings), ready.set)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            assert ready.wait(30)
            yield RunningServer(server, app.service, bound.getsockname()[1], thread)
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


class StreamConnection:
    """A stream to a server, sent and read at the test's own pace, as no HTTP library would.

    Args:
        port: Where the server listens.
        headers: Header lines, beside those that every stream has.
    """

    def __init__(self, port: int, *headers: str, content_type: str = "application/x-ndjson") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        lines = [
            "POST /v1/classify/stream HTTP/1.1",
            "Host: localhost",
            f"Content-Type: {content_type}",
            "Transfer-Encoding: chunked",
            *headers,
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self.socket.makefile("rb")
        self.status = 0
        self.headers: dict[str, str] = {}

    def __enter__(self) -> StreamConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, body: bytes) -> None:
        """Send some bytes of the body."""
        self.socket.sendall(f"{len(body):x}\r\n".encode() + body + b"\r\n")

    def end(self) -> None:
        """End the body."""
        self.socket.sendall(b"0\r\n\r\n")

    def read_head(self) -> int:
        """Read the answer's head; its status."""
        self.status = int(self._file.readline().split()[1])
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        return self.status

    def chunks(self) -> Iterator[bytes]:
        """The chunks of the answer, as they come; it is an error where the answer breaks off."""
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of the answer, as they come."""
        rest = b""
        for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(json.loads, lines)
        assert not rest, "the last line has no end"


def streamed(port: int, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The rows of a stream's answer, read while a thread sends what `lines` gives, until the answer ends."""
    over = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            for line in lines:
                if over.is_set():
                    return
                connection.send(line)
            connection.end()

    with StreamConnection(port) as connection:
        sender = threading.Thread(target=send)
        sender.start()
        try:
            assert connection.read_head() == 200
            yield from connection.rows()
        finally:
            over.set()
            with contextlib.suppress(OSError):  # the server may have closed it
                connection.socket.shutdown(socket.SHUT_RDWR)
            sender.join(10)

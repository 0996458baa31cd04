"""The server under load, from another process on loopback, against the bare model in the same run.

python -m benchmarks.serving_load [--clients 64] [--alone] [--overload 10] [--seconds 20] [--model MODEL]

--clients   closed loop: so many clients, each with one excerpt at a time; the rate against `Classifier.predict` over
            the same excerpts, measured in turns with it, in a process of its own that rests meanwhile
--alone     one client, one excerpt of 60 words at a time; its latency against that of `Classifier.predict`, in turns
--overload  open loop: so many times the rate that 64 clients reached; what is answered, how fast, and the memory

Without any of the three, all are run. Clients are plain sockets: what they send is made beforehand, and of an answer
they read the head and the length, since on a machine of few cores they take from the server what they use. What they
used is shown beside what the server used.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median, quantiles
from typing import Self

from benchmarks.excerpts import excerpts, sentences

FULL_CLIENTS = 64
MOST_CONNECTIONS = 1_000
ALONE_WORDS = 60
CHUNK = 1_024
"""Excerpts that the bare model is given at once, as `score` gives them."""


# --- the server and the bare model ------------------------------------------------------------------------------


class Server:
    """``tl-classifier serve`` in a process of its own."""

    def __init__(self, model: str | None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log"
        command = [sys.executable, "-m", "tl_classifier", "serve", "--port", "0"]
        command += ["--model", model] if model else []
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stderr=log)
        self.port = 0

    def __enter__(self) -> Self:
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+) ", self._log.read_text())):
            if self._process.poll() is not None:
                sys.exit(f"the server did not start: {self._log.read_text()}")
            time.sleep(0.1)
        self.port = int(found[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._folder.cleanup()

    def memory(self) -> float:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve_bare(pipe: Pipe, model: str | None) -> None:
    from tl_classifier import Classifier, Excerpt
    from tl_classifier.registry import resolve

    classifier = Classifier.load(resolve(model))
    while texts := pipe.recv():
        given = [Excerpt(text) for text in texts]
        began = time.perf_counter()
        for start in range(0, len(given), CHUNK):
            classifier.predict(given[start : start + CHUNK])
        pipe.send(time.perf_counter() - began)


class Bare:
    """The model alone, in a process of its own."""

    def __init__(self, model: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve_bare, args=(other, model), daemon=True)
        self._process.start()

    def seconds(self, texts: Sequence[str]) -> float:
        """How long it takes for these."""
        self._pipe.send(list(texts))
        taken: float = self._pipe.recv()
        return taken

    def close(self) -> None:
        """End it."""
        self._pipe.send([])
        self._process.join(30)


# --- clients ----------------------------------------------------------------------------------------------------


def request(text: str, *, path: str = "/v1/classify", body: object = None) -> bytes:
    """What is sent to have a text coded; other servers take it at another path, in another body."""
    sent = json.dumps(body or {"excerpts": [{"text": text}]}).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(sent)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + sent


class Connection:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a server on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, sent: bytes) -> int:
        """The status of the answer, when it is all there."""
        self._writer.write(sent)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await self._reader.readexactly(int(length[1]) if length else 0)
        return int(head[9:12])

    def ended(self) -> bool:
        """Whether the server has hung up."""
        return self._reader.at_eof()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


@dataclass
class Seen:
    """What clients saw.

    Attributes:
        statuses: Answers by status, and what was no answer by its kind.
        latencies: Seconds to each answer with status 200.
        refusals: Seconds to each 503.
        seconds: How long it went on.
    """

    statuses: Counter[int | str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, status: int, latency: float) -> None:
        """Note an answer."""
        self.statuses[status] += 1
        if status == 200:
            self.latencies.append(latency)
        elif status == 503:
            self.refusals.append(latency)

    @property
    def rate(self) -> float:
        """Excerpts a second."""
        return len(self.latencies) / self.seconds


async def closed_loop(port: int, requests: Iterator[bytes], *, clients: int, seconds: float) -> Seen:
    """Each client asks again when it has its answer; answers that come after the time is up do not count."""
    seen = Seen(seconds=seconds)
    end = time.perf_counter() + seconds

    async def client() -> None:
        connection = await Connection.open(port)
        while (began := time.perf_counter()) < end:
            status = await connection.ask(next(requests))
            if (now := time.perf_counter()) < end or status != 200:
                seen.add(status, now - began)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seen


async def open_loop(port: int, requests: Iterator[bytes], *, rate: float, seconds: float) -> Seen:
    """Requests come as they do from many people: at this rate, however the server does, with random gaps between."""
    seen = Seen()
    idle: deque[Connection] = deque()
    opened = 0
    tasks: set[asyncio.Task[None]] = set()
    rng = random.Random(0)

    async def one(due: float, sent: bytes) -> None:
        nonlocal opened
        connection = None
        try:
            while idle and connection is None:
                connection = idle.pop()
                if connection.ended():  # the server may hang up on who has asked nothing for long
                    connection.close()
                    opened -= 1
                    connection = None
            if connection is None:
                opened += 1
                connection = await Connection.open(port)
            status = await connection.ask(sent)
            seen.add(status, time.perf_counter() - due)
            idle.append(connection)
        except (OSError, asyncio.IncompleteReadError) as error:
            seen.statuses[type(error).__name__] += 1
            opened -= 1
            if connection is not None:
                connection.close()

    began = time.perf_counter()
    due = began
    while (now := time.perf_counter()) < began + seconds:
        while due <= now:
            if idle or opened < MOST_CONNECTIONS:
                task = asyncio.create_task(one(due, next(requests)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                await asyncio.sleep(0)
            else:
                seen.statuses["not sent: every connection waits"] += 1
            due += rng.expovariate(rate)
        await asyncio.sleep(max(due - time.perf_counter(), 0))
    seen.seconds = time.perf_counter() - began
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return seen


# --- what is shown ----------------------------------------------------------------------------------------------


def table(*rows: Sequence[object]) -> None:
    """Print a table; the first row is its head."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if not number:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return str(value)


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds."""
    return (median(values) * 1000, p95(values) * 1000) if values else (float("nan"), float("nan"))


def show_clients(server: Server, bare: Bare, texts: Sequence[str], *, clients: int, seconds: float) -> Seen:
    """The rate with so many clients against that of the bare model, in three turns."""
    requests = itertools.cycle([request(text) for text in texts])
    asyncio.run(closed_loop(server.port, requests, clients=clients, seconds=min(seconds / 4, 5)))  # warm
    bare.seconds(texts[:CHUNK])
    turns, rates = 3, []
    whole = Seen()
    used = 0.0
    for _ in range(turns):
        offline = len(texts) / bare.seconds(texts)
        before = server.cpu()
        seen = asyncio.run(closed_loop(server.port, requests, clients=clients, seconds=seconds / turns))
        used += server.cpu() - before
        rates.append((offline, seen.rate))
        whole.statuses += seen.statuses
        whole.latencies += seen.latencies
        whole.seconds += seen.seconds
    print(f"{clients} clients, one excerpt each, {whole.seconds:.0f} s in {turns} turns (excerpts a second)")
    table(
        ("turn", "bare model", "server", "ratio"),
        *((turn, bare_rate, rate, rate / bare_rate) for turn, (bare_rate, rate) in enumerate(rates, 1)),
        ("median", *(median(column) for column in zip(*rates, strict=True)), median(s / b for b, s in rates)),
    )
    table(
        ("median latency, ms", "p95, ms", "statuses", "server's processor time an excerpt, ms"),
        (*spread(whole.latencies), dict(whole.statuses), used / len(whole.latencies) * 1000),
    )
    return whole


def show_alone(server: Server, bare: Bare, *, count: int) -> None:
    """The latency of one excerpt of 60 words, against the bare model's."""
    rng, pool = random.Random(1), sentences()
    alone, inference = [], []

    async def run() -> None:
        connection = await Connection.open(server.port)
        for number in range(count + 10):
            words = " ".join(rng.choice(pool) for _ in range(ALONE_WORDS)).split()
            text = " ".join(words[: ALONE_WORDS - 1]) + f" {number}"
            sent = request(text)
            began = time.perf_counter()
            status = await connection.ask(sent)
            taken = time.perf_counter() - began
            if status != 200:
                sys.exit(f"the server answered {status}")
            of_model = bare.seconds([text])
            if number >= 10:
                alone.append(taken)
                inference.append(of_model)
        connection.close()

    asyncio.run(run())
    bare_median, limit = median(inference) * 1000, 1.3 * median(inference) * 1000 + 3
    print(f"alone: one excerpt of {ALONE_WORDS} words at a time, {count} of them, in turns with the bare model (ms)")
    table(
        ("", "median", "p95"),
        ("bare inference", *spread(inference)),
        ("server", *spread(alone)),
        ("1.3 x bare median + 3", limit, ""),
    )
    verdict = "within" if median(alone) * 1000 <= limit else "OVER"
    print(f"the server adds {median(alone) * 1000 - bare_median:.2f} ms at the median: {verdict} the limit\n")


def show_overload(server: Server, texts: Sequence[str], *, factor: float, seconds: float, full: Seen) -> None:
    """Many times the load that the server can carry."""
    requests = itertools.cycle([request(text) for text in texts])
    before = server.memory()
    used, own = server.cpu(), time.process_time()
    seen = asyncio.run(open_loop(server.port, requests, rate=factor * full.rate, seconds=seconds))
    used, own = server.cpu() - used, time.process_time() - own
    after = server.memory()
    print(f"overload: {factor:g} x {full.rate:.0f} excerpts a second for {seen.seconds:.0f} s")
    table(("answer", "count"), *seen.statuses.most_common())
    table(
        ("", "rate", "median, ms", "p95, ms"),
        (f"full load ({FULL_CLIENTS} clients)", full.rate, *spread(full.latencies)),
        ("accepted under overload", seen.rate, *spread(seen.latencies)),
        ("refused under overload", len(seen.refusals) / seen.seconds, *spread(seen.refusals)),
    )
    if seen.latencies:
        print(f"median of the accepted: {median(seen.latencies) / median(full.latencies):.2f} times that at full load")
    print(
        f"server's memory: {before:.0f} MiB before, {after:.0f} MiB after; processor time: server {used:.1f} s, "
        f"clients {own:.1f} s\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--overload", type=float, metavar="TIMES")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load, for --clients and for --overload")
    parser.add_argument("--excerpts", type=int, default=2_000, help="that differ")
    parser.add_argument("--model")
    options = parser.parse_args()
    everything = not (options.clients or options.alone or options.overload)
    texts = list(excerpts(options.excerpts))
    bare = Bare(options.model)
    with Server(options.model) as server:
        words = median(len(text.split()) for text in texts)
        print(f"{os.cpu_count()} processors; {len(texts)} excerpts, median {words:.0f} words\n")
        start = server.memory()
        if options.alone or everything:
            show_alone(server, bare, count=max(int(10 * options.seconds), 20))
        full = None
        if options.clients or everything:
            clients = options.clients or FULL_CLIENTS
            full = show_clients(server, bare, texts, clients=clients, seconds=options.seconds)
            if clients != FULL_CLIENTS:
                full = None
        if options.overload or everything:
            if full is None:
                requests = itertools.cycle([request(text) for text in texts])
                full = asyncio.run(
                    closed_loop(server.port, requests, clients=FULL_CLIENTS, seconds=min(options.seconds, 20))
                )
            show_overload(server, texts, factor=options.overload or 10, seconds=options.seconds, full=full)
        print(f"server's memory: {start:.0f} MiB when it had started, {server.memory():.0f} MiB at the end")
    bare.close()


if __name__ == "__main__":
    main()

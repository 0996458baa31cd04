"""The same load on this server and on others, with the same encoder behind each.

python -m benchmarks.serving_peers --litserve ENVIRONMENT --infinity ENVIRONMENT [--clients 64] [--seconds 15]

An environment is the folder of a Python environment with a peer in it: LitServe (``pip install litserve torch
transformers``) and infinity (``pip install infinity-emb[server,torch]``). Each client sends one excerpt at a time. The
servers run in turns, each alone on the machine; every one is warmed up before it is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.excerpts import excerpts
from benchmarks.serving_load import Server, closed_loop, request, spread, table
from tl_classifier.bundle import Bundle
from tl_classifier.registry import resolve

MODEL = "peer"
"""What infinity is told to call the model."""


def write_classifier(folder: Path, bundle: Bundle) -> None:
    """The bundle's encoder as transformers' own classifier with a head (untrained) of as many outputs."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    outputs = bundle.codebook.outputs
    model = AutoModelForSequenceClassification.from_pretrained(
        bundle.path, num_labels=outputs, problem_type="multi_label_classification", dtype=torch.float32
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(bundle.path).save_pretrained(folder)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, sent: bytes) -> Iterator[int]:
    """A server in a process of its own, until it has answered a first request."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while not answers(port, sent):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"{command[0]} did not start: {log.read()[-2000:]}")
                time.sleep(0.5)
            yield port
        finally:
            os.killpg(process.pid, 15)
            process.wait(60)


def answers(port: int, sent: bytes) -> bool:
    """Whether a server answers a request with 200."""
    head, _, body = sent.partition(b"\r\n\r\n")
    path = head.split()[1].decode()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litserve", type=Path)
    parser.add_argument("--infinity", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--model")
    options = parser.parse_args()
    texts = list(excerpts(2_000))
    rows: list[tuple[object, ...]] = [("server", "excerpts a second", "median, ms", "p95, ms", "statuses")]

    def measure(name: str, port: int, sent: list[bytes]) -> None:
        requests = itertools.cycle(sent)
        asyncio.run(closed_loop(port, requests, clients=options.clients, seconds=5))
        seen = asyncio.run(closed_loop(port, requests, clients=options.clients, seconds=options.seconds))
        rows.append((name, seen.rate, *spread(seen.latencies), dict(seen.statuses)))

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_classifier(folder, Bundle.open(resolve(options.model)))
        with Server(options.model) as server:
            measure("tl-classifier", server.port, [request(text) for text in texts])
        if options.litserve:
            sent = [request(text, path="/predict", body={"text": text}) for text in texts]
            script = str(Path(__file__).with_name("litserve_app.py"))
            port = free_port()
            with running([str(options.litserve / "bin" / "python"), script, str(folder), str(port)], port, sent[0]):
                measure("LitServe, batches of 32", port, sent)
        if options.infinity:
            sent = [request(text, path="/classify", body={"model": MODEL, "input": [text]}) for text in texts]
            port = free_port()
            command = [str(options.infinity / "bin" / "infinity_emb"), "v2", "--model-id", str(folder)]
            command += ["--served-model-name", MODEL, "--engine", "torch", "--device", "cpu", "--port", str(port)]
            with running(command, port, sent[0]):
                measure("infinity, /classify", port, sent)
    own = rows[1][1]
    assert isinstance(own, float)
    print(f"{options.clients} clients, one excerpt each, {options.seconds:g} s, {os.cpu_count()} processors")
    rows[0] += ("this server is so many times as fast",)
    table(rows[0], *((*row, own / float(str(row[1]))) for row in rows[1:]))
    print(json.dumps({str(row[0]): row[1] for row in rows[1:]}))


if __name__ == "__main__":
    main()

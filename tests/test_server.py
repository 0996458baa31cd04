"""The server, over real sockets: answers, problems, limits, keys, pages, logs, and a stop that drops nothing."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from serving.logs import JsonFormatter
from serving.security import Guard, new_key
from serving.settings import SettingsError, load_settings
from tests.serving_helpers import FakeClassifier, RunningServer, eventually, running, streamed
from tl_classifier import Classifier, Codebook
from tl_classifier.cli import app
from tl_classifier.corpus.transcripts import find_turns
from tl_classifier.decoding import Decoding
from tl_classifier.evidence import passages
from tl_classifier.excerpts import Excerpt, record

SECRET = "xylophone confession"
"""Stands for interview text: it must come back in no problem, log or metric."""

HEAD = (
    b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
)
"""Head of a request whose body the tests send in part."""


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger("serving"), logging.getLogger("uvicorn")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield stream
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.fixture(scope="module")
def model() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture(scope="module")
def server(model: FakeClassifier, log: io.StringIO) -> Iterator[RunningServer]:
    with running(model, max_request_bytes=200_000, max_excerpts=50, max_characters=1000) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def is_problem(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """Check that an answer is a problem of that kind, of the form of RFC 9457, and quotes nothing."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:tl-classifier:problem:{name}"
    assert problem["status"] == status
    assert problem["title"] and problem["detail"].endswith(".")
    assert problem["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
    assert "xylophone" not in answer.text
    return problem


# --- answers ----------------------------------------------------------------------------------------------------


def test_records_come_in_the_order_of_the_request_and_without_text(client: httpx.Client, model: FakeClassifier) -> None:
    sent = [
        Excerpt("Nobody had asked.", id="b", document="P1.txt", speaker="P1", turn=7),
        Excerpt("I was lost."),
        Excerpt("I was not the only one, and that helped.", id="a"),
    ]
    answer = client.post(
        "/v1/classify",
        json={
            "excerpts": [
                {"id": e.id, "text": e.text, "document": e.document, "speaker": e.speaker, "turn": e.turn} for e in sent
            ]
        },
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "model": {
            "name": "fake",
            "version": "1",
            "codebook": model.codebook.name,
            "codebook_version": model.codebook.version,
        },
        "predictions": [record(e, model.predict_one(e.text), model="fake@1", with_text=False) for e in sent],
    }
    assert list(answer.json()["predictions"][0]) == [
        *("id", "document", "speaker", "turn", "codes", "groups", "probabilities", "model")
    ]


def test_optional_fields_may_be_left_out(client: httpx.Client) -> None:
    answer = client.post("/v1/classify", json={"excerpts": [{"text": "Lunch was good."}]})
    got = answer.json()["predictions"][0]
    assert (got["id"], got["document"], got["speaker"], got["turn"]) == (None, None, None, None)
    assert client.post("/v1/classify", json={"excerpts": []}).json()["predictions"] == []
    of_a_table = client.post("/v1/classify", json={"excerpts": [{"text": "It was.", "turn": 12.0, "speaker": None}]})
    assert of_a_table.json()["predictions"][0]["turn"] == 12


def test_evidence_and_review(tiny_bundle: Path) -> None:
    """What is asked for beside the codes comes, is that of the classifier, and of each request alone."""
    codebook = Codebook.default()
    classifier = Classifier.load(tiny_bundle)
    limits = {0.9: np.full(10, 0.6)}, {0.9: np.full(5, np.inf)}
    classifier.decoding = Decoding(
        {
            dimension.id: replace(classifier.decoding.dimensions[dimension.id], accepted_from=limit)
            for dimension, limit in zip(codebook.dimensions, limits, strict=True)
        }
    )
    texts = ["I was lost. Nothing made sense\u2026 Why should the expert decide? Nobody asked!", "Shame and anger."]
    body = {"excerpts": [{"text": text} for text in texts]}
    with running(classifier) as server, server.client() as client:
        plain = client.post("/v1/classify", json=body).json()["predictions"]
        full = client.post("/v1/classify", json={**body, "evidence": True, "precision": 0.9}).json()["predictions"]
        refused = client.post("/v1/classify", json={**body, "precision": 0.5})
        again = client.post("/v1/classify", json=body).json()["predictions"]
    assert [{k: v for k, v in row.items() if k not in ("evidence", "review")} for row in full] == plain == again
    marks = set()
    for text, row in zip(texts, full, strict=True):
        for dimension, codes in row["codes"].items():
            assert list(row["evidence"][dimension]) == list(row["review"][dimension]) == codes
            assert all(tuple(span) in passages(text) for span in row["evidence"][dimension].values())
            for code, mark in row["review"][dimension].items():
                accepted = dimension == "stage" and row["probabilities"][dimension][code] >= 0.6
                assert mark == ("accepted" if accepted else "to review")
                marks.add(mark)
    assert marks == {"accepted", "to review"}
    problem = is_problem(refused, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "#/precision" and "0.9" in problem["detail"]


def test_a_large_request_is_answered_in_order(model: FakeClassifier) -> None:
    texts = [f"What I said in turn {i}. " + "And more. " * (i % 60) for i in range(3000)]
    with running(model) as server, server.client() as client:
        answer = client.post(
            "/v1/classify", json={"excerpts": [{"id": str(i), "text": t} for i, t in enumerate(texts)]}
        )
    predictions = answer.json()["predictions"]
    assert [p["id"] for p in predictions] == [str(i) for i in range(3000)]
    assert [p["probabilities"] for p in predictions] == [model.predict_one(t).probabilities for t in texts]


def test_many_clients_at_once_get_their_own_answers(server: RunningServer, model: FakeClassifier) -> None:
    def ask(number: int) -> None:
        with server.client() as client:
            for turn in range(5):
                text = f"Client {number} says thing {turn}."
                answer = client.post("/v1/classify", json={"excerpts": [{"text": text}]})
                assert answer.json()["predictions"][0]["probabilities"] == model.predict_one(text).probabilities

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))


def test_codebook_and_model(client: httpx.Client, model: FakeClassifier) -> None:
    assert client.get("/v1/codebook").json() == model.codebook.to_dict()
    assert client.get("/v1/model").json() == {
        "name": "fake",
        "version": "1",
        "codebook": model.codebook.name,
        "codebook_version": model.codebook.version,
        "codebook_fingerprint": model.codebook.fingerprint,
        "info": {"base_model": "none"},
    }


def test_health_and_readiness(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    head = client.head("/readyz")
    assert (head.status_code, head.content) == (200, b"")


# --- problems ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ([], "#", "The body must be an object."),
        ({}, "#/excerpts", "excerpts is missing."),
        ({"excerpts": SECRET}, "#/excerpts", "excerpts must be a list."),
        ({"excerpts": [SECRET]}, "#/excerpts/0", "excerpts[0] must be an object."),
        ({"excerpts": [{"text": "good"}, {"id": SECRET}]}, "#/excerpts/1/text", "excerpts[1].text is missing."),
        ({"excerpts": [{"text": [SECRET]}]}, "#/excerpts/0/text", "excerpts[0].text must be a string."),
        ({"excerpts": [{"text": None}]}, "#/excerpts/0/text", "excerpts[0].text must be a string."),
        ({"excerpts": [{"text": SECRET, "id": 7}]}, "#/excerpts/0/id", "excerpts[0].id must be a string."),
        (
            {"excerpts": [{"text": SECRET, "turn": "7"}]},
            "#/excerpts/0/turn",
            "excerpts[0].turn must be a whole number.",
        ),
        (
            {"excerpts": [{"text": SECRET, "turn": -1}]},
            "#/excerpts/0/turn",
            "excerpts[0].turn is too small: at least 0.",
        ),
        (
            {"excerpts": [{"text": SECRET, "speaker": SECRET * 100}]},
            "#/excerpts/0/speaker",
            "excerpts[0].speaker is too long: at most 1000 characters.",
        ),
        (
            {"excerpts": [{"text": SECRET, "turn": 0.5}]},
            "#/excerpts/0/turn",
            "excerpts[0].turn must be a whole number.",
        ),
        ({"excerpts": [{"text": SECRET, SECRET: 1}]}, "#/excerpts/0", "excerpts[0] has a field that is not known."),
        ({"excerpts": [], SECRET: 1}, "#", "The body has a field that is not known."),
        (
            {"excerpts": [{"text": "a"}, {"text": ""}]},
            "#/excerpts/1/text",
            "excerpts[1].text has no letter or digit to code.",
        ),
        ({"excerpts": [{"text": " \n...— "}]}, "#/excerpts/0/text", "excerpts[0].text has no letter or digit to code."),
        (
            {"excerpts": [{"text": SECRET * 51}]},
            "#/excerpts/0/text",
            "excerpts[0].text has 1020 characters, more than the 1000 that are allowed.",
        ),
    ],
)
def test_what_is_not_valid_is_named_by_its_place(client: httpx.Client, body: Any, pointer: str, words: str) -> None:
    problem = is_problem(client.post("/v1/classify", json=body), 422, "invalid-request")
    assert problem["detail"] == words
    assert problem["errors"] == [{"pointer": pointer, "detail": words}]


def test_every_bad_excerpt_is_named_and_none_is_scored(client: httpx.Client, model: FakeClassifier) -> None:
    scored = len(model.batches)
    answer = client.post("/v1/classify", json={"excerpts": [{"text": t} for t in ("fine", "", SECRET, "!?")]})
    problem = is_problem(answer, 422, "invalid-request")
    assert [e["pointer"] for e in problem["errors"]] == ["#/excerpts/1/text", "#/excerpts/3/text"]
    assert problem["detail"] == "excerpts[1].text has no letter or digit to code (1 more: see errors)."
    assert len(model.batches) == scored


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"xylophone",
        b'{"excerpts": [{"text": "xylophone',
        b'{"excerpts": [{"text": "xylophone \xff"}]}',
        b'{"excerpts": [{"text": "xylophone \\ud800"}]}',
        b"[" * 5000,
    ],
)
def test_malformed_json(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/classify", content=body, headers={"Content-Type": "application/json"})
    assert re.fullmatch(
        r"The body is not JSON in UTF-8: see line 1, column \d+\.", is_problem(answer, 400, "malformed-json")["detail"]
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["text", "id", "turn", "speaker", "excerpts", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.one_of(json_values, st.fixed_dictionaries({"excerpts": st.lists(json_values, max_size=4)})))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_json_is_answered_or_a_problem_of_the_client(client: httpx.Client, body: Any) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/classify", content=json.dumps(body), headers=headers)
    if answer.status_code == 200:
        assert len(answer.json()["predictions"]) == len(body["excerpts"])
    else:
        is_problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": ""},
    ],
)
def test_only_json_is_taken_so_no_form_of_a_web_page_gets_in(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/v1/classify", content=b'{"excerpts": [{"text": "xylophone"}]}', headers=headers)
    is_problem(answer, 415, "unsupported-media-type")


def test_json_with_its_charset_named_is_taken(client: httpx.Client) -> None:
    headers = {"Content-Type": 'application/json; charset="UTF-8"'}
    assert client.post("/v1/classify", content=b'{"excerpts": []}', headers=headers).status_code == 200


def test_unknown_addresses_and_methods(client: httpx.Client) -> None:
    is_problem(client.get(f"/v1/{SECRET}"), 404, "not-found")
    is_problem(client.post("/v1/classify/", json={"excerpts": []}), 404, "not-found")
    is_problem(client.get("/static/none.js"), 404, "not-found")
    is_problem(client.get("/static/%2e%2e/app.py"), 404, "not-found")
    problem = is_problem(client.get("/v1/classify"), 405, "method-not-allowed")
    assert problem["detail"] == "This address takes other methods: POST."
    assert client.get("/v1/classify").headers["allow"] == "POST"
    problem = is_problem(put := client.put("/v1/model"), 405, "method-not-allowed")
    assert (put.headers["allow"], problem["detail"]) == ("GET, POST", "This address takes other methods: GET, POST.")
    is_problem(client.delete("/v1/codebook"), 405, "method-not-allowed")


def test_too_many_excerpts(client: httpx.Client) -> None:
    answer = client.post("/v1/classify", json={"excerpts": [{"text": SECRET}] * 51})
    problem = is_problem(answer, 422, "too-many-excerpts")
    assert problem["errors"] == [{"pointer": "#/excerpts", "detail": problem["detail"]}]
    assert problem["detail"] == "A request may have 50 excerpts, this one has 51; send several requests."


def test_a_body_that_says_it_is_too_large_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/classify", json={"excerpts": [{"text": SECRET * 20_000}]})
    assert is_problem(answer, 413, "body-too-large")["detail"].startswith("A body may have 200000 bytes")


def test_a_body_that_grows_too_large_is_refused_while_it_arrives(client: httpx.Client, server: RunningServer) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b"x" * 1000] * 300

    answer = client.post("/v1/classify", content=chunks(), headers={"Content-Type": "application/json"})
    is_problem(answer, 413, "body-too-large")
    eventually(lambda: server.service.memory.held == 0)


def test_an_error_inside_tells_the_client_nothing_but_where_to_look(
    client: httpx.Client, log: io.StringIO, model: FakeClassifier
) -> None:
    answer = client.post("/v1/classify", json={"excerpts": [{"text": f"explode {SECRET}"}]})
    problem = is_problem(answer, 500, "internal-error")
    assert "RuntimeError" not in answer.text
    entry = next(e for e in entries(log) if e["event"] == "request failed")
    assert entry["request"] == problem["instance"].removeprefix("urn:uuid:")
    assert entry["error"] == "RuntimeError"
    assert any(place.endswith(" predict") for place in entry["trace"])


def entries(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_logs_and_metrics_tell_sizes_and_times_and_never_text(
    client: httpx.Client, log: io.StringIO, model: FakeClassifier
) -> None:
    body = json.dumps({"excerpts": [{"text": SECRET, "id": SECRET, "speaker": SECRET}]})
    answer = client.post(
        f"/v1/classify?{SECRET}",
        content=body,
        headers={"Content-Type": "application/json", "User-Agent": SECRET, "X-Request-ID": SECRET},
    )
    assert answer.status_code == 200
    request = answer.headers["x-request-id"]
    eventually(lambda: request in log.getvalue())
    entry = next(e for e in entries(log) if e.get("request") == request)
    assert entry.pop("time").endswith("+00:00")
    assert entry.pop("ms") > 0
    assert entry == {
        "level": "info",
        "event": "request",
        "request": request,
        "method": "POST",
        "path": "/v1/classify",
        "status": 200,
        "excerpts": 1,
        "bytes": len(body),
    }
    client.get(f"/{SECRET}")
    client.post("/v1/classify", content=SECRET.encode(), headers={"Content-Type": "application/json"})
    client.request("PROPFIND", f"/{SECRET}")
    assert "xylophone" not in log.getvalue()
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert "xylophone" not in metrics.text
    assert re.search(r'tlc_requests_total\{method="POST",route="/v1/classify",status="200"\} \d', metrics.text)
    assert 'route="(other)",status="404"' in metrics.text
    info = f'tlc_model_info{{codebook="{model.codebook.fingerprint}",name="fake",version="1"}} 1.0'
    assert info in metrics.text
    assert "tlc_queue_requests 0.0" in metrics.text
    assert "tlc_held_bytes 0.0" in metrics.text


# --- load -------------------------------------------------------------------------------------------------------


def ask_in_background(pool: ThreadPoolExecutor, server: RunningServer, *texts: str) -> Any:
    def ask() -> httpx.Response:
        with server.client() as client:
            return client.post("/v1/classify", json={"excerpts": [{"text": text} for text in texts]})

    return pool.submit(ask)


def test_a_full_queue_answers_503_at_once_and_the_rest_goes_on() -> None:
    model = FakeClassifier()
    with running(model, queue_requests=2) as server, server.client() as client, ThreadPoolExecutor() as pool:
        model.gate.clear()
        accepted = [ask_in_background(pool, server, "one"), ask_in_background(pool, server, "two")]
        eventually(lambda: server.service.served.batcher.requests == 2)
        began = time.monotonic()
        refused = client.post("/v1/classify", json={"excerpts": [{"text": "three"}]})
        assert time.monotonic() - began < 1
        is_problem(refused, 503, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/readyz").status_code == 200  # busy, and still the one to ask later
        model.gate.set()
        assert [a.result().status_code for a in accepted] == [200, 200]
        assert client.post("/v1/classify", json={"excerpts": [{"text": "three"}]}).status_code == 200


def test_the_text_held_at_once_is_bounded() -> None:
    model = FakeClassifier()
    with (
        running(model, max_request_bytes=5000, max_held_bytes=8000, max_line_bytes=2000) as server,
        server.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        model.gate.clear()
        accepted = ask_in_background(pool, server, "a" * 4500)
        eventually(lambda: server.service.served.batcher.requests == 1)
        refused = client.post("/v1/classify", json={"excerpts": [{"text": "b" * 4500}]})
        is_problem(refused, 503, "busy")
        assert refused.headers["retry-after"] == "1"
        model.gate.set()
        assert accepted.result().status_code == 200
        eventually(lambda: server.service.memory.held == 0)
        assert client.post("/v1/classify", json={"excerpts": [{"text": "b" * 4500}]}).status_code == 200


def test_a_client_that_hangs_up_frees_its_place(log: io.StringIO) -> None:
    model = FakeClassifier()
    with running(model) as server:
        model.gate.clear()
        for _ in range(3):
            with server.client() as client, pytest.raises(httpx.ReadTimeout):
                client.post("/v1/classify", json={"excerpts": [{"text": "gone"}] * 10}, timeout=0.2)
        eventually(lambda: server.service.served.batcher.requests == 0)
        assert server.service.served.batcher.excerpts == 0
        eventually(lambda: server.service.memory.held == 0)
        eventually(lambda: [e.get("status") for e in entries(log)[-3:]] == [499] * 3)
        model.gate.set()
        with server.client() as client:
            assert client.post("/v1/classify", json={"excerpts": [{"text": "here"}]}).status_code == 200
    assert sum(text == "gone" for batch in model.batches for text in batch) <= 20  # two batches were in hand


def test_a_client_that_hangs_up_while_sending_frees_its_memory() -> None:
    with running(FakeClassifier()) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(HEAD + b"x" * 5000)
            eventually(lambda: server.service.memory.held == 5000)
        eventually(lambda: server.service.memory.held == 0)


def test_time_is_bounded() -> None:
    model = FakeClassifier()
    with running(model, request_seconds=0.3) as server, server.client() as client:
        model.gate.clear()
        answer = client.post("/v1/classify", json={"excerpts": [{"text": SECRET}]})
        is_problem(answer, 504, "timeout")
        eventually(lambda: server.service.served.batcher.requests == 0)
        model.gate.set()

        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(HEAD + b"x")
            connection.settimeout(10)
            received = b""
            while part := connection.recv(65536):
                received += part
        assert received.startswith(b"HTTP/1.1 408")
        assert b"urn:tl-classifier:problem:body-timeout" in received


# --- stopping ---------------------------------------------------------------------------------------------------


def test_a_stop_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    model = FakeClassifier()
    with running(model, drain_seconds=1.5) as server, server.client() as client, ThreadPoolExecutor() as pool:
        assert client.get("/readyz").status_code == 200
        model.gate.clear()
        accepted = [ask_in_background(pool, server, f"text {i}") for i in range(5)]
        eventually(lambda: server.service.served.batcher.requests == 5)

        server.server.handle_exit(signal.SIGTERM, None)
        not_ready = client.get("/readyz")
        is_problem(not_ready, 503, "not-ready")  # readiness goes first ...
        assert not_ready.headers["connection"] == "close"
        healthy = client.get("/healthz")
        assert (healthy.status_code, healthy.headers["connection"]) == (200, "close")
        accepted.append(ask_in_background(pool, server, "text 5"))  # ... while work is still accepted,
        eventually(lambda: server.service.served.batcher.requests == 6)
        eventually(lambda: not server.service.served.batcher.accepting)
        with pytest.raises(httpx.TransportError):  # until it is refused
            for _ in range(100):
                is_problem(client.post("/v1/classify", json={"excerpts": [{"text": "late"}]}), 503, "not-ready")
        model.gate.set()
        assert [a.result().status_code for a in accepted] == [200] * 6
        server.thread.join(10)
        assert not server.thread.is_alive()


def test_the_process_answers_every_accepted_request_before_it_ends(tiny_bundle: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tl_classifier", "serve", "--model", str(tiny_bundle), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("TLC_")},
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        address = re.search(r"tiny@0\.0 is served on (http://127\.0\.0\.1:\d+) ", first)
        assert address, first
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
        reader.start()

        stopped = threading.Event()
        whole: list[None] = []  # an entry for each whole answer
        texts = [f"I had never asked why before, {i} times." for i in range(20)]

        def ask(_: int) -> list[int | str]:
            outcomes: list[int | str] = []
            with httpx.Client(base_url=address[1], timeout=30, trust_env=False) as client:
                while not outcomes or outcomes[-1] == 200:
                    try:
                        answer = client.post("/v1/classify", json={"excerpts": [{"text": t} for t in texts]})
                    except httpx.TransportError:
                        assert stopped.is_set(), "a request was lost before the signal"
                        outcomes.append("refused")
                        continue
                    outcomes.append(answer.status_code)
                    if answer.status_code == 200:
                        assert len(answer.json()["predictions"]) == 20
                        whole.append(None)
            return outcomes

        def stream(_: int) -> list[dict[str, Any]]:
            lines = (json.dumps({"id": str(i), "text": texts[i % 20]}).encode() + b"\n" for i in itertools.count())
            return list(streamed(int(address[1].rpartition(":")[2]), lines))

        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, n) for n in range(4)]
            streams = [pool.submit(stream, n) for n in range(2)]
            eventually(lambda: len(whole) >= 8, 60)
            stopped.set()
            process.send_signal(signal.SIGTERM)
            outcomes = [a.result() for a in asked]
            answers = [s.result() for s in streams]
        assert process.wait(20) == 0
        reader.join(10)
    finally:
        process.kill()
        process.wait()
    answered = sum(o == 200 for of_client in outcomes for o in of_client)
    assert {o for of_client in outcomes for o in of_client} <= {200, 503, "refused"}
    for *records, last in answers:  # a record for each line before the last, which says from where on there is none
        assert [r["id"] for r in records] == [str(i) for i in range(len(records))]
        assert (last["line"], last["ended"]) == (len(records) + 1, True)
        assert last["problem"]["type"] == "urn:tl-classifier:problem:not-ready"
    logged = [json.loads(line) for line in lines]
    # What the server finished, its clients have.
    assert sum(e.get("status") == 200 and e["path"] == "/v1/classify" for e in logged) == answered
    in_streams = [e["excerpts"] for e in logged if e.get("path") == "/v1/classify/stream"]
    assert sorted(in_streams) == sorted(len(records) - 1 for records in answers)
    assert {e.get("status") for e in logged} <= {200, 503}


# --- who may ask ------------------------------------------------------------------------------------------------


def test_keys_are_asked_for_where_they_are_set(tmp_path: Path) -> None:
    (one, one_hash), (two, two_hash) = new_key(), new_key()
    assert one_hash == hashlib.sha256(one.encode()).hexdigest()
    keys = tmp_path / "keys"
    keys.write_text(f"# who may ask\n{one_hash} Ana\n\n")
    with running(FakeClassifier(), api_keys_file=keys, api_key_hashes=two_hash) as server, server.client() as client:
        for headers in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer nonsense"},
            {"Authorization": f"Basic {one}"},
            {"Authorization": f"Bearer {one_hash}"},
        ):
            for path in ("/v1/codebook", "/v1/model", "/metrics", "/nowhere"):
                answer = client.get(path, headers=headers)
                is_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
            is_problem(client.post("/v1/classify", json={"excerpts": []}, headers=headers), 401, "unauthorized")
        for key in (one, two):
            headers = {"Authorization": f"Bearer {key}"}
            assert client.post("/v1/classify", json={"excerpts": []}, headers=headers).status_code == 200
        for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/static/docs.js"):
            assert client.get(path).status_code == 200
        document = client.get("/openapi.json").json()
        assert document["paths"]["/v1/classify"]["post"]["security"] == [{"key": []}]


def test_a_server_that_others_can_reach_needs_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "interviews.example.org"):
        with pytest.raises(SettingsError, match="needs an API key"):
            Guard.from_settings(load_settings(host=host))
    assert Guard.from_settings(load_settings(host="0.0.0.0", api_key_hashes="a" * 64)).asks_for_key
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.1"):
        assert not Guard.from_settings(load_settings(host=host)).asks_for_key


@pytest.mark.parametrize(
    "host", ["evil.example.org", "evil.example.org:8000", "localhost.evil.example.org", "", "127.0.0.1.nip.io"]
)
def test_foreign_names_of_this_machine_are_refused(client: httpx.Client, host: str) -> None:
    is_problem(client.post("/v1/classify", json={"excerpts": []}, headers={"Host": host}), 421, "unknown-host")
    is_problem(client.get("/", headers={"Host": host}), 421, "unknown-host")


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "LOCALHOST:1", "127.0.0.1", "[::1]:8000"])
def test_its_own_names_are_not(client: httpx.Client, host: str) -> None:
    assert client.get("/readyz", headers={"Host": host}).status_code == 200


def test_other_names_can_be_allowed() -> None:
    with (
        running(FakeClassifier(), allowed_hosts="interviews.example.org, localhost") as server,
        server.client() as client,
    ):
        assert client.get("/readyz", headers={"Host": "Interviews.example.org"}).status_code == 200
        is_problem(client.get("/readyz"), 421, "unknown-host")


def test_no_page_of_another_origin_is_let_in(client: httpx.Client) -> None:
    preflight = client.options(
        "/v1/classify", headers={"Origin": "https://evil.example.org", "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 405
    answers = [preflight, client.get("/readyz", headers={"Origin": "https://evil.example.org"}), client.get("/nowhere")]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in answer.headers


# --- pages and OpenAPI ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client: httpx.Client, page: str) -> None:
    answer = client.get(page)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "connect-src 'self'" in policy
    assert "http" not in policy
    links = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert [link for link in links if link.endswith(".js")]
    for link in links:
        assert link == "data:," or re.fullmatch(r"\w[^:]*", link), link
        if link != "data:,":
            assert client.get(f"/{link}").status_code == 200, link
    assert not re.search(r"<script>|<style|\bon\w+=|style=", answer.text), "the policy forbids what is inline"
    assert client.get("/redoc").status_code == 404


def test_openapi_describes_every_answer_with_examples(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        *("/v1/classify", "/v1/classify/stream", "/v1/codebook", "/v1/limits", "/v1/model"),
        *("/healthz", "/readyz", "/metrics"),
    }
    classify = document["paths"]["/v1/classify"]["post"]
    assert set(classify["responses"]) == {
        *("200", "400", "401", "408", "413", "415", "421", "422", "500", "503", "504")
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"] and operation["description"]
            for status, response in operation["responses"].items():
                if status != "200":
                    media = response["content"]["application/problem+json"]
                    assert media["examples"]
                    assert all(e["value"]["status"] == int(status) for e in media["examples"].values())
    schemas = document["components"]["schemas"]
    assert schemas["ClassifyRequest"]["properties"]["excerpts"]["maxItems"] == 50
    assert schemas["ExcerptIn"]["properties"]["text"]["maxLength"] == 1000
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references == set(schemas)
    stream = document["paths"]["/v1/classify/stream"]["post"]
    sent = stream["requestBody"]["content"]["application/x-ndjson"]["example"]
    answer = client.post("/v1/classify/stream", content=sent, headers={"Content-Type": "application/x-ndjson"})
    shown = stream["responses"]["200"]["content"]["application/x-ndjson"]["example"]
    for got, told in zip(answer.text.splitlines(), shown.splitlines(), strict=True):
        assert list(json.loads(got)) == list(json.loads(told))
    example = schemas["ClassifyRequest"]["examples"][0]
    assert client.post("/v1/classify", json=example).status_code == 200


# The page finds turns as `score` does, so that a transcript is cut alike in both. Its module is run by node.

TRANSCRIPTS = [
    (resources.files("tl_classifier") / "samples" / "interview.txt").read_text("utf-8"),
    "INTERVIEWER: What happened?\nP1: Nothing.\nRemember: nobody asked.\n\nP1: I did: later.\n",
    "Two men talk.\n\nAna María: one\r\nB. Jones: two\r\nAna  maría: three\r\nB. Jones:four\r\n",
    "Speaker 1: one\nspeaker 2: two\nSpeaker 3 (F): three\n",
    "NOTE: this is prose.\n\nAnd this, too: prose.\n   \n\nEnd.",
    "I thought: why? I thought: why not?\nFG2-P3: yes\nÉTÉ: oui\n2: no\nP1:\n",
    "  interviewee A:   a\n\tinterviewee B:\tb\nHow so (laughs): c\nDr. Smith: d\nDr. Smith: e",
    "\n\n",
]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")


def run_with_node(folder: Path, script: str, given: Any) -> Any:
    """What a script prints as JSON; it has the page's functions in `page`, and `given` in `given`."""
    module = resources.files("serving") / "static" / "transcript.js"
    (folder / "transcript.mjs").write_bytes(module.read_bytes())
    (folder / "run.mjs").write_text(
        'import * as page from "./transcript.mjs";\nimport { readFileSync } from "node:fs";\n'
        f'const given = JSON.parse(readFileSync(0, "utf8"));\n{script}'
    )
    command = ["node", str(folder / "run.mjs")]
    ran = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@needs_node
def test_the_page_finds_the_turns_that_score_finds(tmp_path: Path) -> None:
    found = run_with_node(tmp_path, "console.log(JSON.stringify(given.map(page.findTurns)));", TRANSCRIPTS)
    assert found == [
        [{"speaker": turn.speaker, "text": text[turn.start : turn.end]} for turn in find_turns(text)]
        for text in TRANSCRIPTS
    ]


@needs_node
def test_the_page_reads_and_writes_tables(tmp_path: Path) -> None:
    table = '\ufeffID;Text;turn\r\na;"He said ""no"";\nthen left";7\r\n;;\r\nb; plain ;x'
    rows = [["id", "text"], ["a", 'quo"te, comma\nline'], ["", "ü"]]
    script = """
        let error = null;
        try { page.readTable("words,id\\na,b\\n"); } catch (e) { error = e.message; }
        const again = page.parseCsv(page.writeCsv(given.rows).slice(1));
        console.log(JSON.stringify([page.readTable(given.table), again, error]));
    """
    read, again, error = run_with_node(tmp_path, script, {"table": table, "rows": rows})
    about = {"document": None, "speaker": None}
    assert read == [
        {"id": "a", **about, "turn": 7, "text": 'He said "no";\nthen left'},
        {"id": "b", **about, "turn": None, "text": " plain "},
    ]
    assert again == rows
    assert error == "The table has no column named text; its first row must have one."


# --- settings and the command -----------------------------------------------------------------------------------


def test_settings_come_from_options_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLC_PORT", "9000")
    monkeypatch.setenv("TLC_MAX_REQUEST_BYTES", "1MiB")
    monkeypatch.setenv("TLC_API_KEY_HASHES", f"{'a' * 64}, {'B' * 64}")
    settings = load_settings(port=None, max_excerpts=5)
    assert (settings.port, settings.max_request_bytes, settings.max_excerpts) == (9000, 2**20, 5)
    assert settings.api_key_hashes == ("a" * 64, "b" * 64)
    assert load_settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 70000}, r"--port cannot be used"),
        ({"max_request_bytes": "lots"}, r"--max-request-bytes cannot be used"),
        ({"max_excerpts": 30_000}, r"queue_excerpts \(20000\) must be at least max_excerpts \(30000\)"),
        ({"max_request_bytes": "1GiB"}, r"max_held_bytes \(134217728\) must be at least max_request_bytes"),
        ({"api_key_hashes": "my-key"}, r"--api-key-hashes cannot be used: it must be 64 hexadecimal digits"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        load_settings(**options)
    assert "my-key" not in str(error.value)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLC_QUEUE_REQUESTS", "many")
    with pytest.raises(SettingsError, match="TLC_QUEUE_REQUESTS cannot be used: input should be a valid integer"):
        load_settings()


def test_a_file_of_keys_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        Guard.from_settings(load_settings(api_keys_file=keys))
    keys.write_text("# nobody\n")
    with pytest.raises(SettingsError, match="has no key in it"):
        Guard.from_settings(load_settings(api_keys_file=keys))
    keys.write_text(f"{'a' * 64}\ntlc_secret\n")
    with pytest.raises(SettingsError, match="line 2: a line must start with the hash") as error:
        Guard.from_settings(load_settings(api_keys_file=keys))
    assert "tlc_secret" not in str(error.value)


def test_a_new_key_is_printed_with_its_hash() -> None:
    result = CliRunner().invoke(app, ["serve", "--new-key"])
    assert result.exit_code == 0
    key, key_hash = re.search(r"^(tlc_\S+)$", result.stdout, re.M), re.search(r"^([0-9a-f]{64})$", result.stdout, re.M)
    assert key and key_hash
    assert hashlib.sha256(key[1].encode()).hexdigest() == key_hash[1]


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--port", str(port)])
    assert isinstance(result.exception, SettingsError)
    assert str(result.exception) == (
        f"Port {port} on 127.0.0.1 is in use by another program; choose another with --port."
    )


def test_an_address_of_another_machine_is_one_sentence() -> None:
    variables = {"TLC_API_KEY_HASHES": "a" * 64}
    result = CliRunner().invoke(app, ["serve", "--host", "192.0.2.1"], env=variables)
    assert isinstance(result.exception, SettingsError)
    assert str(result.exception) == "This machine cannot listen on 192.0.2.1: it is not an address of its own."
    result = CliRunner().invoke(app, ["serve", "--host", "no-such-host.invalid"], env=variables)
    assert isinstance(result.exception, SettingsError)


def test_the_help_tells_the_true_defaults() -> None:
    text = " ".join(CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "400", "TERM": "dumb"}).stdout.split())
    defaults = load_settings()
    for name in ("host", "port", "max_excerpts", "max_characters", "queue_requests", "queue_excerpts", "device"):
        assert re.search(rf"--{name.replace('_', '-')} [^\[]*\[default: {getattr(defaults, name)}\]", text), name
    assert defaults.max_request_bytes == 32 * 2**20 and re.search(r"--max-request-bytes [^\[]*\[default: 32MiB\]", text)
    assert re.search(rf"--request-seconds [^\[]*\[default: {defaults.request_seconds:g}\]", text)
    assert re.search(rf"--drain-seconds [^\[]*\[default: {defaults.drain_seconds:g}\]", text)

"""The client, against real servers: answers, requests cut to size, patience, and errors that hold no text."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from serving.security import new_key
from tests.serving_helpers import FakeClassifier, RunningServer, running
from tl_classifier.client import (
    AsyncClient,
    Busy,
    Client,
    ClientError,
    InvalidRequest,
    NotAuthorized,
    ProblemDetail,
    ServerFailure,
    Unreachable,
)
from tl_classifier.client.retrying import Deadline, retry_after
from tl_classifier.client.wire import Cutter
from tl_classifier.excerpts import Excerpt, Prediction

SECRET = "xylophone confession"


@pytest.fixture(scope="module")
def model() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture(scope="module")
def server(model: FakeClassifier) -> Iterator[RunningServer]:
    with running(model, max_excerpts=20, max_request_bytes=4000, max_characters=1000, batch_excerpts=4) as server:
        yield server


def test_texts_and_excerpts_are_coded_in_their_order_in_as_many_requests_as_it_takes(
    server: RunningServer, model: FakeClassifier
) -> None:
    texts = [f"Thing {i}, told at length. " + "So it went. " * (i % 30) for i in range(110)]
    items = [
        Excerpt(t, id="ü", document="d", turn=3, start=5, context="Why?") if i % 2 else t for i, t in enumerate(texts)
    ]
    with Client(server.url) as client:
        found = client.classify(items)
        assert found == [model.predict_one(t) for t in texts]
        assert client.classify([]) == []

    async def run() -> list[Prediction]:
        async with AsyncClient(server.url) as client:
            return await client.classify(items)

    assert asyncio.run(run()) == found


def test_what_is_known_of_the_server(server: RunningServer, model: FakeClassifier) -> None:
    with Client(server.url + "/") as client:
        assert client.ready()
        assert client.codebook() == model.codebook
        card = client.model()
        assert (card.name, card.version, card.codebook_fingerprint) == ("fake", "1", model.codebook.fingerprint)
        limits = client.limits()
        assert (limits.request_excerpts, limits.request_bytes, limits.excerpt_characters) == (20, 4000, 1000)

    async def run() -> None:
        async with AsyncClient(server.url) as client:
            assert await client.ready()
            assert await client.codebook() == model.codebook
            assert await client.model() == card
            assert await client.limits() == limits

    asyncio.run(run())


def test_a_stream_gives_each_excerpt_with_its_prediction_or_its_problem(
    server: RunningServer, model: FakeClassifier
) -> None:
    taken = 0

    def given() -> Iterator[str | Excerpt]:
        nonlocal taken
        for taken in range(1, 101):
            yield "..." if taken % 10 == 0 else Excerpt(f"Said {taken} times.", id=str(taken))

    with Client(server.url) as client:
        found = []
        for excerpt, outcome in client.stream(given()):
            found.append((excerpt, outcome))
            assert taken <= len(found) + 2 * client.limits().stream_ahead_excerpts, "it does not wait for the reader"
    assert [e.text for e, _ in found] == ["..." if n % 10 == 0 else f"Said {n} times." for n in range(1, 101)]
    for excerpt, outcome in found:
        if excerpt.text == "...":
            assert isinstance(outcome, ProblemDetail)
            assert outcome.detail == "text has no letter or digit to code."
            assert outcome.errors == (("#/text", outcome.detail),)
        else:
            assert outcome == model.predict_one(excerpt.text)

    def same(one: list[Any], other: list[Any]) -> bool:  # but for the ids of the requests
        assert len(one) == len(other) == 100
        return all(
            a[0] == b[0] and getattr(a[1], "detail", a[1]) == getattr(b[1], "detail", b[1])
            for a, b in zip(one, other, strict=True)
        )

    async def numbered() -> AsyncIterator[str | Excerpt]:
        for item in given():
            yield item

    async def run() -> None:
        async with AsyncClient(server.url) as client:
            assert same([pair async for pair in client.stream(numbered())], found)
            assert same([pair async for pair in client.stream(given())], found)

    asyncio.run(run())


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 6), st.integers(30, 120))
@hypothesis_settings(max_examples=50)
def test_a_corpus_is_cut_into_parts_that_fit_and_lose_nothing(sizes: list[int], most: int, most_bytes: int) -> None:
    texts = ["a" * size for size in sizes]
    parts = list(Cutter(most, most_bytes).cut(texts))
    assert [item.excerpt.text for part in parts for item in part] == texts
    assert all(parts)
    for part in parts:
        assert len(part) <= most
        assert len(part) == 1 or sum(len(item.body) + 1 for item in part) <= most_bytes


def test_what_cannot_be_coded_is_named_by_its_place_in_the_whole_list(server: RunningServer) -> None:
    texts = [f"{SECRET} {i}" for i in range(50)]
    texts[43] = "..."
    with Client(server.url) as client, pytest.raises(InvalidRequest) as caught:
        client.classify(texts)
    assert caught.value.problem.errors[0] == ("#/excerpts/43/text", "excerpts[43].text has no letter or digit to code.")
    assert str(caught.value) == "excerpts[43].text has no letter or digit to code."
    with Client(server.url) as client:
        with pytest.raises(InvalidRequest) as large:
            client.classify(["short", SECRET * 500])
        with pytest.raises(InvalidRequest):
            client.classify(["lone \ud800 surrogate"])
        with pytest.raises(TypeError):
            client.classify("one text")
        with pytest.raises(TypeError):
            client.classify([7])  # type: ignore[list-item]
    assert_no_text(caught.value)
    assert_no_text(large.value)


def assert_no_text(error: BaseException | None) -> None:
    """Nothing that a report of the error could show has the text: neither it nor what led to it."""
    while error is not None:
        assert "xylophone" not in f"{error!r} {error} {vars(error)}"
        assert getattr(error, "_request", None) is None
        error = error.__cause__ or error.__context__


def test_keys(model: FakeClassifier) -> None:
    key, key_hash = new_key()
    with running(model, api_key_hashes=key_hash) as server:
        with Client(server.url, api_key=key) as client:
            assert len(client.classify(["Good."])) == 1
        with Client(server.url) as client, pytest.raises(NotAuthorized) as caught:
            client.classify([SECRET])
    assert caught.value.problem.status == 401
    assert key not in f"{caught.value!r}"


def test_a_failure_of_the_server_is_not_tried_again(server: RunningServer, model: FakeClassifier) -> None:
    before = len(model.batches)
    with Client(server.url) as client, pytest.raises(ServerFailure) as caught:
        client.classify([f"explode {SECRET}"])
    assert caught.value.problem.type == "urn:tl-classifier:problem:internal-error"
    assert len(model.batches) == before + 1
    assert_no_text(caught.value)


def test_addresses_that_cannot_be() -> None:
    for address in ("127.0.0.1:8000", "ftp://localhost", "http://", ""):
        with pytest.raises(ClientError, match="must look like"):
            Client(address)


def test_nobody_there_is_an_error_at_the_deadline() -> None:
    with Client("http://127.0.0.1:1", deadline=0.6) as client:
        assert not client.ready()
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"The server at http://127\.0\.0\.1:1 cannot be reached") as caught:
            client.classify([SECRET])
        assert 0.12 < time.monotonic() - began < 10
    assert_no_text(caught.value)
    assert caught.value.__context__ is None


# --- patience: against servers that answer as they are told ------------------------------------------------------

Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]

LIMITS = {
    **{"request_bytes": 10_000, "request_excerpts": 10, "excerpt_characters": 1000, "line_bytes": 1000},
    **{"stream_ahead_excerpts": 4, "stream_ahead_bytes": 1000},
}


@contextmanager
def scripted(*answers: Answer) -> Iterator[tuple[str, list[tuple[float, bytes]]]]:
    """A server that answers each POST as the next of `answers` says; its address, and when what was posted."""
    posts: list[tuple[float, bytes]] = []
    script = iter(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            reply(200, LIMITS)(self, b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((time.monotonic(), body))
            next(script)(self, body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(status: int, body: Any, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def hang_up(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
    handler.close_connection = True
    handler.connection.close()


def row(text: str) -> dict[str, Any]:
    return {"codes": {"d": [text]}, "groups": {"d": []}, "probabilities": {"d": {text: 1.0}}, "model": "m@1"}


def code(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    rows = [row(e["text"]) for e in json.loads(body)["excerpts"]]
    reply(200, {"model": {}, "predictions": rows})(handler, body)


def code_lines(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    rows = [row(json.loads(line)["text"]) for line in body.splitlines()]
    reply(200, "".join(json.dumps(r) + "\n" for r in rows).encode())(handler, body)


def code_two_and_stop(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    rows: list[dict[str, Any]] = [row(json.loads(line)["text"]) for line in body.splitlines()[:2]]
    rows.append({"line": 3, "problem": problem(503), "ended": True})
    reply(200, "".join(json.dumps(r) + "\n" for r in rows).encode())(handler, body)


def problem(status: int) -> dict[str, Any]:
    return {"type": "urn:x", "title": "No", "status": status, "detail": "Not now.", "instance": "urn:uuid:1"}


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_busy_and_broken_are_tried_again_when_the_server_says(kind: str) -> None:
    answers = [
        reply(503, problem(503), Retry_After="1"),
        reply(429, problem(429)),
        hang_up,
        reply(502, b"<html>", Content_Type="text/html"),
        code,
    ]
    with scripted(*answers) as (address, posts):
        if kind == "sync":
            with Client(address) as client:
                found = client.classify(["a", "b"])
        else:

            async def run() -> list[Prediction]:
                async with AsyncClient(address) as client:
                    return await client.classify(["a", "b"])

            found = asyncio.run(run())
    assert [p.codes for p in found] == [{"d": ("a",)}, {"d": ("b",)}]
    assert len(posts) == 5
    assert len({body for _, body in posts}) == 1
    pauses = [after - before for (before, _), (after, _) in pairwise(posts)]
    assert pauses[0] >= 1
    assert pauses[1] >= 0.25  # the second pause: between a quarter and half a second, where nothing is said


def test_only_what_is_not_answered_is_sent_again() -> None:
    answers = [code, reply(503, problem(503)), code]
    with scripted(*answers) as (address, posts), Client(address) as client:
        assert len(client.classify([str(i) for i in range(15)])) == 15
    assert [len(json.loads(body)["excerpts"]) for _, body in posts] == [10, 5, 5]


def test_a_stream_that_ends_early_goes_on_where_it_ended() -> None:
    answers = [code_two_and_stop, code_lines, hang_up, code_lines]
    with scripted(*answers) as (address, posts), Client(address) as client:
        found = [
            (e.text, o.codes["d"][0])
            for e, o in client.stream("abcdef"[i] for i in range(6))
            if not isinstance(o, ProblemDetail)
        ]
    assert found == [(letter, letter) for letter in "abcdef"]
    assert [len(body.splitlines()) for _, body in posts] == [4, 2, 2, 2]


def test_patience_has_an_end_and_the_last_problem_is_the_error() -> None:
    always = [reply(503, problem(503), Retry_After="30")]
    with scripted(*always) as (address, posts), Client(address, deadline=5) as client:
        began = time.monotonic()
        with pytest.raises(Busy, match=r"^Not now\.$") as caught:
            client.classify([SECRET])
        assert time.monotonic() - began < 4, "it waited though the answer would come too late"
    assert caught.value.problem.status == 503
    assert len(posts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"<html>hello</html>"),
        reply(200, {"predictions": []}),
        reply(200, {"predictions": [{"codes": 1}]}),
        reply(200, [1]),
        reply(404, b"nothing"),
        reply(500, problem(500) | {"status": "many"}),
    ],
)
def test_what_is_no_answer_of_the_server_is_said_so(answer: Answer) -> None:
    expected = pytest.raises(ClientError, match="is not this program's server")
    with scripted(answer) as (address, _), Client(address) as client, expected as caught:
        client.classify([SECRET])
    assert_no_text(caught.value)


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after(None) is None
    for nonsense in ("", "soon", "-1", "1.5", "٣"):
        assert retry_after(nonsense) is None
    assert 8 < (retry_after(in_seconds(10)) or 0) <= 10
    assert retry_after(in_seconds(-100)) == 0
    assert retry_after("Sun, 06 Nov 1994 08:49:37 -0000") == 0


def test_pauses_double_differ_and_end() -> None:
    first = [Deadline(100).pause(None) for _ in range(20)]
    assert len(set(first)) > 10 and all(p is not None and 0.125 <= p <= 0.25 for p in first)
    deadline = Deadline(1000)
    pauses = [deadline.pause(None) or 0 for _ in range(12)]
    assert all(0.125 * 2**n <= p <= 0.25 * 2**n for n, p in enumerate(pauses[:6]))
    assert all(15 <= p <= 30 for p in pauses[8:])
    assert all(10 <= (Deadline(100).pause(10) or 0) <= 12.5 for _ in range(20))
    assert Deadline(5).pause(6) is None

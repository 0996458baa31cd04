"""Streams, over real sockets: order, bad lines, back-pressure, bounds, hanging up, stopping."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from serving.streaming import LineSplitter
from tests.serving_helpers import FakeClassifier, RunningServer, StreamConnection, eventually, running, streamed
from tl_classifier.excerpts import Excerpt, record

SECRET = "xylophone confession"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def model() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture(scope="module")
def server(model: FakeClassifier) -> Iterator[RunningServer]:
    with running(model, batch_excerpts=8, max_line_bytes=2000, max_characters=1000) as server:
        yield server


def post(server: RunningServer, body: bytes) -> list[dict[str, Any]]:
    with server.client() as client:
        answer = client.post("/v1/classify/stream", content=body, headers=NDJSON)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["cache-control"] == "no-store"
    assert "xylophone" not in answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def line(text: str, **about: Any) -> bytes:
    return json.dumps({"text": text, **about}).encode() + b"\n"


def test_a_record_comes_for_each_line_in_order_and_without_text(server: RunningServer, model: FakeClassifier) -> None:
    sent = [Excerpt(f"{SECRET} {i}" * (i % 7 + 1), id=str(i), document="d", turn=i) for i in range(200)]
    body = b"".join(line(e.text, id=e.id, document="d", turn=e.turn) for e in sent)
    expected = [record(e, model.predict_one(e.text), model="fake@1", with_text=False) for e in sent]
    assert post(server, body) == expected
    assert post(server, body[:-1]) == expected  # the last line end may be missing
    assert post(server, body.replace(b"\n", b"\r\n")) == expected
    assert post(server, b"") == []


def test_a_bad_line_is_answered_with_its_number_and_the_stream_goes_on(
    server: RunningServer, model: FakeClassifier
) -> None:
    body = b"".join(
        [
            line("First."),
            b"\n  \r\n",
            b'{"text": "xylophone\n',
            b"\xff xylophone\n",
            line(SECRET, **{SECRET: 1}),
            line("..."),
            line("x" * 1001),
            line(SECRET * 200),
            line("explode xylophone"),
            b"[]\n",
            line("Last."),
        ]
    )
    first, *problems, last = post(server, body)
    assert first["probabilities"] == model.predict_one("First.").probabilities
    assert last["probabilities"] == model.predict_one("Last.").probabilities
    assert all(list(p) == ["line", "problem", "ended"] and p["ended"] is False for p in problems)
    assert [(p["line"], p["problem"]["type"].rpartition(":")[2], p["problem"]["detail"]) for p in problems] == [
        (4, "malformed-json", "The line is not JSON in UTF-8: see line 1, column 19."),
        (5, "malformed-json", "The line is not JSON in UTF-8: see line 1, column 1."),
        (6, "invalid-request", "The line has a field that is not known."),
        (7, "invalid-request", "text has no letter or digit to code."),
        (8, "invalid-request", "text has 1001 characters, more than the 1000 that are allowed."),
        (9, "line-too-long", "A line may have 2000 bytes; this one was passed over."),
        (10, "internal-error", "The model failed at this excerpt; the server's log has more."),
        (11, "invalid-request", "The line must be an object."),
    ]


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=20), st.data())
@hypothesis_settings(max_examples=50)
def test_lines_are_found_however_the_bytes_arrive(lines: list[bytes], data: st.DataObject) -> None:
    body = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    splitter = LineSplitter(20)
    found = []
    for start, stop in itertools.pairwise([0, *cuts, len(body)]):
        found += list(splitter.feed(body[start:stop]))
    found += list(splitter.end())
    expected = [(n, text if len(text) <= 20 else None) for n, text in enumerate(lines, 1)]
    if expected and expected[-1][1] == b"":
        expected.pop()  # nothing after the last line end is no line
    assert found == expected


def test_answers_come_while_the_stream_is_being_sent(server: RunningServer, model: FakeClassifier) -> None:
    with StreamConnection(server.port, "Expect: 100-continue") as stream:
        assert stream.socket.recv(25, 0x40).startswith(b"HTTP/1.1 100")  # 0x40: the socket waits for all of it
        rows = None
        for n in range(5):
            stream.send(line(f"Turn {n}.")[:7])
            stream.send(line(f"Turn {n}.")[7:])
            if rows is None:
                assert stream.read_head() == 200
                rows = stream.rows()
            assert next(rows)["probabilities"] == model.predict_one(f"Turn {n}.").probabilities
        stream.end()
        assert rows is not None and list(rows) == []


def test_the_body_is_read_no_faster_than_it_is_scored_and_memory_is_bounded() -> None:
    model = FakeClassifier()
    with running(model, batch_excerpts=8, max_line_bytes=4000) as server:
        model.gate.clear()
        sent = 0

        def lines() -> Iterator[bytes]:
            nonlocal sent
            for sent in range(1, 20_001):
                yield line(f"Turn {sent}. " + "And so on. " * 30)

        got: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda: got.extend(streamed(server.port, lines())))
        reader.start()
        eventually(lambda: server.service.served.batcher.excerpts >= 8)
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            time.sleep(0.3)
        assert sent < 19_000, "the server took all in, though nothing is scored"
        assert server.service.served.batcher.excerpts <= 4 * 8
        assert server.service.memory.held == 2 * 4000
        model.gate.set()
        reader.join(60)
        assert len(got) == 20_000
        assert all("codes" in row for row in got)
        assert max(map(len, model.batches)) == 8
        eventually(lambda: server.service.memory.held == 0 and server.service.streams == 0)


def test_a_client_that_does_not_read_stops_the_reading_and_is_dropped_in_the_end() -> None:
    model = FakeClassifier()
    with running(model, batch_excerpts=8, stream_idle_seconds=1.0) as server:
        with StreamConnection(server.port) as stream:
            stream.socket.settimeout(0.5)
            body = b"".join(line(f"Turn {n}.") for n in range(64))
            with pytest.raises(OSError):  # nothing more fits in, or the server has given it up
                for _ in range(10_000):
                    stream.send(body)
            assert sum(map(len, model.batches)) < 64 * 10_000
            eventually(lambda: server.service.streams == 0)
        assert server.service.memory.held == 0
        assert server.service.served.batcher.requests == 0


def test_a_client_that_sends_all_before_it_reads_is_safe_within_the_limits(server: RunningServer) -> None:
    with server.client() as client:
        limits = client.get("/v1/limits").json()
    assert limits["stream_ahead_excerpts"] == 32
    model = FakeClassifier()
    with running(model, batch_excerpts=8) as held, StreamConnection(held.port) as stream:
        model.gate.clear()
        for n in range(32):
            stream.send(line(f"Turn {n}."))
        stream.end()
        eventually(lambda: held.service.served.batcher.excerpts == 32)
        model.gate.set()
        assert stream.read_head() == 200
        assert len(list(stream.rows())) == 32


def test_a_client_that_hangs_up_frees_everything() -> None:
    model = FakeClassifier()
    with running(model, batch_excerpts=8) as server:
        for read_first in (False, True):
            with StreamConnection(server.port) as stream:
                stream.send(line("One."))
                if read_first:
                    assert stream.read_head() == 200 and next(stream.rows())
                model.gate.clear()

                def send(stream: StreamConnection = stream) -> None:
                    with contextlib.suppress(OSError):
                        for n in range(5000):
                            stream.send(line(f"gone {n}" + " and on" * 140))

                sender = threading.Thread(target=send)
                sender.start()
                eventually(lambda: server.service.served.batcher.excerpts >= 8)
                stream.socket.shutdown(socket.SHUT_RDWR)
                sender.join(10)
            model.gate.set()
            eventually(lambda: server.service.streams == 0)
            eventually(lambda: server.service.served.batcher.requests == 0)
            assert server.service.memory.held == 0
    # No more is scored than what was read ahead when the client went.
    assert sum(text.startswith("gone") for batch in model.batches for text in batch) < 5000


def test_a_client_that_hangs_up_is_noticed_while_nothing_can_be_written() -> None:
    model = FakeClassifier()
    with running(model, batch_excerpts=8) as server:
        for whole in (False, True):
            with StreamConnection(server.port) as stream:
                model.gate.clear()
                stream.send(b"".join(line(f"Turn {n}.") for n in range(20)))
                if whole:
                    stream.end()
                eventually(lambda: server.service.served.batcher.excerpts == 20)
            eventually(lambda: server.service.streams == 0)
            assert server.service.served.batcher.requests == 0
            assert server.service.memory.held == 0
            model.gate.set()


def test_a_stream_that_falls_silent_is_ended_with_a_word() -> None:
    with running(FakeClassifier(), stream_idle_seconds=0.3) as server, StreamConnection(server.port) as stream:
        stream.send(line("One.") + b'{"text": "tw')
        assert stream.read_head() == 200
        one, last = stream.rows()
        assert one["codes"]
        assert (last["line"], last["ended"], last["problem"]["status"]) == (2, True, 408)
        eventually(lambda: server.service.streams == 0)


def test_a_stream_may_wait_long_for_its_turn() -> None:
    model = FakeClassifier()
    with running(model, stream_idle_seconds=0.2) as server, StreamConnection(server.port) as stream:
        model.gate.clear()
        stream.send(line("One."))
        eventually(lambda: server.service.served.batcher.requests == 1)
        time.sleep(0.6)
        model.gate.set()
        assert stream.read_head() == 200
        assert "codes" in next(stream.rows())


def test_streams_are_bounded_and_leave_requests_their_place() -> None:
    model = FakeClassifier()
    with running(model, max_streams=2) as server, server.client() as client:
        with StreamConnection(server.port) as one, StreamConnection(server.port) as two:
            for stream in (one, two):
                stream.send(line("Mine."))
                assert stream.read_head() == 200
            refused = client.post("/v1/classify/stream", content=line(SECRET), headers=NDJSON)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert refused.json()["detail"].startswith("The server has as many streams as it may;")
            assert client.post("/v1/classify", json={"excerpts": [{"text": "Yours."}]}).status_code == 200
            assert "tlc_streams 2.0" in client.get("/metrics").text
        eventually(lambda: server.service.streams == 0)
        assert client.post("/v1/classify/stream", content=line("Now."), headers=NDJSON).status_code == 200


def test_a_stream_does_not_shut_out_small_requests() -> None:
    model = FakeClassifier(seconds=0.002)
    with running(model, batch_excerpts=8) as server, server.client() as client:
        over = threading.Event()
        lines = (line(f"Turn {n}.") for n in itertools.count())
        reader = threading.Thread(
            target=lambda: list(streamed(server.port, itertools.takewhile(lambda _: not over.is_set(), lines)))
        )
        reader.start()
        eventually(lambda: server.service.served.batcher.excerpts >= 8)
        began = time.monotonic()
        for _ in range(5):
            assert client.post("/v1/classify", json={"excerpts": [{"text": "Small."}]}).status_code == 200
        took = time.monotonic() - began
        over.set()
        reader.join(30)
    assert took < 5


def test_only_ndjson_is_taken(server: RunningServer) -> None:
    with server.client() as client:
        for content_type in ("application/json", "text/plain", ""):
            headers = {"Content-Type": content_type}
            answer = client.post("/v1/classify/stream", content=line(SECRET), headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")
            assert answer.json()["detail"] == "The header Content-Type must be application/x-ndjson, in UTF-8."
        assert client.get("/v1/classify/stream").status_code == 405


def test_a_stop_ends_streams_with_what_was_accepted_and_says_where_to_go_on() -> None:
    model = FakeClassifier()
    with running(model, batch_excerpts=8) as server:
        with StreamConnection(server.port) as stream:
            stream.send(line("Turn 1."))
            assert stream.read_head() == 200
            rows = stream.rows()
            next(rows)
            model.gate.clear()
            stream.send(b"".join(line(f"Turn {n}.") for n in range(2, 101)))
            eventually(lambda: server.service.served.batcher.excerpts == 32)
            server.server.handle_exit(signal.SIGTERM, None)
            eventually(lambda: server.service.refusing.is_set())
            model.gate.set()
            *records, last = rows
        server.thread.join(10)
        assert not server.thread.is_alive()
    assert [r["probabilities"] for r in records] == [
        model.predict_one(f"Turn {n}.").probabilities for n in range(2, 2 + len(records))
    ]
    assert len(records) == 32
    assert (last["line"], last["ended"]) == (2 + len(records), True)
    assert last["problem"]["type"] == "urn:tl-classifier:problem:not-ready"


def test_logs_and_metrics_count_the_lines(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="serving"):
        body = line("One.") + b"x\n" + line("Two.")
        post(server, body)
        eventually(lambda: any(getattr(r, "fields", {}).get("problems") == 1 for r in caplog.records))
    fields = next(r.fields for r in caplog.records if getattr(r, "fields", {}).get("problems") == 1)  # type: ignore[attr-defined]
    assert (fields["path"], fields["status"], fields["excerpts"], fields["bytes"]) == (
        *("/v1/classify/stream", 200, 2),
        len(body),
    )


def test_curl_like_uploads_of_any_chunking_are_the_same(server: RunningServer) -> None:
    body = b"".join(line(f"Turn {n}. " + "More. " * n) for n in range(60))
    whole = post(server, body)
    for size in (1, 7, 4096):
        if size == 1:
            body_of = [body[i : i + 1] for i in range(300)] + [body[300:]]
        else:
            body_of = [body[i : i + size] for i in range(0, len(body), size)]
        assert list(streamed(server.port, body_of)) == whole


def test_an_http_library_gets_all_of_a_long_stream(server: RunningServer) -> None:
    with (
        server.client() as client,
        client.stream(
            "POST", "/v1/classify/stream", content=(line(f"Turn {n}.") for n in range(300)), headers=NDJSON
        ) as answer,
    ):
        assert sum(1 for _ in answer.iter_lines()) == 300
    assert isinstance(answer, httpx.Response)

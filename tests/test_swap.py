"""Changing the model of a running server: nothing dropped, nothing mixed, and no harm where the new one is no good."""

from __future__ import annotations

import gc
import itertools
import json
import shutil
import signal
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.security import new_key
from tests.serving_helpers import FakeClassifier, RunningServer, StreamConnection, eventually, running
from tl_classifier.bundle import Bundle, write_manifest
from tl_classifier.classifier import Classifier
from tl_classifier.errors import BundleError
from tl_classifier.excerpts import Excerpt, Prediction
from tl_classifier.registry import Registry

ADMIN_KEY, ADMIN_HASH = new_key()
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}


def make_bundle(folder: Path, version: str) -> Path:
    """A bundle with nothing in it but its name and version: enough for the registry, and for `Loader`."""
    folder.mkdir(parents=True)
    (folder / "weights").write_text(version)
    write_manifest(folder, {"name": "coder", "version": version, "created": f"2026-01-0{len(version)}T00:00:00Z"})
    return folder


class Loader:
    """Loads such bundles as stand-ins.

    Attributes:
        gate: Loading waits until it is set.
        loaded: What was loaded, by version, as long as somebody holds it.
        broken: What loading a version raises, or the stand-in that it gives.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.loaded: weakref.WeakValueDictionary[str, FakeClassifier] = weakref.WeakValueDictionary()
        self.broken: dict[str, Exception | FakeClassifier] = {}

    def __call__(self, path: Path) -> Any:
        bundle = Bundle.open(path)
        self.gate.wait(30)
        broken = self.broken.get(bundle.version)
        if isinstance(broken, Exception):
            raise broken
        model = broken or FakeClassifier(name="coder", version=bundle.version)
        self.loaded[bundle.version] = model
        return model


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    for version in ("1", "22"):
        registry.add(make_bundle(tmp_path / version, version))
    return registry


@pytest.fixture
def load() -> Loader:
    return Loader()


@pytest.fixture
def server(registry: Registry, load: Loader) -> Iterator[RunningServer]:
    with running(load=load, models=registry.folder, model="coder@1", admin_key_hashes=ADMIN_HASH) as server:
        yield server


def change(client: httpx.Client, model: str, headers: dict[str, str] = ADMIN) -> httpx.Response:
    return client.post("/v1/model", json={"model": model}, headers=headers)


def classify(client: httpx.Client, *texts: str) -> dict[str, Any]:
    answer = client.post("/v1/classify", json={"excerpts": [{"text": text} for text in texts]})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def model_of(body: dict[str, Any], *texts: str) -> str:
    """The version of the model that gave an answer; it gave all of it."""
    version: str = body["model"]["version"]
    model = FakeClassifier(name="coder", version=version)
    for row, text in zip(body["predictions"], texts, strict=True):
        assert row["model"] == f"coder@{version}"
        assert row["probabilities"] == model.predict_one(text).probabilities
    return version


def is_problem(answer: httpx.Response, status: int, name: str) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["type"] == f"urn:tl-classifier:problem:{name}"
    detail: str = answer.json()["detail"]
    return detail


# --- the change -------------------------------------------------------------------------------------------------


def test_another_model_takes_the_place(server: RunningServer) -> None:
    with server.client() as client:
        assert model_of(classify(client, "One."), "One.") == "1"
        answer = change(client, "coder@22")
        assert answer.status_code == 200
        assert answer.json() == client.get("/v1/model").json()
        assert (answer.json()["name"], answer.json()["version"]) == ("coder", "22")
        assert model_of(classify(client, "One."), "One.") == "22"
        eventually(lambda: "tlc_models 1.0" in client.get("/metrics").text)
        metrics = client.get("/metrics").text
        assert metrics.count("tlc_model_info{") == 1
        assert 'name="coder",version="22"} 1.0' in metrics
        assert 'tlc_model_changes_total{outcome="done"} 1.0' in metrics
        assert change(client, "coder").json()["version"] == "22"  # a name alone: the newest


def test_under_load_nothing_is_dropped_and_nothing_mixed(server: RunningServer) -> None:
    over = threading.Event()

    def ask(number: int) -> list[str]:
        versions = []
        with server.client() as client:
            for turn in itertools.count():
                texts = [f"Client {number}, turn {turn}, thing {i}." for i in range(1 + number * 40)]
                versions.append(model_of(classify(client, *texts), *texts))
                if over.is_set():
                    return versions
        return []

    with ThreadPoolExecutor(4) as pool, server.client() as client:
        asked = [pool.submit(ask, n) for n in range(4)]
        for model in ("coder@22", "coder@1", "coder@22"):
            time.sleep(0.1)
            assert change(client, model).status_code == 200
            name = f"after {model}"
            assert f"coder@{model_of(classify(client, name), name)}" == model
        over.set()
        found = [a.result() for a in asked]
    assert {version for of_client in found for version in of_client} == {"1", "22"}
    assert all(of_client[-1] == "22" for of_client in found)


def test_what_was_accepted_before_is_answered_by_the_old_model_which_then_goes(
    server: RunningServer, load: Loader
) -> None:
    with server.client() as client, ThreadPoolExecutor() as pool:
        load.loaded["1"].gate.clear()
        early = pool.submit(classify, client, "early", "bird")
        eventually(lambda: server.service.served.batcher.requests == 1)
        assert change(client, "coder@22").status_code == 200
        assert model_of(classify(client, "late"), "late") == "22"  # while the old one is still busy
        assert not early.done()
        assert "tlc_models 2.0" in client.get("/metrics").text
        assert "tlc_queue_requests 1.0" in client.get("/metrics").text
        detail = is_problem(busy := change(client, "coder@1"), 409, "model-changing")
        assert detail.startswith("The model before this one still finishes what it had accepted;")
        assert busy.headers["retry-after"] == "5"
        load.loaded["1"].gate.set()
        assert model_of(early.result(), "early", "bird") == "1"
        eventually(lambda: gc.collect() >= 0 and "1" not in load.loaded)
        assert "tlc_models 1.0" in client.get("/metrics").text


def test_a_request_whose_text_arrives_after_the_change_is_answered_by_the_new_model(server: RunningServer) -> None:
    body = json.dumps({"excerpts": [{"text": "slow"}]}).encode()
    head = (
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with server.client() as client, socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode() + body[:10])
        eventually(lambda: server.service.memory.held == 10)
        assert change(client, "coder@22").status_code == 200
        eventually(lambda: server.service._replaced is None)
        connection.sendall(body[10:])
        received = b""
        while part := connection.recv(65536):
            received += part
    head_of_answer, _, answer = received.partition(b"\r\n\r\n")
    assert head_of_answer.startswith(b"HTTP/1.1 200")
    assert model_of(json.loads(answer), "slow") == "22"


def test_a_stream_stays_with_its_model_to_its_end(server: RunningServer) -> None:
    with server.client() as client, StreamConnection(server.port) as stream:
        stream.send(b'{"text": "Turn 1."}\n')
        assert stream.read_head() == 200
        rows = stream.rows()
        assert next(rows)["model"] == "coder@1"
        assert change(client, "coder@22").status_code == 200
        assert classify(client, "late")["model"]["version"] == "22"
        for n in range(2, 5):
            stream.send(f'{{"text": "Turn {n}."}}\n'.encode())
            assert next(rows)["model"] == "coder@1"
        is_problem(change(client, "coder@1"), 409, "model-changing")
        stream.end()
        assert list(rows) == []
        eventually(lambda: change(client, "coder@1").status_code == 200)


def test_a_second_change_is_refused_while_the_first_is_under_way(server: RunningServer, load: Loader) -> None:
    load.gate.clear()
    with server.client() as client, ThreadPoolExecutor() as pool:
        first = pool.submit(change, client, "coder@22")
        eventually(lambda: server.service._change is not None)
        detail = is_problem(change(client, "coder@22"), 409, "model-changing")
        assert detail == "Another change of the model is under way; try again after the seconds in Retry-After."
        assert classify(client, "meanwhile")["model"]["version"] == "1"
        load.gate.set()
        assert first.result().status_code == 200


def test_who_hangs_up_does_not_stop_the_change(server: RunningServer, load: Loader) -> None:
    load.gate.clear()
    with server.client(), pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=server.url, timeout=0.5) as hasty:
        change(hasty, "coder@22")
    load.gate.set()
    eventually(lambda: server.service.served.classifier.version == "22")


def test_a_stop_during_a_change_is_a_stop(registry: Registry, load: Loader) -> None:
    options: dict[str, Any] = {"models": registry.folder, "model": "coder@1", "admin_key_hashes": ADMIN_HASH}
    with running(load=load, **options) as server, server.client() as client, ThreadPoolExecutor() as pool:
        load.gate.clear()
        answer = pool.submit(change, client, "coder@22")
        eventually(lambda: server.service._change is not None)
        server.server.handle_exit(signal.SIGTERM, None)
        eventually(lambda: server.service.refusing.is_set())
        load.gate.set()
        is_problem(answer.result(), 503, "not-ready")
        server.thread.join(10)
        assert not server.thread.is_alive()


# --- models that are no good ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["coder@3", "nobody", "/etc", "../22", "/", ".", "coder@1/../coder@22", "~", "C:\\", "\x00", "a" * 1000]
)
def test_only_names_of_the_registry_are_known(server: RunningServer, name: str) -> None:
    with server.client() as client:
        detail = is_problem(change(client, name), 422, "unusable-model")
        assert detail == "There is no such model in the registry; it has: coder@1, coder@22."
        assert classify(client, "still")["model"]["version"] == "1"


def test_a_folder_is_taken_where_that_is_allowed(registry: Registry, load: Loader, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "elsewhere", "333")
    options: dict[str, Any] = {"models": registry.folder, "model": "coder@1", "admin_key_hashes": ADMIN_HASH}
    with running(load=load, **options) as server, server.client() as client:
        is_problem(change(client, str(folder)), 422, "unusable-model")
    with running(load=load, allow_model_folders=True, **options) as server, server.client() as client:
        assert change(client, str(folder)).json()["version"] == "333"
        assert change(client, "coder@22").json()["version"] == "22"
        assert "is not a bundle" in is_problem(change(client, str(tmp_path)), 422, "unusable-model")


def nan_model() -> FakeClassifier:
    class Broken(FakeClassifier):
        def predict_one(self, text: str) -> Prediction:
            good = super().predict_one(text)
            nothing = {d: {code: float("nan") for code in of} for d, of in good.probabilities.items()}
            return Prediction(good.codes, good.groups, nothing, good.model)

    return Broken(name="coder", version="22")


def other_codes_model() -> FakeClassifier:
    class Broken(FakeClassifier):
        def predict_one(self, text: str) -> Prediction:
            good = super().predict_one(text)
            return Prediction(good.codes, good.groups, {"stage": {"unheard_of": 0.5}}, good.model)

    return Broken(name="coder", version="22")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (BundleError("The graph is torn."), "The graph is torn."),
        (RuntimeError("secret path"), "The model could not be loaded; the server's log has more."),
        (MemoryError(), "The model could not be loaded; the server's log has more."),
        (nan_model, "The model coder@22 gives no probability for each code of its codebook; train it anew."),
        (other_codes_model, "The model coder@22 gives no probability for each code of its codebook; train it anew."),
    ],
)
def test_a_model_that_is_no_good_changes_nothing(server: RunningServer, load: Loader, broken: Any, words: str) -> None:
    load.broken["22"] = broken if isinstance(broken, Exception) else broken()
    with server.client() as client:
        answer = change(client, "coder@22")
        assert is_problem(answer, 422, "unusable-model") == words
        assert answer.json()["errors"] == [{"pointer": "#/model", "detail": words}]
        assert model_of(classify(client, "One."), "One.") == "1"
        assert 'tlc_model_changes_total{outcome="failed"} 1.0' in client.get("/metrics").text
        del load.broken["22"]
        assert change(client, "coder@22").status_code == 200


def test_a_damaged_bundle_changes_nothing(server: RunningServer, registry: Registry) -> None:
    (registry.folder / "coder@22" / "weights").write_text("changed")
    with server.client() as client:
        assert "is not as it was written" in is_problem(change(client, "coder@22"), 422, "unusable-model")
        assert model_of(classify(client, "One."), "One.") == "1"


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"{", 400, "malformed-json"),
        (b"[]", 422, "invalid-request"),
        (b"{}", 422, "invalid-request"),
        (b'{"model": null}', 422, "invalid-request"),
        (b'{"model": ""}', 422, "invalid-request"),
        (b'{"model": "coder@22", "force": true}', 422, "invalid-request"),
    ],
)
def test_a_request_that_is_not_right_changes_nothing(
    server: RunningServer, body: bytes, status: int, name: str
) -> None:
    with server.client() as client:
        headers = {**ADMIN, "Content-Type": "application/json"}
        is_problem(client.post("/v1/model", content=body, headers=headers), status, name)
        form = {**ADMIN, "Content-Type": "application/x-www-form-urlencoded"}
        is_problem(client.post("/v1/model", content=b"model=coder@22", headers=form), 415, "unsupported-media-type")
        assert server.service.served.classifier.version == "1"


# --- who may ----------------------------------------------------------------------------------------------------


def test_only_administrators_change_the_model(registry: Registry, load: Loader, tmp_path: Path) -> None:
    key, key_hash = new_key()
    api = {"Authorization": f"Bearer {key}"}
    keys = tmp_path / "administrators"
    keys.write_text(f"{ADMIN_HASH} Ada\n")
    options: dict[str, Any] = {"models": registry.folder, "model": "coder@1"}
    with running(load=load, **options) as server, server.client() as client:
        for headers in ({}, ADMIN):
            detail = is_problem(change(client, "coder@22", headers), 403, "forbidden")
            assert detail == "Changing the model needs an administrator's key; the server was started without one."
    with running(load=load, admin_keys_file=keys, **options) as server, server.client() as client:
        refused = change(client, "coder@22", {})
        is_problem(refused, 401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
        is_problem(change(client, "coder@22", {"Authorization": f"Basic {ADMIN_KEY}"}), 401, "unauthorized")
        assert client.get("/v1/model").json()["version"] == "1"  # nobody else needs a key
        assert change(client, "coder@22").status_code == 200
        document = client.get("/openapi.json").json()
        assert document["paths"]["/v1/model"]["post"]["security"] == [{"administrator": []}]
        assert "security" not in document["paths"]["/v1/model"]["get"]
    with running(load=load, admin_keys_file=keys, api_key_hashes=key_hash, **options) as server, server.client() as c:
        is_problem(change(c, "coder@22", {}), 401, "unauthorized")
        assert "this one is for coding alone" in is_problem(change(c, "coder@22", api), 403, "forbidden")
        assert c.get("/v1/model", headers=ADMIN).json()["version"] == "1"
        assert c.get("/v1/model", headers=api).json()["version"] == "1"
        assert change(c, "coder@22").status_code == 200


# --- the champion -----------------------------------------------------------------------------------------------


def test_a_server_without_a_model_named_serves_the_champion_and_each_later_one(
    registry: Registry, load: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    registry.promote("coder@1")
    with (
        caplog.at_level("INFO", logger="serving"),
        running(load=load, models=registry.folder, champion_seconds=0.05, admin_key_hashes=ADMIN_HASH) as server,
        server.client() as client,
    ):

        def version() -> str:
            return str(classify(client, "One.")["model"]["version"])

        def failures() -> int:
            return sum(r.message == "model not changed" for r in caplog.records)

        assert version() == "1"
        registry.promote("coder@22")
        eventually(lambda: version() == "22")
        assert version() == "22"

        load.broken["1"] = BundleError("The graph is torn.")
        registry.promote("coder@1")
        eventually(lambda: failures() == 1)
        time.sleep(0.3)
        assert failures() == 1, "it is tried again and again"
        assert version() == "22"
        registry.rollback()
        time.sleep(0.2)
        assert version() == "22"
        del load.broken["1"]
        registry.promote("coder@1")
        eventually(lambda: version() == "1")

        # What an administrator asks for stays, until there is another champion.
        assert change(client, "coder@22").status_code == 200
        time.sleep(0.2)
        assert version() == "22"
        registry.promote("coder@22")
        eventually(lambda: server.service._champion == "coder@22")
        registry.promote("coder@1")
        eventually(lambda: version() == "1")

        pointer = registry.folder / "champion.json"
        good = pointer.read_text()
        pointer.write_text("{")
        eventually(lambda: any(r.message == "champion not known" for r in caplog.records))
        time.sleep(0.2)
        assert sum(r.message == "champion not known" for r in caplog.records) == 1
        assert version() == "1"
        pointer.write_text(good)
        registry.promote("coder@22")
        eventually(lambda: version() == "22")


def test_a_server_with_a_model_named_stays_with_it(server: RunningServer, registry: Registry) -> None:
    assert server.service._follower is None
    registry.promote("coder@22")
    with server.client() as client:
        assert classify(client, "One.")["model"]["version"] == "1"


def test_a_champion_that_is_lost_is_an_error_at_the_start(registry: Registry, load: Loader) -> None:
    from serving.service import Service
    from serving.settings import load_settings

    registry.promote("coder@22")
    shutil.rmtree(registry.folder / "coder@22")
    with pytest.raises(BundleError, match="not in the registry"):
        Service(load_settings(models=registry.folder), load=load).load()


def test_real_models_change_under_load(tiny_bundle: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    from tests.tiny import make_bundle as make_real_bundle

    registry = Registry(tmp_path / "models")
    registry.add(tiny_bundle)
    registry.add(make_real_bundle(tmp_path / "other", tiny_encoder, seed=1))
    registry.promote("tiny@0.0")
    texts = ["I was lost, and nothing made sense.", "We had tea.", "Now I know who I am. " * 20]
    given = [Excerpt(text) for text in texts]
    known = {
        version: [dict(p.probabilities) for p in Classifier.load(registry.folder / f"tiny@{version}").predict(given)]
        for version in ("0.0", "0.1")
    }
    assert known["0.0"] != known["0.1"]
    with running(models=registry.folder, champion_seconds=0.05) as server, ThreadPoolExecutor(3) as pool:

        def ask() -> list[str]:
            versions = ["0.0"]
            with server.client() as client:
                while versions[-1] == "0.0":
                    answer = classify(client, *texts)
                    versions.append(answer["model"]["version"])
                    assert {row["model"] for row in answer["predictions"]} == {f"tiny@{versions[-1]}"}
                    for row, probabilities in zip(answer["predictions"], known[versions[-1]], strict=True):
                        for dimension, of in probabilities.items():
                            assert row["probabilities"][dimension] == pytest.approx(of, abs=0.02)
            return versions

        asked = [pool.submit(ask) for _ in range(3)]
        eventually(lambda: server.service.served.batcher.excerpts > 0)
        registry.promote("tiny@0.1")
        found = [a.result(60) for a in asked]
    assert all(versions[-1] == "0.1" for versions in found)

"""What surrounds every request: its id, who may ask, time, log, metrics, headers, and an answer whatever happens."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.batching import Closed, QueueFull
from serving.logs import LOGGER
from serving.problems import INTERNAL, Problem, busy
from serving.security import API_POLICY, HEADERS, PUBLIC_PATHS
from serving.service import Service

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HUNG_UP = 499
"""Logged and counted where the client hung up before its answer; nobody receives it."""


def instance(scope: Scope) -> str:
    """The URN of the request."""
    return f"urn:uuid:{scope['state']['request_id']}"


def _route(scope: Scope) -> str:
    """The path as the program knows it. An unknown one is not repeated: a client may have put anything there."""
    if route := getattr(scope.get("route"), "path", None):
        return str(route)
    path: str = scope["path"]
    if path in PUBLIC_PATHS:
        return path
    return "/static/" if path.startswith("/static/") else "(other)"


CLASSIFY = "/v1/classify"
"""Where nearly all requests go."""

_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_OWN = frozenset(name for name, _ in _HEADERS)
_POLICY = b"content-security-policy"


class Envelope:
    """ASGI application around another.

    A request that comes while `draining` is answered with ``Connection: close``, so that its client goes elsewhere.

    Args:
        app: The other one.
        service: Its state: who is let in, what is counted, whether it is being stopped.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self.service = service
        self._refused = 0
        self._told = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        method = scope["method"]
        if method == "POST" and scope["path"] == CLASSIFY and (problem := self._refusal()):
            await self._refuse(problem, send, began)
            return
        if method == "HEAD":  # answered as GET; the HTTP server leaves the body out
            scope = {**scope, "method": "GET"}
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = str(uuid.uuid4())
        notes: dict[str, int] = {}
        state["notes"] = notes
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._with_headers(message.get("headers", ()), state["request_id"])
            await send(message)

        try:
            await self._handle(scope, receive, send_on)
        except ClientDisconnect:
            status = _HUNG_UP
        except Exception:
            LOGGER.error("request failed", exc_info=True, extra={"fields": {"request": state["request_id"]}})
            if not status:
                problem = Problem(
                    INTERNAL, "The server failed to answer; its log has more under the request id in `instance`."
                )
                await problem.response(instance(scope))(scope, receive, send_on)
            else:  # half an answer is out; end the connection, so that it is not taken for a whole one
                status = INTERNAL.status
                raise
        finally:
            self._report(scope, method, status, time.monotonic() - began, notes)

    def _refusal(self) -> Problem | None:
        """Why a request to code is refused at once; None where it is not."""
        try:
            self.service.served.batcher.check()
        except QueueFull as full:
            return busy(full.retry_after)
        except (Closed, Problem):  # stopping, or starting: answered as other requests are
            return None
        return None

    async def _refuse(self, problem: Problem, send: Send, began: float) -> None:
        """Answer a request that there is no place for, before anything of it is looked at.

        Where many more come than can be answered, refusing them must cost next to nothing, or those that were accepted
        wait for it. They are logged together, once a second.
        """
        request_id = str(uuid.uuid4())
        response = problem.response(f"urn:uuid:{request_id}")
        headers = self._with_headers(response.raw_headers, request_id)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        now = time.monotonic()
        self.service.metrics.requests.labels(CLASSIFY, "POST", str(response.status_code)).inc()
        self.service.metrics.request_seconds.labels(CLASSIFY).observe(now - began)
        self._refused += 1
        if now - self._told >= 1:
            LOGGER.info("requests refused", extra={"fields": {"path": CLASSIFY, "count": self._refused}})
            self._refused, self._told = 0, now

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self.service.guard.check_host(headers.get("host", ""))
            self.service.guard.check_key(scope["path"], headers.get("authorization", ""))
        except Problem as problem:
            await problem.response(instance(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _with_headers(self, given: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
        """The headers of an answer, and those that all answers have; names are in lower case, as ASGI wants it."""
        headers = [pair for pair in given if pair[0] not in _OWN]
        if all(name != _POLICY for name, _ in headers):
            headers.append((_POLICY, API_POLICY.encode()))
        headers += _HEADERS
        headers.append((b"x-request-id", request_id.encode()))
        if self.service.draining:
            headers = [pair for pair in headers if pair[0] != b"connection"] + [(b"connection", b"close")]
        return headers

    def _report(self, scope: Scope, method: str, status: int, seconds: float, notes: dict[str, int]) -> None:
        route = _route(scope)
        method = method if method in _METHODS else "(other)"
        self.service.metrics.requests.labels(route, method, str(status)).inc()
        self.service.metrics.request_seconds.labels(route).observe(seconds)
        if not LOGGER.isEnabledFor(logging.INFO):
            return
        fields = {
            "request": scope["state"]["request_id"],
            "method": method,
            "path": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            **notes,
        }
        LOGGER.info("request", extra={"fields": fields})

"""What surrounds every request: its id, who may ask, time, log, metrics, headers, and an answer whatever happens."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.logs import LOGGER
from serving.problems import INTERNAL, Problem
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


class Envelope:
    """ASGI middleware around all routes.

    A request that comes while `draining` is answered with ``Connection: close``, so that its client goes elsewhere.

    Args:
        app: The application.
        service: Its state: who is let in, what is counted, whether it is being stopped.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        method = scope["method"]
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
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", API_POLICY)
                headers["X-Request-ID"] = state["request_id"]
                if self._service.draining:
                    headers["Connection"] = "close"
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

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self._service.guard.check_host(headers.get("host", ""))
            self._service.guard.check_key(scope["path"], headers.get("authorization", ""))
        except Problem as problem:
            await problem.response(instance(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _report(self, scope: Scope, method: str, status: int, seconds: float, notes: dict[str, int]) -> None:
        route = _route(scope)
        method = method if method in _METHODS else "(other)"
        self._service.metrics.requests.labels(route, method, str(status)).inc()
        self._service.metrics.request_seconds.labels(route).observe(seconds)
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

"""The short way to the address that nearly all requests go to.

On its way to a route a request passes through layers of middleware, the search for the route, and the preparation of
its arguments. For a route that takes the request as it is, and gives a response as it is, none of it changes anything,
and for one excerpt it takes longer than reading the request and writing the answer do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.envelope import instance
from serving.problems import Problem


@dataclass(frozen=True, slots=True)
class Shortcut:
    """ASGI application: one address is answered here, all others by another application.

    Attributes:
        app: The other; the same address is known there, too, for its documentation.
        path: The address.
        answer: What answers POST requests to it.
    """

    app: FastAPI
    path: str
    answer: Callable[[Request], Awaitable[Response]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        scope["app"] = self.app
        scope["route"] = self
        try:
            response = await self.answer(Request(scope, receive, send))
        except Problem as problem:
            response = problem.response(instance(scope))
        await response(scope, receive, send)

"""The application: routes, pages, and the envelope around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, TypeGuard

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from serving.envelope import CLASSIFY, Envelope, instance
from serving.openapi import describe
from serving.problems import INVALID_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, Kind, Problem
from serving.routes import classify, router
from serving.security import DOCS_POLICY, PAGE_POLICY
from serving.served import Load
from serving.service import Service
from serving.settings import Settings, load_settings
from serving.shortcut import Shortcut
from tl_classifier import __version__
from tl_classifier.classifier import Classifier

_DESCRIPTION = """\
Where in interview transcripts do people go through transformational learning, and what do they say of their training?
Every excerpt is given the codes of a codebook, with calibrated probabilities. The model is a coder among coders: its
codings carry its name and version.

Everything happens on this machine: nothing that is sent here is stored, logged or passed on. Every error is a problem
detail after RFC 9457.
"""
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(
    settings: Settings | None = None, classifier: Classifier | None = None, *, load: Load | None = None
) -> Envelope:
    """The application, ready to be run by an ASGI server.

    Args:
        settings: Its settings; None takes them from the environment.
        classifier: The model to begin with; None loads the one that the settings name when the application starts.
        load: Loads the bundles of models; None for `Classifier.load`.

    Raises:
        SettingsError: if the settings cannot be used.
    """
    service = Service(settings or load_settings(), classifier, load=load)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="tl-classifier",
        summary="First-pass coding of interview transcripts for transformational learning.",
        description=_DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        # FastAPI can report requests to a collector, if the environment asks for it: not here.
        telemetry=_NO_TELEMETRY,
    )
    app.state.service = service
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _problem_of_route)
    app.include_router(router)
    _add_pages(app)

    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(describe(app, service.settings, asks_for_key=service.guard.asks_for_key))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return Envelope(Shortcut(app, CLASSIFY, classify), service)


def _add_pages(app: FastAPI) -> None:
    for path, name, policy in (("/", "index.html", PAGE_POLICY), ("/docs", "docs.html", DOCS_POLICY)):
        page = (resources.files("serving") / "static" / name).read_bytes()
        headers = {"Content-Security-Policy": policy}
        app.add_api_route(path, _page(page, headers), include_in_schema=False)
    # Swagger UI from the Python package that carries it: a page of this server loads nothing from elsewhere.
    app.mount("/static/swagger", StaticFiles(packages=[("fastapi_offline", "static")]))
    app.mount("/static", StaticFiles(packages=[("serving", "static")]))


def _page(page: bytes, headers: dict[str, str]) -> Any:
    async def show() -> Response:
        return Response(page, media_type="text/html", headers=headers)

    return show


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(instance(request.scope))


_KINDS: dict[int, tuple[Kind, str]] = {
    404: (NOT_FOUND, "There is nothing at this address; see /docs."),
    405: (METHOD_NOT_ALLOWED, "This address takes other methods: {allow}."),
}


async def _problem_of_route(request: Request, error: Exception) -> Response:
    """Errors that Starlette itself raises: of routing, and of static files."""
    assert isinstance(error, HTTPException)
    kind, detail = _KINDS.get(error.status_code, (INVALID_REQUEST, "The request cannot be answered."))
    headers = dict(error.headers or {})
    if error.status_code == METHOD_NOT_ALLOWED.status:
        # Starlette names the methods of the first route at this address alone.
        methods = {method for route in router.routes if _is_at(route, request) for method in route.methods or ()}
        headers["Allow"] = ", ".join(sorted(methods)) or headers.get("Allow", "")
    return Problem(kind, detail.format(allow=headers.get("Allow", "")), headers=headers).response(
        instance(request.scope)
    )


def _is_at(route: BaseRoute, request: Request) -> TypeGuard[Route]:
    return isinstance(route, Route) and route.path == request.url.path

"""What the server answers at each address."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from serving.batching import Closed, QueueFull
from serving.bodies import check_precision, read_model, read_request
from serving.openapi import CLASSIFY_BODY, MODEL_BODY, STREAM_ANSWER, STREAM_BODY, errors
from serving.problems import MODEL_CHANGING, TIMEOUT, UNUSABLE_MODEL, Problem, busy, not_ready
from serving.schemas import ClassifyResponse, Health, Limits, ModelCard
from serving.served import ServedModel
from serving.service import Changing, Service
from serving.streaming import StreamAnswer, ahead_bytes, ahead_excerpts
from tl_classifier.errors import BundleError
from tl_classifier.excerpts import Excerpt, Prediction, record

router = APIRouter()

_THREAD_FROM = 256
"""Answers of this many records and more are written in a thread, so that others are not kept waiting."""

_UNWATCHED = 0.2
"""Seconds for which nobody looks whether a client still waits: most answers are there by then."""

_T = TypeVar("_T")


@router.post(
    "/v1/classify",
    tags=["coding"],
    summary="Code excerpts",
    response_model=ClassifyResponse,
    responses=errors(400, 401, 408, 413, 415, 421, 422, 500, 503, 504),
    openapi_extra={"requestBody": CLASSIFY_BODY},
)
async def classify(request: Request) -> Response:
    """Codes, groups and calibrated probabilities of each excerpt, in the order of the request.

    The request is coded as a whole or not at all: an excerpt that is too long, or has no letter or digit, makes it
    a problem that says which one. Where the queue is full, the answer is 503 at once, with the seconds after which to
    try again.
    """
    service: Service = request.app.state.service
    notes: dict[str, int] = request.scope["state"]["notes"]
    try:
        service.served.batcher.check()
        with service.memory.share() as share:
            asked = await read_request(request, share, service.settings)
            excerpts = asked.excerpts
            notes |= {"excerpts": len(excerpts), "bytes": share.held}
            served = service.served  # from here on, whatever takes its place
            check_precision(asked, served.classifier)
            with served.lease():
                predictions = await _unless_gone(request, served.code(asked), service.settings.request_seconds)
            service.metrics.request_excerpts.observe(len(excerpts))
            service.metrics.excerpts.inc(len(excerpts))
            if len(excerpts) < _THREAD_FROM:
                body = _answer(served, excerpts, predictions)
            else:
                body = await asyncio.to_thread(_answer, served, excerpts, predictions)
    except QueueFull as full:
        raise busy(full.retry_after) from None
    except Closed:
        raise _no_work(service) from None
    return Response(body, media_type="application/json")


@router.post(
    "/v1/classify/stream",
    tags=["coding"],
    summary="Code a stream of excerpts",
    response_class=Response,
    responses={200: STREAM_ANSWER, **errors(401, 415, 421, 500, 503)},
    openapi_extra={"requestBody": STREAM_BODY},
)
async def classify_stream(request: Request) -> Response:
    """Excerpts in, records out, one JSON object a line, in the order of the lines; as many as you like.

    A record is written as soon as it and those before it are scored. The server reads no faster than it scores: it
    holds a few hundred lines at a time (see `/v1/limits`), so read answers while you send. A line that is not right is
    answered with its number and a problem, and the stream goes on; empty lines are passed over. One model codes the
    whole stream, even where another takes its place meanwhile.

    A stream that cannot be brought to its end (the server is being stopped; nothing arrived for too long) ends with a
    problem in which `ended` is true and `line` says from which line on nothing was coded. An answer that breaks off
    without a last line end was interrupted.
    """
    return StreamAnswer(request.app.state.service)


@router.get("/v1/codebook", tags=["model"], summary="The codebook", responses=errors(401, 421, 500, 503))
async def codebook(request: Request) -> dict[str, Any]:
    """The codebook of the model, in the form of its file: dimensions, groups and codes with their definitions."""
    service: Service = request.app.state.service
    return service.served.classifier.codebook.to_dict()


@router.get(
    "/v1/model", tags=["model"], summary="The model", response_model=ModelCard, responses=errors(401, 421, 500, 503)
)
async def model(request: Request) -> dict[str, Any]:
    """The model that serves, and what its bundle says of it: base model, metrics, when and of what it was trained."""
    service: Service = request.app.state.service
    return service.served.card


@router.post(
    "/v1/model",
    tags=["operation"],
    summary="Change the model",
    response_model=ModelCard,
    responses=errors(400, 401, 403, 408, 409, 413, 415, 421, 422, 500, 503),
    openapi_extra={"requestBody": MODEL_BODY},
)
async def change_model(request: Request) -> dict[str, Any]:
    """Serve with another model from now on; this needs an administrator's key.

    The new model is loaded, checked and tried out beside the old one, then takes its place: what was accepted before is
    answered by the old one, what comes later by the new one, and nothing is dropped. The answer comes when the new
    one serves. Where it cannot be used, the old one goes on serving and the answer is a problem.
    """
    service: Service = request.app.state.service
    service.guard.check_admin(request.headers.get("authorization", ""))
    with service.memory.share() as share:
        name = await read_model(request, share, service.settings)
    try:
        changed = await service.change(lambda: _find(service, name))
    except Changing as error:
        raise Problem(
            MODEL_CHANGING, f"{error}; try again after the seconds in Retry-After.", headers={"Retry-After": "5"}
        ) from None
    except BundleError as error:
        raise Problem(UNUSABLE_MODEL, str(error), errors=[{"pointer": "#/model", "detail": str(error)}]) from None
    return changed.card


@router.get(
    "/v1/limits",
    tags=["coding"],
    summary="What the server takes",
    response_model=Limits,
    responses=errors(401, 421, 500),
)
async def limits(request: Request) -> dict[str, int]:
    """How large requests, excerpts and lines may be: what a client needs to know to cut a corpus into requests."""
    settings = request.app.state.service.settings
    return {
        "request_bytes": int(settings.max_request_bytes),
        "request_excerpts": settings.max_excerpts,
        "excerpt_characters": settings.max_characters,
        "line_bytes": int(settings.max_line_bytes),
        "stream_ahead_excerpts": ahead_excerpts(settings),
        "stream_ahead_bytes": ahead_bytes(settings),
    }


@router.get(
    "/healthz", tags=["operation"], summary="Whether it lives", response_model=Health, responses=errors(421, 500, 503)
)
async def healthz(request: Request) -> dict[str, str]:
    """Whether the server works; where it does not, it should be restarted."""
    service: Service = request.app.state.service
    if not service.draining and not service.served.batcher.accepting:
        raise _no_work(service)
    return {"status": "ok"}


@router.get(
    "/readyz",
    tags=["operation"],
    summary="Whether it takes work",
    response_model=Health,
    responses=errors(421, 500, 503),
)
async def readyz(request: Request) -> dict[str, str]:
    """Whether work should be sent here: the model is loaded and the server is not shutting down."""
    service: Service = request.app.state.service
    if service.draining or not service.served.batcher.accepting:
        raise _no_work(service)
    return {"status": "ready"}


@router.get(
    "/metrics",
    tags=["operation"],
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **errors(401, 421, 500)},
)
async def metrics(request: Request) -> Response:
    """Requests, excerpts, batches, the queue, waits and inference times; no label comes from what was sent."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _find(service: Service, name: str) -> Path:
    """The folder of the model that an administrator means.

    Unless folders are allowed, a name is looked up among the registry's own, and no path is made of it: nobody learns
    from the answer what there is on this machine's disks.

    Raises:
        BundleError: if there is no such model; the sentence does not repeat the name.
    """
    if service.settings.allow_model_folders and Path(name).is_absolute():
        return Path(name)
    try:
        entry = service.registry.get(name)
    except BundleError:
        there = ", ".join(entry.id for entry in service.registry.entries()[-8:]) or "none but the default"
        raise BundleError(f"There is no such model in the registry; it has: {there}.") from None
    return entry.path


def _no_work(service: Service) -> Problem:
    return not_ready(
        "The server is shutting down."
        if service.draining
        else "The model's worker has stopped; the server must be restarted."
    )


def _answer(served: ServedModel, excerpts: Sequence[Excerpt], predictions: Sequence[Prediction]) -> bytes:
    name = served.classifier.model
    records = [
        to_json(record(excerpt, prediction, model=name, with_text=False))
        for excerpt, prediction in zip(excerpts, predictions, strict=True)
    ]
    return b'{"model":' + to_json(served.label) + b',"predictions":[' + b",".join(records) + b"]}"


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
    """The result of `work`, which is cancelled where the client hangs up or time runs out.

    Raises:
        ClientDisconnect: if the client hung up.
        Problem: if it took longer than `seconds`.
    """
    task = asyncio.ensure_future(work)
    gone: asyncio.Future[None] | None = None
    try:
        await asyncio.wait({task}, timeout=min(_UNWATCHED, seconds))
        if not task.done():
            gone = asyncio.ensure_future(_gone(request))
            await asyncio.wait({task, gone}, timeout=max(seconds - _UNWATCHED, 0), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone is not None and gone.done():
            raise ClientDisconnect
        raise Problem(TIMEOUT, f"The request was not scored within {seconds:g} seconds; send fewer excerpts at once.")
    finally:
        task.cancel()
        if gone is not None:
            gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

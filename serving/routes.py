"""What the server answers at each address."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from serving.batching import Closed, QueueFull
from serving.bodies import read_excerpts
from serving.openapi import CLASSIFY_BODY, errors
from serving.problems import TIMEOUT, Problem, busy, not_ready
from serving.schemas import ClassifyResponse, Health, ModelCard
from serving.service import ServedModel, Service
from tl_classifier.excerpts import Excerpt, Prediction, record

router = APIRouter()

_THREAD_FROM = 256
"""Answers of this many records and more are written in a thread, so that others are not kept waiting."""

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
    served = service.served
    try:
        served.batcher.check()
        with service.memory.share() as share:
            excerpts = await read_excerpts(request, share, service.settings)
            notes |= {"excerpts": len(excerpts), "bytes": share.held}
            predictions = await _unless_gone(
                request, served.batcher.predict(excerpts), service.settings.request_seconds
            )
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
    served = service.served
    return {
        **served.label,
        "codebook_fingerprint": served.classifier.codebook.fingerprint,
        "info": served.classifier.info,
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
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise Problem(TIMEOUT, f"The request was not scored within {seconds:g} seconds; send fewer excerpts at once.")
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

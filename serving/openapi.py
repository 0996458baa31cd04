"""The OpenAPI document: what the routes say of themselves, with the body of a request, its limits and every error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from serving import problems
from serving.problems import MEDIA_TYPE, Kind
from serving.schemas import ClassifyRequest, ProblemDetails
from serving.settings import Settings

_REF = "#/components/schemas/{model}"
_KINDS = [kind for kind in vars(problems).values() if isinstance(kind, Kind)]

CLASSIFY_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": _REF.format(model="ClassifyRequest")}}},
}
"""The body of a request to classify. The route reads it itself, to bound it, so FastAPI does not know of it."""

_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer", "minimum": 1}}
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the problems that a route may answer with."""
    return {status: _error(status) for status in statuses}


def _error(status: int) -> dict[str, Any]:
    kinds = [kind for kind in _KINDS if kind.status == status]
    entry: dict[str, Any] = {
        "description": "; ".join(kind.title for kind in kinds) + ".",
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": _REF.format(model="ProblemDetails")},
                "examples": {kind.name: {"value": _example(kind)} for kind in kinds},
            }
        },
    }
    if status == problems.BUSY.status:
        entry["headers"] = _RETRY_AFTER
    return entry


def _example(kind: Kind) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.example,
        "instance": "urn:uuid:3b1f0c1e-5a0e-4c53-9c3f-0f0b4f3a7f52",
    }
    if kind in (problems.INVALID_REQUEST, problems.TOO_MANY_EXCERPTS):
        pointer = "#/excerpts/3/text" if kind is problems.INVALID_REQUEST else "#/excerpts"
        example["errors"] = [{"pointer": pointer, "detail": kind.example}]
    return example


def describe(app: FastAPI, settings: Settings, *, asks_for_key: bool) -> dict[str, Any]:
    """The document of `app` under these settings."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    _, extra = models_json_schema(
        [(ClassifyRequest, "validation"), (ProblemDetails, "serialization")], ref_template=_REF
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas |= extra["$defs"]
    schemas["ClassifyRequest"]["properties"]["excerpts"]["maxItems"] = settings.max_excerpts
    schemas["ExcerptIn"]["properties"]["text"]["maxLength"] = settings.max_characters
    if asks_for_key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for operations in document["paths"].values():
            for operation in operations.values():
                if "401" in operation["responses"]:
                    operation["security"] = [{"key": []}]
    return document

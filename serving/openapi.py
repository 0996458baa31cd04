"""The OpenAPI document: what the routes say of themselves, with the body of a request, its limits and every error."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from serving import problems
from serving.problems import MEDIA_TYPE, Kind
from serving.schemas import ChangeModel, ClassifyRequest, LineProblem, ProblemDetails, Record
from serving.settings import Settings

_REF = "#/components/schemas/{model}"
_KINDS = [kind for kind in vars(problems).values() if isinstance(kind, Kind)]

CLASSIFY_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": _REF.format(model="ClassifyRequest")}}},
}
"""The body of a request to classify. The route reads it itself, to bound it, so FastAPI does not know of it."""

MODEL_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": _REF.format(model="ChangeModel")}}},
}
"""The body of a request to change the model."""


def _lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


_EXAMPLE_INSTANCE = "urn:uuid:3b1f0c1e-5a0e-4c53-9c3f-0f0b4f3a7f52"
_LINES_IN = _lines(
    {"id": "a", "text": "Nobody had asked us that before. I was lost.", "document": "P03.txt", "speaker": "P03"},
    {"id": "b", "text": "..."},
    {"id": "c", "text": "We had lunch at one."},
)
_LINES_OUT = _lines(
    {
        **{"id": "a", "document": "P03.txt", "speaker": "P03", "turn": None},
        "codes": {"stage": ["disorienting_dilemma"], "theme": []},
        "groups": {"stage": ["challenged_beliefs"], "theme": []},
        "probabilities": {"stage": {"disorienting_dilemma": 0.9731}, "theme": {"facilitators": 0.0113}},
        "model": "interviews@2026.01.31-0f3c55aa",
    },
    {
        "line": 2,
        "problem": {
            "type": problems.INVALID_REQUEST.type,
            "title": problems.INVALID_REQUEST.title,
            "status": problems.INVALID_REQUEST.status,
            "detail": "text has no letter or digit to code.",
            "instance": _EXAMPLE_INSTANCE,
            "errors": [{"pointer": "#/text", "detail": "text has no letter or digit to code."}],
        },
        "ended": False,
    },
    {
        **{"id": "c", "document": None, "speaker": None, "turn": None},
        "codes": {"stage": [], "theme": []},
        "groups": {"stage": [], "theme": []},
        "probabilities": {"stage": {"disorienting_dilemma": 0.0021}, "theme": {"facilitators": 0.0102}},
        "model": "interviews@2026.01.31-0f3c55aa",
    },
)

STREAM_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/x-ndjson": {
            "schema": {
                "type": "string",
                "description": "One JSON object a line, as in the list `excerpts` of a request to classify.",
                "x-line": {"$ref": _REF.format(model="ExcerptIn")},
            },
            "example": _LINES_IN,
        }
    },
}
"""The body of a stream."""

STREAM_ANSWER: dict[str, Any] = {
    "description": "A line for each line that was sent, in order, as they are scored.",
    "content": {
        "application/x-ndjson": {
            "schema": {
                "type": "string",
                "description": "One JSON object a line: a record, or the problem of the line.",
                "x-line": {
                    "oneOf": [{"$ref": _REF.format(model="Record")}, {"$ref": _REF.format(model="LineProblem")}]
                },
            },
            "example": _LINES_OUT,
        }
    },
}
"""The answer to a stream."""

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
    if status in (problems.BUSY.status, problems.MODEL_CHANGING.status):
        entry["headers"] = _RETRY_AFTER
    return entry


def _example(kind: Kind) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.example,
        "instance": _EXAMPLE_INSTANCE,
    }
    if pointer := _POINTERS.get(kind):
        example["errors"] = [{"pointer": pointer, "detail": kind.example}]
    return example


_POINTERS = {
    problems.INVALID_REQUEST: "#/excerpts/3/text",
    problems.TOO_MANY_EXCERPTS: "#/excerpts",
    problems.UNUSABLE_MODEL: "#/model",
}


def describe(app: FastAPI, settings: Settings, *, asks_for_key: bool) -> dict[str, Any]:
    """The document of `app` under these settings."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    _, extra = models_json_schema(
        [
            (ClassifyRequest, "validation"),
            (ChangeModel, "validation"),
            (ProblemDetails, "serialization"),
            (LineProblem, "serialization"),
            (Record, "serialization"),
        ],
        ref_template=_REF,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas |= extra["$defs"]
    schemas["ClassifyRequest"]["properties"]["excerpts"]["maxItems"] = settings.max_excerpts
    fields = schemas["ExcerptIn"]["properties"]
    fields["text"]["maxLength"] = settings.max_characters
    fields["context"]["anyOf"][0]["maxLength"] = settings.max_characters
    schemes = components["securitySchemes"] = {
        "administrator": {"type": "http", "scheme": "bearer", "description": "An administrator's key."}
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            if "403" in operation["responses"]:
                operation["security"] = [{"administrator": []}]
    if asks_for_key:
        schemes["key"] = {"type": "http", "scheme": "bearer", "description": "An API key."}
        for operations in document["paths"].values():
            for operation in operations.values():
                if "401" in operation["responses"] and "403" not in operation["responses"]:
                    operation["security"] = [{"key": []}]
    return document

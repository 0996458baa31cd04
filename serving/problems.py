"""Errors as the API gives them: problem details after RFC 9457. They never quote what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem.

    Attributes:
        name: Last part of its type URI.
        status: HTTP status.
        title: What it is, the same for every occurrence.
        example: A `detail` for the documentation.
    """

    name: str
    status: int
    title: str
    example: str

    @property
    def type(self) -> str:
        """The URI that identifies the kind; it identifies, and leads nowhere."""
        return f"urn:tl-classifier:problem:{self.name}"


MALFORMED_JSON = Kind("malformed-json", 400, "The body is not JSON", "The body is not JSON: see line 1, column 17.")
UNAUTHORIZED = Kind(
    "unauthorized", 401, "An API key is needed", "Send an accepted API key in the header: Authorization: Bearer KEY."
)
FORBIDDEN = Kind(
    "forbidden",
    403,
    "This is for administrators",
    "Changing the model needs an administrator's key; the server was started without one.",
)
NOT_FOUND = Kind("not-found", 404, "There is nothing here", "There is nothing at this address; see /docs.")
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed", 405, "This method is not allowed here", "This address takes other methods: POST."
)
BODY_TIMEOUT = Kind(
    "body-timeout", 408, "The body did not arrive in time", "The body did not arrive within 300 seconds."
)
MODEL_CHANGING = Kind(
    "model-changing",
    409,
    "The model is being changed already",
    "Another change of the model is under way; try again after the seconds in Retry-After.",
)
BODY_TOO_LARGE = Kind(
    "body-too-large", 413, "The body is too large", "A body may have 33554432 bytes; send several requests."
)
LINE_TOO_LONG = Kind(
    "line-too-long", 413, "The line is too long", "A line may have 1048576 bytes; this one was passed over."
)
TOO_MANY_EXCERPTS = Kind(
    "too-many-excerpts",
    422,
    "Too many excerpts",
    "A request may have 10000 excerpts, this one has 100000; send several requests.",
)
UNSUPPORTED_MEDIA_TYPE = Kind(
    "unsupported-media-type",
    415,
    "The body is of another type than this address takes",
    "The header Content-Type must be application/json, in UTF-8.",
)
UNKNOWN_HOST = Kind(
    "unknown-host", 421, "This server does not go by that name", "Address the server as: localhost, 127.0.0.1, [::1]."
)
INVALID_REQUEST = Kind(
    "invalid-request", 422, "The request is not valid", "excerpts[3].text has no letter or digit to code."
)
UNUSABLE_MODEL = Kind(
    "unusable-model",
    422,
    "The model cannot be used",
    "There is no such model in the registry; it has: interviews@2026.01.31-0f3c55aa.",
)
INTERNAL = Kind(
    "internal-error",
    500,
    "Something went wrong in the server",
    "The server failed to answer; its log has more under the request id in `instance`.",
)
BUSY = Kind("busy", 503, "The server is busy", "The queue is full; try again after the seconds in Retry-After.")
NOT_READY = Kind("not-ready", 503, "The server takes no work", "The server is shutting down.")
TIMEOUT = Kind(
    "timeout",
    504,
    "Scoring took too long",
    "The request was not scored within 300 seconds; send fewer excerpts at once.",
)


class Problem(Exception):
    """Raised where a request ends in a problem.

    Args:
        kind: Which.
        detail: One sentence on this occurrence; it must not quote what was sent.
        errors: Places in the body, each with a JSON `pointer` and a `detail`.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def document(self, instance: str) -> dict[str, Any]:
        """The problem details of the request with the URI `instance`."""
        body: dict[str, Any] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return body

    def response(self, instance: str) -> Response:
        """The answer to the request with the URI `instance`."""
        return Response(to_json(self.document(instance)), self.kind.status, self.headers, MEDIA_TYPE)


def busy(retry_after: int, detail: str = "The queue is full") -> Problem:
    """The problem of a server that has too much to do, to be tried again in `retry_after` seconds."""
    return Problem(
        BUSY,
        f"{detail}; try again after the seconds in Retry-After.",
        headers={"Retry-After": str(retry_after)},
    )


def not_ready(detail: str) -> Problem:
    """The problem of a server that takes no work (any more): another one, or this one later, may."""
    return Problem(NOT_READY, detail, headers={"Retry-After": "5", "Connection": "close"})

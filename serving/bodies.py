"""From the bytes of a request to excerpts: size, JSON, fields and text are checked in this order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from serving.problems import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    INVALID_REQUEST,
    MALFORMED_JSON,
    TOO_MANY_EXCERPTS,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    busy,
)
from serving.schemas import ClassifyRequest
from serving.settings import Settings
from tl_classifier.excerpts import Excerpt
from tl_classifier.preprocessing import is_blank

MAX_PLACES = 100
"""How many places a problem lists."""

_THREAD_FROM = 64 * 1024
"""Bodies of this many bytes and more are parsed in a thread, so that others are not kept waiting."""


class Memory:
    """Bytes of the bodies of all requests at hand; they are bounded together.

    Args:
        limit: Most bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        """How many bytes are held."""

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share to be filled, given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.held

    def take(self, size: int) -> bool:
        """Take `size` bytes if they are there."""
        if self.held + size > self._limit:
            return False
        self.held += size
        return True


class Share:
    """One request's share of `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0
        """How many bytes it holds."""

    def take(self, size: int) -> None:
        """Take `size` bytes more.

        Raises:
            Problem: if there is no room for them.
        """
        if not self._memory.take(size):
            raise busy(1, "The server holds as much text as it may")
        self.held += size


def check_headers(request: Request, settings: Settings) -> None:
    """Check what the headers say of the body.

    A web page of another origin can send only what a form can, and JSON is not among it: that
    ``application/json`` is asked for keeps such pages out.

    Raises:
        Problem: if the body is not JSON in UTF-8, or too large.
    """
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters, re.IGNORECASE)
    if media_type.strip().lower() != "application/json" or (charset and charset[1].lower() not in ("utf-8", "utf8")):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "The header Content-Type must be application/json, in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed: leave the header Content-Encoding out.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > settings.max_request_bytes:
        raise _too_large(settings)


async def read_body(request: Request, share: Share, settings: Settings) -> bytearray:
    """The body; its size is watched while it arrives.

    Raises:
        Problem: if it grows too large, does not arrive in time, or the server holds too much already.
        ClientDisconnect: if the client hangs up.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(settings.request_seconds):
            async for chunk in request.stream():
                if len(body) + len(chunk) > settings.max_request_bytes:
                    raise _too_large(settings)
                share.take(len(chunk))
                body += chunk
    except TimeoutError:
        raise Problem(
            BODY_TIMEOUT,
            f"The body did not arrive within {settings.request_seconds:g} seconds.",
            headers={"Connection": "close"},
        ) from None
    return body


async def read_excerpts(request: Request, share: Share, settings: Settings) -> list[Excerpt]:
    """The excerpts of a request to classify.

    Raises:
        Problem: if they cannot be had.
        ClientDisconnect: if the client hangs up.
    """
    check_headers(request, settings)
    body = await read_body(request, share, settings)
    if len(body) < _THREAD_FROM:
        return parse_excerpts(body, settings)
    return await asyncio.to_thread(parse_excerpts, body, settings)


def parse_excerpts(body: bytes | bytearray, settings: Settings) -> list[Excerpt]:
    """The excerpts in a body.

    Raises:
        Problem: if it is not JSON, has other fields than it should, too many excerpts, or texts that are too long or
            have nothing to code.
    """
    try:
        given = ClassifyRequest.model_validate_json(body).excerpts
    except ValidationError as error:
        raise _not_valid(error) from None
    if len(given) > settings.max_excerpts:
        detail = (
            f"A request may have {settings.max_excerpts} excerpts, this one has {len(given)}; send several requests."
        )
        raise Problem(TOO_MANY_EXCERPTS, detail, errors=[{"pointer": "#/excerpts", "detail": detail}])
    places: list[tuple[str, str]] = []
    for index, excerpt in enumerate(given):
        if len(excerpt.text) > settings.max_characters:
            wrong = f"has {len(excerpt.text)} characters, more than the {settings.max_characters} that are allowed"
            places.append((f"/excerpts/{index}/text", wrong))
        elif is_blank(excerpt.text):
            places.append((f"/excerpts/{index}/text", "has no letter or digit to code"))
    if places:
        raise _invalid(places)
    return [Excerpt(text=e.text, id=e.id, document=e.document, speaker=e.speaker, turn=e.turn) for e in given]


def _too_large(settings: Settings) -> Problem:
    return Problem(BODY_TOO_LARGE, f"A body may have {settings.max_request_bytes:d} bytes; send several requests.")


_CLAUSES = {
    "missing": "is missing",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "extra_forbidden": "has a field that is not known",
    "string_too_long": "is too long",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
}


def _not_valid(error: ValidationError) -> Problem:
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        place = re.search(r"line \d+ column \d+", found[0]["msg"])
        where = f": see {place[0].replace(' column', ', column')}" if place else ""
        return Problem(MALFORMED_JSON, f"The body is not JSON in UTF-8{where}.")
    return _invalid([_place(one) for one in found])


def _place(found: Any) -> tuple[str, str]:
    location = list(found["loc"])
    if found["type"] == "extra_forbidden":
        location.pop()  # the name of the unknown field, which may be anything
    clause = _CLAUSES.get(found["type"], "is not valid")
    limit = found.get("ctx", {})
    if found["type"] == "string_too_long":
        clause += f": at most {limit['max_length']} characters"
    elif found["type"] == "greater_than_equal":
        clause += f": at least {limit['ge']}"
    elif found["type"] == "less_than_equal":
        clause += f": at most {limit['le']}"
    return "".join(f"/{part}" for part in location), clause


def _invalid(places: list[tuple[str, str]]) -> Problem:
    sentences = [f"{_in_words(pointer)} {clause}" for pointer, clause in places[:MAX_PLACES]]
    more = f" ({len(places) - 1} more: see errors)" if places[1:] else ""
    return Problem(
        INVALID_REQUEST,
        f"{sentences[0]}{more}.",
        errors=[
            {"pointer": f"#{pointer}", "detail": f"{sentence}."}
            for (pointer, _), sentence in zip(places, sentences, strict=False)
        ],
    )


def _in_words(pointer: str) -> str:
    """The pointer ``/excerpts/3/text`` as ``excerpts[3].text``."""
    if not pointer:
        return "The body"
    return re.sub(r"/(\d+)", r"[\1]", pointer).replace("/", ".").removeprefix(".")

"""From the bytes of a request to excerpts: size, JSON, fields and text are checked in this order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from serving.problems import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    INVALID_REQUEST,
    LINE_TOO_LONG,
    MALFORMED_JSON,
    TOO_MANY_EXCERPTS,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    busy,
)
from serving.schemas import ChangeModel, ClassifyRequest, ExcerptIn
from serving.settings import Settings
from tl_classifier.classifier import Classifier
from tl_classifier.excerpts import Excerpt
from tl_classifier.preprocessing import is_blank

MAX_PLACES = 100
"""How many places a problem lists."""

THREAD_FROM = 64 * 1024
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


def check_media_type(request: Request, expected: str) -> None:
    """Check what the headers say of the body's form.

    A web page of another origin can send only what a form can, and neither JSON nor NDJSON is among it: that these
    types are asked for keeps such pages out.

    Raises:
        Problem: if it is not of the type `expected` in UTF-8, or compressed.
    """
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters, re.IGNORECASE)
    if media_type.strip().lower() != expected or (charset and charset[1].lower() not in ("utf-8", "utf8")):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"The header Content-Type must be {expected}, in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed: leave the header Content-Encoding out.")


def check_length(request: Request, settings: Settings) -> None:
    """Check what the headers say of the body's size.

    Raises:
        Problem: if it is too large.
    """
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request to classify asks for.

    Attributes:
        excerpts: To be coded.
        evidence: Whether the evidence is to be named.
        precision: What share of the accepted codes is to be right; None where nothing is to be accepted.
    """

    excerpts: list[Excerpt]
    evidence: bool
    precision: float | None


async def read_request(request: Request, share: Share, settings: Settings) -> Asked:
    """What a request to classify asks for.

    Raises:
        Problem: if they cannot be had.
        ClientDisconnect: if the client hangs up.
    """
    check_media_type(request, "application/json")
    check_length(request, settings)
    body = await read_body(request, share, settings)
    if len(body) < THREAD_FROM:
        return parse_request(body, settings)
    return await asyncio.to_thread(parse_request, body, settings)


def parse_request(body: bytes | bytearray, settings: Settings) -> Asked:
    """What a body asks for.

    Raises:
        Problem: if it is not JSON, has other fields than it should, too many excerpts, or texts that are too long or
            have nothing to code.
    """
    try:
        asked = ClassifyRequest.model_validate_json(body)
    except ValidationError as error:
        raise _not_valid(error) from None
    given = asked.excerpts
    if len(given) > settings.max_excerpts:
        detail = (
            f"A request may have {settings.max_excerpts} excerpts, this one has {len(given)}; send several requests."
        )
        raise Problem(TOO_MANY_EXCERPTS, detail, errors=[{"pointer": "#/excerpts", "detail": detail}])
    places = [
        (f"/excerpts/{index}/{field}", wrong)
        for index, excerpt in enumerate(given)
        for field, wrong in _wrong_texts(excerpt, settings)
    ]
    if places:
        raise _invalid(places)
    return Asked([_excerpt(one) for one in given], asked.evidence, asked.precision)


def check_precision(asked: Asked, classifier: Classifier) -> None:
    """See that the model can promise the precision that is asked for.

    Raises:
        Problem: if it cannot.
    """
    if asked.precision is None:
        return
    known = classifier.decoding.precisions
    if asked.precision not in known:
        right = f"it was fitted for {', '.join(map(str, known))}" if known else "it was fitted for none"
        raise _invalid([("/precision", f"cannot be promised by this model: {right}")])


def parse_line(line: bytes | None, settings: Settings) -> Excerpt:
    """The excerpt in a line of a stream; None stands for a line that was too long to be kept.

    Raises:
        Problem: as for `parse_request`, with pointers into the line.
    """
    if line is None:
        raise Problem(LINE_TOO_LONG, f"A line may have {settings.max_line_bytes:d} bytes; this one was passed over.")
    try:
        given = ExcerptIn.model_validate_json(line)
    except ValidationError as error:
        raise _not_valid(error, "The line") from None
    if wrong := _wrong_texts(given, settings):
        raise _invalid([(f"/{field}", clause) for field, clause in wrong])
    return _excerpt(given)


async def read_model(request: Request, share: Share, settings: Settings) -> str:
    """Which model a request to change it names.

    Raises:
        Problem: if it cannot be had.
        ClientDisconnect: if the client hangs up.
    """
    check_media_type(request, "application/json")
    check_length(request, settings)
    body = await read_body(request, share, settings)
    try:
        return ChangeModel.model_validate_json(body).model
    except ValidationError as error:
        raise _not_valid(error) from None


def _wrong_texts(given: ExcerptIn, settings: Settings) -> list[tuple[str, str]]:
    """Fields of an excerpt that hold too much or too little, and what is wrong with each."""
    wrong = [
        (field, f"has {len(value)} characters, more than the {settings.max_characters} that are allowed")
        for field, value in (("text", given.text), ("context", given.context))
        if value is not None and len(value) > settings.max_characters
    ]
    if not wrong and is_blank(given.text):
        wrong.append(("text", "has no letter or digit to code"))
    return wrong


def _excerpt(given: ExcerptIn) -> Excerpt:
    return Excerpt(
        text=given.text,
        id=given.id,
        document=given.document,
        speaker=given.speaker,
        turn=given.turn,
        context=given.context,
    )


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
    "string_too_short": "is empty",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
}


def _not_valid(error: ValidationError, whole: str = "The body") -> Problem:
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        place = re.search(r"line \d+ column \d+", found[0]["msg"])
        where = f": see {place[0].replace(' column', ', column')}" if place else ""
        return Problem(MALFORMED_JSON, f"{whole} is not JSON in UTF-8{where}.")
    return _invalid([_place(one) for one in found], whole)


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


def _invalid(places: list[tuple[str, str]], whole: str = "The body") -> Problem:
    sentences = [f"{_in_words(pointer) or whole} {clause}" for pointer, clause in places[:MAX_PLACES]]
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
    """The pointer ``/excerpts/3/text`` as ``excerpts[3].text``; empty for the whole."""
    return re.sub(r"/(\d+)", r"[\1]", pointer).replace("/", ".").removeprefix(".")

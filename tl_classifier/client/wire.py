"""What goes over the wire: excerpts to JSON, answers to predictions, and a corpus cut into requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from tl_classifier.client.errors import ProblemDetail
from tl_classifier.excerpts import Excerpt, Prediction

Outcome = Prediction | ProblemDetail
"""What the server says of an excerpt."""

REQUEST_EXCERPTS = 1_000
"""Most excerpts in a request, whatever the server takes: what has to be sent again if a request fails stays small."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes.

    Attributes:
        request_bytes: Largest body of a request.
        request_excerpts: Most excerpts in a request.
        excerpt_characters: Longest excerpt, in Unicode code points.
        line_bytes: Longest line of a stream.
        stream_ahead_excerpts: Lines that a stream takes in before any of its answers is taken.
        stream_ahead_bytes: Bytes, likewise.
    """

    request_bytes: int
    request_excerpts: int
    excerpt_characters: int
    line_bytes: int
    stream_ahead_excerpts: int
    stream_ahead_bytes: int

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """From its JSON."""
        return cls(**{field.name: int(given[field.name]) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The model that serves.

    Attributes:
        name: Its name.
        version: Its version.
        codebook: Name of its codebook.
        codebook_version: Version of that.
        codebook_fingerprint: Changes where dimensions, codes or their order do.
        info: What its bundle says of it.
    """

    name: str
    version: str
    codebook: str
    codebook_version: str
    codebook_fingerprint: str
    info: Mapping[str, Any]

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """From its JSON."""
        return cls(**{field.name: given[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class Item:
    """An excerpt, ready to be sent.

    Attributes:
        excerpt: The excerpt.
        body: Its JSON.
    """

    excerpt: Excerpt
    body: bytes


def as_item(given: str | Excerpt) -> Item:
    """What a caller gives, ready to be sent. Offsets stay here, since they mean nothing to the server.

    Raises:
        TypeError: if it is something else.
    """
    if not isinstance(given, str | Excerpt):
        raise TypeError("each item must be a text or an Excerpt")
    excerpt = Excerpt(text=given) if isinstance(given, str) else given
    sent = {name: getattr(excerpt, name) for name in ("id", "text", "document", "speaker", "turn", "context")}
    # Escaped, since a lone surrogate has no form in UTF-8; the server says where it is.
    return Item(excerpt, json.dumps({k: v for k, v in sent.items() if v is not None}).encode("ascii"))


class Cutter:
    """Cuts a sequence into parts that the server takes; an item that is too large goes alone, for it to refuse.

    Args:
        most: Most items in a part.
        most_bytes: Most bytes, with a comma or line end for each item.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._part: list[Item] = []
        self._size = 0

    @classmethod
    def for_requests(cls, limits: Limits) -> Self:
        """For requests."""
        return cls(min(limits.request_excerpts, REQUEST_EXCERPTS), limits.request_bytes - len(_FRAME))

    @classmethod
    def for_streams(cls, limits: Limits) -> Self:
        """For streams that are sent whole before their answer is read."""
        return cls(limits.stream_ahead_excerpts, limits.stream_ahead_bytes)

    def add(self, given: str | Excerpt) -> list[Item]:
        """Add what comes next; the part before it, where that is full, else nothing."""
        item = as_item(given)
        size = len(item.body) + 1
        full = len(self._part) == self._most or self._size + size > self._most_bytes
        part = self.rest() if full else []
        self._part.append(item)
        self._size += size
        return part

    def rest(self) -> list[Item]:
        """What is in no part yet."""
        part, self._part, self._size = self._part, [], 0
        return part

    def cut(self, given: Iterable[str | Excerpt]) -> Iterator[list[Item]]:
        """The parts of a whole sequence, as they fill."""
        if isinstance(given, str):
            raise TypeError("give a list of texts, not one text")
        for one in given:
            if part := self.add(one):
                yield part
        if part := self.rest():
            yield part


_FRAME = b'{"excerpts":[]}'


def request_body(part: Sequence[Item]) -> bytes:
    """The body of a request."""
    return _FRAME[:-2] + b",".join(item.body for item in part) + _FRAME[-2:]


def stream_body(part: Sequence[Item]) -> bytes:
    """The body of a stream."""
    return b"".join(item.body + b"\n" for item in part)


def predictions(answer: Mapping[str, Any], count: int) -> list[Prediction]:
    """The predictions in the answer to a request of `count` excerpts.

    Raises:
        KeyError, TypeError, ValueError: if it is not such an answer.
    """
    found = [_prediction(row) for row in answer["predictions"]]
    if len(found) != count:
        raise ValueError("there is not one record for each excerpt")
    return found


def outcomes(answer: str, count: int) -> tuple[list[Outcome], ProblemDetail | None]:
    """The outcomes in the answer to a stream of `count` excerpts, and why it ended before its end, if it did.

    Raises:
        KeyError, TypeError, ValueError: if it is not such an answer.
    """
    found: list[Outcome] = []
    for line in answer.splitlines():
        row = json.loads(line)
        if "problem" not in row:
            found.append(_prediction(row))
            continue
        problem = ProblemDetail.from_dict(row["problem"])
        if row["ended"]:
            return found, problem
        found.append(problem)
    if len(found) != count:
        raise ValueError("there is not one line for each excerpt")
    return found, None


def _prediction(row: Mapping[str, Any]) -> Prediction:
    return Prediction(
        codes={dimension: tuple(codes) for dimension, codes in row["codes"].items()},
        groups={dimension: tuple(groups) for dimension, groups in row["groups"].items()},
        probabilities=row["probabilities"],
        model=row["model"],
    )

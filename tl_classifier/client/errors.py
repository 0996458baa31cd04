"""What can go wrong between a client and the server. No error holds the text of an excerpt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from tl_classifier.errors import UserError


@dataclass(frozen=True, slots=True)
class ProblemDetail:
    """A problem as the server tells it, after RFC 9457.

    Attributes:
        type: URI that identifies the kind of problem.
        title: What it is.
        status: HTTP status.
        detail: A sentence on this occurrence.
        instance: URN of the request; the server's log has it.
        errors: Places in what was sent, as JSON pointers, and what is wrong at each: at most 100.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """From its JSON.

        Raises:
            KeyError, TypeError, ValueError: if it is not one.
        """
        return cls(
            type=str(given["type"]),
            title=str(given["title"]),
            status=int(given["status"]),
            detail=str(given["detail"]),
            instance=str(given.get("instance", "")),
            errors=tuple((str(place["pointer"]), str(place["detail"])) for place in given.get("errors", ())),
        )

    def moved(self, by: int) -> ProblemDetail:
        """The same, where the excerpts that were sent are `by` places further in what the caller gave."""
        if not by:
            return self

        def move(text: str) -> str:
            return re.sub(r"(excerpts[/\[])(\d+)", lambda found: f"{found[1]}{int(found[2]) + by}", text)

        errors = tuple((move(pointer), move(detail)) for pointer, detail in self.errors)
        return replace(self, detail=move(self.detail), errors=errors)


class ClientError(UserError):
    """Base of what a client raises."""


class Unreachable(ClientError):
    """The server could not be reached, or broke off, until the deadline."""


class ServerProblem(ClientError):
    """The server answered with a problem.

    Args:
        problem: Which.
    """

    def __init__(self, problem: ProblemDetail) -> None:
        super().__init__(problem.detail)
        self.problem = problem

    @staticmethod
    def of(problem: ProblemDetail) -> ServerProblem:
        """The error of the kind that fits the problem's status."""
        if problem.status in (401, 403):
            return NotAuthorized(problem)
        if problem.status in (429, 503):
            return Busy(problem)
        if problem.status >= 500:
            return ServerFailure(problem)
        return InvalidRequest(problem)


class NotAuthorized(ServerProblem):
    """The server asks for an API key, or for another one."""


class InvalidRequest(ServerProblem):
    """The server does not take what was sent; ``problem.errors`` says where."""


class Busy(ServerProblem):
    """The server was busy, or stopping, until the deadline."""


class ServerFailure(ServerProblem):
    """Something went wrong in the server, or between it and here."""

"""When to try again, and when to give up."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({429, 502, 503})
"""Statuses after which a request is tried again: it was refused, not begun."""

_FIRST, _LONGEST = 0.25, 30.0
"""Seconds that the first pause lasts at most, and any later one."""

_SPREAD = 0.25
"""By how much of itself a pause that the server asks for is drawn out, so that its clients do not all come back at
once."""


class Deadline:
    """The attempts at one piece of work.

    Args:
        seconds: How long they may take together.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._pauses = 0

    @property
    def left(self) -> float:
        """Seconds left, never quite none: an attempt that is made has a moment's time."""
        return max(self._end - time.monotonic(), 0.1)

    def pause(self, asked: float | None) -> float | None:
        """Seconds to wait before the next attempt; None where it would come too late.

        Args:
            asked: What the server asks for; None where it does not.
        """
        if asked is None:
            longest = min(_FIRST * 2**self._pauses, _LONGEST)
            seconds = random.uniform(longest / 2, longest)
        else:
            seconds = asked * random.uniform(1, 1 + _SPREAD)
        self._pauses += 1
        return seconds if time.monotonic() + seconds < self._end else None


def retry_after(value: str | None) -> float | None:
    """The seconds that a header Retry-After asks for, which may be a number or a date; None where it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)

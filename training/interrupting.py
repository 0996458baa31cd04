"""Ctrl-C that keeps what was learnt so far."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """While it is open, a first Ctrl-C only asks to stop; a second one interrupts as usual.

    Args:
        say: Told when it is first noticed that somebody has asked.

    Yields:
        A function: whether somebody has asked. Where signals cannot be caught (in another thread) nobody has.
    """
    asked = threading.Event()
    told = threading.Event()

    def noticed() -> bool:
        if asked.is_set() and not told.is_set():  # not in the handler, which may interrupt a print
            told.set()
            say("Stopping; the best so far is kept, calibrated and evaluated. (Ctrl-C again leaves at once.)")
        return asked.is_set()

    if threading.current_thread() is not threading.main_thread():
        yield noticed
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, before)

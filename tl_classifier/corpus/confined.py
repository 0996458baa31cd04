"""Formats whose libraries are not trusted with hostile files, read in a process of their own: .pdf and .rtf."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tl_classifier.corpus.plaintext import MAX_CHARACTERS
from tl_classifier.corpus.textfiles import readable
from tl_classifier.errors import InputError

MAX_BYTES = 200_000_000
"""Largest file: scanned pages beneath a text layer are large."""

MAX_MEMORY = 450_000_000
"""Address space of the process, in bytes, the libraries themselves (200 MB, little of it in memory) included."""

MAX_SECONDS = {"pdf": 60, "rtf": 20}
"""Time of the process, on a processor of its own; where it has to share one, three times that."""

MAX_PAGES = 3_000
"""Most pages of a PDF."""

_TAIL = 2048
_END = {"pdf": re.compile(rb"%%EOF"), "rtf": re.compile(rb"\}[\s\0\x1a]*\Z")}
"""What is near the end of a whole file. The libraries read what there is of one that is cut off, and do not say so."""

_PROBLEMS = {
    "password": "is protected with a password; save it without one",
    "pages": f"has more than {MAX_PAGES:,} pages; split it",
    "long": f"has more than {MAX_CHARACTERS:,} characters, too much for one transcript; split it",
    "damaged": "is damaged, or not what its ending says",
}


def read(kind: str, path: Path) -> dict[str, Any]:
    """What `tl_classifier.corpus._confined` prints of a file.

    Args:
        kind: ``pdf`` or ``rtf``.
        path: The file.

    Raises:
        InputError: if it cannot be read within the limits.
    """
    with readable(path), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    if size > MAX_BYTES:
        raise InputError(f"{path} has more than {MAX_BYTES // 1_000_000} MB, too much for one transcript; split it.")
    if _END[kind].search(tail) is None:
        raise InputError(f"{path} is cut off: its end is missing.")
    program = Path(__file__).with_name("_confined.py")
    seconds = MAX_SECONDS[kind]
    limits = map(str, (MAX_MEMORY, seconds, MAX_PAGES, MAX_CHARACTERS))
    command = [sys.executable, "-P", str(program), kind, os.path.abspath(path), *limits]  # noqa: PTH100 (not resolved)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=3 * seconds,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        # A library that is refused memory, or time, may well take the process down.
        raise InputError(
            f"{path} is not read: it takes more memory or time than any transcript would, or is damaged."
        ) from error
    answer: dict[str, Any] = json.loads(done.stdout)
    if "problem" in answer:
        raise InputError(f"{path} {_PROBLEMS[answer['problem']]}.")
    return answer

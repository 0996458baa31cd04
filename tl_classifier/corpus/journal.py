"""The journal of a run that is under way: what is done is not done twice, whatever happens.

It lies beside the output, as ``OUT.partial``, and can be read by its owner alone, since it holds what the output will
hold. Its first line says of what run it is; each further line is one chunk of records, and is on disk before the
next chunk is begun. A run that is killed leaves at most one torn line, which is dropped when it goes on. The journal
is removed when the output is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tl_classifier.corpus.writers import OutputError, Record, writable

_VERSION = 1
_HEAD = b'{"tl_classifier_journal": '


def journal_path(output: Path) -> Path:
    """Where the journal of a run lies."""
    return output.with_name(f"{output.name}.partial")


class Journal:
    """The journal of one run, open for going on.

    Args:
        output: The output of the run.
        run: What the run is made of: names to JSON values. A run goes on only where all are as they were.
        resume: Whether to take over what is there; False begins anew.

    Attributes:
        path: Where it lies.
        records: How many records it holds.

    Raises:
        OutputError: if it cannot be written, another run is writing to it, or it is of a run that differs.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], *, resume: bool) -> None:
        self.path = journal_path(output)
        self.records = 0
        with writable(self.path):
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            try:
                self._lock()
                end = self._take_over(run, resume=resume)
                self._file.truncate(end)
                self._file.seek(end)
                if end == 0:
                    self._append({"tl_classifier_journal": _VERSION, "run": run})
            except BaseException:
                self._file.close()
                raise

    def append(self, records: Sequence[Record]) -> None:
        """Add a chunk of records; it is on disk when this returns.

        Raises:
            OutputError: if it cannot be written: the disk is full.
        """
        try:
            self._append(records)
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}; what was done before is kept, go on with --resume."
            ) from error
        self.records += len(records)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """The chunks of records, in order."""
        with writable(self.path), self.path.open("rb") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def close(self) -> None:
        """Close it; it stays where it is."""
        with suppress(OSError):  # of a chunk that could not be written, which was said
            self._file.close()

    def remove(self) -> None:
        """Remove it; the run is over."""
        self._file.close()
        with writable(self.path):
            self.path.unlink(missing_ok=True)

    def _append(self, value: object) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        """Keep a second run away from the same journal, where the system can."""
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"Another run is writing to {self.path}; wait for it to end.") from error
        except OSError:  # a network drive without locks
            return

    def _take_over(self, run: Mapping[str, Any], *, resume: bool) -> int:
        """See that what is there is a journal of this run, and count its records.

        Returns:
            The offset behind the last whole chunk; 0 where there is not even a whole head, or all is to begin anew.
        """
        head = self._file.readline()
        if not head.endswith(b"\n") and (head.startswith(_HEAD) or _HEAD.startswith(head)):
            return 0  # killed as it began
        if not head.startswith(_HEAD):
            raise OutputError(f"{self.path} is not the journal of a run; move it away, or choose another output.")
        if not resume:
            return 0
        journal = _parsed(head)
        if not isinstance(journal, dict) or journal.get("tl_classifier_journal") != _VERSION:
            raise OutputError(f"{self.path} is of another version of this program; begin anew with --restart.")
        changes = _changes(journal["run"], run)
        if changes:
            raise OutputError(
                f"The run that {self.path} is of cannot go on, since {changes}; begin anew with --restart."
            )
        end = self._file.tell()
        for line in self._file:
            records = _parsed(line) if line.endswith(b"\n") else None
            if not isinstance(records, list):
                break
            self.records += len(records)
            end += len(line)
        return end


def _changes(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not as it was, as a clause; empty where all is."""
    clauses = []
    for name, new in now.items():
        was = earlier.get(name)
        if was == new:
            continue
        if isinstance(was, str) and isinstance(new, str):
            clauses.append(f"the {name} was {was} and is {new}")
        else:
            clauses.append(f"the {name} changed")
    return " and ".join(clauses)


def _parsed(line: bytes) -> Any:
    with suppress(ValueError):
        return json.loads(line)
    return None

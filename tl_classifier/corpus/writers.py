"""Results as files: records to .jsonl .csv .xlsx .parquet, streamed.

A .jsonl line is the record as `tl_classifier.excerpts.record` makes it. A table has the columns `id`, `document`,
`speaker`, `turn`, `text`; one 0/1 column a code, ``{dimension}.{code}``, and a group, ``{dimension}.{group}``; the
probability of each code, ``p.{dimension}.{code}``; `to_review`, where a precision was asked for, the codes given that
somebody should look at, separated by ``;``; `evidence`, where it was asked for, one line a code given (see
`evidence_lines`); `model`; and `error`. Where a row could not be scored, `error`
says why and the cells of its codes are empty.

What each format asks for:

- .csv is UTF-8 with a byte order mark and has lines that end as RFC 4180 says: Excel would otherwise misread every
  letter with an accent. Words are never altered, so a text that begins with ``=`` is in the file as it was said;
  a spreadsheet that opens a .csv may take it for a formula. An .xlsx has no such doubt: there it is text.
- .xlsx holds at most 32,767 characters a cell and 1,048,576 rows a sheet. A longer text is cut, and `error` says so;
  more rows are refused. Control characters, which the format cannot hold, become U+FFFD.
- .parquet has typed columns: int8 for codes, float64 for probabilities.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import TO_REVIEW
from tl_classifier.errors import UserError

Record = Mapping[str, Any]

XLSX_ROWS = 1_048_575
"""Most rows of a sheet, without its header."""

XLSX_CHARACTERS = 32_767
"""Most characters of a cell, in UTF-16 code units as Excel counts."""

_PARQUET_GROUP_ROWS = 16_384
_PARQUET_GROUP_BYTES = 64_000_000

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class OutputError(UserError):
    """Results cannot be written where they should be."""


class Writer(Protocol):
    """Writes records to one file."""

    def write(self, records: Sequence[Record]) -> None:
        """Write records, after those that were written before."""

    def close(self) -> None:
        """Finish the file."""


@contextmanager
def writing(
    path: Path,
    codebook: Codebook,
    *,
    with_text: bool = True,
    with_evidence: bool = False,
    with_review: bool = False,
) -> Iterator[Writer]:
    """A writer for a file that is there, whole, once the block is left without an error, and else not at all.

    Args:
        path: The file; its ending is its format. One that exists is replaced.
        codebook: The columns of a table.
        with_text: Whether the records have a text.
        with_evidence: Whether they have evidence.
        with_review: Whether they say what is to be reviewed.

    Raises:
        OutputError: if the file cannot be written.
    """
    beside = path.with_name(f"{path.name}.partial.tmp")
    with writable(path):
        try:
            writer = _WRITERS[path.suffix.lower()](
                beside, Columns(codebook, with_text=with_text, with_evidence=with_evidence, with_review=with_review)
            )
            try:
                yield writer
            except BaseException:
                with suppress(Exception):  # what matters is what went wrong before
                    writer.close()
                raise
            writer.close()
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file that is written into an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or type(error).__name__}.") from error


def check_output(path: Path) -> None:
    """See that a result can be written, before the work that leads to it.

    Raises:
        OutputError: if the ending is not known, the folder is not there or cannot be written to, or a folder has
            that name.
    """
    if path.suffix.lower() not in _WRITERS:
        raise OutputError(f"{path} has an ending that cannot be written; known are {' '.join(_WRITERS)}.")
    with writable(path):
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file.")
        if not path.parent.is_dir():
            raise OutputError(f"{path} cannot be written: the folder {path.parent} does not exist.")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path} cannot be written: the folder {path.parent} does not allow it.")


def check_rows(path: Path, rows: int) -> None:
    """See that a result of so many rows can be written in the format of a file.

    Raises:
        OutputError: if it cannot.
    """
    if path.suffix.lower() == ".xlsx" and rows > XLSX_ROWS:
        raise OutputError(
            f"{path} cannot hold {rows:,} rows, a sheet has at most {XLSX_ROWS:,}; choose .csv or .parquet."
        )


class Columns:
    """The columns of a table of results.

    Args:
        codebook: Whose codes they are.
        with_text: Whether there is a text.
        with_evidence: Whether there is evidence.
        with_review: Whether there is a column of what is to be reviewed.

    Attributes:
        names: In order.
        types: Of each: ``text``, ``number``, ``flag`` (0 or 1) or ``probability``.
    """

    def __init__(
        self, codebook: Codebook, *, with_text: bool = True, with_evidence: bool = False, with_review: bool = False
    ) -> None:
        self._with_evidence = with_evidence
        self._with_review = with_review
        about = [("id", "text"), ("document", "text"), ("speaker", "text"), ("turn", "number")]
        self._about = [*(name for name, _ in about), *(["text"] if with_text else [])]
        self._codes = [(d.id, code) for d in codebook.dimensions for code in d.code_ids]
        self._groups = [(d.id, group.id) for d in codebook.dimensions for group in d.groups]
        columns = [
            *about,
            *([("text", "text")] if with_text else []),
            *((f"{dimension}.{name}", "flag") for dimension, name in self._codes + self._groups),
            *((f"p.{dimension}.{code}", "probability") for dimension, code in self._codes),
            *([("to_review", "text")] if with_review else []),
            *([("evidence", "text")] if with_evidence else []),
            ("model", "text"),
            ("error", "text"),
        ]
        self.names = [name for name, _ in columns]
        self.types = [kind for _, kind in columns]

    def row(self, record: Record) -> list[Any]:
        """A record as a row; None where a cell is empty."""
        cells: list[Any] = [record[name] for name in self._about]
        if record["codes"] is None:
            cells += [None] * (2 * len(self._codes) + len(self._groups))
        else:
            codes = {(dimension, code) for dimension, given in record["codes"].items() for code in given}
            groups = {(dimension, group) for dimension, given in record["groups"].items() for group in given}
            cells += [int(code in codes) for code in self._codes]
            cells += [int(group in groups) for group in self._groups]
            cells += [record["probabilities"][dimension][code] for dimension, code in self._codes]
        if self._with_review:
            cells.append("; ".join(_to_review(record)) or None)
        if self._with_evidence:
            cells.append("\n".join(evidence_lines(record)) or None)
        return [*cells, record["model"], record.get("error")]


def _to_review(record: Record) -> Iterator[str]:
    for dimension, found in (record.get("review") or {}).items():
        yield from (f"{dimension}.{code}" for code, mark in found.items() if mark == TO_REVIEW)


def evidence_lines(record: Record) -> Iterator[str]:
    """The evidence in a record, one line a code: ``stage.planning_action 10-38: we meet on the first of May``.

    The numbers are offsets into the text, of the first character and one past the last; the words are left out where
    the record has no text. `EVIDENCE_LINE` reads it back.
    """
    for dimension, found in (record.get("evidence") or {}).items():
        for code, (start, end) in found.items():
            words = " ".join((record.get("text") or "")[start:end].split())
            yield f"{dimension}.{code} {start}-{end}" + (f": {words}" if words else "")


EVIDENCE_LINE = re.compile(r"([^.\s]+)\.([^.\s]+) (\d+)-(\d+)(?:: .*)?")
"""A line of `evidence_lines`: dimension, code, start, end."""


class _JSONL:
    def __init__(self, path: Path, columns: Columns) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, records: Sequence[Record]) -> None:
        self._file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)

    def close(self) -> None:
        self._file.close()


class _CSV:
    def __init__(self, path: Path, columns: Columns) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="utf-8-sig", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(columns.names)

    def write(self, records: Sequence[Record]) -> None:
        self._rows.writerows(map(self._columns.row, records))

    def close(self) -> None:
        self._file.close()


class _XLSX:
    def __init__(self, path: Path, columns: Columns) -> None:
        import openpyxl

        self._path = path
        self._columns = columns
        self._book = openpyxl.Workbook(write_only=True)
        self._sheet = self._book.create_sheet("codings")
        self._sheet.freeze_panes = "A2"
        self._sheet.append(columns.names)

    def write(self, records: Sequence[Record]) -> None:
        for record in records:
            cells = self._columns.row(record)
            cut = []
            for at, cell in enumerate(cells):
                if isinstance(cell, str):
                    cells[at], whole = _fitting(cell)
                    if not whole:
                        cut.append(self._columns.names[at])
            if cut:
                notes = [cells[-1], *(f"{name} cut at {XLSX_CHARACTERS:,} characters" for name in cut)]
                cells[-1] = "; ".join(filter(None, notes))
            self._sheet.append([self._text(cell) if isinstance(cell, str) else cell for cell in cells])

    def _text(self, text: str) -> Any:
        """A cell that is text whatever it begins with; the library would make a formula of ``=...``."""
        from openpyxl.cell import WriteOnlyCell

        if not text.startswith(("=", "#")):
            return text
        cell = WriteOnlyCell(self._sheet, value=text)
        cell.data_type = "s"
        return cell

    def close(self) -> None:
        self._book.save(self._path)


def _fitting(text: str) -> tuple[str, bool]:
    """A text as a cell of a sheet can hold it, and whether it is whole."""
    text = _NOT_IN_XML.sub("\ufffd", text)
    if len(text) <= XLSX_CHARACTERS // 2:
        return text, True
    units = text.encode("utf-16-le")
    if len(units) <= 2 * XLSX_CHARACTERS:
        return text, True
    return units[: 2 * XLSX_CHARACTERS].decode("utf-16-le", errors="ignore"), False


class _Parquet:
    def __init__(self, path: Path, columns: Columns) -> None:
        import pyarrow as pa
        import pyarrow.parquet

        types = {"text": pa.string(), "number": pa.int64(), "flag": pa.int8(), "probability": pa.float64()}
        self._columns = columns
        self._schema = pa.schema([(name, types[kind]) for name, kind in zip(columns.names, columns.types, strict=True)])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._waiting: list[Any] = []

    def write(self, records: Sequence[Record]) -> None:
        import pyarrow as pa

        if not records:
            return
        cells = zip(*map(self._columns.row, records), strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(cells, self._schema, strict=True)]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        rows = sum(batch.num_rows for batch in self._waiting)
        if rows >= _PARQUET_GROUP_ROWS or sum(batch.nbytes for batch in self._waiting) >= _PARQUET_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
            self._waiting.clear()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()


_WRITERS: dict[str, Callable[[Path, Columns], Writer]] = {
    ".jsonl": _JSONL,
    ".csv": _CSV,
    ".xlsx": _XLSX,
    ".parquet": _Parquet,
}

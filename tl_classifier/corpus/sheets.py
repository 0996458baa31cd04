"""Small tables for people, as .csv or .xlsx: what a command tells beside its main result.

Both formats are written as `tl_classifier.corpus.writers` writes results: a .csv that Excel reads right, and an .xlsx
whose texts are texts, whatever they begin with.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tl_classifier.corpus.writers import XLSX_CHARACTERS, OutputError, writable

ENDINGS = (".csv", ".xlsx")

_MAX_WIDTH = 60
"""Widest column of a sheet, in characters."""


def check_sheet(path: Path, *, force: bool = False) -> None:
    """See that a table can be written, before the work that leads to it.

    Raises:
        OutputError: if the ending is not known, the folder is not there, or the file is there and `force` is not given.
    """
    if path.suffix.lower() not in ENDINGS:
        raise OutputError(f"{path} has an ending that cannot be written; known are {' '.join(ENDINGS)}.")
    check_free(path, force=force)


def check_free(path: Path, *, force: bool) -> None:
    """See that a file can be written where nothing is lost by it.

    Raises:
        OutputError: if a folder has that name, its folder is not there, or it is there and `force` is not given.
    """
    with writable(path):
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file.")
        if not path.parent.is_dir():
            raise OutputError(f"{path} cannot be written: the folder {path.parent} does not exist.")
        if path.exists() and not force:
            raise OutputError(f"{path} exists already; replace it with --force, or choose another name.")


def write_sheet(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, whole or not at all.

    Args:
        path: A .csv or .xlsx file. One that exists is replaced.
        header: Names of the columns.
        rows: Cells: texts, numbers, or None where empty.

    Raises:
        OutputError: if it cannot be written.
    """
    beside = path.with_name(f"{path.name}.partial.tmp")
    with writable(path):
        try:
            (_write_xlsx if path.suffix.lower() == ".xlsx" else _write_csv)(beside, header, rows)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _write_xlsx(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("table")
    sheet.freeze_panes = "A2"

    def cell(value: Any, **style: Any) -> Any:
        if isinstance(value, str):
            value = ILLEGAL_CHARACTERS_RE.sub("\ufffd", value)[: XLSX_CHARACTERS // 2]
        made = WriteOnlyCell(sheet, value=value)
        if isinstance(value, str):
            made.data_type = "s"  # the library would make a formula of "=..."
        for name, setting in style.items():
            setattr(made, name, setting)
        return made

    kept = [list(row) for row in rows]  # widths come before rows in the file
    for at, name in enumerate(header):
        widest = max((len(str(row[at])) for row in kept if row[at] is not None), default=0)
        sheet.column_dimensions[get_column_letter(at + 1)].width = min(_MAX_WIDTH, max(len(name), widest)) + 2
    wrapped = Alignment(wrap_text=True, vertical="top")
    sheet.append([cell(name, font=Font(bold=True)) for name in header])
    for row in kept:
        sheet.append([cell(value, alignment=wrapped) for value in row])
    book.save(path)

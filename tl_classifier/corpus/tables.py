"""Tables as they come: .csv .tsv .xlsx .parquet as rows of cells, .jsonl as records; all streamed.

A table is a header and rows. Rows are numbered as a spreadsheet shows them: the header is row 1, the first row
below it row 2 (in a Parquet file too). A wholly empty row counts, since a result is often laid beside the sheet it
came from; those at the end of a text file or sheet do not.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tl_classifier.corpus import officefiles, textfiles, xmlstream
from tl_classifier.corpus.rows import excerpt, label, listed, turn_number
from tl_classifier.errors import InputError, UserError
from tl_classifier.excerpts import Excerpt, Unscorable

ABOUT = ("id", "document", "speaker", "turn", "context")
"""Columns that are used where they are there, beside the text."""

_T = TypeVar("_T")

_SHEET_ROWS = 1_048_576
_MAX_UNPACKED = 2_000_000_000
"""Bytes that a spreadsheet may have when unpacked; a zip bomb has more."""
_MAX_STRINGS = 100_000_000
"""Bytes of the strings of a workbook, which are held in memory, unpacked."""
_MAX_PART = 10_000_000
"""Bytes of any other part than a sheet, unpacked."""
_MAX_HELD = 150_000
"""Most elements of a row, of a string, or of all that is neither; the library makes objects of a kilobyte of them."""
_SHEET_CELLS = 200_000_000
"""Most cells of a sheet, the empty ones before others in their rows included."""
_PARQUET_ROWS = 1_024
_PARQUET_BYTES = 8_000_000
_ERRORS_OF_CELLS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#GETTING_DATA"})


class MissingColumnError(InputError):
    """A table has no column of the name of the text column."""


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        number: As a spreadsheet shows it.
        cells: One for each column of the header; None or "" where empty.
        problem: Why the cells cannot be trusted to stand in their columns, one clause; None where they can.
    """

    number: int
    cells: tuple[Any, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is being read.

    Attributes:
        path: The file.
        columns: The names in its header.
        rows: Its rows, from the file as they are asked for.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[Row]

    def column(self, name: str) -> int | None:
        """Where the column of that name is; see `find_column`."""
        return find_column(self.path, self.columns, name)


def read_excerpts(path: Path, *, text_column: str = "text") -> Iterator[Excerpt | Unscorable]:
    """The excerpts of a table or of a .jsonl file, one a row, in order.

    Raises:
        InputError: if the file cannot be read, is not what its ending says, or has no such column or no rows.
    """
    try:
        yield from _excerpts(path, text_column)
    except MissingColumnError as error:
        hint = "name the column that holds the text with --text-column"
        raise InputError(f"{str(error).removesuffix('.')}; {hint}.") from error


def _excerpts(path: Path, text_column: str) -> Iterator[Excerpt | Unscorable]:
    found = False
    if path.suffix.lower() == ".jsonl":
        for _, record in read_records(path, text_column=text_column):
            found = True
            yield excerpt(field(record, text_column), **{name: field(record, name) for name in ABOUT})
    else:
        table = read_table(path, text_column, only=(text_column, *ABOUT))
        text = table.column(text_column)
        places = {name: table.column(name) for name in ABOUT}
        for row in table.rows:
            found = True
            cells = {name: None if at is None else row.cells[at] for name, at in places.items()}
            if row.problem is not None:
                about = (label(cells["id"]), label(cells["document"]), label(cells["speaker"]))
                yield Unscorable(row.problem, *about, turn_number(cells["turn"]))
            else:
                yield excerpt(None if text is None else row.cells[text], **cells)
    if not found:
        raise InputError(f"{path} has no rows.")


def read_table(path: Path, text_column: str, *, only: Collection[str] | None = None) -> Table:
    """Open a .csv, .tsv, .xlsx or .parquet file.

    Args:
        path: The file.
        text_column: A column that it must have; of a spreadsheet, the first visible sheet that has it is read.
        only: Columns that are needed, where not all are: a Parquet file is spared the reading of the others.

    Raises:
        MissingColumnError: if it has no such column.
        InputError: if it cannot be read or is not what its ending says; later, from the rows, if it turns out to be
            damaged.
    """
    ending = path.suffix.lower()
    if ending == ".xlsx":
        return _xlsx(path, text_column)
    if ending == ".parquet":
        return _parquet(path, text_column, only)
    return _delimited(path, text_column)


def read_records(path: Path, *, text_column: str = "text") -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a .jsonl file with the numbers of their lines, the first is 1. Blank lines are passed over.

    Raises:
        MissingColumnError: if the first object has no such key.
        InputError: if the file cannot be read, or a line is not a JSON object.
    """
    first = True
    for number, line in enumerate(textfiles.lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {number}, column {error.colno}: the line is not valid JSON ({error.msg}); "
                "each line must be one JSON object."
            ) from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets without end
            raise InputError(f"{path}, line {number}: the line is not JSON that can be read.") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}, line {number}: the line is not a JSON object ({{...}}).")
        if first and find_column(path, list(record), text_column) is None:
            raise _no_column(path, list(record), text_column, f"keys in line {number}")
        first = False
        yield number, record


def field(record: dict[str, Any], name: str) -> Any:
    """A value of a JSON record by its key, found as columns are; None where there is none."""
    if name in record:
        return record[name]
    wanted = _normal(name)
    return next((value for key, value in record.items() if _normal(key) == wanted), None)


def find_column(path: Path, columns: Sequence[str], name: str) -> int | None:
    """Where a column is: the one of exactly that name, or else the one that differs in case and spaces only.

    Raises:
        InputError: if several are meant.
    """
    wanted = _normal(name)
    for found in (
        [at for at, column in enumerate(columns) if column == name],
        [at for at, column in enumerate(columns) if _normal(column) == wanted],
    ):
        if len(found) > 1:
            raise InputError(f"{path} has {len(found)} columns named '{name}'; rename all but one.")
        if found:
            return found[0]
    return None


def is_empty(cell: object) -> bool:
    """Whether a cell holds nothing, or nothing but spaces."""
    return cell is None or (isinstance(cell, str) and (not cell or cell.isspace()))


def _normal(name: str) -> str:
    return name.strip().casefold()


def _no_column(path: Path, columns: Sequence[str], text_column: str, what: str = "columns") -> MissingColumnError:
    names = [column for column in columns if column.strip()]
    doubt = "" if all(len(name) <= 40 for name in names) else "; is its first line a header?"
    return MissingColumnError(f"{path} has no column '{text_column}' (its {what}: {listed(names) or 'none'}{doubt}).")


def _require(path: Path, columns: Sequence[str], text_column: str) -> None:
    if find_column(path, columns, text_column) is None:
        raise _no_column(path, columns, text_column)


def _numbered(cells: Iterable[Sequence[Any]]) -> Iterator[tuple[int, Sequence[Any]]]:
    """Rows with their numbers, without the empty ones before the first and after the last that holds something."""
    empty, begun = 0, False
    for number, row in enumerate(cells, start=1):
        if all(map(is_empty, row)):
            empty += 1
            continue
        if begun:
            for earlier in range(number - empty, number):
                yield earlier, ()
        begun, empty = True, 0
        yield number, row


def _stepping(path: Path, kind: str, items: Iterable[_T]) -> Iterator[_T]:
    """`items`, made by a library; what it raises on a damaged file, whatever that is, as an `InputError`."""
    iterator = iter(items)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of features of spreadsheets that concern nobody here
                item = next(iterator)
        except StopIteration:
            return
        except (UserError, MemoryError):
            raise
        except Exception as error:
            raise InputError(f"{path} cannot be read: it is damaged, or not {kind}.") from error
        yield item


# --- .csv and .tsv ----------------------------------------------------------------------------------------------


def _delimited(path: Path, text_column: str) -> Table:
    rows = _numbered(_fields(path))
    _, header = next(rows, (0, None))
    if header is None:
        raise InputError(f"{path} has no rows.")
    columns = tuple(header)
    _require(path, columns, text_column)
    text = find_column(path, columns, text_column)
    return Table(path, columns, (_aligned(number, cells, len(columns), text or 0) for number, cells in rows))


def _aligned(number: int, cells: Sequence[str], width: int, text: int) -> Row:
    """A row with as many cells as the header, and the problem where it had others."""
    if len(cells) == width:
        return Row(number, tuple(cells))
    fields = f"the row has {len(cells)} {'field' if len(cells) == 1 else 'fields'} where the header has {width}"
    if len(cells) < width:
        # Programs leave out empty fields at the end; without the text, though, something went wrong.
        return Row(number, (*cells, *([None] * (width - len(cells)))), fields if 0 < len(cells) <= text else None)
    # A delimiter within an unquoted text cuts it, unless all that is behind it is empty.
    return Row(number, tuple(cells[:width]), None if all(map(is_empty, cells[text + 1 :])) else fields)


def _fields(path: Path) -> Iterator[list[str]]:
    """The rows of a delimited file as they stand, the header too."""
    lines = textfiles.lines(path)
    blank: list[str] = []
    first = next(lines, "")
    while first and not first.strip():
        blank.append(first)
        first = next(lines, "")
    csv.field_size_limit(max(csv.field_size_limit(), textfiles.MAX_LINE))
    reader = csv.reader(chain(blank, [first] if first else [], lines), delimiter=_delimiter(path, first), strict=True)
    while True:
        begins = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _malformed(path, begins, str(error)) from error
        yield cells


def _delimiter(path: Path, header: str) -> str:
    """The delimiter: a tab in .tsv; else what the header has most of (Excel writes ``;`` in half of Europe)."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    unquoted = "".join(header.split('"')[::2])
    return max(",;\t", key=unquoted.count)


def _malformed(path: Path, line: int, message: str) -> InputError:
    """The error for a row whose quotation marks make no sense; `message` is the library's."""
    what = "is never closed" if "unexpected end" in message else "is not closed, or one within a text is not doubled"
    if "field larger" in message:
        what = f"is not closed, or a text has more than {textfiles.MAX_LINE:,} characters"
    return InputError(f"{path}, line {line}: in the row that begins here, a quotation mark {what}.")


# --- .xlsx ------------------------------------------------------------------------------------------------------


def _xlsx(path: Path, text_column: str) -> Table:
    kind = textfiles.kind_of(path)
    if kind is None or not kind.startswith("a zip archive"):
        raise InputError(f"{path} is not an .xlsx file: its content is {kind or 'something else'}.")
    columns: tuple[str, ...] | None = None
    sheets = 0
    for rows in _stepping(path, "an Excel workbook", _sheets(path)):
        sheets += 1
        numbered = _numbered(_stepping(path, "an Excel workbook", rows))
        _, header = next(numbered, (0, None))
        if header is None:
            continue
        names = tuple("" if cell is None else str(cell) for cell in header)
        if find_column(path, names, text_column) is not None:
            return Table(path, names, (_padded(number, cells, len(names)) for number, cells in numbered))
        columns = columns or names
    if columns is None:
        raise InputError(f"{path} has no rows.")
    raise _no_column(path, columns, text_column, "columns" if sheets == 1 else "first sheet's columns")


def _padded(number: int, cells: Sequence[Any], width: int) -> Row:
    return Row(number, (*cells[:width], *([None] * (width - len(cells)))))


def _sheets(path: Path) -> Iterator[Iterator[tuple[Any, ...]]]:
    """The visible sheets of a workbook, each as its rows.

    The strings of the workbook are held in memory while it is read (the format keeps them apart from the cells).
    """
    import openpyxl

    _check_workbook(path)
    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    try:
        for sheet in workbook.worksheets:
            if sheet.sheet_state == "visible":
                yield _sheet_rows(path, sheet)
    finally:
        workbook.close()


def _check_workbook(path: Path) -> None:
    """See that a workbook is harmless, before the library reads it.

    Raises:
        InputError: if its archive or its XML is made to do harm, or would take too much memory.
    """
    with officefiles.opened(path) as archive:
        if sum(entry.file_size for entry in archive.members) > _MAX_UNPACKED:
            raise InputError(
                f"{path} unpacks to more than {_MAX_UNPACKED // 1_000_000_000} GB; save it as .csv to have it read."
            )
        for entry in archive.members:
            name = entry.filename.lower().replace("\\", "/")
            if not name.endswith((".xml", ".rels")):
                continue
            if "/worksheets/" in name:
                most, items = _MAX_UNPACKED, _Items(path, "row", depth=3)
            elif name.endswith("sharedstrings.xml"):
                most, items = _MAX_STRINGS, _Items(path, "si", depth=2)
            else:
                most, items = _MAX_PART, _Items(path, "", depth=0)
            if entry.file_size > most:
                raise _too_much(path)
            xmlstream.read(archive.blocks(entry), items, str(path), max_elements=None)


class _Items(xmlstream.Nothing):
    """Bounds what the library holds at once of a part: the elements from one item (row, string) to the next."""

    def __init__(self, path: Path, name: str, depth: int) -> None:
        self._path = path
        self._name = name
        self._item_depth = depth
        self._depth = self._held = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._held += 1
        if self._depth == self._item_depth and xmlstream.local(name)[1] == self._name:
            self._held = 0
        elif self._held > _MAX_HELD:
            raise _too_much(self._path)

    def end(self, name: str) -> None:
        self._depth -= 1


def _too_much(path: Path) -> InputError:
    return InputError(f"{path} holds more than can be read of a workbook; save it as .csv to have it read.")


def _sheet_rows(path: Path, sheet: Any) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # what a file says of its own size is often wrong
    cells = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if number > _SHEET_ROWS or cells > _SHEET_CELLS:
            raise InputError(f"{path} is damaged: it has rows beyond the {_SHEET_ROWS:,} of a sheet, or too wide ones.")
        yield tuple(None if isinstance(cell, str) and cell in _ERRORS_OF_CELLS else cell for cell in row)


# --- .parquet ---------------------------------------------------------------------------------------------------


def _parquet(path: Path, text_column: str, only: Collection[str] | None) -> Table:
    textfiles.kind_of(path)  # empty or unreadable: said in its own words
    import pyarrow.parquet

    def opened() -> Iterator[tuple[Any, list[str]]]:
        schema = pyarrow.parquet.read_schema(path)
        texts = [field.name for field in schema if pyarrow.types.is_string(field.type)]
        # Page by page: the library would otherwise read a column of a row group, or the whole group, at once. A text
        # that is in the file once, for many rows, is so in memory, too.
        file = pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, read_dictionary=texts)
        yield file, [str(name) for name in file.schema_arrow.names]

    file, names = next(_stepping(path, "a Parquet file", opened()))
    _require(path, names, text_column)
    wanted = None if only is None else {_normal(name) for name in only}
    columns = tuple(name for name in names if wanted is None or _normal(name) in wanted)

    def cells() -> Iterator[tuple[Any, ...]]:
        with file:
            size = _rows_at_once(file.metadata)
            for batch in file.iter_batches(batch_size=size, columns=list(columns), use_threads=False):
                found = [batch.column(name) for name in columns]
                yield from (tuple(column[at].as_py() for column in found) for at in range(batch.num_rows))

    rows = _stepping(path, "a Parquet file", cells())
    return Table(path, columns, (Row(number, row) for number, row in enumerate(rows, start=2)))


def _rows_at_once(metadata: Any) -> int:
    """How many rows of a Parquet file fit into `_PARQUET_BYTES`, going by the largest of its row groups' averages."""
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    most = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
    return max(1, min(_PARQUET_ROWS, int(_PARQUET_BYTES / max(most, 1))))

"""Coded data: excerpts with the codes that people gave them, for training and evaluation.

A table says its codes in one of three ways, each dimension in one of them:

- one column a code, named ``stage.self_examination``, ``stage:self_examination``, or by the code's id or name,
  holding 1, true or x where the code was given, and 0, false or nothing where not. Results are written this way, so
  that one that was corrected in a spreadsheet can be trained on. A code that has no column was never given.
- one column a dimension, named by its id or name, holding codes separated by ``;``.
- one column ``codes`` for all dimensions, holding codes separated by ``;``.

In a list of codes, nothing at all says that none applies, and so does ``none``; ``?``, as ``suggest`` writes it, says
that nobody has coded the row yet.

A .jsonl line says them as results do, ``"codes": {"stage": [...], "theme": [...]}``, or with the dimensions as keys
of its own. A line without any is not coded, and passed over.

A REFI-QDA project (.qdpx) says them as its coders marked them; see `tl_classifier.corpus.refi.codings`.

A row of a result that says in its column ``error`` why it could not be scored has no codes, and is passed over. One
whose text was too long for a spreadsheet says there that it was cut, and is used as far as it goes.

Codes are found by id or by name, in upper or lower case. Groups of codes are passed over: they follow from the codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.corpus import inputs, tables
from tl_classifier.corpus.rows import excerpt, label, listed, shown, unless_blank
from tl_classifier.errors import CodebookError, InputError, UserError
from tl_classifier.excerpts import CodedExcerpt, Unscorable

_ALL = "codes"
"""Name of the column, and of the key, for the codes of all dimensions."""

_OTHER = frozenset({*tables.ABOUT, "text", "coder", "model", "error"})
"""Columns that never hold codes."""

_GIVEN = frozenset({"1", "1.0", "true", "x"})
_NOT_GIVEN = frozenset({"", "0", "0.0", "false"})
_NO_CODE = frozenset({"", "-", "none"})
_NOT_CODED = "?"


class CodedDataError(InputError):
    """Coded data with problems; the message is the first, and how many more there are.

    Attributes:
        problems: Every problem that was found, each with its place.
        coded: What could be read beside them.
    """

    def __init__(self, problems: Sequence[str], coded: Sequence[CodedExcerpt] = ()) -> None:
        self.problems = list(problems)
        self.coded = list(coded)
        more = len(problems) - 1
        super().__init__(problems[0] + (f" (and {more} more problem{'s' * (more > 1)})." if more else "."))


class UnknownCodeError(CodedDataError, CodebookError):
    """Coded data whose first problem is a code, or a dimension, that is not in the codebook."""


def read_coded(
    paths: Iterable[str | Path],
    codebook: Codebook,
    *,
    code_map: Mapping[str, tuple[str, str] | None] | None = None,
    models: bool = False,
) -> list[CodedExcerpt]:
    """Read coded data.

    Args:
        paths: Files (.csv .tsv .jsonl .xlsx .parquet .qdpx) and folders of them. A column `coder` is used if there.
        codebook: Where the codes are looked up.
        code_map: For projects (.qdpx), codes that are named otherwise there; see
            `tl_classifier.corpus.refi.codings.read_code_map`.
        models: For projects, whether to take in what models of this program coded.

    Returns:
        The excerpts in order, with their codes in codebook order. Rows of a result that could not be scored, and
        wholly empty rows, are left out.

    Raises:
        UnknownCodeError: if the first problem is a code that is not in the codebook; the message names file, row,
            column, the code, and the nearest that there is.
        CodedDataError: if it is another: a cell that is neither 0 nor 1, an empty text, two codes of an exclusive
            dimension, a file that cannot be read.
        InputError: if files or folders are missing, or nothing in them is coded.
    """
    names = Names(codebook)
    files = inputs.expand(paths, endings=inputs.TABLES + inputs.PROJECTS)
    excerpts: list[CodedExcerpt] = []
    problems: list[_Problem] = []
    for file in files:
        try:
            items: Iterable[CodedExcerpt | _Problem]
            if file.suffix.lower() in inputs.PROJECTS:
                from tl_classifier.corpus.refi.codings import read_project_codings

                items = read_project_codings(file, codebook, code_map, models=models)
            else:
                items = _of_jsonl(file, names) if file.suffix.lower() == ".jsonl" else _of_table(file, names)
            for item in items:
                if isinstance(item, CodedExcerpt):
                    excerpts.append(item)
                else:
                    problems.append(item)
        except _Problem as problem:
            problems.append(problem)
        except UserError as error:
            problems.append(_Problem(str(error).removesuffix("."), unknown=isinstance(error, UnknownCodeError)))
    if problems:
        kind = UnknownCodeError if problems[0].unknown else CodedDataError
        raise kind([str(problem) for problem in problems], excerpts)
    if not excerpts:
        raise InputError(f"Nothing is coded in {', '.join(map(str, files[:3]))}{' ...' * (len(files) > 3)}.")
    return excerpts


class _Problem(Exception):
    """A problem as a clause; `at` puts the place before it."""

    def __init__(self, clause: str, *, unknown: bool = False) -> None:
        super().__init__(clause)
        self.unknown = unknown

    def at(self, place: str) -> _Problem:
        return _Problem(f"{place}: {self}", unknown=self.unknown)


class Names:
    """The names of a codebook: what is meant by what stands in a file."""

    def __init__(self, codebook: Codebook) -> None:
        self.codebook = codebook
        self._dimensions = {
            _folded(name): dimension for dimension in codebook.dimensions for name in (dimension.name, dimension.id)
        }

    def dimension(self, name: str) -> Dimension | None:
        """The dimension of that id or name; None where there is none."""
        return self._dimensions.get(_folded(name))

    def code(self, name: str, dimension: Dimension | None = None) -> tuple[str, str]:
        """Dimension id and code id of a code, looked for in one dimension or in all.

        Raises:
            _Problem: if there is no such code, or it is in several dimensions.
        """
        prefix, rest = self._prefixed(name)
        dimensions = self.codebook.dimensions if dimension is None else (dimension,)
        found = self._find(name, dimensions)
        if not found and prefix in dimensions:
            name, dimensions = rest, (prefix,)
            found = self._find(name, dimensions)
        if len(found) == 1:
            return found[0]
        if found:
            choices = " or ".join(f"{of}.{code}" for of, code in found)
            raise _Problem(f"the code {shown(name)} is in several dimensions; write {choices}", unknown=True)
        raise _Problem(self._missing(name, dimensions), unknown=True)

    def find(self, name: str) -> tuple[str, str] | None:
        """As `code`; None where there is no such code, or it is in several dimensions."""
        try:
            return self.code(name)
        except _Problem:
            return None

    def is_group(self, name: str) -> bool:
        """Whether that is the id or name of a group, with its dimension before it or not."""
        dimension, rest = self._prefixed(name)
        dimensions = self.codebook.dimensions if dimension is None else (dimension,)
        return any(
            _folded(rest) in (_folded(group.id), _folded(group.name)) for of in dimensions for group in of.groups
        )

    def has_prefix(self, name: str) -> bool:
        """Whether a dimension stands before the name, as in ``stage.self_examination``."""
        return self._prefixed(name)[0] is not None

    def is_near(self, name: str) -> bool:
        """Whether a name is so near to a code's that it must be one with a slip in it."""
        return bool(difflib.get_close_matches(_folded(name), self._codes(self.codebook.dimensions), 1, 0.88))

    def _prefixed(self, name: str) -> tuple[Dimension | None, str]:
        for mark in ".:":
            before, found, after = name.partition(mark)
            dimension = self.dimension(before) if found else None
            if dimension is not None:
                return dimension, after.strip()
        return None, name

    @staticmethod
    def _find(name: str, dimensions: Sequence[Dimension]) -> list[tuple[str, str]]:
        return [
            (dimension.id, code.id)
            for dimension in dimensions
            for code in dimension.codes
            if _folded(name) in (_folded(code.id), _folded(code.name))
        ]

    def _missing(self, name: str, dimensions: Sequence[Dimension]) -> str:
        for dimension in dimensions:
            for group in dimension.groups:
                if _folded(name) in (_folded(group.id), _folded(group.name)):
                    members = [code.id for code in dimension.codes if code.group == group.id]
                    return f"{shown(name)} is a group, which follows from its codes; give one of {listed(members)}"
        known = self._codes(dimensions)
        near = difflib.get_close_matches(_folded(name), known, 1, 0.5)
        hint = f"the nearest is '{known[near[0]]}'" if near else f"known are {listed(dict.fromkeys(known.values()))}"
        return f"{shown(name)} is not a code of the codebook '{self.codebook.name}'; {hint}"

    @staticmethod
    def _codes(dimensions: Sequence[Dimension]) -> dict[str, str]:
        """Names and ids, folded, to ids."""
        return {_folded(n): code.id for of in dimensions for code in of.codes for n in (code.id, code.name)}


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


# --- tables -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that says codes.

    Attributes:
        at: Where it is.
        name: Its name in the file.
        dimensions: Whose codes it says.
        code: Dimension id and code id where it says 0 or 1 for one code; None where it lists codes.
    """

    at: int
    name: str
    dimensions: tuple[Dimension, ...]
    code: tuple[str, str] | None = None

    def read(self, cell: object, names: Names) -> list[tuple[str, str]]:
        """Dimension id and code id of what a cell of it gives.

        Raises:
            _Problem: if the cell says nothing that is right here.
        """
        if self.code is not None:
            return [self.code] if _flag(cell) else []
        return _listed_codes(cell, names, self.dimensions)


def _of_table(path: Path, names: Names) -> Iterator[CodedExcerpt | _Problem]:
    table = tables.read_table(path, "text")
    columns = _columns(path, table.columns, names)
    places = {name: table.column(name) for name in ("text", *tables.ABOUT, "coder", "error")}
    coded = {dimension.id for column in columns for dimension in column.dimensions}
    for row in table.rows:
        cells = {name: None if at is None else row.cells[at] for name, at in places.items()}
        noted = not tables.is_empty(cells.pop("error"))
        if all(map(tables.is_empty, row.cells)):
            continue
        if noted and all(tables.is_empty(row.cells[column.at]) for column in columns):
            continue  # it could not be scored; a note on a row that has codes says that a long text was cut
        place = f"{path}, row {row.number}"
        if row.problem is not None:
            yield _Problem(row.problem).at(place)
            continue
        uncoded = {d.id for column in columns if _is_open(row.cells[column.at]) for d in column.dimensions}
        given: dict[str, set[str]] = {dimension: set() for dimension in coded - uncoded}
        problems = []
        for column in columns:
            if any(dimension.id in uncoded for dimension in column.dimensions):
                continue
            try:
                for dimension, code in column.read(row.cells[column.at], names):
                    given[dimension].add(code)
            except _Problem as problem:
                problems.append(problem.at(f"{place}, column {shown(column.name)}"))
        if problems:
            yield from problems
        elif given:
            yield _coded(place, cells, given, names.codebook)


def _columns(path: Path, header: Sequence[str], names: Names) -> list[_Column]:
    """The columns that say codes."""
    columns = []
    for at, name in enumerate(header):
        try:
            column = _column(at, name, names)
        except _Problem as problem:
            raise problem.at(f"{path}, row 1, column {shown(name)}") from None
        if column is not None:
            columns.append(column)
    if not columns:
        dimensions = ", ".join(dimension.id for dimension in names.codebook.dimensions)
        raise InputError(
            f"{path} has no column with codes (its columns: {listed(filter(str.strip, header))}); give one column a "
            f"code holding 0 or 1, one column a dimension ({dimensions}), or a column 'codes', with codes separated "
            "by ';'."
        )
    for dimension in names.codebook.dimensions:
        saying = [column for column in columns if dimension in column.dimensions]
        lists = [column for column in saying if column.code is None]
        if lists and len(saying) > 1:
            other = next(column for column in saying if column is not lists[0])
            raise InputError(
                f"{path} says the codes of '{dimension.id}' both in column {shown(lists[0].name)} and in column "
                f"{shown(other.name)}; keep one of them."
            )
    return columns


def _column(at: int, name: str, names: Names) -> _Column | None:
    """What a column says of codes; None where it is about something else.

    Raises:
        _Problem: if it is named for a code that is not in the codebook.
    """
    folded = _folded(name)
    if folded in _OTHER or folded.startswith("p.") or names.is_group(name):
        return None
    if folded == _ALL:
        return _Column(at, name, names.codebook.dimensions)
    dimension = names.dimension(name)
    if dimension is not None:
        return _Column(at, name, (dimension,))
    try:
        dimension_id, code = names.code(name)
    except _Problem:
        # A column of the analyst's own ("notes"), unless it is meant as a code.
        if names.has_prefix(name) or names.is_near(name):
            raise
        return None
    return _Column(at, name, (names.codebook.dimension(dimension_id),), (dimension_id, code))


def _is_open(cell: object) -> bool:
    """Whether a cell says that nobody has coded the row yet."""
    return isinstance(cell, str) and cell.strip() == _NOT_CODED


def _flag(cell: object) -> bool:
    mark = "" if cell is None else str(cell).strip().casefold()
    if mark in _GIVEN:
        return True
    if mark in _NOT_GIVEN:
        return False
    raise _Problem(f"the cell holds {shown(str(cell).strip())}, where 0 or 1 would be right")


# --- .jsonl -----------------------------------------------------------------------------------------------------


def _of_jsonl(path: Path, names: Names) -> Iterator[CodedExcerpt | _Problem]:
    for number, record in tables.read_records(path):
        place = f"{path}, line {number}"
        try:
            given = _codes_of_record(record, names)
        except _Problem as problem:
            yield problem.at(place)
            continue
        if given:
            about = {name: tables.field(record, name) for name in ("text", *tables.ABOUT, "coder")}
            yield _coded(place, about, given, names.codebook)


def _codes_of_record(record: Mapping[str, Any], names: Names) -> dict[str, set[str]]:
    """Dimension id to the codes that a record says; a dimension that it does not say, or says as null, is not there.

    Raises:
        _Problem: if something in it is not in the codebook.
    """
    codes = record.get(_ALL)
    if codes is not None and not isinstance(codes, Mapping):
        given: dict[str, set[str]] = {dimension.id: set() for dimension in names.codebook.dimensions}
        for dimension_id, code in _listed_codes(codes, names, names.codebook.dimensions):
            given[dimension_id].add(code)
        return given
    given = {}
    for key, value in (record if codes is None else codes).items():
        dimension = names.dimension(key)
        if dimension is None and codes is not None:
            known = listed(dimension.id for dimension in names.codebook.dimensions)
            raise _Problem(f"{shown(key)} is not a dimension of the codebook; known are {known}", unknown=True)
        if dimension is not None and value is not None:
            try:
                given[dimension.id] = {code for _, code in _listed_codes(value, names, (dimension,))}
            except _Problem as problem:
                raise problem.at(f"key '{dimension.id}'") from None
    return given


# --- both -------------------------------------------------------------------------------------------------------


def _listed_codes(cell: object, names: Names, dimensions: Sequence[Dimension]) -> list[tuple[str, str]]:
    """Dimension id and code id of the codes in a list, or in a text separated by ``;``."""
    if cell is None:
        return []
    items = cell.split(";") if isinstance(cell, str) else cell
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _Problem("the codes must be a list of names, or a text with the names separated by ';'")
    only = dimensions[0] if len(dimensions) == 1 else None
    codes = []
    for item in map(str.strip, items):
        try:
            codes.append(names.code(item, only))
        except _Problem:
            if _folded(item) not in _NO_CODE:
                raise
    return codes


def _coded(
    place: str, cells: Mapping[str, Any], given: Mapping[str, set[str]], codebook: Codebook
) -> CodedExcerpt | _Problem:
    """A coded excerpt, or what is wrong with it."""
    about = dict(cells)
    coder = label(about.pop("coder"))
    row = unless_blank(excerpt(about.pop("text"), **about))
    if isinstance(row, Unscorable):
        return _Problem(row.reason).at(place)
    codes = {}
    for dimension in codebook.dimensions:
        if dimension.id not in given:
            continue
        codes[dimension.id] = dimension.in_order(given[dimension.id])
        if dimension.exclusive and len(codes[dimension.id]) > 1:
            clause = f"an excerpt carries one code of '{dimension.id}' at most, and this has "
            return _Problem(clause + listed(codes[dimension.id])).at(place)
        if not dimension.optional and not codes[dimension.id]:
            return _Problem(f"an excerpt carries a code of '{dimension.id}', and this has none").at(place)
    return CodedExcerpt(row, codes, coder)

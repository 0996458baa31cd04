"""Scored files read back: what `tl_classifier.corpus.writers` wrote, as the records it was given.

A table of results says which of its columns are codes: those that have a probability beside them
(``p.stage.self_examination`` to ``stage.self_examination``); the others of a dimension are its groups. So no codebook
is needed to read one, and a result may have been corrected in a spreadsheet: cells may hold 1, 1.0, TRUE or x.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tl_classifier.codebook import Codebook
from tl_classifier.corpus import tables
from tl_classifier.corpus.inputs import TABLES
from tl_classifier.corpus.rows import label, listed, shown, turn_number, well_formed
from tl_classifier.corpus.writers import EVIDENCE_LINE
from tl_classifier.errors import CodebookError, InputError

ENDINGS = tuple(ending for ending in TABLES if ending != ".tsv")
"""Endings of files that results are written to."""

_MODEL = "model"
"""A column that every result has, and a key of its every record; `text` may have been left out."""

_GIVEN = frozenset({"1", "1.0", "true", "x"})
_NOT_GIVEN = frozenset({"", "0", "0.0", "false"})


def read_scored(path: str | Path, codebook: Codebook | None = None) -> Iterator[dict[str, Any]]:
    """The records of a file that ``score`` wrote, in order, never the whole file.

    Args:
        path: A .jsonl, .csv, .xlsx or .parquet file.
        codebook: Where given, every code must be in it.

    Returns:
        Records as `tl_classifier.excerpts.record` makes them: a row that could not be scored has null `codes`, `groups`
        and `probabilities`, and its reason as `error`. There is no `text` where it was left out of the file.

    Raises:
        InputError: if the file cannot be read or was not written by ``score``; later, from the records, if a row has
            been damaged since.
        CodebookError: if a code is not in the codebook.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path} is not a scored file, which ends in one of {' '.join(ENDINGS)}.")
    if not path.is_file():
        raise InputError(f"{path} does not exist." if not path.exists() else f"{path} is a folder; name a scored file.")
    try:
        records = _of_jsonl(path) if path.suffix.lower() == ".jsonl" else _of_table(path)
        first = next(records, None)
    except InputError as error:
        if f"has no column '{_MODEL}'" in str(error):
            raise _not_scored(path) from error
        raise
    if first is None:
        raise InputError(f"{path} has no rows.")
    records = chain([first], records)
    return records if codebook is None else _of_codebook(records, codebook, path)


def is_scored(path: str | Path) -> bool:
    """Whether a file is one that ``score`` wrote, and is still the model's.

    False for one to which a column `coder` was added, since then somebody else answers for its codes; and for one that
    cannot be read.
    """
    path = Path(path)
    try:
        read_scored(path)
        if path.suffix.lower() == ".jsonl":
            return all(tables.field(line, "coder") is None for _, line in islice(_lines(path), 1))
        return tables.read_table(path, _MODEL).column("coder") is None
    except InputError:
        return False


def _of_codebook(records: Iterable[dict[str, Any]], codebook: Codebook, path: Path) -> Iterator[dict[str, Any]]:
    known = {dimension.id: frozenset(dimension.code_ids) for dimension in codebook.dimensions}
    for record in records:
        for dimension, probabilities in (record["probabilities"] or {}).items():
            unknown = probabilities.keys() - known.get(dimension, frozenset())
            if dimension not in known or unknown:
                lacks = f"codes {listed(sorted(unknown), 3)} in '{dimension}'" if dimension in known else ""
                raise CodebookError(
                    f"{path} was scored with another codebook than '{codebook.name}', which has no "
                    f"{lacks or 'dimension ' + shown(dimension)}; name its codebook with --codebook "
                    "(the folder of a model holds it as codebook.yaml)."
                )
        yield record


def _not_scored(path: Path) -> InputError:
    return InputError(
        f"{path} was not written by 'tl-classifier score': it lacks the model or the probabilities; "
        "score the transcripts first, and name what that wrote."
    )


# --- tables -----------------------------------------------------------------------------------------------------


def _of_table(path: Path) -> Iterator[dict[str, Any]]:
    table = tables.read_table(path, _MODEL)
    at = {name: place for place, name in enumerate(table.columns)}
    # Ids hold no dots, so that the number of dots tells the kinds of columns apart.
    names = (name.split(".") for name in at)
    codes = [(name[1], name[2]) for name in names if len(name) == 3 and name[0] == "p" and ".".join(name[1:]) in at]
    if not codes:
        raise _not_scored(path)
    dimensions = list(dict.fromkeys(dimension for dimension, _ in codes))
    groups = [
        (dimension, group)
        for dimension, _, group in (name.partition(".") for name in at)
        if dimension in dimensions and group and "." not in group and (dimension, group) not in codes
    ]
    about = {name: table.column(name) for name in (*tables.ABOUT, "text", "evidence", _MODEL, "error")}
    for row in table.rows:
        place = f"{path}, row {row.number}"
        if row.problem is not None:
            raise InputError(f"{place}: {row.problem}.")
        if all(map(tables.is_empty, row.cells)):
            continue
        cells = {name: row.cells[column] for name, column in about.items() if column is not None}
        flags = {name: row.cells[at[".".join(name)]] for name in (*codes, *groups)}
        numbers = {name: row.cells[at[f"p.{'.'.join(name)}"]] for name in codes}
        record = _about(cells, has_text="text" in cells)
        if all(map(tables.is_empty, chain(flags.values(), numbers.values()))):
            yield _unscored(record, cells)
            continue
        given = {name for name, cell in flags.items() if _flag(cell, place, ".".join(name))}
        record["codes"] = _by_dimension(dimensions, codes, given)
        record["groups"] = _by_dimension(dimensions, groups, given)
        record["probabilities"] = {of: {} for of in dimensions}
        for (dimension, code), cell in numbers.items():
            value = _probability(cell, place, f"p.{dimension}.{code}")
            record["probabilities"][dimension][code] = value
        record["model"] = _text(cells.get(_MODEL)) or ""
        evidence = _text(cells.get("evidence"))
        if evidence:
            record["evidence"] = _evidence_of_lines(evidence, record, place)
        yield record


def _evidence_of_lines(cell: str, record: dict[str, Any], place: str) -> dict[str, dict[str, list[int]]]:
    found: dict[str, dict[str, list[int]]] = {dimension: {} for dimension in record["codes"]}
    for line in cell.splitlines():
        match = EVIDENCE_LINE.fullmatch(line.strip())
        if match is None or match[1] not in found:
            raise InputError(f"{place}, column 'evidence': each line must be a code and its place, as score wrote it.")
        found[match[1]][match[2]] = [int(match[3]), int(match[4])]
    return found


def _by_dimension(
    dimensions: Sequence[str], names: Sequence[tuple[str, str]], given: set[tuple[str, str]]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {dimension: [] for dimension in dimensions}
    for dimension, name in names:
        if (dimension, name) in given:
            found[dimension].append(name)
    return found


def _flag(cell: object, place: str, column: str) -> bool:
    mark = "" if cell is None else str(cell).strip().casefold()
    if mark in _GIVEN:
        return True
    if mark in _NOT_GIVEN:
        return False
    raise InputError(f"{place}, column {shown(column)}: the cell holds {shown(mark)}, where 0 or 1 would be right.")


def _probability(cell: object, place: str, column: str) -> float:
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = -1.0
    if 0 <= value <= 1 and not isinstance(cell, bool):
        return value
    raise InputError(f"{place}, column {shown(column)}: a probability is a number between 0 and 1.")


# --- .jsonl -----------------------------------------------------------------------------------------------------


def _of_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in _lines(path):
        if not {"codes", "probabilities", _MODEL} <= line.keys():
            raise _not_scored(path)
        place = f"{path}, line {number}"
        record = _about(line, has_text="text" in line)
        if line["codes"] is None or line["probabilities"] is None:
            yield _unscored(record, line)
            continue
        record["codes"] = _lists(line["codes"], place, "codes")
        record["groups"] = _lists(line.get("groups") or {}, place, "groups")
        record["probabilities"] = _probabilities(line["probabilities"], place)
        for dimension, given in record["codes"].items():
            unknown = [code for code in given if code not in record["probabilities"].get(dimension, {})]
            if unknown:
                raise InputError(f"{place}, key 'codes': there is no probability for {listed(unknown)}.")
        record["model"] = _text(line[_MODEL]) or ""
        if line.get("evidence") is not None:
            record["evidence"] = _evidence(line["evidence"], place)
        yield record


def _evidence(value: object, place: str) -> dict[str, dict[str, list[int]]]:
    if isinstance(value, Mapping) and all(isinstance(found, Mapping) for found in value.values()):
        spans = [span for found in value.values() for span in found.values()]
        if all(
            isinstance(span, list) and len(span) == 2 and all(type(at) is int for at in span) and 0 <= span[0] < span[1]
            for span in spans
        ):
            return {str(dimension): dict(found) for dimension, found in value.items()}
    raise InputError(f"{place}, key 'evidence': each code must have the start and the end of a passage.")


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    return tables.read_records(path, text_column=_MODEL)


def _lists(value: object, place: str, key: str) -> dict[str, list[str]]:
    if isinstance(value, Mapping):
        found = {str(name): names for name, names in value.items()}
        if all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in found.values()):
            return found
    raise InputError(f"{place}, key '{key}': each dimension must have a list of names.")


def _probabilities(value: object, place: str) -> dict[str, dict[str, float]]:
    if not isinstance(value, Mapping) or not all(isinstance(values, Mapping) for values in value.values()):
        raise InputError(f"{place}, key 'probabilities': each dimension must have a number for each code.")
    return {
        str(dimension): {str(code): _probability(p, place, f"p.{dimension}.{code}") for code, p in values.items()}
        for dimension, values in value.items()
    }


# --- both -------------------------------------------------------------------------------------------------------


def _about(cells: Mapping[str, Any], *, has_text: bool) -> dict[str, Any]:
    record: dict[str, Any] = {name: label(cells.get(name)) for name in ("id", "document", "speaker")}
    record["turn"] = turn_number(cells.get("turn"))
    if has_text:
        record["text"] = _text(cells["text"])
    return record


def _unscored(record: dict[str, Any], cells: Mapping[str, Any]) -> dict[str, Any]:
    record |= {"codes": None, "groups": None, "probabilities": None, "model": _text(cells.get(_MODEL)) or ""}
    record["error"] = _text(cells.get("error")) or "not scored"
    return record


def _text(cell: object) -> str | None:
    return None if tables.is_empty(cell) else well_formed(str(cell))

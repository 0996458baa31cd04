"""The tables behind a report, as .csv: what its plots show and all that they had no room for. No words of excerpts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tl_classifier.corpus.sheets import write_sheet
from tl_classifier.report.survey import Details, Record, Source, Survey, Tally

NAMES = ("codes.csv", "documents.csv", "speakers.csv", "ways.csv", "together.csv", "strongest.csv", "close_calls.csv")
"""The files."""

Rows = Iterable[Sequence[Any]]

_SOURCE = ("document", "speaker", "turn", "id")


def write_ways(folder: Path, details: Details, records: Iterable[Record]) -> None:
    """Write the marks of all ways while `details` looks at the records: they are too many to be kept.

    Raises:
        OutputError: if the file cannot be written.
    """

    def rows() -> Iterator[Sequence[Any]]:
        codes = {dimension.id: dimension.code_ids for dimension in details.survey.codebook.dimensions}
        for record in records:
            for dimension, mark in details.add(record):
                where = (record["document"], record["speaker"], record["turn"])
                yield *where, dimension, codes[dimension][mark.code], mark.probability, int(mark.given)

    header = ("document", "speaker", "turn", "dimension", "code", "probability", "given")
    write_sheet(folder / "ways.csv", header, rows())


def write_tables(folder: Path, survey: Survey, details: Details) -> None:
    """Write the other tables.

    Raises:
        OutputError: if one cannot be written.
    """
    columns = [".".join(name) for name in survey.codes]
    tables: dict[str, tuple[Sequence[str], Rows]] = {
        "codes.csv": (
            ("dimension", "group", "code", "name", "excerpts", "of", "least", "most", "documents"),
            _codes(survey, details),
        ),
        "documents.csv": (
            ("document", "excerpts", *columns),
            (_counts((name,), tally) for name, tally in survey.documents.items()),
        ),
        "speakers.csv": (
            ("document", "speaker", "excerpts", *columns),
            (_counts(who, tally) for who, tally in survey.speakers.items()),
        ),
        "together.csv": (("dimension", "code", "other_dimension", "other_code", "excerpts"), _together(survey)),
        "strongest.csv": (("dimension", "code", "rank", "probability", *_SOURCE), _strongest(survey)),
        "close_calls.csv": (
            ("dimension", "code", "given", "probability", "threshold", "or", *_SOURCE),
            (
                (c.dimension, c.code, int(c.given), c.probability, round(c.against, 4), c.rival, *_source(c.source))
                for c in details.close_calls()
            ),
        ),
    }
    for name, (header, rows) in tables.items():
        write_sheet(folder / name, header, rows)


def _codes(survey: Survey, details: Details) -> Rows:
    for dimension in survey.used():
        rated = survey.rated[dimension.id]
        for code in dimension.codes:
            name = (dimension.id, code.id)
            excerpts = survey.total.codes[survey.places[name]]
            least, most = excerpts - details.close_given[name], excerpts + details.close_not[name]
            documents = survey.documents_with(*name)
            yield dimension.id, code.group, code.id, code.name, excerpts, rated, least, most, documents
        for group in dimension.groups:
            yield (
                dimension.id,
                None,
                group.id,
                group.name,
                survey.groups[dimension.id, group.id],
                rated,
                None,
                None,
                None,
            )
        if dimension.optional:
            yield dimension.id, None, "none", "None of these", survey.none[dimension.id], rated, None, None, None


def _counts(about: Sequence[str | None], tally: Tally) -> Sequence[Any]:
    return *about, tally.excerpts, *tally.codes


def _together(survey: Survey) -> Rows:
    for first, name in enumerate(survey.codes):
        for second in range(first + 1, len(survey.codes)):
            yield *name, *survey.codes[second], int(survey.together[first, second])


def _strongest(survey: Survey) -> Rows:
    for name in survey.codes:
        for rank, item in enumerate(survey.strongest(*name), start=1):
            yield *name, rank, item.probability, *_source(item.source)


def _source(source: Source) -> tuple[str | int | None, ...]:
    return source.document, source.speaker, source.turn, source.id

"""Reports: a scored corpus as one HTML page for its readers, with the tables behind it.

- `survey`: what is counted, in two passes over the scored file.
- `page`, `sections`, `parts`, `charts`: what is shown; `markup` makes it safe.
- `tables`: the same as .csv.
"""

from __future__ import annotations

from collections import deque
from datetime import date
from pathlib import Path

from tl_classifier.codebook import Codebook
from tl_classifier.corpus.scored import read_scored
from tl_classifier.corpus.sheets import check_free
from tl_classifier.corpus.writers import OutputError, writable
from tl_classifier.errors import InputError
from tl_classifier.report.page import html
from tl_classifier.report.parts import Report
from tl_classifier.report.survey import Details, Survey
from tl_classifier.report.tables import NAMES, write_tables, write_ways

__all__ = ["write_report"]


def write_report(
    scored: str | Path,
    output: str | Path,
    codebook: Codebook,
    *,
    quotes: bool = True,
    tables: str | Path | None = None,
    force: bool = False,
) -> Survey:
    """Make a report of a scored file.

    The file is read twice, row by row, and the memory used does not grow with it.

    Args:
        scored: A file that ``score`` wrote.
        output: The report, ending in .html; it is there, whole, when this returns, and else as it was.
        codebook: What was coded with.
        quotes: False leaves the words of excerpts out of the report.
        tables: A folder for the tables behind the plots, made if need be; None for no tables.
        force: Replace files that exist.

    Returns:
        The counts.

    Raises:
        InputError: if the scored file cannot be read, or nothing in it was coded.
        CodebookError: if it was coded with another codebook.
        OutputError: if something cannot be written, or exists.
    """
    scored, output = Path(scored), Path(output)
    folder = None if tables is None else Path(tables)
    if output.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{output} has an ending that cannot be written; a report ends in .html.")
    check_free(output, force=force)
    survey = Survey(codebook)
    for record in read_scored(scored, codebook):
        survey.add(record)
    if not survey.used():
        raise InputError(f"{scored} has no row that was coded, so there is nothing to report.")
    if folder is not None:
        _prepare(folder, force=force)

    details = Details(survey)
    again = read_scored(scored, codebook)
    if folder is None:
        for record in again:
            deque(details.add(record), maxlen=0)
    else:
        write_ways(folder, details, again)
        write_tables(folder, survey, details)
    report = Report(
        name=scored.name,
        codebook=codebook,
        survey=survey,
        details=details,
        with_quotes=quotes,
        with_tables=folder is not None,
        made=date.today(),
    )
    page = html(report)
    beside = output.with_name(f"{output.name}.partial.tmp")
    with writable(output):
        try:
            beside.write_text(page, "utf-8", newline="\n")
            beside.replace(output)
        finally:
            beside.unlink(missing_ok=True)
    return survey


def _prepare(folder: Path, *, force: bool) -> None:
    """Make the folder of the tables.

    Raises:
        OutputError: if it cannot be made, or a table is in it that must not be replaced.
    """
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        check_free(folder / name, force=force)

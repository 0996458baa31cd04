"""``tl-classifier report``: a scored corpus as one page to read, print and share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(report)


def report(
    scored: Annotated[
        Path, typer.Argument(metavar="SCORED", help="A file that 'score' wrote: .jsonl .csv .xlsx or .parquet.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The report to write: .html.")],
    codebook: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Codebook that was coded with. [default: the one shipped]"),
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the tables behind the plots into this folder, as .csv.")
    ] = None,
    no_quotes: Annotated[
        bool, typer.Option("--no-quotes", help="Leave the words of excerpts out, in a report to be shared.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Make a report of a scored corpus: one HTML file that needs no network and opens in any browser.

    It shows how much there is of what, codes by document and by speaker, ways through the codes along each
    transcript, codes found together, the strongest excerpts of each code, and the decisions that were close.
    """
    from tl_classifier.commands.codebooks import load_codebook
    from tl_classifier.report import write_report

    survey = write_report(scored, output, load_codebook(codebook), quotes=not no_quotes, tables=tables, force=force)
    unscored = survey.unscored.total()
    not_coded = f", {unscored:,} {'row' if unscored == 1 else 'rows'} not coded" if unscored else ""
    typer.echo(f"Wrote {output}: {survey.total.excerpts:,} excerpts{not_coded}.", err=True)
    if not no_quotes and survey.has_text:
        typer.echo("It quotes excerpts; --no-quotes leaves them out of a report to be shared.", err=True)
    if tables is not None:
        typer.echo(f"Wrote the tables to {tables}.", err=True)

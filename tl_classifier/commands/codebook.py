"""``tl-classifier codebook``: show a codebook, check one, export one to edit or to print."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from tl_classifier import codebook_file
from tl_classifier.codebook import DEFAULT_CODEBOOK, Code, Codebook, Dimension, Group, gaps, read_codebook
from tl_classifier.commands.codebooks import load_codebook
from tl_classifier.errors import CodebookError

ENDINGS = (".yaml", ".yml", ".json", ".csv", ".qdc")
"""What `export` writes."""

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show, check and export codebooks.")


def register(app: typer.Typer) -> None:
    """Add the command ``codebook`` to `app`."""
    app.add_typer(commands, name="codebook")


@commands.command()
def show(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Codebook to show. [default: the one shipped]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole codebook as JSON.")] = False,
) -> None:
    """Print a codebook with its definitions.

    What counts for a code and what does not, examples and coding rules are in the file that `export` writes.
    """
    codebook = load_codebook(file)
    if as_json:
        typer.echo(_as_json(codebook), nl=False)
    else:
        _print(codebook, Console(highlight=False))


@commands.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="The codebook to check.")]) -> None:
    """Say everything that is wrong with a codebook, and where."""
    codebook, problems = (load_codebook(file), []) if file.suffix.lower() == ".qdc" else read_codebook(file)
    for problem in problems:
        typer.echo(f"{file}: {problem}")
    if codebook is None:
        raise CodebookError(f"{file} has {_count(len(problems), 'problem')}.")
    for gap in gaps(codebook):
        typer.echo(f"{file}: warning: {gap}")
    codes = sum(len(dimension.codes) for dimension in codebook.dimensions)
    typer.echo(f"{file}: {_count(len(codebook.dimensions), 'dimension')}, {_count(codes, 'code')}, no problems")


@commands.command()
def export(
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File to write: .yaml to edit, .json, .csv, or .qdc (NVivo, ATLAS.ti, MAXQDA, QualCoder and others).",
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Option("--codebook", metavar="FILE", help="Codebook to export. [default: the one shipped]"),
    ] = None,
    taguette: Annotated[
        bool, typer.Option("--taguette", help="Write a .csv as Taguette imports it: columns tag and description.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT if it exists.")] = False,
) -> None:
    """Write a codebook as YAML to edit, JSON, CSV, or as the codebook of REFI-QDA (.qdc).

    CSV has one row a code. The YAML of the codebook that is shipped explains the format in its opening remarks.
    """
    source = file or DEFAULT_CODEBOOK
    ending = out.suffix.lower()
    if ending not in ENDINGS:
        raise CodebookError(f"{out}: the ending of the file must be one of {', '.join(ENDINGS)}.")
    if taguette and ending != ".csv":
        raise typer.BadParameter("goes with a .csv as OUT alone.", param_hint="--taguette")
    codebook = load_codebook(source)
    if os.path.lexists(out) and not force:
        raise CodebookError(f"{out} exists already; name another file, or overwrite it with --force.")
    if ending == ".json":
        codebook_file.write_beside(out, _as_json(codebook).encode())
    elif ending == ".csv":
        from tl_classifier.corpus.taguette import codebook_csv

        text = codebook_csv(codebook) if taguette else _as_csv(codebook)
        codebook_file.write_beside(out, text.encode("utf-8-sig"))  # the mark tells Excel that it is UTF-8
    elif ending == ".qdc":
        from tl_classifier import __version__
        from tl_classifier.corpus.refi.codebooks import write_qdc

        write_qdc(codebook, out, origin=f"tl-classifier {__version__}")
    elif source.suffix.lower() in (".yaml", ".yml"):
        codebook_file.write_beside(out, source.read_bytes())  # as it is: remarks explain the format to who edits it
    else:
        codebook.save(out)
    typer.echo(f"Wrote {out}.", err=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_json(codebook: Codebook) -> str:
    return json.dumps(codebook.to_dict(), ensure_ascii=False, indent=2) + "\n"


def _as_csv(codebook: Codebook) -> str:
    """One row a code; what is a list in the codebook has one line an item within its cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["dimension", "group", "code", "name", "definition", "counts", "excludes", "examples"])
    for dimension in codebook.dimensions:
        for code in dimension.codes:
            lists = ["\n".join(items) for items in (code.counts, code.excludes, code.examples)]
            writer.writerow([dimension.id, code.group, code.id, code.name, code.definition, *lists])
    return text.getvalue()


def _print(codebook: Codebook, console: Console) -> None:
    console.print(Text(codebook.title, style="bold"), Text(f"{codebook.name} {codebook.version}", style="dim"))
    for about in (codebook.description, codebook.unit):
        if about:
            console.print()
            console.print(Text(about))
    for dimension in codebook.dimensions:
        _print_dimension(dimension, console)


def _print_dimension(dimension: Dimension, console: Console) -> None:
    if not dimension.exclusive:
        kind = "several codes, one or none"
    else:
        kind = "one code or none" if dimension.optional else "one code"
    console.print()
    console.print(Rule(Text.assemble((dimension.name, "bold"), f"  {dimension.id} · {kind}"), align="left"))
    for about in (dimension.description, dimension.note):
        if about:
            console.print(Text(about))
    groups = {group.id: group for group in dimension.groups}
    current: str | None = None
    for number, code in enumerate(dimension.codes, start=1):
        if code.group != current and code.group is not None:
            _print_group(groups[code.group], console)
        current = code.group
        _print_code(number, code, console)


def _print_group(group: Group, console: Console) -> None:
    console.print()
    console.print(Text.assemble((group.name, "bold italic"), (f"  {group.id}", "dim")))
    if group.definition:
        console.print(Text(group.definition, style="italic"))


def _print_code(number: int, code: Code, console: Console) -> None:
    console.print()
    console.print(Text.assemble(f"{number:>4}  ", (code.name, "bold"), (f"  {code.id}", "cyan")))
    if code.definition:
        console.print(Padding(Text(code.definition), (0, 0, 0, 6)))

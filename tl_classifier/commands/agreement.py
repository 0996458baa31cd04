"""``tl-classifier agreement``: how far coders agree, code by code, and where they do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tl_classifier.codebook import Codebook
from tl_classifier.commands.codebooks import load_codebook

if TYPE_CHECKING:
    from rich.console import Console

    from tl_classifier.agreement import Figure
    from tl_classifier.comparison import Clusters, Coder, DimensionAgreement, Matched
    from tl_classifier.excerpts import CodedExcerpt

SHOWN = 5
"""Rows without a match that are named for each coder; --json names all."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(agreement)


def agreement(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA",
            help="Coded data or scored files, one a coder; or one file whose column 'coder' names several.",
        ),
    ],
    codebook: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Codebook of the codings. [default: the one shipped]")
    ] = None,
    disagreements: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="List the excerpts to talk about in this .csv or .xlsx file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Compare coders, code by code: percent agreement, Cohen's or Fleiss' kappa and Krippendorff's alpha.

    A file that 'score' wrote counts as the model's coding. Rows are the same excerpt where document and turn are, or
    the id, or else the text. Figures have 95% bootstrap intervals over documents. A dimension with several codes an
    excerpt has, as a whole, Krippendorff's alpha with MASI distances between the sets of codes.
    """
    from tl_classifier import comparison
    from tl_classifier.corpus.sheets import check_sheet
    from tl_classifier.errors import InputError

    if disagreements is not None:
        check_sheet(disagreements, force=force)
    book = load_codebook(codebook)
    coders = comparison.read_coders(data, book)
    matched = comparison.match(coders)
    figures = [found for d in book.dimensions if (found := comparison.agreement(matched, d)) is not None]
    if not figures:
        raise InputError("No excerpt was coded in the same dimension by two of the coders.")
    drawn_over = comparison.clusters(matched)
    if as_json:
        typer.echo(json.dumps(_plain(coders, matched, figures, drawn_over), ensure_ascii=False, indent=2))
    else:
        _print(coders, matched, figures, drawn_over, book)
    if disagreements is not None:
        rows = _write_disagreements(disagreements, matched, book)
        typer.echo(f"Wrote {disagreements}: {rows:,} {'row' if rows == 1 else 'rows'} to talk about.", err=True)


def _plain(
    coders: Sequence[Coder], matched: Matched, figures: Sequence[DimensionAgreement], drawn_over: Clusters
) -> dict[str, Any]:
    return {
        "coders": [
            {"name": coder.name, "rows": len(coder.coded), "unmatched": [_reference(item) for item in unmatched]}
            for coder, unmatched in zip(coders, matched.unmatched, strict=True)
        ],
        "matched_by": matched.by,
        "excerpts": len(matched.units),
        "other_words": matched.other_words,
        "intervals_over": {"of": drawn_over.of, "count": drawn_over.count},
        "dimensions": {found.dimension: found.to_dict() for found in figures},
    }


def _reference(item: CodedExcerpt) -> dict[str, str | int | None]:
    excerpt = item.excerpt
    return {"id": excerpt.id, "document": excerpt.document, "speaker": excerpt.speaker, "turn": excerpt.turn}


# --- for people -------------------------------------------------------------------------------------------------


def _print(
    coders: Sequence[Coder],
    matched: Matched,
    figures: Sequence[DimensionAgreement],
    drawn_over: Clusters,
    codebook: Codebook,
) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 140
    console.print("Coders", style="bold")
    for letter, coder, unmatched in zip(_letters(len(coders)), coders, matched.unmatched, strict=True):
        console.print(f"  {letter}  {_printable(coder.name)}: {_count(len(coder.coded), 'row')}", end="")
        console.print(f", {len(unmatched):,} of them nobody else's" if unmatched else "")
    console.print(
        f"{_count(len(matched.units), 'excerpt')} coded by two or more, matched by {matched.by}; intervals (95%) are "
        f"bootstrapped over {drawn_over.count:,} {drawn_over.of}."
    )
    for found in figures:
        _print_dimension(console, found, matched.coders, codebook)
    _warn(coders, matched)


def _print_dimension(console: Console, found: DimensionAgreement, everyone: Sequence[str], codebook: Codebook) -> None:
    from rich.table import Table
    from rich.text import Text

    dimension = codebook.dimension(found.dimension)
    names = {code.id: code.name for code in dimension.codes}
    letters = [_letters(len(everyone))[everyone.index(coder)] for coder in found.coders]
    several = len(found.coders) > 2
    console.print()
    console.print(f"{dimension.name}: {_count(found.excerpts, 'excerpt')}", style="bold", end="")
    console.print(f", {found.complete:,} coded by all {len(found.coders)}" if several else "")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Code")
    for header in (*letters, "Agree", "Fleiss' kappa" if several else "Cohen's kappa", "Krippendorff's alpha"):
        table.add_column(header, justify="right", no_wrap=True)
    for code in found.codes:
        given = (f"{n:,}" for n in code.given)
        table.add_row(Text(names[code.code]), *given, _percent(code.percent), _figure(code.kappa), _figure(code.alpha))
    table.add_section()
    table.add_row(
        Text("Whole dimension (no code)" if dimension.optional else "Whole dimension", style="bold"),
        *(f"{n:,}" for n in found.none),
        _percent(found.percent),
        "" if found.kappa is None else _figure(found.kappa),
        _figure(found.alpha),
    )
    console.print(table)
    if not dimension.exclusive:
        console.print(
            "The whole: excerpts with exactly the same codes, and alpha with MASI distances of the sets of codes."
        )
    if found.pairs:
        pairs = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        pairs.add_column("Two by two")
        for header in ("Excerpts", "Agree", "Krippendorff's alpha"):
            pairs.add_column(header, justify="right")
        of = dict(zip(found.coders, letters, strict=True))
        for pair in found.pairs:
            both = " and ".join(of[coder] for coder in pair.coders)
            pairs.add_row(both, f"{pair.excerpts:,}", _percent(pair.percent), _figure(pair.alpha))
        console.print()
        console.print(pairs)


def _warn(coders: Sequence[Coder], matched: Matched) -> None:
    """Name on stderr what a reader must know of the matching."""
    if matched.other_words:
        typer.echo(
            f"Note: {_count(matched.other_words, 'excerpt')} matched by {matched.by} "
            f"{'has' if matched.other_words == 1 else 'have'} not the same words with every coder.",
            err=True,
        )
    for coder, unmatched in zip(coders, matched.unmatched, strict=True):
        if unmatched:
            some = "; ".join(_named(item) for item in unmatched[:SHOWN])
            more = f"; and {len(unmatched) - SHOWN:,} more (--json lists them)" if unmatched[SHOWN:] else ""
            typer.echo(f"Left out of {_printable(coder.name)}, as nobody else coded them: {some}{more}.", err=True)


def _named(item: CodedExcerpt) -> str:
    excerpt = item.excerpt
    parts = [
        excerpt.document,
        None if excerpt.turn is None else f"turn {excerpt.turn}",
        None if excerpt.id is None else f"id {excerpt.id}",
    ]
    return _printable(" ".join(part for part in parts if part)) or "a row without document, turn and id"


def _letters(count: int) -> list[str]:
    """Short names of coders: A to Z, then by number."""
    return [chr(ord("A") + n) if n < 26 else str(n + 1) for n in range(count)]


def _figure(found: Figure) -> str:
    value = "-" if found.value != found.value else f"{found.value:.3f}"
    return value if found.low is None else f"{value} [{found.low:.2f}, {found.high:.2f}]"


def _percent(share: float) -> str:
    return "-" if share != share else f"{share:.1%}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)


# --- the list to talk about -------------------------------------------------------------------------------------


def _write_disagreements(path: Path, matched: Matched, codebook: Codebook) -> int:
    """Write the disagreements; returns how many there are."""
    from tl_classifier.comparison import disagreements
    from tl_classifier.corpus.sheets import write_sheet

    found = disagreements(matched, codebook)
    write_sheet(
        path,
        ["dimension", "differing", *matched.coders, "document", "turn", "speaker", "id", "text"],
        [
            [
                item.dimension,
                "; ".join(item.differing),
                *(None if codes is None else "; ".join(codes) or "none" for codes in item.given),
                item.excerpt.document,
                item.excerpt.turn,
                item.excerpt.speaker,
                item.excerpt.id,
                item.excerpt.text or None,
            ]
            for item in found
        ],
    )
    return len(found)

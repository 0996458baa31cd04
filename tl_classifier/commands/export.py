"""``tl-classifier export``: results into the tools that coding is done in."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tl_classifier.codebook import Codebook
from tl_classifier.commands.codebooks import load_codebook

if TYPE_CHECKING:
    from tl_classifier.corpus.composed import Document

ENDINGS = (".qdpx", ".sqlite3", ".csv", ".xlsx")
"""What is written: a REFI-QDA project, a Taguette project, a list of codings."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(export)


def export(
    scored: Annotated[
        Path, typer.Argument(metavar="SCORED", help="What 'score' wrote (.jsonl .csv .xlsx .parquet), with the texts.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File to write: .qdpx (NVivo, ATLAS.ti, MAXQDA, QualCoder and others), .sqlite3 (Taguette), "
            "or .csv or .xlsx with a row for each coding.",
        ),
    ],
    codes: Annotated[
        str | None,
        typer.Option(metavar="CODES", help="Only these: codes, groups or dimensions, with commas between."),
    ] = None,
    only_above: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="P", help="Only codings of this probability or more.")
    ] = 0.0,
    add_to: Annotated[
        Path | None,
        typer.Option(metavar="PROJECT", help="Project (.qdpx) to add the codings to; all that is in it is kept."),
    ] = None,
    code_map: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="What codes of PROJECT are: lines 'name there: dimension.code'."),
    ] = None,
    transcripts: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Transcripts that were scored, whose texts go in whole; may be given again."),
    ] = None,
    codebook: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Codebook of the codings. [default: the one shipped]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Bring results into the tools that coding is done in, the model as a coder of its own.

    The texts of the documents are made of the scored rows, a paragraph a turn; with --transcripts they are the
    transcripts themselves, and with --add-to the sources of the project, where the rows are found in them. Codes of a
    project that are named as in the codebook, or in --map, are used, so that coders can be compared.
    """
    from tl_classifier import __version__
    from tl_classifier.corpus import composed
    from tl_classifier.corpus.sheets import check_free
    from tl_classifier.corpus.textfiles import readable
    from tl_classifier.corpus.writers import OutputError

    ending = output.suffix.lower()
    if ending not in ENDINGS:
        raise OutputError(f"{output} has an ending that cannot be written; known are {' '.join(ENDINGS)}.")
    for option, value in (("--add-to", add_to), ("--map", code_map)):
        if value is not None and (ending != ".qdpx" or add_to is None):
            need = "a .qdpx as OUT" if ending != ".qdpx" else "--add-to"
            raise typer.BadParameter(f"goes with {need} alone.", param_hint=option)
    check_free(output, force=force)
    book = load_codebook(codebook)
    wanted = composed.Wanted(only_above, None if codes is None else _chosen(codes, book))
    texts = composed.texts_of(transcripts) if transcripts else {}
    with readable(scored):
        created = datetime.datetime.fromtimestamp(scored.stat().st_mtime, datetime.UTC)
    name = output.stem
    if ending == ".qdpx":
        from tl_classifier.corpus.refi.codings import read_code_map
        from tl_classifier.corpus.refi.export import texts_of_project, write_project
        from tl_classifier.corpus.refi.reader import read_project

        base = None if add_to is None else read_project(add_to)
        known = None if code_map is None else read_code_map(code_map, book)
        texts |= {} if base is None else texts_of_project(base)
        documents = composed.read_documents(scored, book, wanted, texts)
        write_project(
            documents,
            book,
            output,
            base=base,
            code_map=known,
            only=wanted.codes,
            name=name,
            origin=f"tl-classifier {__version__}",
            created=created,
        )
    else:
        documents = composed.read_documents(scored, book, wanted, texts)
        if ending == ".sqlite3":
            from tl_classifier.corpus.taguette import write_taguette

            write_taguette(documents, book, output, name=name, created=created)
        else:
            _write_list(output, documents, book)
    _say(output, documents, searched=bool(texts))


def _chosen(codes: str, codebook: Codebook) -> frozenset[tuple[str, str]]:
    """The codes that names of codes, groups and dimensions stand for.

    Raises:
        InputError: if there is no such name; all are named.
    """
    from tl_classifier.corpus.coded import Names
    from tl_classifier.corpus.rows import listed
    from tl_classifier.errors import InputError

    names = Names(codebook)
    chosen: set[tuple[str, str]] = set()
    unknown = []
    for name in filter(None, map(str.strip, codes.split(","))):
        dimension = names.dimension(name)
        groups = [
            (d.id, code.id)
            for d in codebook.dimensions
            for group in d.groups
            if name.casefold() in (group.id, group.name.casefold(), f"{d.id}.{group.id}")
            for code in d.codes
            if code.group == group.id
        ]
        code = names.find(name)
        if dimension is not None:
            chosen.update((dimension.id, code_id) for code_id in dimension.code_ids)
        elif code is not None:
            chosen.add(code)
        elif groups:
            chosen.update(groups)
        else:
            unknown.append(name)
    if unknown or not chosen:
        raise InputError(
            f"--codes names what is not in the codebook '{codebook.name}': {listed(unknown) or 'nothing'}; "
            "see: tl-classifier codebook show."
        )
    return frozenset(chosen)


def _write_list(output: Path, documents: list[Document], codebook: Codebook) -> None:
    """A row for each coding; the first four columns are those of the highlights that Taguette writes."""
    from tl_classifier.corpus.sheets import write_sheet
    from tl_classifier.corpus.taguette import tags_of

    tags = tags_of(codebook)
    header = ["id", "document", "tag", "content", "speaker", "turn", "start", "end", "coder", "probability", "code"]
    rows = []
    number = 0
    for document in documents:
        for passage in document.passages:
            number += 1
            content = document.text[passage.start : passage.end]
            place = (passage.speaker, passage.turn, passage.start, passage.end, passage.model)
            rows += [
                (
                    passage.id or str(number),
                    document.name,
                    tags[given.dimension, given.code],
                    content,
                    *place,
                    given.probability,
                    f"{given.dimension}.{given.code}",
                )
                for given in passage.codes
            ]
    write_sheet(output, header, rows)


def _say(output: Path, documents: list[Document], *, searched: bool) -> None:
    from tl_classifier.corpus.composed import count, models_of

    passages, codings = count(documents)
    models = ", ".join(models_of(documents))
    by = f", by {models}" if models else ""
    typer.echo(
        f"Wrote {output}: {_count(len(documents), 'document')}, {_count(codings, 'coding')} of "
        f"{_count(passages, 'excerpt')}{by}.",
        err=True,
    )
    composed = [document.name for document in documents if document.found_in is None]
    if searched and composed:
        typer.echo(
            f"The rows of {_count(len(composed), 'document')} were not found in the texts given, and the text was made "
            f"of the rows: {', '.join(composed[:5])}{' ...' * (len(composed) > 5)}.",
            err=True,
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"

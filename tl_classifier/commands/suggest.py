"""``tl-classifier suggest``: which excerpts of a corpus to code next, as a sheet or a project ready to be coded."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tl_classifier.codebook import Codebook
from tl_classifier.commands.codebooks import CodeMap

if TYPE_CHECKING:
    from tl_classifier.excerpts import CodedExcerpt, Excerpt
    from tl_classifier.suggestion import Suggestion

ENDINGS = (".xlsx", ".csv", ".qdpx")
"""What is written."""

TO_BE_CODED = "?"
"""Stands where codes are wanted: an empty cell would say that no code applies."""

NAMED = 3
"""Codes that a row names as those that the model is unsure of."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(suggest)


def suggest(
    corpus: Annotated[
        list[Path],
        typer.Argument(metavar="CORPUS", help="Transcripts, tables and projects, as 'score' takes them, and folders."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="File to write: .xlsx, .csv, or .qdpx (REFI-QDA).")
    ],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many excerpts.")] = 50,
    coded: Annotated[
        list[Path] | None,
        typer.Option(metavar="CODED", help="What has been coded, and is not suggested again; may be given again."),
    ] = None,
    code_map: CodeMap = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The model that is to learn: a name or a folder. [default: the champion]"),
    ] = None,
    text_column: Annotated[str, typer.Option(metavar="NAME", help="Column of tables that holds the text.")] = "text",
    interviewer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Who interviews, and is left out; may be given again. [default: recognised]"),
    ] = None,
    include_interviewer: Annotated[
        bool, typer.Option("--include-interviewer", help="Suggest what interviewers say, too.")
    ] = False,
    skip_speaker: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave out what this speaker says, too; may be given again."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Suggest what to code next: the excerpts whose coding would teach the model most.

    They are those it is unsure of, spread over codes and documents, rare codes first, and no two alike. A sheet has
    them in the order in which they are worth coding, with one column a dimension: replace each "?" by codes, with
    semicolons between, or by "none"; what the model would say stands beside. In a project each document holds its
    suggested excerpts, and the model's proposals are a coder's of its own. Both go back into 'train'.
    """
    from tl_classifier.classifier import Classifier
    from tl_classifier.corpus.coded import read_coded
    from tl_classifier.corpus.refi.codings import read_code_map
    from tl_classifier.corpus.sheets import check_free
    from tl_classifier.corpus.writers import OutputError
    from tl_classifier.errors import InputError
    from tl_classifier.registry import resolve
    from tl_classifier.suggestion import suggest as choose

    ending = output.suffix.lower()
    if ending not in ENDINGS:
        raise OutputError(f"{output} has an ending that cannot be written; known are {' '.join(ENDINGS)}.")
    check_free(output, force=force)
    if interviewer and include_interviewer:
        raise typer.BadParameter("is for leaving them out; give one of them.", param_hint="--interviewer")
    excerpts = _read(
        corpus,
        output,
        text_column=text_column,
        interviewers=interviewer or (),
        include_interviewers=include_interviewer,
        skipped=skip_speaker or (),
    )
    classifier = Classifier.load(resolve(model))
    known: list[CodedExcerpt] = []
    if coded:
        meanings = read_code_map(code_map, classifier.codebook) if code_map else None
        known = read_coded(coded, classifier.codebook, code_map=meanings)
    found = choose(excerpts, classifier, number, coded=known, progress=_progress(len(excerpts)))
    if not found:
        raise InputError("The corpus has no excerpt that is not coded already, or much like one that is.")
    if ending == ".qdpx":
        _write_project(output, found, classifier.codebook, classifier.model)
    else:
        _write_sheet(output, found, classifier.codebook)
    documents = {suggestion.excerpt.document for suggestion in found}
    typer.echo(
        f"Wrote {output}: {_count(len(found), 'excerpt')} of {_count(len(documents), 'document')}, chosen from "
        f"{len(excerpts):,} with {classifier.model}.",
        err=True,
    )
    if len(found) < number:
        typer.echo("There are no more that differ from each other and from what has been coded.", err=True)
    typer.echo(
        "They are for training: the model finds them hard, so agreement with it on them says nothing of a corpus.",
        err=True,
    )


def _read(
    corpus: Sequence[Path],
    output: Path,
    *,
    text_column: str,
    interviewers: Sequence[str],
    include_interviewers: bool,
    skipped: Sequence[str],
) -> list[Excerpt]:
    from tl_classifier.corpus.inputs import expand, read_selected
    from tl_classifier.corpus.speakers import LeftOut, Selection
    from tl_classifier.excerpts import Excerpt

    selection = Selection(tuple(interviewers), include_interviewers, tuple(skipped))
    rows = read_selected(expand(corpus, leave_out=output), selection, LeftOut(), text_column=text_column)
    return [row for row in rows if isinstance(row, Excerpt)]


def _progress(total: int) -> Any:
    """Tells on a terminal how far the scoring is."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)

    def tell(done: int) -> None:
        if console.is_terminal:
            console.print(f"Scored {done:,} of {total:,} excerpts.", end="\n" if done >= total else "\r")

    return tell


# --- a sheet ----------------------------------------------------------------------------------------------------


def _write_sheet(path: Path, found: Sequence[Suggestion], codebook: Codebook) -> None:
    from tl_classifier.corpus.sheets import write_sheet

    dimensions = [dimension.id for dimension in codebook.dimensions]
    header = ["document", "turn", "speaker", "id", "context", "text", *dimensions]
    header += [*(f"proposed.{dimension}" for dimension in dimensions), "unsure"]
    rows: list[list[Any]] = []
    for suggestion in found:
        excerpt, prediction = suggestion.excerpt, suggestion.prediction
        proposed = ("; ".join(prediction.codes[dimension]) or "none" for dimension in dimensions)
        unsure = (f"{code} {prediction.probabilities[dimension][code]:.2f}" for dimension, code in suggestion.unsure)
        rows.append(
            [
                *(excerpt.document, excerpt.turn, excerpt.speaker, excerpt.id, excerpt.context, excerpt.text),
                *(TO_BE_CODED for _ in dimensions),
                *proposed,
                "; ".join(list(unsure)[:NAMED]) or None,
            ]
        )
    if not any(suggestion.excerpt.context for suggestion in found):
        at = header.index("context")
        del header[at]
        for row in rows:
            del row[at]
    write_sheet(path, header, rows)


# --- a project --------------------------------------------------------------------------------------------------


def _write_project(path: Path, found: Sequence[Suggestion], codebook: Codebook, model: str) -> None:
    """Each document with its suggested excerpts alone, a paragraph each: whoever codes in one has seen all of it.

    Nobody is named in it: where a speaker has only one turn, a name before the words would be read as words.
    """
    from tl_classifier import __version__
    from tl_classifier.corpus.composed import Wanted, read_documents
    from tl_classifier.corpus.refi.export import write_project
    from tl_classifier.excerpts import record

    with tempfile.TemporaryDirectory() as folder:
        scored = Path(folder) / "excerpts.jsonl"
        with scored.open("w", encoding="utf-8") as file:
            for suggestion in sorted(found, key=lambda one: one.number):
                row = record(suggestion.excerpt, suggestion.prediction, model=model)
                # A blank line within an excerpt would make two paragraphs of it.
                row |= {"text": " ".join(suggestion.excerpt.text.split()), "speaker": None, "turn": None}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        documents = read_documents(scored, codebook, Wanted())
    write_project(
        documents,
        codebook,
        path,
        name=path.stem,
        origin=f"tl-classifier {__version__}",
        created=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"

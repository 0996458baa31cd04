"""``tl-classifier score``: whole corpora into one file, with progress and a summary on stderr."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from tl_classifier import scoring
from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.corpus.journal import journal_path
from tl_classifier.corpus.sheets import check_free
from tl_classifier.scoring import DocumentCounts, Summary

TOP_DOCUMENTS = 50
"""Documents that the summary shows; the further ones share a line."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(score)


def score(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Files and folders: transcripts (.docx .odt .rtf .pdf .txt .md .vtt .srt), tables (.csv .tsv .xlsx "
            ".jsonl .parquet) and projects (.qdpx).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="File to write: .jsonl .csv .xlsx or .parquet.")
    ],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Folder or name of the model. [default: the champion]")
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="Where the model runs: cpu, cuda, or auto for a GPU where there is one.")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="What is calculated in: float32, or bfloat16, which auto takes where it is fast."
        ),
    ] = "auto",
    text_column: Annotated[str, typer.Option(metavar="NAME", help="Column of tables that holds the text.")] = "text",
    interviewer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Who interviews, and is left out; may be given again. [default: recognised]"),
    ] = None,
    include_interviewer: Annotated[
        bool, typer.Option("--include-interviewer", help="Code what interviewers say, too.")
    ] = False,
    skip_speaker: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave out what this speaker says, too; may be given again."),
    ] = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Name the passage that carries each code; takes several times as long.")
    ] = False,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Mark the codes that can be accepted unseen, so that this share of them is right (such as 0.9); the "
            "others are to be reviewed.",
        ),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a project, too (.qdpx), as 'export' does, with whole transcripts."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report, too (.html), as 'report' does.")
    ] = None,
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave the text out of the output.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an interrupted run did, and begin anew.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")] = False,
) -> None:
    """Score transcripts and tables into one file, and say what was found.

    Every row of the inputs is in the output, in order; one that cannot be scored is there with the reason. Tables
    may have columns id, document, speaker and turn, which are taken over, and context, what the text answers.
    Interviewers are left out: those that are named, or are recognised by their names or by who asks the questions; see:
    tl-classifier transcript show. A run that was interrupted goes on with --resume, and gives the same file as one that
    was not.
    """
    if interviewer and include_interviewer:
        raise typer.BadParameter("is for leaving them out; give one of them.", param_hint="--interviewer")
    if resume and restart:
        raise typer.BadParameter(
            "goes on with a run that --restart throws away; give one of them.", param_hint="--resume"
        )
    if project is not None and no_text:
        raise typer.BadParameter("needs the words; leave --no-text out.", param_hint="--project")
    for path, ending, option in ((project, ".qdpx", "--project"), (report, ".html", "--report")):
        if path is not None:
            if path.suffix.lower() != ending:
                raise typer.BadParameter(f"must end in {ending}.", param_hint=option)
            check_free(path, force=force or resume)
    from tl_classifier.classifier import Classifier
    from tl_classifier.registry import resolve

    console = Console(stderr=True, highlight=False)
    classifier = Classifier.load(resolve(model), device=device, dtype=dtype)
    try:
        with _progress(console) as progress:
            summary = scoring.score(
                inputs,
                output,
                classifier,
                text_column=text_column,
                with_text=not no_text,
                skip_speakers=skip_speaker or (),
                interviewers=interviewer or (),
                include_interviewers=include_interviewer,
                evidence=evidence,
                precision=precision,
                resume=resume,
                restart=restart,
                force=force,
                progress=progress,
            )
    except KeyboardInterrupt:
        going_on = "go on with --resume" if journal_path(output).exists() else "nothing was written"
        console.print(f"Stopped; {going_on}.")
        raise typer.Exit(1) from None
    present(summary, classifier.codebook, console)
    if project is not None:
        _write_project(project, output, inputs, classifier.codebook)
        console.print(f"Written: {project}", soft_wrap=True)
    if report is not None:
        from tl_classifier.report import write_report

        write_report(output, report, classifier.codebook, force=True)
        console.print(f"Written: {report}", soft_wrap=True)


def _write_project(project: Path, output: Path, inputs: Sequence[Path], codebook: Codebook) -> None:
    """The results as a project whose sources are the transcripts themselves, and else the rows that were scored."""
    from tl_classifier import __version__
    from tl_classifier.corpus import composed
    from tl_classifier.corpus.inputs import TRANSCRIPTS, expand
    from tl_classifier.corpus.refi.export import write_project

    transcripts = [file for file in expand(inputs, leave_out=output) if file.suffix.lower() in TRANSCRIPTS]
    texts = composed.texts_of(transcripts) if transcripts else {}
    write_project(
        composed.read_documents(output, codebook, composed.Wanted(), texts),
        codebook,
        project,
        name=project.stem,
        origin=f"tl-classifier {__version__}",
        created=datetime.datetime.fromtimestamp(output.stat().st_mtime, datetime.UTC),
    )


# --- progress ---------------------------------------------------------------------------------------------------


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def _progress(console: Console) -> Iterator[scoring.Progress | None]:
    """A progress bar, on a terminal; else None."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase in tasks:
                bar.update(tasks[phase], completed=done, total=total or None)
            else:
                for earlier in tasks.values():
                    bar.update(earlier, visible=False)
                tasks[phase] = bar.add_task(phase.capitalize(), completed=done, total=total or None)

        yield show


# --- summary ----------------------------------------------------------------------------------------------------


def present(summary: Summary, codebook: Codebook, console: Console) -> None:
    """Print what a run did: codes, codes by document, and what could not be scored."""
    for dimension in codebook.dimensions:
        _print_table(console, dimension.name, _codes_table(summary, dimension))
        if len(summary.documents) > 1:
            for table in _document_tables(summary, dimension, console.width):
                _print_table(console, f"{dimension.name}, by document", table)
    say = partial(console.print, markup=False, soft_wrap=True)
    unscored = summary.unscorable.total()
    say(
        f"{_count(summary.total.rows)} scored with {summary.model}"
        + (f", {summary.resumed:,} rows were done before the interruption" if summary.resumed else "")
        + (f"; {_count(unscored)} not scored:" if unscored else ".")
    )
    for reason, rows in summary.unscorable.most_common(10):
        say(f"  {rows:,} where {reason}")
    if len(summary.unscorable) > 10:
        say("  and others; the column 'error' of the output has every reason.")
    for speaker, rows in summary.skipped.items():
        if rows:
            say(f"{_count(rows)} of {_plain(speaker)} left out.")
        else:
            say(f"Nobody is called {_plain(speaker)} in the inputs; nothing was left out.")
    _say_interviewers(summary, say)
    say(f"Written: {summary.output}")


_KNOWN = {"told": "as told", "name": "by the name", "questions": "who asks the questions"}


def _say_interviewers(summary: Summary, say: Callable[[str], None]) -> None:
    """Whose rows were left out since they interview, and where that is not known."""
    for (name, how), rows in summary.interviewers.most_common(10):
        say(f"{_count(rows)} of {_plain(name)} left out: interviewer, {_KNOWN[how]}.")
    others = summary.interviewers.most_common()[10:]
    if others:
        say(f"{_count(sum(rows for _, rows in others))} of {len(others):,} more interviewers left out.")
    if any(how == "questions" for _, how in summary.interviewers):
        say("Where that is wrong, say who interviews with --interviewer, or code everybody with --include-interviewer.")
    if summary.unclear:
        names = [_plain(name) if name else "(no document)" for name in summary.unclear[:5]]
        say(
            f"Nobody is known to interview in {', '.join(names)}{' ...' * (len(summary.unclear) > 5)}, and all "
            "speakers were coded; say who does with --interviewer."
        )


def _print_table(console: Console, title: str, table: Table) -> None:
    console.print(Text(title, style="bold"))
    console.print(table)
    console.print()


def _codes_table(summary: Summary, dimension: Dimension) -> Table:
    """How many excerpts carry each code."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("Code")
    table.add_column("Excerpts", justify="right")
    table.add_column("Share", justify="right")
    for number, code in enumerate(dimension.codes, start=1):
        rows = summary.total.codes[dimension.id, code.id]
        share = f"{rows / summary.total.rows:.0%}" if summary.total.rows else ""
        table.add_row(str(number), Text(code.name), f"{rows:,}", share)
    return table


def _document_tables(summary: Summary, dimension: Dimension, width: int) -> Iterator[Table]:
    """How many excerpts carry each code, by document: codes by their numbers, as many beside each other as fit."""
    lines = _lines(summary)
    digits = len(f"{summary.total.rows:,}")
    name_width = min(30, max(len(name) for name, _ in lines))
    across = max(4, (width - name_width - digits - 10) // (max(2, digits) + 2))
    for first in range(0, len(dimension.codes), across):
        codes = dimension.codes[first : first + across]
        table = Table(box=None, pad_edge=False)
        table.add_column("Document", max_width=30, no_wrap=True, overflow="ellipsis")
        table.add_column("Excerpts", justify="right", no_wrap=True)
        for number, _ in enumerate(codes, start=first + 1):
            table.add_column(str(number), justify="right", no_wrap=True)
        for name, counts in lines:
            rows = [counts.codes[dimension.id, code.id] for code in codes]
            table.add_row(Text(name), f"{counts.rows:,}", *(f"{n:,}" if n else "." for n in rows))
        yield table


def _lines(summary: Summary) -> list[tuple[str, DocumentCounts]]:
    """The lines of a table by document: the documents with most excerpts, the others together, all."""
    documents: Sequence[tuple[str | None, DocumentCounts]] = list(summary.documents.items())
    if len(documents) > TOP_DOCUMENTS:
        documents = sorted(documents, key=lambda item: -item[1].rows)
    lines = [(_plain(name) if name else "(no document)", counts) for name, counts in documents[:TOP_DOCUMENTS]]
    others = DocumentCounts()
    for counts in [*(counts for _, counts in documents[TOP_DOCUMENTS:]), summary.other_documents]:
        others.rows += counts.rows
        others.codes.update(counts.codes)
    if others.rows:
        lines.append(("(other documents)", others))
    return [*lines, ("All", summary.total)]


def _plain(name: str) -> str:
    """A name without anything that a terminal would act on."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _count(rows: int) -> str:
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"

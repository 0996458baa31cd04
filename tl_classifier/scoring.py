"""Scoring of whole corpora: streaming, resumable, in memory that does not grow with the corpus.

A run reads its inputs once through before it scores anything, so that a file that cannot be read is found in the
first seconds and not after hours, and the rows are counted. Then it scores chunk by chunk into a journal beside the
output (`tl_classifier.corpus.journal`), and at the end makes the output from the journal. A run that is interrupted
goes on behind its last whole chunk: the chunks, and so the numbers, are those of a run that never stopped.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tl_classifier.codebook import Codebook
from tl_classifier.corpus.inputs import expand, read_selected
from tl_classifier.corpus.journal import Journal, journal_path
from tl_classifier.corpus.labels import folded
from tl_classifier.corpus.rows import unless_blank
from tl_classifier.corpus.speakers import How, LeftOut, Selection
from tl_classifier.corpus.textfiles import readable
from tl_classifier.corpus.writers import OutputError, Record, check_output, check_rows, writing
from tl_classifier.excerpts import Excerpt, Prediction, Unscorable, record

CHUNK_ROWS = 1_024
"""Rows of a chunk: enough for batches of like length, little to lose."""

CHUNK_CHARACTERS = 4_000_000
"""A chunk ends where it has more characters than this, whatever its rows: what bounds the memory."""

MAX_DOCUMENTS = 1_000
"""Documents that a summary keeps apart; the further ones are counted together."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class Coder(Protocol):
    """What scores: a `tl_classifier.classifier.Classifier`, or anything that codes as one."""

    @property
    def codebook(self) -> Codebook:
        """What it codes with."""

    @property
    def model(self) -> str:
        """``name@version``: how its codings are signed."""

    def predict(
        self, excerpts: Sequence[Excerpt], *, evidence: bool = False, precision: float | None = None
    ) -> list[Prediction]:
        """Code a batch of excerpts, in their order; the same for the same texts in the same order. Thread-safe."""


class Progress(Protocol):
    """Is told how far a run is."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` rows; `phase` is ``reading``, ``scoring`` or ``writing``. Total 0: not known yet."""


@dataclass(slots=True)
class DocumentCounts:
    """What was found in a document.

    Attributes:
        rows: Rows scored.
        codes: Dimension id and code id to the number of rows that carry the code.
    """

    rows: int = 0
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, codes: dict[str, list[str]]) -> None:
        """Count one scored row."""
        self.rows += 1
        self.codes.update((dimension, code) for dimension, given in codes.items() for code in given)


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        output: The file written.
        model: ``name@version`` of the model.
        resumed: Rows taken over from an interrupted run.
        skipped: Each speaker to be skipped to the number of rows left out.
        interviewers: Names of interviewers, and how each is known, to the number of rows left out.
        unclear: Documents in which several speak, and nobody is known to interview.
        unscorable: Reasons to numbers of rows.
        total: Counts over all scored rows.
        documents: Counts by document, in order of appearance; at most `MAX_DOCUMENTS`.
        other_documents: Counts over the documents beyond.
    """

    output: Path
    model: str
    resumed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    interviewers: Counter[tuple[str, How]] = field(default_factory=Counter)
    unclear: Sequence[str | None] = ()
    unscorable: Counter[str] = field(default_factory=Counter)
    total: DocumentCounts = field(default_factory=DocumentCounts)
    documents: dict[str | None, DocumentCounts] = field(default_factory=dict)
    other_documents: DocumentCounts = field(default_factory=DocumentCounts)

    def add(self, row: Record) -> None:
        """Count a record."""
        if row["codes"] is None:
            self.unscorable[row["error"]] += 1
            return
        document = self.documents.get(row["document"])
        if document is None and len(self.documents) < MAX_DOCUMENTS:
            document = self.documents.setdefault(row["document"], DocumentCounts())
        (document or self.other_documents).add(row["codes"])
        self.total.add(row["codes"])


def score(
    inputs: Iterable[str | Path],
    output: str | Path,
    classifier: Coder,
    *,
    text_column: str = "text",
    with_text: bool = True,
    skip_speakers: Sequence[str] = (),
    interviewers: Sequence[str] = (),
    include_interviewers: bool = False,
    evidence: bool = False,
    precision: float | None = None,
    resume: bool = False,
    restart: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Score files and folders into one file.

    Args:
        inputs: As for `tl_classifier.corpus.inputs.read_excerpts`. The output is never one of them.
        output: .jsonl, .csv, .xlsx or .parquet; it is there, whole, when this returns, and else as it was.
        classifier: What scores.
        text_column: The column of tables that holds the text.
        with_text: False leaves the text out of the output, and out of the journal.
        skip_speakers: Speakers whose turns are left out, in upper or lower case.
        interviewers: Who interviews, in upper or lower case. In documents in which none of them speaks, interviewers
            are recognised; see `tl_classifier.corpus.speakers`.
        include_interviewers: Whether what interviewers say is coded too.
        evidence: Name the passage that carries each code given.
        precision: Mark the codes that can be accepted unseen, so that this share of them is right.
        resume: Go on where an interrupted run stopped; where there was none, begin.
        restart: Throw away what an interrupted run did, and begin anew.
        force: Replace an output that exists. (A run that goes on may, since it was allowed to when it began.)
        progress: Is told how far the run is.

    Raises:
        InputError: if the inputs cannot be read, or the model was not fitted for that precision.
        OutputError: if the output cannot be written or exists, or the journal of an interrupted run is there and
            it was not said what to do with it, or it is of a run with other inputs, model or options.
    """
    output = Path(output)
    tell = progress or _silent
    check_output(output)
    _check_unfinished(output, resume=resume, restart=restart, force=force)
    files = expand(inputs, leave_out=output)
    selection = Selection(tuple(interviewers), include_interviewers, tuple(skip_speakers))
    left_out = LeftOut()
    asked = _Asked(evidence, precision)
    if precision is not None:
        asked.predict(classifier, [])  # the model says whether it can
    run = _run(files, classifier, text_column=text_column, with_text=with_text, selection=selection, asked=asked)
    total = 0
    for _ in read_selected(files, selection, left_out, text_column=text_column):
        total += 1
        if total % CHUNK_ROWS == 0:
            tell("reading", total, 0)
    check_rows(output, total)

    journal = Journal(output, run, resume=resume)
    try:
        summary = Summary(
            output,
            classifier.model,
            resumed=journal.records,
            skipped={name: left_out.skipped[name] for name in skip_speakers},
            interviewers=left_out.interviewers,
            unclear=tuple(left_out.unclear),
        )
        tell("scoring", journal.records, total)
        rows = read_selected(files, selection, LeftOut(), text_column=text_column)
        chunks = _chunks(map(unless_blank, islice(rows, journal.records, None)))
        for records in _ahead(partial(_records, classifier=classifier, asked=asked, with_text=with_text), chunks):
            journal.append(records)
            tell("scoring", journal.records, total)
        written = 0
        with writing(
            output,
            classifier.codebook,
            with_text=with_text,
            with_evidence=evidence,
            with_review=precision is not None,
        ) as writer:
            for records in journal:
                writer.write(records)
                for row in records:
                    summary.add(row)
                written += len(records)
                tell("writing", written, total)
        journal.remove()
    finally:
        journal.close()
    return summary


def _check_unfinished(output: Path, *, resume: bool, restart: bool, force: bool) -> None:
    """See that nothing is lost that was not said to be.

    Raises:
        OutputError: if something would be.
    """
    journal = journal_path(output)
    if journal.exists():
        if not (resume or restart):
            raise OutputError(
                f"An earlier run to {output} was interrupted; go on with --resume, or begin anew with --restart."
            )
        if resume:
            return
    if output.exists() and not force:
        raise OutputError(f"{output} exists already; replace it with --force, or choose another name.")


def _run(
    files: Sequence[Path],
    classifier: Coder,
    *,
    text_column: str,
    with_text: bool,
    selection: Selection,
    asked: _Asked,
) -> dict[str, Any]:
    """What a result depends on: where it is the same, an interrupted run can go on."""
    run: dict[str, Any] = {
        "model": classifier.model,
        "codebook": classifier.codebook.fingerprint,
        "option --text-column": text_column,
        "option --no-text": not with_text,
        "option --skip-speaker": sorted({folded(name) for name in selection.skipped}),
        "option --interviewer": sorted({folded(name) for name in selection.interviewers}),
        "option --include-interviewer": selection.include_interviewers,
        "option --evidence": asked.evidence,
        "option --precision": asked.precision,
        "size of chunks": [CHUNK_ROWS, CHUNK_CHARACTERS],
        "list of inputs": [file.name for file in files],
    }
    for number, file in enumerate(files, start=1):
        with readable(file), file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        run[f"content of input {number} ({file.name})"] = {"sha256": digest}
    return run


def _chunks(rows: Iterable[Excerpt | Unscorable]) -> Iterator[list[Excerpt | Unscorable]]:
    """Rows in chunks; where one ends depends on nothing but the rows since the last ended."""
    chunk: list[Excerpt | Unscorable] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(row.text) if isinstance(row, Excerpt) else 0
        if len(chunk) == CHUNK_ROWS or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _ahead(work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """Results of `work` in the order of `items`, one begun while the one before it runs.

    So one chunk is read, tokenised, decoded and written while another is in the network, and no core waits.
    """
    with ThreadPoolExecutor(2, thread_name_prefix="scoring") as pool:
        begun: deque[Future[_R]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) == 2:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for beside the codes."""

    evidence: bool
    precision: float | None

    def predict(self, classifier: Coder, excerpts: Sequence[Excerpt]) -> list[Prediction]:
        if not self.evidence and self.precision is None:
            return classifier.predict(excerpts)
        return classifier.predict(excerpts, evidence=self.evidence, precision=self.precision)


def _records(
    chunk: Sequence[Excerpt | Unscorable], classifier: Coder, asked: _Asked, *, with_text: bool
) -> list[dict[str, Any]]:
    """The records of a chunk; what is said twice in answer to the same is scored once."""
    distinct: dict[tuple[str, str | None], Excerpt] = {}
    for row in chunk:
        if isinstance(row, Excerpt):
            distinct.setdefault((row.text, row.context), row)
    scored = asked.predict(classifier, list(distinct.values())) if distinct else []
    predictions = dict(zip(distinct, scored, strict=True))
    return [
        record(
            row,
            predictions[row.text, row.context] if isinstance(row, Excerpt) else None,
            model=classifier.model,
            with_text=with_text,
        )
        for row in chunk
    ]


def _silent(phase: str, done: int, total: int) -> None:
    pass

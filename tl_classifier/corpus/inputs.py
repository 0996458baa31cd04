"""Inputs of a run: files and folders to one stream of excerpts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tl_classifier.corpus import documents, tables, transcripts
from tl_classifier.corpus.rows import unless_blank
from tl_classifier.corpus.speakers import LeftOut, Selection, select, select_rows
from tl_classifier.corpus.textfiles import readable
from tl_classifier.errors import InputError
from tl_classifier.excerpts import Excerpt, Unscorable

TABLES = (".csv", ".tsv", ".jsonl", ".xlsx", ".parquet")
"""Endings of files whose rows are excerpts."""

TRANSCRIPTS = documents.ENDINGS
"""Endings of files whose turns are."""

PROJECTS = (".qdpx",)
"""Endings of projects, whose sources are transcripts."""


def read_excerpts(paths: Iterable[str | Path], *, text_column: str = "text") -> Iterator[Excerpt | Unscorable]:
    """The excerpts of files and folders, in order, and the rows that cannot be scored, with the reason.

    Args:
        paths: Files, and folders that are searched for files with a known ending.
        text_column: The column of the tables that holds the text.

    Raises:
        InputError: if something is not there, cannot be read or is not what its ending says, or a table has no
            such column or no rows.
    """
    return map(unless_blank, read_rows(expand(paths), text_column=text_column))


def read_rows(files: Iterable[Path], *, text_column: str = "text") -> Iterator[Excerpt | Unscorable]:
    """As `read_excerpts`, for files as `expand` gives them, and without looking for words in the texts.

    There are as many rows as `read_excerpts` gives, and reading is most of what it costs.
    """
    for file in files:
        yield from _reader(file, text_column)(file)


def read_selected(
    files: Iterable[Path], selection: Selection, left_out: LeftOut, *, text_column: str = "text"
) -> Iterator[Excerpt | Unscorable]:
    """As `read_rows`, without those whose speakers are not to be coded.

    In the transcripts, who interviews is told or recognised; in tables, whose rows need not be a conversation, the name
    must say so.

    Args:
        files: As for `read_rows`.
        selection: Who is to be coded.
        left_out: Counts what is left out.
        text_column: As for `read_rows`.
    """
    for file in files:
        rows = read_rows([file], text_column=text_column)
        yield from (select_rows if file.suffix.lower() in TABLES else select)(rows, selection, left_out)


def _reader(file: Path, text_column: str) -> Callable[[Path], Iterator[Excerpt | Unscorable]]:
    if file.suffix.lower() in TRANSCRIPTS:
        return transcripts.read_transcript
    if file.suffix.lower() in PROJECTS:
        from tl_classifier.corpus.refi.codings import read_turns  # which reads coded data, and so its inputs, too

        return read_turns
    return partial(tables.read_excerpts, text_column=text_column)


def expand(
    paths: Iterable[str | Path],
    *,
    endings: Sequence[str] = TABLES + TRANSCRIPTS + PROJECTS,
    leave_out: Path | None = None,
) -> list[Path]:
    """The files that are meant: each named one, and of each folder those with a known ending, sorted.

    Folders are searched to any depth, without following links to other folders; hidden files, those that office
    programs leave beside an open document, and notes on the folder (README) are passed over. A file that is meant twice
    is read once.

    Args:
        paths: Files and folders.
        endings: Known endings, in lower case.
        leave_out: A file that is no input, though it may lie in one of the folders: the output.

    Raises:
        InputError: if there is no such file or folder, a named file has another ending or is the one to leave
            out, or a folder cannot be read or has no file with a known ending.
    """
    out = None if leave_out is None else os.path.realpath(leave_out)
    files: dict[str, Path] = {}
    for given in map(Path, paths):
        for file in _meant(given, endings, out):
            files.setdefault(os.path.realpath(file), file)
    return list(files.values())


def _meant(given: Path, endings: Sequence[str], out: str | None) -> list[Path]:
    with readable(given):
        if given.is_dir():
            found = [file for file in _search(given, endings) if os.path.realpath(file) != out]
            if not found:
                raise InputError(f"The folder {given} has no file that can be read ({' '.join(endings)}).")
            return found
        if not given.exists():
            raise InputError(f"{given} does not exist.")
        if not given.is_file():
            raise InputError(f"{given} is neither a file nor a folder.")
    if given.suffix.lower() in documents.REFUSED:
        raise InputError(f"{given} {documents.REFUSED[given.suffix.lower()]}.")
    if given.suffix.lower() not in endings:
        raise InputError(f"{given} has an ending that is not known here; known are {' '.join(endings)}.")
    if os.path.realpath(given) == out:
        raise InputError(f"{given} is both an input and the output; choose another output.")
    return [given]


def _search(folder: Path, endings: Sequence[str]) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in names
            if Path(name).suffix.lower() in endings
            and not name.startswith((".", "~$"))
            and Path(name).stem.casefold() != "readme"
        ]
    return sorted((file for file in found if file.is_file()), key=lambda file: file.parts)

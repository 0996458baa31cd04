"""Documents that hold a transcript, of every format, as plain text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tl_classifier.corpus import textfiles
from tl_classifier.corpus.markdown import read_markdown
from tl_classifier.corpus.pdf import read_pdf
from tl_classifier.corpus.plaintext import MAX_CHARACTERS, PlainText, too_long
from tl_classifier.corpus.rtf import read_rtf
from tl_classifier.corpus.subtitles import read_subtitles
from tl_classifier.corpus.wordfiles import read_docx, read_odt
from tl_classifier.errors import InputError


def read_document(path: Path) -> PlainText:
    """Read a document.

    Raises:
        InputError: if the file cannot be read, is not what its ending says, is damaged, protected or too long, or is
            made to do harm.
    """
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise InputError(f"{path} {REFUSED.get(ending, 'is no transcript; known are ' + ' '.join(ENDINGS))}.")
    document = _READERS[ending](path)
    if len(document.text) > MAX_CHARACTERS:
        raise too_long(path)
    return document


def _read_text(path: Path) -> PlainText:
    return PlainText(textfiles.text(path), "plain text", textfiles.encoding_name(path))


_READERS: Final[Mapping[str, Callable[[Path], PlainText]]] = {
    ".txt": _read_text,
    ".md": read_markdown,
    ".docx": read_docx,
    ".odt": read_odt,
    ".rtf": read_rtf,
    ".pdf": read_pdf,
    ".vtt": read_subtitles,
    ".srt": read_subtitles,
}

ENDINGS: Final = tuple(_READERS)
"""Endings of documents that are read."""


def _save_as(what: str, ending: str, program: str) -> str:
    return f"{what}; open it in {program} and save it as {ending}"


_MACROS = "may hold macros and is not opened"

REFUSED: Final[Mapping[str, str]] = {
    ".doc": _save_as("is in the format of Word before 2007", ".docx", "Word or LibreOffice"),
    ".dot": _save_as("is a template of Word before 2007", ".docx", "Word or LibreOffice"),
    ".docm": _save_as(_MACROS, ".docx", "Word"),
    ".dotm": _save_as(_MACROS, ".docx", "Word"),
    ".xls": _save_as("is in the format of Excel before 2007", ".xlsx", "Excel"),
    ".xlsm": _save_as(_MACROS, ".xlsx", "Excel"),
    ".pages": "is in a format of Apple alone; export it from Pages as .docx",
    ".wpd": _save_as("is in the format of WordPerfect", ".docx", "LibreOffice"),
}
"""Endings that people try, and what to do instead, as clauses."""

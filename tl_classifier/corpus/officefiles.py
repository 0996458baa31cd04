"""What the files of office programs (.docx .odt .xlsx) have in common: they are zip archives of XML, and may do harm.

Files with macros are refused. None would be run; but a transcript has none, and whoever sends one that has should know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tl_classifier.corpus import textfiles, xmlstream
from tl_classifier.corpus.refi import archive
from tl_classifier.corpus.refi.archive import Archive
from tl_classifier.errors import InputError

MAX_PART = 100_000_000
"""Bytes of the largest XML file in a document, unpacked."""


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a file for reading.

    Raises:
        InputError: if it cannot be read, is no file of an office program, damaged, protected, holds macros, or is made
            to do harm.
    """
    if textfiles.kind_of(path) == textfiles.OLD_OFFICE:
        raise InputError(
            f"{path} is protected with a password, or of an older kind; open it and save it anew as "
            f"{path.suffix.lower()} without a password."
        )
    with archive.opened(path) as file:
        if any(_holds_macros(entry.filename) for entry in file.members):
            raise InputError(
                f"{path} holds macros and is not opened; copy its text to a new document, or save it without them."
            )
        yield file


def read_part(file: Archive, name: str, handler: xmlstream.Handler) -> bool:
    """Tell a handler what is in a part of a file; False where there is none of that name.

    Raises:
        InputError: if it is damaged, too large, or made to do harm.
    """
    entry = file.find(name)
    if entry is None:
        return False
    if entry.file_size > MAX_PART:
        raise InputError(f"{file.path} has more than {MAX_PART // 1_000_000} MB of text when unpacked; split it.")
    xmlstream.read(file.blocks(entry), handler, str(file.path))
    return True


def _holds_macros(name: str) -> bool:
    name = name.casefold().replace("\\", "/")
    return name.endswith("vbaproject.bin") or name.startswith(("basic/", "scripts/"))

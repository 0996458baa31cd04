"""Text files as they come: which encoding, is it text at all, and its lines one by one.

`encoding_of` is the one place that decides on an encoding; a new one is added there.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tl_classifier.errors import InputError

MAX_LINE = 16_000_000
"""Longest line that is read, in characters: more is not a line of text, and would not fit into memory for long."""

_BLOCK = 1 << 16

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive, as .xlsx, .docx and .odt files are"),
    (b"PAR1", "a Parquet file"),
    (b"\xd0\xcf\x11\xe0", "an older or password-protected Office file"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "a rich-text file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"SQLite format 3", "a database"),
)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or type(error).__name__}.") from error


def kind_of(path: Path) -> str | None:
    """What a file's first bytes say that it is ("a zip archive ..."); None where they say nothing.

    Raises:
        InputError: if the file cannot be read, or is empty.
    """
    with readable(path), path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise InputError(f"{path} is empty.")
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def encoding_of(path: Path) -> str:
    """The encoding of a text file, as Python names it: UTF-8, or UTF-16 where a byte order mark says so.

    Raises:
        InputError: if the file cannot be read, is empty, or is not text.
    """
    kind = kind_of(path)
    if kind is not None:
        raise InputError(f"{path} is not a {path.suffix.lower()} file: its content is {kind}.")
    with readable(path), path.open("rb") as file:
        head = file.read(_BLOCK)
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        raise InputError(f"{path} is not a text file: its content is binary, or UTF-16 without a byte order mark.")
    return "utf-8"


def lines(path: Path) -> Iterator[str]:
    r"""The lines of a text file with their ends (``\n``, ``\r\n`` or ``\r``, as they stand), never the whole file.

    Raises:
        InputError: if the file cannot be read, is empty, is not text, or has a line of more than `MAX_LINE`
            characters.
    """
    encoding = encoding_of(path)
    with readable(path), path.open(encoding=encoding, newline="") as file:
        number = 0
        while True:
            try:
                line = file.readline(MAX_LINE + 1)
            except UnicodeError as error:
                raise _undecodable(path, encoding) from error
            if not line:
                return
            number += 1
            if len(line) > MAX_LINE:
                raise InputError(f"{path}, line {number}: the line has more than {MAX_LINE:,} characters.")
            if "\0" in line:
                raise InputError(f"{path} is not a text file: line {number} holds a zero byte.")
            yield line


def text(path: Path, *, max_bytes: int) -> str:
    """A whole text file, decoded, its line ends as they stand and without a byte order mark.

    Raises:
        InputError: if the file cannot be read, is empty, is not text, or has more than `max_bytes` bytes.
    """
    encoding = encoding_of(path)
    with readable(path), path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise InputError(f"{path} has more than {max_bytes // 1_000_000} MB, too much for one transcript; split it.")
    try:
        decoded = content.decode(encoding)
    except UnicodeError as error:
        raise _undecodable(path, encoding) from error
    if "\0" in decoded:
        raise InputError(f"{path} is not a text file: it holds a zero byte.")
    return decoded


def _undecodable(path: Path, encoding: str) -> InputError:
    """The error for a file that is not in the encoding it seemed to be in."""
    if encoding == "utf-16":
        return InputError(f"{path} begins as UTF-16 but is not valid UTF-16; save it as UTF-8.")
    place = _first_bad_byte(path)
    return InputError(
        f"{path} is not UTF-8 text{place}; save it as UTF-8 "
        "(Excel: Save As, 'CSV UTF-8'; Word and editors: Save As, plain text, encoding UTF-8)."
    )


def _first_bad_byte(path: Path) -> str:
    """Where a file stops being UTF-8, as a clause."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line = 0, 1
    with readable(path), path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                return f": byte {offset - pending + error.start + 1:,}, in line {line:,}, does not belong in it"
            if not block:  # it changed meanwhile
                return ""
            offset += len(block)
            line += block.count(b"\n")

"""Text files as they come: which encoding, is it text at all, and its lines one by one.

`encoding_of` is the one place that decides on an encoding; a new one is added there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tl_classifier.errors import InputError

MAX_LINE = 8_000_000
"""Longest line that is read, in characters: more is not a line of text, and would not fit into memory for long."""

MAX_BYTES = 16_000_000
"""Largest transcript that is read, as a text file; a whole one is held in memory."""

_BLOCK = 1 << 16

_CONTROL = re.compile("[\0-\x08\x0e-\x1f]")

# As bytes of Windows-1252: what is not in it, letters, those of them that are not ASCII, and what no word has behind a
# small letter: a capital or a symbol that another small letter follows.
_NOT_1252 = re.compile(rb"[\0-\x08\x0e-\x19\x1b-\x1f\x7f\x81\x8d\x8f\x90\x9d]")
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")
_BEYOND = re.compile(rb"[\x80-\xff]")
_STRANGE = re.compile(
    rb"(?<=[a-z\xe0-\xff])[\x82-\x84\x86-\x8c\x8e\x95\x98-\x9a\x9e\x9f\xa1-\xac\xae-\xb6\xb8-\xde](?=[a-z\xe0-\xff])"
)
_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")

OLD_OFFICE = "an older or password-protected Office file"
"""What `kind_of` says of one."""

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive, as .xlsx, .docx and .odt files are"),
    (b"PAR1", "a Parquet file"),
    (b"\xd0\xcf\x11\xe0", OLD_OFFICE),
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
    """The encoding of a text file, as Python names it.

    A byte order mark decides. Without one, text in which every second byte is zero is UTF-16; what is UTF-8 to its end
    is UTF-8; and else it is Windows-1252, as older programs on Windows write, if all of it reads as Western European
    text. A file that is UTF-8 but for a few bytes is damaged, and not taken for Windows-1252.

    Returns:
        ``utf-8``, ``utf-8-sig``, ``utf-16``, ``utf-16-le``, ``utf-16-be`` or ``cp1252``.

    Raises:
        InputError: if the file cannot be read, is empty, is not text, or is in no encoding that is known here.
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
        encoding = _utf16_without_mark(head)
        if encoding is None:
            raise InputError(f"{path} is not a text file: its content is binary.")
        return encoding
    place = _first_bad_byte(path)
    if place is None:
        return "utf-8"
    if _is_western(path):
        return "cp1252"
    raise InputError(
        f"{path} is not UTF-8 text{place}, and no other encoding that is known here; save it as UTF-8 "
        "(Excel: Save As, 'CSV UTF-8'; Word and editors: Save As, plain text, encoding UTF-8)."
    )


def encoding_name(path: Path) -> str:
    """As `encoding_of`, as people say it."""
    return _NAMES[encoding_of(path)]


_NAMES = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with a byte order mark",
    "utf-16": "UTF-16 with a byte order mark",
    "utf-16-le": "UTF-16 without a byte order mark",
    "utf-16-be": "UTF-16 without a byte order mark",
    "cp1252": "Windows-1252",
}


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 with its byte order, where nearly every character has a zero byte, on the same side; None for others."""
    zeros = head[::2].count(0), head[1::2].count(0)
    for encoding, on_its_side, on_the_other in (("utf-16-le", zeros[1], zeros[0]), ("utf-16-be", zeros[0], zeros[1])):
        if on_the_other == 0 and on_its_side >= 0.7 * (len(head) // 2):
            # The block may end within a character.
            text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
            return None if _CONTROL.search(text) or "\ufffd" in text else encoding
    return None


def _is_western(path: Path) -> bool:
    """Whether a file that is not UTF-8 reads as Western European text in Windows-1252.

    Any byte can be read so, nearly; what tells are the letters beyond ASCII. In Western European languages they are few
    among letters, and no capital or symbol stands behind a small letter in mid-word, as they do where an older Mac's
    encoding is misread. A file with characters in UTF-8 is UTF-8 that was damaged.
    """
    beyond = letters = strange = in_utf8 = 0
    with readable(path), path.open("rb") as file:
        piece = file.read(_BLOCK)
        while piece:
            more = file.read(_BLOCK)
            # What would be cut by the end of the piece is left for the next.
            piece, rest = (piece[:-4], piece[-4:]) if more else (piece, b"")
            if _NOT_1252.search(piece):
                return False
            beyond += len(_BEYOND.findall(piece))
            letters += len(_LETTER.findall(piece))
            strange += len(_STRANGE.findall(piece))
            in_utf8 += sum(map(len, _UTF8.findall(piece)))
            piece = rest + more
    few = beyond <= 0.3 * letters + 3  # a few in a very short text are no share
    return few and 2 * in_utf8 < beyond and 10 * strange <= beyond


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


def text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
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
    if encoding.startswith("utf-16"):
        return InputError(f"{path} begins as UTF-16 but is not valid UTF-16; save it as UTF-8.")
    return InputError(f"{path} is not UTF-8 text{_first_bad_byte(path) or ''}; save it as UTF-8.")


def _first_bad_byte(path: Path) -> str | None:
    """Where a file stops being UTF-8, as a clause; None where it does not."""
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
            if not block:
                return None
            offset += len(block)
            line += block.count(b"\n")

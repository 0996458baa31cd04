"""Zip archives as they come: looked at before anything in them is read, and never unpacked to disk.

A project is sent from hand to hand, so its archive is not trusted: what it declares is checked against limits, and
names that would lead a program that unpacks it out of its folder are refused.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tl_classifier.corpus import textfiles
from tl_classifier.errors import InputError, UserError

MAX_MEMBERS = 20_000
"""Most files in an archive."""

MAX_UNPACKED = 64_000_000_000
"""Bytes of all files together, unpacked; recordings are large, and are never held in memory."""

MAX_RATIO = 250
"""A file of `RATIO_FROM` bytes or more that unpacks to more than so many times its size is a bomb, and no text."""

RATIO_FROM = 1_000_000

_MAX_DIRECTORY = 8_000_000
_BLOCK = 1 << 20
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")


class Archive:
    """A zip archive that is open for reading, and has been found harmless.

    Attributes:
        path: The file.
        members: Its files in order, without folders.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.members = [entry for entry in file.infolist() if not entry.filename.endswith("/")]
        self._check(path.stat().st_size)
        self._places = {_folded(entry.filename): entry for entry in self.members}

    def find(self, name: str) -> zipfile.ZipInfo | None:
        """The file of that name, in upper or lower case; None where there is none."""
        return self._places.get(_folded(name))

    def read(self, entry: zipfile.ZipInfo, *, max_bytes: int) -> bytes:
        """The content of a file.

        Raises:
            InputError: if it is larger than `max_bytes`, or damaged.
        """
        if entry.file_size > max_bytes:
            raise InputError(
                f"{self.path}: a file in it has more than {max_bytes // 1_000_000} MB, too much to be read."
            )
        return b"".join(self.blocks(entry))

    def blocks(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """The content of a file, piece by piece.

        Raises:
            InputError: if it is damaged.
        """
        try:
            with self._file.open(entry) as content:
                while block := content.read(_BLOCK):
                    yield block
        except (UserError, MemoryError, GeneratorExit):
            raise
        except Exception as error:
            raise InputError(f"{self.path} is damaged: a file in it cannot be unpacked.") from error

    def _check(self, size: int) -> None:
        if len(self.members) > MAX_MEMBERS:
            raise InputError(f"{self.path} holds more than {MAX_MEMBERS:,} files, too many for a project.")
        if sum(entry.file_size for entry in self.members) > MAX_UNPACKED:
            raise InputError(f"{self.path} unpacks to more than {MAX_UNPACKED // 1_000_000_000} GB, and is not opened.")
        if sum(entry.compress_size for entry in self.members) > size:
            raise InputError(f"{self.path} is damaged: the files in it overlap.")
        seen = set()
        for entry in self.members:
            if entry.flag_bits & 1:
                raise InputError(f"{self.path} is protected with a password; save it without one.")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InputError(f"{self.path} is packed in a way that is not known here; pack it anew as a plain zip.")
            if entry.file_size >= RATIO_FROM and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
                raise InputError(f"{self.path} is not opened: a file in it unpacks to far more than any text would.")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise InputError(f"{self.path} is not opened: a file in it is a link to a place outside.")
            if not _stays_inside(entry.filename):
                raise InputError(f"{self.path} is not opened: a file in it has a name that leads outside the archive.")
            if _folded(entry.filename) in seen:
                raise InputError(f"{self.path} is not opened: two files in it have the same name.")
            seen.add(_folded(entry.filename))


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive for reading.

    Raises:
        InputError: if the file cannot be read, is no zip archive, is truncated or damaged, is protected, or is made
            to do harm.
    """
    kind = textfiles.kind_of(path)
    if kind is None or not kind.startswith("a zip archive"):
        raise InputError(f"{path} is not a {path.suffix.lower()} file: its content is {kind or 'something else'}.")
    with textfiles.readable(path):
        _check_directory(path)
        try:
            file = zipfile.ZipFile(path)
        except OSError:
            raise
        except Exception as error:
            raise _truncated(path) from error
        with file:
            yield Archive(path, file)


def _check_directory(path: Path) -> None:
    """See that the list of files is of a sound size, before the library makes an object of each."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - _END.size - 0xFFFF - _LOCATOR_64.size)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise _truncated(path)
        *_, entries, length, _, _ = _END.unpack_from(tail, at)
        if at >= _LOCATOR_64.size and tail[at - _LOCATOR_64.size :].startswith(b"PK\x06\x07"):
            _, _, offset, _ = _LOCATOR_64.unpack_from(tail, at - _LOCATOR_64.size)
            if offset > size - _END_64.size:
                raise _truncated(path)
            file.seek(offset)
            *_, entries, length, _ = _END_64.unpack(file.read(_END_64.size))
    if entries > MAX_MEMBERS + 1_000 or length > _MAX_DIRECTORY:
        raise InputError(f"{path} holds more than {MAX_MEMBERS:,} files, too many for a project.")


def _truncated(path: Path) -> InputError:
    return InputError(f"{path} is damaged or cut off: it is no whole zip archive.")


def _folded(name: str) -> str:
    return name.replace("\\", "/").casefold()


def _stays_inside(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and ":" not in parts[0] and "\0" not in name

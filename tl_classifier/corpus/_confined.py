"""Run as a program, by path: reads one file with a library that others wrote, within limits, and prints JSON.

It is a process of its own because no library for these formats can be trusted with a file that is made to do harm: in
here it can neither take all memory, nor go on for ever, nor take the program down with it. Nothing of this package is
imported, so that it starts at once.

    python _confined.py pdf|rtf FILE MAX_BYTES_OF_MEMORY MAX_SECONDS MAX_PAGES MAX_CHARACTERS

It prints ``{"lines": ...}`` or ``{"text": ...}``, or ``{"problem": NAME}``.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from typing import Any

_LEAD = 60
"""How far into a line a bold name may reach, in characters."""

_COLUMN = 1.5
"""How far apart, in heights of a line, words are that stand in columns."""

_PICTURE = re.compile(r"(?:[0-9a-fA-F]{32,}\s*){16,}")

_BOLD = ("bold", "black", "heavy", "demi")


class _Problem(Exception):
    pass


def main() -> None:
    """Read the file that the command line names."""
    kind, path = sys.argv[1:3]
    memory, seconds, pages, characters = map(int, sys.argv[3:7])
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limits on this system
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    answer: dict[str, Any]
    try:
        answer = _pdf(path, pages, characters) if kind == "pdf" else _rtf(path, characters)
    except _Problem as problem:
        answer = {"problem": str(problem)}
    except MemoryError:
        sys.exit(1)
    except Exception:
        answer = {"problem": "damaged"}
    sys.stdout.buffer.write(json.dumps(answer).encode())


def _rtf(path: str, characters: int) -> dict[str, Any]:
    from pathlib import Path

    from striprtf.striprtf import rtf_to_text

    # The format is ASCII; what is not, is in the code page that is usual where it is not said. Pictures are megabytes
    # of hexadecimal digits, which the library would read one by one.
    content = _PICTURE.sub("", Path(path).read_bytes().decode("cp1252", "replace"))
    text: str = rtf_to_text(content, errors="replace")
    if len(text) > characters:
        raise _Problem("long")
    # It gives the two halves of rare characters one by one.
    return {"text": text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")}


def _pdf(path: str, pages: int, characters: int) -> dict[str, Any]:
    import pypdfium2
    import pypdfium2.raw as raw

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        code = getattr(error, "err_code", None)
        raise _Problem(
            "password" if code == raw.FPDF_ERR_PASSWORD or "password" in str(error) else "damaged"
        ) from error
    if len(document) > pages:
        raise _Problem("pages")
    left = characters
    read = []
    for number in range(len(document)):
        try:
            page = document[number]
        except pypdfium2.PdfiumError:
            read.append({"height": 0.0, "lines": []})
            continue
        text = page.get_textpage()
        left -= text.count_chars()
        if left < 0:
            raise _Problem("long")
        read.append({"height": page.get_height(), "lines": _lines(text, raw)})
        text.close()
        page.close()
    return {"pages": read}


def _lines(page: Any, raw: Any) -> list[list[Any]]:
    """The lines of a page in the order of its content: left, bottom, right, top, bold characters, text."""
    import ctypes

    box = [ctypes.c_double() for _ in range(4)]
    lines: list[list[Any]] = []
    letters: list[str] = []
    edges: list[float] = []
    bold = 0

    def close() -> None:
        nonlocal letters, edges, bold
        text = "".join(letters).rstrip()
        if text.strip() and edges:
            lines.append([*(round(edge, 1) for edge in edges), bold, text])
        letters, edges, bold = [], [], 0

    for at in range(page.count_chars()):
        code = raw.FPDFText_GetUnicode(page, at)
        if code in (10, 13):
            close()
            continue
        if code == 2:  # what divides a word at the end of a line
            letters.append("-")
            close()
            continue
        character = chr(code) if 32 <= code < 0x110000 and not 0xD800 <= code < 0xE000 and code != 0xFFFE else " "
        if code and not raw.FPDFText_IsGenerated(page, at):
            raw.FPDFText_GetCharBox(page, at, box[0], box[2], box[1], box[3])
            left, bottom, right, top = (edge.value for edge in box)
            if character != " ":
                # The library puts a line break where a line ends, but not where the text jumps to another column.
                if edges and (top < edges[1] or bottom > edges[3]) and (left < edges[2]):
                    close()
                elif edges and left - edges[2] > _COLUMN * (edges[3] - edges[1]):
                    while letters and letters[-1] == " ":
                        letters.pop()
                    bold = min(bold, len(letters))
                    letters.append("\t")
                edges = (
                    [min(edges[0], left), min(edges[1], bottom), max(edges[2], right), max(edges[3], top)]
                    if edges
                    else [left, bottom, right, top]
                )
        if bold == len(letters) < _LEAD and (character == " " or _is_bold(page, at, raw)):
            bold += 1
        letters.append(character)
    close()
    return lines


def _is_bold(page: Any, at: int, raw: Any) -> bool:
    import ctypes

    name = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    length = raw.FPDFText_GetFontInfo(page, at, name, 128, flags)
    if 0 < length <= 128 and any(word in name.value.decode("utf-8", "replace").lower() for word in _BOLD):
        return True
    return bool(raw.FPDFText_GetFontWeight(page, at) >= 600)


if __name__ == "__main__":
    main()

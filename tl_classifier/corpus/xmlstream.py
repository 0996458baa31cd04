"""XML read as a stream of events, in bounded memory: what is within the packages of office programs.

Document types are refused, and with them entities and all the harm that can be done with them; so are elements without
end within each other, and tags without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol
from xml.parsers import expat

from tl_classifier.errors import InputError

MAX_DEPTH = 250
"""How deep elements may lie within each other."""

MAX_ELEMENTS = 8_000_000
"""Most elements of a file."""

MAX_TAG = 2_000_000
"""Most bytes without a whole tag or a piece of text."""


MAX_TEXT = 16_000_000
"""Most bytes of text without an element."""


class Handler(Protocol):
    """Is told what is in a file, in order."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins; names are ``namespace name``, or a name alone where there is none."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, characters: str) -> None:
        """A piece of text."""


class Nothing:
    """A handler that is not interested."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, characters: str) -> None:
        """A piece of text."""


def read(blocks: Iterable[bytes], handler: Handler, what: str, *, max_elements: int | None = MAX_ELEMENTS) -> None:
    """Tell a handler what is in a file.

    Args:
        blocks: The file, piece by piece.
        handler: Is told.
        what: The file, for messages.
        max_elements: Most elements; None for as many as there are, where nothing is kept of them.

    Raises:
        InputError: if it is not well-formed XML, has a document type, or is too large or too deep.
    """
    depth = elements = 0
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth += 1
        elements += 1
        if depth > MAX_DEPTH or (max_elements is not None and elements > max_elements):
            raise InputError(f"{what} is not read: its XML is nested too deeply, or has too many elements.")
        handler.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        handler.end(name)

    def refuse(*_: object) -> None:
        raise InputError(f"{what} is not read: its XML has a document type (<!DOCTYPE ...>), which can do harm.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    if not isinstance(handler, Nothing):
        parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    fed = quiet = before = 0
    try:
        for block in blocks:
            parser.Parse(block, False)
            fed += len(block)
            quiet, before = (quiet + len(block) if elements == before else 0), elements
            if fed - parser.CurrentByteIndex > MAX_TAG or quiet > MAX_TEXT:
                raise InputError(f"{what} is not read: its XML has a tag, or a text, without end.")
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InputError(f"{what} is damaged: its XML is not well-formed.") from error


def local(name: str) -> tuple[str, str]:
    """Namespace and name of a name as the handler is told it."""
    namespace, _, own = name.rpartition(" ")
    return namespace, own

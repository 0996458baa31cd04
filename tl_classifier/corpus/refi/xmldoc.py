"""XML that keeps its bytes: parsed to see what is where, changed by putting elements in, and left alone otherwise.

A project holds much that this program has no use for. Parsing and writing it anew would lose comments, prefixes and
order; so what is added is put into the file as it stands, and all else stays as it is, byte for byte.

Document types are refused: entities, and all the harm that can be done with them, are declared there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from tl_classifier.errors import InputError

MAX_ELEMENTS = 450_000
"""Most elements of a document, which are held in memory; one coding takes three or four."""

MAX_DEPTH = 100
"""How deep elements may lie within each other."""

_START_TAG = re.compile(rb"""<[^<>"']*(?:"[^"]*"[^<>"']*|'[^']*'[^<>"']*)*>""")
_DECLARATION = re.compile(r"""(<\?xml\b[^>]*?\sencoding\s*=\s*)(["'])([A-Za-z][A-Za-z0-9._-]*)\2""")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class Node:
    """An element.

    Attributes:
        name: Its name, without a prefix.
        namespace: The namespace of its name; empty where there is none.
        prefix: As written in the file; empty where there is none.
        attributes: Its attributes; those with a namespace have it before their name.
        children: The elements in it.
        text: The text directly in it.
        begin: Where it begins in the file, in bytes, as are the following.
        inside: Where its content begins.
        inside_end: Where its content ends.
        end: Where it ends.
    """

    name: str
    namespace: str
    prefix: str
    attributes: Mapping[str, str]
    begin: int
    inside: int
    inside_end: int = 0
    end: int = 0
    text: str = ""
    children: Sequence[Node] = ()

    def get(self, attribute: str) -> str:
        """An attribute; empty where there is none."""
        return self.attributes.get(attribute, "")

    def all(self, *names: str) -> Iterator[Node]:
        """The children of these names, in order."""
        return (child for child in self.children if child.name in names)

    def first(self, name: str) -> Node | None:
        """The first child of that name; None where there is none."""
        return next(self.all(name), None)

    @property
    def is_empty(self) -> bool:
        """Whether it is written as one tag (``<Users/>``)."""
        return self.inside == self.end


@dataclass(slots=True)
class Document:
    """An XML document, and what is to be put into it.

    Attributes:
        data: Its bytes, in UTF-8.
        root: Its outermost element.
    """

    data: bytes
    root: Node
    _added: dict[int, tuple[Node, list[tuple[int, str]]]] = field(default_factory=dict)

    def add(self, parent: Node, xml: str, name: str, order: Sequence[str]) -> None:
        """Put an element into another one, behind its last child that may stand before it.

        Args:
            parent: Where to.
            xml: The element, as `element` makes it.
            name: Its name.
            order: The names of the parent's children in the order that the schema asks for.
        """
        rank = order.index(name)
        before = [child for child in parent.children if child.name in order and order.index(child.name) <= rank]
        place = before[-1].end if before else parent.inside
        self._added.setdefault(id(parent), (parent, []))[1].append((place, xml))

    def to_bytes(self) -> bytes:
        """The document with what was added."""
        edits: list[tuple[int, int, bytes]] = []
        for parent, additions in self._added.values():
            if parent.is_empty:
                # <Users/> becomes <Users>...</Users>
                tag = f"{parent.prefix}:{parent.name}" if parent.prefix else parent.name
                content = "".join(xml for _, xml in additions)
                edits.append((parent.end - 2, parent.end, f">{content}</{tag}>".encode()))
            else:
                edits += [(place, place, xml.encode()) for place, xml in additions]
        pieces, at = [], 0
        for begin, end, content_bytes in sorted(edits, key=lambda edit: edit[:2]):  # stable: as they were added
            pieces += [self.data[at:begin], content_bytes]
            at = end
        return b"".join([*pieces, self.data[at:]])


def parse(data: bytes, what: str) -> Document:
    """Parse a document.

    Args:
        data: Its bytes.
        what: The file, for messages.

    Raises:
        InputError: if it is not well-formed XML, has a document type, or is too large or too deep.
    """
    data = _as_utf8(data, what)
    stack: list[Node] = []
    texts: list[list[str]] = []
    roots: list[Node] = []
    names: dict[str, tuple[str, str, str]] = {}
    count = 0
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.namespace_prefixes = True
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1 + len(attributes) // 16
        if count > MAX_ELEMENTS:
            raise InputError(f"{what} has more than {MAX_ELEMENTS:,} elements, too many to be read.")
        if len(stack) >= MAX_DEPTH:
            raise InputError(f"{what} has elements more than {MAX_DEPTH} deep within each other; that is no project.")
        begin = parser.CurrentByteIndex
        tag = _START_TAG.match(data, begin)
        if tag is None:
            raise InputError(f"{what} is not XML that can be read.")
        if name not in names:  # kept once: there are few names and many elements
            names[name] = _taken_apart(name)
        local, namespace, prefix = names[name]
        node = Node(local, namespace, prefix, attributes or _NONE, begin, tag.end())
        if stack:
            parent = stack[-1]
            if isinstance(parent.children, list):
                parent.children.append(node)
            else:
                parent.children = [node]
        else:
            roots.append(node)
        stack.append(node)
        texts.append([])

    def end(name: str) -> None:
        node = stack.pop()
        node.text = "".join(texts.pop())
        if data[node.inside - 2 : node.inside] == b"/>":
            node.inside_end = node.end = node.inside
        else:
            node.inside_end = parser.CurrentByteIndex
            node.end = data.index(b">", node.inside_end) + 1

    def text(characters: str) -> None:
        if texts:
            texts[-1].append(characters)

    def refuse(*_: object) -> None:
        raise InputError(f"{what} has a document type (<!DOCTYPE ...>), which a project never has; it is not read.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(f"{what}, line {error.lineno}: this is not well-formed XML.") from error
    except (ValueError, LookupError) as error:
        raise InputError(f"{what} is not XML that can be read.") from error
    return Document(data, roots[0])


_NONE: Mapping[str, str] = {}


def _taken_apart(name: str) -> tuple[str, str, str]:
    """Name, namespace and prefix of a name as the parser gives it: ``namespace name prefix``, or less."""
    parts = name.split(" ")
    if len(parts) == 1:
        return name, "", ""
    return parts[1], parts[0], parts[2] if len(parts) > 2 else ""


def _as_utf8(data: bytes, what: str) -> bytes:
    """The document in UTF-8; as it is where it is that already."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        found = _DECLARATION.match(data[:200].decode("latin-1").removeprefix("\xef\xbb\xbf"))
        encoding = found[3].lower() if found else "utf-8"
        if encoding in ("utf-8", "utf8", "us-ascii", "ascii"):
            return data
        if not re.fullmatch(r"(windows|iso|cp|latin|utf)[-_0-9a-z]*", encoding):
            raise InputError(f"{what} is in an encoding that is not known here; save it in UTF-8.")
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        raise InputError(f"{what} is not in the encoding that it says; save it in UTF-8.") from error
    return _DECLARATION.sub(r"\g<1>\g<2>UTF-8\g<2>", text, count=1).encode(errors="replace")


def element(prefix: str, name: str, attributes: Mapping[str, str | None], *content: str) -> str:
    """An element as XML. Attributes without a value are left out; `content` is XML already, see `text`."""
    tag = f"{prefix}:{name}" if prefix else name
    listed = "".join(f" {key}={quoteattr(_fit(value))}" for key, value in attributes.items() if value is not None)
    inner = "".join(content)
    return f"<{tag}{listed}>{inner}</{tag}>" if inner else f"<{tag}{listed}/>"


def text(value: str) -> str:
    """A text as XML; what XML cannot hold becomes U+FFFD."""
    return escape(_fit(value), {"\r": "&#13;"})


def _fit(value: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", value)

"""Projects (.qdpx) written: a new one, or one that exists with something added to it.

What is added goes into the project file as it stands (see `tl_classifier.corpus.refi.xmldoc`), and every other file of
the archive is copied as it is: nothing that another program keeps in a project is lost, whether it is understood here
or not. Guids are made from what they name, so that the same additions give the same project.
"""

from __future__ import annotations

import datetime
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tl_classifier.corpus.refi import archive, xmldoc
from tl_classifier.corpus.refi.model import Coder, Project, ProjectCode, make_guid, normal_guid
from tl_classifier.corpus.refi.reader import PROJECT_NAMESPACE
from tl_classifier.corpus.refi.xmldoc import Document, Node, element, text
from tl_classifier.corpus.rows import well_formed
from tl_classifier.corpus.writers import writable
from tl_classifier.errors import InputError

_PROJECT = (
    "Users",
    "CodeBook",
    "Variables",
    "Cases",
    "Sources",
    "Notes",
    "Links",
    "Sets",
    "Graphs",
    "Description",
    "NoteRef",
)
_TEXT_SOURCE = ("Description", "PlainTextContent", "PlainTextSelection", "Coding", "NoteRef", "VariableValue")
_SELECTION = ("Description", "Coding", "NoteRef")
_CODE = ("Description", "NoteRef", "Code")
_SOURCES = ("TextSource", "PictureSource", "PDFSource", "AudioSource", "VideoSource")


@dataclass(slots=True)
class _Text:
    """A source to be added to: a new one, or one that is there already."""

    text: str
    name: str = ""
    new: bool = True
    selections: dict[tuple[int, int, str], _Marked] = field(default_factory=dict)


@dataclass(slots=True)
class _Marked:
    """A selection to be added."""

    name: str
    description: str
    codings: dict[str, str] = field(default_factory=dict)  # guid of the code: guid of the note, or empty


class ProjectWriter:
    """Collects what goes into a project, and writes it.

    Args:
        base: The project to add to; None begins a new one.
        name: Name of a new project.
        origin: The program that writes a new project.
        created: The time that is put on what is added.
    """

    def __init__(
        self, base: Project | None = None, *, name: str = "", origin: str = "tl-classifier", created: datetime.datetime
    ) -> None:
        if base is not None and base.package is None:
            raise ValueError("a project to add to must have been read from a file")
        self._base = base
        self._name = name
        self._origin = origin
        self._time = created.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._date = created.astimezone(datetime.UTC)
        self._coders: dict[str, Coder] = {}
        self._codes: list[ProjectCode] = []
        self._texts: dict[str, _Text] = {}
        self._notes: dict[str, tuple[str, str]] = {}  # guid: text, coder
        # Guids as the project writes them: other programs compare them letter by letter.
        nodes = base.package.nodes if base is not None and base.package is not None else {}
        self._written = {guid: node.get("guid").strip() for guid, node in nodes.items()}

    def add_coder(self, name: str, *, id: str = "") -> str:
        """Add a coder, unless one of that name is there; returns the guid."""
        for coder in self._base.coders if self._base else ():
            if coder.name == name:
                return coder.guid
        guid = make_guid("coder", name)
        self._coders[guid] = Coder(guid, name, id)
        return guid

    def add_codes(self, codes: Sequence[ProjectCode]) -> None:
        """Add codes with those below them. Of those whose guid is there already, only what is new below them."""
        self._codes += codes

    def add_source(self, name: str, content: str) -> str:
        """Add a text; returns its guid."""
        content = well_formed(content)
        guid = make_guid("source", name, content)
        self._texts.setdefault(guid, _Text(content, name, new=guid not in self._written))
        return guid

    def add_coding(
        self,
        source: str,
        start: int,
        end: int,
        code: str,
        coder: str,
        *,
        name: str = "",
        description: str = "",
        note: str = "",
    ) -> None:
        """Add a coding of ``text[start:end]`` of a source.

        Args:
            source: Guid of a source, of the project or added to it.
            start: Offset of the first character, in Unicode code points.
            end: Offset one past the last.
            code: Guid of a code, of the project or added to it.
            coder: Guid of a coder, of the project or added to it.
            name: Name of the selection; for codings of one coder at one place, the first counts, as with the next.
            description: The comment on the selection.
            note: A note on the coding; the same words are one note.

        Raises:
            KeyError: if there is no such source.
            ValueError: if the span does not lie in its text.
        """
        target = self._text(source)
        if not 0 <= start < end <= len(target.text):
            raise ValueError(f"{start} to {end} is no span in a text of {len(target.text)} characters")
        marked = target.selections.setdefault((start, end, coder), _Marked(name, description))
        guid = ""
        if note:
            guid = make_guid("note", coder, note)
            self._notes[guid] = (note, coder)
        marked.codings.setdefault(code, guid)

    def write(self, path: str | Path) -> None:
        """Write the project; the file is there, whole, when this returns, and else as it was.

        Raises:
            OutputError: if it cannot be written.
            InputError: if the project to add to cannot be read any more.
        """
        path = Path(path)
        package = self._base.package if self._base else None
        document = self._document()
        folder = package.folder if package else "sources"
        self._fill(document)
        content = document.to_bytes()
        texts = {f"{folder}/{guid}.txt": added.text.encode() for guid, added in self._texts.items() if added.new}
        with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            if package is None:
                target.writestr(self._entry("project.qde"), content)
            else:
                _copy(package.path, target, package.member, content)
            for name, data in texts.items():
                target.writestr(self._entry(name), data)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        date = max(self._date.timetuple()[:6], (1980, 1, 1, 0, 0, 0))
        entry = zipfile.ZipInfo(name, (date[0], date[1], date[2], date[3], date[4], date[5]))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        return entry

    def _text(self, guid: str) -> _Text:
        if guid not in self._texts:
            for source in self._base.sources if self._base else ():
                if source.guid == guid and source.text is not None:
                    self._texts[guid] = _Text(source.text, source.name, new=False)
        return self._texts[guid]

    def _as_written(self, guid: str) -> str:
        return self._written.get(guid, guid)

    # --- the project file

    def _document(self) -> Document:
        if self._base is not None and self._base.package is not None:
            read = self._base.package.document
            return Document(read.data, read.root)  # with additions of its own
        attributes = {
            "xmlns": PROJECT_NAMESPACE,
            "name": self._name,
            "origin": self._origin,
            "creationDateTime": self._time,
        }
        data = '<?xml version="1.0" encoding="UTF-8"?>\n' + element("", "Project", attributes) + "\n"
        return xmldoc.parse(data.encode(), "the new project")

    def _fill(self, document: Document) -> None:
        nodes = _nodes(document.root)
        self._add_listed(document, "Users", ("User",), [self._user(document, coder) for coder in self._new_coders()])
        self._add_codes(document, nodes)
        self._add_listed(
            document,
            "Sources",
            _SOURCES,
            [self._source(document, guid, added) for guid, added in self._texts.items() if added.new],
        )
        for guid, added in self._texts.items():
            if not added.new:
                self._add_selections(document, nodes, guid, added)
        self._add_listed(
            document,
            "Notes",
            ("Note",),
            [self._note(document, guid) for guid in self._notes if guid not in self._written],
        )

    def _add_listed(self, document: Document, name: str, order: Sequence[str], listed: Sequence[str]) -> None:
        """Add elements to a list of the project (``Users``, ``Notes``), which is made where it is missing."""
        if not listed:
            return
        root = document.root
        node = root.first(name)
        if node is None:
            content = "".join(f"\n{xml}" for xml in listed)
            document.add(root, "\n" + element(root.prefix, name, {}, content, "\n"), name, _PROJECT)
        else:
            for xml in listed:
                document.add(node, f"\n{xml}", order[-1], order)

    def _new_coders(self) -> Iterator[Coder]:
        return (coder for guid, coder in self._coders.items() if guid not in self._written)

    def _user(self, document: Document, coder: Coder) -> str:
        attributes = {"guid": coder.guid, "name": coder.name, "id": coder.id or None}
        return element(document.root.prefix, "User", attributes)

    def _add_codes(self, document: Document, nodes: dict[str, Node]) -> None:
        root = document.root
        new = [code for code in self._codes if code.guid not in nodes]
        rendered = [self._code(root.prefix, code, nodes) for code in new]
        book = root.first("CodeBook")
        listed = book.first("Codes") if book is not None else None
        if rendered and listed is not None:
            for xml in rendered:
                document.add(listed, f"\n{xml}", "Code", ("Code",))
        elif rendered:
            inner = element(root.prefix, "Codes", {}, *(f"\n{xml}" for xml in rendered), "\n")
            if book is not None:
                document.add(book, inner, "Codes", ("Codes",))
            else:
                document.add(root, "\n" + element(root.prefix, "CodeBook", {}, inner), "CodeBook", _PROJECT)
        for code in self._codes:
            if code.guid in nodes:
                self._add_below(document, nodes, code)

    def _add_below(self, document: Document, nodes: dict[str, Node], code: ProjectCode) -> None:
        """Add what is new below a code that is there."""
        for child in code.children:
            if child.guid in nodes:
                self._add_below(document, nodes, child)
            else:
                node = nodes[code.guid]
                document.add(node, self._code(node.prefix, child, nodes), "Code", _CODE)

    def _code(self, prefix: str, code: ProjectCode, nodes: dict[str, Node]) -> str:
        attributes = {
            "guid": code.guid,
            "name": code.name,
            "isCodable": "true" if code.codable else "false",
            "color": code.color or None,
        }
        description = element(prefix, "Description", {}, text(code.description)) if code.description else ""
        children = [self._code(prefix, child, nodes) for child in code.children if child.guid not in nodes]
        return element(prefix, "Code", attributes, description, *children)

    def _source(self, document: Document, guid: str, added: _Text) -> str:
        prefix = document.root.prefix
        attributes = {
            "guid": guid,
            "name": added.name,
            "plainTextPath": f"internal://{guid}.txt",
            "creatingUser": next((self._as_written(coder) for _, _, coder in added.selections), None),
            "creationDateTime": self._time,
        }
        selections = [self._selection(prefix, guid, added, place) for place in sorted(added.selections)]
        return element(prefix, "TextSource", attributes, *(f"\n{xml}" for xml in selections))

    def _add_selections(self, document: Document, nodes: dict[str, Node], guid: str, added: _Text) -> None:
        """Add selections to a source that is there; to one of them that is there, what is new in it."""
        source = nodes[guid]
        if source.name == "TextSource" and source.first("PlainTextContent") is None and not source.get("plainTextPath"):
            # A formatted document alone: the text that the selections count in goes with them.
            content = element(source.prefix, "PlainTextContent", {}, text(added.text))
            document.add(source, f"\n{content}", "PlainTextContent", _TEXT_SOURCE)
        for place in sorted(added.selections):
            selection = nodes.get(_selection_guid(guid, *place))
            if selection is None:
                xml = self._selection(source.prefix, guid, added, place)
                document.add(source, f"\n{xml}", "PlainTextSelection", _TEXT_SOURCE)
                continue
            for code, note in added.selections[place].codings.items():
                xml = self._coding(selection.prefix, normal_guid(selection.get("guid")), code, note, place[2])
                if _coding_guid(normal_guid(selection.get("guid")), code) not in nodes:
                    document.add(selection, xml, "Coding", _SELECTION)

    def _selection(self, prefix: str, source: str, added: _Text, place: tuple[int, int, str]) -> str:
        start, end, coder = place
        marked = added.selections[place]
        ends_inclusive = self._base is not None and self._base.ends_inclusive is True
        guid = _selection_guid(source, *place)
        attributes = {
            "guid": guid,
            "name": marked.name or None,
            "startPosition": str(start),
            "endPosition": str(end - ends_inclusive),
            "creatingUser": self._as_written(coder),
            "creationDateTime": self._time,
        }
        description = element(prefix, "Description", {}, text(marked.description)) if marked.description else ""
        codings = [self._coding(prefix, guid, code, note, coder) for code, note in marked.codings.items()]
        return element(prefix, "PlainTextSelection", attributes, description, *codings)

    def _coding(self, prefix: str, selection: str, code: str, note: str, coder: str) -> str:
        attributes = {
            "guid": _coding_guid(selection, code),
            "creatingUser": self._as_written(coder),
            "creationDateTime": self._time,
        }
        references = element(prefix, "CodeRef", {"targetGUID": self._as_written(code)})
        if note:
            references += element(prefix, "NoteRef", {"targetGUID": self._as_written(note)})
        return element(prefix, "Coding", attributes, references)

    def _note(self, document: Document, guid: str) -> str:
        words, coder = self._notes[guid]
        prefix = document.root.prefix
        attributes = {"guid": guid, "name": words, "creatingUser": self._as_written(coder)}
        attributes["creationDateTime"] = self._time
        return element(prefix, "Note", attributes, element(prefix, "PlainTextContent", {}, text(words)))


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to be written that takes the place of `path` once the block is left without an error.

    Raises:
        OutputError: if it cannot be written.
    """
    beside = path.with_name(f"{path.name}.partial.tmp")
    with writable(path):
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _copy(path: Path, target: zipfile.ZipFile, member: str, content: bytes) -> None:
    """Copy an archive, but for one file in it, which gets other content."""
    with archive.opened(path) as source:
        names = {entry.filename for entry in source.members}
        if member not in names:
            raise InputError(f"{path} changed while it was read.")
        for entry in source.members:
            copied = zipfile.ZipInfo(entry.filename, entry.date_time)
            copied.compress_type = entry.compress_type
            copied.external_attr = entry.external_attr
            copied.comment = entry.comment
            if entry.filename == member:
                target.writestr(copied, content)
                continue
            with target.open(copied, "w", force_zip64=entry.file_size > (1 << 31) - 1) as file:
                for block in source.blocks(entry):
                    file.write(block)


def _nodes(root: Node) -> dict[str, Node]:
    """Guid to the element that has it: the first, where several do."""
    nodes: dict[str, Node] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        guid = normal_guid(node.get("guid"))
        if guid and guid not in nodes:
            nodes[guid] = node
        waiting += reversed(node.children)
    return nodes


def _selection_guid(source: str, start: int, end: int, coder: str) -> str:
    return make_guid("selection", source, start, end, coder)


def _coding_guid(selection: str, code: str) -> str:
    return make_guid("coding", selection, code)

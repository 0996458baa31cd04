"""Projects (.qdpx) as other programs write them, read.

The rules of the format are kept where they matter, and bent where programs bend them: names of files differ in case,
guids in braces, the folder of sources may be missing, and texts may stand in the project file itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tl_classifier.corpus.refi import archive, xmldoc
from tl_classifier.corpus.refi.model import (
    Coder,
    Note,
    Package,
    Project,
    ProjectCode,
    ProjectCoding,
    Selection,
    Source,
    normal_guid,
)
from tl_classifier.corpus.refi.positions import Mark, Reading, reading_of
from tl_classifier.corpus.refi.xmldoc import Node
from tl_classifier.corpus.rows import well_formed
from tl_classifier.errors import InputError

PROJECT_NAMESPACE = "urn:QDA-XML:project:1.0"

MAX_PROJECT = 64_000_000
"""Bytes of the project file."""

MAX_TEXT = 50_000_000
"""Bytes of one text."""

MAX_TEXTS = 200_000_000
"""Bytes of all texts, which are held in memory."""

_INTERNAL = "internal://"


def read_project(path: str | Path) -> Project:
    """Read a project.

    Raises:
        InputError: if the file cannot be read, is no project, is damaged, or is made to do harm.
    """
    path = Path(path)
    with archive.opened(path) as opened:
        member = _project_file(opened)
        data = opened.read(opened.members[member], max_bytes=MAX_PROJECT)
        name = opened.members[member].filename
        document = xmldoc.parse(data, f"{path}, {name}")
        root = document.root
        if root.name != "Project" or (root.namespace and not root.namespace.startswith("urn:QDA-XML:project")):
            raise InputError(f"{path} is not a REFI-QDA project: its project file holds something else.")
        return _Reader(opened, document, name).project()


def _project_file(opened: archive.Archive) -> int:
    found = [
        at for at, entry in enumerate(opened.members) if entry.filename.lower().replace("\\", "/") == "project.qde"
    ] or [at for at, entry in enumerate(opened.members) if entry.filename.lower().endswith(".qde")]
    if len(found) != 1:
        raise InputError(f"{opened.path} is not a REFI-QDA project: there is no project.qde in it.")
    return found[0]


class _Reader:
    """Reads one project."""

    def __init__(self, opened: archive.Archive, document: xmldoc.Document, member: str) -> None:
        self.archive = opened
        self.document = document
        self.member = member
        self.nodes: dict[str, Node] = {}
        self.size = 0
        names = [entry.filename.replace("\\", "/") for entry in opened.members]
        folders = [name.partition("/")[0] for name in names if name.casefold().startswith("sources/")]
        self.folder = folders[0] if folders else "sources"

    def project(self) -> Project:
        root = self.document.root
        coders = tuple(self._coder(node) for users in root.all("Users") for node in users.all("User"))
        codes = tuple(
            self._code(node)
            for book in root.all("CodeBook")
            for listed in book.all("Codes")
            for node in listed.all("Code")
        )
        texts = list(self._texts())
        reading = reading_of(
            (mark for _, node, text, _ in texts if text is not None for mark in self._marks(node, text)),
            root.get("origin"),
        )
        sources = tuple(self._source(name, node, text, problem, reading) for name, node, text, problem in texts)
        notes = {
            note.guid: note for listed in root.all("Notes") for node in listed.all("Note") for note in self._note(node)
        }
        return Project(
            name=root.get("name"),
            origin=root.get("origin"),
            coders=coders,
            codes=codes,
            sources=sources,
            notes=notes,
            ends_inclusive=reading.inclusive if reading.shown else None,
            package=Package(self.archive.path, self.member, self.folder, self.document, self.nodes),
        )

    def _guid(self, node: Node) -> str:
        guid = normal_guid(node.get("guid"))
        if guid:
            self.nodes.setdefault(guid, node)
        return guid

    def _coder(self, node: Node) -> Coder:
        guid = self._guid(node)
        return Coder(guid, node.get("name").strip() or node.get("id").strip() or guid, node.get("id"))

    def _code(self, node: Node) -> ProjectCode:
        return ProjectCode(
            guid=self._guid(node),
            name=node.get("name"),
            description=_description(node),
            color=node.get("color"),
            codable=node.get("isCodable").strip() not in ("false", "0"),
            children=tuple(self._code(child) for child in node.all("Code")),
        )

    def _note(self, node: Node) -> Iterator[Note]:
        guid = self._guid(node)
        if guid:
            content = node.first("PlainTextContent")
            if content is not None:
                yield Note(guid, node.get("name"), well_formed(content.text))
            else:
                yield Note(guid, node.get("name"), self._stored(node)[0] if node.get("plainTextPath") else None)

    # --- texts

    def _texts(self) -> Iterator[tuple[str, Node, str | None, str]]:
        """The texts: name, element, text, and why there is none."""
        for sources in self.document.root.all("Sources"):
            for node in sources.children:
                name = node.get("name").strip() or normal_guid(node.get("guid"))
                if node.name == "TextSource":
                    yield name, node, *self._text(node)
                    continue
                for child in node.all("Representation", "TextDescription", "Transcript"):
                    text, problem = self._text(child)
                    if text is not None or any(_selections(child)):
                        yield name, child, text, problem

    def _text(self, node: Node) -> tuple[str | None, str]:
        content = node.first("PlainTextContent")
        if content is not None:
            return well_formed(content.text), ""
        if node.get("plainTextPath"):
            return self._stored(node)
        if node.get("richTextPath"):
            return self._formatted(node)
        return None, "the project holds no text of it"

    def _stored(self, node: Node) -> tuple[str | None, str]:
        data, problem = self._bytes(node.get("plainTextPath"))
        if data is None:
            return None, problem
        encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        try:
            return data.decode(encoding), ""
        except UnicodeError:
            return None, "its text is not UTF-8"

    def _formatted(self, node: Node) -> tuple[str | None, str]:
        """The words of a formatted document.

        Selections count characters of the plain text, and two programs do not make quite the same one of a document:
        where there are selections, ours is not put in the place of theirs.
        """
        from tl_classifier.corpus.documents import read_document  # reads projects, too

        alone = "it is there as a formatted document alone"
        if any(_selections(node)):
            return None, f"{alone}, without the plain text that its selections count in"
        place = node.get("richTextPath")
        data, problem = self._bytes(place)
        if data is None:
            return None, problem
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"text{PurePosixPath(place).suffix.lower()}"
            copy.write_bytes(data)
            try:
                return well_formed(read_document(copy).text), ""
            except InputError:
                return None, f"{alone}, which cannot be read"

    def _bytes(self, place: str) -> tuple[bytes | None, str]:
        """A file of the project, or why it cannot be had."""
        if not place.casefold().startswith(_INTERNAL) and "://" in place:
            return None, "its text lies outside the project"
        name = place[len(_INTERNAL) :] if place.casefold().startswith(_INTERNAL) else place
        name = name.replace("\\", "/").lstrip("/")
        entry = self.archive.find(f"{self.folder}/{name}") or self.archive.find(name)
        if entry is None:
            return None, "its text is missing in the project"
        self.size += entry.file_size
        if self.size > MAX_TEXTS:
            raise InputError(
                f"{self.archive.path} holds more than {MAX_TEXTS // 1_000_000} MB of text; split the project."
            )
        return self.archive.read(entry, max_bytes=MAX_TEXT), ""

    # --- selections

    @staticmethod
    def _marks(node: Node, text: str) -> Iterator[Mark]:
        for child in node.all("PlainTextSelection"):
            start, end = _integer(child.get("startPosition")), _integer(child.get("endPosition"))
            if start is not None and end is not None:
                yield Mark(text, start, end, child.get("name"))

    def _source(self, name: str, node: Node, text: str | None, problem: str, reading: Reading) -> Source:
        selections = []
        misplaced = 0
        coded = False
        places = () if text is None else reading.places(text)
        points = {normal_guid(point.get("guid")): point for point in node.all("SyncPoint")}
        for child in _selections(node):
            guid = self._guid(child)
            codings = tuple(_codings(child))
            coded = coded or bool(codings)
            span = None if text is None else _span(child, places, reading, points)
            if span is None:
                misplaced += text is not None
                continue
            selections.append(
                Selection(
                    guid=guid,
                    start=span[0],
                    end=span[1],
                    codings=codings,
                    name=child.get("name"),
                    description=_description(child),
                    coder=normal_guid(child.get("creatingUser")),
                    notes=_notes(child),
                )
            )
        return Source(
            guid=self._guid(node),
            name=name,
            text=text,
            selections=tuple(selections),
            codings=tuple(_codings(node)),
            problem=problem,
            misplaced=misplaced,
            coded=coded,
        )


def _selections(node: Node) -> Iterator[Node]:
    return node.all("PlainTextSelection", "TranscriptSelection")


def _span(node: Node, places: Sequence[int], reading: Reading, points: dict[str, Node]) -> tuple[int, int] | None:
    if node.name == "PlainTextSelection":
        start, end = _integer(node.get("startPosition")), _integer(node.get("endPosition"))
        return None if start is None or end is None else reading.span(places, start, end)
    ends = []
    for which in ("fromSyncPoint", "toSyncPoint"):
        point = points.get(normal_guid(node.get(which)))
        ends.append(None if point is None else _integer(point.get("position")))
    if ends[0] is None or ends[1] is None or ends[0] >= ends[1]:
        return None
    return Reading(inclusive=False, folded=reading.folded).span(places, ends[0], ends[1])


def _codings(node: Node) -> Iterator[ProjectCoding]:
    for child in node.all("Coding"):
        code = child.first("CodeRef")
        if code is not None:
            yield ProjectCoding(
                guid=normal_guid(child.get("guid")),
                code=normal_guid(code.get("targetGUID")),
                coder=normal_guid(child.get("creatingUser") or node.get("creatingUser")),
                notes=_notes(child),
            )


def _notes(node: Node) -> tuple[str, ...]:
    return tuple(normal_guid(child.get("targetGUID")) for child in node.all("NoteRef"))


def _description(node: Node) -> str:
    child = node.first("Description")
    return "" if child is None else child.text


def _integer(value: str) -> int | None:
    value = value.strip()
    return int(value) if len(value) <= 12 and value.isascii() and value.removeprefix("+").isdigit() else None

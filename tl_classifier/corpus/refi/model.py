"""What a project holds, as far as this program has a use for it. What else is in it is kept, and written again."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tl_classifier.corpus.refi.xmldoc import Document, Node

MODEL_ID = "tl-classifier"
"""The `id` of a coder that is a model of this program."""

_MODEL_NAME = re.compile(r"[\w.-]+@\d[\w.+-]*")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tl-classifier:refi-qda")


@dataclass(frozen=True, slots=True)
class Coder:
    """Who codes: a user of the project.

    Attributes:
        guid: Identifier in the project, in lower case and without braces, as is every `guid` here.
        name: Shown to people; the guid where the project gives none.
        id: As the project gives it; `MODEL_ID` for a model of this program.
    """

    guid: str
    name: str
    id: str = ""

    @property
    def is_model(self) -> bool:
        """Whether it is a model: by its id, or (other programs drop ids) by a name of the form ``name@version``."""
        return self.id == MODEL_ID or _MODEL_NAME.fullmatch(self.name) is not None


@dataclass(frozen=True, slots=True)
class ProjectCode:
    """A code of a project's codebook, with the codes below it.

    Attributes:
        guid: Identifier.
        name: Shown to people; need not be unique.
        description: Its definition.
        color: ``#rrggbb``; empty where none is given.
        codable: False for a heading that is never given itself.
        children: The codes below it, in order.
    """

    guid: str
    name: str
    description: str = ""
    color: str = ""
    codable: bool = True
    children: tuple[ProjectCode, ...] = ()

    def walk(self, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ProjectCode]]:
        """This code and all below it, each with the names from the top down to its own."""
        path = (*above, self.name)
        yield path, self
        for child in self.children:
            yield from child.walk(path)


@dataclass(frozen=True, slots=True)
class Note:
    """A note (a memo, or a remark on a coding).

    Attributes:
        guid: Identifier.
        name: Its title.
        text: Its plain text; None where the project has none.
    """

    guid: str
    name: str = ""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class ProjectCoding:
    """One code that one coder gave a selection or a source.

    Attributes:
        guid: Identifier.
        code: Guid of the code.
        coder: Guid of the coder; empty where the project does not say.
        notes: Guids of the notes on it.
    """

    guid: str
    code: str
    coder: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """A piece of a source's text: ``source.text[start:end]``.

    Attributes:
        guid: Identifier.
        start: Offset of its first character, in Unicode code points.
        end: Offset one past its last character.
        codings: What was given to it; may be empty.
        name: As the project gives it.
        description: The comment on it.
        coder: Guid of who made it; empty where the project does not say.
        notes: Guids of the notes on it.
    """

    guid: str
    start: int
    end: int
    codings: tuple[ProjectCoding, ...] = ()
    name: str = ""
    description: str = ""
    coder: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A text of a project: a text source, the text of a PDF or a picture, or a transcript of a recording.

    Attributes:
        guid: Identifier.
        name: Shown to people; the guid where the project gives none.
        text: Its plain text, as it stands, without a byte order mark; None where it cannot be had.
        selections: In the order of the project. Those that do not fit into the text are left out.
        codings: What was given to the source as a whole.
        problem: Why there is no text, one clause; empty where there is one.
        misplaced: How many selections do not fit into the text.
        coded: Whether anything was coded in it, be its text there or not.
    """

    guid: str
    name: str
    text: str | None
    selections: tuple[Selection, ...] = ()
    codings: tuple[ProjectCoding, ...] = ()
    problem: str = ""
    misplaced: int = 0
    coded: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """The file that a project was read from: what is written again when something is added.

    Attributes:
        path: The .qdpx.
        member: Name of the project file in it.
        folder: Name of its folder of sources.
        document: The project file.
        nodes: Guid to the element, for sources, codes, coders, selections and notes.
    """

    path: Path
    member: str
    folder: str
    document: Document
    nodes: dict[str, Node]


@dataclass(frozen=True, slots=True)
class Project:
    """A project as read.

    Attributes:
        name: Its name.
        origin: The program that wrote it.
        coders: Its users.
        codes: Its codebook: the codes at the top, each with those below it.
        sources: Its texts.
        notes: Its notes, by guid.
        ends_inclusive: Whether its selections end with the character at their end position, or before it; None where it
            does not show.
        package: The file it was read from.
    """

    name: str
    origin: str = ""
    coders: tuple[Coder, ...] = ()
    codes: tuple[ProjectCode, ...] = ()
    sources: tuple[Source, ...] = ()
    notes: dict[str, Note] = field(default_factory=dict)
    ends_inclusive: bool | None = None
    package: Package | None = field(default=None, repr=False, compare=False)

    def walk_codes(self) -> Iterator[tuple[tuple[str, ...], ProjectCode]]:
        """All codes, each with the names from the top down to its own."""
        for code in self.codes:
            yield from code.walk()


def make_guid(*parts: object) -> str:
    """A guid that is the same for the same parts, on every machine."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))


def normal_guid(guid: str) -> str:
    """A guid as it is compared: in lower case, without braces."""
    return guid.strip().strip("{}").lower()

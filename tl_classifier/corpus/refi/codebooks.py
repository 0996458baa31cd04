"""Codebooks to and from REFI-QDA: as the tree of codes of a project, and as a file of its own (.qdc).

A dimension is a heading with its codes below it; a group of codes is a heading between the two. Headings are not
codable: they are never given themselves. What a code counts, what it does not, its examples and its id stand in its
description, and are found there again; so a codebook comes back from a .qdc as it was, but for its title, sources and
rules, which the format has no place for.

Codebooks of other programs may be built in any way. Codes at the top that have codes below them are dimensions, those
that have none are one dimension together; what lies deeper than a group belongs to the group above it. A heading that
is also a code is both: a group, and a code in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tl_classifier import codebook_file
from tl_classifier.codebook import RESERVED_IDS, Code, Codebook, Dimension, Group
from tl_classifier.corpus import textfiles
from tl_classifier.corpus.refi import xmldoc
from tl_classifier.corpus.refi.model import ProjectCode, make_guid, normal_guid
from tl_classifier.corpus.refi.palette import colors_of
from tl_classifier.corpus.refi.xmldoc import Node, element, text
from tl_classifier.errors import CodebookError, InputError

CODEBOOK_NAMESPACE = "urn:QDA-XML:codebook:1.0"

MAX_BYTES = 4_000_000
"""Size of the largest .qdc that is read."""

_LISTS = {"counts": "What counts:", "excludes": "What does not count:", "examples": "Examples:"}
_ID = re.compile(r"\AId: ([a-z][a-z0-9_]*)\Z")
_EXCLUSIVE = "One code an excerpt"
_OBLIGED = ", always"
_NOTE = "Note: "
_OTHER = "codes"


def code_guid(codebook: Codebook, dimension: str, code: str = "") -> str:
    """The guid of a code, a group or (without `code`) a dimension; the same in every project."""
    return make_guid("code", codebook.name, dimension, code)


def code_tree(codebook: Codebook, only: Collection[tuple[str, str]] | None = None) -> tuple[ProjectCode, ...]:
    """A codebook as the codes of a project: dimensions over groups over codes.

    Args:
        codebook: The codebook.
        only: Dimension ids and code ids of the codes to take, with what is above them; None takes all.
    """
    names = Counter(code.name.casefold() for dimension in codebook.dimensions for code in dimension.codes)
    tree = []
    for number, dimension in enumerate(codebook.dimensions):
        colors = colors_of(dimension, number)

        def leaf(code: Code, dimension: Dimension = dimension, colors: dict[str, str] = colors) -> ProjectCode:
            # Some programs tell codes apart by their names alone.
            alone = names[code.name.casefold()] == 1
            return ProjectCode(
                guid=code_guid(codebook, dimension.id, code.id),
                name=code.name if alone else f"{code.name} ({dimension.name})",
                description=_describe_code(code),
                color=colors[code.id],
            )

        taken = [code for code in dimension.codes if only is None or (dimension.id, code.id) in only]
        children: list[ProjectCode] = []
        for group_id in dict.fromkeys(code.group for code in taken):
            members = [leaf(code) for code in taken if code.group == group_id]
            if group_id is None:
                children += members
                continue
            group = next(group for group in dimension.groups if group.id == group_id)
            children.append(
                ProjectCode(
                    guid=code_guid(codebook, dimension.id, group.id),
                    name=group.name,
                    description=_described(group.definition, [], group.id),
                    color=colors[group.id],
                    codable=False,
                    children=tuple(members),
                )
            )
        if children:
            tree.append(
                ProjectCode(
                    guid=code_guid(codebook, dimension.id),
                    name=dimension.name,
                    description=_describe_dimension(dimension),
                    codable=False,
                    children=tuple(children),
                )
            )
    return tuple(tree)


# --- .qdc -------------------------------------------------------------------------------------------------------


def write_qdc(codebook: Codebook, path: str | Path, *, origin: str = "tl-classifier") -> None:
    """Write a codebook as .qdc, whole or not at all.

    Each dimension and each group is also a set of its codes: some programs show sets and no headings.

    Raises:
        CodebookError: if the file cannot be written.
    """
    tree = code_tree(codebook)
    codes = element("", "Codes", {}, *(f"\n{_xml(code)}" for code in tree), "\n")
    sets = element("", "Sets", {}, *(f"\n{_set(code)}" for code in _headings(tree)), "\n")
    attributes = {"xmlns": CODEBOOK_NAMESPACE, "origin": origin}
    book = element("", "CodeBook", attributes, "\n", codes, "\n", sets, "\n")
    codebook_file.write_beside(Path(path), f'<?xml version="1.0" encoding="UTF-8"?>\n{book}\n'.encode())


def _xml(code: ProjectCode) -> str:
    attributes = {
        "guid": code.guid,
        "name": code.name,
        "isCodable": "true" if code.codable else "false",
        "color": code.color or None,
    }
    description = element("", "Description", {}, text(code.description)) if code.description else ""
    return element("", "Code", attributes, description, *map(_xml, code.children))


def _headings(tree: Iterable[ProjectCode]) -> Iterator[ProjectCode]:
    for code in tree:
        if code.children:
            yield code
            yield from _headings(code.children)


def _set(heading: ProjectCode) -> str:
    members = [code.guid for _, code in heading.walk() if code.codable]
    attributes = {"guid": make_guid("set", heading.guid), "name": heading.name}
    return element("", "Set", attributes, *(element("", "MemberCode", {"guid": guid}) for guid in members))


def read_qdc(path: str | Path) -> Codebook:
    """Read a codebook from a .qdc file.

    Raises:
        CodebookError: if the file cannot be read, is no codebook, has no codes, or is made to do harm.
    """
    path = Path(path)
    try:
        with textfiles.readable(path), path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise CodebookError(f"{path} has more than {MAX_BYTES // 1_000_000} MB, too much for a codebook.")
        root = xmldoc.parse(data, str(path)).root
    except InputError as error:
        raise CodebookError(str(error)) from error
    if root.name != "CodeBook":
        raise CodebookError(f"{path} is not a REFI-QDA codebook: it holds something else.")
    codes = tuple(_read(node) for listed in root.all("Codes") for node in listed.all("Code"))
    if not codes:
        raise CodebookError(f"{path} has no codes in it.")
    return from_tree(codes, name=_slug(path.stem, "-") or "codebook", title=path.stem)


def _read(node: Node) -> ProjectCode:
    description = node.first("Description")
    return ProjectCode(
        guid=normal_guid(node.get("guid")),
        name=node.get("name").strip(),
        description="" if description is None else description.text,
        color=node.get("color"),
        codable=node.get("isCodable").strip() not in ("false", "0"),
        children=tuple(_read(child) for child in node.all("Code")),
    )


def from_tree(codes: Iterable[ProjectCode], *, name: str, title: str) -> Codebook:
    """A codebook from the codes of a project or a .qdc.

    Raises:
        CodebookError: if the codes cannot be a codebook.
    """
    codes = list(codes)
    headings = [code for code in codes if code.children]
    alone = tuple(code for code in codes if not code.children)
    if alone:
        headings.append(ProjectCode("", "Codes", children=alone, codable=False))
    ids = _Ids()
    dimensions = []
    for heading in headings:
        parsed = _Description(heading.description)
        dimension_id = ids.take(parsed.id or (_OTHER if not heading.guid else ""), heading.name)
        dimensions.append(_dimension(heading, parsed, dimension_id))
    found = Codebook(name=name, version="1", title=title or name, dimensions=tuple(dimensions))
    return Codebook.from_dict(found.to_dict())  # one place decides on what a codebook may be


def _dimension(heading: ProjectCode, parsed: _Description, dimension_id: str) -> Dimension:
    ids = _Ids()
    groups: list[Group] = []
    codes: list[Code] = []
    # Groups first: an id that a heading gives itself is not lost to a code that is named alike.
    for child in heading.children:
        if child.children:
            words = _Description(child.description)
            groups.append(Group(ids.take(words.id, child.name), child.name, words.words))
    of = iter(groups)
    if heading.codable and heading.guid:
        codes.append(_code(heading, None, ids, heading.name))
    for child in heading.children:
        group = next(of).id if child.children else None
        codes += [_code(code, group, ids, heading.name) for _, code in child.walk() if code.codable]
    exclusive = parsed.kind.startswith(_EXCLUSIVE)
    return Dimension(
        id=dimension_id,
        name=heading.name or dimension_id,
        codes=tuple(codes),
        groups=tuple(group for group in groups if any(code.group == group.id for code in codes)),
        description=parsed.words,
        note=parsed.note,
        exclusive=exclusive,
        optional=not (exclusive and parsed.kind.endswith(_OBLIGED) and len(codes) > 1),
    )


def _code(code: ProjectCode, group: str | None, ids: _Ids, heading: str) -> Code:
    words = _Description(code.description)
    name = code.name.removesuffix(f" ({heading})") if words.id else code.name  # as `code_tree` tells names apart
    return Code(
        id=ids.take(words.id, code.name),
        name=name,
        definition=words.words,
        counts=tuple(words.lists["counts"]),
        excludes=tuple(words.lists["excludes"]),
        examples=tuple(words.lists["examples"]),
        group=group,
    )


class _Ids:
    """Makes ids from names, each once."""

    def __init__(self) -> None:
        self._taken = set(RESERVED_IDS)

    def take(self, wanted: str, name: str) -> str:
        """`wanted` if it is free, or one made from the name."""
        stem = wanted or _slug(name, "_") or "code"
        stem = stem if stem[0].isalpha() else f"c_{stem}"
        found, number = stem, 1
        while found in self._taken:
            number += 1
            found = f"{stem}_{number}"
        self._taken.add(found)
        return found


def _slug(name: str, mark: str) -> str:
    return re.sub("[^a-z0-9]+", mark, name.casefold()).strip(mark)


# --- descriptions -----------------------------------------------------------------------------------------------


def _describe_code(code: Code) -> str:
    parts = []
    for name, title in _LISTS.items():
        items = getattr(code, name)
        if items:
            parts.append("\n".join([title, *(f"- {_line(item)}" for item in items)]))
    return _described(code.definition, parts, code.id)


def _describe_dimension(dimension: Dimension) -> str:
    parts = [_NOTE + dimension.note] if dimension.note else []
    if dimension.exclusive:
        parts.append(_EXCLUSIVE + ("" if dimension.optional else _OBLIGED))
    return _described(dimension.description, parts, dimension.id)


def _described(words: str, parts: Iterable[str], id: str) -> str:
    return "\n\n".join(part for part in (words, *parts, f"Id: {id}") if part)


def _line(words: str) -> str:
    return " ".join(words.split())


class _Description:
    """A description taken apart: the words, the lists below it, and the id.

    Attributes:
        words: What it says; all of it where another program wrote it.
        lists: What `_LISTS` names, by key.
        note: The remark for readers.
        kind: What is said of how many codes an excerpt has.
        id: The id; empty where none is given.
    """

    def __init__(self, description: str) -> None:
        self.lists: dict[str, list[str]] = {name: [] for name in _LISTS}
        self.note = ""
        self.kind = ""
        self.id = ""
        words = []
        for part in re.split(r"\n[ \t]*\n", description.replace("\r\n", "\n").replace("\r", "\n").strip()):
            first, *lines = part.strip().split("\n")
            key = next((key for key, title in _LISTS.items() if first == title), None)
            found = _ID.match(part.strip())
            if key is not None and lines and all(line.startswith("- ") for line in lines):
                self.lists[key] += [line[2:].strip() for line in lines if line[2:].strip()]
            elif found:
                self.id = found[1]
            elif part.strip() in (_EXCLUSIVE, _EXCLUSIVE + _OBLIGED):
                self.kind = part.strip()
            elif part.startswith(_NOTE):
                self.note = part.removeprefix(_NOTE).strip()
            elif part.strip():
                words.append(part.strip())
        self.words = "\n\n".join(words)

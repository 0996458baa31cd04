"""Codebooks: what can be coded. Codebook > Dimension > Code, read from YAML.

A codebook has dimensions that are coded independently of each other. A dimension's codes may belong to groups
(themes over subthemes); a group is present where one of its codes is.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tl_classifier import codebook_file
from tl_classifier.codebook_file import Entry, kind_of, shown
from tl_classifier.errors import CodebookError

SCHEMA_VERSION = 1
"""Version of the file format."""

DEFAULT_CODEBOOK = Path(__file__).with_name("codebooks") / "default.yaml"
"""The file of the codebook that ships with the program; its opening remarks explain the format."""

RESERVED_IDS = ("none",)
"""Ids that no dimension, group or code can have: "none" is the answer that no code applies."""


@dataclass(frozen=True, slots=True)
class Code:
    """One code.

    Attributes:
        id: Name used in files and in the API: lower case letters, digits and ``_``.
        name: Name shown to people.
        definition: What the code means, one or two sentences.
        counts: What counts.
        excludes: What does not count.
        examples: Invented excerpts that carry the code.
        group: Id of the group it belongs to, or None.
    """

    id: str
    name: str
    definition: str
    counts: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A parent of codes: present where one of its codes is, never given by itself."""

    id: str
    name: str
    definition: str = ""


@dataclass(frozen=True)
class Dimension:
    """Codes that answer one question.

    Attributes:
        id: Name used in files and in the API.
        name: Name shown to people.
        description: What the dimension asks.
        exclusive: True where an excerpt carries at most one of the codes, False where it may carry several.
        optional: False where every excerpt carries a code (only an exclusive dimension can say so).
        codes: In codebook order.
        groups: In codebook order; may be empty.
        note: A remark for readers, such as where the grouping comes from.
    """

    id: str
    name: str
    codes: tuple[Code, ...]
    groups: tuple[Group, ...] = ()
    description: str = ""
    exclusive: bool = False
    optional: bool = True
    note: str = ""

    @cached_property
    def code_ids(self) -> tuple[str, ...]:
        """Code ids in codebook order."""
        return tuple(code.id for code in self.codes)

    @cached_property
    def outputs(self) -> int:
        """Numbers that a model gives for this dimension: one a code, and one for "none" if exclusive and optional."""
        return len(self.codes) + (self.exclusive and self.optional)

    def groups_of(self, codes: Iterable[str]) -> tuple[str, ...]:
        """The groups that are present where `codes` are, in codebook order."""
        given = set(codes)
        present = {code.group for code in self.codes if code.id in given}
        return tuple(group.id for group in self.groups if group.id in present)

    def in_order(self, codes: Iterable[str]) -> tuple[str, ...]:
        """`codes` in codebook order, each once."""
        given = set(codes)
        return tuple(code for code in self.code_ids if code in given)


@dataclass(frozen=True)
class Codebook:
    """A codebook.

    Attributes:
        name: Name used in files: lower case letters, digits and ``-``.
        version: Version of its content.
        title: Name shown to people.
        dimensions: In codebook order.
        description: What it is for.
        unit: What one excerpt is.
        sources: Works it rests on.
        rules: General rules of coding.
    """

    name: str
    version: str
    title: str
    dimensions: tuple[Dimension, ...]
    description: str = ""
    unit: str = ""
    sources: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Codebook:
        """Read a codebook file.

        Raises:
            CodebookError: if the file cannot be read or has problems; the message names the file and the first
                problem, and how many more `codebook check` lists.
        """
        path = Path(path)
        codebook, problems = read_codebook(path)
        if codebook is None:
            more = f" (and {len(problems) - 1} more; see: tl-classifier codebook check)" if problems[1:] else ""
            raise CodebookError(f"{path}: {problems[0]}{more}.")
        return codebook

    @classmethod
    def default(cls) -> Codebook:
        """The codebook that ships with the program."""
        return cls.load(DEFAULT_CODEBOOK)

    def dimension(self, dimension_id: str) -> Dimension:
        """The dimension with that id.

        Raises:
            KeyError: if there is none.
        """
        for dimension in self.dimensions:
            if dimension.id == dimension_id:
                return dimension
        raise KeyError(dimension_id)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Dimension id to the slice of a model's outputs that belongs to it."""
        slices, start = {}, 0
        for dimension in self.dimensions:
            slices[dimension.id] = slice(start, start + dimension.outputs)
            start += dimension.outputs
        return slices

    @property
    def outputs(self) -> int:
        """How many numbers a model gives for one excerpt."""
        return sum(dimension.outputs for dimension in self.dimensions)

    @cached_property
    def fingerprint(self) -> str:
        """What a model depends on, as 12 hexadecimal digits: dimensions, codes, order, kinds; not the wording."""
        shape = [
            (d.id, d.exclusive, d.optional, [(c.id, c.group) for c in d.codes], [g.id for g in d.groups])
            for d in self.dimensions
        ]
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """The codebook in the form of its file, without the keys that have nothing to say."""
        return _filled(
            {
                "schema": SCHEMA_VERSION,
                "name": self.name,
                "version": self.version,
                "title": self.title,
                "description": self.description,
                "unit": self.unit,
                "sources": list(self.sources),
                "rules": list(self.rules),
                "dimensions": [_dimension_to_dict(dimension) for dimension in self.dimensions],
            }
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Codebook:
        """A codebook from the form of its file.

        Raises:
            CodebookError: if `data` has problems; the message names the first, and how many more there are.
        """
        codebook, problems = parse_codebook(data)
        if codebook is None:
            more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
            raise CodebookError(f"The codebook has a problem: {problems[0]}{more}.")
        return codebook

    def save(self, path: str | Path) -> None:
        """Write the codebook as YAML; `load` gives an equal one.

        Raises:
            CodebookError: if the file cannot be written.
        """
        codebook_file.write(Path(path), self.to_dict())


def parse_codebook(data: object) -> tuple[Codebook | None, list[str]]:
    """Check and build a codebook from the form of its file, as YAML or JSON gives it.

    White space around texts is dropped. A key without a value is as good as absent. A name that is missing is made
    from the id.

    Returns:
        The codebook, or None where there are problems; and the problems, all of them, each one clause that begins
        with its place.
    """
    problems: list[str] = []
    codebook = _read_codebook(data, problems)
    return (None if problems else codebook), problems


def read_codebook(path: Path) -> tuple[Codebook | None, list[str]]:
    """`parse_codebook` for a file; a file that cannot be read, or is not YAML, is a problem too."""
    data, problems = codebook_file.read(path)
    if data is None:
        return None, problems
    codebook, more = parse_codebook(data)
    problems += more
    return (None if problems else codebook), problems


def gaps(codebook: Codebook) -> list[str]:
    """What a coder would miss in a codebook that is otherwise sound: codes without a definition or an example."""
    found = []
    for dimension in codebook.dimensions:
        for what, codes in (
            ("definition", [code.id for code in dimension.codes if not code.definition]),
            ("example", [code.id for code in dimension.codes if not code.examples]),
        ):
            if codes:
                found.append(f"dimension '{dimension.id}': no {what} for {', '.join(codes)}")
    return found


# From a codebook to the form of its file


def _filled(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value not in ("", [], None)}


def _dimension_to_dict(dimension: Dimension) -> dict[str, Any]:
    return _filled(
        {
            "id": dimension.id,
            "name": dimension.name,
            "kind": "exclusive" if dimension.exclusive else "multi-label",
            "optional": dimension.optional if dimension.exclusive else None,
            "description": dimension.description,
            "note": dimension.note,
            "groups": [
                _filled({"id": group.id, "name": group.name, "definition": group.definition})
                for group in dimension.groups
            ],
            "codes": [
                _filled(
                    {
                        "id": code.id,
                        "name": code.name,
                        "group": code.group,
                        "definition": code.definition,
                        "counts": list(code.counts),
                        "excludes": list(code.excludes),
                        "examples": list(code.examples),
                    }
                )
                for code in dimension.codes
            ],
        }
    )


# From the form of its file to a codebook. Every function below reads on after a problem, so that all are found in
# one pass; what it returns is of use only where no problem was noted.


def _read_codebook(data: object, problems: list[str]) -> Codebook | None:
    if not isinstance(data, Mapping):
        problems.append(f"a codebook must have keys with values, such as 'name: ...', not {kind_of(data)}")
        return None
    entry = Entry(
        data,
        "",
        problems,
        required=("schema", "name", "version", "dimensions"),
        optional=("title", "description", "unit", "sources", "rules"),
    )
    schema = data.get("schema")
    if schema is not None and (type(schema) is not int or schema != SCHEMA_VERSION):
        entry.problem(f"'schema' must be {SCHEMA_VERSION}, the version of the format that this program reads")
    name = entry.text("name")
    if isinstance(data.get("name"), str) and not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name):
        entry.problem("'name' may hold only lower-case letters and digits, and single hyphens between them")
    version = entry.text("version")
    if isinstance(data.get("version"), str) and not version:
        entry.problem("'version' is empty")
    title, description, unit = entry.text("title"), entry.text("description"), entry.text("unit")
    sources, rules = entry.texts("sources"), entry.texts("rules")
    if data.get("dimensions") in ([], ()):
        entry.problem("there must be at least one dimension")
    dimensions = [
        (place, _read_dimension(place, item, problems)) for place, item in entry.entries("dimensions", "dimension")
    ]
    _note_repeated_ids(dimensions, problems)
    return Codebook(
        name=name,
        version=version,
        title=title or _name_from(name),
        dimensions=tuple(dimension for _, dimension in dimensions),
        description=description,
        unit=unit,
        sources=sources,
        rules=rules,
    )


def _read_dimension(place: str, data: Mapping[object, object], problems: list[str]) -> Dimension:
    entry = Entry(
        data,
        place,
        problems,
        required=("id", "codes"),
        optional=("name", "kind", "optional", "description", "note", "groups"),
    )
    dimension_id = _read_id(entry)
    name, description, note = entry.text("name"), entry.text("description"), entry.text("note")
    kind = entry.text("kind") or "multi-label"
    if kind not in ("multi-label", "exclusive"):
        entry.problem(f"the kind must be multi-label or exclusive, not {shown(kind)}")
    optional = data.get("optional")
    if optional is not None and not isinstance(optional, bool):
        entry.problem(f"'optional' must be true or false, not {kind_of(optional)}")
    if optional is False and kind == "multi-label":
        entry.problem("'optional: false' needs 'kind: exclusive'; a multi-label dimension can always be left empty")

    groups = [(place, _read_group(place, item, problems)) for place, item in entry.entries("groups", "group")]
    _note_repeated_ids(groups, problems)
    if data.get("codes") in ([], ()):
        entry.problem("there must be at least one code")
    codes = [(place, _read_code(place, item, problems)) for place, item in entry.entries("codes", "code")]
    _note_repeated_ids(codes, problems)
    if kind == "exclusive" and optional is False and len(codes) == 1:
        entry.problem("with 'optional: false' there must be at least two codes to choose from")
    if data.get("groups") is None or isinstance(data.get("groups"), list | tuple):
        _note_wrong_groups(groups, codes, problems)
    return Dimension(
        id=dimension_id,
        name=name or _name_from(dimension_id),
        codes=tuple(code for _, code in codes),
        groups=tuple(group for _, group in groups),
        description=description,
        exclusive=kind == "exclusive",
        optional=optional is not False,
        note=note,
    )


def _read_id(entry: Entry) -> str:
    found = entry.text("id")
    if not found:
        if isinstance(entry.data.get("id"), str):
            entry.problem("the id is empty")
    elif not re.fullmatch("[a-z0-9_]+", found):
        entry.problem("the id may hold only lower-case letters, digits and _")
    elif not re.match("[a-z]", found):
        entry.problem("the id must begin with a letter")
    elif found in RESERVED_IDS:
        entry.problem(f"the id '{found}' is taken: it says that no code applies")
    return found


def _read_group(place: str, data: Mapping[object, object], problems: list[str]) -> Group:
    entry = Entry(data, place, problems, required=("id",), optional=("name", "definition"))
    group_id = _read_id(entry)
    return Group(id=group_id, name=entry.text("name") or _name_from(group_id), definition=entry.text("definition"))


def _read_code(place: str, data: Mapping[object, object], problems: list[str]) -> Code:
    entry = Entry(
        data,
        place,
        problems,
        required=("id",),
        optional=("name", "group", "definition", "counts", "excludes", "examples"),
    )
    code_id = _read_id(entry)
    return Code(
        id=code_id,
        name=entry.text("name") or _name_from(code_id),
        group=entry.text("group") or None,
        definition=entry.text("definition"),
        counts=entry.texts("counts"),
        excludes=entry.texts("excludes"),
        examples=entry.texts("examples"),
    )


def _note_repeated_ids(listed: Sequence[tuple[str, Dimension | Group | Code]], problems: list[str]) -> None:
    seen = set()
    for place, item in listed:
        if item.id and item.id in seen:
            problems.append(f"{place}: the id is given a second time")
        seen.add(item.id)


def _note_wrong_groups(
    groups: Sequence[tuple[str, Group]], codes: Sequence[tuple[str, Code]], problems: list[str]
) -> None:
    known = list(dict.fromkeys(group.id for _, group in groups if group.id))
    meant = {code.group for _, code in codes}
    for place, code in codes:
        if code.id in known:
            problems.append(f"{place}: the id is also that of a group; the two must differ")
        if code.group is None or code.group in known:
            continue
        near = difflib.get_close_matches(code.group.lower(), known, n=1)
        meant.update(near)
        if near:
            hint = f"did you mean '{near[0]}'?"
        else:
            hint = f"the groups here are {', '.join(known)}" if known else "this dimension has no groups"
        problems.append(f"{place}: unknown group {shown(code.group)} ({hint})")
    for place, group in groups:
        if codes and group.id and group.id not in meant:
            problems.append(f"{place}: no code belongs to this group")


def _name_from(identifier: str) -> str:
    return identifier.replace("_", " ").replace("-", " ").strip().capitalize()

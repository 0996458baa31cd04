"""Results as a project (.qdpx): the model as a coder of its own, beside the people who code."""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tl_classifier.codebook import Codebook
from tl_classifier.corpus.coded import Names
from tl_classifier.corpus.composed import Document, Given, Passage
from tl_classifier.corpus.refi.codebooks import code_guid, code_tree
from tl_classifier.corpus.refi.codings import CodeMap, meaning_of
from tl_classifier.corpus.refi.model import MODEL_ID, Project, ProjectCode
from tl_classifier.corpus.refi.writer import ProjectWriter


def texts_of_project(project: Project) -> dict[str, tuple[str, str]]:
    """Name to guid and text of a project's sources, for `tl_classifier.corpus.composed.read_documents`."""
    texts: dict[str, tuple[str, str]] = {}
    for source in project.sources:
        node = project.package.nodes[source.guid] if project.package else None
        if source.text is not None and node is not None and node.name != "Transcript":
            texts.setdefault(source.name, (source.guid, source.text))
            texts.setdefault(Path(source.name).stem, (source.guid, source.text))
    return texts


def write_project(
    documents: Sequence[Document],
    codebook: Codebook,
    path: str | Path,
    *,
    base: Project | None = None,
    code_map: CodeMap | None = None,
    only: Collection[tuple[str, str]] | None = None,
    name: str = "",
    origin: str = "tl-classifier",
    created: datetime.datetime,
) -> None:
    """Write documents and what was coded in them as a project.

    Args:
        documents: The documents. One that was found in a source of `base` gets its codings there.
        codebook: Whose codes were given.
        path: The .qdpx. One that exists is replaced.
        base: A project to add to; all that is in it is kept. Its own codes are used where they are known to be those of
            the codebook, so that coders can be compared.
        code_map: What the codes of `base` are where they are named otherwise.
        only: The codes that go into the codebook of the project; None takes all.
        name: Name of a new project.
        origin: The program that writes, with its version.
        created: The time that is put on what is written.

    Raises:
        OutputError: if the project cannot be written.
        InputError: if `base` cannot be read any more.
    """
    writer = ProjectWriter(base, name=name, origin=origin, created=created)
    guids = _known_codes(base, codebook, code_map or {})
    tree = code_tree(codebook, only)
    writer.add_codes(_without(tree, {code_guid(codebook, *code): guid for code, guid in guids.items()}))
    there = {source.guid for source in base.sources} if base else set()
    for document in documents:
        source = document.found_in if document.found_in in there else None
        # The last selection, too, is followed by a line break; see `tl_classifier.corpus.refi.positions`.
        text = document.text if document.text[-1:].isspace() else document.text + "\n"
        guid = source or writer.add_source(document.name, text)
        line_of = _Lines(document.text)
        for passage in document.passages:
            coder = writer.add_coder(passage.model, id=MODEL_ID)
            label = f"line:{line_of(passage.start)} {passage.speaker or ''}".rstrip()
            comment = _comment(passage, codebook)
            for given in passage.codes:
                key = (given.dimension, given.code)
                writer.add_coding(
                    guid,
                    passage.start,
                    passage.end,
                    guids.get(key) or code_guid(codebook, *key),
                    coder,
                    name=label,
                    description=comment,
                    note=_note(passage.model, given),
                )
    writer.write(path)


def _note(model: str, given: Given) -> str:
    words = f', in the words "{given.evidence}"' if given.evidence else ""
    return f"Coded by {model}, probability {given.probability:.2f}{words}"


def _comment(passage: Passage, codebook: Codebook) -> str:
    names = {(d.id, code.id): code.name for d in codebook.dimensions for code in d.codes}
    codes = "; ".join(f"{names[g.dimension, g.code]} {g.probability:.4f}" for g in passage.codes)
    return f"{passage.model}: {codes}"


def _known_codes(base: Project | None, codebook: Codebook, code_map: CodeMap) -> dict[tuple[str, str], str]:
    """The guids of the codes of a project that are known to be codes of the codebook; of several, the first."""
    names = Names(codebook)
    found: dict[tuple[str, str], str] = {}
    for path, code in base.walk_codes() if base else ():
        if code.codable:
            _, meant = meaning_of(path, code, codebook, names, code_map)
            if meant is not None:
                found.setdefault(meant, code.guid)
    return found


def _without(tree: Iterable[ProjectCode], known: Mapping[str, str]) -> list[ProjectCode]:
    """A tree without the codes that a project has under other guids, and without headings that are empty by that."""
    kept = []
    for code in tree:
        if known.get(code.guid, code.guid) != code.guid:
            continue
        children = tuple(_without(code.children, known))
        if children or not code.children:
            kept.append(ProjectCode(code.guid, code.name, code.description, code.color, code.codable, children))
    return kept


class _Lines:
    """Numbers of lines, the first is 0. A selection is named for its line: people find it, and so do programs that
    code lines.
    """

    def __init__(self, text: str) -> None:
        self._ends = [at for at, character in enumerate(text) if character == "\n"]

    def __call__(self, offset: int) -> int:
        return bisect_right(self._ends, offset - 1)

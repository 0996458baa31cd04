"""Scored rows put back together: the text of each document, and where in it each coded passage stands.

Results hold excerpts. Tools that coding is done in hold documents, and passages in them. Where the text of a document
is given (a transcript, a source of a project) and the excerpts are found in it, in their order, that text is taken, as
it stands; else one is made of the excerpts: a paragraph a turn, with who speaks before it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_classifier.codebook import Codebook
from tl_classifier.corpus import inputs, transcripts
from tl_classifier.corpus.rows import unless_blank, well_formed
from tl_classifier.corpus.scored import read_scored
from tl_classifier.errors import InputError
from tl_classifier.excerpts import Excerpt

_LINE_END = re.compile("\r\n?")


@dataclass(frozen=True, slots=True)
class Given:
    """A code that a model gave, with its probability.

    Attributes:
        dimension: Dimension id.
        code: Code id.
        probability: The calibrated probability.
        evidence: The words that carry the code; empty where the record does not say.
    """

    dimension: str
    code: str
    probability: float
    evidence: str = ""


def _evidence(record: Mapping[str, Any], dimension: str, code: str) -> str:
    span = ((record.get("evidence") or {}).get(dimension) or {}).get(code)
    return "" if span is None else " ".join((record.get("text") or "")[slice(*span)].split())


@dataclass(frozen=True, slots=True)
class Passage:
    """A coded excerpt in the text of its document: ``document.text[start:end]``.

    Attributes:
        start: Offset of its first character, in Unicode code points.
        end: Offset one past its last character.
        codes: What was given to it, in codebook order; at least one.
        model: ``name@version`` of the model.
        id: The user's own identifier; None where unknown.
        speaker: Who speaks; None where unknown.
        turn: Number of the turn; None where unknown.
    """

    start: int
    end: int
    codes: tuple[Given, ...]
    model: str
    id: str | None = None
    speaker: str | None = None
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document with its coded passages.

    Attributes:
        name: Its name.
        text: Its text.
        passages: In the order of the rows.
        found_in: Key of the text that was given and taken; None where the text was made of the excerpts.
    """

    name: str
    text: str
    passages: tuple[Passage, ...]
    found_in: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the codes is taken.

    Attributes:
        above: The lowest probability.
        codes: Dimension ids and code ids; None takes all.
    """

    above: float = 0.0
    codes: Collection[tuple[str, str]] | None = None

    def of(self, record: Mapping[str, Any]) -> tuple[Given, ...]:
        """What is taken of the codes of a record."""
        return tuple(
            Given(dimension, code, record["probabilities"][dimension][code], _evidence(record, dimension, code))
            for dimension, codes in record["codes"].items()
            for code in codes
            if (self.codes is None or (dimension, code) in self.codes)
            and record["probabilities"][dimension][code] >= self.above
        )


@dataclass(slots=True)
class _Row:
    text: str
    codes: tuple[Given, ...]
    about: dict[str, Any] = field(default_factory=dict)
    model: str = ""


def read_documents(
    path: str | Path, codebook: Codebook, wanted: Wanted, texts: Mapping[str, tuple[str, str]] | None = None
) -> list[Document]:
    """The documents of a scored file, in the order in which they begin.

    Args:
        path: What ``score`` wrote, with the texts.
        codebook: Every code must be in it.
        wanted: What of the codes is taken.
        texts: For names of documents, the key and the text of where they may stand.

    Raises:
        InputError: if the file cannot be read, was not written by ``score``, or has no texts.
        CodebookError: if a code is not in the codebook.
    """
    path = Path(path)
    documents: dict[str, list[_Row]] = {}
    for record in read_scored(path, codebook):
        if record["codes"] is None:
            continue
        if record.get("text") is None:
            raise InputError(f"{path} has no texts; score again without --no-text.")
        about = {name: record[name] for name in ("id", "speaker", "turn")}
        row = _Row(_LINE_END.sub("\n", record["text"]), wanted.of(record), about, record["model"])
        documents.setdefault(record["document"] or path.stem, []).append(row)
    if not documents:
        raise InputError(f"{path} has no row that was scored.")
    return [_document(name, rows, texts or {}) for name, rows in documents.items()]


def texts_of(paths: Iterable[str | Path]) -> dict[str, tuple[str, str]]:
    """The texts of transcripts, by the names that their documents have when they are scored.

    That of a transcript is its plain text as it was read; others are made of all their rows, whoever speaks.

    Raises:
        InputError: if something cannot be read.
    """
    texts: dict[str, tuple[str, str]] = {}
    for file in inputs.expand(paths):
        if file.suffix.lower() in inputs.TRANSCRIPTS:
            texts[file.stem] = (str(file), transcripts.document_text(file))
            continue
        rows: dict[str, list[_Row]] = {}
        for row in map(unless_blank, inputs.read_rows([file])):
            if isinstance(row, Excerpt):
                about = {"id": row.id, "speaker": row.speaker, "turn": row.turn}
                rows.setdefault(row.document or file.stem, []).append(_Row(row.text, (), about))
        texts |= {name: (str(file), _composed(listed)[0]) for name, listed in rows.items()}
    return texts


def find_in(text: str, pieces: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where pieces stand in a text, in their order and without overlap; None unless all do.

    Spaces and line breaks count as the same, in any number.
    """
    places = []
    at = 0
    for piece in pieces:
        begin = text.find(piece, at)
        if begin >= 0:
            at = begin + len(piece)
        else:
            match = re.compile(r"\s+".join(map(re.escape, piece.split()))).search(text, at)
            if match is None:
                return None
            begin, at = match.span()
        places.append((begin, at))
    return places


def _document(name: str, rows: Sequence[_Row], texts: Mapping[str, tuple[str, str]]) -> Document:
    key = None
    places = None
    text = ""
    for candidate in (name, Path(name).stem):
        if places is None and candidate in texts:
            key, text = texts[candidate]
            places = find_in(text, [row.text for row in rows])
    if places is None:
        key = None
        text, places = _composed(rows)
    passages = tuple(
        Passage(start, end, row.codes, row.model, **row.about)
        for row, (start, end) in zip(rows, places, strict=True)
        if row.codes
    )
    return Document(name, text, passages, key)


def _composed(rows: Sequence[_Row]) -> tuple[str, list[tuple[int, int]]]:
    """The text that rows make, and where each stands in it: a paragraph a turn, and a blank line between two."""
    pieces: list[str] = []
    places = []
    length = 0
    before: tuple[Any, Any] | None = None
    for row in rows:
        turn = (row.about.get("speaker"), row.about.get("turn"))
        if before is not None and turn == before and turn[1] is not None:
            lead = " "  # a turn that was cut
        else:
            lead = "\n\n" if pieces else ""
            lead += f"{turn[0]}: " if turn[0] else ""
        words = well_formed(row.text).strip()
        pieces += [lead, words]
        places.append((length + len(lead), length + len(lead) + len(words)))
        length += len(lead) + len(words)
        before = turn
    return "".join(pieces) + "\n", places


def count(documents: Iterable[Document]) -> tuple[int, int]:
    """How many passages are coded in documents, and how many codings that makes."""
    passages = [passage for document in documents for passage in document.passages]
    return len(passages), sum(len(passage.codes) for passage in passages)


def models_of(documents: Iterable[Document]) -> Iterator[str]:
    """The models that coded, each once."""
    return iter(dict.fromkeys(passage.model for document in documents for passage in document.passages))

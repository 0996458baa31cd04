"""What is wrong with coded data, found in one pass before anything is trained, all of it and each with its place.

Errors stop a training: rows that cannot be read, codes that are not in the codebook. Warnings say what will make the
model, or its figures, worse than they need be: the same words coded differently, codes with too few examples, the same
words in documents that train and in documents that test, texts that are no language.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tl_classifier.codebook import Codebook
from tl_classifier.corpus import tables
from tl_classifier.corpus.coded import CodedDataError, read_coded
from tl_classifier.corpus.inputs import PROJECTS, TABLES, expand
from tl_classifier.corpus.rows import listed, shown, well_formed
from tl_classifier.errors import TrainingError, UserError
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from tl_classifier.likeness import features, near_duplicates
from tl_classifier.preprocessing import clean, is_blank
from training.splitting import Splits

CodeMap = Mapping[str, tuple[str, str] | None]

ENOUGH = 12
"""Examples of a code from which on it can be learnt and tested: eight in the documents that train, and some beside."""

LEAKING_WORDS = 8
"""Shorter texts ("Yes, I think so.") are said in many interviews; that they come again says nothing."""

LATIN = ("LATIN",)
"""Scripts, as Unicode names them, that English encoders were trained on."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with coded data.

    Attributes:
        severity: ``error`` stops a training, a ``warning`` does not.
        file: Where it is; None where it is no one place.
        row: The row of a table as a spreadsheet shows it, or the line of a .jsonl file; None where there is none.
        sentence: What is wrong and what would be right, without interview text; begins with the place.
    """

    severity: Literal["error", "warning"]
    file: Path | None
    row: int | None
    sentence: str


@dataclass(frozen=True)
class Checked:
    """Coded data that was read and checked.

    Attributes:
        coded: What could be read, in order.
        problems: Errors first, then warnings, each in the order of the data.
    """

    coded: list[CodedExcerpt]
    problems: list[Problem]
    _places: Mapping[int, tuple[Path, int | None]]

    @property
    def errors(self) -> list[Problem]:
        """Those that stop a training."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def with_splits(self, splits: Splits) -> list[Problem]:
        """Leakage between the documents that train, validate and test: warnings, in the order of the data."""
        return _leakage(splits, self._places)

    def stop_if_broken(self) -> None:
        """Stop where there are errors, once they have all been told.

        Raises:
            TrainingError: the number of errors, and the first.
        """
        errors = self.errors
        if len(errors) == 1:
            raise TrainingError(errors[0].sentence)
        if errors:
            raise TrainingError(
                f"The coded data has {len(errors)} errors; the first: {errors[0].sentence.removesuffix('.')}."
            )


def check(
    paths: Iterable[str | Path],
    codebook: Codebook,
    *,
    code_map: CodeMap | None = None,
    scripts: Collection[str] | None = LATIN,
    others: Sequence[CodedExcerpt] = (),
) -> Checked:
    """Read coded data and check it.

    Args:
        paths: As for `tl_classifier.corpus.coded.read_coded`, as is `code_map`.
        codebook: What is coded.
        code_map: For projects, what their codes are.
        scripts: The scripts that the encoder knows, as the names of Unicode's letters begin; None for any.
        others: Coded excerpts that are trained on beside, and count as examples.

    Raises:
        InputError: if files or folders are missing.
    """
    coded: list[CodedExcerpt] = []
    places: dict[int, tuple[Path, int | None]] = {}
    problems: list[Problem] = []
    for file in expand(paths, endings=TABLES + PROJECTS):
        try:
            items = read_coded([file], codebook, code_map=code_map)
        except CodedDataError as error:
            problems += [_read_problem(file, sentence) for sentence in error.problems]
            items = error.coded
        except UserError as error:
            problems.append(Problem("error", file, None, str(error)))
            continue
        for item, row in zip(items, _rows(file, items), strict=True):
            places[id(item)] = (file, row)
        coded += items
    problems += _contradictions(coded, places)
    problems += _not_language(coded, places, scripts)
    problems += _too_few(coded, others, codebook)
    return Checked(coded, problems, places)


def _read_problem(file: Path, sentence: str) -> Problem:
    place = re.match(rf"{re.escape(str(file))}, (?:row|line) (\d+)\b", sentence)
    sentence = sentence if sentence.endswith(".") else f"{sentence}."
    return Problem("error", file, int(place[1]) if place else None, sentence)


def _rows(file: Path, items: Sequence[CodedExcerpt]) -> list[int | None]:
    """The rows that excerpts came from: those with their texts, in order."""
    if file.suffix.lower() in PROJECTS:
        return [None] * len(items)
    texts = _texts(file)
    found: list[int | None] = []
    for item in items:
        found.append(next((row for row, text in texts if text == item.excerpt.text), None))
    return found


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    if file.suffix.lower() == ".jsonl":
        rows: Iterable[tuple[int, object]] = (
            (number, tables.field(record, "text")) for number, record in tables.read_records(file)
        )
    else:
        table = tables.read_table(file, "text", only=("text",))
        at = table.column("text")
        rows = ((row.number, None if at is None else row.cells[at]) for row in table.rows)
    return ((number, well_formed(text)) for number, text in rows if isinstance(text, str))


# --- the same words, coded differently --------------------------------------------------------------------------


def _contradictions(coded: Sequence[CodedExcerpt], places: Mapping[int, tuple[Path, int | None]]) -> Iterator[Problem]:
    """Texts that one coder coded twice and differently; that two coders differ is no mistake."""
    first: dict[tuple[str | None, str], CodedExcerpt] = {}
    for one in coded:
        key = (one.coder, _words(one))
        before = first.setdefault(key, one)
        differing = [
            dimension
            for dimension, codes in one.codes.items()
            if dimension in before.codes and set(codes) != set(before.codes[dimension])
        ]
        if differing:
            file, row = places[id(one)]
            yield Problem(
                "warning",
                file,
                row,
                f"{_place(one, places)}: the same words have other codes of {listed(differing)} in "
                f"{_place(before, places)}; a model can learn only one of the two, so decide, or leave one out.",
            )


def _words(one: CodedExcerpt) -> str:
    """The words without what makes no difference to them."""
    return " ".join(clean(one.excerpt.text).text.casefold().split())


# --- codes with too few examples --------------------------------------------------------------------------------


def _too_few(coded: Sequence[CodedExcerpt], others: Sequence[CodedExcerpt], codebook: Codebook) -> Iterator[Problem]:
    for dimension in codebook.dimensions:
        if not any(dimension.id in one.codes for one in coded):
            continue
        for code in dimension.code_ids:
            # What two coders coded is one example.
            own = {_words(one): one for one in coded if code in one.codes.get(dimension.id, ())}.values()
            count = len(own) + sum(code in one.codes.get(dimension.id, ()) for one in others)
            documents = {one.excerpt.document for one in own if one.excerpt.document is not None}
            if count < ENOUGH:
                sentence = (
                    f"The code '{code}' of '{dimension.id}' has {_count(count, 'example')}; code at least "
                    f"{ENOUGH - count} more, so that it can be learnt and tested ({ENOUGH} in all)."
                )
            elif len(own) == count and len(documents) == 1:
                sentence = (
                    f"All {count} examples of the code '{code}' of '{dimension.id}' are in one document; code it in "
                    "another too, so that it can be both learnt and tested."
                )
            else:
                continue
            yield Problem("warning", None, None, sentence)


# --- leakage ----------------------------------------------------------------------------------------------------


def _leakage(splits: Splits, places: Mapping[int, tuple[Path, int | None]]) -> list[Problem]:
    uses = {"trained on": splits.train, "validated on": splits.validation, "tested on": splits.test}
    rows = [(one, use) for use, part in uses.items() for one in part]
    rows = [(one, use) for one, use in rows if len(one.excerpt.text.split()) >= LEAKING_WORDS]
    shared: defaultdict[tuple[tuple[str, str], tuple[str, str]], list[tuple[int, int]]]
    shared = defaultdict(list)
    for i, j, _ in near_duplicates([features(one.excerpt.text) for one, _ in rows]):
        (one, use), (other, other_use) = rows[i], rows[j]
        if use != other_use:
            # Excerpts of no document are each one by themselves.
            keys = tuple(
                (excerpt.document or f"\0{number}", of)
                for excerpt, number, of in ((one.excerpt, i, use), (other.excerpt, j, other_use))
            )
            shared[keys[0], keys[1]].append((i, j))
    problems = []
    for ((document, use), (other_document, other_use)), pairs in shared.items():
        one, other = (rows[at][0] for at in pairs[0])
        file, row = places.get(id(one), (None, None))
        names = (_document(document, one, places), _document(other_document, other, places))
        problems.append(
            Problem(
                "warning",
                file,
                row,
                f"{names[0][:1].upper()}{names[0][1:]} ({use}) and {names[1]} ({other_use}) have "
                f"{_count(len(pairs), 'excerpt')} in the same or nearly the same words, so the figures will flatter "
                "the model; give both the same name in the column 'document', or leave one of each out.",
            )
        )
    return problems


def _document(name: str, one: CodedExcerpt, places: Mapping[int, tuple[Path, int | None]]) -> str:
    return _place(one, places) if name.startswith("\0") else f"the document {shown(name)}"


# --- texts that are no language ---------------------------------------------------------------------------------

_VOWELS = frozenset("aeiouyæœøıəɛɔ")
_WORD = re.compile(r"[^\W\d_]+")
_MOJIBAKE = re.compile("\ufffd|[ÃÂ][\u0080-\u00bf]|â€")


def _not_language(
    coded: Sequence[CodedExcerpt], places: Mapping[int, tuple[Path, int | None]], scripts: Collection[str] | None
) -> Iterator[Problem]:
    for one in coded:
        reason = not_language(one.excerpt, scripts)
        if reason is not None:
            file, row = places[id(one)]
            yield Problem("warning", file, row, f"{_place(one, places)}: {reason}.")


def not_language(excerpt: Excerpt, scripts: Collection[str] | None = LATIN) -> str | None:
    """Why a text is not speech that an encoder can read, a clause with what to do; None where it may be.

    Args:
        excerpt: Its text is looked at.
        scripts: As for `check`.
    """
    text = clean(excerpt.text).text
    if is_blank(text):
        return "there are no words in it; leave the row out"
    if len(_MOJIBAKE.findall(text)) >= 2:
        return "letters in it were broken when the file was saved; save it again as UTF-8"
    signs = [character for character in text if not character.isspace()]
    letters = [character for character in signs if unicodedata.category(character)[0] in "LM"]
    if 2 * len(letters) < len(signs):
        return "it is numbers and signs more than words; leave the row out unless it is what somebody said"
    if scripts is not None:
        foreign = [c for c in letters if c.isalpha() and not unicodedata.name(c, "").startswith(tuple(scripts))]
        if 2 * len(foreign) > len(letters):
            script = unicodedata.name(foreign[0], "unknown").split()[0].capitalize()
            return f"it is written in a script that the model does not know ({script}); choose another --base"
    words = [word for word in _WORD.findall(text) if len(word) >= 4]
    garbled = [word for word in words if len(word) > 40 or _has_no_vowel(word)]
    if len(words) >= 3 and 2 * len(garbled) > len(words):
        return "most of it is strings of letters that are no words; leave the row out"
    return None


def _has_no_vowel(word: str) -> bool:
    plain = unicodedata.normalize("NFD", word.casefold())
    latin = [character for character in plain if unicodedata.name(character, "").startswith("LATIN")]
    return len(latin) == len(word) and not _VOWELS & set(latin)


# --- places -----------------------------------------------------------------------------------------------------


def _place(one: CodedExcerpt, places: Mapping[int, tuple[Path, int | None]]) -> str:
    file, row = places.get(id(one), (None, None))
    if file is None:
        return "A coded excerpt"
    if row is not None:
        return f"{file}, {'line' if file.suffix.lower() == '.jsonl' else 'row'} {row}"
    excerpt = one.excerpt
    source = f"source {shown(excerpt.document)}" if excerpt.document else ""
    turn = f"turn {excerpt.turn}" if excerpt.turn else ""
    return ", ".join(filter(None, (str(file), source, turn)))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"

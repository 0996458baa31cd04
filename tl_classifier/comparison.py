"""Coders side by side: who coded, which of their rows are the same excerpt, how far they agree, where they do not."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tl_classifier.agreement import (
    MISSING,
    CohenKappa,
    Figure,
    FleissKappa,
    KrippendorffAlpha,
    Ratings,
    figure,
    masi_distances,
    nominal,
    percent_agreement,
    rounded,
)
from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.corpus.coded import read_coded
from tl_classifier.corpus.rows import listed
from tl_classifier.corpus.scored import is_scored, read_scored
from tl_classifier.errors import InputError
from tl_classifier.excerpts import CodedExcerpt, Excerpt

MIN_DOCUMENTS = 5
"""Documents from which on they are what intervals are drawn over; fewer show too little of how documents differ."""

Key = Hashable | None


@dataclass(frozen=True, slots=True)
class Coder:
    """A coder and what they coded.

    Attributes:
        name: The coder as the data names them, a model as ``name@version``, or else the name of the file.
        coded: In the order of the data.
    """

    name: str
    coded: Sequence[CodedExcerpt]


def read_coders(paths: Iterable[str | Path], codebook: Codebook) -> list[Coder]:
    """The coders of files and folders.

    Each path holds the codings of one coder, or of those whom its column `coder` names. A file that ``score`` wrote
    holds the model's.

    Raises:
        InputError: if something cannot be read, or there are fewer than two coders.
        CodebookError: if codes are not in the codebook.
    """
    found: list[tuple[Path, str, list[CodedExcerpt]]] = []
    for path in map(Path, paths):
        by_name: dict[str, list[CodedExcerpt]] = {}
        items = _model_codings(path, codebook) if is_scored(path) else read_coded([path], codebook, models=True)
        for item in items:
            by_name.setdefault(item.coder or path.stem, []).append(item)
        found += [(path, name, coded) for name, coded in by_name.items()]
    times = Counter(name for _, name, _ in found)
    coders = [Coder(f"{name} ({path.name})" if times[name] > 1 else name, coded) for path, name, coded in found]
    for name, count in Counter(coder.name for coder in coders).items():
        if count > 1:
            raise InputError(f"The codings of {name} are given twice; give each file once.")
    if len(coders) < 2:
        only = f"'{coders[0].name}'" if coders else "nobody"
        raise InputError(
            f"Agreement needs two coders, and here is {only}; name another file, or one whose column 'coder' says who "
            "coded each row."
        )
    return coders


def _model_codings(path: Path, codebook: Codebook) -> list[CodedExcerpt]:
    coded = []
    for record in read_scored(path, codebook):
        if record["codes"] is None:
            continue
        about = {name: record[name] for name in ("id", "document", "speaker", "turn")}
        codes = {dimension: tuple(given) for dimension, given in record["codes"].items()}
        coded.append(CodedExcerpt(Excerpt(record.get("text") or "", **about), codes, record["model"] or None))
    return coded


# --- which rows are the same excerpt ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Matched:
    """Coders' rows, side by side.

    Attributes:
        coders: Names.
        by: What was the same in rows that were matched: ``document and turn``, ``id``, ``document and text``, ``text``.
        units: For each excerpt that at least two coded, each coder's coding of it, None where there is none; in the
            order of the first coder's rows.
        unmatched: For each coder, the rows that are nobody else's.
        other_words: Number of the units whose text is not the same with every coder.
    """

    coders: tuple[str, ...]
    by: str
    units: Sequence[tuple[CodedExcerpt | None, ...]]
    unmatched: Sequence[Sequence[CodedExcerpt]]
    other_words: int


def match(coders: Sequence[Coder]) -> Matched:
    """Find the rows that are the same excerpt.

    They are matched by what brings most of them together: document and turn, else id, else the text (with its document
    where there is one), told from its repetitions by their order. A way that would mostly bring different texts
    together (turns counted differently, ids that are mere row numbers) is not taken.

    Raises:
        InputError: if no two coders coded the same excerpt.
    """
    ways: dict[str, Callable[[Sequence[CodedExcerpt]], list[Key]]] = {
        "document and turn": lambda coded: _unique([_turn_key(item.excerpt) for item in coded]),
        "id": lambda coded: _unique([item.excerpt.id for item in coded]),
        "document and text": lambda coded: _numbered(
            [(e.document, _words(e)) if e.document and e.text else None for e in (item.excerpt for item in coded)]
        ),
        "text": lambda coded: _numbered([_words(item.excerpt) or None for item in coded]),
    }
    best: Matched | None = None
    for by, keys_of in ways.items():
        found = _side_by_side(coders, by, [keys_of(coder.coded) for coder in coders])
        comparable = [unit for unit in found.units if sum(bool(c and c.excerpt.text) for c in unit) > 1]
        trusted = not comparable or found.other_words <= len(comparable) / 2
        if trusted and found.units and (best is None or len(found.units) > len(best.units)):
            best = found
    if best is None:
        raise InputError(
            f"The coders ({listed(coder.name for coder in coders)}) have no excerpt in common: neither document and "
            "turn, nor id, nor text are the same in any of their rows."
        )
    return best


def _side_by_side(coders: Sequence[Coder], by: str, keys: Sequence[Sequence[Key]]) -> Matched:
    rows: dict[Key, list[CodedExcerpt | None]] = {}
    for number, (coder, of_coder) in enumerate(zip(coders, keys, strict=True)):
        for item, key in zip(coder.coded, of_coder, strict=True):
            if key is not None:
                rows.setdefault(key, [None] * len(coders))[number] = item
    together = {key for key, row in rows.items() if sum(item is not None for item in row) > 1}
    units = [tuple(row) for key, row in rows.items() if key in together]
    return Matched(
        coders=tuple(coder.name for coder in coders),
        by=by,
        units=units,
        unmatched=[
            [item for item, key in zip(coder.coded, of_coder, strict=True) if key not in together]
            for coder, of_coder in zip(coders, keys, strict=True)
        ],
        other_words=sum(len({_words(item.excerpt) for item in u if item and item.excerpt.text}) > 1 for u in units),
    )


def _turn_key(excerpt: Excerpt) -> Key:
    return None if excerpt.document is None or excerpt.turn is None else (excerpt.document, excerpt.turn)


def _words(excerpt: Excerpt) -> str:
    """The text without what programs change when they pass it on: spaces, line ends, composed letters."""
    return " ".join(unicodedata.normalize("NFC", excerpt.text).split())


def _unique(keys: Sequence[Key]) -> list[Key]:
    """Keys, without those that stand for several rows (parts of one turn)."""
    times = Counter(keys)
    return [key if times[key] == 1 else None for key in keys]


def _numbered(keys: Sequence[Key]) -> list[Key]:
    """Keys with how often each came before, so that the second "Yes." of a document is matched with the second."""
    times: Counter[Key] = Counter()
    numbered: list[Key] = []
    for key in keys:
        numbered.append(None if key is None else (key, times[key]))
        times[key] += 1
    return numbered


# --- how far they agree -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CodeAgreement:
    """Agreement on one code: given or not.

    Attributes:
        code: Its id.
        given: To how many excerpts each coder gave it, of those that at least two coded.
        percent: Percent agreement, in [0, 1].
        kappa: Cohen's for two coders; Fleiss' for more, over the excerpts that all of them coded.
        alpha: Krippendorff's.
    """

    code: str
    given: tuple[int, ...]
    percent: float
    kappa: Figure
    alpha: Figure


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Agreement of two of several coders on a dimension; fields as for `DimensionAgreement`."""

    coders: tuple[str, str]
    excerpts: int
    percent: float
    alpha: Figure


@dataclass(frozen=True, slots=True)
class DimensionAgreement:
    """Agreement on one dimension.

    Attributes:
        dimension: Its id.
        coders: Those who coded in it.
        excerpts: Excerpts that at least two of them coded.
        complete: Excerpts that all of them coded.
        none: To how many of `excerpts` each gave no code.
        percent: Mean share of pairs of coders who gave exactly the same codes.
        kappa: Of an exclusive dimension: Cohen's or Fleiss', over its codes and "none". None for a multi-label one.
        alpha: Krippendorff's: nominal for an exclusive dimension, with MASI distances of the sets of codes for a
            multi-label one.
        codes: Code by code, in codebook order.
        pairs: Each two of three or more coders.
    """

    dimension: str
    coders: tuple[str, ...]
    excerpts: int
    complete: int
    none: tuple[int, ...]
    percent: float
    kappa: Figure | None
    alpha: Figure
    codes: tuple[CodeAgreement, ...]
    pairs: tuple[PairAgreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "coders": list(self.coders),
            "excerpts": self.excerpts,
            "complete": self.complete,
            "none": list(self.none),
            "percent": rounded(self.percent),
            "kappa": None if self.kappa is None else self.kappa.to_dict(),
            "alpha": self.alpha.to_dict(),
            "codes": [
                {
                    "code": code.code,
                    "given": list(code.given),
                    "percent": rounded(code.percent),
                    "kappa": code.kappa.to_dict(),
                    "alpha": code.alpha.to_dict(),
                }
                for code in self.codes
            ],
            "pairs": [
                {
                    "coders": list(pair.coders),
                    "excerpts": pair.excerpts,
                    "percent": rounded(pair.percent),
                    "alpha": pair.alpha.to_dict(),
                }
                for pair in self.pairs
            ],
        }


@dataclass(frozen=True, slots=True)
class Clusters:
    """What intervals are drawn over.

    Attributes:
        of: ``documents`` or ``excerpts``.
        count: How many there are.
        numbers: Each unit's, from 0 on.
    """

    of: str
    count: int
    numbers: Ratings


def clusters(matched: Matched) -> Clusters:
    """Documents, where all excerpts have one and there are `MIN_DOCUMENTS`; else the excerpts."""
    names = [next((c.excerpt.document for c in unit if c and c.excerpt.document), None) for unit in matched.units]
    distinct = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if None in distinct or len(distinct) < MIN_DOCUMENTS:
        return Clusters("excerpts", len(names), np.arange(len(names)))
    return Clusters("documents", len(distinct), np.array([distinct[name] for name in names], dtype=np.int64))


def agreement(matched: Matched, dimension: Dimension) -> DimensionAgreement | None:
    """Figures of one dimension; None where no excerpt was coded in it by two coders."""
    everyone = [[_codes(coding, dimension) for coding in unit] for unit in matched.units]
    active = [at for at in range(len(matched.coders)) if any(codes[at] is not None for codes in everyone)]
    if len(active) < 2:
        return None
    drawn_over = clusters(matched)
    kept = [n for n, codes in enumerate(everyone) if sum(codes[at] is not None for at in active) > 1]
    if not kept:
        return None
    sets = [[everyone[n][at] for at in active] for n in kept]
    owners = np.unique(drawn_over.numbers[kept], return_inverse=True)[1]
    names = tuple(matched.coders[at] for at in active)

    categories = {codes: number for number, codes in enumerate(dict.fromkeys(c for row in sets for c in row if c))}
    categories.setdefault((), len(categories))
    ratings = np.array([[MISSING if c is None else categories[c] for c in row] for row in sets], dtype=np.int64)
    distances = nominal(len(categories)) if dimension.exclusive else masi_distances(list(categories))
    whole = KrippendorffAlpha(distances)
    return DimensionAgreement(
        dimension=dimension.id,
        coders=names,
        excerpts=len(sets),
        complete=int((ratings != MISSING).all(axis=1).sum()),
        none=tuple(int(n) for n in (ratings == categories[()]).sum(axis=0)),
        percent=percent_agreement(ratings),
        kappa=_kappa(ratings, len(categories), owners) if dimension.exclusive else None,
        alpha=figure(whole, ratings, owners),
        codes=tuple(_code_agreement(code, sets, owners) for code in dimension.code_ids),
        pairs=tuple(
            PairAgreement(
                (names[a], names[b]),
                int((ratings[:, [a, b]] != MISSING).all(axis=1).sum()),
                percent_agreement(ratings[:, [a, b]]),
                figure(whole, ratings[:, [a, b]], owners),
            )
            for a, b in (combinations(range(len(names)), 2) if len(names) > 2 else ())
        ),
    )


def _codes(coding: CodedExcerpt | None, dimension: Dimension) -> tuple[str, ...] | None:
    return None if coding is None else coding.codes.get(dimension.id)


def _code_agreement(code: str, sets: Sequence[Sequence[tuple[str, ...] | None]], owners: Ratings) -> CodeAgreement:
    ratings = np.array([[MISSING if c is None else int(code in c) for c in row] for row in sets], dtype=np.int64)
    return CodeAgreement(
        code=code,
        given=tuple(int(n) for n in (ratings == 1).sum(axis=0)),
        percent=percent_agreement(ratings),
        kappa=_kappa(ratings, 2, owners),
        alpha=figure(KrippendorffAlpha(nominal(2)), ratings, owners),
    )


def _kappa(ratings: Ratings, categories: int, owners: Ratings) -> Figure:
    return figure((CohenKappa if ratings.shape[1] == 2 else FleissKappa)(categories), ratings, owners)


# --- where they do not ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An excerpt that coders coded differently in one dimension.

    Attributes:
        excerpt: As the first coder who has its text has it.
        dimension: Dimension id.
        differing: Codes that some of them gave and others did not, the most contested first.
        given: Each coder's codes; None where they did not code it.
    """

    excerpt: Excerpt
    dimension: str
    differing: tuple[str, ...]
    given: tuple[tuple[str, ...] | None, ...]


def disagreements(matched: Matched, codebook: Codebook) -> list[Disagreement]:
    """What to talk about: excerpts with the most contested codes first, and in their order within a code."""
    found: list[tuple[tuple[CodedExcerpt | None, ...], Dimension, set[str]]] = []
    contested: Counter[tuple[str, str]] = Counter()
    for dimension in codebook.dimensions:
        for unit in matched.units:
            given = [set(codes) for codes in (_codes(coding, dimension) for coding in unit) if codes is not None]
            differing = set().union(*given) - set(given[0]).intersection(*given) if given else set()
            if differing:
                found.append((unit, dimension, differing))
                contested.update((dimension.id, code) for code in differing)
    rank = {name: place for place, (name, _) in enumerate(contested.most_common())}
    listing = [
        Disagreement(
            next((c.excerpt for c in unit if c and c.excerpt.text), next(c.excerpt for c in unit if c)),
            dimension.id,
            tuple(sorted(differing, key=lambda code: rank[dimension.id, code])),
            tuple(_codes(coding, dimension) for coding in unit),
        )
        for unit, dimension, differing in found
    ]
    return sorted(listing, key=lambda item: rank[item.dimension, item.differing[0]])

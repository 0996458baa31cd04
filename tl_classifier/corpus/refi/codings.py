"""Projects as excerpts: their texts to be scored, and what people coded in them to be learnt from.

People mark what they like; a model codes turns. So a source is cut into turns as any transcript is, and a turn has the
codes of every selection that overlaps it by half of the turn or more, or by half of the selection or more: a phrase in
a turn counts for the turn, a passage over several turns for each of them. Whoever coded anything in a source has seen
the whole of it: their uncoded turns say that no code applies. The turns of whoever asks the questions are left out,
unless something within them was coded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tl_classifier import codebook_file
from tl_classifier.codebook import Codebook, Dimension
from tl_classifier.corpus.coded import CodedDataError, Names, UnknownCodeError
from tl_classifier.corpus.refi.codebooks import code_guid
from tl_classifier.corpus.refi.model import Project, ProjectCode, Source, normal_guid
from tl_classifier.corpus.refi.reader import read_project
from tl_classifier.corpus.rows import excerpt, listed, shown, unless_blank
from tl_classifier.corpus.transcripts import Turn, find_turns
from tl_classifier.errors import InputError
from tl_classifier.excerpts import CodedExcerpt, Excerpt, Unscorable

CodeMap = Mapping[str, tuple[str, str] | None]
"""Name of a project's code, as `folded`, to dimension id and code id, or None where the code is to be passed over."""

_ASKING = frozenset({"facilitator", "host", "int", "interviewer", "mod", "moderator", "researcher"})


def folded(name: str) -> str:
    """A name as it is compared: without regard to case and spaces."""
    return " ".join(name.casefold().split())


def read_turns(path: str | Path) -> Iterator[Excerpt | Unscorable]:
    """The turns of all texts of a project, in order; the documents are named as the sources are.

    A source whose text cannot be had is one row that cannot be scored, with the reason.

    Raises:
        InputError: if the file cannot be read, is no project, or has no text source.
    """
    project = read_project(path)
    if not project.sources:
        raise InputError(f"{path} has no texts in it.")
    for name, source in _documents(project):
        if source.text is None:
            yield Unscorable(source.problem, document=name)
            continue
        for number, turn in enumerate(find_turns(source.text), start=1):
            yield _excerpt(name, source.text, number, turn)


def read_project_codings(
    path: str | Path, codebook: Codebook, code_map: CodeMap | None = None, *, models: bool = False
) -> list[CodedExcerpt]:
    """What the coders of a project coded, turn by turn.

    Args:
        path: The .qdpx.
        codebook: Where the codes are looked up, by id or by name.
        code_map: Codes of the project that are named otherwise there; see `read_code_map`.
        models: Whether to take in what models of this program coded; they are no teachers of models.

    Returns:
        For each source and coder, in order, the turns of the source. A dimension is there where the project has a code
        of it.

    Raises:
        UnknownCodeError: if codes that were given are neither in the codebook nor in the map; all are named.
        CodedDataError: if a turn has two codes of an exclusive dimension.
        InputError: if the file cannot be read, is no project, has coded sources without text, or nothing is coded.
    """
    project = read_project(path)
    coders = {coder.guid: coder for coder in project.coders}
    taken = {
        guid: None if coder is None else coder.name
        for guid in {coding.coder for source in project.sources for s in source.selections for coding in s.codings}
        if (coder := coders.get(guid)) is None or models or not coder.is_model
    }
    without_text = [source.name for source in project.sources if source.coded and source.text is None]
    if without_text:
        raise InputError(
            f"{path}: there are codings in sources whose text is not in the project ({listed(without_text)}); "
            "export the project again with its texts."
        )
    meanings, unknown = _meanings(project, codebook, code_map or {})
    used = {
        coding.code
        for source in project.sources
        for selection in source.selections
        for coding in selection.codings
        if coding.coder in taken
    }
    names = [name for guid, name in unknown.items() if guid in used]
    if names:
        raise UnknownCodeError(
            [
                f"{path}: {len(names)} {'code is' if len(names) == 1 else 'codes are'} not in the codebook "
                f"'{codebook.name}': {listed(names, 40)}; say what they are in a file for --map, each as "
                "'name in the project: dimension.code', or as 'name: null' to pass it over"
            ]
        )
    dimensions = [d for d in codebook.dimensions if any(meant and meant[0] == d.id for meant in meanings.values())]
    found = [
        item
        for name, source in _documents(project)
        for guid in _coders_of(source, taken)
        for item in _coded(path, name, source, guid, taken[guid], meanings, dimensions)
    ]
    if not found:
        raise InputError(f"Nothing is coded in the texts of {path}.")
    return found


def read_code_map(path: str | Path, codebook: Codebook) -> CodeMap:
    """Read what the codes of a project are in a codebook.

    Args:
        path: A YAML file with a line for each code: its name in the project, or the names from the top down to its own
            with `` > `` between, and after a colon ``dimension.code``, or ``null`` to pass it over.
        codebook: The codebook.

    Raises:
        InputError: if the file cannot be read, or is of another form.
        UnknownCodeError: if codes in it are not in the codebook; all are named.
    """
    data, problems = codebook_file.read(Path(path))
    if problems:
        raise InputError(f"{path}: {problems[0]}.")
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: each line must be the name of a code in the project, a colon, and dimension.code.")
    names = Names(codebook)
    found: dict[str, tuple[str, str] | None] = {}
    unknown = []
    for key, value in data.items():
        if not isinstance(value, str | None):
            raise InputError(f"{path}: {shown(str(key))} must be followed by dimension.code, or by null.")
        meant = None if value is None else names.find(value)
        if value is not None and meant is None:
            unknown.append(value)
        found[folded(str(key))] = meant
    if unknown:
        raise UnknownCodeError([f"{path}: {listed(unknown, 40)}: no such code in the codebook '{codebook.name}'"])
    return found


def meaning_of(
    path: tuple[str, ...], code: ProjectCode, codebook: Codebook, names: Names, code_map: CodeMap
) -> tuple[bool, tuple[str, str] | None]:
    """What a code of a project is in a codebook.

    Args:
        path: The names from the top of the project's codebook down to the code's.
        code: The code.
        codebook: The codebook.
        names: The names of the codebook.
        code_map: What is said of the codes of the project.

    Returns:
        Whether it is known; and dimension id and code id, None where it is to be passed over.
    """
    for name in (" > ".join(path), code.name):
        if folded(name) in code_map:
            return True, code_map[folded(name)]
    for dimension in codebook.dimensions:
        for known in dimension.codes:
            if code.guid == code_guid(codebook, dimension.id, known.id):
                return True, (dimension.id, known.id)
    candidates = [code.name, f"{path[0]}.{code.name}"]
    if code.name.endswith(")") and " (" in code.name:  # as a name that is not unique is written
        name, _, dimension_name = code.name[:-1].rpartition(" (")
        candidates.append(f"{dimension_name}.{name}")
    for candidate in candidates:
        found = names.find(candidate)
        if found is not None:
            return True, found
    return False, None


def _meanings(
    project: Project, codebook: Codebook, code_map: CodeMap
) -> tuple[dict[str, tuple[str, str] | None], dict[str, str]]:
    """Guid to what the code is, for those that are known; guid to name for the others."""
    names = Names(codebook)
    meanings: dict[str, tuple[str, str] | None] = {}
    unknown: dict[str, str] = {}
    for path, code in project.walk_codes():
        known, meant = meaning_of(path, code, codebook, names, code_map)
        if known:
            meanings[normal_guid(code.guid)] = meant
        else:
            unknown[normal_guid(code.guid)] = code.name
    return meanings, unknown


def _documents(project: Project) -> Iterator[tuple[str, Source]]:
    """The sources with names of which each is one only."""
    taken: set[str] = set()
    for source in project.sources:
        name, number = source.name, 1
        while name in taken:
            number += 1
            name = f"{source.name} ({number})"
        taken.add(name)
        yield name, source


def _coders_of(source: Source, taken: Iterable[str]) -> list[str]:
    """Guids of the coders to be taken who coded in a source, in the order of their first coding."""
    found = dict.fromkeys(coding.coder for selection in source.selections for coding in selection.codings)
    return [guid for guid in found if guid in set(taken)]


def _coded(
    path: str | Path,
    name: str,
    source: Source,
    coder: str,
    coder_name: str | None,
    meanings: Mapping[str, tuple[str, str] | None],
    dimensions: list[Dimension],
) -> Iterator[CodedExcerpt]:
    """What one coder coded in one source."""
    text = source.text or ""
    turns = find_turns(text)
    given: list[set[tuple[str, str]]] = [set() for _ in turns]
    within: set[int] = set()
    starts = [turn.start for turn in turns]
    for selection in source.selections:
        meant = {meanings.get(coding.code) for coding in selection.codings if coding.coder == coder} - {None}
        if not meant:
            continue
        at = max(0, bisect_right(starts, selection.start) - 1)
        while at < len(turns) and turns[at].start < selection.end:
            turn = turns[at]
            overlap = min(turn.end, selection.end) - max(turn.start, selection.start)
            if overlap > 0 and 2 * overlap >= min(turn.end - turn.start, selection.end - selection.start):
                given[at] |= {code for code in meant if code is not None}
                if turn.start <= selection.start and selection.end <= turn.end + 1:
                    within.add(at)
            at += 1
    for at, turn in enumerate(turns):
        if _asks(turn) and at not in within:
            continue
        row = unless_blank(_excerpt(name, text, at + 1, turn))
        if isinstance(row, Unscorable):
            continue
        codes = {}
        for dimension in dimensions:
            in_order = dimension.in_order(code for of, code in given[at] if of == dimension.id)
            if dimension.exclusive and len(in_order) > 1:
                raise CodedDataError(
                    [
                        f"{path}, source {shown(name)}, turn {at + 1}: an excerpt carries one code of "
                        f"'{dimension.id}' at most, and this has {listed(in_order)}"
                    ]
                )
            if in_order or dimension.optional:
                codes[dimension.id] = in_order
        yield CodedExcerpt(row, codes, coder_name)


def _asks(turn: Turn) -> bool:
    return turn.speaker is not None and folded(turn.speaker).partition(" ")[0] in _ASKING


def _excerpt(name: str, text: str, number: int, turn: Turn) -> Excerpt | Unscorable:
    return excerpt(
        text[turn.start : turn.end],
        document=name,
        speaker=turn.speaker,
        turn=number,
        start=turn.start,
        end=turn.end,
    )

"""Parts of held-out documents on which figures stand apart: kinds of text, and what cue words alone cannot code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tl_classifier.excerpts import CodedExcerpt, Excerpt, Prediction
from training.data import corpus_splits

Coded = list[CodedExcerpt]
Coder = Callable[[Sequence[Excerpt]], list[Prediction]]

TRANSCRIPTS, QUOTATIONS = "transcripts", "quotations"
REFLECTIVE, ORDINARY = "reflective writing", "ordinary talk"
WITHOUT_CUES, CUES_ONLY = "without cue words", "cue words without the code"

_KINDS = {"exr": REFLECTIVE, "exn": ORDINARY, "oth": ORDINARY}
"""Kinds by the beginning of a document's name; others that begin with ``ex`` are like printed quotations."""


def slices(name: str, coded: Coded, cue_words: Coder | None = None) -> dict[str, Coded]:
    """The parts of held-out data, each named ``name, part``; those that are empty are left out.

    Args:
        name: Of the data; the kinds of text are told apart in the splits of the shipped corpus alone.
        coded: The data.
        cue_words: What codes by cue words; None leaves out the parts that need it.

    Returns:
        Kinds of text, and of the data and of the two main kinds of text what cue words alone do not code.
    """
    kinds = kinds_of_text(coded) if name.removeprefix("corpus:") in corpus_splits() else {}
    found = dict(kinds)
    if cue_words is not None:
        found |= hard_slices(cue_words, coded)
        for kind in (TRANSCRIPTS, QUOTATIONS):
            if some := kinds.get(kind):
                found |= {f"{kind}, {part}": hard for part, hard in hard_slices(cue_words, some).items()}
    return {f"{name}, {part}": some for part, some in found.items() if some}


def kinds_of_text(coded: Coded) -> dict[str, Coded]:
    """Excerpts of the shipped corpus by what their document is like.

    Returns:
        ``transcripts``: whole invented interviews and focus groups; ``quotations``: stand-alone excerpts written to be
        like the ones that articles print; ``reflective writing``: diaries and portfolios; ``ordinary talk``: turns of
        interviews about something else.
    """
    found: dict[str, Coded] = {TRANSCRIPTS: [], QUOTATIONS: [], REFLECTIVE: [], ORDINARY: []}
    for one in coded:
        document = one.excerpt.document or ""
        kind = _KINDS.get(document[:3]) or (QUOTATIONS if document.startswith("ex") else TRANSCRIPTS)
        found[kind].append(one)
    return found


def hard_slices(cue_words: Coder, coded: Coded) -> dict[str, Coded]:
    """What cannot be coded by cue words: two parts of coded data, each dimension by itself.

    Args:
        cue_words: What codes by cue words, in all dimensions of the data.
        coded: The data.

    Returns:
        ``without cue words``: excerpts with a code that cue words miss; ``cue words without the code``: excerpts to
        which they give a code that they do not carry. An excerpt has the codes of those dimensions alone in which it
        is one of them.
    """
    missed: Coded = []
    hit: Coded = []
    for prediction, one in zip(cue_words([one.excerpt for one in coded]), coded, strict=True):
        given: Mapping[str, tuple[set[str], set[str]]] = {
            d: (set(prediction.codes[d]), set(codes)) for d, codes in one.codes.items()
        }
        for part, apart in (
            (missed, [d for d, (found, truth) in given.items() if truth - found]),
            (hit, [d for d, (found, truth) in given.items() if found - truth]),
        ):
            if apart:
                part.append(replace(one, codes={d: one.codes[d] for d in apart}))
    return {WITHOUT_CUES: missed, CUES_ONLY: hit}

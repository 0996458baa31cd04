"""Coded excerpts to what a model trains on: the shipped corpus and its splits, joined turns, labels, datasets."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import resources
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from tl_classifier.codebook import Codebook
from tl_classifier.corpus.coded import read_coded
from tl_classifier.corpus.refi.codings import read_code_map
from tl_classifier.errors import InputError
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from tl_classifier.preprocessing import Preprocessor, Window

Split = Literal["train", "validation", "test", "unseen", "ordinary"]
CORPUS = Path(str(resources.files("training"))) / "corpus"
INTERVIEWER = "INT"
"""Who asks, in the shipped corpus."""


def corpus_splits() -> dict[str, list[str]]:
    """The fixed splits of the shipped corpus: split name to document names."""
    data = json.loads((CORPUS / "splits.json").read_text("utf-8"))
    return {name: documents for name, documents in data.items() if name != "about"}


def load_corpus(split: Split, codebook: Codebook) -> list[CodedExcerpt]:
    """The participants' turns of one split of the shipped corpus, with their questions, in order of document and turn.

    Raises:
        CodebookError: if `codebook` lacks a code of the corpus.
    """
    files = {path.stem: path for folder in ("transcripts", "excerpts") for path in (CORPUS / folder).glob("*.jsonl")}
    chosen = [files[document] for document in corpus_splits()[split]]
    questions = {path.stem: _questions(path) for path in chosen}

    def answering(excerpt: Excerpt) -> Excerpt:
        return replace(excerpt, context=questions[excerpt.document or ""].get(excerpt.turn or 0))

    return [replace(one, excerpt=answering(one.excerpt)) for one in read_coded(chosen, codebook)]


def _questions(path: Path) -> dict[int, str]:
    """What the interviewer says just before a participant's turn, by the number of that turn."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {
        row["turn"]: before["text"]
        for before, row in pairwise(rows)
        if before["speaker"] == INTERVIEWER and row["speaker"] != INTERVIEWER
    }


def read_own(files: Sequence[Path], codebook: Codebook, code_map: Path | None = None) -> list[CodedExcerpt]:
    """Coded data of the user's.

    Raises:
        InputError: if a file cannot be used.
        CodebookError: if it has codes that the codebook lacks, and the map does not name.
    """
    return read_coded(files, codebook, code_map=read_code_map(code_map, codebook) if code_map else None)


def read_parts(names: Sequence[str], codebook: Codebook, code_map: Path | None = None) -> dict[str, list[CodedExcerpt]]:
    """Coded data as the user names it: ``corpus:test`` and the like apart, all files together as ``own data``.

    Args:
        names: Files, and parts of the corpus.
        codebook: What is coded.
        code_map: For projects, a file that says what their codes are.

    Raises:
        InputError: if there is no such part of the corpus, or a file cannot be used.
    """
    parts: dict[str, list[CodedExcerpt]] = {}
    files = []
    for name in names:
        prefix, _, part = name.partition(":")
        if prefix != "corpus":
            files.append(Path(name))
        elif part in get_args(Split):
            parts[name] = load_corpus(part, codebook)  # type: ignore[arg-type]
        else:
            raise InputError(f"{name}: the shipped corpus has the parts {', '.join(get_args(Split))}.")
    if files:
        parts["own data"] = read_own(files, codebook, code_map)
    return parts


def labels_of(coded: CodedExcerpt, codebook: Codebook) -> npt.NDArray[np.float32]:
    """Labels, shape (outputs,): 1 for a code given, 0 for one not given, NaN in a dimension that was not coded."""
    labels = np.full(codebook.outputs, np.nan, dtype=np.float32)
    for dimension in codebook.dimensions:
        given = coded.codes.get(dimension.id)
        if given is None:
            continue
        row = [code in given for code in dimension.code_ids]
        if dimension.outputs > len(dimension.codes):
            row.append(not given)
        labels[codebook.slices[dimension.id]] = row
    return labels


def label_matrix(coded: Sequence[CodedExcerpt], codebook: Codebook) -> npt.NDArray[np.float32]:
    """`labels_of` for many, shape (excerpts, outputs)."""
    if not coded:
        return np.empty((0, codebook.outputs), dtype=np.float32)
    return np.stack([labels_of(one, codebook) for one in coded])


def join_turns(
    coded: Sequence[CodedExcerpt], codebook: Codebook, time: int = 0, *, longest: int = 160
) -> list[CodedExcerpt]:
    """Longer excerpts made of neighbouring turns of a speaker, with the union of their codes.

    Each document's turns are cut at random into runs of two or three; a run is joined if its turns are by one
    speaker and have `longest` words together at most. It teaches several codes at once, and to leave the words
    around a code alone. Excerpts without a document, or coded in an exclusive dimension, are left as they are.

    Args:
        coded: The turns, those of a document side by side.
        codebook: What is coded.
        time: Another number gives other runs; the same one always the same.
        longest: Most words.
    """
    joined = []
    for _, group in groupby(coded, key=lambda one: one.excerpt.document):
        turns = list(group)
        if turns[0].excerpt.document is None:
            continue
        rng = random.Random(f"{time} {turns[0].excerpt.text}")
        at = 0
        while at < len(turns):
            run = turns[at : at + rng.choice((2, 2, 3))]
            at += len(run)
            words = sum(len(one.excerpt.text.split()) for one in run)
            if len(run) > 1 and words <= longest and len({one.excerpt.speaker for one in run}) == 1:
                joined.append(_joined(run, codebook))
    return joined


def _joined(run: Sequence[CodedExcerpt], codebook: Codebook) -> CodedExcerpt:
    first = run[0].excerpt
    codes = {
        dimension.id: dimension.in_order(code for one in run for code in one.codes[dimension.id])
        for dimension in codebook.dimensions
        if not dimension.exclusive and all(dimension.id in one.codes for one in run)
    }
    text = " ".join(one.excerpt.text for one in run)
    return CodedExcerpt(replace(first, text=text), codes)


def to_dataset(
    coded: Sequence[CodedExcerpt],
    codebook: Codebook,
    preprocessor: Preprocessor,
    labels: npt.NDArray[np.float32] | None = None,
) -> Dataset:
    """A `datasets.Dataset` of what is trained on.

    Its columns: `windows` (lists of token ids), `alone` (the same, without their context), `labels` and `length`
    (tokens of the longest window).

    Args:
        coded: One row each.
        codebook: Its labels are learnt.
        preprocessor: The model's.
        labels: Shape (excerpts, outputs); None for those of `coded`.
    """
    texts = [one.excerpt.text for one in coded]
    windows = _ids(preprocessor.windows(texts, [one.excerpt.context for one in coded]))
    return Dataset.from_dict(
        {
            "windows": windows,
            "alone": _ids(preprocessor.windows(texts)),
            "labels": (label_matrix(coded, codebook) if labels is None else labels).tolist(),
            "length": [max(map(len, ws)) for ws in windows],
        }
    )


def _ids(windows: list[list[Window]]) -> list[list[list[int]]]:
    return [[list(window.ids) for window in of_text] for of_text in windows]


def collator(
    pad_id: int,
    *,
    mask_id: int | None = None,
    masked: float = 0.0,
    separator: int = -1,
    alone: float = 0.0,
    seed: int = 0,
) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """A function that makes a batch of `to_dataset` rows: windows side by side, padded to the longest.

    Args:
        pad_id: The tokenizer's padding token.
        mask_id: Its mask token.
        masked: In training, this share of the tokens is replaced by the mask token, another choice each time: no
            single cue word can be relied on.
        separator: The token that ends a text, which is never masked.
        alone: In training, this share of the excerpts is shown without its context, other ones each time: the context
            stays optional.
        seed: Of those choices.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        left_alone = torch.rand(len(rows), generator=generator) < alone
        chosen_windows = [row["alone" if bare else "windows"] for row, bare in zip(rows, left_alone, strict=True)]
        windows = [window for of_row in chosen_windows for window in of_row]
        longest = -(-max(map(len, windows)) // 8) * 8  # few different shapes: kernels are made for each
        ids = torch.full((len(windows), longest), pad_id, dtype=torch.long)
        mask = torch.zeros((len(windows), longest), dtype=torch.long)
        for i, window in enumerate(windows):
            ids[i, : len(window)] = torch.tensor(window)
            mask[i, : len(window)] = 1
        if masked and mask_id is not None:
            chosen = torch.rand(ids.shape, generator=generator) < masked
            chosen[:, 0] = False  # the encoder's own token
            chosen &= mask.bool() & (ids != separator)
            ids[chosen] = mask_id
        owners = [i for i, of_row in enumerate(chosen_windows) for _ in of_row]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "window_excerpt": torch.tensor(owners),
            "labels": torch.tensor([row["labels"] for row in rows], dtype=torch.float32),
        }

    return collate


def fingerprint(coded: Iterable[CodedExcerpt]) -> str:
    """What data a model was trained on, as 16 hexadecimal digits: texts, contexts and codes, in order."""
    digest = hashlib.sha256()
    for one in coded:
        codes = {dimension: list(codes) for dimension, codes in sorted(one.codes.items())}
        digest.update(
            json.dumps([one.excerpt.text, one.excerpt.context, codes], ensure_ascii=False).encode(
                "utf-8", "surrogatepass"
            )
        )
    return digest.hexdigest()[:16]

"""What a small model learns from a larger one: its probabilities, on coded excerpts and on uncoded pieces of them.

Hinton, Vinyals and Dean (2015), "Distilling the knowledge in a neural network". The teacher's probabilities say more
than codes do - how near a miss was - and they can be had for text that nobody coded.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Decoding, pool_windows
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from tl_classifier.preprocessing import Preprocessor, is_blank
from tl_classifier.runtimes.batches import pad
from training.data import join_turns
from training.model import ExcerptModel

TEACHER_SHARE = 0.5
"""How much of a coded excerpt's label is the teacher's probability; the rest is the coder's word."""


def examples(coded: Sequence[CodedExcerpt], codebook: Codebook, joins: int, *, uncoded: bool) -> list[CodedExcerpt]:
    """What is trained on: the coded excerpts, and what is made of them.

    The same is made of the same excerpts whatever else is trained on, so that a teacher's word for it can be kept.

    Args:
        coded: The coded excerpts.
        codebook: What is coded.
        joins: How many times neighbouring turns are joined anew.
        uncoded: Whether to add `pieces`, for a teacher to code.
    """
    found = [*coded, *(one for time in range(joins) for one in join_turns(coded, codebook, time))]
    return found + pieces(coded) if uncoded else found


def pieces(coded: Sequence[CodedExcerpt]) -> list[CodedExcerpt]:
    """One run of sentences out of each excerpt that has several, uncoded: it shows which words carry a code."""
    found = []
    for one in coded:
        sentences = re.split(r"(?<=[.?!])\s+", one.excerpt.text)
        if len(sentences) > 1:
            rng = random.Random(one.excerpt.text)
            length = rng.randint(1, len(sentences) - 1)
            first = rng.randint(0, len(sentences) - length)
            piece = replace(one.excerpt, text=" ".join(sentences[first : first + length]))
            if not is_blank(piece.text):
                found.append(CodedExcerpt(piece, {}))
    return found


def teach(
    labels: npt.NDArray[np.float32], teacher: npt.NDArray[np.float64], share: float = TEACHER_SHARE
) -> npt.NDArray[np.float32]:
    """Labels to learn from: coders' and teacher's mixed where there are both, else what there is.

    Args:
        labels: Shape (excerpts, outputs); NaN where not coded.
        teacher: The same shape: the teacher's probabilities; NaN where it was not asked.
        share: The teacher's part.
    """
    mixed = (1 - share) * labels + share * teacher
    mixed = np.where(np.isnan(labels), teacher, mixed)
    return np.where(np.isnan(teacher), labels, mixed).astype(np.float32)


def probabilities(
    model: ExcerptModel, preprocessor: Preprocessor, excerpts: Sequence[Excerpt], codebook: Codebook, *, pad_id: int
) -> npt.NDArray[np.float64]:
    """A torch model's probabilities, uncalibrated, shape (excerpts, outputs)."""
    windows = preprocessor.windows([e.text for e in excerpts], [e.context for e in excerpts])
    flat = [window.ids for of_text in windows for window in of_text]
    order = sorted(range(len(flat)), key=lambda i: len(flat[i]))
    device = next(model.parameters()).device
    logits = np.empty((len(flat), codebook.outputs))
    model.eval()
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        ids, mask = (torch.from_numpy(array).to(device) for array in pad([flat[i] for i in batch], pad_id))
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            logits[batch] = model.window_logits(ids, mask).float().cpu().numpy()
    pooled = pool_windows(logits, [len(of_text) for of_text in windows], codebook)
    plain = Decoding.uncalibrated(codebook)
    return np.concatenate(
        [plain.dimensions[d.id].probabilities(pooled[:, codebook.slices[d.id]], d) for d in codebook.dimensions], axis=1
    )

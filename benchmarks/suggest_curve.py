"""What `suggest` is worth: macro-F1 by number of coded excerpts, chosen by it and at random.

python -m benchmarks.suggest_curve [--seeds 10] [--largest 400] [--base default]

A simulation on the shipped (synthetic) corpus, whose codes are all known. A few excerpts are drawn at random and
"coded"; then, over and over, heads are trained on what is coded (logistic regressions on the features of an encoder
that stays as it is), a strategy chooses the next excerpts from the rest of the pool, and macro-F1 is measured on
documents that are no part of it. The encoder of the shipped model has learnt from the training documents, so its pool
is those that it has never seen.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import CodedExcerpt
from tl_classifier.suggestion import AtRandom, MostDoubtful, Pool, Strategy, Telling, codes_of
from training.bases import find_base
from training.calibration import expected_f1_threshold
from training.data import load_corpus

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CODEBOOK = Codebook.default()
CODES = codes_of(CODEBOOK)


def embed(base: str, texts: Sequence[str]) -> Floats:
    """Mean features of texts by an encoder as it is, shape (texts, width)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(find_base(base).path)
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = np.empty((len(texts), encoder.config.hidden_size))
    order = np.argsort([len(text) for text in texts])
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        tokens = tokenizer(
            [texts[i] for i in batch], truncation=True, max_length=256, padding=True, return_tensors="pt"
        )
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            hidden = encoder(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"].unsqueeze(-1)
        found[batch] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    return found


def fitted(features: Floats, labels: Bools, *others: Floats) -> list[Floats]:
    """Probabilities of the codes, shape (excerpts, codes), for each of `others`, by heads trained on `features`."""
    columns: list[list[Floats]] = [[] for _ in others]
    for truth in labels.T:
        if truth.any() and not truth.all():
            head = LogisticRegression(C=0.1, max_iter=500).fit(features, truth)
            scores = [head.predict_proba(other)[:, 1] for other in others]
        else:
            scores = [np.full(len(other), (truth.sum() + 0.5) / (len(truth) + 1)) for other in others]
        for column, score in zip(columns, scores, strict=True):
            column.append(score)
    return [np.stack(column, axis=1) for column in columns]


def macro_f1(truth: Bools, given: Bools) -> float:
    """Mean over the dimensions of macro-F1."""
    f1 = 2 * (truth & given).sum(axis=0) / np.maximum(truth.sum(axis=0) + given.sum(axis=0), 1)
    of = np.array([dimension for dimension, _ in CODES])
    return float(np.mean([f1[of == dimension.id].mean() for dimension in CODEBOOK.dimensions]))


def labels_of(coded: Sequence[CodedExcerpt]) -> Bools:
    return np.array([[code in one.codes[dimension] for dimension, code in CODES] for one in coded])


def curve(
    strategy: Strategy,
    pool: Sequence[CodedExcerpt],
    features: Floats,
    held_out: tuple[Floats, Bools],
    sizes: Sequence[int],
    seed: int,
) -> list[float]:
    """Macro-F1 at each of `sizes`; the first excerpts are drawn at random."""
    labels = labels_of(pool)
    coded = AtRandom(seed).choose(_pool(pool, range(len(pool)), labels.astype(np.float64) * 0.5), sizes[0])
    found = []
    for size, following in zip(sizes, [*sizes[1:], None], strict=True):
        assert len(coded) == size
        of_pool, of_held_out = fitted(features[coded], labels[coded], features, held_out[0])
        thresholds = np.array([expected_f1_threshold(p, np.ones(len(p))) for p in of_pool.T])
        found.append(macro_f1(held_out[1], of_held_out >= thresholds))
        if following is not None:
            rest = np.setdiff1d(np.arange(len(pool)), coded)
            left = _pool(pool, rest, of_pool[rest], thresholds, labels[coded].sum(axis=0), coded)
            coded = coded + [int(rest[i]) for i in strategy.choose(left, following - size)]
    return found


def _pool(
    coded: Sequence[CodedExcerpt],
    rows: Sequence[int] | range | npt.NDArray[np.int64],
    probabilities: Floats,
    thresholds: Floats | None = None,
    support: Floats | None = None,
    known: Sequence[int] = (),
) -> Pool:
    return Pool(
        texts=[coded[i].excerpt.text for i in rows],
        documents=[coded[i].excerpt.document for i in rows],
        probabilities=probabilities,
        thresholds=np.full(len(CODES), 0.5) if thresholds is None else thresholds,
        support=support,
        coded=[coded[i].excerpt.text for i in known],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how often each curve is drawn")
    parser.add_argument("--first", type=int, default=25, help="excerpts drawn at random before any is chosen")
    parser.add_argument("--step", type=int, default=25, help="excerpts chosen at a time")
    parser.add_argument("--largest", type=int, default=400)
    parser.add_argument("--base", default="default", help="encoder, as 'train --base' takes it")
    parser.add_argument("--pool", nargs="+", default=["test", "unseen"], help="parts of the corpus to choose from")
    parser.add_argument("--held-out", default="validation", help="part of the corpus to measure on")
    parser.add_argument("--features", type=Path, help="file (.npz) that keeps the features for the next run")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")

    pool = [one for part in given.pool for one in load_corpus(part, CODEBOOK)]
    held_out = load_corpus(given.held_out, CODEBOOK)
    texts = [one.excerpt.text for one in (*pool, *held_out)]
    if given.features and given.features.exists():
        features = np.load(given.features)["features"]
    else:
        features = embed(given.base, texts)
        if given.features:
            np.savez(given.features, features=features)
    if len(features) != len(texts):
        parser.error(f"{given.features} holds features of other excerpts; delete it")
    features = (features - features[: len(pool)].mean(axis=0)) / features[: len(pool)].std()

    sizes = list(range(given.first, given.largest + 1, given.step))
    measured: dict[str, npt.NDArray[np.float64]] = {}
    for name in ("at random", "most doubtful", "suggest"):
        curves = []
        for seed in range(given.seeds):
            strategies: dict[str, Strategy] = {
                "at random": AtRandom(seed),
                "most doubtful": MostDoubtful(),
                "suggest": Telling(),
            }
            test = (features[len(pool) :], labels_of(held_out))
            curves.append(curve(strategies[name], pool, features[: len(pool)], test, sizes, seed))
        measured[name] = np.array(curves)

    table = Table("coded excerpts", *measured, title=f"macro-F1 on '{given.held_out}', mean of {given.seeds} (s.e.)")
    for at, size in enumerate(sizes):
        cells = (f"{c[:, at].mean():.3f} ({c[:, at].std() / np.sqrt(len(c)):.3f})" for c in measured.values())
        table.add_row(str(size), *cells)
    Console(width=100).print(table)
    goal = float(measured["at random"][:, -1].mean())
    for name, curves_ in measured.items():
        reached = next((size for size, f1 in zip(sizes, curves_.mean(axis=0), strict=True) if f1 >= goal), None)
        print(f"{name}: reaches the {goal:.3f} of {sizes[-1]} at random with {reached or f'more than {sizes[-1]}'}")


if __name__ == "__main__":
    main()

"""Heads that start from the encoder as it comes.

Fine-tuning from random heads first bends the encoder's features to the heads' noise; heads that are already fitted
to them leave the features as they are at the start, and carry over better to other speech (Kumar et al. 2022,
"Fine-tuning can distort pretrained features").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from tl_classifier.excerpts import Excerpt
from tl_classifier.preprocessing import Preprocessor
from tl_classifier.runtimes.batches import pad
from training.model import ExcerptModel

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]

START = 0.1
"""How firmly heads follow the examples where fine-tuning goes on from them (see `fit_heads`)."""

NEARBY = 0.003
"""How firmly heads that are fitted already follow new examples (see `refit_heads`)."""


def embeddings(model: ExcerptModel, preprocessor: Preprocessor, *, pad_id: int) -> Embed:
    """A function from texts to the mean features of their windows, shape (texts, width), by the encoder as it is."""

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return features_of(model, preprocessor, [Excerpt(text) for text in texts], pad_id=pad_id)

    return embed


def features_of(
    model: ExcerptModel, preprocessor: Preprocessor, excerpts: Sequence[Excerpt], *, pad_id: int
) -> npt.NDArray[np.float32]:
    """Mean features of the windows of excerpts, read with their context; shape (excerpts, width)."""
    windows = preprocessor.windows([one.text for one in excerpts], [one.context for one in excerpts])
    order = sorted(range(len(excerpts)), key=lambda i: len(windows[i][0].ids))
    device = next(model.parameters()).device
    found = np.empty((len(excerpts), int(model.encoder.config.hidden_size)), dtype=np.float32)
    model.eval()
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        flat = [window.ids for i in batch for window in windows[i]]
        owner = np.array([i for i in batch for _ in windows[i]])
        ids, mask = (torch.from_numpy(array).to(device) for array in pad(flat, pad_id))
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            features = model.features(ids, mask).float().cpu().numpy()
        for i in batch:
            found[i] = features[owner == i].mean(axis=0)
    return found


def fit_heads(
    model: ExcerptModel,
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    *,
    firmness: float = START,
    weights: npt.NDArray[np.float64] | None = None,
) -> None:
    """Set the heads to logistic regressions on `features`.

    A head for which there is nothing to tell apart is left as it is.

    Args:
        model: Its heads are set in place.
        features: Shape (excerpts, width), of the encoder as it is.
        labels: Shape (excerpts, outputs); NaN in a dimension that was not coded.
        firmness: Inverse strength of the regularisation, as scikit-learn's `C`, for features of unit variance.
        weights: Shape (excerpts,): how much each excerpt counts.
    """
    center, scale = features.mean(axis=0), float(features.std())
    scaled = (features - center) / scale

    def fitted(rows: npt.NDArray[np.bool_], truth: npt.NDArray[Any]) -> LogisticRegression:
        regression = LogisticRegression(C=firmness, max_iter=1000)
        return regression.fit(scaled[rows], truth, None if weights is None else weights[rows])

    def put(head: torch.nn.Linear, row: int, coefficients: npt.NDArray[np.float64], intercept: float) -> None:
        weight = coefficients / scale
        head.weight[row] = torch.from_numpy(weight)
        head.bias[row] = float(intercept - weight @ center)

    with torch.no_grad():
        for dimension, head in zip(model.codebook.dimensions, model.linear_heads(), strict=True):
            part = labels[:, model.codebook.slices[dimension.id]]
            coded: npt.NDArray[np.bool_] = np.asarray(~np.isnan(part).any(axis=1))
            if not coded.any():
                continue
            if dimension.exclusive:
                classes = part[coded].argmax(axis=1)
                if len(set(classes.tolist())) > 2:  # of two classes, the regression gives one row of coefficients
                    regression = fitted(coded, classes)
                    for row, coefficients, intercept in zip(
                        regression.classes_, regression.coef_, regression.intercept_, strict=True
                    ):
                        put(head, int(row), coefficients, intercept)
                    continue
            for row in range(head.out_features):
                truth = part[coded, row] > 0.5
                if 0 < truth.sum() < len(truth):
                    regression = fitted(coded, truth)
                    put(head, row, regression.coef_[0], regression.intercept_[0])


def refit_heads(
    model: ExcerptModel,
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    *,
    firmness: float = NEARBY,
) -> None:
    """Move heads that are fitted already towards new examples, no further than these call for.

    They end where the loss on the examples and the squared distance from where they were, over `firmness`, are least
    together: a few dozen examples cannot make them forget what they were fitted to before.

    Args:
        model: Its heads are moved in place.
        features: Shape (excerpts, width), of the encoder as it is.
        labels: Shape (excerpts, outputs); NaN in a dimension that was not coded.
        firmness: How firmly they follow the examples, for features of unit variance.
    """
    device = next(model.parameters()).device
    scale = float(features.std())
    given, target = torch.from_numpy(features).to(device), torch.from_numpy(labels).to(device)
    heads = model.linear_heads()
    moved = [parameter for head in heads for parameter in (head.weight, head.bias)]
    origin = [parameter.detach().clone() for parameter in moved]
    optimizer = torch.optim.LBFGS(moved, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model.loss(torch.cat([head(given) for head in heads], dim=1), target) * len(features)
        for now, before in zip(moved, origin, strict=True):
            distance = (now - before) * (scale if now.ndim > 1 else 1.0)
            loss = loss + (distance**2).sum() / (2 * firmness)
        loss.backward()
        return loss

    optimizer.step(closure)

"""Heads that start from the encoder as it comes.

Fine-tuning from random heads first bends the encoder's features to the heads' noise; heads that are already fitted
to them leave the features as they are at the start, and carry over better to other speech (Kumar et al. 2022,
"Fine-tuning can distort pretrained features").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from tl_classifier.preprocessing import Preprocessor
from tl_classifier.runtimes.openvino import pad
from training.model import ExcerptModel

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]


def embeddings(model: ExcerptModel, preprocessor: Preprocessor, *, pad_id: int) -> Embed:
    """A function from texts to the mean features of their windows, shape (texts, width), by the encoder as it is."""

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        windows = preprocessor.windows(texts)
        order = sorted(range(len(texts)), key=lambda i: len(windows[i][0].ids))
        device = next(model.parameters()).device
        found = np.empty((len(texts), int(model.encoder.config.hidden_size)), dtype=np.float32)
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

    return embed


def start_heads(model: ExcerptModel, features: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> None:
    """Set the heads to logistic regressions on `features`.

    Args:
        model: Its heads are set in place.
        features: Shape (excerpts, width), of the encoder as it is.
        labels: Shape (excerpts, outputs); NaN in a dimension that was not coded.
    """
    center, scale = features.mean(axis=0), float(features.std())
    scaled = (features - center) / scale
    column = 0
    with torch.no_grad():
        for head in model.linear_heads():
            for row in range(head.out_features):
                truth = labels[:, column]
                column += 1
                coded = ~np.isnan(truth)
                if len(set((truth[coded] > 0.5).tolist())) < 2:
                    continue  # nothing to tell apart: the head keeps its random start
                regression = LogisticRegression(C=0.1, max_iter=1000).fit(scaled[coded], truth[coded] > 0.5)
                weight = regression.coef_[0] / scale
                head.weight[row] = torch.from_numpy(weight)
                head.bias[row] = float(regression.intercept_[0] - weight @ center)

"""What is trained: an encoder with heads, its tokenizer and its preprocessing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoTokenizer

from tl_classifier.bundle import DEFAULT_BUNDLE, MANIFEST, Bundle
from tl_classifier.codebook import Codebook
from tl_classifier.errors import BundleError
from tl_classifier.excerpts import Excerpt
from tl_classifier.preprocessing import VERSION, Preprocessor
from tl_classifier.registry import Registry, resolve
from tl_classifier.runtimes.batches import LENGTH_STEP
from training.bases import Base, find_base
from training.export import load_weights
from training.heads import embeddings, features_of
from training.model import ExcerptModel


@dataclass(frozen=True)
class Network:
    """An encoder with heads, and what belongs to it."""

    base: Base
    tokenizer: Any
    preprocessor: Preprocessor
    model: ExcerptModel

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding token."""
        return int(self.tokenizer.pad_token_id)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Features of texts by the encoder as it is, shape (texts, width)."""
        return embeddings(self.model, self.preprocessor, pad_id=self.pad_id)(texts)

    def features(self, excerpts: Sequence[Excerpt]) -> npt.NDArray[np.float32]:
        """The same for excerpts, which are read with their context."""
        return features_of(self.model, self.preprocessor, excerpts, pad_id=self.pad_id)


def open_network(base: Base, codebook: Codebook, folder: Path, *, dropout: float, seed: int) -> Network:
    """An encoder with new heads.

    Args:
        base: The encoder.
        codebook: Decides the heads.
        folder: Where the tokenizer's files can be written.
        dropout: Before the heads.
        seed: Of everything random from here on.
    """
    _seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(str(base.path))
    preprocessor = _preprocessor(tokenizer, folder)
    model = ExcerptModel.from_pretrained(str(base.path), codebook, separator=preprocessor.separator, dropout=dropout)
    return Network(base, tokenizer, preprocessor, model)


def reopen_network(base: Base, *, dropout: float, seed: int) -> Network:
    """The network of a bundle with its heads, which reads as it was trained to read."""
    _seed(seed)
    bundle = Bundle.open(base.path)
    preprocessor = bundle.preprocessor()
    model = ExcerptModel.from_pretrained(
        str(base.path), bundle.codebook, separator=preprocessor.separator, dropout=dropout
    )
    load_weights(model, base.path)
    return Network(base, AutoTokenizer.from_pretrained(str(base.path)), preprocessor, model)


def refinable(codebook: Codebook, named: str | None, registry: Registry) -> Base | None:
    """The model to go on from: one that codes with this codebook.

    Args:
        codebook: What is coded.
        named: What the user wants to start from, as `find_base` takes it; None for the champion, or, where that codes
            with another codebook, the model that ships.
        registry: Where the champion is.

    Raises:
        UserError: if what the user named is not found.
    """
    if named is not None:
        bases = [find_base(named)]
    else:
        champion = resolve(None, registry)
        bases = [find_base("default" if path == DEFAULT_BUNDLE else str(path)) for path in (champion, DEFAULT_BUNDLE)]
    for base in bases:
        if not (base.path / MANIFEST).is_file():
            continue
        bundle = Bundle.open(base.path)
        if bundle.codebook.fingerprint == codebook.fingerprint:
            return base if base.name == "default" else Base(f"{bundle.name}@{bundle.version}", base.path, base.sha256)
    return None


def parent(base: Base) -> str | None:
    """``name@version`` of the bundle that a base is; None where it is an encoder alone."""
    try:
        bundle = Bundle.open(base.path)
    except BundleError:
        return None
    return f"{bundle.name}@{bundle.version}"


def _preprocessor(tokenizer: Any, folder: Path) -> Preprocessor:
    """The one that the bundle will have, from the tokenizer file that it will have."""
    tokenizer.save_pretrained(str(folder))
    longest = min(256, int(tokenizer.model_max_length)) // LENGTH_STEP * LENGTH_STEP  # as windows are padded
    settings = {
        "version": VERSION,
        "max_tokens": longest,
        "overlap": longest // 4,
        "context_tokens": longest // 4 if tokenizer.sep_token_id is not None else 0,
    }
    return Preprocessor.from_file(folder / "tokenizer.json", settings)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

"""Excerpts in, predictions out: preprocessing, runtime and decoding of one bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_classifier.bundle import Bundle
from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Array, Decoding, pool_windows
from tl_classifier.errors import InputError
from tl_classifier.evidence import with_evidence
from tl_classifier.excerpts import Excerpt, Prediction
from tl_classifier.preprocessing import Preprocessor, is_blank
from tl_classifier.runtimes import Runtime, open_runtime


class Classifier:
    """A coder among coders: gives excerpts the codes of its codebook, with calibrated probabilities.

    >>> classifier = Classifier.load()                                                     # doctest: +SKIP
    >>> classifier.predict([Excerpt("Nobody had asked us that before. I was lost.")])      # doctest: +SKIP

    Args:
        codebook: What it codes with.
        preprocessor: Text to windows of token ids.
        runtime: Windows to logits.
        decoding: Logits to codes.
        name: Name of the model.
        version: Its version.
        info: What is known of it: the bundle's manifest without the list of files.
    """

    def __init__(
        self,
        codebook: Codebook,
        preprocessor: Preprocessor,
        runtime: Runtime,
        decoding: Decoding,
        *,
        name: str,
        version: str,
        info: dict[str, Any] | None = None,
    ) -> None:
        self.codebook = codebook
        self.preprocessor = preprocessor
        self.runtime = runtime
        self.decoding = decoding
        self.name = name
        self.version = version
        self.info = info or {}

    @classmethod
    def load(cls, bundle: str | Path | None = None, *, device: str = "auto", dtype: str = "auto") -> Classifier:
        """Load a bundle.

        Args:
            bundle: Its folder; None for the one that ships with the program.
            device: Where it runs, as `tl_classifier.runtimes.open_runtime` takes it.
            dtype: What is calculated in, likewise.

        Raises:
            BundleError: if the bundle is damaged or not for this version of the program.
            InputError: if there is no such device or dtype here.
        """
        opened = Bundle.open(bundle)
        return cls(
            opened.codebook,
            opened.preprocessor(),
            open_runtime(opened, device=device, dtype=dtype),
            opened.decoding,
            name=opened.name,
            version=opened.version,
            info={key: value for key, value in opened.manifest.items() if key != "files"},
        )

    @property
    def model(self) -> str:
        """``name@version``: how its codings are signed."""
        return f"{self.name}@{self.version}"

    def predict(
        self, excerpts: Sequence[Excerpt], *, evidence: bool = False, precision: float | None = None
    ) -> list[Prediction]:
        """Code a batch of excerpts, in their order.

        Args:
            excerpts: What to code.
            evidence: Say for each code given which sentence carries it; that takes several times as long.
            precision: Say for each code given whether it can be accepted unseen, so that this share of what is accepted
                is right; None to leave that open.

        Raises:
            InputError: if there is nothing to code in one of them (no letter or digit is left after cleaning), or the
                model was not fitted for that precision.
        """
        for number, excerpt in enumerate(excerpts, start=1):
            if is_blank(excerpt.text):
                raise InputError(f"Excerpt {number} has no words; leave it out.")
        found = self.decoding.predictions(self.logits(excerpts), self.codebook, self.model)
        if evidence:
            found = with_evidence(self, excerpts, found)
        return found if precision is None else self.decoding.review(found, self.codebook, precision)

    def logits(self, excerpts: Sequence[Excerpt]) -> Array:
        """Logits before calibration, shape (excerpts, outputs), windows pooled."""
        if not excerpts:
            return np.empty((0, self.codebook.outputs))
        windows = self.preprocessor.windows([e.text for e in excerpts], [e.context for e in excerpts])
        logits = self.runtime.logits([window.ids for of_text in windows for window in of_text])
        return pool_windows(logits, [len(of_text) for of_text in windows], self.codebook)

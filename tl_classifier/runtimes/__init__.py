"""Token ids to logits, on the hardware that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Runtime(Protocol):
    """What every runtime does."""

    device: str
    """What it runs on, for people to read."""

    def logits(self, windows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Logits of windows (at least one) of token ids, in their order, shape (windows, outputs); thread-safe."""
        ...

"""The CPU runtime: OpenVINO.

A bundle keeps the weights once, in ``model.safetensors``. The graph, ``graph.xml``, is OpenVINO's own format, in which
every constant is an offset into one block of bytes; here that block is ``model.safetensors`` followed by
``constants.bin``, which holds the constants that are no encoder weights.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tl_classifier.errors import BundleError

BATCH_TOKENS = 2048
"""Tokens, padding included, that go through the network at once."""

LENGTH_STEP = 16
"""Windows are padded to a multiple of this. OpenVINO keeps code and memory for every shape that it has met: with few
shapes that stays small, however large the corpus."""


def import_openvino() -> ModuleType:
    """Import openvino without its telemetry.

    On import, openvino reports to a web analytics service through the package openvino_telemetry unless somebody
    opted out. Nothing may leave the user's machine, so that package is made impossible to import; openvino then uses
    the empty stand-in that it has for that case.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    module: ModuleType = openvino
    return module


class OpenVINORuntime:
    """A bundle's graph, compiled for this CPU.

    Args:
        folder: The bundle's folder.
        pad_id: Token id to pad with.

    Raises:
        BundleError: if the graph cannot be compiled.
    """

    def __init__(self, folder: Path, *, pad_id: int) -> None:
        ov = import_openvino()
        self._pad_id = pad_id
        core = ov.Core()
        self.device = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
        try:
            model = core.read_model(*read_graph(folder))
            self._compiled: Any = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        except RuntimeError as error:
            raise BundleError(f"{folder}: OpenVINO cannot use graph.xml; train the bundle anew.") from error

    def logits(self, windows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """See `tl_classifier.runtimes.Runtime`. Windows of like length run together."""
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        rows: list[npt.NDArray[np.float32] | None] = [None] * len(windows)
        request = self._compiled.create_infer_request()  # one a call: requests are not to be shared by threads
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * _padded(len(windows[order[stop]])) <= BATCH_TOKENS:
                stop += 1
            batch = order[start:stop]
            ids, mask = pad([windows[i] for i in batch], self._pad_id)
            output = request.infer([ids, mask])[0]
            for i, row in zip(batch, np.array(output, dtype=np.float32), strict=True):
                rows[i] = row
            start = stop
        return np.stack([row for row in rows if row is not None])


def pad(windows: Sequence[Sequence[int]], pad_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token ids and attention mask, each of shape (windows, length), int64; the length is a multiple of 16."""
    longest = _padded(max(map(len, windows)))
    ids = np.full((len(windows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(windows), longest), dtype=np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    return ids, mask


def _padded(length: int) -> int:
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def read_graph(folder: Path) -> tuple[bytes, Any]:
    """What `openvino.Core.read_model` takes: the graph, and the block of bytes that its constants lie in."""
    ov = import_openvino()
    parts = [np.fromfile(folder / name, dtype=np.uint8) for name in ("model.safetensors", "constants.bin")]
    return (folder / "graph.xml").read_bytes(), ov.Tensor(np.concatenate(parts))

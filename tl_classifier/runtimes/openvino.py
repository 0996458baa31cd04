"""The CPU runtime: OpenVINO.

A bundle keeps the weights once, in ``model.safetensors``. The graph, ``graph.xml``, is OpenVINO's own format, in which
every constant is an offset into one block of bytes; here that block is ``model.safetensors`` followed by
``constants.bin``, which holds the constants that are no encoder weights.

The graph is compiled in two ways, each when it is first needed. A single window goes through one in which all cores
work on it together, for the shortest answer. Many windows go through one in which each core works on a batch of its
own, which is more in the same time.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tl_classifier.errors import BundleError, InputError
from tl_classifier.runtimes.batches import pad, plan

BATCH_TOKENS = 1024
"""Most tokens, padding included, that a core takes through the network at once: what lies between two layers then
stays in its cache."""

_Aim = Literal["LATENCY", "THROUGHPUT"]

_HINTS = {"bfloat16": "bf16", "float32": "f32"}


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
        dtype: ``bfloat16``, ``float32``, or ``auto`` for bfloat16 where the CPU has it.

    Raises:
        BundleError: if the graph cannot be compiled.
        InputError: if the CPU has no bfloat16 and it was asked for.
    """

    def __init__(self, folder: Path, *, pad_id: int, dtype: str = "auto") -> None:
        ov = import_openvino()
        self._pad_id = pad_id
        self._folder = folder
        self._core = ov.Core()
        self._graph, self._weights = read_graph(folder)
        self.device = str(self._core.get_property("CPU", "FULL_DEVICE_NAME"))
        if dtype == "bfloat16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError(f"This CPU ({self.device}) has no bfloat16; leave --dtype out, or use float32.")
        self._hints = {"INFERENCE_PRECISION_HINT": _HINTS[dtype]} if dtype in _HINTS else {}
        self._compiled: dict[_Aim, Any] = {}
        self._compiling = threading.Lock()

    def logits(self, windows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """See `tl_classifier.runtimes.Runtime`. Windows of like length run together."""
        if len(windows) == 1:
            # A request of its own for each call: requests are not to be shared by threads.
            output = self._compile("LATENCY").create_infer_request().infer([*pad(windows, self._pad_id)])[0]
            return np.array(output, dtype=np.float32)
        compiled = self._compile("THROUGHPUT")
        cores = int(compiled.get_property("NUM_STREAMS"))
        batches = plan([len(window) for window in windows], tokens=BATCH_TOKENS, parts=cores)
        rows = np.concatenate(
            list(self._run(compiled, [[windows[i] for i in batch] for batch in batches], ahead=cores))
        )
        logits = np.empty_like(rows)
        logits[[i for batch in batches for i in batch]] = rows
        return logits

    def _run(
        self, compiled: Any, batches: Sequence[Sequence[Sequence[int]]], *, ahead: int
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Logits batch by batch, in order. Beside those that the cores are at, so many wait ready for them.

        Without callbacks: a core would stand still until Python has time for them.
        """
        idle = [compiled.create_infer_request() for _ in range(min(2 * ahead, len(batches)))]
        running: deque[Any] = deque()
        for batch in batches:
            if not idle:
                request = running.popleft()
                yield self._result(request)
                idle.append(request)
            request = idle.pop()
            request.start_async([*pad(batch, self._pad_id)])
            running.append(request)
        yield from map(self._result, running)

    @staticmethod
    def _result(request: Any) -> npt.NDArray[np.float32]:
        request.wait()
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)

    def _compile(self, aim: _Aim) -> Any:
        """The graph, compiled; it is kept."""
        with self._compiling:
            if aim not in self._compiled:
                try:
                    model = self._core.read_model(self._graph, self._weights)
                    options = {"PERFORMANCE_HINT": aim, **self._hints}
                    self._compiled[aim] = self._core.compile_model(model, "CPU", options)
                except RuntimeError as error:
                    raise BundleError(
                        f"{self._folder}: OpenVINO cannot use graph.xml; train the bundle anew."
                    ) from error
            return self._compiled[aim]


def read_graph(folder: Path) -> tuple[bytes, Any]:
    """What `openvino.Core.read_model` takes: the graph, and the block of bytes that its constants lie in."""
    ov = import_openvino()
    parts = [np.fromfile(folder / name, dtype=np.uint8) for name in ("model.safetensors", "constants.bin")]
    return (folder / "graph.xml").read_bytes(), ov.Tensor(np.concatenate(parts))

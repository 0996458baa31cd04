"""Token ids to logits, on the hardware that is there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from tl_classifier.errors import InputError

if TYPE_CHECKING:
    from tl_classifier.bundle import Bundle

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "bfloat16", "float32"]


class Runtime(Protocol):
    """What every runtime does."""

    device: str
    """What it runs on, for people to read."""

    def logits(self, windows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Logits of windows (at least one) of token ids, in their order, shape (windows, outputs); thread-safe."""
        ...


def open_runtime(bundle: Bundle, *, device: str = "auto", dtype: str = "auto") -> Runtime:
    """The runtime of a bundle.

    Args:
        bundle: The bundle.
        device: ``cpu``, ``cuda`` (a GPU of NVIDIA), or ``auto`` for a GPU where there is one that can be used.
        dtype: What is calculated in: ``bfloat16`` or ``float32``; ``auto`` for bfloat16 where the hardware has it.

    Raises:
        InputError: if there is no such device or dtype here.
        BundleError: if the bundle's files cannot be used.
    """
    if device not in get_args(Device):
        raise InputError(f"The device {device!r} is not known; use {', '.join(get_args(Device))}.")
    if dtype not in get_args(Dtype):
        raise InputError(f"The dtype {dtype!r} is not known; use {', '.join(get_args(Dtype))}.")
    pad_id = int(bundle.manifest["pad_id"])
    if device == "cuda" or (device == "auto" and _has_gpu()):
        if not _has_torch():
            raise InputError("A GPU needs torch, which is not installed; install tl-classifier[gpu], or use cpu.")
        from tl_classifier.runtimes.torch import TorchRuntime

        separator = bundle.preprocessor().separator
        return TorchRuntime(
            bundle.path, bundle.codebook, pad_id=pad_id, separator=separator, device="cuda", dtype=dtype
        )
    from tl_classifier.runtimes.openvino import OpenVINORuntime

    return OpenVINORuntime(bundle.path, pad_id=pad_id, dtype=dtype)


def _has_torch() -> bool:
    return all(find_spec(package) is not None for package in ("torch", "transformers"))


def _has_gpu() -> bool:
    """Whether a GPU can be used. Torch, which takes seconds to import, is asked only where a driver is installed."""
    if not _has_torch() or not _has_driver():
        return False
    from tl_classifier.runtimes.torch import cuda_available

    return cuda_available()


def _has_driver() -> bool:
    import ctypes
    import sys

    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True

"""The GPU runtime: torch. Imported only where it is used; the base install does without torch."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModel

from tl_classifier.codebook import Codebook
from tl_classifier.errors import BundleError, InputError
from tl_classifier.runtimes.batches import pad, plan

BATCH_TOKENS = 32_768
"""Most tokens, padding included, that go through the network at once."""


def cuda_available() -> bool:
    """Whether torch can use a GPU of NVIDIA."""
    return bool(torch.cuda.is_available())


def open_encoder(folder: str | Path) -> Any:
    """An encoder in Hugging Face layout, in float32: no pooling layer, nothing run from the folder."""
    options: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True}
    if AutoConfig.from_pretrained(folder).model_type in {"bert", "roberta", "xlm-roberta", "mpnet"}:
        options["add_pooling_layer"] = False
    return AutoModel.from_pretrained(folder, dtype=torch.float32, **options)


def text_features(encoder: Any, input_ids: Tensor, attention_mask: Tensor, *, separator: int) -> Tensor:
    """Mean of an encoder's last layer over the text's tokens in each window, shape (windows, width).

    The encoder reads the context behind the text, too, but only the text is coded.

    Args:
        encoder: Any encoder of transformers that gives `last_hidden_state`.
        input_ids: Shape (windows, tokens), int64.
        attention_mask: The same shape; 1 for a token, 0 for padding.
        separator: The token that ends a text and its context.
    """
    hidden = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    ends = (input_ids == separator).to(attention_mask.dtype)
    before = (ends.cumsum(1) - ends == 0).to(attention_mask.dtype)
    mask = (attention_mask * before).unsqueeze(-1).to(hidden.dtype)
    mean: Tensor = (hidden * mask).sum(1) / mask.sum(1)
    return mean


class TorchRuntime:
    """A bundle's encoder and heads in torch.

    Args:
        folder: The bundle's folder.
        codebook: The bundle's.
        pad_id: Token id to pad with.
        separator: The token that ends a text and its context; see `tl_classifier.preprocessing.Preprocessor`.
        device: Where torch runs: ``cuda``, or ``cpu``.
        dtype: ``bfloat16``, ``float32``, or ``auto`` for bfloat16 where the GPU has it.

    Raises:
        BundleError: if the files cannot be used.
        InputError: if there is no such device.
    """

    def __init__(
        self, folder: Path, codebook: Codebook, *, pad_id: int, separator: int, device: str, dtype: str = "auto"
    ) -> None:
        if device == "cuda" and not cuda_available():
            raise InputError("There is no GPU here that torch can use; leave --device out, or use cpu.")
        self._pad_id = pad_id
        self._separator = separator
        self._where = torch.device(device)
        self.device = torch.cuda.get_device_name() if device == "cuda" else "CPU (torch)"
        if dtype == "auto":
            dtype = "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
        self._dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32}[dtype]
        try:
            self._encoder = open_encoder(folder).to(self._where, self._dtype).eval()
            stored = load_file(str(folder / "heads.safetensors"))
            heads = [[stored[f"{d.id}.{part}"].float() for d in codebook.dimensions] for part in ("weight", "bias")]
        except (OSError, KeyError, ValueError, RuntimeError, json.JSONDecodeError) as error:
            raise BundleError(f"{folder}: torch cannot use the files of the model; train the bundle anew.") from error
        self._weight, self._bias = (torch.cat(part).to(self._where) for part in heads)
        self._one_at_a_time = threading.Lock()

    def logits(self, windows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """See `tl_classifier.runtimes.Runtime`. Windows of like length run together."""
        batches = plan([len(window) for window in windows], tokens=BATCH_TOKENS)
        rows = []
        with self._one_at_a_time, torch.inference_mode():
            for batch in batches:
                ids, mask = (
                    torch.from_numpy(array).to(self._where, non_blocking=True)
                    for array in pad([windows[i] for i in batch], self._pad_id)
                )
                features = text_features(self._encoder, ids, mask, separator=self._separator).float()
                rows.append(features @ self._weight.T + self._bias)
            found = torch.cat(rows).cpu().numpy()
        logits = np.empty_like(found)
        logits[[i for batch in batches for i in batch]] = found
        return logits

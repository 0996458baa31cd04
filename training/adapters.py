"""Low-rank adapters: small corrections to an encoder's weights, which keep it close to what it was.

Hu et al. (2022), "LoRA: low-rank adaptation of large language models". Beside every linear layer of the encoder stands
a product of two thin matrices, and only these and the heads learn. Afterwards they are added to the weights, so that
the model is as large and as fast as before.
"""

from __future__ import annotations

from peft import LoraConfig
from peft.tuners.lora import LoraModel
from torch import nn

from training.model import ExcerptModel

_NAME = "default"


class Adapters:
    """Adapters in a model's encoder.

    Args:
        model: What is to learn; it is changed in place, and from then on only the adapters and the heads learn.
        rank: Inner width of the adapters. Their scale is twice that, as is usual.
    """

    def __init__(self, model: ExcerptModel, rank: int) -> None:
        self._model = model
        layers = [name for name, module in model.encoder.named_modules() if isinstance(module, nn.Linear)]
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=layers)
        self._tuner = LoraModel(model.encoder, {_NAME: config}, _NAME)

    def merge(self) -> None:
        """Add the adapters to the weights; the encoder is an ordinary one again."""
        self._model.encoder = self._tuner.merge_and_unload()
        self._model.requires_grad_(True)

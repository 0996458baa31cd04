"""The network: encoder, mean pooling, one linear head a dimension."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from tl_classifier.codebook import Codebook
from tl_classifier.runtimes.torch import open_encoder, text_features


class ExcerptModel(nn.Module):
    """Token ids of windows to logits of excerpts.

    Args:
        encoder: Any encoder of transformers that gives `last_hidden_state`.
        codebook: Decides the heads.
        separator: The token that ends a text and its context.
        dropout: Probability of dropping a feature between encoder and heads, in training.
    """

    def __init__(self, encoder: PreTrainedModel, codebook: Codebook, *, separator: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.codebook = codebook
        self.separator = separator
        self.dropout = nn.Dropout(dropout)
        # The encoder's own dropout: on a CPU it takes most of the forward pass, and masked tokens do its work.
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            for name in ("dropout_prob", "attention_dropout"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)
        width = int(encoder.config.hidden_size)
        self.heads = nn.ModuleDict({d.id: nn.Linear(width, d.outputs) for d in codebook.dimensions})

    @classmethod
    def from_pretrained(cls, path: str, codebook: Codebook, *, separator: int, dropout: float = 0.1) -> ExcerptModel:
        """An encoder in Hugging Face layout, with new heads."""
        return cls(open_encoder(path), codebook, separator=separator, dropout=dropout)

    def linear_heads(self) -> list[nn.Linear]:
        """The heads in codebook order."""
        return [head for head in self.heads.values() if isinstance(head, nn.Linear)]

    def window_logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of windows.

        Args:
            input_ids: Shape (windows, tokens), int64.
            attention_mask: The same shape; 1 for a token, 0 for padding.

        Returns:
            Shape (windows, outputs).
        """
        features = self.dropout(self.features(input_ids, attention_mask))
        logits: Tensor = torch.cat([head(features) for head in self.heads.values()], dim=-1)
        return logits

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See `tl_classifier.runtimes.torch.text_features`."""
        return text_features(self.encoder, input_ids, attention_mask, separator=self.separator)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        window_excerpt: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Logits of excerpts, and the loss where there are labels.

        Args:
            input_ids: Shape (windows, tokens).
            attention_mask: Shape (windows, tokens).
            window_excerpt: Shape (windows,): which excerpt a window is of; None where each is one.
            labels: Shape (excerpts, outputs), shares in [0, 1]; NaN where a dimension was not coded.

        Returns:
            `logits` of shape (excerpts, outputs) and, with labels, `loss`.
        """
        logits = self.window_logits(input_ids, attention_mask).float()
        if window_excerpt is not None:
            logits = self._pool(logits, window_excerpt)
        if labels is None:
            return {"logits": logits}
        return {"loss": self.loss(logits, labels), "logits": logits}

    def _pool(self, logits: Tensor, window_excerpt: Tensor) -> Tensor:
        """`tl_classifier.decoding.pool_windows`, for training."""
        count = int(window_excerpt.max()) + 1
        if count == len(logits):
            return logits
        index = window_excerpt[:, None].expand_as(logits)
        empty = logits.new_zeros(count, logits.shape[1])
        highest = empty.scatter_reduce(0, index, logits, "amax", include_self=False)
        mean = empty.scatter_reduce(0, index, logits, "mean", include_self=False)
        return torch.cat(
            [(mean if d.exclusive else highest)[:, self.codebook.slices[d.id]] for d in self.codebook.dimensions],
            dim=1,
        )

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over excerpts and dimensions: cross-entropy where exclusive, else binary cross-entropy over codes."""
        total = logits.new_zeros(())
        for dimension in self.codebook.dimensions:
            part = self.codebook.slices[dimension.id]
            target, scores = labels[:, part], logits[:, part]
            coded = ~torch.isnan(target).any(dim=1)
            if not bool(coded.any()):
                continue
            target, scores = target[coded], scores[coded]
            if dimension.exclusive:
                total = total + F.cross_entropy(scores, target)
            else:
                losses = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
                total = total + losses.sum(dim=1).mean()
        return total

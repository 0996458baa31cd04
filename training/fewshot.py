"""Learning from a few examples a code: by contrast.

A few dozen examples are too few to say where each code lies among the encoder's features, but they are hundreds of
pairs that belong together or do not. So the encoder learns first that excerpts with like codes are alike, and the heads
are fitted to what it has made of them. Every batch contrasts each of its excerpts with all others (Khosla et al. 2020,
"Supervised contrastive learning"), so that a batch of n excerpts costs n passes for n² pairs. SetFit (Tunstall et al.
2022), which showed how much pairs of few examples teach, passes both excerpts of every single pair through the encoder.

With several codes to an excerpt, two excerpts are alike by the share of their codes that they have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import Excerpt
from tl_classifier.runtimes.batches import pad
from training.heads import fit_heads
from training.interrupting import stopping
from training.network import Network
from training.trainer import fast_bf16, trained_attention


@dataclass(frozen=True)
class Contrast:
    """How to tune an encoder by contrast.

    Attributes:
        steps: Batches, at the least.
        passes: How often each excerpt is seen, at the least.
        batch: Excerpts a batch.
        learning_rate: Highest; reached after a tenth of the steps, then falling to zero.
        temperature: What differences of cosine are divided by: the lower, the more do near misses count.
        firmness: Of the heads, as `training.heads.fit_heads` takes it.
        seed: Of everything random.
    """

    steps: int = 120
    passes: int = 15
    batch: int = 32
    learning_rate: float = 1e-4
    temperature: float = 0.1
    firmness: float = 1.0
    seed: int = 13

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return asdict(self)


def fit_few(
    network: Network,
    excerpts: Sequence[Excerpt],
    labels: npt.NDArray[np.float32],
    options: Contrast,
    *,
    quiet: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Tune the encoder by contrast, then fit the heads; in place. Ctrl-C ends the tuning early.

    Args:
        network: What learns.
        excerpts: The examples.
        labels: Shape (excerpts, outputs); NaN in a dimension that was not coded.
        options: How.
        quiet: No progress bar.
        say: Told what is going on.

    Returns:
        `steps`: how many batches it learnt from; `interrupted`: whether it was ended early.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, codebook = network.model.to(device), network.model.codebook
    windows = network.preprocessor.windows([one.text for one in excerpts], [one.context for one in excerpts])
    first = [of_text[0].ids for of_text in windows]  # of a long excerpt its beginning stands for all
    # The words that the examples lack keep their place among those that they have.
    words = {id(parameter) for parameter in model.encoder.get_input_embeddings().parameters()}
    parameters = [parameter for parameter in model.encoder.parameters() if id(parameter) not in words]
    model.encoder.get_input_embeddings().requires_grad_(False)
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=0.01, fused=True)
    batches = _batches(len(excerpts), options)
    rise = max(1, len(batches) // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / rise) * (1 - step / len(batches))
    )
    done = 0
    console = Console(stderr=True)
    columns = (
        TextColumn("Contrasting"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with (
        stopping(say) as asked,
        trained_attention(model),
        Progress(*columns, console=console, disable=quiet) as progress,
    ):
        task = progress.add_task("", total=len(batches))
        model.train()
        for batch in batches:
            if asked():
                break
            ids, mask = (torch.from_numpy(array).to(device) for array in pad([first[i] for i in batch], network.pad_id))
            with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16()):
                features = model.features(ids, mask)
            loss = contrast(features.float(), likeness(labels[batch], codebook).to(device), options.temperature)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            progress.advance(task)
        interrupted = asked()
    fit_heads(model, network.features(excerpts), labels, firmness=options.firmness)
    return {"steps": done, "interrupted": interrupted}


def likeness(labels: npt.NDArray[np.float32], codebook: Codebook) -> Tensor:
    """How alike excerpts are by their codes: the share of the codes of both that both have, mean over the dimensions.

    Args:
        labels: Shape (excerpts, outputs); NaN in a dimension that was not coded, which then does not count.
        codebook: Says which outputs are whose.

    Returns:
        Shape (excerpts, excerpts), in [0, 1]. Excerpts without any code are not alike for that: nothing says so.
    """
    total = np.zeros((len(labels), len(labels)))
    counted = np.zeros_like(total)
    for dimension in codebook.dimensions:
        part = labels[:, codebook.slices[dimension.id]]
        coded = np.asarray(~np.isnan(part).any(axis=1))
        codes = np.where(np.isnan(part), 0.0, part)[:, : len(dimension.codes)]
        both = codes @ codes.T
        either = codes.sum(axis=1)[:, None] + codes.sum(axis=1)[None] - both
        pair = coded[:, None] & coded[None]
        total += np.where(pair & (either > 0), both / np.maximum(either, 1e-9), 0.0)
        counted += pair
    return torch.from_numpy((total / np.maximum(counted, 1)).astype(np.float32))


def contrast(features: Tensor, alike: Tensor, temperature: float) -> Tensor:
    """The loss: each excerpt is to be told apart from the others of the batch by those that it is like.

    Args:
        features: Shape (excerpts, width).
        alike: Shape (excerpts, excerpts), as `likeness` gives it.
        temperature: What cosines are divided by.

    Returns:
        A number; 0 where no two excerpts are alike.
    """
    unit = F.normalize(features, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    share = alike.masked_fill(itself, 0.0)
    log_odds = (unit @ unit.T / temperature).masked_fill(itself, -1e9).log_softmax(dim=1)
    whole = share.sum(dim=1)
    has_mate = whole > 0
    if not bool(has_mate.any()):
        return (features * 0.0).sum()
    mean: Tensor = (-(share * log_odds).sum(dim=1)[has_mate] / whole[has_mate]).mean()
    return mean


def _batches(count: int, options: Contrast) -> list[npt.NDArray[np.int64]]:
    """Rows of each batch: every excerpt once before any comes again."""
    rng = np.random.default_rng(options.seed)
    size = min(options.batch, count)
    left: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
    batches = []
    for _ in range(max(options.steps, math.ceil(options.passes * count / size))):
        if len(left) < size:
            again = rng.permutation(np.setdiff1d(np.arange(count), left))
            left = np.concatenate([left, again])
        batches.append(left[:size])
        left = left[size:]
    return batches

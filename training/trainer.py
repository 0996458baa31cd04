"""Fine-tuning with transformers' Trainer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sklearn.metrics import average_precision_score
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Decoding
from training.adapters import Adapters
from training.data import collator
from training.interrupting import stopping
from training.model import ExcerptModel


@dataclass(frozen=True)
class Options:
    """How to train.

    Attributes:
        epochs: At most so many passes over the data.
        patience: Stop after so many epochs without a better mean average precision on the validation documents.
        batch: Excerpts a step.
        learning_rate: Of the top layer; reached after a tenth of the steps, then falling to zero.
        layer_decay: Each layer below learns at this share of the rate of the layer above it.
        head_rate: The heads learn at this multiple of the learning rate.
        frozen_words: Leave the word embeddings as they are: words that the training data lacks keep their place among
            those it has.
        frozen_layers: Leave so many of the lowest layers as they are.
        weight_decay: As AdamW takes it; not on biases and normalisation.
        dropout: Before the heads.
        masked: Share of the tokens that are masked in training.
        alone: Share of the excerpts that are shown without their context in training.
        joins: How many times the turns of each document are joined anew into longer excerpts, as additional data.
        rank: Inner width of adapters (`training.adapters`), which learn in place of the encoder; 0 for none.
        seed: Of everything random.
    """

    epochs: int = 12
    patience: int = 3
    batch: int = 16
    learning_rate: float = 2e-4
    layer_decay: float = 0.9
    head_rate: float = 2.0
    frozen_words: bool = False
    frozen_layers: int = 0
    weight_decay: float = 0.01
    dropout: float = 0.1
    masked: float = 0.05
    alone: float = 0.3
    joins: int = 1
    rank: int = 0
    seed: int = 13

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return asdict(self)


def fit(
    model: ExcerptModel,
    train: Dataset,
    validation: Dataset,
    options: Options,
    folder: Path,
    *,
    pad_id: int,
    mask_id: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fine-tune `model` in place; it ends as it was after its best epoch.

    Ctrl-C ends it early: what was learnt since the last epoch is scored, too, and the best is kept.

    Args:
        model: What to train.
        train: As `training.data.to_dataset` gives it.
        validation: Likewise, of other documents.
        options: How.
        folder: For checkpoints, one an epoch, the last two kept.
        pad_id: The tokenizer's padding token.
        mask_id: Its mask token; None for a tokenizer without one.
        resume: Go on from the last checkpoint in `folder`, if there is one.
        quiet: No progress bar.
        say: Told the score of each epoch.

    Returns:
        `epochs`: how many ran; `best`: the best validation score; `history`: score by epoch; `interrupted`: whether
        it was ended early.
    """
    gpu = bool(torch.cuda.is_available())
    adapters = None
    if options.rank:
        adapters = Adapters(model, options.rank)
    else:
        _freeze(model, options)
    steps = math.ceil(len(train) / options.batch) * options.epochs
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=64,
        learning_rate=options.learning_rate,
        warmup_steps=steps // 10,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="mean_average_precision",
        greater_is_better=True,
        logging_strategy="epoch",
        report_to=[],
        seed=options.seed,
        data_seed=options.seed,
        bf16=fast_bf16(),
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=quiet,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=collator(
            pad_id,
            mask_id=mask_id,
            masked=options.masked,
            separator=model.separator,
            alone=options.alone,
            seed=options.seed,
        ),
        optimizers=(torch.optim.AdamW(parameter_groups(model, options), lr=options.learning_rate, fused=True), None),
        compute_metrics=scorer(model.codebook),
        callbacks=[EarlyStoppingCallback(options.patience)],
    )
    trainer.plain_collator = collator(pad_id)
    trainer.remove_callback(PrinterCallback)
    checkpoint = get_last_checkpoint(str(folder)) if resume and folder.is_dir() else None
    with stopping(say) as asked, trained_attention(model):
        trainer.add_callback(_EpochLines(options.epochs, say, asked))
        trainer.train(resume_from_checkpoint=checkpoint)
        interrupted = asked()
    if adapters is not None:
        adapters.merge()
    history = [
        round(entry["eval_mean_average_precision"], 4)
        for entry in trainer.state.log_history
        if "eval_mean_average_precision" in entry
    ]
    return {"epochs": len(history), "best": max(history), "history": history, "interrupted": interrupted}


class _EpochLines(TrainerCallback):  # type: ignore[misc]
    """One line an epoch, where nobody sees a progress bar; and an end where somebody asks for it."""

    def __init__(self, epochs: int, say: Callable[[str], None], asked: Callable[[], bool]) -> None:
        self._epochs = epochs
        self._say = say
        self._asked = asked
        self._begun = (time.monotonic(), 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock; a resumed training begins at a later epoch."""
        self._begun = (time.monotonic(), float(state.epoch or 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop where somebody has asked for it."""
        if self._asked():
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Say how good the epoch was, and how long it may still take."""
        score = metrics["eval_mean_average_precision"]
        line = f"Epoch {math.ceil(state.epoch)} of at most {self._epochs}: mean average precision {score:.3f}"
        since, epoch = self._begun
        left = self._epochs - state.epoch
        if left > 0 and state.epoch > epoch and not self._asked():
            line += f"; at most {duration((time.monotonic() - since) / (state.epoch - epoch) * left)} left"
        self._say(line)


def duration(seconds: float) -> str:
    """A time to wait, in words: ``40 s``, ``12 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class _Trainer(Trainer):  # type: ignore[misc]
    """A Trainer that masks tokens in training alone."""

    data_collator: Any
    plain_collator: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        masking = self.data_collator
        self.data_collator = self.plain_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = masking


def parameter_groups(model: ExcerptModel, options: Options) -> list[dict[str, Any]]:
    """AdamW's parameter groups: slower towards the input, no decay on biases and normalisation."""
    layers = int(model.encoder.config.num_hidden_layers)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("heads."):
            rate = options.learning_rate * options.head_rate
        else:
            rate = options.learning_rate * options.layer_decay ** (layers - _depth(name, layers))
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]


def _freeze(model: ExcerptModel, options: Options) -> None:
    layers = int(model.encoder.config.num_hidden_layers)
    for name, parameter in model.encoder.named_parameters():
        parameter.requires_grad_(_depth(name, layers) > options.frozen_layers or not options.frozen_layers)
    if options.frozen_words:
        model.encoder.get_input_embeddings().requires_grad_(False)


def _depth(name: str, layers: int) -> int:
    """0 for embeddings, n for the n-th layer; what belongs to no layer counts by whether it is an embedding."""
    parts = name.split(".")
    for before, part in pairwise(parts):
        if before in {"layer", "layers"} and part.isdigit():
            return int(part) + 1
    return 0 if "embeddings" in parts else layers


def scorer(codebook: Codebook) -> Callable[[Any], dict[str, float]]:
    """The Trainer's `compute_metrics`: average precision, which needs no threshold.

    It is the mean over the codes that occur. Of exclusive codes, of which some are often so rare that a handful of
    excerpts decides, all decisions (excerpt and code) are judged together, and count as one code.
    """
    plain = Decoding.uncalibrated(codebook)

    def score(evaluation: Any) -> dict[str, float]:
        logits, labels = np.asarray(evaluation.predictions), np.asarray(evaluation.label_ids)
        values = []
        for dimension in codebook.dimensions:
            part = codebook.slices[dimension.id]
            coded = ~np.isnan(labels[:, part]).any(axis=1)
            truth = labels[coded, part] > 0.5
            chances = plain.dimensions[dimension.id].probabilities(logits[coded, part], dimension)
            if dimension.exclusive:
                truth, chances = truth.reshape(-1, 1), chances.reshape(-1, 1)
            else:
                truth = truth[:, : len(dimension.codes)]
            values += [average_precision_score(truth[:, i], chances[:, i]) for i in np.flatnonzero(truth.any(axis=0))]
        return {"mean_average_precision": float(np.mean(values)) if values else 0.0}

    return score


@contextmanager
def trained_attention(model: ExcerptModel) -> Iterator[None]:
    """Within, a model attends in a way that can be trained fast: the fused one has a slow backward pass on CPUs."""
    attention = model.encoder.config._attn_implementation
    if not torch.cuda.is_available():
        model.encoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.encoder.set_attn_implementation(attention)


def fast_bf16() -> bool:
    """Whether bf16 is fast here: instructions for it, not an emulation."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())

"""What a training is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tl_classifier.codebook import Codebook
from training.challenge import Rule
from training.methods import Asked
from training.presets import Recipe


@dataclass(frozen=True)
class Job:
    """What to train.

    Attributes:
        data: Files of coded data.
        output: Folder of the bundle to be written.
        recipe: Encoder, options and teacher of a full fine-tuning.
        codebook: What is coded.
        code_map: For projects, a file that says what their codes are.
        with_corpus: Add the shipped corpus.
        real: Copies of real texts that the project has codes for, as `training.real.read_real` takes them.
        method: One of `training.methods.METHODS`, or ``auto`` for what suits the data.
        base: What to start from, as `training.bases.find_base` takes it; None for what the method starts from.
        changes: Fields of `training.trainer.Options` that the user wants otherwise than the method has them.
        name: Name of the model; None for the output folder's.
        combine: Where several people coded the same: a rule of `training.combining`, or a coder's name.
        promote: When the new model becomes the champion, as `training.challenge.decide` takes it; asked only where
            there is data of the user's.
        registry: Where the models of this machine are; None for the user's.
        resume: Go on with a training into the same folder that was interrupted.
        overwrite: Replace an output folder that exists.
        quiet: No progress bar.
        say: Told, line by line, what is going on.
    """

    data: Sequence[Path]
    output: Path
    recipe: Recipe
    codebook: Codebook
    code_map: Path | None = None
    with_corpus: bool = False
    real: Sequence[str] = ()
    method: Asked = "full"
    base: str | None = None
    changes: Mapping[str, int | float] = field(default_factory=dict)
    name: str | None = None
    combine: str = "majority"
    promote: Rule = "auto"
    registry: Path | None = None
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False
    say: Callable[[str], None] = lambda line: None

"""Recipes: which encoder, trained how, and whether a teacher helps it."""

from __future__ import annotations

from dataclasses import dataclass

from training.bases import LARGE, SMALL
from training.trainer import Options


@dataclass(frozen=True)
class Recipe:
    """How a model comes about.

    Attributes:
        base: The encoder to start from, as `training.bases.find_base` takes it.
        options: How to train it.
        teacher: Recipe of a larger model that is trained first on the same data, whose probabilities then are half of
            what the model is taught; None for no such model.
        taught: Whether the probabilities that a larger model gave the shipped corpus take that place
            (`training.taught`); they help only where the shipped corpus is trained on.
        own: How to train it where the user's data is all there is, and neither a teacher's word nor the corpus's size
            keeps it from learning that by heart; None for as with the shipped corpus.
    """

    base: str
    options: Options
    teacher: Recipe | None = None
    taught: bool = False
    own: Options | None = None


ACCURATE = Recipe(
    LARGE,
    Options(epochs=4, learning_rate=6e-5, joins=0, frozen_words=True, frozen_layers=3),
)
SMALL_ALONE = Recipe(SMALL, Options(epochs=10), taught=True, own=Options(epochs=10, learning_rate=1e-4))
DISTILLED = Recipe(SMALL, Options(), teacher=ACCURATE)

PRESETS = {"small": SMALL_ALONE, "distilled": DISTILLED, "accurate": ACCURATE}
"""By name: ``small`` is quick to train, ``distilled`` as small and codes better, ``accurate`` is five times as slow."""

ADAPTERS = Options(epochs=8, patience=8, learning_rate=1e-3, layer_decay=1.0, head_rate=1.0, joins=0, rank=8)
"""How a model is refined with adapters: they and the heads learn at one rate, the turns are left as they are."""

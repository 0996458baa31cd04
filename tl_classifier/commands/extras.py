"""Commands that need more than the base install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tl_classifier.errors import UserError


@contextmanager
def needs_training(command: str) -> Iterator[None]:
    """Turn a missing package of the extra ``train`` into a sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"'{command}' needs the package {error.name}, which is not installed; "
            "run: pip install 'tl-classifier[train]'"
        ) from error

"""Which codebook a command works with, and how a project's codes are found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tl_classifier.codebook import Codebook

CodeMap = Annotated[
    Path | None,
    typer.Option(
        "--map",
        metavar="FILE",
        help="For projects (.qdpx): what their codes are; lines 'name there: dimension.code', or null.",
    ),
]


def load_codebook(file: Path | None) -> Codebook:
    """The codebook in a .yaml or .qdc file; the shipped one for None.

    Raises:
        CodebookError: if it cannot be used.
    """
    if file is None:
        return Codebook.default()
    if file.suffix.lower() != ".qdc":
        return Codebook.load(file)
    from tl_classifier.corpus.refi.codebooks import read_qdc

    return read_qdc(file)

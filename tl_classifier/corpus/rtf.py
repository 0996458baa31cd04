"""Rich text (.rtf) as plain text."""

from __future__ import annotations

from pathlib import Path

from tl_classifier.corpus import confined, textfiles
from tl_classifier.corpus.plaintext import Columns, Paragraphs, PlainText
from tl_classifier.errors import InputError


def read_rtf(path: Path) -> PlainText:
    """Read a rich-text file.

    Raises:
        InputError: if it cannot be read, is damaged, or takes too long or too much memory.
    """
    kind = textfiles.kind_of(path)
    if kind != "a rich-text file":
        raise InputError(f"{path} is not an .rtf file: its content is {kind or 'something else'}.")
    paragraphs = Paragraphs()
    columns = Columns()
    for line in confined.read("rtf", path)["text"].split("\n"):
        if line.rstrip().endswith("|"):  # the cells of a row
            text, apart = columns.paragraph(line.split("|"))
            paragraphs.add(text, apart=apart)
        else:
            columns = Columns()
            paragraphs.add(line)
    return paragraphs.to_text("rich text")

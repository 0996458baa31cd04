"""Markdown as plain text: paragraphs without the signs of emphasis and headings, names in bold marked.

No more of Markdown is taken as such: a number that begins a paragraph was said, and so was what stands in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tl_classifier.corpus import textfiles
from tl_classifier.corpus.plaintext import MAX_CHARACTERS, Paragraphs, PlainText, too_long

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_MAX_BLOCK = 100_000
"""Longest block that is searched for emphasis, in characters."""

_BLANK_LINES = re.compile(r"\n\s*\n")
_SIGN = re.compile(r"[*_#&\\]|^[^\S\n]*-", re.MULTILINE)


def read_markdown(path: Path) -> PlainText:
    """Read a Markdown file.

    Raises:
        InputError: if it cannot be read, is not text, or is too long.
    """
    from markdown_it import MarkdownIt

    text = textfiles.text(path)
    if len(text) > MAX_CHARACTERS:
        raise too_long(path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    parser = MarkdownIt("zero").enable(["heading", "hr", "emphasis", "escape", "entity", "newline"])
    paragraphs = Paragraphs()
    # Of what is taken as Markdown, nothing goes beyond a blank line; so the parser need not hold all of it.
    for block in _BLANK_LINES.split(text):
        if len(block) > _MAX_BLOCK or _SIGN.search(block) is None:
            paragraphs.add(block)
            continue
        for words, apart in _paragraphs(parser, block):
            paragraphs.add(words, apart=apart)
    return paragraphs.to_text("Markdown", textfiles.encoding_name(path))


def _paragraphs(parser: MarkdownIt, block: str) -> Iterator[tuple[str, int]]:
    """The paragraphs of a block, and how many characters at the beginning of each are bold."""
    heading = False
    for token in parser.parse(block):
        if token.type in ("heading_open", "heading_close"):
            heading = token.type == "heading_open"
        elif token.type == "inline":
            pieces: list[str] = []
            bold, apart, plain = 0, 0, False
            for child in token.children or ():
                bold += {"strong_open": 1, "strong_close": -1}.get(child.type, 0)
                words = "\n" if child.type in ("softbreak", "hardbreak") else child.content
                pieces.append(words)
                plain = plain or bool(words.strip() and not bold and not heading)
                apart += 0 if plain else len(words)
            yield "".join(pieces), apart

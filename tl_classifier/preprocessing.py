"""Text to clean text to windows of token ids: the one preprocessing module, for training and for serving.

Cleaning takes away what transcription, typesetting and file formats added - typographic characters, soft hyphens,
hyphenation at line ends, page numbers, timecodes, the speaker's label - and never the words themselves. It keeps
the alignment with the original text, so that a span of clean text can be shown in the file as the user has it.

Excerpts longer than a window become overlapping windows; what is said of the windows is pooled in
`tl_classifier.decoding`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

VERSION = 1
"""Version of the cleaning rules; a bundle says with which it was trained, and loads with no other."""


@dataclass(frozen=True, slots=True, eq=False)
class CleanText:
    """Clean text and where each of its characters came from.

    Attributes:
        text: The clean text.
        starts: Offset in the original text of the first character that each character stands for, int64, shape
            (len(text),); None where the text is the original.
        ends: Offset one past the last, likewise.
    """

    text: str
    starts: npt.NDArray[np.int64] | None = None
    ends: npt.NDArray[np.int64] | None = None

    def to_original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text that a span of the clean text came from.

        Args:
            start: Offset of the first character.
            end: Offset one past the last character; more than `start`.

        Raises:
            ValueError: if the span is empty or not within the text.
        """
        if not 0 <= start < end <= len(self.text):
            raise ValueError(f"the span {start}:{end} is not within a text of {len(self.text)} characters")
        if self.starts is None or self.ends is None:
            return start, end
        return int(self.starts[start]), int(self.ends[end - 1])

    def edited(self, edits: Iterable[tuple[int, int, str]]) -> CleanText:
        """The text after replacing spans, given as (start, end, replacement) in order and without overlap."""
        pieces: list[str] = []
        starts: list[npt.NDArray[np.int64]] = []
        ends: list[npt.NDArray[np.int64]] = []
        length = len(self.text)
        old_starts = np.arange(length, dtype=np.int64) if self.starts is None else self.starts
        old_ends = np.arange(1, length + 1, dtype=np.int64) if self.ends is None else self.ends
        done = 0
        for start, end, replacement in edits:
            pieces += (self.text[done:start], replacement)
            starts.append(old_starts[done:start])
            ends.append(old_ends[done:start])
            if replacement:
                starts.append(np.full(len(replacement), old_starts[start], dtype=np.int64))
                ends.append(np.full(len(replacement), old_ends[end - 1], dtype=np.int64))
            done = end
        if not pieces:
            return self
        pieces.append(self.text[done:])
        starts.append(old_starts[done:])
        ends.append(old_ends[done:])
        return CleanText("".join(pieces), np.concatenate(starts), np.concatenate(ends))


# --- cleaning ---------------------------------------------------------------------------------------------------

_TIME = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?"
_LONG_TIME = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,3})?"
_ROLE = r"interviewer|interviewee|moderator|facilitator|respondent|participant|speaker|researcher|int|int\.|resp|part"
_PAGE = (
    r"[^\S\n\f]*(?:(?:page|seite|p\.)[^\S\n\f]*\d{1,4}(?:[^\S\n\f]*(?:of|von|/)[^\S\n\f]*\d{1,4})?"
    r"|\d{1,4}[^\S\n\f]*(?:of|von|/)[^\S\n\f]*\d{1,4}|[-\u2013\u2014][^\S\n\f]*\d{1,4}[^\S\n\f]*[-\u2013\u2014])[^\S\n\f]*"
)
_CHARACTERS = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4\u02bc\u2039\u203a", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    "\u2026": "...",
    "\u0132": "IJ",
    "\u0133": "ij",
    "\ufb00": "ff",
    "\ufb01": "fi",
    "\ufb02": "fl",
    "\ufb03": "ffi",
    "\ufb04": "ffl",
    "\ufb05": "st",
    "\ufb06": "st",
}
_INVISIBLE = "\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"

_Replacement = str | Callable[[re.Match[str]], str]

# Applied in this order, over and over until nothing changes: that makes cleaning idempotent by construction.
_RULES: tuple[tuple[re.Pattern[str], _Replacement], ...] = (
    # Lone surrogates (a broken decoder upstream) cannot be encoded for the tokenizer.
    (re.compile("[\ud800-\udfff]"), "\ufffd"),
    (re.compile("\r\n?|[\x0b\x85\u2028\u2029]"), "\n"),
    # Hyphenation at a line end: a soft hyphen always; a hard one between lower-case letters.
    (re.compile("\u00ad[^\\S\n]*\n\\s*"), ""),
    (re.compile(r"(?<=[^\W\d_][^\W\d_A-Z])[-\u2010][^\S\n\f]*\n\s*(?=[^\W\d_A-Z])"), ""),
    (re.compile(f"[{_INVISIBLE}]"), ""),
    # Page furniture: "Page 3 of 12", "- 3 -", "3 / 12" on a line of its own; a bare number only inside the text or
    # beside a page break, since "42" may be all that somebody answered.
    (re.compile(rf"(?<=[\n\f]){_PAGE}(?:[\n\f]|\Z)|\A{_PAGE}[\n\f]", re.IGNORECASE), "\n"),
    (
        re.compile(r"(?<=\n)[^\S\n\f]*\d{1,4}[^\S\n\f]*(?:\n|(?=\f))|(?<=\f)[^\S\n\f]*\d{1,4}[^\S\n\f]*\n"),
        "\n",
    ),
    # Timecodes: in brackets anywhere; bare ones at the start of a line, where hours, minutes and seconds leave no
    # doubt ("10:30 was when it began" are words).
    (re.compile(rf"[\[(<]{_TIME}(?:\s*(?:-|-->|\u2013)\s*{_TIME})?[\])>]"), " "),
    (re.compile(rf"(?:^|(?<=\n))\s*{_LONG_TIME}(?:\s*-->\s*{_LONG_TIME})?(?![\w:])"), " "),
    # The speaker's label at the start of the turn: roles and codes (P1, FG2-P3), not any word before a colon.
    (
        re.compile(
            rf"^\s*(?:(?:{_ROLE})[^\S\n]?[A-Z]?\d{{0,3}}|(?-i:[A-Z]{{1,4}}\d{{0,2}}[-_ ]?[A-Z]?\d{{1,3}}|[IPRQA]))"
            r"[^\S\n]?:(?!\S)\s*",
            re.IGNORECASE,
        ),
        "",
    ),
    (re.compile(f"[{''.join(_CHARACTERS)}]"), lambda match: _CHARACTERS[match[0]]),
    (re.compile(r"^\s+|\s+$"), ""),
    (re.compile(r"[^\S ]\s*|  \s*| [^\S ]\s*"), " "),
)

# Text in which no rule can find anything and which is normalised as it stands: most of what people send.
_PLAIN = re.compile(r"(?!.{0,60}?:)(?:[!-~]| (?! ))+(?<! )", re.DOTALL)
_MAYBE_TIME = re.compile(r"\d:\d\d")


def clean(text: str) -> CleanText:
    """Clean `text`; see the module's description. Never raises, and cleaning clean text changes nothing."""
    if _PLAIN.fullmatch(text) and not text.startswith(" ") and not _MAYBE_TIME.search(text):
        return CleanText(text)
    cleaned = CleanText(text)
    while True:
        before = cleaned.text
        cleaned = cleaned.edited(_normalise(cleaned.text))
        for pattern, replacement in _RULES:
            cleaned = cleaned.edited(_substitute(pattern, replacement, cleaned.text))
        if cleaned.text == before:
            return cleaned


# A word that no rule takes away: cleaning need not be tried to know that something is left.
_WORD = re.compile(rf"(?<!\w)(?!(?:{_ROLE}|page|seite|of|von|p)\b)[a-z]{{2,}}(?![\w-])")


def is_blank(text: str) -> bool:
    """Whether nothing to code is left of `text` after cleaning: no letter and no digit."""
    return _WORD.search(text) is None and not any(character.isalnum() for character in clean(text).text)


def _substitute(pattern: re.Pattern[str], replacement: _Replacement, text: str) -> Iterator[tuple[int, int, str]]:
    for match in pattern.finditer(text):
        new = replacement if isinstance(replacement, str) else replacement(match)
        if match.end() > match.start() and new != match[0]:
            yield match.start(), match.end(), new


def _normalise(text: str) -> Iterator[tuple[int, int, str]]:
    """Edits to Unicode NFC, in the smallest pieces that can be normalised one by one."""
    if unicodedata.is_normalized("NFC", text):
        return
    bounds = [0, *(i for i in range(1, len(text)) if _begins_piece(text[i])), len(text)]
    pieces = [(start, end) for start, end in pairwise(bounds) if end > start]
    normal = [unicodedata.normalize("NFC", text[start:end]) for start, end in pieces]
    if not unicodedata.is_normalized("NFC", "".join(normal)):  # a script whose letters join across pieces
        pieces, normal = [(0, len(text))], [unicodedata.normalize("NFC", text)]
    for (start, end), new in zip(pieces, normal, strict=True):
        if new != text[start:end]:
            yield start, end, new


def _begins_piece(character: str) -> bool:
    """Whether a character never joins what stands before it: no mark, no medial or final Hangul letter."""
    return not unicodedata.category(character).startswith("M") and not "\u1160" <= character <= "\u11ff"


# --- windows ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a clean text that the encoder reads at once.

    Attributes:
        ids: Token ids, the encoder's special tokens and the context included; at most `Preprocessor.max_tokens`.
        start: Offset of its first character in the clean text.
        end: Offset one past its last.
    """

    ids: tuple[int, ...]
    start: int
    end: int


class Preprocessor:
    """Text to windows of token ids.

    Args:
        tokenizer: The encoder's tokenizer; its truncation and padding settings are replaced.
        max_tokens: Length of a window, special tokens included.
        overlap: How many tokens a window shares with the one before it.
        context_tokens: How many tokens of the context are read, its last ones; 0 for an encoder that learnt without.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, max_tokens: int = 256, overlap: int = 64, context_tokens: int = 0
    ) -> None:
        reserved = context_tokens + 1 if context_tokens else 0
        if not 0 <= overlap < max_tokens - reserved - tokenizer.num_special_tokens_to_add(False):
            raise ValueError(
                f"an overlap of {overlap} and a context of {context_tokens} do not fit windows of {max_tokens} tokens"
            )
        self.max_tokens = max_tokens
        self.overlap = overlap
        self.context_tokens = context_tokens
        self._alone = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # "[SEP]" in an interview is text
        around = tokenizer.encode("").ids
        self.separator: int = around[-1] if len(around) > 1 else -1
        """The special token that ends a text, and the context behind it; -1 where the encoder has none."""
        if context_tokens:
            if self.separator < 0:
                raise ValueError("an encoder without a token that ends a text cannot be given a context")
            # Copies, since a tokenizer has one setting for truncation.
            self._answering, self._context = _copy(tokenizer), _copy(tokenizer)
            self._answering.enable_truncation(max_tokens - reserved, stride=overlap)
            self._context.enable_truncation(context_tokens, direction="left")
        tokenizer.enable_truncation(max_tokens, stride=overlap)

    @classmethod
    def from_file(cls, path: str | Path, settings: dict[str, Any]) -> Preprocessor:
        """Read a ``tokenizer.json``; `settings` is what `settings` gave when the bundle was written.

        Raises:
            ValueError: if the settings are for other cleaning rules than this version's.
        """
        if settings.get("version") != VERSION:
            raise ValueError(f"preprocessing version {settings.get('version')} is not {VERSION}")
        return cls(
            Tokenizer.from_file(str(path)),
            max_tokens=settings["max_tokens"],
            overlap=settings["overlap"],
            context_tokens=settings.get("context_tokens", 0),
        )

    @property
    def settings(self) -> dict[str, int]:
        """What `from_file` needs to do the same again."""
        return {
            "version": VERSION,
            "max_tokens": self.max_tokens,
            "overlap": self.overlap,
            "context_tokens": self.context_tokens,
        }

    def windows(self, texts: Sequence[str], contexts: Sequence[str | None] | None = None) -> list[list[Window]]:
        """Clean and tokenise a batch of texts.

        Args:
            texts: What is to be coded.
            contexts: What each text answers, if anything; read where `context_tokens` allows. The context stands
                behind each window of its text, which then has so much less room.

        Returns:
            For each text its windows in order, at least one (special tokens alone for a text with no words).
        """
        behind = self._behind(contexts if contexts is not None else [None] * len(texts))
        encoded: list[Any] = [None] * len(texts)
        for answering in (False, True):
            chosen = [i for i, ids in enumerate(behind) if bool(ids) == answering]
            if not chosen:
                continue
            tokenizer = self._answering if answering else self._alone
            found = tokenizer.encode_batch([clean(texts[i]).text for i in chosen])
            for i, encoding in zip(chosen, found, strict=True):
                encoded[i] = encoding
        return [
            [_window(encoding, ids) for encoding in chain((first,), first.overflowing)]
            for first, ids in zip(encoded, behind, strict=True)
        ]

    def _behind(self, contexts: Sequence[str | None]) -> list[tuple[int, ...]]:
        """The token ids that stand behind the windows of each text: none, or its context and a separator."""
        behind: list[tuple[int, ...]] = [()] * len(contexts)
        if not self.context_tokens:
            return behind
        given = [(i, clean(context).text) for i, context in enumerate(contexts) if context]
        found = self._context.encode_batch([text for _, text in given], add_special_tokens=False)
        for (i, _), encoding in zip(given, found, strict=True):
            if encoding.ids:
                behind[i] = (*encoding.ids, self.separator)
        return behind


def _copy(tokenizer: Tokenizer) -> Tokenizer:
    copied = Tokenizer.from_str(tokenizer.to_str())
    copied.encode_special_tokens = tokenizer.encode_special_tokens  # not in the file
    return copied


def _window(encoding: Any, behind: tuple[int, ...]) -> Window:
    spans = [span for span, special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True) if not special]
    start, end = (spans[0][0], spans[-1][1]) if spans else (0, 0)
    return Window((*encoding.ids, *behind), start, end)

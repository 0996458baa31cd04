"""Word (.docx) and OpenDocument (.odt) files as plain text: zip archives of XML.

What a reader sees on the page is read, as the author left it: text, also in tables and text boxes, with tracked
insertions and without deletions, hidden text, comments, notes, headers and footers. Names in bold are marked. The usual
libraries keep whole documents in memory, do not bound what is unpacked, and pass over tracked insertions, which are
words somebody said; so the few elements that matter here are read from a stream. Nothing is ever executed or fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tl_classifier.corpus import xmlstream
from tl_classifier.corpus.officefiles import opened, read_part
from tl_classifier.corpus.plaintext import MAX_CHARACTERS, Columns, Paragraphs, PlainText, too_long
from tl_classifier.corpus.refi.archive import Archive
from tl_classifier.corpus.xmlstream import local
from tl_classifier.errors import InputError

_OFF = frozenset({"0", "false", "off", "none"})


def read_docx(path: Path) -> PlainText:
    """Read a Word document.

    Raises:
        InputError: if it cannot be read, is protected, damaged, no Word document, or made to do harm.
    """
    with opened(path) as archive:
        main = _main_part(archive)
        folder = main.rpartition("/")[0]
        styles = _WordStyles()
        read_part(archive, f"{folder}/styles.xml", styles)
        reader = _Word(path, styles.bold)
        if not read_part(archive, main, reader):
            raise InputError(f"{path} is not a Word document: there is no text part in it.")
    return reader.layout.to_text("a Word document")


def read_odt(path: Path) -> PlainText:
    """Read an OpenDocument text.

    Raises:
        InputError: if it cannot be read, is protected, damaged, no OpenDocument text, or made to do harm.
    """
    with opened(path) as archive:
        manifest = _Manifest()
        read_part(archive, "META-INF/manifest.xml", manifest)
        if manifest.encrypted:
            raise InputError(f"{path} is protected with a password; save it without one.")
        reader = _OpenDocument(path)
        read_part(archive, "styles.xml", _StylesOf(reader))
        if not read_part(archive, "content.xml", reader) or not reader.is_text:
            raise InputError(f"{path} is not an OpenDocument text: there is no text part in it.")
    return reader.layout.to_text("an OpenDocument text")


def _main_part(archive: Archive) -> str:
    """Where the text of a Word document is; some programs name it otherwise than ``word/document.xml``."""
    relations = _Relations()
    read_part(archive, "_rels/.rels", relations)
    return relations.main or "word/document.xml"


class _Relations(xmlstream.Nothing):
    def __init__(self) -> None:
        self.main = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if attributes.get("Type", "").endswith("/officeDocument") and not self.main:
            self.main = attributes.get("Target", "").lstrip("/")


class _Manifest(xmlstream.Nothing):
    def __init__(self) -> None:
        self.encrypted = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.encrypted = self.encrypted or local(name)[1] == "encryption-data"


# --- layout -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Paragraph:
    pieces: list[str] = field(default_factory=list)
    apart: int = 0
    plain: bool = False

    def add(self, text: str, *, bold: bool) -> None:
        self.pieces.append(text)
        if not self.plain:
            if bold or not text.strip():
                self.apart += len(text)
            else:
                self.plain = True


@dataclass(slots=True)
class _Table:
    columns: Columns = field(default_factory=Columns)
    cells: list[list[str]] = field(default_factory=list)


class _Layout:
    """Paragraphs and tables as they come, within each other in any way, to a plain text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._paragraphs = Paragraphs()
        self._open: list[_Paragraph] = []
        self._tables: list[_Table] = []
        self._characters = 0

    def begin_paragraph(self) -> None:
        self._open.append(_Paragraph())

    def add(self, text: str, *, bold: bool = False) -> None:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            raise too_long(self._path)
        if self._open:
            self._open[-1].add(text, bold=bold)

    def end_paragraph(self) -> None:
        if self._open:
            paragraph = self._open.pop()
            self._emit("".join(paragraph.pieces), paragraph.apart, self._tables)

    def begin_table(self) -> None:
        self._tables.append(_Table())

    def begin_cell(self) -> None:
        if self._tables:
            self._tables[-1].cells.append([])

    def end_row(self) -> None:
        if self._tables:
            table = self._tables[-1]
            cells = ["\n\n".join(filter(str.strip, cell)) for cell in table.cells]
            table.cells = []
            text, apart = table.columns.paragraph(cells)
            self._emit(text, apart, self._tables[:-1])

    def end_table(self) -> None:
        if self._tables:
            self._tables.pop()

    def _emit(self, text: str, apart: int, tables: list[_Table]) -> None:
        if tables and tables[-1].cells:
            tables[-1].cells[-1].append(text)
        else:
            self._paragraphs.add(text, apart=apart)

    def to_text(self, format: str) -> PlainText:
        return self._paragraphs.to_text(format)


# --- Word -------------------------------------------------------------------------------------------------------


def _is_on(attributes: Mapping[str, str]) -> bool:
    value = next((value for key, value in attributes.items() if local(key)[1] == "val"), "true")
    return value.lower() not in _OFF


def _value(attributes: Mapping[str, str], wanted: str = "val") -> str:
    return next((value for key, value in attributes.items() if local(key)[1] == wanted), "")


class _WordStyles(xmlstream.Nothing):
    """Which styles are bold."""

    def __init__(self) -> None:
        self.bold: dict[str, bool] = {}
        self._style = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        own = local(name)[1]
        if own == "style":
            self._style = _value(attributes, "styleId")
        elif own == "basedOn" and self._style:
            self.bold.setdefault(self._style, self.bold.get(_value(attributes), False))
        elif own == "b" and self._style:
            self.bold[self._style] = _is_on(attributes)

    def end(self, name: str) -> None:
        if local(name)[1] == "style":
            self._style = ""


class _Word:
    """Reads ``document.xml``."""

    _SKIPPED = frozenset({"Fallback", "del", "moveFrom", "pPrChange", "rPrChange", "tblPrChange"})

    def __init__(self, path: Path, bold: Mapping[str, bool]) -> None:
        self.layout = _Layout(path)
        self._styles = bold
        self._skipping = 0
        self._in_run = self._in_text = self._in_properties = False
        self._paragraph_bold = [False]
        self._bold = self._hidden = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        namespace, own = local(name)
        if self._skipping or own in self._SKIPPED:
            self._skipping += 1
        elif "wordprocessingml" in namespace:
            self._start(own, attributes)

    def _start(self, own: str, attributes: Mapping[str, str]) -> None:
        match own:
            case "p":
                self.layout.begin_paragraph()
                self._paragraph_bold.append(False)
            case "r":
                self._in_run = True
                self._bold, self._hidden = self._paragraph_bold[-1], False
            case "t":
                self._in_text = self._in_run and not self._hidden
            case "pStyle":
                self._paragraph_bold[-1] = self._styles.get(_value(attributes), False)
            case "rPr":
                self._in_properties = True
            case "rStyle" if self._in_run:
                self._bold = self._bold or self._styles.get(_value(attributes), False)
            case "b" if self._in_run and self._in_properties:
                self._bold = _is_on(attributes)
            case "vanish" if self._in_run and self._in_properties:
                self._hidden = _is_on(attributes)
            case "tab" | "ptab" if self._in_run:
                self.layout.add("\t", bold=self._bold)
            case "br" | "cr" if self._in_run:
                self.layout.add("\n", bold=self._bold)
            case "noBreakHyphen" if self._in_run:
                self.layout.add("-", bold=self._bold)
            case "softHyphen" if self._in_run:
                self.layout.add("\u00ad", bold=self._bold)
            case "tbl":
                self.layout.begin_table()
            case "tc":
                self.layout.begin_cell()

    def end(self, name: str) -> None:
        if self._skipping:
            self._skipping -= 1
            return
        namespace, own = local(name)
        if "wordprocessingml" not in namespace:
            return
        match own:
            case "p":
                self.layout.end_paragraph()
                self._paragraph_bold.pop()
                self._in_run = bool(self._paragraph_bold[1:])  # a text box lies within a run
            case "r":
                self._in_run = False
            case "t":
                self._in_text = False
            case "rPr":
                self._in_properties = False
            case "tr":
                self.layout.end_row()
            case "tbl":
                self.layout.end_table()

    def text(self, characters: str) -> None:
        if self._in_text and not self._skipping:
            self.layout.add(characters, bold=self._bold)


# --- OpenDocument -----------------------------------------------------------------------------------------------

_SPACE = re.compile(r"[ \t\r\n]+")


class _OpenDocument:
    """Reads ``content.xml``."""

    _SKIPPED = frozenset({"annotation", "note", "note-body", "tracked-changes", "ruby-text"})
    _NOT_TEXT = frozenset({"drawing", "presentation", "spreadsheet", "chart", "image"})

    def __init__(self, path: Path) -> None:
        self.layout = _Layout(path)
        self.is_text = False
        self._styles: dict[str, bool] = {}
        self._style = ""
        self._skipping = 0
        self._bold = [False]
        self._depth = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        namespace, own = local(name)
        if self._skipping or own in self._SKIPPED:
            self._skipping += 1
            return
        match own:
            case "text" if namespace.endswith(":office:1.0"):
                self.is_text = True
            case "style":
                self._style = _value(attributes, "name")
                self._styles[self._style] = self._styles.get(_value(attributes, "parent-style-name"), False)
            case "text-properties" if self._style:
                weight = _value(attributes, "font-weight")
                if weight:
                    self._styles[self._style] = weight == "bold" or (weight.isdecimal() and int(weight[:4]) >= 600)
            case "p" | "h" if self.is_text:
                self.layout.begin_paragraph()
                self._depth += 1
                self._bold.append(own == "h" or self._styles.get(_value(attributes, "style-name"), False))
            case "span":
                self._bold.append(self._styles.get(_value(attributes, "style-name"), self._bold[-1]))
            case "s" if self._depth:
                count = _value(attributes, "c")
                self.layout.add(" " * min(int(count[:3]) if count.isdecimal() else 1, 200), bold=self._bold[-1])
            case "tab" if self._depth:
                self.layout.add("\t", bold=self._bold[-1])
            case "line-break" if self._depth:
                self.layout.add("\n", bold=self._bold[-1])
            case "table":
                self.layout.begin_table()
            case "table-cell" | "covered-table-cell":
                self.layout.begin_cell()

    def end(self, name: str) -> None:
        if self._skipping:
            self._skipping -= 1
            return
        match local(name)[1]:
            case "style":
                self._style = ""
            case "p" | "h" if self._depth:
                self.layout.end_paragraph()
                self._depth -= 1
                self._bold.pop()
            case "span":
                self._bold.pop()
            case "table-row":
                self.layout.end_row()
            case "table":
                self.layout.end_table()

    def text(self, characters: str) -> None:
        if self._depth and not self._skipping:
            self.layout.add(_SPACE.sub(" ", characters), bold=self._bold[-1])


class _StylesOf(xmlstream.Nothing):
    """Reads ``styles.xml`` for the styles that those of the text are made of."""

    def __init__(self, reader: _OpenDocument) -> None:
        self._reader = reader

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if local(name)[1] in ("style", "text-properties"):
            self._reader.start(name, attributes)

    def end(self, name: str) -> None:
        if local(name)[1] == "style":
            self._reader.end(name)

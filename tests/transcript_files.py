"""One synthetic interview in every format that is read, written by libraries that others wrote where there are some."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Callable
from pathlib import Path

Interview = tuple[tuple[str, tuple[str, ...]], ...]

_LONG = (
    "That was the winter in which everything slowed down. I had come to the group because my supervisor thought that "
    "it would do me good, and I sat at the back with my coat on. Nobody minded. "
    "They talked about the families, one after the other, and I kept looking for the point where somebody would say "
    "what the right answer was. It never came. "
)

INTERVIEW: Interview = (
    ("INTERVIEWER", ("Thank you for coming. What do you remember of the first day?",)),
    ("P1", ("I was lost, to be honest; nothing made sense. My café round the corner was the only thing I knew.",)),
    ("INTERVIEWER", ("And then?",)),
    ("P1", ("Then we listened to ourselves.", "I felt ashamed. Größe, dachte ich: that is what I never had.")),
    ("P2", ("So did I. We all did; nobody had said it before.",)),
    ("INTERVIEWER", ("Did anything change for you after that?",)),
    ("P1", (_LONG * 6 + "In the end I took the coat off.",)),
    ("P2", ("Yes.",)),
    ("INTERVIEWER", ("What would you do next?",)),
    ("P2", ("I would ask one family what they think, and keep quiet. That is all I have planned so far.",)),
)
"""Who speaks, and the paragraphs of what is said."""


def write(folder: Path, ending: str, interview: Interview = INTERVIEW) -> Path:
    """An interview as a file in `folder`."""
    path = folder / f"interview{ending}"
    _WRITERS[ending](path, interview)
    return path


def _txt(path: Path, interview: Interview) -> None:
    path.write_text("".join(f"{who}: {chr(10).join(said)}\n\n" for who, said in interview), encoding="cp1252")


def _md(path: Path, interview: Interview) -> None:
    lines = [f"**{who}:** " + "\n\n".join(said).replace("*", r"\*") for who, said in interview]
    path.write_text("\n\n".join(lines).replace("honest", "*honest*"), encoding="utf-8-sig")


def _docx(path: Path, interview: Interview) -> None:
    import docx

    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Study 12, confidential"
    for who, said in interview:
        for number, words in enumerate(said):
            paragraph = document.add_paragraph()
            if number == 0:
                paragraph.add_run(who).bold = True
                paragraph.add_run("\t")
            middle = len(words) // 2  # a program cuts a paragraph anywhere
            paragraph.add_run(words[:middle])
            paragraph.add_run(words[middle:]).italic = True
    document.save(str(path))


def _odt(path: Path, interview: Interview) -> None:
    from odf import style, teletype, text
    from odf.opendocument import OpenDocumentText

    document = OpenDocumentText()
    bold = style.Style(name="Name", family="text")
    bold.addElement(style.TextProperties(fontweight="bold"))
    document.automaticstyles.addElement(bold)
    for who, said in interview:
        for number, words in enumerate(said):
            paragraph = text.P()
            if number == 0:
                paragraph.addElement(text.Span(stylename=bold, text=f"{who}:"))
                teletype.addTextToElement(paragraph, "  ")
            teletype.addTextToElement(paragraph, words)
            document.text.addElement(paragraph)
    document.save(str(path))


def _rtf(path: Path, interview: Interview) -> None:
    def escaped(words: str) -> str:
        return "".join(c if ord(c) < 128 else f"\\'{ord(c):02x}" if c != "ö" else f"\\u{ord(c)}?" for c in words)

    turns = [rf"{{\b {who}:}} " + r"\par ".join(map(escaped, said)) for who, said in interview]
    body = (r"\par\par" + "\n").join(turns)
    path.write_text(
        r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss Helvetica;}}{\header Study 12\par}\f0\fs24 " + body + "}",
        encoding="ascii",
    )


def _pdf(path: Path, interview: Interview) -> None:
    from fpdf import FPDF

    class Page(FPDF):
        def header(self) -> None:
            self.set_font("Helvetica", size=8)
            self.cell(0, 8, "Study 12, confidential", new_x="LMARGIN", new_y="NEXT")
            self.ln(6)

        def footer(self) -> None:
            self.set_y(-15)
            self.set_font("Helvetica", size=8)
            self.cell(0, 8, f"Page {self.page_no()} of 3", align="C")

    page = Page(format=(148, 210))
    page.add_page()
    for who, said in interview:
        for number, words in enumerate(said):
            if number == 0:
                page.set_font("Helvetica", "B", 11)
                page.write(6, f"{who}: ")
            page.set_font("Helvetica", size=11)
            page.write(6, words)
            page.ln(10)
    page.output(str(path))


def _cues(interview: Interview) -> list[tuple[str, str]]:
    """Who speaks, and what one subtitle shows."""
    return [(who, cue) for who, said in interview for words in said for cue in textwrap.wrap(words, 70)]


def _clock(second: int, point: str) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}{point}500"


def _vtt(path: Path, interview: Interview) -> None:
    cues = [
        f"{number}\n{_clock(3 * number, '.')} --> {_clock(3 * number + 3, '.')} align:start\n<v {who}>{words}</v>\n\n"
        for number, (who, words) in enumerate(_cues(interview))
    ]
    path.write_text("WEBVTT\n\nNOTE made by a program\n\n" + "".join(cues), encoding="utf-8", newline="\r\n")


def _srt(path: Path, interview: Interview) -> None:
    cues = [
        f"{number}\n{_clock(3 * number, ',')} --> {_clock(3 * number + 3, ',')}\n{who}: {words}\n\n"
        for number, (who, words) in enumerate(_cues(interview), start=1)
    ]
    path.write_text("".join(cues), encoding="utf-16")


Cells = list[list[str | int | None]]


def _rows(interview: Interview) -> Cells:
    """A row a turn; a table is not cut."""
    rows: Cells = [[who, number, "\n".join(said)] for number, (who, said) in enumerate(interview, start=1)]
    return [["speaker", "turn", "text"], *rows]


def _csv(path: Path, interview: Interview) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ";").writerows(_rows(interview))


def _xlsx(path: Path, interview: Interview) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in _rows(interview):
        sheet.append(row)
    book.save(path)


def _jsonl(path: Path, interview: Interview) -> None:
    header, *rows = _rows(interview)
    path.write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows))


def _parquet(path: Path, interview: Interview) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    header, *rows = _rows(interview)
    pq.write_table(pa.Table.from_pylist([dict(zip(header, row, strict=True)) for row in rows]), path)


_WRITERS: dict[str, Callable[[Path, Interview], None]] = {
    ".docx": _docx,
    ".odt": _odt,
    ".rtf": _rtf,
    ".pdf": _pdf,
    ".txt": _txt,
    ".md": _md,
    ".vtt": _vtt,
    ".srt": _srt,
    ".csv": _csv,
    ".tsv": _csv,
    ".xlsx": _xlsx,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}

DOCUMENTS = (".docx", ".odt", ".rtf", ".pdf", ".txt", ".md", ".vtt", ".srt")
TABLES = (".csv", ".tsv", ".xlsx", ".jsonl", ".parquet")

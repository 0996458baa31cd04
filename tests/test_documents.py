"""Documents of every format: the same interview reads the same, and each format's own ways of saying things."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import transcript_files
from tl_classifier.corpus import inputs, transcripts
from tl_classifier.corpus.documents import read_document
from tl_classifier.corpus.refi.reader import read_project
from tl_classifier.corpus.scored import read_scored
from tl_classifier.corpus.subtitles import find_cues
from tl_classifier.errors import UserError
from tl_classifier.excerpts import Excerpt

Spoken = list[tuple[str | None, str]]

INTERVIEW = [(who, " ".join(said)) for who, said in transcript_files.INTERVIEW]


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tl_classifier", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def words(text: str) -> str:
    return " ".join(text.split())


def spoken(path: Path) -> Spoken:
    document = read_document(path)
    return [
        (turn.speaker, words(document.text[turn.start : turn.end]))
        for turn in transcripts.find_turns(document.text, document.marks)
    ]


# --- the same interview -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", transcript_files.DOCUMENTS)
def test_every_document_gives_the_same_turns(tmp_path: Path, ending: str) -> None:
    path = transcript_files.write(tmp_path, ending)
    assert spoken(path) == INTERVIEW
    text = transcripts.document_text(path)
    rows = list(transcripts.read_transcript(path))
    assert [row.turn for row in rows] == [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]  # the seventh is long, and cut
    for row in rows:
        assert isinstance(row, Excerpt)
        assert (row.document, row.text) == ("interview", text[row.start : row.end])


@pytest.mark.parametrize("ending", transcript_files.TABLES)
def test_every_table_gives_the_same_turns(tmp_path: Path, ending: str) -> None:
    rows = list(inputs.read_rows([transcript_files.write(tmp_path, ending)]))
    assert [(row.speaker, words(row.text)) for row in rows if isinstance(row, Excerpt)] == INTERVIEW


def test_every_ending_that_is_read_is_tried() -> None:
    assert set(transcript_files.DOCUMENTS) == set(inputs.TRANSCRIPTS)
    assert set(transcript_files.TABLES) == set(inputs.TABLES)


def test_what_is_shown(tmp_path: Path) -> None:
    for ending, form, encoding in ((".pdf", "a PDF", None), (".txt", "plain text", "Windows-1252")):
        done = command("transcript", "show", transcript_files.write(tmp_path, ending), "--json")
        assert done.returncode == 0, done.stderr
        shown: dict[str, Any] = json.loads(done.stdout)
        assert [(turn["speaker"], words(turn["text"])) for turn in shown["turns"]] == INTERVIEW
        assert (shown["format"], shown["encoding"], shown["excerpts_scored"]) == (form, encoding, 7)
        assert {speaker["name"]: speaker["interviewer"] for speaker in shown["speakers"]} == {
            "INTERVIEWER": True,
            "P1": False,
            "P2": False,
        }
    done = command("transcript", "show", tmp_path / "interview.txt", "--interviewer", "P2", "--interviewer", "Nobody")
    assert "plain text, Windows-1252" in done.stdout
    assert "Interviewer: P2 (told with --interviewer)." in done.stdout
    assert "Nobody is called nobody in it." in done.stdout
    assert "P1: I was lost, to be honest" in done.stdout
    refused = command("transcript", "show", tmp_path / "none.docx")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "does not exist" in refused.stderr


def test_what_is_scored(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = tmp_path / "interviews"
    for ending in transcript_files.DOCUMENTS + transcript_files.TABLES:
        (folder / ending[1:]).mkdir(parents=True)
        transcript_files.write(folder / ending[1:], ending)
    out = tmp_path / "out.csv"
    done = command("score", folder, "-o", out, "--model", tiny_bundle)
    assert done.returncode == 0, done.stderr
    assert "rows of INTERVIEWER left out: interviewer, by the name." in done.stderr
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    answers = [(who, said) for who, said in INTERVIEW if who != "INTERVIEWER"]
    wanted = len(transcript_files.DOCUMENTS) * (len(answers) + 1) + len(transcript_files.TABLES) * len(answers)
    assert len(rows) == wanted  # a long turn of a document is cut
    for who, said in answers:
        if len(said) < 500:
            same = [row for row in rows if words(row["text"]) == said]
            assert len(same) == len(transcript_files.DOCUMENTS + transcript_files.TABLES)
            assert {row["speaker"] for row in same} == {who}
            assert len({row["p.stage.self_examination"] for row in same}) == 1

    everybody = tmp_path / "everybody.jsonl"
    options = ("--include-interviewer", "--model", tiny_bundle)
    assert command("score", folder / "docx", "-o", everybody, *options).returncode == 0
    assert len(everybody.read_text("utf-8").splitlines()) == len(INTERVIEW) + 1


# --- encodings --------------------------------------------------------------------------------------------------


def test_one_command_from_many_formats_to_project_sheet_and_report(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, ending in enumerate(transcript_files.DOCUMENTS):
        path = transcript_files.write(folder, ending)
        path.rename(folder / f"{number}{ending}")
    sheet, project, report = (tmp_path / name for name in ("out.xlsx", "out.qdpx", "out.html"))
    arguments = ("score", folder, "-o", sheet, "--project", project, "--report", report, "--model", tiny_bundle)
    done = command(*arguments, "--evidence")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("Written: ")] == [
        f"Written: {path}" for path in (sheet, project, report)
    ]
    read = read_project(project)
    texts = {source.name: source.text for source in read.sources}
    for number, ending in enumerate(transcript_files.DOCUMENTS):
        whole = transcripts.document_text(folder / f"{number}{ending}")
        assert (texts[str(number)] or "").rstrip() == whole.rstrip()
    codings = [coding for source in read.sources for selection in source.selections for coding in selection.codings]
    given = [sum(len(codes) for codes in record["codes"].values()) for record in read_scored(sheet)]
    assert len(codings) == sum(given) > 20
    assert all("in the words" in read.notes[coding.notes[0]].text for coding in codings)
    assert "<mark>" in report.read_text("utf-8")

    again = command(*arguments)
    assert again.returncode == 1 and "exists already" in again.stderr
    assert command(*arguments, "--no-text", "--force").returncode == 2


@pytest.mark.parametrize("ending", [".txt", ".md", ".vtt", ".srt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings(tmp_path: Path, ending: str, encoding: str) -> None:
    said = "Das war größer als das Café – “viel größer”."
    content = f"Anna: {said}\n\nBen: Ja?\n\nAnna: {said}\n\nBen: So.\n"
    if ending in (".vtt", ".srt"):
        content = f"1\n00:00:01,000 --> 00:00:02,000\nAnna: {said}\n\n2\n00:00:03,000 --> 00:00:04,000\nBen: Ja?\n\n"
        content += f"3\n00:00:05,000 --> 00:00:06,000\nAnna: {said}\n\n"
        content += "4\n00:00:07,000 --> 00:00:08,000\nBen: So.\n"
    path = tmp_path / f"t{ending}"
    path.write_bytes(content.encode(encoding))
    assert spoken(path) == [("Anna", said), ("Ben", "Ja?"), ("Anna", said), ("Ben", "So.")]
    assert "�" not in transcripts.document_text(path)


@pytest.mark.parametrize("encoding", ["mac_roman", "cp437", "koi8_r", "shift_jis", "gb18030"])
def test_encodings_that_are_not_known_are_refused(tmp_path: Path, encoding: str) -> None:
    said = {
        "koi8_r": "Это было зимой, и я ничего не понял. ",
        "shift_jis": "それは冬のことでした。",
        "gb18030": "那是冬天。",
    }
    path = tmp_path / "t.txt"
    path.write_bytes(("Anna: " + said.get(encoding, "Größe über alles, für uns. ") * 5).encode(encoding))
    with pytest.raises(UserError, match="save it as UTF-8"):
        read_document(path)


# --- Word and OpenDocument --------------------------------------------------------------------------------------

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx(path: Path, body: str, **parts: str) -> Path:
    """A Word document of these paragraphs, in its XML."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        document = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
        archive.writestr("word/document.xml", document)
        for name, content in parts.items():
            archive.writestr(f"word/{name}.xml", content)
    return path


def run(words: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{words}</w:t></w:r>'


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


def test_tracked_changes_hidden_text_and_breaks(tmp_path: Path) -> None:
    body = paragraph(
        run("P1: I was "),
        f"<w:ins>{run('really ')}</w:ins>",
        f"<w:del><w:r><w:delText>never </w:delText></w:r>{run('gone ')}</w:del>",
        run("secret ", "<w:vanish/>"),
        run("lost"),
        "<w:r><w:br/></w:r>",
        run("for weeks", '<w:vanish w:val="0"/>'),
        "<w:r><w:noBreakHyphen/><w:tab/></w:r>",
        run("on end."),
    )
    assert read_document(docx(tmp_path / "t.docx", body)).text == "P1: I was really lost\nfor weeks-\ton end."


def test_a_table_of_turns(tmp_path: Path) -> None:
    def row(*cells: str) -> str:
        return f"<w:tr>{''.join(f'<w:tc>{paragraph(run(cell))}</w:tc>' for cell in cells)}</w:tr>"

    rows = [("1", "00:00:01", "Anna", "And then?"), ("2", "00:00:05", "Ben", "I was lost."), ("3", "", "Anna", "Oh.")]
    body = f"<w:tbl>{''.join(row(*cells) for cells in rows)}</w:tbl>"
    assert spoken(docx(tmp_path / "a.docx", body)) == [("Anna", "And then?"), ("Ben", "I was lost."), ("Anna", "Oh.")]
    named = row("No", "Text", "Note", "Speaker") + "".join(row("1", said, "x", who) for _, _, who, said in rows)
    assert spoken(docx(tmp_path / "b.docx", f"<w:tbl>{named}</w:tbl>")) == spoken(tmp_path / "a.docx")


def test_names_in_bold_or_in_a_style_that_is(tmp_path: Path) -> None:
    turns = [("Anna", "And then?"), ("Ben", "I was lost."), ("Anna", "Lost?"), ("Ben", "Yes.")]
    bold = "".join(paragraph(run(f"{who} ", "<w:b/>"), run(said)) for who, said in turns)
    assert spoken(docx(tmp_path / "a.docx", bold)) == turns
    styles = f'<w:styles xmlns:w="{WORD}"><w:style w:styleId="S"><w:rPr><w:b/></w:rPr></w:style></w:styles>'
    styled = "".join(paragraph(run(f"{who} ", '<w:rStyle w:val="S"/>'), run(said)) for who, said in turns)
    assert spoken(docx(tmp_path / "b.docx", styled, styles=styles)) == turns


def test_an_odt_with_notes_spaces_and_changes(tmp_path: Path) -> None:
    path = tmp_path / "t.odt"
    names = "urn:oasis:names:tc:opendocument:xmlns"
    body = (
        "<text:tracked-changes><text:p>P9: never said</text:p></text:tracked-changes>"
        '<text:p>P1: I<text:s text:c="3"/>was'
        "<text:note><text:note-body><text:p>a note</text:p></text:note-body></text:note> lost<text:line-break/>\n  "
        "for<text:tab/>weeks.</text:p><text:p>P2: Oh.</text:p>"
    )
    content = (
        f'<office:document-content xmlns:office="{names}:office:1.0" xmlns:text="{names}:text:1.0"><office:body>'
        f"<office:text>{body}</office:text></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("content.xml", content)
    assert read_document(path).text == "P1: I   was lost\n for\tweeks.\n\nP2: Oh."


# --- PDF --------------------------------------------------------------------------------------------------------


def pdf(path: Path, lines: list[str], *, numbered: bool = False) -> Path:
    """A PDF with lines as they are given, 30 a page, under a header."""
    from fpdf import FPDF

    page = FPDF(format="A4")
    page.set_font("Helvetica", size=11)
    for at, line in enumerate(lines):
        if at % 30 == 0:
            page.add_page()
            page.text(20, 10, f"Study 12, page {page.page_no()}")
        page.text(20, 25 + 6 * (at % 30), f"{at + 1:>3}  {line}" if numbered else line)
    page.output(str(path))
    return path


SAID = ["P1: When I came home that evening there was nobody, and I sat in the kit-", "chen until it was dark."]


@pytest.mark.parametrize("numbered", [False, True])
def test_lines_of_a_pdf_become_turns(tmp_path: Path, numbered: bool) -> None:
    path = pdf(tmp_path / "t.pdf", [*SAID, "INT: And then?"] * 25, numbered=numbered)
    document = read_document(path)
    answer = "When I came home that evening there was nobody, and I sat in the kit-\nchen until it was dark."
    turns = transcripts.find_turns(document.text, document.marks)
    assert [turn.speaker for turn in turns] == ["P1", "INT"] * 25
    assert {document.text[turn.start : turn.end] for turn in turns} == {answer, "And then?"}
    assert any("headers" in note for note in document.notes)
    assert any("Line numbers" in note for note in document.notes) == numbered


def test_a_pdf_without_text_and_one_with_a_password(tmp_path: Path) -> None:
    from fpdf import FPDF

    page = FPDF()
    page.add_page()
    page.rect(10, 10, 50, 50)
    page.output(str(tmp_path / "image.pdf"))
    with pytest.raises(UserError, match="run OCR"):
        read_document(tmp_path / "image.pdf")
    page = FPDF()
    page.set_encryption(owner_password="secret", user_password="secret")
    page.add_page()
    page.output(str(tmp_path / "locked.pdf"))
    with pytest.raises(UserError, match="protected with a password"):
        read_document(tmp_path / "locked.pdf")


# --- subtitles --------------------------------------------------------------------------------------------------

SUBTITLES = {
    "Zoom": (
        ".vtt",
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:03.000\nAnna Berg: And then?\n\n2\n00:00:04.000 --> 00:00:06.000\n"
        "Ben Carr: I was lost,\n\n3\n00:00:06.100 --> 00:00:09.000\nBen Carr: for weeks.\n\n"
        "4\n00:00:10.000 --> 00:00:11.000\nAnna Berg: Oh.\n",
    ),
    "Teams": (
        ".vtt",
        "WEBVTT\n\n0f1-0\n00:00:01.000 --> 00:00:03.000\n<v Anna Berg>And then?</v>\n\n0f1-1\n"
        "00:00:04.000 --> 00:00:06.000\n<v Ben Carr>I was lost,</v>\n\n00:00:06.100 --> 00:00:09.000\n"
        "<v Ben Carr>for weeks.</v>\n\n00:00:10.000 --> 00:00:11.000\n<v.loud Anna Berg>Oh.</v>\n",
    ),
    "two in one subtitle": (
        ".vtt",
        "WEBVTT - a title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE\nby hand\n\n00:01.000 --> 00:05.000\n"
        "<v Anna Berg>And then?\n<v Ben Carr>I was lost,\n\n00:06.000 --> 00:09.000 line:0\n"
        "<v Ben Carr><i>for</i> weeks.\n"
        "<v Anna Berg>Oh.",
    ),
    "SubRip without blank lines": (
        ".srt",
        "1\n00:00:01,000 --> 00:00:03,000\nAnna Berg: And then?\n2\n00:00:04,000 --> 00:00:06,000\nBen Carr: I was "
        "lost,\n3\n00:00:06,100 --> 00:00:09,000\nBen Carr: for\nweeks.\n"
        "4\n00:00:10,000 --> 00:00:11,000\nAnna Berg: Oh.\n",
    ),
}


@pytest.mark.parametrize("style", SUBTITLES)
def test_subtitles(tmp_path: Path, style: str) -> None:
    ending, content = SUBTITLES[style]
    path = tmp_path / f"t{ending}"
    path.write_text(content, encoding="utf-8")
    assert spoken(path) == [("Anna Berg", "And then?"), ("Ben Carr", "I was lost, for weeks."), ("Anna Berg", "Oh.")]


def test_subtitles_of_which_some_have_no_voice(tmp_path: Path) -> None:
    path = tmp_path / "t.vtt"
    path.write_text(
        "WEBVTT\n\n00:01.000 --> 00:02.000\n(music)\n\n00:03.000 --> 00:05.000\n<v Ann>And then?</v>\n\n"
        "00:06.000 --> 00:07.000\n\n00:08.000 --> 00:09.000\nOh, <v Ben>I was lost.\n"
    )
    assert spoken(path) == [(None, "(music)"), ("Ann", "And then? Oh,"), ("Ben", "I was lost.")]


def test_subtitles_without_names(tmp_path: Path) -> None:
    path = tmp_path / "whisper.srt"
    path.write_text(
        "1\n00:00:00,000 --> 00:00:04,000\nI was lost,\n\n2\n00:00:04,000 --> 00:00:08,000\nfor weeks &amp; more.\n\n"
        "3\n00:00:12,000 --> 00:00:14,000\nThen it was over.\n"
    )
    assert spoken(path) == [(None, "I was lost, for weeks & more."), (None, "Then it was over.")]
    path = tmp_path / "diarised.vtt"
    path.write_text(
        "WEBVTT\n\n00:00.000 --> 00:04.000\n[SPEAKER_00]: And then?\n\n"
        "00:04.000 --> 00:08.000\n[SPEAKER_01]: I was lost.\n"
    )
    assert spoken(path) == [("SPEAKER_00", "And then?"), ("SPEAKER_01", "I was lost.")]
    path = tmp_path / "none.vtt"
    path.write_text("WEBVTT\n\nNothing was said.\n")
    with pytest.raises(UserError, match="no subtitles"):
        read_document(path)


@given(
    st.lists(st.sampled_from(["1", "", "00:01.000 --> 00:02.000", "-->", "<v A>b", "<v", "A: b", "{\\an8}x", "&amp;"]))
)
@settings(max_examples=40)
def test_any_lines_are_subtitles_or_none(lines: list[str]) -> None:
    cues = find_cues("\n".join(lines))
    assert len(cues) == sum(line == "00:01.000 --> 00:02.000" for line in lines)
    assert all(line in lines for cue in cues for line in cue.lines)


# --- anything ---------------------------------------------------------------------------------------------------

names = st.sampled_from([("Interviewer", "Participant 1"), ("Anna", "Ben"), ("I", "P1")])


def western(said: str) -> str:
    """With what Windows-1252 is known by: characters beyond ASCII are few, as in any Western language.

    Two stay. No two dots of three stand in a row: é and two of them are the bytes of a Chinese letter in UTF-8.
    """
    kept = [match.start() for match in re.finditer("[é…]", said)][:2]
    few = "".join(one if at in kept or one.isascii() else "e" for at, one in enumerate(said))
    return few.replace("……", "…")


sayings = st.lists(
    st.text(st.sampled_from("abc é,;-…"), min_size=1, max_size=40).map(lambda said: f"So {words(western(said))} said."),
    min_size=4,
    max_size=10,
)


@given(names, sayings, st.sampled_from([".txt", ".md", ".docx", ".odt", ".vtt", ".srt"]))
@settings(max_examples=30)
def test_any_interview_reads_the_same_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, names: tuple[str, str], said: list[str], ending: str
) -> None:
    interview = tuple((names[at % 2], (words_,)) for at, words_ in enumerate(said))
    path = transcript_files.write(tmp_path_factory.mktemp("any"), ending, interview)
    assert spoken(path) == [(who, words(" ".join(paragraphs))) for who, paragraphs in interview]

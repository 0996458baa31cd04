"""REFI-QDA: projects and codebooks written, read, added to and learnt from; what is made to do harm is refused."""

from __future__ import annotations

import csv
import datetime
import io
import json
import random
import sqlite3
import stat
import struct
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import xmlschema
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests import transcript_files
from tl_classifier.codebook import Code, Codebook, Dimension, Group
from tl_classifier.commands import codebook as codebook_command
from tl_classifier.commands import export as export_command
from tl_classifier.corpus import composed
from tl_classifier.corpus.coded import UnknownCodeError, read_coded
from tl_classifier.corpus.inputs import read_excerpts
from tl_classifier.corpus.refi import archive, positions, xmldoc
from tl_classifier.corpus.refi.codebooks import code_guid, code_tree, read_qdc, write_qdc
from tl_classifier.corpus.refi.codings import read_code_map, read_project_codings, read_turns
from tl_classifier.corpus.refi.model import MODEL_ID, ProjectCode, make_guid
from tl_classifier.corpus.refi.palette import colors_of
from tl_classifier.corpus.refi.reader import read_project
from tl_classifier.corpus.refi.writer import ProjectWriter
from tl_classifier.errors import CodebookError, InputError, UserError
from tl_classifier.excerpts import Excerpt, Prediction, Unscorable, record

SCHEMAS = Path(archive.__file__).with_name("schemas")
PROJECT_SCHEMA = xmlschema.XMLSchema(SCHEMAS / "Project.xsd")
CODEBOOK_SCHEMA = xmlschema.XMLSchema(SCHEMAS / "Codebook.xsd")
NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
MODEL = "tiny@2026.01.01-aaaabbbb"

ACTS = Dimension(
    "act",
    "Acts",
    (
        Code("digging", "Digging a hole", "With a spade.", ("holes", "trenches"), ("raking",), ("I dug it.",), "work"),
        Code("planting", "Planting", "", group="work"),
        Code("rest", "Rest", "On a bench."),
    ),
    groups=(Group("work", "Hard work", "What makes one tired."),),
    description="What is done.",
    note="Invented.",
)
MOODS = Dimension("mood", "Mood", (Code("glad", "Glad", ""), Code("rest", "Rest", "")), exclusive=True)
CODEBOOK = Codebook("garden", "1", "Garden", (ACTS, MOODS))


def guid(number: int) -> str:
    return f"abcdef00-0000-4000-8000-{number:012d}"


def pack(path: Path, members: dict[str, str | bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content, **options)
    return path


def project_xml(path: Path) -> bytes:
    with zipfile.ZipFile(path) as file:
        return file.read(next(name for name in file.namelist() if name.endswith(".qde")))


def check_valid(path: Path) -> None:
    PROJECT_SCHEMA.validate(io.BytesIO(project_xml(path)))


# A project as another program may write it: a prefix, upper case, braces, comments, and what this one has no use for.
WORDS = (
    "INT: How was it?\r\nP1: I dug a hole 🌱 today.\r\nP1: Then I sat down.\r\nINT: And?\r\nP2: We planted trees.\r\n"
)
FOREIGN = f"""<?xml version="1.0" encoding="utf-8"?>
<!-- written elsewhere -->
<q:Project xmlns:q="urn:QDA-XML:project:1.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="urn:QDA-XML:project:1.0 Project.xsd" name="Allotment" origin="Other 1.0"
  creationDateTime="2025-01-01T00:00:00Z">
  <q:Users><q:User guid="{{{guid(1)}}}" name="Ada" id="A"/><q:User guid="{guid(2)}" name="Bea"/></q:Users>
  <q:CodeBook><q:Codes>
    <q:Code guid="{guid(10)}" name="Doing" isCodable="false"><q:Description>What they do &amp; say.</q:Description>
      <q:Code guid="{guid(11).upper()}" name="digging a HOLE" isCodable="true" color="#0f0"/>
      <q:Code guid="{guid(12)}" name="Sitting" isCodable="true"><q:NoteRef targetGUID="{guid(60)}"/></q:Code>
    </q:Code>
    <q:Code guid="{guid(13)}" name="Unused" isCodable="true"/>
  </q:Codes></q:CodeBook>
  <q:Variables><q:Variable guid="{guid(20)}" name="Age" typeOfVariable="Integer"/></q:Variables>
  <q:Cases><q:Case guid="{guid(21)}" name="One"><q:VariableValue><q:VariableRef targetGUID="{guid(20)}"/>
    <q:IntegerValue>40</q:IntegerValue></q:VariableValue><q:SourceRef targetGUID="{guid(30)}"/></q:Case></q:Cases>
  <q:Sources>
    <q:TextSource guid="{guid(30)}" name="plot.docx" plainTextPath="internal://{guid(30)}.txt"
       richTextPath="internal://{guid(30)}.docx">
      <q:PlainTextSelection guid="{guid(40)}" startPosition="22" endPosition="42" creatingUser="{guid(1)}">
        <q:Coding guid="{guid(50)}" creatingUser="{{{guid(1)}}}"><q:CodeRef targetGUID="{guid(11).upper()}"/></q:Coding>
        <q:Coding guid="{guid(51)}" creatingUser="{guid(2)}"><q:CodeRef targetGUID="{guid(11).upper()}"/>
          <q:NoteRef targetGUID="{guid(60)}"/></q:Coding>
      </q:PlainTextSelection>
      <q:PlainTextSelection guid="{guid(41)}" startPosition="49" endPosition="64" creatingUser="{guid(1)}">
        <q:Coding guid="{guid(52)}" creatingUser="{guid(1)}"><q:CodeRef targetGUID="{guid(12)}"/></q:Coding>
      </q:PlainTextSelection>
      <q:VariableValue><q:VariableRef targetGUID="{guid(20)}"/><q:IntegerValue>41</q:IntegerValue></q:VariableValue>
    </q:TextSource>
    <q:PictureSource guid="{guid(31)}" name="map" path="internal://{guid(31)}.png"/>
    <q:PDFSource guid="{guid(32)}" name="leaflet" path="internal://{guid(32)}.pdf">
      <q:PDFSelection guid="{guid(42)}" page="1" firstX="0" firstY="0" secondX="9" secondY="9"/>
      <q:Representation guid="{guid(33)}"><q:PlainTextContent>Plant in May.</q:PlainTextContent></q:Representation>
    </q:PDFSource>
    <q:AudioSource guid="{guid(34)}" name="talk" path="internal://{guid(34)}.mp3">
      <q:Transcript guid="{guid(35)}"><q:PlainTextContent>It rained. We left.</q:PlainTextContent>
        <q:SyncPoint guid="{guid(70)}" timeStamp="0" position="0"/>
        <q:SyncPoint guid="{guid(71)}" timeStamp="9" position="10"/>
        <q:TranscriptSelection guid="{guid(43)}" fromSyncPoint="{guid(70)}" toSyncPoint="{guid(71)}"/>
      </q:Transcript>
    </q:AudioSource>
  </q:Sources>
  <q:Notes><q:Note guid="{guid(60)}" name="Memo"><q:PlainTextContent>Look &lt;again&gt;.</q:PlainTextContent></q:Note>
  </q:Notes>
  <q:Links><q:Link guid="{guid(61)}" originGUID="{guid(40)}" targetGUID="{guid(41)}"/></q:Links>
  <q:Sets><q:Set guid="{guid(62)}" name="All"><q:MemberSource targetGUID="{guid(30)}"/></q:Set></q:Sets>
  <q:Graphs><q:Graph guid="{guid(63)}"><q:Vertex guid="{guid(64)}" firstX="0" firstY="0"/></q:Graph></q:Graphs>
  <q:Description>Of an allotment.</q:Description>
</q:Project>
"""


def foreign(path: Path, xml: str = FOREIGN) -> Path:
    members: dict[str, str | bytes] = {
        "project.qde": xml,
        f"Sources/{guid(30)}.txt": b"\xef\xbb\xbf" + WORDS.encode(),
        f"Sources/{guid(30)}.docx": b"PK rich",
        f"Sources/{guid(31)}.png": bytes(range(256)),
    }
    return pack(path, members)


# --- round trips ------------------------------------------------------------------------------------------------


def small_project(path: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    """Three sources, nested codes, two coders; returns guids of coders and sources too."""
    writer = ProjectWriter(name="Ours & theirs", created=NOON)
    tree = (
        ProjectCode(guid(1), 'A "top" <code>', "With\ntwo lines", "#112233", False, (ProjectCode(guid(2), "Below"),)),
        ProjectCode(guid(3), "Alone", children=(ProjectCode(guid(4), "Deep", "", "#abc"),)),
    )
    writer.add_codes(tree)
    coders = {name: writer.add_coder(name) for name in ("Ada", "Bea")}
    texts = {"one": "First. Second 😀 third.\n", "two": "Ein Wort, é ü\r\nzwei.", "three": "\tx\n\n\x0b y"}
    sources = {name: writer.add_source(name, text) for name, text in texts.items()}
    writer.add_coding(sources["one"], 7, 22, guid(2), coders["Ada"], name="n", description="why", note="sure")
    writer.add_coding(sources["one"], 7, 22, guid(4), coders["Ada"])
    writer.add_coding(sources["one"], 7, 22, guid(4), coders["Bea"])
    writer.add_coding(sources["two"], 0, 8, guid(4), coders["Bea"], note="sure")
    writer.write(path)
    return path, coders, sources


def test_a_project_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path, coders, sources = small_project(tmp_path / "a.qdpx")
    check_valid(path)
    project = read_project(path)
    assert project.name == "Ours & theirs"
    assert {coder.name: coder.guid for coder in project.coders} == coders
    top, alone = project.codes
    assert (top.name, top.description, top.color, top.codable) == (
        'A "top" <code>',
        "With\ntwo lines",
        "#112233",
        False,
    )
    assert [code.name for _, code in alone.walk()] == ["Alone", "Deep"]
    one, two, three = project.sources
    assert [source.guid for source in project.sources] == list(sources.values())
    assert (one.text, three.text) == ("First. Second 😀 third.\n", "\tx\n\n\x0b y")
    assert two.text == "Ein Wort, é ü\r\nzwei."
    first, second = one.selections
    assert {(s.start, s.end) for s in (first, second)} == {(7, 22)}
    assert {(s.name, s.description) for s in (first, second)} == {("n", "why"), ("", "")}
    by_coder = {s.coder: [coding.code for coding in s.codings] for s in (first, second)}
    assert by_coder == {coders["Ada"]: [guid(2), guid(4)], coders["Bea"]: [guid(4)]}
    assert two.text[two.selections[0].start : two.selections[0].end] == "Ein Wort"
    notes = [
        project.notes[note].text for s in (*one.selections, *two.selections) for c in s.codings for note in c.notes
    ]
    assert notes == ["sure", "sure"]


def test_writing_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = small_project(tmp_path / "a.qdpx")[0], small_project(tmp_path / "b.qdpx")[0]
    assert one.read_bytes() == two.read_bytes()


def test_what_other_programs_write_is_understood(tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.qdpx")
    check_valid(path)
    project = read_project(path)
    assert [(c.name, c.id) for c in project.coders] == [("Ada", "A"), ("Bea", "")]
    assert [" > ".join(names) for names, _ in project.walk_codes()][:3] == [
        "Doing",
        "Doing > digging a HOLE",
        "Doing > Sitting",
    ]
    plot, leaflet, talk = project.sources
    assert plot.text == WORDS
    assert [plot.text[s.start : s.end] for s in plot.selections] == ["I dug a hole 🌱 today.", "Then I sat down."]
    assert [c.coder for c in plot.selections[0].codings] == [guid(1), guid(2)]
    assert (leaflet.name, leaflet.text) == ("leaflet", "Plant in May.")
    assert [talk.text[s.start : s.end] for s in talk.selections if talk.text] == ["It rained."]
    assert project.notes[guid(60)].text == "Look <again>."


def added(path: Path, out: Path) -> tuple[bytes, bytes]:
    """Adds to a foreign project, and returns its project file before and after."""
    project = read_project(path)
    writer = ProjectWriter(project, created=NOON)
    coder = writer.add_coder(MODEL, id=MODEL_ID)
    writer.add_codes(code_tree(CODEBOOK))
    writer.add_coding(project.sources[0].guid, 22, 43, guid(11), coder, note="0.9")
    writer.add_coding(project.sources[1].guid, 0, 5, code_guid(CODEBOOK, "act", "planting"), coder)
    new = writer.add_source("new", "Words.\n")
    writer.add_coding(new, 0, 6, guid(12), coder)
    writer.write(out)
    return project_xml(path), project_xml(out)


def test_adding_to_a_project_keeps_every_byte_of_it(tmp_path: Path) -> None:
    path, out = foreign(tmp_path / "a.qdpx"), tmp_path / "b.qdpx"
    before, after = added(path, out)
    check_valid(out)
    at = 0
    for line in before.splitlines(keepends=True):  # insertions lie between elements, some within a line
        for piece in line.replace(b"><", b">\x00<").split(b"\x00"):
            at = after.index(piece.rstrip(b"\n"), at) + len(piece.rstrip(b"\n"))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out) as new:
        for name in old.namelist():
            if name != "project.qde":
                assert new.read(name) == old.read(name)
        assert all(name.startswith("Sources/") for name in new.namelist() if name != "project.qde")
    # Without the elements that were added, it is the document that it was.
    known = {e.get("guid") for e in ET.fromstring(before).iter() if e.get("guid")}
    tree = ET.fromstring(after)
    for parent in list(tree.iter()):
        for child in list(parent):
            if child.get("guid") not in {None, *known}:
                parent.remove(child)
    plain = [ET.canonicalize(ET.tostring(ET.fromstring(xml)), strip_text=True) for xml in (before, ET.tostring(tree))]
    assert plain[0] == plain[1]


def test_adding_refers_to_what_is_there_letter_by_letter(tmp_path: Path) -> None:
    path, out = foreign(tmp_path / "a.qdpx"), tmp_path / "b.qdpx"
    _, after = added(path, out)
    tree = ET.fromstring(after)
    guids = {e.get("guid") for e in tree.iter() if e.get("guid")}
    for e in tree.iter():
        for attribute in ("targetGUID", "creatingUser"):
            if e.get(attribute) and e.get("guid") not in {guid(40), guid(41), guid(52)}:
                assert e.get(attribute) in guids


def test_adding_twice_adds_once(tmp_path: Path) -> None:
    out = tmp_path / "b.qdpx"
    _, once = added(foreign(tmp_path / "a.qdpx"), out)
    _, twice = added(out, tmp_path / "c.qdpx")
    assert twice == once


def test_lists_that_are_empty_or_missing_are_filled(tmp_path: Path) -> None:
    xml = '<Project xmlns="urn:QDA-XML:project:1.0" name="n"><Sources/><!-- x --><Description>d</Description></Project>'
    path = pack(tmp_path / "a.qdpx", {"project.qde": xml})
    writer = ProjectWriter(read_project(path), created=NOON)
    writer.add_codes(code_tree(CODEBOOK))
    source = writer.add_source("s", "Words.")
    writer.add_coding(source, 0, 6, code_guid(CODEBOOK, "mood", "glad"), writer.add_coder("Ada"), note="x")
    writer.write(path)
    check_valid(path)
    assert b"<!-- x -->" in project_xml(path)
    assert read_project(path).sources[0].selections[0].end == 6


def test_a_project_in_utf16_can_be_added_to(tmp_path: Path) -> None:
    xml = FOREIGN.replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16")
    path, out = foreign(tmp_path / "a.qdpx", xml), tmp_path / "b.qdpx"  # type: ignore[arg-type]
    added(path, out)
    check_valid(out)
    assert read_project(out).coders[0].name == "Ada"


# --- positions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("behind", "folded"), [(0, False), (1, False), (0, True), (1, True)])
def test_positions_are_read_as_they_were_meant(behind: int, folded: bool) -> None:
    text = "P1: I dug 🌱 it.\r\nP1: I sat down then.\r\nP2: Yes I did.\r\n"
    counted = text.replace("\r\n", "\n") if folded else text
    words = ["I dug 🌱 it.", "I sat down then.", "Yes I"]
    marks = []
    for piece in words:
        start = counted.index(piece)
        marks.append(positions.Mark(text, start, start + len(piece) - 1 + behind, ""))
    reading = positions.reading_of(marks)
    places = reading.places(text)
    spans = [reading.span(places, mark.start, mark.end) for mark in marks]
    assert [text[slice(*span)] for span in spans if span] == words


def test_names_of_selections_tell_how_positions_are_read() -> None:
    text = "Barack Obama visited Paris"
    assert not positions.reading_of([positions.Mark(text, 0, 5, "Barac")]).inclusive
    assert positions.reading_of([positions.Mark(text, 0, 4, "Barac")]).inclusive
    assert positions.reading_of([]).inclusive  # the standard, where nothing is shown


@given(st.lists(st.text(alphabet="ab😀é.", min_size=1, max_size=8), min_size=1, max_size=6))
def test_no_reader_loses_a_letter_of_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    text = "\n".join(words) + "\n"
    path = tmp_path_factory.mktemp("p") / "a.qdpx"
    writer = ProjectWriter(name="n", created=NOON)
    source, coder = writer.add_source("s", text), writer.add_coder("Ada")
    writer.add_codes([ProjectCode(guid(1), "c")])
    at = 0
    for word in words:
        writer.add_coding(source, at, at + len(word), guid(1), coder)
        at += len(word) + 1
    writer.write(path)
    found = ET.fromstring(project_xml(path)).iter("{urn:QDA-XML:project:1.0}PlainTextSelection")
    spans = [(int(e.get("startPosition", "")), int(e.get("endPosition", ""))) for e in found]
    assert [text[start:end] for start, end in spans] == words
    assert [text[start : end + 1].rstrip("\n") for start, end in spans] == words
    assert [text[s.start : s.end] for s in read_project(path).sources[0].selections] == words


# --- projects to learn from -------------------------------------------------------------------------------------


def learnt(tmp_path: Path, spans: Sequence[tuple[str, str, str]], text: str, codes: Sequence[str] = ()) -> Path:
    """A project with codings (coder, code, words)."""
    writer = ProjectWriter(name="n", created=NOON)
    names = list(dict.fromkeys([*codes, *(code for _, code, _ in spans)]))
    writer.add_codes([ProjectCode(make_guid(name), name) for name in names])
    source = writer.add_source("plot", text)
    for coder, code, words in spans:
        start = text.index(words)
        writer.add_coding(source, start, start + len(words), make_guid(code), writer.add_coder(coder))
    writer.write(tmp_path / "p.qdpx")
    return tmp_path / "p.qdpx"


TALK = """INTERVIEWER: What did you do?

P1: I dug a hole, and it was deep, and it took all day until the evening came.

P1: Then nothing.

P2: We sat on the bench.

P2: And planted.
"""


def codes_by_turn(path: Path, **options: Any) -> dict[tuple[str | None, int | None], dict[str, tuple[str, ...]]]:
    return {(c.coder, c.excerpt.turn): dict(c.codes) for c in read_project_codings(path, CODEBOOK, **options)}


def test_turns_have_the_codes_of_what_overlaps_them(tmp_path: Path) -> None:
    path = learnt(
        tmp_path,
        [
            ("Ada", "digging", "dug a hole"),  # a phrase in a turn
            ("Ada", "Rest", "nothing.\n\nP2: We sat on the bench.\n\nP2: An"),  # over turns, of the last one little
            ("Bea", "act.planting", "P2: And planted.\n"),
        ],
        TALK,
        ["act.rest"],
    )
    with pytest.raises(UnknownCodeError, match="'Rest'"):  # in two dimensions
        read_project_codings(path, CODEBOOK)
    found = codes_by_turn(path, code_map={"rest": ("act", "rest")})
    assert {turn: codes["act"] for (coder, turn), codes in found.items() if coder == "Ada"} == {
        2: ("digging",),
        3: ("rest",),
        4: ("rest",),
        5: (),
    }
    assert {turn: codes["act"] for (coder, turn), codes in found.items() if coder == "Bea"} == {
        2: (),
        3: (),
        4: (),
        5: ("planting",),
    }
    assert all("mood" not in codes for codes in found.values())  # the project has no code of it
    first = read_project_codings(path, CODEBOOK, {"rest": ("act", "rest")})[0].excerpt
    assert (first.document, first.speaker) == ("plot", "P1")
    assert TALK[first.start : first.end] == first.text


def test_a_question_is_learnt_from_where_it_was_coded_itself(tmp_path: Path) -> None:
    path = learnt(tmp_path, [("Ada", "digging", "What did you do?")], TALK)
    assert codes_by_turn(path)["Ada", 1] == {"act": ("digging",)}


def test_models_are_no_teachers_but_can_be_compared(tmp_path: Path) -> None:
    path = learnt(tmp_path, [("Ada", "digging", "dug a hole"), (MODEL, "planting", "And planted.")], TALK)
    assert {coder for coder, _ in codes_by_turn(path)} == {"Ada"}
    assert {coder for coder, _ in codes_by_turn(path, models=True)} == {"Ada", MODEL}
    assert {c.coder for c in read_coded([path], CODEBOOK)} == {"Ada"}
    path = learnt(tmp_path, [(MODEL, "planting", "And planted.")], TALK)
    with pytest.raises(InputError, match="Nothing is coded"):
        read_project_codings(path, CODEBOOK)


def test_all_unknown_codes_are_named_at_once_and_can_be_mapped(tmp_path: Path) -> None:
    path = learnt(
        tmp_path, [("Ada", "Spades", "dug"), ("Ada", "Seats", "bench"), ("Ada", "Moon", "day")], TALK, ["Idle"]
    )
    with pytest.raises(UnknownCodeError) as error:
        read_coded([path], CODEBOOK)
    assert all(name in str(error.value) for name in ("'Spades'", "'Seats'", "'Moon'", "--map"))
    assert "Idle" not in str(error.value)  # never given
    codes = tmp_path / "codes.yaml"
    codes.write_text("spades: act.digging\nSeats: act.rest\nMoon: null\n")
    found = read_coded([path], CODEBOOK, code_map=read_code_map(codes, CODEBOOK))
    assert [c.codes["act"] for c in found] == [("digging",), (), ("rest",), ()]
    codes.write_text("Spades: act.nothing\nSeats: what\n")
    with pytest.raises(UnknownCodeError, match=r"act\.nothing.*what"):
        read_code_map(codes, CODEBOOK)


def test_two_codes_of_an_exclusive_dimension_are_refused_with_their_place(tmp_path: Path) -> None:
    path = learnt(tmp_path, [("Ada", "Glad", "dug"), ("Ada", "mood.rest", "day")], TALK)
    with pytest.raises(InputError, match=r"source 'plot', turn 2.*'mood'"):
        read_project_codings(path, CODEBOOK)


def test_codings_without_their_text_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    xml = FOREIGN.replace(f'plainTextPath="internal://{guid(30)}.txt"', "")
    path = foreign(tmp_path / "a.qdpx", xml)
    with pytest.raises(InputError, match="whose text is not in the project"):
        read_project_codings(path, CODEBOOK, {"sitting": None})
    row = next(iter(read_turns(path)))
    assert isinstance(row, Unscorable)
    assert "formatted document alone, without the plain text" in row.reason


@pytest.mark.parametrize("ending", [".docx", ".odt", ".rtf"])
def test_a_formatted_document_alone_is_read_and_its_text_goes_with_codings(tmp_path: Path, ending: str) -> None:
    turns = (("P1", ("I dug a hole today, café.",)), ("P2", ("We sat.",)))
    document = transcript_files.write(tmp_path, ending, turns)
    closing = "</q:PlainTextSelection>"
    xml = FOREIGN[: FOREIGN.index("<q:PlainTextSelection")] + FOREIGN[FOREIGN.rindex(closing) + len(closing) :]
    xml = xml.replace(f'plainTextPath="internal://{guid(30)}.txt"', "").replace('.docx">', f'{ending}">')
    path = pack(tmp_path / "a.qdpx", {"project.qde": xml, f"Sources/{guid(30)}{ending}": document.read_bytes()})
    source = next(source for source in read_project(path).sources if source.name == "plot.docx")
    assert source.text is not None and "I dug a hole today, café." in source.text
    assert any("dug a hole" in row.text for row in read_turns(path) if isinstance(row, Excerpt))

    begin = source.text.index("dug")
    writer = ProjectWriter(read_project(path), created=NOON)
    coder = writer.add_coder("somebody")
    writer.add_coding(source.guid, begin, begin + 10, code=guid(11), coder=coder)
    added = tmp_path / "added.qdpx"
    writer.write(added)
    again = next(source for source in read_project(added).sources if source.name == "plot.docx")
    assert again.text == source.text
    assert [again.text[s.start : s.end] for s in again.selections] == ["dug a hole"]


def test_a_formatted_document_that_is_none_is_said(tmp_path: Path) -> None:
    xml = FOREIGN.replace(f'plainTextPath="internal://{guid(30)}.txt"', "").replace("q:PlainTextSelection", "q:Other")
    row = next(iter(read_turns(foreign(tmp_path / "a.qdpx", xml))))
    assert isinstance(row, Unscorable)
    assert "which cannot be read" in row.reason


@pytest.mark.parametrize(
    "place", ["relative:///x.txt", "absolute:///etc/passwd", "internal://../../etc/passwd", "gone"]
)
def test_texts_outside_the_project_are_not_read(tmp_path: Path, place: str) -> None:
    path = foreign(tmp_path / "a.qdpx", FOREIGN.replace(f"internal://{guid(30)}.txt", place))
    source = read_project(path).sources[0]
    assert source.text is None
    assert source.problem


def test_turns_of_a_project_can_be_scored(tmp_path: Path) -> None:
    rows = list(read_excerpts([foreign(tmp_path / "a.qdpx")]))
    assert rows == list(read_turns(tmp_path / "a.qdpx"))
    assert [(r.document, r.turn, r.speaker) for r in rows][:3] == [
        ("plot.docx", n, s) for n, s in [(1, "INT"), (2, "P1"), (3, "P1")]
    ]
    assert isinstance(rows[1], Excerpt)
    assert WORDS[rows[1].start : rows[1].end] == rows[1].text == "I dug a hole 🌱 today."
    assert [r.document for r in rows[-3:]] == ["plot.docx", "leaflet", "talk"]


# --- codebooks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codebook", [CODEBOOK, Codebook.default()], ids=["small", "default"])
def test_a_codebook_comes_back_from_qdc(tmp_path: Path, codebook: Codebook) -> None:
    path = tmp_path / "my codes.qdc"
    write_qdc(codebook, path)
    CODEBOOK_SCHEMA.validate(path)
    found = read_qdc(path)
    assert found.dimensions == codebook.dimensions
    assert found.fingerprint == codebook.fingerprint
    assert (found.name, found.title) == ("my-codes", "my codes")


def test_a_codebook_of_another_program_is_made_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "c.qdc"
    path.write_text(
        """<CodeBook xmlns="urn:QDA-XML:codebook:1.0" origin="x"><Codes>
        <Code guid="1" name="Alone" isCodable="true"><Description>Just so.</Description></Code>
        <Code guid="2" name="Top" isCodable="true"><Code guid="3" name="Mid" isCodable="true">
          <Code guid="4" name="Low" isCodable="true"><Code guid="5" name="Lower" isCodable="true"/></Code></Code>
          <Code guid="6" name="None" isCodable="true"/><Code guid="7" name="Ünï 2" isCodable="true"/></Code>
        </Codes></CodeBook>"""
    )
    top, other = read_qdc(path).dimensions
    assert (other.id, [(c.id, c.definition) for c in other.codes]) == ("codes", [("alone", "Just so.")])
    assert [(c.name, c.group) for c in top.codes] == [
        ("Top", None),
        ("Mid", "mid"),
        ("Low", "mid"),
        ("Lower", "mid"),
        ("None", None),
        ("Ünï 2", None),
    ]
    assert len({c.id for c in top.codes}) == 6


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<a",
        "<CodeBook/>",
        "<CodeBook><Codes/></CodeBook>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><CodeBook>&b;</CodeBook>",
    ],
)
def test_what_is_no_codebook_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.qdc"
    path.write_text(content)
    with pytest.raises(CodebookError):
        read_qdc(path)


def test_the_command_takes_and_gives_codebooks_of_other_programs(tmp_path: Path) -> None:
    def command(*arguments: str | Path) -> str:
        result = CliRunner().invoke(codebook_command.commands, [*map(str, arguments)])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    qdc, yaml, tags = tmp_path / "a.qdc", tmp_path / "a.yaml", tmp_path / "a.csv"
    command("export", "-o", qdc)
    CODEBOOK_SCHEMA.validate(qdc)
    assert "2 dimensions, 15 codes" in command("check", qdc)
    command("export", "-o", yaml, "--codebook", qdc)
    assert Codebook.load(yaml).dimensions == Codebook.default().dimensions
    command("export", "-o", tags, "--taguette")
    rows = list(csv.DictReader(tags.read_text("utf-8-sig").splitlines(keepends=True)))
    assert list(rows[0]) == ["tag", "description"]
    assert rows[0]["tag"] == "stage.Disorienting dilemma"
    assert len({row["tag"] for row in rows}) == 15


def test_codes_of_the_same_name_are_told_apart_by_the_dimension() -> None:
    names = [code.name for top in code_tree(CODEBOOK) for _, code in top.walk() if code.codable]
    assert names == ["Digging a hole", "Planting", "Rest (Acts)", "Glad", "Rest (Mood)"]


def test_colours_differ_within_a_dimension() -> None:
    for dimension in (*Codebook.default().dimensions, ACTS, MOODS):
        colors = colors_of(dimension)
        codes = [colors[code.id] for code in dimension.codes]
        assert len(set(codes)) == len(codes)


# --- results as projects ----------------------------------------------------------------------------------------

app = typer.Typer()
export_command.register(app)


@app.callback()
def root() -> None: ...


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def scored_row(
    text: str,
    *codes: str,
    document: str | None = "plot",
    speaker: str | None = None,
    turn: int | None = None,
    p: float = 0.9,
) -> dict[str, Any]:
    given_codes = {d.id: d.in_order(c for c in codes if c in d.code_ids) for d in CODEBOOK.dimensions}
    probabilities = {d.id: {c: (p if c in given_codes[d.id] else 0.1) for c in d.code_ids} for d in CODEBOOK.dimensions}
    prediction = Prediction(given_codes, {"act": (), "mood": ()}, probabilities, MODEL)
    excerpt = Excerpt(text, document=document, speaker=speaker, turn=turn)
    return record(excerpt, prediction, model=MODEL)


def scored(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A scored file and the file of its codebook."""
    rows = [
        scored_row("I dug 🌱 it.", "digging", speaker="P1", turn=1),
        scored_row("First piece.", "planting", speaker="P1", turn=2, p=0.55),
        scored_row("Second piece\nof it.", "glad", speaker="P1", turn=2),
        record(Unscorable("the text is empty", document="plot"), None, model=MODEL),
        scored_row("Nothing.", speaker="P2", turn=3),
        scored_row("No document.", "planting", "glad", document=None),
    ]
    book = tmp_path / "book.yaml"
    CODEBOOK.save(book)
    return scored(tmp_path / "scored.jsonl", rows), book


def spans(path: Path) -> dict[str, list[tuple[str, list[str]]]]:
    project = read_project(path)
    names = {code.guid: code.name for _, code in project.walk_codes()}
    return {
        source.name: [
            ((source.text or "")[s.start : s.end], [names[c.code] for c in s.codings]) for s in source.selections
        ]
        for source in project.sources
    }


def test_the_evidence_is_in_the_note(tmp_path: Path, files: tuple[Path, Path]) -> None:
    row = scored_row("I dug\n it. Then tea.", "digging", "glad")
    row["evidence"] = {"act": {"digging": [0, 10]}, "mood": {}}
    out = tmp_path / "out.qdpx"
    run(scored(tmp_path / "one.jsonl", [row]), "-o", out, "--codebook", files[1])
    check_valid(out)
    notes = {note.text for note in read_project(out).notes.values()}
    assert notes == {
        f'Coded by {MODEL}, probability 0.90, in the words "I dug it."',
        f"Coded by {MODEL}, probability 0.90",
    }


def test_results_become_a_project_with_the_model_as_a_coder(tmp_path: Path, files: tuple[Path, Path]) -> None:
    path, out = files[0], tmp_path / "out.qdpx"
    said = run(path, "-o", out, "--codebook", files[1])
    assert "2 documents, 5 codings of 4 excerpts" in said
    check_valid(out)
    assert spans(out) == {
        "plot": [
            ("I dug 🌱 it.", ["Digging a hole"]),
            ("First piece.", ["Planting"]),
            ("Second piece\nof it.", ["Glad"]),
        ],
        "scored": [("No document.", ["Planting", "Glad"])],
    }
    project = read_project(out)
    assert project.sources[0].text == "P1: I dug 🌱 it.\n\nP1: First piece. Second piece\nof it.\n\nP2: Nothing.\n"
    (coder,) = project.coders
    assert (coder.name, coder.is_model) == (MODEL, True)
    coding = project.sources[0].selections[0].codings[0]
    assert coding.coder == coder.guid
    assert project.notes[coding.notes[0]].text == f"Coded by {MODEL}, probability 0.90"
    assert all(
        source.get("name") for source in ET.fromstring(project_xml(out)).iter("{urn:QDA-XML:project:1.0}TextSource")
    )
    before = out.read_bytes()
    run(path, "-o", out, "--codebook", files[1], "--force")
    assert out.read_bytes() == before


def test_what_goes_in_can_be_chosen(tmp_path: Path, files: tuple[Path, Path]) -> None:
    out = tmp_path / "out.qdpx"
    run(files[0], "-o", out, "--codebook", files[1], "--only-above", "0.6", "--codes", "work")
    assert spans(out) == {"plot": [("I dug 🌱 it.", ["Digging a hole"])], "scored": [("No document.", ["Planting"])]}
    names = [code.name for _, code in read_project(out).walk_codes()]
    assert names == ["Acts", "Hard work", "Digging a hole", "Planting"]
    with pytest.raises(InputError, match="'spade'"):
        run(files[0], "-o", out, "--codebook", files[1], "--codes", "digging,spade", "--force")


def test_codings_are_added_to_the_sources_and_codes_of_a_project(tmp_path: Path) -> None:
    project = foreign(tmp_path / "a.qdpx")
    book = tmp_path / "book.yaml"
    CODEBOOK.save(book)
    rows = [
        scored_row("I dug a hole 🌱 today.", "digging", document="plot.docx"),
        scored_row("Then I sat down.", "glad", document="plot.docx"),
        scored_row("Elsewhere.", "glad", document="leaflet"),
    ]
    path = scored(tmp_path / "s.jsonl", rows)
    codes = tmp_path / "codes.yaml"
    codes.write_text("Doing > Sitting: mood.glad\n")
    said = run(path, "-o", project, "--add-to", project, "--map", codes, "--codebook", book, "--force")
    assert said.strip().endswith("was made of the rows: leaflet.")
    check_valid(project)
    found = spans(project)
    assert ("I dug a hole 🌱 today.", ["digging a HOLE"]) in found["plot.docx"]
    assert ("Then I sat down.", ["Sitting"]) in found["plot.docx"]
    assert [name for name in found if name == "leaflet"] == ["leaflet"]
    whole = read_project(project)
    assert [source.text for source in whole.sources if source.name == "leaflet"] == ["Plant in May.", "Elsewhere.\n"]
    assert [coder.name for coder in whole.coders] == ["Ada", "Bea", MODEL]
    assert "Glad" not in [code.name for _, code in whole.walk_codes()]  # it is there, as Sitting
    human = {c.coder for c in read_project_codings(project, CODEBOOK, {"sitting": None})}
    assert human == {"Ada", "Bea"}


def test_transcripts_go_in_as_they_stand(tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    CODEBOOK.save(book)
    transcript = tmp_path / "plot.txt"
    transcript.write_bytes(b"I: Well?\r\n\r\nP1: I dug it.\r\nAnd\r\nmore.\r\n")
    path = scored(tmp_path / "s.jsonl", [scored_row("I dug it.\nAnd\nmore.", "digging", speaker="P1")])
    run(path, "-o", tmp_path / "o.qdpx", "--transcripts", transcript, "--codebook", book)
    source = read_project(tmp_path / "o.qdpx").sources[0]
    assert source.text == transcript.read_bytes().decode()
    assert spans(tmp_path / "o.qdpx") == {"plot": [("I dug it.\r\nAnd\r\nmore.", ["Digging a hole"])]}


def test_results_become_a_taguette_project(tmp_path: Path, files: tuple[Path, Path]) -> None:
    out = tmp_path / "out.sqlite3"
    run(files[0], "-o", out, "--codebook", files[1])
    with sqlite3.connect(out) as database:
        ((contents,),) = database.execute("SELECT contents FROM documents WHERE id = 1").fetchall()
        text = "".join(ET.fromstring(f"<a>{contents}</a>").itertext()).encode()
        marks = database.execute(
            "SELECT h.start_offset, h.end_offset, group_concat(t.path, '|') FROM highlights h JOIN highlight_tags x "
            "ON x.highlight_id = h.id JOIN tags t ON t.id = x.tag_id WHERE h.document_id = 1 GROUP BY h.id"
        ).fetchall()
    assert [(text[start:end].decode(), tags.split("|")[0]) for start, end, tags in marks] == [
        ("I dug 🌱 it.", "act.Digging a hole"),
        ("First piece.", "act.Planting"),
        ("Second pieceof it.", "mood.Glad"),
    ]
    assert all(tags.split("|")[-1] == f"model.{MODEL}" for _, _, tags in marks)


def test_results_become_a_list_of_codings(tmp_path: Path, files: tuple[Path, Path]) -> None:
    out = tmp_path / "out.csv"
    run(files[0], "-o", out, "--codebook", files[1])
    lines = out.read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("id,document,tag,content,")
    assert lines[1] == f"1,plot,act.Digging a hole,I dug 🌱 it.,P1,1,4,15,{MODEL},0.9,act.digging"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{k: v for k, v in scored_row("x", "glad").items() if k != "text"}], "without --no-text"),
        ([record(Unscorable("the text is empty"), None, model=MODEL)], "no row that was scored"),
    ],
)
def test_results_that_cannot_be_exported(tmp_path: Path, rows: list[dict[str, Any]], sentence: str) -> None:
    book = tmp_path / "book.yaml"
    CODEBOOK.save(book)
    with pytest.raises(InputError, match=sentence):
        run(scored(tmp_path / "s.jsonl", rows), "-o", tmp_path / "o.qdpx", "--codebook", book)
    assert not list(tmp_path.glob("o.qdpx*"))


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5), st.data())
def test_pieces_are_found_where_they_stand(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(data.draw(st.text(max_size=5)) + piece for piece in pieces)
    found = composed.find_in(text, pieces)
    assert found is not None
    assert all(text[start:end].split() == piece.split() for (start, end), piece in zip(found, pieces, strict=True))
    assert all(first[1] <= second[0] for first, second in pairwise(found))


# --- files made to do harm --------------------------------------------------------------------------------------


def with_member(name: str, content: bytes = b"x", attributes: int = 0o644 << 16) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("project.qde", FOREIGN)
            entry = zipfile.ZipInfo(name)
            entry.external_attr = attributes
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content)

    return make


def cut(path: Path) -> None:
    foreign(path)
    path.write_bytes(path.read_bytes()[:-30])


def flipped(path: Path) -> None:
    foreign(path)
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(data)


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("project.qde", FOREIGN)
        with pytest.warns(UserWarning):
            file.writestr("project.qde", FOREIGN)


def encrypted(path: Path) -> None:
    foreign(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def swollen_directory(path: Path) -> None:
    foreign(path)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 8 : end + 12] = struct.pack("<2H", 0xFFF0, 0xFFF0)
    path.write_bytes(data)


def as_xml(xml: str) -> Callable[[Path], Path]:
    return lambda path: pack(path, {"project.qde": xml})


BOMB = '<!DOCTYPE z [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><Project name="&b;"/>'

HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "bomb": (with_member("sources/a.txt", bytes(20_000_000)), "unpacks to far more"),
    "climbing": (with_member("sources/../../a.txt"), "leads outside"),
    "absolute": (with_member("/etc/a.txt"), "leads outside"),
    "drive": (with_member("C:\\a.txt"), "leads outside"),
    "link": (with_member("sources/a.txt", b"/etc/passwd", (stat.S_IFLNK | 0o777) << 16), "is a link"),
    "same name": (twice, "same name"),
    "same name but for case": (with_member("PROJECT.QDE"), "same name"),
    "cut off": (cut, "damaged or cut off"),
    "damaged": (flipped, "is damaged"),
    "password": (encrypted, "password"),
    "many files": (swollen_directory, "too many"),
    "entities": (as_xml(BOMB), "document type"),
    "outside entity": (as_xml('<!DOCTYPE z SYSTEM "file:///etc/passwd"><Project/>'), "document type"),
    "deep": (as_xml("<Project>" + "<Code>" * 5_000), "deep within each other"),
    "not well-formed": (as_xml("<Project>"), "not well-formed"),
    "other root": (as_xml("<html/>"), "something else"),
    "other namespace": (as_xml('<Project xmlns="urn:other"/>'), "something else"),
    "no project file": (lambda path: pack(path, {"a.txt": "x"}), "no project.qde"),
    "two project files": (lambda path: pack(path, {"a.qde": "x", "b.qde": "y"}), "no project.qde"),
    "no zip": (lambda path: path.write_text("hello"), "not a .qdpx file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "strange encoding": (as_xml('<?xml version="1.0" encoding="rot13"?><Project/>'), "encoding"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_files_made_to_do_harm_are_refused(tmp_path: Path, kind: str) -> None:
    make, sentence = HOSTILE[kind]
    path = tmp_path / "a.qdpx"
    make(path)
    with pytest.raises(InputError, match=sentence) as error:
        read_project(path)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_too_many_elements_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmldoc, "MAX_ELEMENTS", 5)
    with pytest.raises(InputError, match="more than 5 elements"):
        xmldoc.parse(b"<a><b/><b/><b/><b/><b/></a>", "x")


SOUND = io.BytesIO()
with zipfile.ZipFile(SOUND, "w") as sound:
    sound.writestr("project.qde", FOREIGN)
    sound.writestr(f"Sources/{guid(30)}.txt", WORDS)


def only_user_errors(path: Path) -> None:
    for read in (
        read_project,
        lambda p: list(read_turns(p)),
        lambda p: read_project_codings(p, CODEBOOK, {"sitting": None}),
    ):
        try:
            read(path)
        except UserError as error:
            assert "\n" not in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_a_damaged_project_gives_a_sentence_or_a_project(tmp_path: Path, seed: int, changes: int) -> None:
    choose = random.Random(seed)
    data = bytearray(SOUND.getvalue())
    for _ in range(changes):
        at = choose.randrange(len(data))
        kind = choose.randrange(3)
        if kind == 0:
            data[at] = choose.randrange(256)
        elif kind == 1:
            del data[at : at + choose.randrange(1, 40)]
        else:
            data[at:at] = data[choose.randrange(len(data)) :][: choose.randrange(1, 60)]
    path = tmp_path / "a.qdpx"
    path.write_bytes(data)
    only_user_errors(path)


PIECES = [
    "<q:",
    "</q:",
    "/>",
    '"',
    "&amp;",
    "-1",
    "999999999999",
    guid(30),
    guid(11),
    "Sources",
    "TextSource",
    "\r\n",
    "]]>",
    "🌱",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, len(FOREIGN)), st.integers(0, 30), st.sampled_from(PIECES)), min_size=1, max_size=4
    )
)
@example([(FOREIGN.index('startPosition="22"') + 15, 2, "-1")])
def test_a_changed_project_file_gives_a_sentence_or_a_project(
    tmp_path: Path, edits: list[tuple[int, int, str]]
) -> None:
    xml = FOREIGN
    for at, length, piece in edits:
        xml = xml[:at] + piece + xml[at + length :]
    path = foreign(tmp_path / "a.qdpx", xml)
    only_user_errors(path)
    try:
        project = read_project(path)
    except UserError:
        return
    for source in project.sources:
        assert all(0 <= s.start < s.end <= len(source.text or "") for s in source.selections)
    writer = ProjectWriter(project, created=NOON)
    new = writer.add_source("new", "Words.")
    writer.write(tmp_path / "b.qdpx")
    sources = {source.guid: source.text for source in read_project(tmp_path / "b.qdpx").sources}
    assert sources == {source.guid: source.text for source in project.sources} | {new: "Words."}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_give_a_sentence(tmp_path: Path, data: bytes, wrapped: bool) -> None:
    path = tmp_path / "a.qdpx"
    if wrapped:
        pack(path, {"project.qde": data})
    else:
        path.write_bytes(data)
    only_user_errors(path)

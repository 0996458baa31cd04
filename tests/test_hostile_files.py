"""Files that are made to do harm, or came to harm: refused with one sentence, at once and in little memory."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import transcript_files
from tl_classifier.corpus import inputs
from tl_classifier.corpus.documents import REFUSED
from tl_classifier.corpus.transcripts import read_transcript
from tl_classifier.errors import UserError

MAX_MEMORY = 500
"""MB that reading may take at most, with all that the program is made of."""

MAX_SECONDS = 300
"""A file may not take longer, on a machine that is busy with other things. Most take less than one second."""

# The command, and then how much memory it took, and the processes that it started.
PROGRAM = """
import resource, sys
from tl_classifier.cli import main

def peak():
    # Where the system says it; what it says elsewhere includes the process that started this one.
    with open("/proc/self/status") as status:
        own = int(status.read().partition("VmHWM:")[2].split()[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024 / 1e6

try:
    main()
finally:
    print("\\n", peak() if sys.platform == "linux" else 0.0)
"""


class Outcome(NamedTuple):
    code: int
    error: str
    megabytes: float


def show(path: Path) -> Outcome:
    """What the command makes of a file."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "transcript", "show", str(path), "--turns", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=MAX_SECONDS,
    )
    return Outcome(done.returncode, done.stderr, float(done.stdout.split()[-1]))


def refused(path: Path) -> str:
    """The sentence with which a file is refused."""
    outcome = show(path)
    assert outcome.code == 1, outcome
    assert outcome.megabytes < MAX_MEMORY
    sentence = " ".join(outcome.error.split())
    assert sentence.startswith(f"Error: {path}")
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    return sentence


def archive(path: Path, parts: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def changed(path: Path, part: str, change: Callable[[str], str]) -> Path:
    """A document with something changed in one of its parts."""
    with zipfile.ZipFile(path) as file:
        parts: dict[str, bytes | str] = {name: file.read(name) for name in file.namelist()}
    content = parts[part]
    assert isinstance(content, bytes)
    parts[part] = change(content.decode())
    return archive(path, parts)


MAIN = {".docx": "word/document.xml", ".odt": "content.xml"}

# --- zip archives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", MAIN)
def test_a_zip_bomb(tmp_path: Path, ending: str) -> None:
    path = archive(tmp_path / f"t{ending}", {MAIN[ending]: b"<a>" + b" " * 60_000_000})
    assert "unpacks to far more" in refused(path)


def test_a_bomb_of_text_that_is_packed_as_text_is(tmp_path: Path) -> None:
    noise = "".join(
        f"<w:p><w:r><w:t>{number * 7919 % 1_000_003} was said</w:t></w:r></w:p>" for number in range(400_000)
    )
    path = transcript_files.write(tmp_path, ".docx")
    changed(path, MAIN[".docx"], lambda xml: xml.replace("<w:body>", f"<w:body>{noise}"))
    assert "more than 3,000,000 characters" in refused(path)


def test_an_archive_whose_files_overlap(tmp_path: Path) -> None:
    path = transcript_files.write(tmp_path, ".docx")
    content = bytearray(path.read_bytes())
    # The list of files says of each that it is the largest one.
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        content[place + 20 : place + 24] = (len(content) // 2).to_bytes(4, "little")
        place = content.find(b"PK\x01\x02", place + 4)
    path.write_bytes(content)
    assert "overlap" in refused(path)


@pytest.mark.parametrize("name", ["../../evil.xml", "/etc/evil.xml", "C:\\evil.xml", "word/../../evil.xml"])
def test_names_that_lead_out_of_the_archive(tmp_path: Path, name: str) -> None:
    path = transcript_files.write(tmp_path, ".docx")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "<evil/>")
    assert "leads outside" in refused(path)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    path = transcript_files.write(tmp_path, ".docx")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("zzzz", "")
    path.write_bytes(path.read_bytes().replace(b"zzzz", b"\0zzz"))  # a name ends with a zero byte
    assert "not opened" in refused(path)


def test_a_link_in_an_archive(tmp_path: Path) -> None:
    path = transcript_files.write(tmp_path, ".odt")
    link = zipfile.ZipInfo("Pictures/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    assert "link to a place outside" in refused(path)


def test_an_archive_of_very_many_files(tmp_path: Path) -> None:
    path = archive(tmp_path / "t.docx", {f"word/{number}.xml": b"" for number in range(21_500)})
    assert "too many" in refused(path)


def test_an_archive_that_is_none_of_a_document(tmp_path: Path) -> None:
    for ending in MAIN:
        assert "not a" in refused(archive(tmp_path / f"t{ending}", {"notes.txt": "P1: hello"}))


# --- XML --------------------------------------------------------------------------------------------------------

LAUGHS = "<!DOCTYPE a [<!ENTITY l0 'ha'>" + "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
DOCTYPES = {
    "billion laughs": LAUGHS + "]>",
    "an external entity": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    "an external document type": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    "a parameter entity": '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p.dtd"> %p;]>',
}


@pytest.mark.parametrize("ending", MAIN)
@pytest.mark.parametrize("kind", DOCTYPES)
def test_entities(tmp_path: Path, ending: str, kind: str) -> None:
    path = transcript_files.write(tmp_path, ending)

    def declared(xml: str) -> str:
        head, mark, body = xml.partition("?>") if xml.startswith("<?xml") else ("", "", xml)
        return f"{head}{mark}{DOCTYPES[kind]}{body}"

    changed(path, MAIN[ending], declared)
    sentence = refused(path)
    assert "document type" in sentence
    assert "root:" not in sentence


def test_entities_in_a_workbook(tmp_path: Path) -> None:
    for part in ("xl/worksheets/sheet1.xml", "xl/workbook.xml", "[Content_Types].xml"):
        path = transcript_files.write(tmp_path, ".xlsx")
        changed(path, part, lambda xml: LAUGHS + "]>" + xml.partition("?>")[2] if "?>" in xml else LAUGHS + "]>" + xml)
        with pytest.raises(UserError, match="document type"):
            list(inputs.read_rows([path]))


@pytest.mark.parametrize("ending", MAIN)
def test_elements_within_elements_without_end(tmp_path: Path, ending: str) -> None:
    depth = "".join(f"<a{number % 977}>" for number in range(300_000))
    assert "nested too deeply" in refused(archive(tmp_path / f"t{ending}", {MAIN[ending]: depth}))


def test_a_row_of_millions_of_cells(tmp_path: Path) -> None:
    path = transcript_files.write(tmp_path, ".xlsx")
    cells = "".join(f'<c t="inlineStr"><is><t>{number}</t></is></c>' for number in range(200_000))
    changed(path, "xl/worksheets/sheet1.xml", lambda xml: xml.replace("<sheetData>", f"<sheetData><row>{cells}</row>"))
    with pytest.raises(UserError, match="more than can be read of a workbook"):
        list(inputs.read_rows([path]))


# --- macros -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "name"),
    [(".docx", "word/vbaProject.bin"), (".odt", "Basic/Standard/Module1.xml"), (".odt", "Scripts/python/evil.py")],
)
def test_documents_with_macros(tmp_path: Path, ending: str, name: str) -> None:
    path = transcript_files.write(tmp_path, ending)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"Sub AutoOpen()")
    assert "holds macros" in refused(path)


def test_a_workbook_with_macros(tmp_path: Path) -> None:
    path = transcript_files.write(tmp_path, ".xlsx")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("xl/vbaProject.bin", b"Sub AutoOpen()")
    with pytest.raises(UserError, match="holds macros"):
        list(inputs.read_rows([path]))


@pytest.mark.parametrize("ending", REFUSED)
def test_endings_that_are_refused_with_what_to_do_instead(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(UserError, match=r"\.(docx|xlsx)\.$"):
        inputs.expand([path])


# --- PDF and rich text ------------------------------------------------------------------------------------------


def pdf(path: Path, content: bytes, *more: bytes, resources: bytes = b"", filters: bytes = b"/FlateDecode") -> Path:
    """A PDF of one page, whose content is packed already."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 5 0 R/Resources<</Font<</F 4 0 R>>%s>>>>"
        % resources,
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Length %d/Filter%s>>stream\n%s\nendstream" % (len(content), filters, content),
        *more,
    ]
    written, places = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, start=1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer <</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(written))
    path.write_bytes(written + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end)
    return path


WORDS = b"BT /F 12 Tf 10 700 Td (P1: hello) Tj ET\n"


def test_the_pdf_of_these_tests_is_read(tmp_path: Path) -> None:
    (row,) = read_transcript(pdf(tmp_path / "t.pdf", zlib.compress(WORDS)))
    assert (row.speaker, row.text) == ("P1", "hello")


@pytest.mark.parametrize("nested", [False, True])
def test_a_decompression_bomb_in_a_pdf(tmp_path: Path, nested: bool) -> None:
    packer = zlib.compressobj(9)
    block = b"0 " * 500_000
    bomb = b"".join(packer.compress(block) for _ in range(500)) + packer.flush()
    if nested:
        path = pdf(tmp_path / "t.pdf", zlib.compress(bomb, 9), filters=b"[/FlateDecode/FlateDecode]")
    else:
        path = pdf(tmp_path / "t.pdf", bomb)
    assert "more memory or time" in refused(path)


def test_a_pdf_that_draws_a_form_in_a_form_in_a_form(tmp_path: Path) -> None:
    forms = []
    for depth in range(10):
        draw = b" ".join([b"/X%d Do" % (depth + 1)] * 10) if depth < 9 else WORDS
        of = b"/Resources<</Font<</F 4 0 R>>/XObject<</X%d %d 0 R>>>>" % (depth + 1, 7 + depth)
        head = b"<</Type/XObject/Subtype/Form/BBox[0 0 600 800]%s/Length %d>>" % (of, len(draw))
        forms.append(head + b"stream\n" + draw + b"\nendstream")
    path = pdf(tmp_path / "t.pdf", zlib.compress(b"/X0 Do"), *forms, resources=b"/XObject<</X0 6 0 R>>")
    assert "more memory or time" in refused(path)


def test_a_pdf_of_very_many_pages(tmp_path: Path) -> None:
    path = pdf(tmp_path / "t.pdf", zlib.compress(WORDS))
    path.write_bytes(
        path.read_bytes().replace(b"/Kids[3 0 R]/Count 1", b"/Kids[" + b"3 0 R " * 50_000 + b"]/Count 50000")
    )
    assert "more than 3,000 pages" in refused(path)


@pytest.mark.parametrize(
    "body",
    [
        "\\u99999999999999999? \\u-5?",
        "{" * 400_000 + "}" * 400_000,
        "\\ansicpg99999 " + "\\par " * 300_000,
        "{\\*\\a " * 100_000 + "}" * 100_000,
        "\\bin999999999 ",
    ],
    ids=["numbers", "groups", "lines", "destinations", "binary"],
)
def test_rich_text_that_says_nothing(tmp_path: Path, body: str) -> None:
    path = tmp_path / "t.rtf"
    path.write_text(f"{{\\rtf1\\ansi {body}}}")
    refused(path)


def test_rich_text_with_a_large_picture_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.rtf"
    picture = ("89504e470d0a1a0a" * 8 + "\n") * 40_000
    path.write_text(f"{{\\rtf1\\ansi {{\\pict\\pngblip {picture}}}P1: hello\\par P2: hi}}")
    assert [row.text for row in read_transcript(path)] == ["hello", "hi"]
    assert show(path).code == 0


# --- texts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".txt", ".md", ".srt", ".vtt"])
@pytest.mark.parametrize(
    "content",
    ["x" * 20_000_000, "\n" * 17_000_000, "00:01.000 --> 00:02.000\na\n\n" * 250_000, "[" * 3_500_000],
    ids=["letters", "lines", "subtitles", "brackets"],
)
def test_texts_that_are_too_long(tmp_path: Path, ending: str, content: str) -> None:
    path = tmp_path / f"t{ending}"
    path.write_text(content)
    sentence = refused(path)
    assert "split it" in sentence or "no subtitles" in sentence


@pytest.mark.parametrize("line", ["A:\n", "Anna\n\nw\n\n", "- ", "*_", "[00:12]", "<v ", "Anna 00:12\nw\n\n", "a\tb\n"])
@pytest.mark.parametrize("ending", [".txt", ".md"])
def test_long_texts_of_what_looks_like_something_are_read_in_time(tmp_path: Path, line: str, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    path.write_text(line * (200_000 // len(line)) + "\nP1: hello\n")
    outcome = show(path)
    assert outcome.code in (0, 1)
    assert "Traceback" not in outcome.error
    assert outcome.megabytes < MAX_MEMORY


# --- damage -----------------------------------------------------------------------------------------------------

DAMAGED = (".docx", ".odt", ".rtf", ".pdf", ".xlsx", ".parquet")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The interview in every format, as bytes."""
    folder = tmp_path_factory.mktemp("sound")
    endings = transcript_files.DOCUMENTS + transcript_files.TABLES
    return {ending: transcript_files.write(folder, ending).read_bytes() for ending in endings}


@pytest.mark.parametrize("ending", DAMAGED)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99])
def test_files_that_are_cut_off(tmp_path: Path, sound: dict[str, bytes], ending: str, share: float) -> None:
    path = tmp_path / f"t{ending}"
    path.write_bytes(sound[ending][: int(len(sound[ending]) * share)])
    with pytest.raises(UserError) as caught:
        list(inputs.read_rows([path]))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("ending", transcript_files.DOCUMENTS)
def test_files_that_are_something_else(tmp_path: Path, sound: dict[str, bytes], ending: str) -> None:
    path = tmp_path / f"t{ending}"
    others = [content for other, content in sound.items() if other in DAMAGED and other != ending]
    for content in (b"", bytes(1_000_000), b"\xff" * 100_000, bytes(range(256)) * 400, *others):
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            list(inputs.read_rows([path]))
        assert str(path) in str(caught.value)


@given(st.data())
@settings(max_examples=40)
def test_damaged_documents_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, sound: dict[str, bytes], data: st.DataObject
) -> None:
    ending = data.draw(st.sampled_from(transcript_files.DOCUMENTS))
    content = bytearray(sound[ending])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / f"t{ending}"
    path.write_bytes(content)
    try:
        for row in inputs.read_rows([path]):
            json.dumps(row.speaker).encode("utf-8")
    except UserError as error:
        assert str(path) in str(error)

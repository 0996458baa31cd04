"""Reading: tables, records and transcripts into excerpts, and a sentence for each that cannot be read."""

from __future__ import annotations

import csv
import datetime
import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tl_classifier.corpus import inputs, rows, textfiles
from tl_classifier.corpus.transcripts import Turn, find_turns
from tl_classifier.errors import InputError, UserError
from tl_classifier.excerpts import Excerpt, Unscorable

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def xlsx(path: Path, *sheets: Sequence[Sequence[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for sheet_rows in sheets:
        sheet = book.create_sheet()
        for row in sheet_rows:
            sheet.append(list(row))
    book.save(path)
    return path


def read(*paths: Path, text_column: str = "text") -> list[Excerpt | Unscorable]:
    return list(inputs.read_excerpts(paths, text_column=text_column))


def texts(*paths: Path, text_column: str = "text") -> list[str | None]:
    """The texts; None for a row that cannot be scored."""
    return [row.text if isinstance(row, Excerpt) else None for row in read(*paths, text_column=text_column)]


def reasons(*paths: Path) -> list[str]:
    return [row.reason for row in read(*paths) if isinstance(row, Unscorable)]


def sentence(*paths: Path, text_column: str = "text") -> str:
    """What is said of an input that cannot be read: one sentence that names the file."""
    with pytest.raises(InputError) as caught:
        read(*paths, text_column=text_column)
    message = str(caught.value)
    assert str(paths[-1]) in message
    assert "\n" not in message
    return message


# --- tables of every kind ---------------------------------------------------------------------------------------

HEADER = ("id", "document", "speaker", "turn", "text")
ROWS = (
    ("a", "anna", "P1", 1, "I was lost."),
    ("b", "anna", "P1", 2, "Größe, naïve – 学び \U0001f600\nand so on"),
    (None, None, None, None, "=1+1 is what they said"),
)


def make(path: Path) -> Path:
    """The rows above, in the format of the ending."""
    records = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    if path.suffix == ".jsonl":
        return write(path, "".join(json.dumps(record) + "\n" for record in records))
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
        return path
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in (HEADER, *ROWS):
            book.active.append(row)
        book.active["E4"].data_type = "s"
        book.save(path)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows((HEADER, *ROWS))
    return path


@pytest.mark.parametrize("ending", inputs.TABLES)
def test_tables_of_every_format_give_the_same_excerpts(tmp_path: Path, ending: str) -> None:
    assert read(make(tmp_path / f"t{ending}")) == [
        Excerpt(text, id=id, document=document, speaker=speaker, turn=turn)
        for id, document, speaker, turn, text in ROWS
    ]


@pytest.mark.parametrize("ending", inputs.TABLES)
def test_missing_text_column(tmp_path: Path, ending: str) -> None:
    message = sentence(make(tmp_path / f"t{ending}"), text_column="quote")
    assert "'quote'" in message
    assert "'id', 'document', 'speaker', 'turn', 'text'" in message
    assert "--text-column" in message


@pytest.mark.parametrize("ending", [*inputs.TABLES, *inputs.TRANSCRIPTS])
@pytest.mark.parametrize("content", [b"", PNG, b"\0" * 100, b"PK\x03\x04 no archive at all", b"%PDF-1.7 ..."])
def test_what_is_not_the_format_of_its_ending(tmp_path: Path, ending: str, content: bytes) -> None:
    message = sentence(write(tmp_path / f"t{ending}", content))
    assert ("is empty" in message) == (not content)


@pytest.mark.parametrize("ending", [".xlsx", ".parquet"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated(tmp_path: Path, ending: str, share: float) -> None:
    path = make(tmp_path / f"t{ending}")
    content = path.read_bytes()
    message = sentence(write(path, content[: int(len(content) * share)]))
    assert "cannot be read" in message or "damaged or cut off" in message


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".csv", "id,text\n"), (".tsv", "text"), (".jsonl", "\n \n"), (".csv", "\ufeff"), (".csv", "\n\n")],
)
def test_no_rows(tmp_path: Path, ending: str, content: str) -> None:
    assert "has no rows" in sentence(write(tmp_path / f"t{ending}", content))


def test_no_rows_in_a_workbook_and_in_parquet(tmp_path: Path) -> None:
    assert "has no rows" in sentence(xlsx(tmp_path / "a.xlsx", []))
    assert "has no rows" in sentence(xlsx(tmp_path / "b.xlsx", [["text"]]))
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "c.parquet")
    assert "has no rows" in sentence(tmp_path / "c.parquet")


# --- encodings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".txt"])
def test_encodings(tmp_path: Path, encoding: str, ending: str) -> None:
    content = {".csv": "text\nGrößer", ".jsonl": '{"text": "Größer"}\n', ".txt": "Größer"}[ending]
    assert texts(write(tmp_path / f"t{ending}", content, encoding)) == ["Größer"]


@pytest.mark.parametrize("before", [0, 70_000])
def test_another_encoding_is_said_with_its_place(tmp_path: Path, before: int) -> None:
    content = b"text\n" + b"x\n" * before + "ä\n".encode() + "Das ist größer\n".encode("cp1252")
    message = sentence(write(tmp_path / "t.csv", content))
    assert f"byte {content.index(b'gr' + bytes([0xF6])) + 3:,}" in message
    assert f"line {before + 3:,}" in message
    assert "UTF-8" in message
    assert "Das" not in message


def test_truncated_utf8(tmp_path: Path) -> None:
    assert "line 2" in sentence(write(tmp_path / "t.txt", "P1: a\nP1: größe".encode()[:-2]))


def test_a_zero_byte_far_into_a_file(tmp_path: Path) -> None:
    assert "line 100002" in sentence(write(tmp_path / "t.csv", b"text\n" + b"x\n" * 100_000 + b"\0\n"))


# --- .csv and .tsv ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    content = delimiter.join(["id", "text", "note"]) + "\n" + delimiter.join(["1", '"a; b, c\td"', ""])
    assert texts(write(tmp_path / "t.csv", content)) == ["a; b, c\td"]


def test_header_is_matched_exactly_first_and_then_without_case_and_space(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", " Text ,x\nhello,1")) == ["hello"]
    assert texts(write(tmp_path / "b.csv", "Text,text\nno,yes")) == ["yes"]
    assert texts(write(tmp_path / "c.csv", "Quote,x\nhello,1"), text_column="quote") == ["hello"]
    assert "2 columns named 'text'" in sentence(write(tmp_path / "d.csv", "text,text\na,b"))


def test_a_header_that_is_interview_text_is_not_repeated(tmp_path: Path) -> None:
    said = "I cried in the car park after that session and told nobody"
    message = sentence(write(tmp_path / "t.csv", f"{said}\nmore\n"))
    assert "cried" not in message
    assert "header" in message


def test_rows_with_other_numbers_of_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,text,note\na\nb,yes\nc,one, two and three,\nd,yes,,,\ne,yes,note\n")
    assert texts(path) == [None, "yes", None, "yes", "yes"]
    assert [row.id for row in read(path)] == list("abcde")
    assert reasons(path) == [
        "the row has 1 field where the header has 3",
        "the row has 4 fields where the header has 3",
    ]


def test_empty_rows_count_unless_they_are_the_last(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", "\ntext\na\n\n\nb\n\n\n")) == ["a", None, None, "b"]
    assert texts(write(tmp_path / "b.csv", "id;text\n;\n1;a\n;\n;\n")) == [None, "a"]
    assert texts(xlsx(tmp_path / "c.xlsx", [["text"], [None], ["a"], [" "], [None]])) == [None, "a"]


@pytest.mark.parametrize("quoted", ['"never closed', 'fine\n"never closed'])
def test_quotation_marks_that_are_not_closed(tmp_path: Path, quoted: str) -> None:
    message = sentence(write(tmp_path / "t.csv", f'text\nok\n{quoted}\n"a"\nb\n'))
    assert f"line {3 + quoted.count(chr(10))}" in message
    assert "quotation mark" in message


def test_quotation_marks_that_are_not_doubled(tmp_path: Path) -> None:
    message = sentence(write(tmp_path / "t.csv", 'text\nok\n"She said "yes" to me"\n'))
    assert "line 3" in message
    assert "doubled" in message


def test_a_quotation_mark_that_opens_the_rest_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = csv.field_size_limit()
    monkeypatch.setattr(textfiles, "MAX_LINE", 1000)
    csv.field_size_limit(1000)
    try:
        message = sentence(write(tmp_path / "t.csv", 'text\n"' + "words\n" * 1000))
    finally:
        csv.field_size_limit(limit)
    assert "line 2" in message
    assert "not closed" in message


def test_a_text_of_two_megabytes_is_kept_with_the_reason(tmp_path: Path) -> None:
    for path in (
        write(tmp_path / "t.csv", "id,text\na," + "word" * 500_000 + "\nb,fine\n"),
        write(tmp_path / "t.jsonl", json.dumps({"text": "word" * 500_000}) + '\n{"text": "fine"}\n'),
        write(tmp_path / "t.txt", "P1: " + "word" * 500_000 + "\nP2: fine"),
    ):
        assert texts(path) == [None, "fine"]
        (reason,) = reasons(path)
        assert reason.startswith("the text has 2,000,000 characters")
        assert f"{rows.MAX_CHARACTERS:,}" in reason


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfiles, "MAX_LINE", 1000)
    assert "line 2" in sentence(write(tmp_path / "t.jsonl", '{"text": "a"}\n' + '{"text": "' + "x" * 1000 + '"}'))


@pytest.mark.parametrize("text", ["...", "(--)", "[00:12:31]", "P1:", "?!", "\u200b"])
def test_texts_without_words(tmp_path: Path, text: str) -> None:
    assert reasons(write(tmp_path / "t.jsonl", json.dumps({"text": text}))) == ["the text has no words"]


# --- .jsonl -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not valid JSON"),
        ('{"text": "I felt ashamed"', "not valid JSON"),
        ('["a"]', "not a JSON object"),
        ("null", "not a JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"text": ' + "1" * 5000 + "}", "not JSON"),
    ],
)
def test_malformed_json(tmp_path: Path, line: str, what: str) -> None:
    message = sentence(write(tmp_path / "t.jsonl", f'{{"text": "a"}}\n\n{line}\n'))
    assert "line 3" in message
    assert what in message
    assert "ashamed" not in message


def test_values_that_are_not_text(tmp_path: Path) -> None:
    values = [None, 3, 3.5, True, ["a"], {"a": 1}, "", " \n"]
    lines = [{"text": "words"}, *({"text": value} for value in values), {"other": 1}]
    assert reasons(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, lines)))) == [
        "the text is empty",
        "the text is a number, not words",
        "the text is a number, not words",
        "the text is true or false, not words",
        "the text is a list or an object, not words",
        "the text is a list or an object, not words",
        "the text is empty",
        "the text is empty",
        "the text is empty",
    ]


def test_halves_of_characters_are_replaced(tmp_path: Path) -> None:
    (row,) = read(write(tmp_path / "t.jsonl", '{"text": "so \\ud83d it was", "speaker": "P\\udc00"}'))
    assert row == Excerpt("so \ufffd it was", speaker="P\ufffd")


def test_keys_are_matched_as_columns_are(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"Text": "a", "ID": 7, "Turn": "3"}\n{"text": "b", "turn": "x"}')
    assert read(path) == [Excerpt("a", id="7", turn=3), Excerpt("b")]


@pytest.mark.parametrize(
    ("value", "turn"),
    [(3, 3), ("3", 3), (3.0, 3), (" 12 ", 12), (3.5, None), (True, None), (-1, None), ("00:12", None), (10**30, None)],
)
def test_turn_numbers(value: object, turn: int | None) -> None:
    assert rows.turn_number(value) == turn


# --- .xlsx ------------------------------------------------------------------------------------------------------


def test_cells_of_a_workbook(tmp_path: Path) -> None:
    cells = [12, 1.5, True, datetime.datetime(2024, 5, 1, 12), None, "#N/A", "words"]
    path = xlsx(tmp_path / "t.xlsx", [["id", "text"], *([12, cell] for cell in cells)])
    assert texts(path) == [None] * 6 + ["words"]
    assert [row.id for row in read(path)] == ["12"] * 7
    assert [reason.removeprefix("the text is ") for reason in reasons(path)] == [
        "a number, not words",
        "a number, not words",
        "true or false, not words",
        "a date or time, not words",
        "empty",
        "empty",
    ]


def test_the_visible_sheet_that_has_the_column(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "t.xlsx", [["about this file"]], [["text"], ["hidden"]], [], [["id", "text"], ["1", "seen"]])
    book = openpyxl.load_workbook(path)
    book.worksheets[1].sheet_state = "hidden"
    book.save(path)
    assert texts(path) == ["seen"]
    assert "first sheet's columns: 'about this file'" in sentence(path, text_column="quote")


def edited(path: Path, part: str, old: bytes, new: bytes) -> Path:
    """A workbook with something replaced in one of its parts."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old in parts[part]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content.replace(old, new) if name == part else content)
    return path


def test_a_workbook_with_a_wrong_dimension(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "t.xlsx", [["id", "text"], ["1", "a"], ["2", "b"]])
    assert texts(edited(path, "xl/worksheets/sheet1.xml", b'ref="A1:B3"', b'ref="A1:A1"')) == ["a", "b"]


def test_a_workbook_with_a_row_beyond_all_rows(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "t.xlsx", [["text"], ["a"], ["b"]])
    edited(path, "xl/worksheets/sheet1.xml", b'<row r="3">', b'<row r="4000000000">')
    edited(path, "xl/worksheets/sheet1.xml", b'r="A3"', b'r="A4000000000"')
    assert "damaged" in sentence(path)


def test_a_workbook_that_unpacks_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tl_classifier.corpus.tables._MAX_UNPACKED", 1000)
    assert "unpacks" in sentence(xlsx(tmp_path / "t.xlsx", [["text"], ["a"]]))


def test_what_is_zipped_but_no_workbook(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("word/document.xml", "<document/>")
    assert "not an Excel workbook" in sentence(write(tmp_path / "t.xlsx", packed.getvalue()))
    assert "zip archive" in sentence(write(tmp_path / "t.csv", packed.getvalue()))
    assert "password" in sentence(write(tmp_path / "p.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600))


# --- .parquet ---------------------------------------------------------------------------------------------------


def test_parquet_columns_of_other_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "vector": pa.array([[1.0]] * 2),
            "p.stage.x": [0.5, 0.5],
            "turn": pa.array([1, 2], pa.int16()),
            "text": pa.array(["a", "b"]).dictionary_encode(),
            "speaker": pa.array(["P1", None], pa.large_string()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == [Excerpt("a", speaker="P1", turn=1), Excerpt("b", turn=2)]
    pq.write_table(pa.table({"text": [b"\xff", b"a"]}), tmp_path / "b.parquet")
    assert reasons(tmp_path / "b.parquet") == ["the text is binary data, not words"] * 2


# --- inputs -----------------------------------------------------------------------------------------------------


def test_folders(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for name in (
        "b/x.txt",
        "a.CSV",
        "b/a.jsonl",
        ".hidden.csv",
        ".git/c.csv",
        "~$a.xlsx",
        "notes.docx",
        "README.md",
        "photo.jpg",
        "c.csv.partial",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, "text\na\n")
    (folder / "b" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "b" / "self.csv").symlink_to(folder / "b" / "self.csv")
    names = ["a.CSV", "b/a.jsonl", "b/x.txt", "notes.docx"]
    assert inputs.expand([folder]) == [folder / name for name in names]
    assert inputs.expand([folder / "b" / "x.txt", folder, folder / "a.CSV"]) == [
        folder / name for name in ("b/x.txt", "a.CSV", "b/a.jsonl", "notes.docx")
    ]
    assert inputs.expand([folder], leave_out=folder / "b" / ".." / "a.CSV") == [folder / name for name in names[1:]]


def test_inputs_that_cannot_be_meant(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "does not exist" in sentence(tmp_path / "none.csv")
    assert "no file that can be read" in sentence(tmp_path / "empty")
    assert ".txt" in sentence(write(tmp_path / "notes.html", "x"))
    output = write(tmp_path / "out.csv", "text\na")
    with pytest.raises(InputError, match="both an input and the output"):
        inputs.expand([output], leave_out=output)


# --- transcripts ------------------------------------------------------------------------------------------------


def spoken(text: str) -> list[tuple[str | None, str]]:
    return [(turn.speaker, text[turn.start : turn.end]) for turn in find_turns(text)]


def test_turns_with_their_places(tmp_path: Path) -> None:
    content = (
        "\ufeffCafé, 3 May\r\n\r\nINTERVIEWER: How was it?\r\n\r\nP1:  I was lost. \r\n\r\nReally lost.\r\nP1:\r\n"
    )
    path = write(tmp_path / "anna.v2.txt", content)
    found = read(path)
    decoded = content.removeprefix("\ufeff")
    assert [(row.turn, row.document) for row in found] == [(n, "anna.v2") for n in range(1, 5)]
    assert [row.speaker for row in found] == [None, "INTERVIEWER", "P1", "P1"]
    assert texts(path) == ["Café, 3 May", "How was it?", "I was lost. \r\n\r\nReally lost.", None]
    assert reasons(path) == ["the text is empty"]
    for row in found:
        assert not isinstance(row, Excerpt) or decoded[row.start : row.end] == row.text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    assert spoken(end.join(["P1: a", "b", "P2: c"])) == [("P1", f"a{end}b"), ("P2", "c")]


@pytest.mark.parametrize(
    "label",
    [
        "INT",
        "P1",
        "p1",
        "FG2-P3",
        "R12",
        "I",
        "Interviewer",
        "Speaker 1",
        "Participant 2",
        "moderator",
        "RESPONDENT A",
        "ÖZLEM",
    ],
)
def test_labels_that_are_labels_by_themselves(label: str) -> None:
    assert spoken(f"{label}: hello") == [(label, "hello")]


@pytest.mark.parametrize(
    "label", ["Anna", "Dr. Smith", "Mary-Jane O'Neil", "Anna (nurse)", "小林", "Student 5", "J. Ó Briain"]
)
def test_names_are_labels_if_they_come_again(label: str) -> None:
    assert spoken(f"{label}: hello\nP1: hi\n{label} : bye") == [(label, "hello"), ("P1", "hi"), (label, "bye")]
    assert spoken(f"P1: hi\n{label}: hello") == [("P1", f"hi\n{label}: hello")]


@pytest.mark.parametrize(
    "line",
    [
        "Remember: nobody asked me.",
        "What I mean is this: we stop.",
        "and then: nothing",
        "Yes, sir: that.",
        "http://example.org",
        "12:30 was when it began",
        "10: ten",
        "Well: so",
        ": nothing",
        "Note:without a space",
        "A long line that goes on and on with no colon in the first forty characters: here",
    ],
)
def test_talk_before_a_colon_is_no_label(line: str) -> None:
    assert spoken(f"P1: hi\n{line}\nP2: ho") == [("P1", f"hi\n{line}"), ("P2", "ho")]


def test_talk_that_comes_twice_is_no_label_either() -> None:
    line = "and then: nothing"
    assert spoken(f"P1: hi\n{line}\n{line}") == [("P1", f"hi\n{line}\n{line}")]


def test_paragraphs_where_there_are_no_labels() -> None:
    text = "One line\nand more.\n\n \nNOTE: shouted once.\r\n\r\nThird.\n"
    assert spoken(text) == [(None, "One line\nand more."), (None, "NOTE: shouted once."), (None, "Third.")]


def test_a_transcript_without_words_and_one_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no words" in sentence(write(tmp_path / "a.txt", " \n\n"))
    monkeypatch.setattr("tl_classifier.corpus.documents.MAX_CHARACTERS", 10)
    assert "split it" in sentence(write(tmp_path / "b.txt", "P1: more than that"))


def test_the_sample_reads_as_a_transcript() -> None:
    with resources.as_file(resources.files("tl_classifier") / "samples" / "interview.txt") as path:
        found = read(path)
    assert len(found) > 30
    assert {row.speaker for row in found} == {"INTERVIEWER", "P1"}
    assert all(isinstance(row, Excerpt) and row.document == "interview" for row in found)


# --- anything ---------------------------------------------------------------------------------------------------

lines_of_talk = st.lists(
    st.one_of(
        st.sampled_from(["P1: ", "Anna:", "INT:\t", "Note: ", "", "  ", "a:b", "ok "]), st.text(max_size=30)
    ).flatmap(lambda start: st.text(max_size=20).map(lambda rest: start + rest)),
    max_size=12,
)


@given(lines_of_talk, st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
@example(["P1:", "", "P1:"], "\n")
def test_turns_are_in_order_apart_and_whole(lines: list[str], end: str) -> None:
    text = end.join(lines)
    turns = find_turns(text)
    place = 0
    for turn in turns:
        assert place <= turn.start <= turn.end <= len(text)
        words = text[turn.start : turn.end]
        assert words == words.strip()
        place = turn.end
    labels = "".join(turn.speaker for turn in turns if turn.speaker is not None)
    said = "".join(text[turn.start : turn.end] for turn in turns)
    marks = str.maketrans("", "", ":*_>[]()#-–—•|<{}0123456789.,")  # what may stand around a name
    assert sorted("".join((labels + said).translate(marks).split())) == sorted("".join(text.translate(marks).split()))


def test_turns_are_named_tuples() -> None:
    assert find_turns("P1: a") == [Turn("P1", 4, 5)]


def pieces(*known: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(known)), max_size=12).map(b"".join)


@given(
    st.sampled_from([*inputs.TABLES, *inputs.TRANSCRIPTS]),
    pieces(
        b"text",
        b"id,text\n",
        b"text;id\n",
        b'"',
        b"\n",
        b"\r\n",
        b",",
        b";",
        b"\t",
        b'{"text": "a"}',
        b'{"text":',
        b"}\n",
        b"P1: ",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"PK\x03\x04",
        b"PAR1",
        b"\0",
        "ä".encode(),
    ),
)
def test_any_bytes_are_read_or_refused_with_a_sentence(ending: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"t{ending}", content)
        try:
            found = read(path)
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert found


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A workbook and a Parquet file as bytes."""
    folder = tmp_path_factory.mktemp("sound")
    return {ending: make(folder / f"t{ending}").read_bytes() for ending in (".xlsx", ".parquet")}


@given(st.data())
def test_damaged_files_are_read_or_refused_with_a_sentence(sound: dict[str, bytes], data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from(sorted(sound)))
    content = bytearray(sound[ending])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"t{ending}", bytes(content))
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40), min_size=1),
    st.sampled_from([".csv", ".tsv", ".jsonl"]),
)
def test_any_words_come_back_as_they_were(said: list[str], ending: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{ending}"
        if ending == ".jsonl":
            write(path, "".join(json.dumps({"text": text}) + "\n" for text in said))
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, delimiter="\t" if ending == ".tsv" else ",")
                table.writerows([("id", "text"), *((str(n), text) for n, text in enumerate(said))])
        for row, text in zip(read(path), said, strict=True):
            assert row.text == text if isinstance(row, Excerpt) else rows.is_blank(text)

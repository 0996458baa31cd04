"""Writing: records into every format, whole or not at all."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_classifier.codebook import Codebook
from tl_classifier.corpus import writers
from tl_classifier.corpus.writers import Columns, OutputError, check_output, check_rows, writing
from tl_classifier.excerpts import Excerpt, Prediction, Unscorable, record

ENDINGS = (".jsonl", ".csv", ".xlsx", ".parquet")
MODEL = "tiny@1"


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return Codebook.default()


def a_record(codebook: Codebook, text: str = "I was lost.", *, with_text: bool = True, **about: Any) -> dict[str, Any]:
    """A record with the first and third code of each dimension."""
    codes = {d.id: (d.code_ids[0], d.code_ids[2]) for d in codebook.dimensions}
    groups = {d.id: d.groups_of(codes[d.id]) for d in codebook.dimensions}
    probabilities = {
        d.id: {code: round((n + 1) / 30 + (code in codes[d.id]) / 2, 4) for n, code in enumerate(d.code_ids)}
        for d in codebook.dimensions
    }
    prediction = Prediction(codes, groups, probabilities, MODEL)
    return record(Excerpt(text, **about), prediction, model=MODEL, with_text=with_text)


def unscored(reason: str = "the text is empty", **about: Any) -> dict[str, Any]:
    return record(Unscorable(reason, **about), None, model=MODEL)


def save(path: Path, codebook: Codebook, *records: dict[str, Any], with_text: bool = True) -> Path:
    with writing(path, codebook, with_text=with_text) as writer:
        for row in records:
            writer.write([row])
    assert list(path.parent.iterdir()) == [path]
    return path


def load(path: Path) -> list[dict[str, Any]]:
    """A table as rows, with what each reader makes of an empty cell as None."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".xlsx":
        header, *rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return [dict(zip(header, row, strict=True)) for row in rows]
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [{name: cell or None for name, cell in row.items()} for row in csv.DictReader(file)]


RECORDS: list[dict[str, Any]] = [
    {"id": "a", "document": "anna", "speaker": "P1", "turn": 7, "text": 'Größe "quoted", \U0001f600\nand more'},
    {"text": "=HYPERLINK(1)"},
    {"text": "@SUM", "id": "+1", "document": "-2", "speaker": "#N/A"},
]


@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
def test_tables(tmp_path: Path, codebook: Codebook, ending: str) -> None:
    records = [*(a_record(codebook, **row) for row in RECORDS), unscored(id="z", turn=3)]
    rows = load(save(tmp_path / f"t{ending}", codebook, *records))
    assert len(rows) == len(records)
    for row, expected in zip(rows, records, strict=True):
        cell = str if ending == ".csv" else lambda value: value
        for name in ("id", "document", "speaker", "turn", "text", "model"):
            assert row.pop(name) == (None if expected[name] is None else cell(expected[name]))
        assert row.pop("error") == expected.get("error")
        for dimension in codebook.dimensions:
            for kind, names in (("codes", dimension.code_ids), ("groups", [group.id for group in dimension.groups])):
                for name in names:
                    flag = row.pop(f"{dimension.id}.{name}")
                    given = expected[kind]
                    assert flag == (None if given is None else cell(int(name in given[dimension.id])))
            for code in dimension.code_ids:
                value = row.pop(f"p.{dimension.id}.{code}")
                given = expected["probabilities"]
                assert value == (None if given is None else cell(given[dimension.id][code]))
        assert not row


def test_jsonl_lines_are_the_records(tmp_path: Path, codebook: Codebook) -> None:
    records = [*(a_record(codebook, **row) for row in RECORDS), unscored()]
    lines = save(tmp_path / "t.jsonl", codebook, *records).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == records
    assert list(json.loads(lines[0])) == [
        "id", "document", "speaker", "turn", "text", "codes", "groups", "probabilities", "model",
    ]  # fmt: skip
    assert "Größe" in lines[0]
    assert lines[-1] == ""


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_text(tmp_path: Path, codebook: Codebook, ending: str) -> None:
    path = save(tmp_path / f"t{ending}", codebook, a_record(codebook, with_text=False, id="a"), with_text=False)
    row = json.loads(path.read_text()) if ending == ".jsonl" else load(path)[0]
    assert "text" not in row
    assert row["id"] == "a"


def test_columns_are_in_the_order_of_the_codebook(codebook: Codebook) -> None:
    names = Columns(codebook).names
    assert names[:6] == ["id", "document", "speaker", "turn", "text", f"stage.{codebook.dimensions[0].code_ids[0]}"]
    assert names[-2:] == ["model", "error"]
    assert len(names) == len(set(names))


def test_csv_is_as_excel_wants_it(tmp_path: Path, codebook: Codebook) -> None:
    content = save(tmp_path / "t.csv", codebook, a_record(codebook)).read_bytes()
    assert content.startswith(b"\xef\xbb\xbfid,document,")
    assert content.endswith(b"\r\n")


def test_a_workbook_never_holds_a_formula(tmp_path: Path, codebook: Codebook) -> None:
    path = save(tmp_path / "t.xlsx", codebook, *(a_record(codebook, **row) for row in RECORDS))
    sheet = openpyxl.load_workbook(path).active
    assert {cell.data_type for row in sheet.iter_rows(max_col=5) for cell in row} <= {"s", "inlineStr", "n"}
    assert sheet["E3"].value == "=HYPERLINK(1)"
    assert sheet["E3"].data_type in {"s", "inlineStr"}
    assert sheet.freeze_panes == "A2"


def test_what_a_cell_cannot_hold(tmp_path: Path, codebook: Codebook) -> None:
    long = "\U0001f600" * 20_000  # 40,000 UTF-16 units
    records = [a_record(codebook, "bell\x07 \ufffe"), a_record(codebook, long), a_record(codebook, "x" * 32_767)]
    rows = load(save(tmp_path / "t.xlsx", codebook, *records, unscored(id="y" * 40_000)))
    assert [rows[0]["text"], rows[0]["error"]] == ["bell\ufffd \ufffd", None]
    assert rows[1]["text"] == "\U0001f600" * 16_383
    assert rows[1]["error"] == "text cut at 32,767 characters"
    assert rows[1]["stage.disorienting_dilemma"] == 1
    assert [len(rows[2]["text"]), rows[2]["error"]] == [32_767, None]
    assert rows[3]["error"] == "the text is empty; id cut at 32,767 characters"


def test_parquet_is_typed_and_grouped(tmp_path: Path, codebook: Codebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_PARQUET_GROUP_ROWS", 10)
    path = save(tmp_path / "t.parquet", codebook, *(a_record(codebook, turn=n) for n in range(25)), unscored())
    file = pq.ParquetFile(path)
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert [types[name] for name in ("id", "turn", "stage.reintegration", "p.theme.challenges")] == [
        "string", "int64", "int8", "double",
    ]  # fmt: skip
    assert [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)] == [10, 10, 6]
    assert file.read()["turn"].to_pylist() == [*range(25), None]


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_there_after_an_error_and_what_was_stays(tmp_path: Path, codebook: Codebook, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    path.write_text("as it was")
    with pytest.raises(ZeroDivisionError), writing(path, codebook) as writer:
        writer.write([a_record(codebook)])
        raise ZeroDivisionError
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]
    save(path, codebook, a_record(codebook))
    assert path.read_bytes() != b"as it was"


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name, what in (
        ("t.docx", "known are .jsonl .csv .xlsx .parquet"),
        ("t", "known are"),
        ("none/t.csv", "does not exist"),
        ("folder.csv", "is a folder"),
    ):
        with pytest.raises(OutputError, match=what):
            check_output(tmp_path / name)
    check_output(tmp_path / "T.CSV")
    with pytest.raises(OutputError, match=r"1,048,575.*\.parquet"):
        check_rows(tmp_path / "t.xlsx", 1_048_576)
    check_rows(tmp_path / "t.xlsx", 1_048_575)
    check_rows(tmp_path / "t.csv", 10**9)


def test_a_folder_that_goes_away(tmp_path: Path, codebook: Codebook) -> None:
    with pytest.raises(OutputError, match="cannot be written"), writing(tmp_path / "gone" / "t.csv", codebook):
        pass


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=50)
@given(st.lists(st.tuples(any_text, any_text, st.integers(0, 2**53)), max_size=5))
def test_any_text_comes_back_from_jsonl_csv_and_parquet(rows: list[tuple[str, str, int]]) -> None:
    codebook = Codebook.default()
    records = [a_record(codebook, text, speaker=speaker, turn=turn) for text, speaker, turn in rows]
    with tempfile.TemporaryDirectory() as folder:
        lines = save(Path(folder, "t.jsonl"), codebook, *records).read_text(encoding="utf-8").split("\n")
        assert [json.loads(line) for line in lines[:-1]] == records
    for ending in (".csv", ".parquet"):
        with tempfile.TemporaryDirectory() as folder:
            found = load(save(Path(folder, f"t{ending}"), codebook, *records))
            empty = "" if ending == ".parquet" else None
            assert [(row["text"], row["speaker"], int(row["turn"])) for row in found] == [
                (text or empty, speaker or empty, turn) for text, speaker, turn in rows
            ]


@settings(max_examples=25)
@given(st.lists(any_text, max_size=4))
def test_any_text_fits_into_a_workbook(texts: list[str]) -> None:
    codebook = Codebook.default()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.xlsx")
        assert len(load(save(path, codebook, *(a_record(codebook, text) for text in texts)))) == len(texts)

"""Scored files read back: the records that were written, from every format; damage is told with its place."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_classifier.codebook import Codebook
from tl_classifier.corpus.scored import is_scored, read_scored
from tl_classifier.corpus.writers import writing
from tl_classifier.errors import CodebookError, InputError
from tl_classifier.excerpts import Excerpt, Prediction, Unscorable, record

BOOK = Codebook.default()
ENDINGS = (".jsonl", ".csv", ".xlsx", ".parquet")


def scored_record(
    text: str,
    codes: dict[str, list[str]],
    probabilities: dict[str, float] | None = None,
    *,
    codebook: Codebook | None = None,
    with_text: bool = True,
    **about: Any,
) -> dict[str, Any]:
    """A record with these codes; a code has 0.9 and any other 0.05, unless said otherwise."""
    codebook = codebook or BOOK
    given = {d.id: d.in_order(codes.get(d.id, ())) for d in codebook.dimensions}
    chances = {
        d.id: {c: (probabilities or {}).get(c, 0.9 if c in given[d.id] else 0.05) for c in d.code_ids}
        for d in codebook.dimensions
    }
    groups = {d.id: d.groups_of(given[d.id]) for d in codebook.dimensions}
    prediction = Prediction(given, groups, chances, "tiny@1")
    return record(Excerpt(text, **about), prediction, model="tiny@1", with_text=with_text)


def save(path: Path, records: list[dict[str, Any]], *, with_text: bool = True) -> Path:
    with writing(path, BOOK, with_text=with_text) as writer:
        writer.write(records)
    return path


RECORDS = [
    scored_record("I was lost.\nQuite.", {"stage": ["disorienting_dilemma"]}, document="anna", speaker="P1", turn=3),
    scored_record("=SUM(1)", {"stage": ["reintegration"], "theme": ["challenges", "facilitators"]}, id="12"),
    record(Unscorable("the text is empty", document="anna", turn=4), None, model="tiny@1"),
    scored_record("Größe \U0001f600", {}),
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_written_is_read(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"t{ending}", RECORDS)
    assert list(read_scored(path, BOOK)) == RECORDS
    assert [list(row) for row in read_scored(path)] == [list(row) for row in RECORDS]
    assert is_scored(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_text(tmp_path: Path, ending: str) -> None:
    records = [scored_record("x", {"theme": ["challenges"]}, turn=1, with_text=False)]
    path = save(tmp_path / f"t{ending}", records, with_text=False)
    assert list(read_scored(path)) == records


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("with_text", [True, False])
def test_evidence(tmp_path: Path, ending: str, with_text: bool) -> None:
    """Offsets come back from every format; a table shows people the words, unless the text was left out."""
    rows = [dict(row) for row in RECORDS]
    rows[0]["evidence"] = {"stage": {"disorienting_dilemma": [0, 11]}, "theme": {}}
    rows[3]["evidence"] = {"stage": {}, "theme": {}}
    for row in rows:
        if not with_text:
            del row["text"]
    path = tmp_path / f"out{ending}"
    with writing(path, BOOK, with_text=with_text, with_evidence=True) as writer:
        writer.write(rows)
    found = list(read_scored(path))
    assert found[0]["evidence"] == rows[0]["evidence"]
    assert not any((found[3].get("evidence") or {}).values())
    if ending == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = [row["evidence"] for row in csv.DictReader(file)]
        assert cells[0] == "stage.disorienting_dilemma 0-11" + (": I was lost." if with_text else "")
        assert cells[1:] == ["", "", ""]


def test_a_text_that_was_cut_for_a_workbook_is_still_coded(tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", [scored_record("word " * 10_000, {"theme": ["challenges"]})])
    (row,) = read_scored(path)
    assert row["codes"]["theme"] == ["challenges"]
    assert "error" not in row


names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)
chances = st.integers(0, 10_000).map(lambda n: n / 10_000)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            names, names, st.integers(0, 2**53), st.sets(st.integers(0, 9)), st.lists(chances, min_size=10, max_size=10)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_record_comes_back(rows: list[tuple[str, str, int, set[int], list[float]]]) -> None:
    codes = BOOK.dimension("stage").code_ids
    records = [
        scored_record(
            text, {"stage": [codes[n] for n in given]}, dict(zip(codes, p, strict=True)), speaker=speaker, turn=turn
        )
        for text, speaker, turn, given, p in rows
    ]
    for ending in (".jsonl", ".csv", ".parquet"):
        with tempfile.TemporaryDirectory() as folder:
            assert list(read_scored(save(Path(folder, f"t{ending}"), records))) == records


def test_a_result_corrected_in_a_spreadsheet(tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", RECORDS)
    book = openpyxl.load_workbook(path)
    sheet = book.active
    header = {cell.value: cell.column for cell in sheet[1]}
    sheet.cell(2, header["stage.self_examination"]).value = "x"
    sheet.cell(2, header["stage.disorienting_dilemma"]).value = None
    sheet.cell(3, header["theme.challenges"]).value = False
    sheet.cell(1, len(header) + 1).value = "notes"
    book.save(path)
    first, second, *_ = read_scored(path)
    assert first["codes"]["stage"] == ["self_examination"]
    assert second["codes"]["theme"] == ["facilitators"]
    assert is_scored(path)


def edited(path: Path, row: int, column: str, value: str) -> Path:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    rows[row - 1][rows[0].index(column)] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("stage.reintegration", "maybe", r"row 3, column 'stage.reintegration'.*0 or 1"),
        ("p.theme.challenges", "", r"row 3, column 'p.theme.challenges'.*between 0 and 1"),
        ("p.theme.challenges", "1.5", r"between 0 and 1"),
        ("p.theme.challenges", "nan", r"between 0 and 1"),
    ],
)
def test_damaged_cells(tmp_path: Path, column: str, value: str, message: str) -> None:
    path = edited(save(tmp_path / "t.csv", RECORDS), 3, column, value)
    with pytest.raises(InputError, match=message) as caught:
        list(read_scored(path))
    assert "SUM" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"codes": ["reintegration"]},
        {"codes": {"stage": "reintegration"}},
        {"codes": {"stage": ["nothing"]}},
        {"probabilities": {"stage": {"reintegration": "high"}}},
        {"probabilities": {"stage": {"reintegration": float("nan")}}},
        {"probabilities": [0.5]},
    ],
)
def test_damaged_lines(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (RECORDS[0], RECORDS[1] | change)), "utf-8")
    with pytest.raises(InputError, match="line 2"):
        list(read_scored(path))


def test_what_is_no_scored_file(tmp_path: Path) -> None:
    (tmp_path / "coded.csv").write_text("text,codes\nwords,self_examination\n", "utf-8")
    (tmp_path / "model.csv").write_text("text,model\nwords,mine\n", "utf-8")
    (tmp_path / "coded.jsonl").write_text('{"text": "words", "codes": {}}\n', "utf-8")
    (tmp_path / "half.jsonl").write_text('{"model": "m", "codes": {}}\n', "utf-8")
    for name in ("coded.csv", "model.csv", "coded.jsonl", "half.jsonl"):
        with pytest.raises(InputError, match=r"was not written by 'tl-classifier score'"):
            read_scored(tmp_path / name)
        assert not is_scored(tmp_path / name)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for name, message in (
        ("empty.csv", "is empty"),
        ("t.docx", "ends in one of"),
        ("none.csv", "does not exist"),
        ("folder.csv", "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            read_scored(tmp_path / name)


def test_another_codebook(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", RECORDS)
    dimensions = [{"id": "stage", "codes": [{"id": "reintegration"}]}]
    other = Codebook.from_dict({"schema": 1, "name": "other", "version": "1", "dimensions": dimensions})
    with pytest.raises(CodebookError, match=r"'other', which has no codes .* in 'stage'; .*--codebook"):
        list(read_scored(path, other))
    other = Codebook.from_dict(
        {"schema": 1, "name": "other", "version": "1", "dimensions": [{"id": "a", "codes": [{"id": "b"}]}]}
    )
    with pytest.raises(CodebookError, match="no dimension 'stage'"):
        list(read_scored(path, other))

"""Coded data: every form that codes come in, and where each problem is."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_classifier.codebook import Code, Codebook, Dimension, Group
from tl_classifier.corpus.coded import CodedDataError, UnknownCodeError, read_coded
from tl_classifier.corpus.writers import writing
from tl_classifier.errors import CodebookError, InputError, UserError
from tl_classifier.excerpts import CodedExcerpt, Excerpt, Prediction, Unscorable, record

ACTS = Dimension(
    "act",
    "Acts",
    (
        Code("digging", "Digging a hole", "", group="labour"),
        Code("planting", "Planting", "", group="labour"),
        Code("rest", "Rest", ""),
    ),
    groups=(Group("labour", "Labour"),),
)
MOODS = Dimension(
    "mood",
    "Mood of the day",
    (Code("glad", "Glad", ""), Code("sad", "Sad", ""), Code("rest", "At rest", "")),
    exclusive=True,
)
CODEBOOK = Codebook("garden", "1", "Garden", (ACTS, MOODS))
KINDS = Dimension("kind", "Kind", (Code("a", "A", ""), Code("b", "B", "")), exclusive=True, optional=False)
OBLIGED = Codebook("obliged", "1", "Obliged", (KINDS,))

Table = Sequence[Sequence[Any]]


def save(path: Path, table: Table) -> Path:
    """A table in the format of the ending."""
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in table:
            book.active.append(list(row))
        book.save(path)
    elif path.suffix == ".parquet":
        header, *rows = table
        pq.write_table(pa.table({name: [row[at] for row in rows] for at, name in enumerate(header)}), path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        path.write_text("\n".join(mark.join("" if cell is None else str(cell) for cell in row) for row in table))
    return path


def coded(path: Path, codebook: Codebook = CODEBOOK) -> list[dict[str, tuple[str, ...]]]:
    return [dict(excerpt.codes) for excerpt in read_coded([path], codebook)]


def refused(*paths: Path, codebook: Codebook = CODEBOOK) -> str:
    with pytest.raises(UserError) as caught:
        read_coded(paths, codebook)
    assert str(caught.value).endswith(".")
    assert not str(caught.value).endswith("..")
    return str(caught.value)


EXPECTED = [
    {"act": ("digging", "rest"), "mood": ()},
    {"act": (), "mood": ("sad",)},
]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx", ".parquet"])
@pytest.mark.parametrize(
    "table",
    [
        [
            ["text", "act.digging", "ACT:rest", "planting", "mood.sad", "notes"],
            ["a", 1, 1, 0, 0, "n"],
            ["b", 0, 0, 0, 1, ""],
        ],
        [["text", "Digging a hole", "act.Rest", "Sad"], ["a", "x", "TRUE", None], ["b", "0", "false", "X"]],
        [["text", "Codes"], ["a", "digging;act.rest; "], ["b", " mood:sad"]],
        [["text", "act", "Mood of the day"], ["a", "Rest; digging", None], ["b", "-", "SAD"]],
    ],
    ids=["flags", "marks", "codes", "dimensions"],
)
def test_forms_of_tables(tmp_path: Path, ending: str, table: list[list[Any]]) -> None:
    assert coded(save(tmp_path / f"t{ending}", table)) == EXPECTED


def test_cells_of_flags(tmp_path: Path) -> None:
    for cell in (1, 1.0, True, "x", " X", 0, 0.0, False, None, " "):
        path = save(tmp_path / "t.xlsx", [["text", "digging"], ["a", cell]])
        assert coded(path) == [{"act": ("digging",) if cell and cell != " " else ()}]
    for cell in ("yes", 2, 0.5, "I dug", -1):
        message = refused(save(tmp_path / "t.xlsx", [["text", "digging"], ["a", 1], ["b", cell]]))
        assert "row 3, column 'digging'" in message
        assert "0 or 1" in message


def test_what_is_not_coded_is_not_there(tmp_path: Path) -> None:
    assert coded(save(tmp_path / "t.csv", [["text", "mood"], ["a", ""]])) == [{"mood": ()}]


def test_about_and_coder(tmp_path: Path) -> None:
    path = save(
        tmp_path / "t.csv",
        [["id", "document", "speaker", "turn", "coder", "text", "codes"], [1, "d", "P1", 4, "Ada", "a", "glad"]],
    )
    assert read_coded([path], CODEBOOK) == [
        CodedExcerpt(Excerpt("a", id="1", document="d", speaker="P1", turn=4), {"act": (), "mood": ("glad",)}, "Ada")
    ]


def test_jsonl_forms(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [
        {"text": "a", "codes": {"mood": ["Sad"], "act": ["rest", "digging"]}, "coder": "Ada"},
        {"text": "b", "codes": {"mood": []}},
        {"text": "c", "codes": {"mood": None, "act": []}},
        {"text": "d", "speaker": "P1", "act": ["planting"], "mood": []},
        {"text": "e", "codes": ["planting", "mood.rest"]},
        {"text": "f", "act": "rest;digging"},
        {"speaker": "INT", "text": "How was it?"},
        {"text": None, "codes": None, "error": "the text is empty"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert coded(path) == [
        {"act": ("digging", "rest"), "mood": ("sad",)},
        {"mood": ()},
        {"act": ()},
        {"act": ("planting",), "mood": ()},
        {"act": ("planting",), "mood": ("rest",)},
        {"act": ("digging", "rest")},
    ]
    assert read_coded([path], CODEBOOK)[0].coder == "Ada"


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".xlsx", ".parquet"])
def test_results_are_coded_data(tmp_path: Path, ending: str) -> None:
    codes = {"act": ("planting",), "mood": ("glad",)}
    prediction = Prediction(
        codes,
        {"act": ("labour",), "mood": ()},
        {d.id: dict.fromkeys(d.code_ids, 0.5) for d in CODEBOOK.dimensions},
        "m@1",
    )
    with writing(tmp_path / f"t{ending}", CODEBOOK) as writer:
        writer.write([record(Excerpt("a", speaker="P1"), prediction, model="m@1")])
        writer.write([record(Unscorable("the text is empty"), None, model="m@1")])
    assert read_coded([tmp_path], CODEBOOK) == [CodedExcerpt(Excerpt("a", speaker="P1"), codes)]


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        (
            [["text", "codes"], ["a", "glad"], ["b", "diging"]],
            ["row 3", "column 'codes'", "'diging'", "nearest is 'digging'"],
        ),
        ([["text", "act"], ["a", "sad"]], ["row 2", "column 'act'", "'sad'"]),
        ([["text", "mood"], ["a", "act.rest"]], ["row 2", "column 'mood'", "'act.rest'"]),
        ([["text", "act"], ["a", "xyz"]], ["row 2", "'xyz'", "known are 'digging', 'planting', 'rest'"]),
        ([["text", "act"], ["a", "Labour"]], ["row 2", "is a group", "'digging', 'planting'"]),
        ([["text", "codes"], ["a", "rest"]], ["row 2", "several dimensions", "act.rest or mood.rest"]),
        ([["text", "act.digin"], ["a", 1]], ["row 1", "column 'act.digin'", "nearest is 'digging'"]),
        ([["text", "diggin", "rest of it"], ["a", 1, 0]], ["row 1", "column 'diggin'", "nearest is 'digging'"]),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
def test_unknown_codes(tmp_path: Path, ending: str, table: Table, parts: list[str]) -> None:
    path = save(tmp_path / f"t{ending}", table)
    with pytest.raises(UnknownCodeError) as caught:
        read_coded([path], CODEBOOK)
    assert isinstance(caught.value, CodebookError)
    for part in [str(path), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ({"codes": {"act": ["diging"]}}, ["key 'act'", "nearest is 'digging'"]),
        ({"codes": {"weather": ["x"]}}, ["'weather' is not a dimension", "'act', 'mood'"]),
        ({"codes": {"act": [1]}}, ["key 'act'", "must be a list"]),
        ({"codes": {"act": {"digging": 1}}}, ["key 'act'", "must be a list"]),
        ({"mood": ["glad", "sad"]}, ["'mood'", "'glad', 'sad'"]),
    ],
)
def test_problems_in_jsonl(tmp_path: Path, line: dict[str, Any], parts: list[str]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a", "mood": []}\n\n' + json.dumps({"text": "b"} | line))
    message = refused(path)
    for part in [str(path), "line 3", *parts]:
        assert part in message


def test_exclusive_dimensions(tmp_path: Path) -> None:
    table = [["text", "glad", "sad"], ["a", 1, 0], ["b", 1, 1]]
    assert "row 3" in refused(save(tmp_path / "t.csv", table))
    table = [["text", "kind"], ["a", "A"], ["b", ""]]
    message = refused(save(tmp_path / "t.csv", table), codebook=OBLIGED)
    assert "row 3" in message
    assert "'kind'" in message


def test_texts_that_cannot_be_trained_on(tmp_path: Path) -> None:
    message = refused(save(tmp_path / "t.csv", [["text", "act"], ["...", "rest"], ["", ""], ["", "rest"]]))
    assert "row 2: the text has no words (and 1 more problem)." in message


def test_every_problem_of_every_file_is_there(tmp_path: Path) -> None:
    first = save(tmp_path / "a.csv", [["text", "act"], ["a", "xyz; rest"], ["b", "rest"], ["", "rest"]])
    second = tmp_path / "b.csv"
    second.write_bytes(b"")
    third = save(tmp_path / "c.xlsx", [["text", "codes"], ["a", "glad;sad"], ["b", "glad"]])
    with pytest.raises(UnknownCodeError) as caught:
        read_coded([first, second, third], CODEBOOK)
    assert [re.sub(r":.*", "", problem.removeprefix(f"{tmp_path}/")) for problem in caught.value.problems] == [
        "a.csv, row 2, column 'act'",
        "a.csv, row 4",
        "b.csv is empty",
        "c.xlsx, row 2",
    ]
    assert str(caught.value).endswith("(and 3 more problems).")
    with pytest.raises(CodedDataError) as other:
        read_coded([second, first], CODEBOOK)
    assert not isinstance(other.value, CodebookError)


def test_codes_in_two_ways(tmp_path: Path) -> None:
    message = refused(save(tmp_path / "t.csv", [["text", "codes", "mood.sad"], ["a", "glad", 1]]))
    assert "'codes'" in message
    assert "'mood.sad'" in message


def test_nothing_coded(tmp_path: Path) -> None:
    message = refused(save(tmp_path / "t.csv", [["text", "notes"], ["a", "b"]]))
    assert "no column with codes" in message
    assert "'text', 'notes'" in message
    assert "act, mood" in message
    (tmp_path / "t.jsonl").write_text('{"text": "a"}')
    assert "Nothing is coded" in refused(tmp_path / "t.jsonl")
    (tmp_path / "t.txt").write_text("P1: a")
    assert ".txt" in refused(tmp_path / "t.txt")
    message = refused(save(tmp_path / "u.csv", [["words", "act"], ["a", "rest"]]))
    assert message.endswith("has no column 'text' (its columns: 'words', 'act').")


def test_no_interview_text_in_messages(tmp_path: Path) -> None:
    said = "I was so ashamed of it that I told nobody"
    for table in ([["text", "act"], ["a", said]], [["text", "act.rest"], ["a", said]]):
        message = refused(save(tmp_path / "t.csv", table))
        assert "ashamed" not in message
        assert f"{len(said)} characters" in message


cells = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["1", "x", "rest", "act.rest;sad", "Glad", "none", "labour"]),
)  # fmt: skip


def test_a_text_that_a_spreadsheet_cut_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "result.xlsx"
    said = "I came home late. " * 2_000
    prediction = Prediction(
        {"act": ("digging",), "mood": ()},
        {"act": ("labour",), "mood": ()},
        {dimension.id: {code.id: 0.5 for code in dimension.codes} for dimension in CODEBOOK.dimensions},
    )
    with writing(path, CODEBOOK) as writer:
        writer.write(
            [
                record(Excerpt(said), prediction, model="m@1"),
                record(Unscorable("the text is empty"), None, model="m@1"),
                record(Excerpt("Short."), prediction, model="m@1"),
            ]
        )
    found = read_coded([path], CODEBOOK)
    assert [excerpt.codes["act"] for excerpt in found] == [("digging",), ("digging",)]
    assert [len(excerpt.excerpt.text) for excerpt in found] == [32_767, 6]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"text": st.one_of(st.just("words"), cells)},
            optional={
                name: st.one_of(
                    cells,
                    st.lists(cells, max_size=3),
                    st.dictionaries(st.sampled_from(["act", "mood", "x"]), cells),
                )
                for name in ("codes", "act", "mood", "error", "id", "turn", "coder")
            },
        ),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_any_records_are_read_or_refused_with_a_sentence(records: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        try:
            found = read_coded([path], CODEBOOK)
        except InputError as error:
            assert str(path) in str(error)
        else:
            for excerpt in found:
                for dimension, codes in excerpt.codes.items():
                    assert CODEBOOK.dimension(dimension).in_order(codes) == codes

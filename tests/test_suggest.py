"""What to code next: the strategies, and the command with its files, back into the readers of coded data."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tl_classifier.cli import app
from tl_classifier.codebook import Codebook
from tl_classifier.corpus.coded import read_coded
from tl_classifier.corpus.inputs import read_excerpts
from tl_classifier.corpus.refi.codebooks import code_guid
from tl_classifier.corpus.refi.reader import read_project
from tl_classifier.corpus.refi.writer import ProjectWriter
from tl_classifier.errors import InputError
from tl_classifier.excerpts import Excerpt
from tl_classifier.likeness import features, likeness
from tl_classifier.suggestion import TOO_ALIKE, AtRandom, MostDoubtful, Pool, Strategy, Telling

BOOK = Codebook.default()
WORDS = "shame anger believe plan maybe try confident home policy colleague lecture train bus tea weather lost".split()  # noqa: SIM905


def make_pool(probabilities: list[list[float]], texts: list[str] | None = None, **options: object) -> Pool:
    rows = np.array(probabilities)
    return Pool(
        texts=texts or [f"w{i} x{i} y{i} z{i}" for i in range(len(rows))],
        documents=options.pop("documents", [None] * len(rows)),  # type: ignore[arg-type]
        probabilities=rows,
        thresholds=np.array(options.pop("thresholds", [0.5] * rows.shape[1])),
        **options,  # type: ignore[arg-type]
    )


def test_doubt_is_greatest_at_the_threshold() -> None:
    pool = make_pool([[0.0], [0.1], [0.2], [0.6], [1.0]], thresholds=[0.2])
    assert pool.doubt[:, 0] == pytest.approx([0, 0.811, 1, 0.811, 0], abs=0.001)
    assert MostDoubtful().choose(pool, 3) == [2, 1, 3]


def test_codes_with_few_examples_come_first_and_none_takes_all() -> None:
    # The first code is doubtful in many excerpts, and a little more so than the second in a few.
    pool = make_pool([[0.5, 0.01]] * 10 + [[0.01, 0.45]] * 4)
    assert MostDoubtful().choose(pool, 4) == [0, 1, 2, 3]
    chosen = Telling().choose(pool, 4)
    assert sum(i >= 10 for i in chosen) == 2
    known = make_pool([[0.5, 0.01]] * 10 + [[0.01, 0.45]] * 4, support=np.array([100.0, 2.0]))
    assert all(i >= 10 for i in Telling().choose(known, 4))


def test_no_two_are_alike_nor_like_what_was_coded() -> None:
    texts = [
        "then I was lost and ashamed of it",
        "Then I was lost, and ashamed of it!",
        "we had plans for monday and tea",
    ]
    pool = make_pool([[0.5], [0.49], [0.4]], texts)
    assert Telling().choose(pool, 3) == [0, 2]
    assert Telling().choose(make_pool([[0.5], [0.49], [0.4]], texts, coded=[texts[2]]), 3) == [0]
    assert MostDoubtful().choose(pool, 3) == [0, 1, 2]


def test_a_document_gives_at_most_twice_its_share_while_others_last() -> None:
    documents = ["a"] * 20 + [f"d{i}" for i in range(9)]
    pool = make_pool([[0.5]] * 20 + [[0.3]] * 9, documents=documents)
    chosen = Telling().choose(pool, 10)
    assert sum(documents[i] == "a" for i in chosen) == 2 and len(chosen) == 10
    everything = Telling().choose(pool, 100)
    assert sorted(everything) == list(range(29))


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from("ab"), st.sampled_from(WORDS[:6])), max_size=12
    ),
    st.integers(1, 14),
)
@settings(max_examples=50)
def test_every_strategy_chooses_each_at_most_once(rows: list[tuple[float, float, str, str]], count: int) -> None:
    if not rows:
        return
    pool = make_pool(
        [[a, b] for a, b, _, _ in rows], [f"{w} {w}s" for *_, w in rows], documents=[d for *_, d, _ in rows]
    )
    strategies: list[Strategy] = [AtRandom(3), MostDoubtful(), Telling()]
    for strategy in strategies:
        chosen = strategy.choose(pool, count)
        assert len(set(chosen)) == len(chosen) <= min(count, len(rows))
        assert set(chosen) <= set(range(len(rows)))
        assert strategy.choose(pool, count) == chosen
    words = [features(pool.texts[i]) for i in Telling().choose(pool, count)]
    assert all(likeness(a, b) < TOO_ALIKE for i, a in enumerate(words) for b in words[:i])


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        turns = []
        for _ in range(12):
            turns.append("Interviewer: And what happened then?")
            turns.append("Ann: I was " + " ".join(rng.choice(WORDS, 9)) + ".")
        (folder / f"{name}.txt").write_text("\n\n".join(turns) + "\n")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["suggest", *map(str, arguments)])


def said(corpus: Path) -> set[str]:
    return {row.text for row in read_excerpts([corpus]) if isinstance(row, Excerpt) and row.speaker == "Ann"}


@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
def test_a_sheet_goes_out_to_be_coded_and_comes_back(
    corpus: Path, tiny_bundle: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"next{ending}"
    done = run(corpus, "-n", 9, "-o", out, "--model", tiny_bundle)
    assert done.exit_code == 0, done.output
    assert "9 excerpts of 3 documents, chosen from 36" in done.stderr
    if ending == ".csv":
        with out.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = list(csv.reader(file))
    else:
        values = openpyxl.load_workbook(out).active.iter_rows(values_only=True)  # type: ignore[union-attr]
        header, *rows = [["" if cell is None else str(cell) for cell in row] for row in values]
    records = [dict(zip(header, row, strict=True)) for row in rows]
    assert {row["text"] for row in records} < said(corpus) and len(records) == 9
    assert {row["speaker"] for row in records} == {"Ann"}
    assert {row["stage"] for row in records} == {row["theme"] for row in records} == {"?"}
    assert all(row["proposed.stage"] for row in records)

    # As it is, nothing is coded, and a sheet that is coded half-way is half of it.
    with pytest.raises(InputError, match="Nothing is coded"):
        read_coded([out], BOOK)
    coded = tmp_path / "coded.csv"
    with coded.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows({**row, "stage": "planning_action", "theme": "none"} for row in records)
    half = tmp_path / "half.csv"
    lines = coded.read_text("utf-8").splitlines(keepends=True)
    half.write_text("".join([*lines[:4], *(line.replace("planning_action,none", "?,none", 1) for line in lines[4:6])]))
    assert [dict(one.codes) for one in read_coded([half], BOOK)] == [
        *[{"stage": ("planning_action",), "theme": ()}] * 3,
        *[{"theme": ()}] * 2,
    ]
    found = read_coded([coded], BOOK)
    assert [one.codes for one in found] == [{"stage": ("planning_action",), "theme": ()}] * 9
    assert [one.excerpt.document for one in found] == [row["document"] for row in records]

    # What was coded is not suggested again.
    again = tmp_path / f"again{ending}"
    done = run(corpus, "-n", 40, "-o", again, "--model", tiny_bundle, "--coded", coded)
    assert done.exit_code == 0, done.output
    assert "There are no more that differ" in done.stderr
    texts = {row.text for row in read_excerpts([again]) if isinstance(row, Excerpt)}
    assert texts and not texts & {row["text"] for row in records}


def test_a_project_goes_out_to_be_coded_and_comes_back(corpus: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.qdpx"
    done = run(corpus, "-n", 9, "-o", out, "--model", tiny_bundle)
    assert done.exit_code == 0, done.output
    rows = [row for row in read_excerpts([out]) if isinstance(row, Excerpt)]
    assert len(rows) == 9 and {row.text for row in rows} < said(corpus)
    assert {row.document for row in rows} == {"one", "two", "three"}
    with pytest.raises(InputError, match="Nothing is coded"):  # the model's own codings teach nothing
        read_coded([out], BOOK)

    project = read_project(out)
    writer = ProjectWriter(project, origin="test", created=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    source = next(source for source in project.sources if source.name == rows[0].document)
    start = (source.text or "").index(rows[0].text)
    code = code_guid(BOOK, "stage", "planning_action")
    writer.add_coding(source.guid, start, start + len(rows[0].text), code, writer.add_coder("Ann Other"))
    coded = tmp_path / "coded.qdpx"
    writer.write(coded)
    found = read_coded([coded], BOOK)
    assert {one.excerpt.document for one in found} == {rows[0].document}
    assert {one.excerpt.text: one.codes["stage"] for one in found}[rows[0].text] == ("planning_action",)
    assert len(found) == sum(row.document == rows[0].document for row in rows)


def test_mistakes_end_in_a_sentence(corpus: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.csv"
    assert "ending that cannot be written" in str(run(corpus, "-o", tmp_path / "next.pdf").exception)
    out.write_text("mine")
    assert "exists already" in str(run(corpus, "-o", out).exception)
    assert out.read_text() == "mine"
    assert "nobody" in str(run(corpus, "-o", out, "--force", "--model", "nobody").exception)
    everything = tmp_path / "everything.csv"
    with everything.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "stage", "theme"], *([text, "", ""] for text in said(corpus))])
    done = run(corpus, "-o", out, "--force", "--model", tiny_bundle, "--coded", everything)
    assert isinstance(done.exception, InputError) and "not coded already" in str(done.exception)

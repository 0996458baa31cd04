"""Scoring of corpora: streaming, interruptions of every kind, nothing lost and nothing overwritten."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import openpyxl
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tl_classifier import Classifier, InputError, scoring
from tl_classifier.codebook import Codebook
from tl_classifier.commands.score import present
from tl_classifier.corpus.journal import Journal, journal_path
from tl_classifier.corpus.writers import OutputError
from tl_classifier.decoding import Decoding
from tl_classifier.errors import UserError
from tl_classifier.excerpts import Excerpt, Prediction
from tl_classifier.scoring import DocumentCounts, Summary, score

ROOT = Path(__file__).parents[1]
ENDINGS = (".jsonl", ".csv", ".xlsx", ".parquet")


class HashCoder:
    """A coder whose numbers depend on the text and on the batch that it is scored in, as those of bf16 do."""

    def __init__(self, model: str = "hash@1", before: Callable[[Sequence[Excerpt]], None] | None = None) -> None:
        self.codebook = Codebook.default()
        self.model = model
        self.batches: list[list[str]] = []
        self._before = before

    def predict(self, excerpts: Sequence[Excerpt]) -> list[Prediction]:
        texts = [excerpt.text for excerpt in excerpts]
        self.batches.append(texts)
        if self._before is not None:
            self._before(excerpts)
        batch = hashlib.sha256("".join(texts).encode()).digest()
        return [self._prediction(hashlib.sha256(excerpt.text.encode() + batch).digest()) for excerpt in excerpts]

    def _prediction(self, noise: bytes) -> Prediction:
        numbers = iter(noise * 4)
        probabilities = {
            d.id: {code: round(next(numbers) / 255, 4) for code in d.code_ids} for d in self.codebook.dimensions
        }
        codes = {d: tuple(code for code, p in given.items() if p > 0.8) for d, given in probabilities.items()}
        groups = {d.id: d.groups_of(codes[d.id]) for d in self.codebook.dimensions}
        return Prediction(codes, groups, probabilities, self.model)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 10)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of 57 rows in three files, some of which cannot be scored."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "anna.txt").write_text("".join(f"OBS: Remark {n}.\n\nP1: Answer number {n}.\n\n" for n in range(10)))
    rows = [{"id": n, "text": f"Row {n % 20}" if n % 7 else "", "document": f"d{n % 3}"} for n in range(35)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "more.csv").write_text("text,speaker\nhello,P9\n...,P9\n")
    return folder


def content(path: Path) -> Any:
    """What an output holds: bytes, or the cells where a format holds more than that."""
    if path.suffix == ".xlsx":
        return list(openpyxl.load_workbook(path).active.values)
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- what a run gives -------------------------------------------------------------------------------------------


def test_every_row_in_order(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    summary = score([corpus], out, HashCoder())
    rows = records(out)
    assert len(rows) == 57
    assert [row["document"] for row in rows[:20]] == ["anna"] * 20
    assert [row["turn"] for row in rows[:20]] == list(range(1, 21))
    assert [row["text"] for row in rows[20:22]] == ["hello", None]
    assert [row["id"] for row in rows[22:]] == [str(n) for n in range(35)]
    assert {row["model"] for row in rows} == {"hash@1"}
    assert [row["error"] for row in rows if "error" in row] == ["the text has no words"] + ["the text is empty"] * 5
    assert summary.total.rows == 51
    assert summary.unscorable == {"the text is empty": 5, "the text has no words": 1}
    assert list(summary.documents) == ["anna", None, "d1", "d2", "d0"]
    stages = sum(len(row["codes"]["stage"]) for row in rows if row["codes"])
    assert sum(n for (dimension, _), n in summary.total.codes.items() if dimension == "stage") == stages > 0
    assert (
        sum((counts.codes for counts in summary.documents.values()), start=type(summary.total.codes)())
        == summary.total.codes
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out.jsonl"]


def test_what_is_said_twice_in_a_chunk_is_scored_once(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\n" + "yes\nno\nyes\n" * 5)
    coder = HashCoder()
    score([tmp_path / "in.csv"], tmp_path / "out.jsonl", coder)
    assert coder.batches == [["yes", "no"], ["no", "yes"]]
    rows = records(tmp_path / "out.jsonl")
    assert rows[0]["probabilities"] == rows[2]["probabilities"] != rows[1]["probabilities"]


def test_chunks_are_bounded_in_characters_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CHUNK_CHARACTERS", 100)
    (tmp_path / "in.csv").write_text("text\n" + "".join(f"{n} {'word ' * 10}\n" for n in range(5)))
    coder = HashCoder()
    score([tmp_path / "in.csv"], tmp_path / "out.jsonl", coder)
    assert [len(batch) for batch in coder.batches] == [2, 2, 1]


def test_speakers_that_are_skipped(corpus: Path, tmp_path: Path) -> None:
    summary = score([corpus], tmp_path / "out.jsonl", HashCoder(), skip_speakers=["obs", "Nobody"])
    assert summary.skipped == {"obs": 10, "Nobody": 0}
    rows = records(tmp_path / "out.jsonl")
    assert len(rows) == 47
    assert [row["turn"] for row in rows[:3]] == [2, 4, 6]


def test_no_text_anywhere(corpus: Path, tmp_path: Path) -> None:
    seen = []

    def look(phase: str, done: int, total: int) -> None:
        journal = journal_path(tmp_path / "out.jsonl")
        if journal.exists():
            seen.append(journal.read_text())

    score([corpus], tmp_path / "out.jsonl", HashCoder(), with_text=False, progress=look)
    assert len(seen) > 5
    for text in (*seen, (tmp_path / "out.jsonl").read_text()):
        assert "Answer" not in text
        assert '"text": "' not in text.replace('"option --text-column": "text"', "")


def test_the_journal_can_be_read_by_its_owner_alone(corpus: Path, tmp_path: Path) -> None:
    modes = set()

    def look(phase: str, done: int, total: int) -> None:
        journal = journal_path(tmp_path / "out.jsonl")
        if journal.exists():
            modes.add(stat.S_IMODE(journal.stat().st_mode))

    score([corpus], tmp_path / "out.jsonl", HashCoder(), progress=look)
    assert modes == {0o600}


def test_progress_counts_to_the_end(corpus: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    score([corpus], tmp_path / "out.jsonl", HashCoder(), progress=lambda *told_now: told.append(told_now))
    assert list(dict.fromkeys(phase for phase, _, _ in told)) == ["reading", "scoring", "writing"]
    assert [step for step in told if step[0] == "scoring"] == [("scoring", n, 57) for n in (0, 10, 20, 30, 40, 50, 57)]
    assert told[-1] == ("writing", 57, 57)


def test_the_output_in_the_folder_is_no_input(corpus: Path) -> None:
    out = corpus / "out.csv"
    score([corpus], out, HashCoder())
    first = out.read_bytes()
    score([corpus], out, HashCoder(), force=True)
    assert out.read_bytes() == first


# --- refusals, before anything is scored ------------------------------------------------------------------------


def refused(inputs: list[Path], output: Path, match: str, **options: Any) -> None:
    coder = HashCoder()
    with pytest.raises(UserError, match=match):
        score(inputs, output, coder, **options)
    assert not coder.batches
    assert not journal_path(output).exists()


def test_an_output_that_exists(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("precious")
    refused([corpus], out, "exists already.*--force")
    refused([corpus], out, "exists already.*--force", resume=True)
    assert out.read_text() == "precious"
    score([corpus], out, HashCoder(), force=True)
    assert out.read_text() != "precious"


def test_a_damaged_file_at_the_end_is_found_first(corpus: Path, tmp_path: Path) -> None:
    (corpus / "zz.jsonl").write_text('{"text": "a"}\n' * 30 + "{")
    refused([corpus], tmp_path / "out.csv", "zz.jsonl, line 31")


def test_outputs_and_inputs_that_cannot_be(corpus: Path, tmp_path: Path) -> None:
    refused([corpus], tmp_path / "out.docx", "known are")
    refused([corpus], tmp_path / "none" / "out.csv", "does not exist")
    refused([tmp_path / "none.csv"], tmp_path / "out.csv", "does not exist")
    refused([corpus / "more.csv"], corpus / "more.csv", "both an input and the output", force=True)


def test_more_rows_than_a_sheet_has(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tl_classifier.corpus.writers.XLSX_ROWS", 56)
    refused([corpus], tmp_path / "out.xlsx", "at most 56; choose")
    score([corpus], tmp_path / "out.csv", HashCoder())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="may write everywhere")
def test_a_folder_that_cannot_be_written_to(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    refused([corpus], tmp_path / "closed" / "out.csv", "does not allow it")


# --- interruptions ----------------------------------------------------------------------------------------------


class Crash(Exception):
    pass


def crashing(calls: int) -> HashCoder:
    """A coder that crashes at a call."""

    def crash(excerpts: Sequence[Excerpt]) -> None:
        if len(coder.batches) == calls:
            raise Crash

    coder = HashCoder(before=crash)
    return coder


def interrupted(corpus: Path, out: Path, calls: int = 3, **options: Any) -> None:
    with pytest.raises(Crash):
        score([corpus], out, crashing(calls), **options)
    assert not out.exists()
    assert journal_path(out).exists()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_that_goes_on_gives_the_same(corpus: Path, tmp_path: Path, ending: str) -> None:
    whole, out = tmp_path / f"whole{ending}", tmp_path / f"out{ending}"
    score([corpus], whole, HashCoder())
    interrupted(corpus, out)
    coder = HashCoder()
    summary = score([corpus], out, coder, resume=True)
    assert summary.resumed == 20
    assert summary.total.rows == 51
    assert "Answer number 0." not in coder.batches[0]
    assert content(out) == content(whole)
    assert not journal_path(out).exists()


def test_what_to_do_with_an_interrupted_run_must_be_said(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    interrupted(corpus, out)
    journal = journal_path(out).read_bytes()
    for force in (False, True):
        with pytest.raises(OutputError, match=r"--resume.*--restart"):
            score([corpus], out, HashCoder(), force=force)
    assert journal_path(out).read_bytes() == journal
    coder = HashCoder()
    assert score([corpus], out, coder, restart=True).resumed == 0
    assert sum(map(len, coder.batches)) > 40


def test_to_go_on_without_an_interrupted_run_is_to_begin(corpus: Path, tmp_path: Path) -> None:
    assert score([corpus], tmp_path / "out.csv", HashCoder(), resume=True).resumed == 0


def test_a_run_that_goes_on_may_replace_what_it_might_before(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    with pytest.raises(Crash):
        score([corpus], out, crashing(3), force=True)
    assert out.read_text() == "old"
    score([corpus], out, HashCoder(), resume=True)
    assert len(records(out)) == 57


def _edit(corpus: Path) -> dict[str, Any]:
    (corpus / "more.csv").write_text("text,speaker\nhullo,P9\n...,P9\n")
    return {}


def _add(corpus: Path) -> dict[str, Any]:
    (corpus / "new.txt").write_text("P1: hello")
    return {}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_edit, r"content of input 2 \(more.csv\) changed"),
        (_add, "list of inputs changed"),
        (lambda _: {"classifier": HashCoder("hash@2")}, "model was hash@1 and is hash@2"),
        (lambda _: {"with_text": False}, "--no-text changed"),
        (lambda _: {"skip_speakers": ["OBS"]}, "--skip-speaker changed"),
        (lambda _: {"text_column": "Text"}, "--text-column was text and is Text"),
    ],
)
def test_a_run_goes_on_only_as_it_was(
    corpus: Path, tmp_path: Path, change: Callable[[Path], dict[str, Any]], what: str
) -> None:
    out = tmp_path / "out.csv"
    interrupted(corpus, out)
    journal = journal_path(out).read_bytes()
    options = change(corpus)
    with pytest.raises(OutputError, match=what + ".*--restart"):
        score([corpus], out, options.pop("classifier", HashCoder()), resume=True, **options)
    assert journal_path(out).read_bytes() == journal


def test_a_torn_journal_goes_on_wherever_it_was_torn(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\n" + "".join(f"word {n}\n" for n in range(25)))
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    score([tmp_path / "in.csv"], whole, HashCoder())
    with pytest.raises(Crash):
        score([tmp_path / "in.csv"], out, crashing(3))
    journal = journal_path(out).read_bytes()
    ends = [match.end() for match in re.finditer(b"\n", journal)]
    places = {0, 1, 30, len(journal) - 1, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])}
    for place in sorted(places | set(range(0, len(journal), 997))):
        journal_path(out).write_bytes(journal[:place])
        summary = score([tmp_path / "in.csv"], out, HashCoder(), resume=True)
        assert summary.resumed == 10 * max(0, sum(end <= place for end in ends) - 1)
        assert out.read_bytes() == whole.read_bytes()
        out.unlink()
    for tail in (
        b"\0" * 500,
        b"\0" * 100_000,
        b"\0" * 500 + b"\n",
        b'[{"id": nul\n',
        b"{}\n",
    ):  # what a power cut may leave
        journal_path(out).write_bytes(journal[: ends[1]] + tail)
        assert score([tmp_path / "in.csv"], out, HashCoder(), resume=True).resumed == 10
        assert out.read_bytes() == whole.read_bytes()
        out.unlink()


@pytest.mark.parametrize("options", [{"resume": True}, {"restart": True}])
def test_a_file_that_is_no_journal_is_not_touched(corpus: Path, tmp_path: Path, options: dict[str, bool]) -> None:
    out = tmp_path / "out.csv"
    journal_path(out).write_text("my notes\n")
    with pytest.raises(OutputError, match="not the journal"):
        score([corpus], out, HashCoder(), **options)
    assert journal_path(out).read_text() == "my notes\n"


def test_a_journal_of_another_version(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    journal_path(out).write_text('{"tl_classifier_journal": 99, "run": {}}\n')
    with pytest.raises(OutputError, match="another version"):
        score([corpus], out, HashCoder(), resume=True)


def test_two_runs_to_one_output(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "out.csv"
    journal = Journal(out, {}, resume=False)
    try:
        with pytest.raises(OutputError, match="Another run"):
            score([corpus], out, HashCoder(), resume=True)
    finally:
        journal.close()


DRIVER = """
import os, signal, sys, time
from tests.test_scoring import HashCoder
from tl_classifier import scoring

source, out, phase, rows, pause, resume = sys.argv[1:]
scoring.CHUNK_ROWS = 10

def die(now, done, total):
    if now == phase and done >= int(rows):
        os.kill(os.getpid(), signal.SIGKILL)

coder = HashCoder(before=lambda excerpts: time.sleep(float(pause)))
scoring.score([source], out, coder, resume=resume == "resume", progress=die)
"""


def driver(
    source: Path, out: Path, phase: str = "", rows: int = 0, pause: float = 0, *, resume: bool = False
) -> list[str]:
    return [
        sys.executable, "-c", DRIVER, str(source), str(out), phase, str(rows), str(pause), "resume" if resume else "",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("ending", [".jsonl", ".xlsx"])
def test_killed_again_and_again(corpus: Path, tmp_path: Path, ending: str) -> None:
    whole, out = tmp_path / f"whole{ending}", tmp_path / f"out{ending}"
    score([corpus], whole, HashCoder())
    for number, (phase, rows) in enumerate([("scoring", 0), ("scoring", 20), ("scoring", 57), ("writing", 30)]):
        killed = subprocess.run(driver(corpus, out, phase, rows, resume=number > 0), cwd=ROOT, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not out.exists()
    summary = score([corpus], out, HashCoder(), resume=True)
    assert summary.resumed == 57
    assert content(out) == content(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", f"out{ending}", f"whole{ending}"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_from_outside(corpus: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    score([corpus], whole, HashCoder())
    with subprocess.Popen(driver(corpus, out, pause=0.3), cwd=ROOT) as run:
        deadline = time.monotonic() + 30
        while not (journal_path(out).exists() and journal_path(out).read_bytes().count(b"\n") > 2):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.kill()
    assert 20 <= score([corpus], out, HashCoder(), resume=True).resumed < 57
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files")
def test_a_full_disk(corpus: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    score([corpus], whole, HashCoder())
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n" + DRIVER
    run = subprocess.run([sys.executable, "-c", limited, *driver(corpus, out)[3:]], cwd=ROOT, check=False, stderr=PIPE)
    assert re.search(rb"OutputError: .*out.csv.partial cannot be written: .*--resume\.\s*$", run.stderr)
    assert 0 < score([corpus], out, HashCoder(), resume=True).resumed < 57
    assert out.read_bytes() == whole.read_bytes()


# --- memory -----------------------------------------------------------------------------------------------------

MEASURE = """
import sys
from tests.test_scoring import HashCoder
from tl_classifier.scoring import score

coder = HashCoder()
score([sys.argv[1]], sys.argv[2], coder, progress=lambda *_: coder.batches.clear())
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    peaks = []
    for rows in (2_500, 9_000):  # several chunks each: two are held at a time
        source = tmp_path / f"{rows}.csv"
        with source.open("w") as file:
            file.write("text\n")
            file.writelines(f"{n}{' some words' * 450}\n" for n in range(rows))
        command = [sys.executable, "-c", MEASURE, str(source), str(tmp_path / f"{rows}.out.csv")]
        peaks.append(int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 1.2 * peaks[0]


# --- the summary ------------------------------------------------------------------------------------------------


def shown(summary: Summary, width: int = 80) -> str:
    console = Console(width=width, highlight=False, record=True, file=io.StringIO())
    present(summary, Codebook.default(), console)
    return console.export_text()


def test_documents_of_a_summary_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "MAX_DOCUMENTS", 60)
    (tmp_path / "in.csv").write_text("document;text\n" + "".join(f"doc-{n % 80};words {n}\n" for n in range(200)))
    summary = score([tmp_path / "in.csv"], tmp_path / "out.csv", HashCoder())
    assert len(summary.documents) == 60
    assert summary.other_documents.rows == 40
    text = shown(summary)
    assert len(set(re.findall(r"doc-\d+", text))) == 50
    assert re.search(r"\(other documents\) +60 ", text)
    assert re.search(r"All +200 ", text)
    assert "200 rows scored with hash@1." in text


def test_a_summary_shows_nothing_that_a_terminal_would_act_on(tmp_path: Path) -> None:
    summary = Summary(tmp_path / "[red]out[/red].csv", "m@1", skipped={"[b]": 0})
    summary.documents = {"\x1b[31m[bold]evil": DocumentCounts(1), "two": DocumentCounts(2)}
    summary.unscorable["the text is empty"] = 3
    text = shown(summary)
    assert "\x1b" not in text
    assert "?[31m[bold]evil" in text
    assert "Nobody is called [b]" in text
    assert "[red]out[/red].csv" in text.replace("\n", "")
    assert "3 where the text is empty" in text


# --- the command ------------------------------------------------------------------------------------------------


def command(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tl_classifier.cli", "score", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_evidence_and_review(tmp_path: Path, tiny_bundle: Path) -> None:
    """What is asked for beside the codes is in the file, and the questions of interviewers are read."""
    classifier = Classifier.load(tiny_bundle)
    limits = {"stage": {0.9: np.full(10, 0.6)}, "theme": {0.9: np.full(5, np.inf)}}
    classifier.decoding = Decoding(
        {d: replace(part, accepted_from=limits[d]) for d, part in classifier.decoding.dimensions.items()}
    )
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text(
        "INT: Was it shame?\n\nP1: No. I was lost. Nothing made sense.\n\nP1: No. I was lost.\n"
    )
    out = tmp_path / "out.jsonl"
    seen: list[str | None] = []
    predict = classifier.predict
    classifier.predict = lambda excerpts, **asked: (  # type: ignore[method-assign]
        seen.extend(e.context for e in excerpts) or predict(excerpts, **asked)
    )
    score([folder], out, classifier, evidence=True, precision=0.9)
    first, _ = records(out)
    assert seen[:2] == ["Was it shame?", None] and set(seen) == {"Was it shame?", None}
    assert {d: list(found) for d, found in first["evidence"].items()} == first["codes"]
    assert {d: list(found) for d, found in first["review"].items()} == first["codes"]
    assert "context" not in first

    table = tmp_path / "out.csv"
    score([folder], table, classifier, evidence=True, precision=0.9)
    with table.open(encoding="utf-8-sig", newline="") as file:
        row = next(csv.DictReader(file))
    reviewed = [f"{d}.{c}" for d, found in first["review"].items() for c, mark in found.items() if mark == "to review"]
    assert row["to_review"] == "; ".join(reviewed)
    assert [line.partition(" ")[0] for line in row["evidence"].splitlines()] == [
        f"{d}.{c}" for d, codes in first["codes"].items() for c in codes
    ]
    with pytest.raises(InputError, match=r"ask for one of 0\.9"):
        score([folder], tmp_path / "other.csv", classifier, precision=0.8)
    assert not (tmp_path / "other.csv").exists()


def test_the_command(corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    out = tmp_path / "out.jsonl"
    done = command(corpus, "-o", out, "--model", tiny_bundle, "--skip-speaker", "OBS", "--no-text")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "41 rows scored with tiny@" in done.stderr
    assert "6 rows not scored" in done.stderr
    assert "10 rows of OBS left out" in done.stderr
    rows = records(out)
    assert len(rows) == 47
    assert all("text" not in row for row in rows)
    again = command(corpus, "-o", out, "--model", tiny_bundle)
    assert again.returncode == 1
    assert re.fullmatch(r"Error: .* exists already; .*--force.*\.\n", again.stderr)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_command_writes_every_format(corpus: Path, tmp_path: Path, tiny_bundle: Path, ending: str) -> None:
    done = command(corpus / "rows.jsonl", "-o", tmp_path / f"out{ending}", "--model", tiny_bundle)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"out{ending}").stat().st_size > 1000


def test_the_command_is_used_wrongly(corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    assert command(corpus).returncode == 2
    assert command(corpus, "-o", tmp_path / "out.csv", "--resume", "--restart", "--model", tiny_bundle).returncode == 2
    (tmp_path / "photo.csv").write_bytes(b"\x89PNG\r\n\x1a\n")
    failed = command(tmp_path / "photo.csv", "-o", tmp_path / "out.csv", "--model", tiny_bundle)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert re.fullmatch(r"Error: .*photo\.csv is not a \.csv file: its content is a PNG image\.\n", failed.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_the_command_is_stopped_and_goes_on(tmp_path: Path, tiny_bundle: Path) -> None:
    source, whole, out = (tmp_path / name for name in ("in.csv", "whole.csv", "out.csv"))
    source.write_text("text\n" + "".join(f"who am i now {n} {'question ' * (n % 60)}\n" for n in range(6000)))
    arguments = [sys.executable, "-m", "tl_classifier.cli", "score", str(source), "--model", str(tiny_bundle), "-o"]
    # A shell's background jobs are started with interrupts ignored, and so is what they start.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [*arguments, str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=listening
    ) as run:
        deadline = time.monotonic() + 60
        while not (journal_path(out).exists() and journal_path(out).read_bytes().count(b"\n") > 1):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert errors == "Stopped; go on with --resume.\n"
    assert not out.exists()
    for arguments_now in ([*arguments, str(out), "--resume"], [*arguments, str(whole)]):
        subprocess.run(arguments_now, cwd=ROOT, check=True, capture_output=True)
    assert out.read_bytes() == whole.read_bytes()

"""Coded data to a bundle: the command as a process, and the parts whose rules can be stated."""

from __future__ import annotations

import csv
import json
import math
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import EvalPrediction

from tl_classifier import Codebook, CodedExcerpt, Excerpt, InputError, TrainingError
from tl_classifier.bundle import Bundle
from tl_classifier.decoding import Decoding
from tl_classifier.excerpts import record
from training.calibration import PRECISIONS, accepting_threshold, fit_decoding
from training.data import corpus_splits, fingerprint, join_turns, labels_of, load_corpus
from training.distillation import examples, pieces, teach
from training.presets import Recipe
from training.run import Job, train
from training.slices import kinds_of_text
from training.splitting import split
from training.taught import UNTAUGHT, taught_by, taught_by_file, write
from training.trainer import Options, scorer

STAGES = Codebook.default().dimension("stage").code_ids


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tl_classifier", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def coded_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coded data that a tiny model can learn: the word says the code."""
    path = tmp_path_factory.mktemp("coded") / "coded.csv"
    rng = random.Random(3)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["document", "speaker", "text", "stage", "theme"])
        for i in range(240):
            ashamed, policy = rng.random() < 0.4, rng.random() < 0.4
            words = ["ashamed and asked why"] * ashamed + ["policy and others"] * policy + ["the bus in monday"]
            rng.shuffle(words)
            stage, theme = "self_examination" * ashamed, "challenges" * policy
            writer.writerow([f"d{i % 10}", "P1", f"i was {' '.join(words)} {rng.random():.3f}", stage, theme])
    return path


@pytest.mark.training
def test_train_writes_a_bundle_that_has_learnt_and_says_how_well(
    coded_csv: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "model"
    arguments = (
        "train",
        coded_csv,
        "--method",
        "full",
        "--base",
        tiny_encoder,
        "-o",
        output,
        "--epochs",
        "6",
        "--learning-rate",
        "0.003",
    )
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}\n"
    manifest = json.loads((output / "bundle.json").read_text())
    figures = manifest["metrics"]["own test"]
    assert set(figures) == {
        "this model",
        "most frequent codes",
        "TF-IDF, logistic regression",
        "frozen encoder, logistic regression",
    }
    learnt = {code["code"]: code for code in figures["this model"]["stage"]["codes"]}["self_examination"]
    assert learnt["f1"]["value"] > 0.9
    assert figures["this model"]["stage"]["calibration_error"] < 0.1
    assert f"{figures['this model']['stage']['macro_f1']['value']:.3f}" in (output / "README.md").read_text()
    assert not list(tmp_path.glob("*.training"))

    classified = command("classify", "i was the bus in monday ashamed and asked why 0.5", "--json", "--model", output)
    record = json.loads(classified.stdout)
    assert record["codes"]["stage"] == ["self_examination"]
    assert record["model"] == f"model@{manifest['version']}"

    evaluated = json.loads(command("evaluate", coded_csv, "--model", output, "--json").stdout)
    assert evaluated["metrics"]["own data"]["this model"]["stage"]["excerpts"] == 240

    again = command(*arguments)
    assert again.returncode == 1
    assert "the output folder exists" in again.stderr


@pytest.mark.training
def test_a_codebook_of_ones_own_with_an_exclusive_dimension(tiny_encoder: Path, tmp_path: Path) -> None:
    codebook = tmp_path / "codebook.yaml"
    codebook.write_text(
        """
schema: 1
name: moods
version: "1"
title: Moods
dimensions:
  - id: mood
    kind: exclusive
    optional: false
    codes: [{id: glad}, {id: lost}]
  - id: topic
    codes: [{id: transport}]
"""
    )
    data = tmp_path / "coded.jsonl"
    rng = random.Random(1)
    rows = []
    for i in range(160):
        mood, bus = rng.choice(["glad", "lost"]), rng.random() < 0.5
        text = f"i was {'sure and confident' if mood == 'glad' else 'lost'} {'in the bus' if bus else 'at home'} {i}"
        codes = {"mood": [mood], "topic": ["transport"] * bus}
        rows.append({"text": text, "document": f"d{i % 8}", "codes": codes})
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "moods"
    done = command(
        "train",
        data,
        "--codebook",
        codebook,
        "--method",
        "full",
        "--base",
        tiny_encoder,
        "-o",
        output,
        "--epochs",
        "6",
        "--learning-rate",
        "0.003",
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(command("classify", "i was lost in the bus", "--json", "--model", output).stdout)
    assert record["codes"] == {"mood": ["lost"], "topic": ["transport"]}
    assert sum(record["probabilities"]["mood"].values()) == pytest.approx(1, abs=0.001)
    assert set(record["probabilities"]) == {"mood", "topic"}


@pytest.mark.training
def test_a_killed_training_goes_on(coded_csv: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    arguments = [
        sys.executable,
        "-m",
        "tl_classifier",
        "train",
        str(coded_csv),
        "--method",
        "full",
        "--base",
        str(tiny_encoder),
        "-o",
        str(output),
        "--epochs",
        "12",
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Epoch 3"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    resumed = subprocess.run([*arguments, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    epochs = [int(n) for n in re.findall(r"^Epoch (\d+)", resumed.stderr, re.MULTILINE)]
    assert epochs[0] > 1
    assert (output / "bundle.json").is_file()


def test_bad_input_ends_in_a_sentence_before_anything_is_written(
    coded_csv: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("text,stage\nI was lost,self_examinaton\n")
    short = tmp_path / "short.csv"
    short.write_text("text,stage,theme\n" + "I was lost,self_examination,\n" * 5)
    for arguments, words in [
        ([wrong], ["wrong.csv", "row 2", "self_examinaton", "self_examination"]),
        ([short], ["5 coded excerpts", "at least 20"]),
        ([coded_csv, "--base", "nobody/nothing"], ["nobody/nothing", "neither a folder"]),
    ]:
        done = command("train", *arguments, "-o", tmp_path / "out")
        assert done.returncode == 1, arguments
        *before, last = done.stderr.splitlines()
        assert last.startswith("Error: ") and all(line.startswith("Warning: ") for line in before), done.stderr
        assert all(word in last for word in words), done.stderr
        assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.training"))


# --- rules --------------------------------------------------------------------------------------------------------


def coded(text: str, document: str | None = None, speaker: str = "P1", stage: tuple[str, ...] = ()) -> CodedExcerpt:
    return CodedExcerpt(Excerpt(text, document=document, speaker=speaker), {"stage": stage, "theme": ()})


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.sets(st.sampled_from(STAGES[:3])), st.integers(1, 90)), max_size=30)
)
def test_joined_turns_are_one_speakers_neighbours_with_the_union_of_their_codes(
    turns: list[tuple[str, set[str], int]],
) -> None:
    codebook = Codebook.default()
    dimension = codebook.dimension("stage")
    rows = [
        coded(" ".join([f"w{i}"] * words), "d", speaker, dimension.in_order(codes))
        for i, (speaker, codes, words) in enumerate(turns)
    ]
    for joined in join_turns(rows, codebook):
        members = sorted({int(word[1:]) for word in joined.excerpt.text.split()})
        assert members == list(range(members[0], members[-1] + 1)) and len(members) > 1
        assert {rows[i].excerpt.speaker for i in members} == {joined.excerpt.speaker}
        assert len(joined.excerpt.text.split()) <= 160
        assert joined.codes["stage"] == dimension.in_order(code for i in members for code in rows[i].codes["stage"])


def test_a_teacher_is_half_of_the_label_and_all_of_it_where_nobody_coded() -> None:
    labels = np.array([[1.0, 0.0, np.nan]], dtype=np.float32)
    taught = teach(labels, np.array([[0.5, 0.25, 0.75]]))
    assert taught.tolist() == [[0.75, 0.125, 0.75]]
    unasked = teach(labels, np.array([[0.5, np.nan, np.nan]]))
    assert unasked[0, :2].tolist() == [0.75, 0.0] and np.isnan(unasked[0, 2])


def test_kept_teaching_is_found_by_text_and_question(tmp_path: Path) -> None:
    codebook = Codebook.default()
    file = tmp_path / "taught.tsv"
    known = [Excerpt("Yes.", context="Lost?"), Excerpt("Yes.")]
    shares = np.linspace(0, 1, 30).reshape(2, 15)
    write(file, "teacher@1", codebook, known, shares)
    assert taught_by(file) == "teacher@1"
    found = taught_by_file([Excerpt("Yes.", document="d"), Excerpt("No."), known[0]], codebook, file)
    np.testing.assert_allclose(found[[2, 0]], shares, atol=0.0006)
    assert np.isnan(found[1]).all()


def test_the_shipped_teaching_has_all_that_is_trained_on_but_the_last_ordinary_talk() -> None:
    codebook = Codebook.default()
    train = load_corpus("train", codebook)
    for is_late in (False, True):
        some = [one for one in train if bool(re.match(UNTAUGHT, one.excerpt.document or "")) == is_late]
        made = examples(some, codebook, Options().joins, uncoded=True)
        assert len(made) > len(some)
        taught = taught_by_file([one.excerpt for one in made], codebook)
        assert np.isnan(taught).all() if is_late else not np.isnan(taught).any()
    others = [
        one.excerpt for part in ("validation", "test", "unseen", "ordinary") for one in load_corpus(part, codebook)
    ]
    known = [one.excerpt.text for one in load_corpus("train", codebook)]
    strange = [excerpt for excerpt in others if excerpt.text not in known]
    assert np.isnan(taught_by_file(strange, codebook)).all()  # nothing of what figures are made on


@pytest.mark.training
def test_a_teacher_is_trained_first_and_named(coded_csv: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    options = Options(epochs=1, learning_rate=0.003)
    recipe = Recipe(str(tiny_encoder), options, teacher=Recipe(str(tiny_encoder), replace(options, epochs=2)))
    job = Job([coded_csv], tmp_path / "model", recipe, Codebook.default(), quiet=True, say=said.append)
    bundle = Bundle.open(train(job))
    assert said.index("Now the model itself.") > max(i for i, line in enumerate(said) if "of at most 2" in line)
    assert bundle.manifest["teacher"]["sha256"] == bundle.manifest["base_model"]["sha256"]
    assert bundle.manifest["taught_by"] is None
    assert "- Teacher: " in (bundle.path / "README.md").read_text("utf-8")


def test_pieces_are_runs_of_whole_sentences_that_nobody_coded() -> None:
    whole = [coded(f"First I was {n}. Then I asked why? Now I am sure.") for n in range(20)]
    found = pieces([*whole, *[coded("One sentence.")] * 20])
    assert len(found) == 20
    for one, of in zip(found, whole, strict=True):
        assert one.excerpt.text in of.excerpt.text and one.excerpt.text != of.excerpt.text and not one.codes
    assert {one.excerpt.text[-1] for one in found} <= {".", "?"}
    assert {"Now I am sure.", "Then I asked why?"} < {one.excerpt.text for one in found}
    assert pieces([coded("..."), *whole[7:9]]) == found[7:9]  # the same, whatever else there is


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=80), st.sampled_from(PRECISIONS))
def test_what_is_accepted_is_right_often_enough(rows: list[tuple[int, bool]], precision: float) -> None:
    """Above the threshold the share of right codes is as asked, and more than chance would make it."""
    chances = np.array([chance / 20 for chance, _ in rows])
    right = np.array([yes for _, yes in rows], dtype=bool)
    limit = accepting_threshold(chances, right, precision)
    accepted = chances >= limit
    if not accepted.any():
        assert limit == math.inf
        return
    assert limit in chances
    assert right[accepted].mean() >= precision
    assert accepted.sum() >= math.log(0.1) / math.log(precision)


def test_how_many_must_be_right_before_any_is_accepted() -> None:
    enough, too_few = np.linspace(0.99, 0.6, 29), np.linspace(0.99, 0.6, 28)  # 0.9 ** 29 < 0.05 < 0.9 ** 28
    assert accepting_threshold(enough, np.ones(29, dtype=bool), 0.9) == pytest.approx(0.6)
    assert accepting_threshold(too_few, np.ones(28, dtype=bool), 0.9) == math.inf
    wrong_at_the_end = np.append(np.ones(30, dtype=bool), [False] * 3)
    assert accepting_threshold(np.linspace(0.99, 0.5, 33), wrong_at_the_end, 0.9) == pytest.approx(0.546, abs=0.001)


def test_what_is_accepted_is_kept_with_the_decoding() -> None:
    codebook = Codebook.default()
    rng = np.random.default_rng(0)
    labels = (rng.random((400, codebook.outputs)) < 0.3).astype(np.float32)
    logits = 4 * labels - 2 + rng.normal(0, 2, labels.shape)
    fitted = fit_decoding(logits, labels, codebook)
    again = Decoding.from_dict(json.loads(json.dumps(fitted.to_dict())), codebook)
    assert again.precisions == list(PRECISIONS)
    reviewed = again.review(again.predictions(logits, codebook, "m"), codebook, 0.9)
    marks = [
        (mark, labels[i, codebook.slices[d.id]][d.code_ids.index(code)] > 0.5)
        for i, found in enumerate(reviewed)
        for d in codebook.dimensions
        for code, mark in (found.review or {})[d.id].items()
    ]
    assert {(d, tuple(codes)) for d, codes in (reviewed[0].review or {}).items()} == set(reviewed[0].codes.items())
    accepted = [right for mark, right in marks if mark == "accepted"]
    assert len(accepted) > 200 and np.mean(accepted) > 0.9
    assert np.mean([right for mark, right in marks if mark == "to review"]) < 0.8
    assert json.loads(json.dumps(record(Excerpt("x"), reviewed[0], model="m")))["review"] == reviewed[0].review
    with pytest.raises(InputError, match=r"ask for one of 0\.7, 0\.8, 0\.9, 0\.95"):
        again.review([], codebook, 0.5)
    with pytest.raises(InputError, match="train it anew"):
        Decoding.uncalibrated(codebook).review([], codebook, 0.9)


def test_an_epoch_is_scored_by_what_exclusive_codes_are_beside_each_other() -> None:
    dimension = {"id": "kind", "kind": "exclusive", "optional": False, "codes": [{"id": "a"}, {"id": "b"}]}
    codebook = Codebook.from_dict({"schema": 1, "name": "n", "version": "1", "title": "t", "dimensions": [dimension]})
    labels = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=np.float32)
    right = np.array([[2, 1], [1, 2], [2, 1], [1, 2]], dtype=np.float32)
    level = np.array([[-9], [9], [5], [-5]], dtype=np.float32)  # one for all codes of an excerpt: it decides nothing
    score = scorer(codebook)
    assert score(EvalPrediction(right + level, labels)) == {"mean_average_precision": 1.0}
    assert score(EvalPrediction(right[::-1] + level, labels))["mean_average_precision"] < 0.8


def test_labels_tell_none_from_not_coded() -> None:
    codebook = Codebook.default()
    labels = labels_of(CodedExcerpt(Excerpt("x"), {"stage": ("planning_action",)}), codebook)
    assert labels[:10].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert all(label != label for label in labels[10:])  # NaN: nobody coded the themes


@given(st.lists(st.sampled_from([f"d{i}" for i in range(12)]), min_size=60, max_size=200))
def test_splits_keep_documents_whole(documents: list[str]) -> None:
    rows = [coded(f"t{i}", document) for i, document in enumerate(documents)]
    try:
        parts = split(rows)
    except TrainingError:
        return
    everything = [*parts.train, *parts.validation, *parts.test]
    assert sorted(one.excerpt.text for one in everything) == sorted(one.excerpt.text for one in rows)
    if parts.by_document:
        names = [{one.excerpt.document for one in part} for part in (parts.train, parts.validation, parts.test)]
        assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    assert len(parts.train) >= len(parts.test)


def test_the_corpus_splits_are_as_the_data_card_says() -> None:
    codebook = Codebook.default()
    splits = corpus_splits()
    documents = [name for names in splits.values() for name in names]
    assert len(documents) == len(set(documents)) == 225
    assert {name[:3] for name in splits["unseen"]} == {"wrk", "exe"}
    assert {name[:3] for name in splits["ordinary"]} == {"oth"}
    kinds = {name[:3] for name in documents} - {"wrk", "exe", "exk", "oth"}
    for part in ("train", "validation", "test"):
        assert {name[:3] for name in splits[part]} - {"exk", "oth"} == kinds
    for part in splits:
        rows = load_corpus(part, codebook)  # type: ignore[arg-type]
        given_codes = Counter(code for row in rows for codes in row.codes.values() for code in codes)
        assert len(given_codes) == 15 or part == "ordinary"
        assert "INT" not in {row.excerpt.speaker for row in rows}
    ordinary = load_corpus("ordinary", codebook)
    assert sum(bool(row.codes["stage"]) for row in ordinary) < 0.15 * len(ordinary)
    assert list(kinds_of_text(ordinary).values())[:3] == [[], [], []]
    assert fingerprint(load_corpus("test", codebook)) != fingerprint(load_corpus("test", codebook)[1:])

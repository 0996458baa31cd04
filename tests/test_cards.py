"""What is reported of a model: parts of the data, the review policy, evidence, where it fails, and its card."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from tests.tiny import make_bundle
from tl_classifier import Classifier, Codebook, CodedExcerpt, Excerpt, InputError, Prediction, TrainingError
from tl_classifier.bundle import Bundle, write_manifest
from tl_classifier.evidence import with_evidence
from tl_classifier.likeness import features, near_duplicates
from training.averaging import average
from training.cards import model_card
from training.data import fingerprint, load_corpus
from training.difficulties import outcomes, read_difficult
from training.evaluation import MODEL, beside, with_model
from training.findings import Findings, examine
from training.metrics import dimension_metrics
from training.rationales import rationale_metrics
from training.recard import recard
from training.slices import hard_slices, kinds_of_text, slices
from training.tried import Tried, figures_of, read_tried, tried_table

CODEBOOK = Codebook.default()
RNG = np.random.default_rng(5)


def command(*arguments: str | Path, module: str = "tl_classifier") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, check=False
    )


class WordCoder:
    """Codes by words: a code's probability is the highest of its words' that are in the text."""

    def __init__(self, words: dict[str, tuple[str, str, float]]) -> None:
        self.codebook = CODEBOOK
        self.decoding = SimpleNamespace(precisions=[0.9])
        self._words = words

    def predict(
        self, excerpts: Sequence[Excerpt], *, evidence: bool = False, precision: float | None = None
    ) -> list[Prediction]:
        found = [self._code(excerpt.text, precision) for excerpt in excerpts]
        return with_evidence(self, excerpts, found) if evidence else found

    def _code(self, text: str, precision: float | None) -> Prediction:
        probabilities = {d.id: dict.fromkeys(d.code_ids, 0.01) for d in CODEBOOK.dimensions}
        for word, (dimension, code, p) in self._words.items():
            if word in text:
                probabilities[dimension][code] = max(p, probabilities[dimension][code])
        codes = {d: tuple(code for code, p in values.items() if p >= 0.5) for d, values in probabilities.items()}
        review = {d: {c: "accepted" if probabilities[d][c] >= 0.8 else "to review" for c in codes[d]} for d in codes}
        return Prediction(codes, dict.fromkeys(codes, ()), probabilities, review=None if precision is None else review)


def coded(text: str, *, document: str = "d", stage: tuple[str, ...] = (), theme: tuple[str, ...] = ()) -> CodedExcerpt:
    return CodedExcerpt(Excerpt(text, document=document), {"stage": stage, "theme": theme})


def test_the_reliability_diagram_counts_every_decision_once() -> None:
    probabilities = RNG.random((200, 3))
    truth = RNG.random((200, 3)) < probabilities
    m = dimension_metrics("d", list("abc"), truth, probabilities >= 0.5, probabilities, ["x", "y"] * 100)
    assert sum(one.decisions for one in m.reliability) == 600
    third = (probabilities >= 0.3) & (probabilities < 0.4)
    assert m.reliability[3].decisions == third.sum()
    assert m.reliability[3].predicted == pytest.approx(probabilities[third].mean())
    assert m.reliability[3].observed == pytest.approx(truth[third].mean())
    gaps = sum(one.decisions * abs(one.predicted - one.observed) for one in m.reliability if one.decisions)
    assert m.calibration_error == pytest.approx(gaps / 600)
    assert m.to_dict()["reliability"][3]["decisions"] == third.sum()
    assert m.given_rate == pytest.approx((probabilities >= 0.5).any(axis=1).mean())
    assert m.carrying_rate == pytest.approx(truth.any(axis=1).mean())


def test_what_is_accepted_is_counted_code_by_code() -> None:
    truth = np.array([[True, False], [True, False], [False, False], [True, True]])
    accepted = np.array([[True, False], [True, False], [True, False], [False, False]])
    probabilities = np.where(accepted, 0.9, 0.6)
    m = dimension_metrics("d", ["a", "b"], truth, accepted, probabilities, [None] * 4, accepted=accepted)
    first, second = (code.accepted for code in m.codes)
    assert first is not None and (first.accepted, first.right, first.support) == (3, 2, 3)
    assert first.precision == pytest.approx(2 / 3) and first.coverage == pytest.approx(2 / 3)
    assert second is not None and math.isnan(second.precision) and second.coverage == 0
    assert m.accepted is not None and (m.accepted.accepted, m.accepted.right, m.accepted.support) == (3, 2, 4)
    without = dimension_metrics("d", ["a", "b"], truth, accepted, probabilities, [None] * 4)
    assert without.accepted is None and "accepted" not in without.codes[0].to_dict()


def test_kinds_of_text_are_told_apart_in_the_shipped_corpus() -> None:
    test, unseen = (load_corpus(part, CODEBOOK) for part in ("test", "unseen"))  # type: ignore[arg-type]
    kinds = kinds_of_text(test)
    assert sum(map(len, kinds.values())) == len(test)
    assert {one.excerpt.document for one in kinds["ordinary talk"]} == {"exn-01", "exn-10"}
    assert {one.excerpt.document for one in kinds["reflective writing"]} == {"exr-05", "exr-09"}
    assert all(re.match("ex[a-f]-", one.excerpt.document or "") for one in kinds["quotations"])
    assert not any((one.excerpt.document or "").startswith("ex") for one in kinds["transcripts"])
    assert set(slices("corpus:unseen", unseen)) == {"corpus:unseen, transcripts", "corpus:unseen, quotations"}
    assert slices("own data", test) == {}  # a user's document may have any name


def test_hard_slices_hold_what_cue_words_get_wrong() -> None:
    coder = WordCoder({"ashamed": ("stage", "self_examination", 0.9)})
    data = [
        coded("We were ashamed of the paint.", document="exn-01"),
        coded("I felt hot in the face.", document="exa-05", stage=("self_examination",), theme=("challenges",)),
        coded("I was ashamed.", document="exa-05", stage=("self_examination",)),
        coded("The bus.", document="hlt-09"),
    ]
    hard = hard_slices(coder.predict, data)
    assert [(one.excerpt.text, dict(one.codes)) for one in hard["without cue words"]] == [
        ("I felt hot in the face.", {"stage": ("self_examination",), "theme": ("challenges",)})
    ]
    assert [(one.excerpt.text, dict(one.codes)) for one in hard["cue words without the code"]] == [
        ("We were ashamed of the paint.", {"stage": ()})
    ]
    named = slices("test", data, coder.predict)
    assert len(named["test, quotations, without cue words"]) == 1
    assert "test, transcripts, without cue words" not in named


def test_figures_on_a_part_are_those_of_its_excerpts() -> None:
    words = {"ashamed": ("stage", "self_examination", 0.9), "plan": ("stage", "planning_action", 0.6)}
    data = [
        coded("I was ashamed.", document="hlt-09", stage=("self_examination",)),
        coded("The plan is to scale.", document="exn-01"),
        coded("The bus was late.", document="exn-01"),
    ]
    figures = with_model(WordCoder(words), beside({}, {"test": data}, CODEBOOK))  # type: ignore[arg-type]
    assert list(figures) == ["test", "test, transcripts", "test, ordinary talk"]
    ordinary = figures["test, ordinary talk"][MODEL]["stage"]
    assert (ordinary.excerpts, ordinary.given_rate, ordinary.carrying_rate) == (2, 0.5, 0.0)
    assert figures["test, transcripts"][MODEL]["stage"].macro_f1.value == 1.0
    accepted = {code.code: code.accepted for code in figures["test"][MODEL]["stage"].codes}
    assert accepted["self_examination"] is not None and accepted["self_examination"].right == 1
    assert accepted["planning_action"] is not None and accepted["planning_action"].accepted == 0  # given, for review


def test_evidence_is_measured_against_another_passage() -> None:
    words = {"ashamed": ("stage", "self_examination", 0.9), "guilty": ("stage", "self_examination", 0.7)}
    texts = ["The bus was late. I was ashamed of it.", "It rained. I felt guilty. I left at ten.", "I was ashamed."]
    found = rationale_metrics(WordCoder(words), [Excerpt(text) for text in texts])  # type: ignore[arg-type]
    assert found is not None
    assert found.cases == 2  # the third has a single passage
    assert found.comprehensiveness == pytest.approx((0.89 + 0.69) / 2)
    assert found.comprehensiveness_of_others == found.sufficiency == 0
    assert found.sufficiency_of_others == pytest.approx((0.89 + 0.69) / 2)
    assert found.beats_others == found.alone_beats_others == 1
    assert rationale_metrics(WordCoder(words), [Excerpt("The bus was late. It rained.")]) is None  # type: ignore[arg-type]


def test_the_difficult_excerpts_are_of_many_kinds_and_not_of_the_corpus() -> None:
    difficult = read_difficult(CODEBOOK)
    kinds = Counter(one.kind for one in difficult)
    assert len(difficult) >= 80 and len(kinds) >= 8 and min(kinds.values()) >= 8
    given = Counter(code for one in difficult for codes in one.coded.codes.values() for code in codes)
    assert set(given) == {code for d in CODEBOOK.dimensions for code in d.code_ids}
    new = [features(one.coded.excerpt.text) for one in difficult]
    corpus = [
        features(one.excerpt.text)
        for part in ("train", "validation", "test", "unseen")
        for one in load_corpus(part, CODEBOOK)  # type: ignore[arg-type]
        if len(one.excerpt.text.split()) > 5
    ]
    alike = near_duplicates([*new, *corpus], least=0.5)
    assert [pair for pair in alike if pair[0] < len(new)] == []


def test_where_it_fails_is_told_as_it_is(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle)
    difficult = read_difficult(CODEBOOK)
    found = outcomes(classifier)
    assert sum(outcome.excerpts for outcome in found) == len(difficult)
    right = {d.id: Counter[str]() for d in CODEBOOK.dimensions}
    for one, said in zip(difficult, classifier.predict([one.coded.excerpt for one in difficult]), strict=True):
        for dimension in right:
            right[dimension][one.kind] += said.codes[dimension] == one.coded.codes[dimension]
    for outcome in found:
        assert outcome.right == {dimension: counts[outcome.kind] for dimension, counts in right.items()}
        assert all(said.codes != one.codes for one, said in outcome.wrong)
    coder = WordCoder({})
    quiet = outcomes(coder)  # type: ignore[arg-type]
    ordinary = next(outcome for outcome in quiet if outcome.kind == "ordinary talk")
    assert ordinary.wrong == [] and ordinary.right["stage"] == ordinary.excerpts


MANIFEST: dict[str, Any] = {
    "name": "tiny",
    "version": "1",
    "base_model": {"name": "tiny", "sha256": "00"},
    "teacher": None,
    "taught_by": None,
    "data": {"description": "-", "with_corpus": True, "fingerprint": "-", "train": 1, "validation": 1},
    "training": {"epochs": 1, "options": {"seed": 1}},
    "software": {"device": "-"},
}


def card_of(findings: Findings, tried: Sequence[Tried] = ()) -> str:
    return model_card(MANIFEST, CODEBOOK, findings, tried)


def rows(card: str, start: str) -> list[list[str]]:
    """Cells of the rows of the first table behind a line that starts so."""
    lines = card[card.index(f"\n{start}") + 1 :].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| "))
    table = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return table


def test_the_card_says_what_was_found() -> None:
    words = {
        "ashamed": ("stage", "self_examination", 0.9),
        "plan": ("stage", "planning_action", 0.6),
        "policy": ("theme", "challenges", 0.85),
    }
    data = [
        coded("It rained. I was ashamed of it.", document="hlt-09", stage=("self_examination",)),
        coded("Policy or no policy.", document="hlt-13", theme=("challenges",)),
        coded("The plan is to scale.", document="exn-01"),
        coded("The bus was late.", document="exn-01"),
    ]
    findings = examine(WordCoder(words), beside({}, {"test": data}, CODEBOOK))  # type: ignore[arg-type]
    tried = [
        Tried("a", "first", "train | tee", None, 12.0, {"test": (0.5, 0.25)}),
        Tried("b", "second", "-", 1.5, None, {}),
    ]
    card = card_of(findings, tried)
    assert "### `test`: 4 excerpts in 3 documents" in card
    parts = {(row[0], row[1]): row for row in rows(card, "Parts of these documents:")}
    assert parts["ordinary talk", "stage"][2] == "2"
    assert parts["ordinary talk", "stage"][-3:] == ["0.500", "0.500", "0.000"]
    assert "50.0% are given a stage where 0.0% carry one, and of those that carry none 50.0%" in card
    accepted = {row[0]: row[1:] for row in rows(card, "Accepted unseen")}
    assert accepted["self_examination"] == ["1", "1", "1.000", "1.000"]
    assert accepted["planning_action"] == ["0", "0", "-", "-"]
    reliability = rows(card, "Reliability")
    assert len(reliability) == 10
    assert reliability[9][:4] == ["0.9 to 1.0", "1", "0.900", "1.000"]
    assert reliability[6][:4] == ["0.6 to 0.7", "1", "0.600", "0.000"]
    assert reliability[0][1] == "38"  # ten codes in four excerpts, but for two
    assert rows(card, "## Evidence")[0][1:] == ["0.890", "0.000"]
    kinds = {row[0]: row[1:] for row in rows(card, "## Where it fails")}
    outcome = next(outcome for outcome in findings.difficult if outcome.kind == "denied or lacking")
    assert kinds["denied or lacking"] == ["10", *map(str, outcome.right.values()), str(10 - len(outcome.wrong))]
    example, _ = outcome.wrong[0]
    assert f'"{example.excerpt.text}" theme: it says none, a coder {example.codes["theme"][0]} (0.01).' in card
    assert rows(card, "## Every model that was tried") == [
        ["a", "first", "-", "12", "0.500 / 0.250", "`train \\| tee`"],
        ["b", "second", "1.5", "-", "-", "-"],
    ]
    assert "## Every model that was tried" not in card_of(findings)


def test_the_models_that_were_tried_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tried.yaml"
    path.write_text("- {run: a, model: first, command: train, figures: {test: [0.5, 0.25], rate: 0.1}}\n", "utf-8")
    assert read_tried(path) == [Tried("a", "first", "train", None, None, {"test": (0.5, 0.25), "rate": (0.1,)})]
    for text, words in (
        ("- {run: a, model: first}", "model 1: it needs run, model and command"),
        ("- {run: a, model: b, command: c, speed: 3}", "model 1: it needs run"),
        ("- {run: a, model: b, command: c, figures: {test: good}}", "the figures of 'test'"),
        ("- {run: a, model: b, command: c, megabytes: many}", "are numbers"),
        ("run: a", "a list of models is needed"),
        ("[", "not YAML"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(InputError, match=words):
            read_tried(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_tried(tmp_path / "none.yaml")


def test_the_models_that_are_said_to_have_been_tried_can_be_read() -> None:
    tried = read_tried(Path(__file__).parents[1] / "model_cards" / "tried.yaml")
    assert len({one.run for one in tried}) == len(tried) >= 9
    assert all(0 <= figure <= 1 for one in tried for figures in one.figures.values() for figure in figures)
    assert tried_table(tried).count("\n| ") == len(tried) + 2


@pytest.fixture(scope="module")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coded") / "coded.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["document", "text", "stage", "theme"])
        writer.writerow(["a", "I was ashamed. The bus was late on Monday.", "self_examination", ""])
        writer.writerow(["b", "We had a plan. Nothing made sense to me, and I asked why.", "planning_action", ""])
        writer.writerow(["b", "The train.", "", ""])
    return path


def test_evaluate_reports_evidence_where_it_is_asked_for(small_csv: Path, tiny_bundle: Path) -> None:
    done = command("evaluate", small_csv, "--model", tiny_bundle, "--evidence", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["evidence"]["own data"]
    expected = rationale_metrics(
        Classifier.load(tiny_bundle),
        [Excerpt(row["text"], document=row["document"]) for row in csv.DictReader(small_csv.open(encoding="utf-8"))],
    )
    assert expected is not None and found["cases"] == expected.cases > 0
    assert found["comprehensiveness"] == pytest.approx(expected.comprehensiveness, abs=0.01)
    printed = command("evaluate", small_csv, "--model", tiny_bundle, "--evidence").stdout
    assert f"{found['comprehensiveness']:.3f}" in printed and f"of {found['cases']} cases" in printed
    assert "evidence" not in json.loads(command("evaluate", small_csv, "--model", tiny_bundle, "--json").stdout)


def test_evaluate_reports_the_parts_of_the_shipped_corpus(tiny_bundle: Path) -> None:
    done = command("evaluate", "corpus:test", "--model", tiny_bundle, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["metrics"]
    kinds = ["transcripts", "quotations", "reflective writing", "ordinary talk"]
    assert list(figures) == ["corpus:test", *(f"corpus:test, {kind}" for kind in kinds)]
    own = {name: systems[MODEL]["stage"] for name, systems in figures.items()}
    assert sum(own[f"corpus:test, {kind}"]["excerpts"] for kind in kinds) == own["corpus:test"]["excerpts"]
    assert 0 <= own["corpus:test, ordinary talk"]["given_rate"] <= 1
    assert len(own["corpus:test"]["reliability"]) == 10


DOCUMENTS = {
    "train": ["exa-01", "exn-02"],
    "validation": ["exa-08"],
    "test": ["exa-05", "exn-01"],
    "unseen": ["exe-01"],
    "ordinary": ["oth-09"],
}


@pytest.fixture
def trained(tiny_bundle: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that says that it was trained on the shipped corpus, and a corpus of a few documents."""
    monkeypatch.setattr("training.data.corpus_splits", lambda: DOCUMENTS)
    folder = tmp_path / "trained"
    shutil.copytree(tiny_bundle, folder)
    train, validation = (load_corpus(part, CODEBOOK) for part in ("train", "validation"))  # type: ignore[arg-type]
    data = {"with_corpus": True, "real": [], "fingerprint": fingerprint(train + validation)}
    about = {"description": "The shipped corpus.", "train": len(train), "validation": len(validation)}
    (folder / "bundle.json").unlink()
    write_manifest(
        folder,
        {
            **MANIFEST,
            "pad_id": Bundle.open(tiny_bundle).manifest["pad_id"],
            "base_model": {"name": str(tiny_encoder), "sha256": "00"},
            "data": {**data, **about, "held_out": {"test": 0, "unseen": 0}},
        },
    )
    return folder


def test_a_bundle_is_examined_anew_without_training(trained: Path) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    recard(trained, tried=[Tried("a", "first", "train", None, None, {})])
    after = {path.name: path.read_bytes() for path in trained.iterdir()}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"README.md", "bundle.json"}
    assert [path.name for path in trained.parent.iterdir()] == ["trained"]
    manifest = Bundle.open(trained).manifest
    assert manifest["version"] == "1" and manifest["data"]["description"] == "The shipped corpus."
    held_out = {part: load_corpus(part, CODEBOOK) for part in ("test", "unseen")}  # type: ignore[arg-type]
    figures = with_model(Classifier.load(trained), beside({}, held_out, CODEBOOK))
    for part in held_out:
        found = manifest["metrics"][part]
        assert found[MODEL]["stage"] == figures[part][MODEL]["stage"].to_dict()
        assert set(found) > {MODEL, "frozen encoder, logistic regression"}
        assert "codes" not in found["most frequent codes"]["stage"]
    card = (trained / "README.md").read_text("utf-8")
    assert f"{manifest['metrics']['unseen'][MODEL]['theme']['macro_f1']['value']:.3f}" in card
    for heading in ("## Evidence", "## Where it fails", "Of the 30 turns of ordinary talk", "| a | first |"):
        assert heading in card
    # The entry of the bundle in the table of its card
    arguments = ("--run", "z", "--model", "tiny", "--made-by", "hand")
    done = command(trained, *arguments, module="training.tried")
    assert done.returncode == 0, done.stderr
    entry = yaml.safe_load(done.stdout)[0]
    assert entry["figures"] == figures_of(manifest)
    assert entry["figures"]["test"][0] == round(manifest["metrics"]["test"][MODEL]["stage"]["macro_f1"]["value"], 3)
    assert entry["per_second"] > 0 and entry["megabytes"] > 0
    path = trained.parent / "tried.yaml"
    path.write_text(done.stdout, "utf-8")
    recard(trained, tried=read_tried(path))
    assert Bundle.open(trained).manifest["metrics"] == manifest["metrics"]
    assert f"| {entry['figures']['test'][0]:.3f} / {entry['figures']['test'][1]:.3f} |" in (
        trained / "README.md"
    ).read_text("utf-8")


def test_the_command_refuses_in_a_sentence(trained: Path) -> None:
    done = command(trained, "--real", "cered=none", module="training.recard")
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and "leave --real out" in done.stderr


@pytest.mark.parametrize(
    ("change", "real", "words"),
    [
        ({"held_out": {"own test": 3}}, (), "without data of the user's"),
        ({"with_corpus": False}, (), "without data of the user's"),
        ({"real": ["cered"]}, (), "name --real cered=PATH"),
        ({}, ("cered=x.tsv",), "leave --real out"),
        ({"fingerprint": "0"}, (), "not as it was when this model was trained"),
    ],
)
def test_what_cannot_be_examined_anew_is_left_alone(
    trained: Path, change: dict[str, Any], real: tuple[str, ...], words: str
) -> None:
    manifest = dict(Bundle.open(trained).manifest)
    write_manifest(trained, {**manifest, "data": {**manifest["data"], **change}})
    before = (trained / "bundle.json").read_bytes()
    with pytest.raises(TrainingError, match=words):
        recard(trained, real=real)
    assert (trained / "bundle.json").read_bytes() == before


def test_an_average_is_one_model_of_the_mean_weights(trained: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", tiny_encoder, seed=1)
    write_manifest(other, {**Bundle.open(trained).manifest, "version": "2"})
    average([trained, other], tmp_path / "mean", name="both")
    bundle = Bundle.open(tmp_path / "mean")
    assert bundle.manifest["averaged"] == ["tiny@1", "tiny@2"] and bundle.name == "both"
    heads = [load_file(folder / "heads.safetensors") for folder in (trained, other, bundle.path)]
    for key, found in heads[2].items():
        first, second = (part[key].astype(np.float32) for part in heads[:2])
        assert not np.allclose(first, second)
        np.testing.assert_allclose(found.astype(np.float32), (first + second) / 2, atol=2e-3)
    assert bundle.manifest["metrics"]["unseen"].keys() >= {MODEL}  # of the mean, not of either
    assert "the mean of those of tiny@1 and tiny@2" in (bundle.path / "README.md").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_what_does_not_go_together_is_not_averaged(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    write_manifest(other, {**Bundle.open(trained).manifest, "base_model": {"name": "another", "sha256": "11"}})
    for folders, words in (([trained], "two bundles or more"), ([trained, other], "differ in their base model")):
        with pytest.raises(TrainingError, match=words):
            average(folders, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()

"""The bundle that ships: what it promises, and that its figures are true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tl_classifier import Classifier, Codebook, Excerpt
from tl_classifier.bundle import DEFAULT_BUNDLE, Bundle

ROOT = Path(__file__).parents[1]
TFIDF = "TF-IDF, logistic regression"

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


@pytest.fixture(scope="module")
def metrics() -> dict[str, dict[str, dict[str, dict]]]:  # type: ignore[type-arg]
    return dict(Bundle.open().manifest["metrics"])


@pytest.mark.parametrize(
    ("text", "dimension", "code"),
    [
        ("Honestly it threw me completely. Everything I had been taught said the opposite, and I sat there thinking "
         "that it made no sense to me at all.", "stage", "disorienting_dilemma"),
        ("I felt so ashamed when I looked at how I had spoken to my own family all those years.", "stage",
         "self_examination"),
        ("So the plan is that from January we meet every second Tuesday, Ann books the room and I ring the families.",
         "stage", "planning_action"),
        ("We simply don't have the staff for it since the training, and the risk policy pulls me back to the old way.",
         "theme", "challenges"),
        ("By the end of the course we trusted each other; I saw the person behind the psychiatrist.", "theme",
         "team_bonding"),
    ],
)  # fmt: skip
def test_it_codes_what_the_codebook_describes(classifier: Classifier, text: str, dimension: str, code: str) -> None:
    assert code in classifier.predict([Excerpt(text)])[0].codes[dimension]


SMALL_TALK = (
    "I take the number nine bus and then it's ten minutes on foot.",
    "Twenty-two years in March.",
    "Sorry, is it on?",
    "There were eleven of us, and the room was on the second floor.",
    "We had soup at one, and a walk round the pond if it was dry.",
    "Mostly days, a few nights, every third weekend.",
)


def test_it_leaves_small_talk_alone(classifier: Classifier) -> None:
    """One false alarm is known (the bus is a challenge), and told."""
    found = classifier.predict([Excerpt(text) for text in SMALL_TALK])
    for dimension, most in (("stage", 0), ("theme", 1)):
        assert sum(bool(prediction.codes[dimension]) for prediction in found) <= most


def test_it_gives_a_stage_to_no_more_than_one_ordinary_turn_in_twenty(classifier: Classifier) -> None:
    from training.data import load_corpus

    coded = load_corpus("ordinary", classifier.codebook)
    found = classifier.predict([one.excerpt for one in coded])
    none = [bool(p.codes["stage"]) for one, p in zip(coded, found, strict=True) if not one.codes["stage"]]
    assert len(none) > 140 and sum(none) <= len(none) / 20
    missed = [set(one.codes["stage"]) - set(p.codes["stage"]) for one, p in zip(coded, found, strict=True)]
    assert sum(map(bool, missed)) <= 1


def test_it_stands_above_cue_words(metrics: dict) -> None:  # type: ignore[type-arg]
    for part in ("test", "unseen"):
        for dimension in ("stage", "theme"):
            model = metrics[part]["this model"][dimension]
            for system in (TFIDF, f"{TFIDF}, question too"):
                words = metrics[part][system][dimension]
                assert model["macro_f1"]["value"] >= words["macro_f1"]["value"] + 0.05, (part, dimension, system)
            assert model["calibration_error"] <= 0.03
            for kind in ("without cue words", "cue words without the code"):
                hard = metrics[f"{part}, {kind}"]
                gained = (
                    hard["this model"][dimension]["macro_f1"]["value"] - hard[TFIDF][dimension]["macro_f1"]["value"]
                )
                assert gained >= 0.15, (part, kind, dimension)


def test_what_it_accepts_is_right(classifier: Classifier) -> None:
    """Asked for a precision of 0.9: on held-out documents, at least 0.88 for every code that is accepted 20 times."""
    from training.data import load_corpus

    for part in ("test", "unseen"):
        coded = load_corpus(part, classifier.codebook)  # type: ignore[arg-type]
        found = classifier.predict([one.excerpt for one in coded], precision=0.9)
        right: dict[str, list[bool]] = {}
        for one, prediction in zip(coded, found, strict=True):
            for dimension, marks in (prediction.review or {}).items():
                for code, mark in marks.items():
                    if mark == "accepted":
                        right.setdefault(code, []).append(code in one.codes[dimension])
        assert len(right) >= 10
        shares = {code: sum(marks) / len(marks) for code, marks in right.items() if len(marks) >= 20}
        assert min(shares.values()) >= 0.88, (part, shares)


def test_its_evidence_is_what_its_codes_hang_on(classifier: Classifier) -> None:
    from training.data import load_corpus
    from training.rationales import rationale_metrics

    found = rationale_metrics(classifier, [one.excerpt for one in load_corpus("test", classifier.codebook)[::5]])
    assert found is not None and found.cases > 100
    assert found.beats_others >= 0.85
    assert found.comprehensiveness > 5 * found.comprehensiveness_of_others


def test_evaluate_prints_the_figures_of_the_card(metrics: dict) -> None:  # type: ignore[type-arg]
    done = subprocess.run(
        [sys.executable, "-m", "tl_classifier", "evaluate", "corpus:test", "corpus:unseen", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = json.loads(done.stdout)["metrics"]
    for part in ("test", "unseen"):
        for dimension, expected in metrics[part]["this model"].items():
            found = printed[f"corpus:{part}"]["this model"][dimension]
            for figure in ("macro_f1", "micro_f1"):
                # another processor rounds otherwise; on the same one they are equal
                assert found[figure]["value"] == pytest.approx(expected[figure]["value"], abs=0.01)
            assert found["calibration_error"] == pytest.approx(expected["calibration_error"], abs=0.01)


def test_the_readme_and_the_card_give_the_figures_of_the_bundle(metrics: dict) -> None:  # type: ignore[type-arg]
    readme = (ROOT / "README.md").read_text("utf-8")
    sections = re.split(r"^### `", (DEFAULT_BUNDLE / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    for part in ("test", "unseen"):
        card = next(section for section in sections if section.startswith(f"{part}`"))
        for dimension in ("stage", "theme"):
            for system, figures in metrics[part].items():
                row = re.search(rf"\| {dimension} \| {re.escape(system)} \| (([\d.]+) \[([\d.]+), ([\d.]+)\])", card)
                assert row is not None
                expected = figures[dimension]["macro_f1"]
                shown = [float(figure) for figure in row.groups()[1:]]
                assert shown == pytest.approx([expected["value"], expected["low"], expected["high"]], abs=0.0006)
                assert row[1] in readme, (part, dimension, system)


def test_the_card_in_the_folder_of_cards_is_the_bundles() -> None:
    name = Bundle.open().name
    assert (ROOT / "model_cards" / f"{name}.md").read_bytes() == (DEFAULT_BUNDLE / "README.md").read_bytes()


def test_its_codebook_is_the_shipped_one() -> None:
    assert Bundle.open().codebook.fingerprint == Codebook.default().fingerprint
    assert Bundle.open().manifest["codebook"]["fingerprint"] == Codebook.default().fingerprint

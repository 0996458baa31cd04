"""Champion against challenger: the figures, their intervals, and who is promoted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from typer.testing import CliRunner

from tl_classifier.cli import app
from tl_classifier.codebook import Code, Codebook, Dimension
from tl_classifier.errors import InputError
from tl_classifier.excerpts import CodedExcerpt, Excerpt, Prediction
from training.challenge import OWN, SHIPPED, Comparison, challenge, compare, decide, print_comparison

TOPICS = Dimension("topic", "Topic", tuple(Code(c, c, "") for c in ("bus", "tea", "rain", "rare")))
MOOD = Dimension("mood", "Mood", tuple(Code(c, c, "") for c in ("glad", "lost")), exclusive=True)
BOOK = Codebook("talk", "1", "Talk", (TOPICS, MOOD))


class Told:
    """A coder who gets each decision right with a chance, drawn once for each excerpt."""

    def __init__(self, codebook: Codebook, truth: list[CodedExcerpt], chance: float, seed: int) -> None:
        self.codebook = codebook
        self.model = f"told@{chance}"
        rng = np.random.default_rng(seed)
        self.codes = {
            one.excerpt.text: {
                dimension.id: tuple(
                    code
                    for code in dimension.code_ids
                    if (code in one.codes.get(dimension.id, ())) == (rng.random() < chance)
                )[: 1 if dimension.exclusive else None]
                for dimension in codebook.dimensions
            }
            for one in truth
        }

    def predict(self, excerpts: list[Excerpt]) -> list[Prediction]:  # type: ignore[override]
        return [Prediction(self.codes[excerpt.text], {}, {}, self.model) for excerpt in excerpts]


def truth(excerpts: int = 300, documents: int = 20, seed: int = 0) -> list[CodedExcerpt]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(excerpts):
        topics = TOPICS.in_order(
            c for c, p in zip(TOPICS.code_ids, (0.4, 0.3, 0.2, 0.03), strict=True) if rng.random() < p
        )
        mood = (("glad",), ("lost",), ())[rng.integers(3)]
        codes = {"topic": topics, "mood": mood} if i % 3 else {"topic": topics}
        found.append(CodedExcerpt(Excerpt(f"t{i}", document=f"d{i % documents}"), codes))
    return found


def compared(before: float, after: float, *, part: str = OWN, seed: int = 0, **options: int) -> Comparison:
    coded = truth(**options, seed=seed)
    coders = [Told(BOOK, coded, chance, seed + n) for n, chance in enumerate((before, after))]
    return challenge(coders[0], coders[1], {part: coded})[0]  # type: ignore[arg-type]


def test_figures_are_those_of_scikit_learn() -> None:
    coded = truth()
    champion, challenger = Told(BOOK, coded, 0.8, 1), Told(BOOK, coded, 0.9, 2)
    found = challenge(champion, challenger, {"x": coded})[0]  # type: ignore[arg-type]
    macros = []
    for of, dimension in zip(found.dimensions, BOOK.dimensions, strict=True):
        rows = [one for one in coded if dimension.id in one.codes]
        assert of.excerpts == len(rows)
        for model, side in ((champion, "champion"), (challenger, "challenger")):
            expected = [
                f1_score(
                    [code in one.codes[dimension.id] for one in rows],
                    [code in model.codes[one.excerpt.text][dimension.id] for one in rows],
                )
                for code in dimension.code_ids
            ]
            assert [getattr(code.f1, side) for code in of.codes] == pytest.approx(expected)
            assert getattr(of.macro_f1, side) == pytest.approx(np.mean(expected))
            macros.append(np.mean(expected))
        right = [
            [set(model.codes[one.excerpt.text][dimension.id]) == set(one.codes[dimension.id]) for one in rows]
            for model in (champion, challenger)
        ]
        assert of.gained == sum(b and not a for a, b in zip(*right, strict=True))
        assert of.forgotten == sum(a and not b for a, b in zip(*right, strict=True))
    assert found.overall.challenger == pytest.approx((macros[1] + macros[3]) / 2)
    assert found.drawn == "documents" and found.count == 20 and found.caution is None


def test_the_interval_is_paired_and_over_documents() -> None:
    # Hard documents and easy ones: each model by itself varies widely, their difference does not.
    coded, first, second = [], [], []
    for d in range(30):
        for i in range(10):
            coded.append(CodedExcerpt(Excerpt(f"{d} {i}", document=f"d{d}"), {"topic": ("bus",)}))
            right = i < (d % 10)
            first.append(Prediction({"topic": ("bus",) if right else ()}, {}, {}))
            second.append(Prediction({"topic": ("bus",) if right or i == 9 else ()}, {}, {}))
    found = compare("x", first, second, coded, [TOPICS])
    assert found.overall.better and found.overall.low is not None and found.overall.low > 0
    same = compare("x", first, first, coded, [TOPICS])
    assert (same.overall.low, same.overall.high, same.overall.confidence) == (0.0, 0.0, 0.5)
    again = compare("x", first, second, coded, [TOPICS])
    assert again == found and compare("x", first, second, coded, [TOPICS], seed=1) != found


def test_an_interval_holds_the_difference_as_often_as_it_says() -> None:
    exact = compared(0.75, 0.85, excerpts=20_000, documents=200).dimensions[0].codes[0].f1.value
    held = 0
    for seed in range(1, 41):
        found = compared(0.75, 0.85, seed=seed, excerpts=300, documents=30).dimensions[0].codes[0].f1
        assert found.low is not None and found.high is not None
        held += found.low <= exact <= found.high
    assert 34 <= held <= 40


def test_few_documents_are_drawn_by_excerpts_with_a_caution() -> None:
    found = compared(0.8, 0.9, documents=4)
    assert found.drawn == "excerpts" and found.count == 300
    assert found.caution is not None and "too narrow" in found.caution


def test_a_code_that_hardly_occurs_has_no_interval() -> None:
    coded = truth(60, 6)
    coded[0] = CodedExcerpt(coded[0].excerpt, {"topic": ("rare",)})
    coded[1:] = [
        CodedExcerpt(o.excerpt, {"topic": tuple(c for c in o.codes["topic"] if c != "rare")}) for o in coded[1:]
    ]
    given = [Prediction({"topic": one.codes["topic"]}, {}, {}) for one in coded]
    rare = compare("x", given, given, coded, [TOPICS]).dimensions[0].codes[-1]
    assert (rare.code, rare.support, rare.f1.low, rare.f1.confidence) == ("rare", 1, None, None)


def test_what_only_one_of_them_codes_is_left_out() -> None:
    coded = truth()
    smaller = Codebook("talk", "2", "Talk", (TOPICS, Dimension("mood", "Mood", MOOD.codes[:1], exclusive=True)))
    found = challenge(Told(smaller, coded, 0.8, 1), Told(BOOK, coded, 0.9, 1), {"x": coded})  # type: ignore[arg-type]
    assert [of.dimension for of in found[0].dimensions] == ["topic"]
    other = Codebook("other", "1", "Other", (MOOD,))
    with pytest.raises(InputError, match="no dimension with the same codes"):
        alone = Codebook("topics", "1", "Topics", (TOPICS,))
        challenge(Told(other, coded, 0.8, 1), Told(alone, coded, 0.8, 1), {"x": coded})  # type: ignore[arg-type]


# --- promotion --------------------------------------------------------------------------------------------------


def test_a_worse_or_an_equal_challenger_is_never_promoted_and_a_better_one_nearly_always() -> None:
    worse = [decide("auto", [compared(0.85, 0.5, seed=seed)]).promote for seed in range(20)]
    equal = [decide("auto", [compared(0.8, 0.8, seed=seed)]).promote for seed in range(20)]
    better = [decide("auto", [compared(0.75, 0.9, seed=seed)]).promote for seed in range(20)]
    assert sum(worse) == 0 and sum(equal) <= 3 and sum(better) >= 18


def test_the_rules_that_are_no_comparison() -> None:
    found = [compared(0.9, 0.5)]
    assert decide("always", found).promote and not decide("never", [compared(0.5, 0.9)]).promote
    nothing = decide("auto", [])
    assert not nothing.promote and "no held-out documents" in nothing.why


def falling(part: str, *, code: str) -> Comparison:
    """All is better but one code, which is given up."""
    coded = truth(600, 30)
    champion = Told(BOOK, coded, 0.8, 1)
    challenger = Told(BOOK, coded, 0.95, 2)
    for codes in challenger.codes.values():
        codes["topic"] = tuple(c for c in codes["topic"] if c != code)
    return challenge(champion, challenger, {part: coded})[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [OWN, SHIPPED])
def test_no_code_is_given_up_for_the_others(part: str) -> None:
    good = compared(0.7, 0.95, part=OWN)
    found = falling(part, code="rain")
    assert found.overall.better
    decision = decide("auto", [found] if part == OWN else [good, found])
    assert not decision.promote and "'rain'" in decision.why and "0.05" in decision.why
    assert decide("auto", [good]).promote


def test_what_was_known_is_not_forgotten() -> None:
    good = compared(0.7, 0.95)
    forgetful = compared(0.9, 0.87, part=SHIPPED, excerpts=4_000, documents=80)
    decision = decide("auto", [good, forgetful], margin=1.0)
    assert not decision.promote and "shipped documents" in decision.why
    # Without documents of the user's, the shipped ones decide.
    assert decide("auto", [compared(0.7, 0.95, part=SHIPPED)]).promote


def test_reports_say_the_same_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(0.7, 0.9)
    print_comparison(found, champion="old@1", challenger="new@2")
    shown = capsys.readouterr().out
    plain = found.to_dict()
    for words in (
        "new@2 against old@1",
        "300 excerpts",
        "20 documents",
        "rare",
        f"{found.overall.value:+.3f}",
        "better",
    ):
        assert words in shown
    assert plain["overall"]["difference"] == round(found.overall.value, 4)
    assert plain["dimensions"]["topic"]["codes"][0]["code"] == "bus"
    assert "t1" not in shown


def test_the_command_compares_two_models_on_coded_data(tiny_bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "coded.csv"
    rows = [
        f"d{i % 6},i was ashamed and lost {i},{'self_examination' if i % 2 else ''},facilitators" for i in range(24)
    ]
    data.write_text("document,text,stage,theme\n" + "\n".join(rows) + "\n")
    arguments = ["models", "compare", str(tiny_bundle), str(tiny_bundle), "--data", str(data)]
    environment = {"TLC_MODELS": str(tmp_path / "models")}
    done = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["comparisons"]["own data"]
    assert found["excerpts"] == 24 and found["intervals_over"] == {"of": "documents", "count": 6}
    assert found["overall"]["difference"] == 0 and found["overall"]["confidence"] == 0.5
    shown = CliRunner().invoke(app, arguments, env=environment)
    assert "self_examination" in shown.stdout and "ashamed" not in shown.stdout

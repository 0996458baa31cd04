"""Agreement: the statistics against published examples and their properties; matching; the command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.test_scored import BOOK, scored_record
from tl_classifier.agreement import (
    MISSING,
    CohenKappa,
    FleissKappa,
    KrippendorffAlpha,
    cohen_kappa,
    figure,
    fleiss_kappa,
    krippendorff_alpha,
    masi_distance,
    masi_distances,
    nominal,
    percent_agreement,
)
from tl_classifier.cli import app
from tl_classifier.codebook import Codebook
from tl_classifier.comparison import Coder, agreement, disagreements, match, read_coders
from tl_classifier.corpus.writers import writing
from tl_classifier.errors import CodebookError, InputError, UserError
from tl_classifier.excerpts import CodedExcerpt, Excerpt

ROOT = Path(__file__).parents[1]


def approx(value: float) -> Any:
    return pytest.approx(value, abs=0.0005)


def columns(*coders: str) -> np.ndarray:
    """Ratings from one string a coder: a digit is a category, a dot is missing."""
    return np.array([[MISSING if c == "." else int(c) for c in coder] for coder in coders]).T


def from_counts(table: str) -> np.ndarray:
    """Ratings from counts of ratings by category, one unit a line."""
    return np.array([np.repeat(range(5), [int(n) for n in line.split()]) for line in table.strip().splitlines()])


# --- published examples -----------------------------------------------------------------------------------------


def test_krippendorff_2011_binary_two_observers() -> None:
    ratings = columns("0100000010", "1110010000")
    assert krippendorff_alpha(ratings) == approx(0.095)
    assert percent_agreement(ratings) == approx(0.6)


def test_krippendorff_2011_nominal_two_observers() -> None:
    letters = {letter: number for number, letter in enumerate("abcde")}
    ratings = columns(*("".join(str(letters[c]) for c in row) for row in ("aabbdcccedda", "babbbccceddd")))
    assert krippendorff_alpha(ratings) == approx(0.692)


def test_krippendorff_2011_four_observers_with_missing_data() -> None:
    ratings = columns("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    assert ratings.shape == (12, 4)
    assert krippendorff_alpha(ratings) == approx(0.743)


def test_fleiss_1971_psychiatric_diagnoses() -> None:
    ratings = from_counts(
        """
        0 0 0 6 0
        0 3 0 0 3
        0 1 4 0 1
        0 0 0 0 6
        0 3 0 3 0
        2 0 4 0 0
        0 0 4 0 2
        2 0 3 1 0
        2 0 0 4 0
        0 0 0 0 6
        1 0 0 5 0
        1 1 0 4 0
        0 3 3 0 0
        1 0 0 5 0
        0 2 0 3 1
        0 0 5 0 1
        3 0 0 1 2
        5 1 0 0 0
        0 2 0 4 0
        1 0 2 0 3
        0 0 0 0 6
        0 1 0 5 0
        0 2 0 1 3
        2 0 0 4 0
        1 0 0 4 1
        0 5 0 1 0
        4 0 0 0 2
        0 2 0 4 0
        1 0 5 0 0
        0 0 0 0 6
        """
    )
    assert ratings.shape == (30, 6)
    assert [round(float((ratings == k).mean()), 3) for k in range(5)] == [0.144, 0.144, 0.167, 0.306, 0.239]
    assert percent_agreement(ratings) == approx(0.556)
    assert fleiss_kappa(ratings) == approx(0.430)


def test_fleiss_ten_subjects_fourteen_raters() -> None:
    table = (
        "0 0 0 0 14\n0 2 6 4 2\n0 0 3 5 6\n0 3 9 2 0\n2 2 8 1 1\n7 7 0 0 0\n3 2 6 3 0\n2 5 3 2 2\n6 5 2 1 0\n0 2 2 3 7"
    )
    assert fleiss_kappa(from_counts(table)) == approx(0.210)


def test_cohen_of_a_two_by_two_table() -> None:
    ratings = [[1, 1]] * 20 + [[1, 0]] * 5 + [[0, 1]] * 10 + [[0, 0]] * 15
    assert cohen_kappa(ratings) == approx(0.4)
    assert percent_agreement(ratings) == approx(0.7)


def test_cohen_1960_three_categories() -> None:
    """Table 1 of the paper, in numbers of 200 patients: 88 14 18 / 10 40 10 / 2 6 12, kappa .492."""
    table = {(0, 0): 88, (0, 1): 14, (0, 2): 18, (1, 0): 10, (1, 1): 40, (1, 2): 10, (2, 0): 2, (2, 1): 6, (2, 2): 12}
    ratings = [cell for cell, times in table.items() for _ in range(times)]
    assert cohen_kappa(ratings) == approx(0.492)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("", "", 0),
        ("", "a", 1),
        ("ab", "ab", 0),
        ("a", "b", 1),
        ("ab", "abcd", 1 - 2 / 4 * 2 / 3),
        ("ab", "bc", 1 - 1 / 3 * 1 / 3),
    ],
)
def test_masi(first: str, second: str, distance: float) -> None:
    assert masi_distance(first, second) == masi_distance(second, first) == pytest.approx(distance)


# --- properties -------------------------------------------------------------------------------------------------


def ratings_of(coders: st.SearchStrategy[int], *, lowest: int = MISSING) -> st.SearchStrategy[np.ndarray]:
    return coders.flatmap(
        lambda n: st.lists(st.lists(st.integers(lowest, 3), min_size=n, max_size=n), min_size=1, max_size=12).map(
            np.array
        )
    )


def alpha_by_definition(ratings: np.ndarray, distances: np.ndarray) -> float:
    """Krippendorff's alpha from all pairs of values, as it is defined."""
    units = [[int(v) for v in unit if v != MISSING] for unit in ratings]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    if len(values) < 2:
        return float("nan")
    observed = sum(sum(distances[a, b] for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum(distances[a, b] for a, b in permutations(values, 2)) / (len(values) - 1)
    return float(1 - observed / expected) if expected else float("nan")


@given(ratings_of(st.integers(2, 4)))
def test_alpha_is_what_its_definition_says(ratings: np.ndarray) -> None:
    sets = [(), ("a",), ("a", "b"), ("b", "c")]
    for distances in (nominal(4), masi_distances(sets)):
        found = krippendorff_alpha(ratings, distances)
        assert found == pytest.approx(alpha_by_definition(ratings, distances), nan_ok=True)


@given(ratings_of(st.integers(2, 4)), st.permutations(range(4)), st.randoms())
def test_neither_the_order_of_coders_nor_the_names_of_categories_matter(
    ratings: np.ndarray, names: list[int], random: Any
) -> None:
    renamed = np.array([*names, MISSING])[ratings]
    order = list(range(ratings.shape[1]))
    random.shuffle(order)
    statistics = [krippendorff_alpha, fleiss_kappa, percent_agreement]
    if ratings.shape[1] == 2:
        statistics.append(cohen_kappa)
    for statistic in statistics:
        expected = pytest.approx(statistic(ratings), nan_ok=True)
        assert statistic(renamed) == expected
        assert statistic(ratings[:, order]) == expected
        assert statistic(ratings[::-1]) == expected


@given(st.lists(st.integers(0, 3), min_size=2, max_size=10), st.integers(2, 4))
def test_perfect_agreement_is_one_and_says_nothing_of_a_single_category(units: list[int], coders: int) -> None:
    ratings = np.repeat(np.array(units)[:, None], coders, axis=1)
    expected = 1.0 if len(set(units)) > 1 else float("nan")
    assert krippendorff_alpha(ratings) == pytest.approx(expected, nan_ok=True)
    assert fleiss_kappa(ratings) == pytest.approx(expected, nan_ok=True)
    assert cohen_kappa(ratings[:, :2]) == pytest.approx(expected, nan_ok=True)
    assert percent_agreement(ratings) == 1


@given(ratings_of(st.just(3)), st.integers(0, 3))
def test_what_only_one_coder_coded_changes_nothing(ratings: np.ndarray, value: int) -> None:
    alone = np.array([[MISSING, value, MISSING], [MISSING, MISSING, MISSING]])
    more = np.concatenate([ratings, alone])
    for statistic in (krippendorff_alpha, fleiss_kappa, percent_agreement):
        assert statistic(more) == pytest.approx(statistic(ratings), nan_ok=True)


@given(ratings_of(st.integers(2, 4), lowest=0))
def test_no_statistic_is_above_one(ratings: np.ndarray) -> None:
    for statistic in (krippendorff_alpha, fleiss_kappa, percent_agreement):
        assert not statistic(ratings) > 1 + 1e-9


def test_ratings_without_pairs() -> None:
    for ratings in (np.empty((0, 2), dtype=int), columns("1.", ".1")):
        assert np.isnan([krippendorff_alpha(ratings), fleiss_kappa(ratings), cohen_kappa(ratings)]).all()
        assert np.isnan(percent_agreement(ratings))
    with pytest.raises(ValueError, match="two coders"):
        cohen_kappa(columns("1", "1", "1"))


def test_intervals() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, 400)
    ratings = np.stack([truth, np.where(random.random(400) < 0.15, 1 - truth, truth)], axis=1)
    for statistic in (CohenKappa(2), FleissKappa(2), KrippendorffAlpha(nominal(2))):
        by_unit = figure(statistic, ratings)
        assert by_unit.low is not None and by_unit.high is not None
        assert by_unit.low < by_unit.value < by_unit.high
        assert by_unit == figure(statistic, ratings[::-1])  # neither the order of units nor the day matters
        # The standard error of kappa with 85% agreement on 400 units is about 0.036.
        assert 2.5 * 0.036 < by_unit.high - by_unit.low < 5.5 * 0.036
        # Excerpts that are all alike within a document are worth no more than one each.
        copies = figure(statistic, np.repeat(ratings[:40], 10, axis=0), np.repeat(np.arange(40), 10))
        single = figure(statistic, ratings[:40])
        assert copies.low == pytest.approx(single.low, abs=0.06) and copies.high == pytest.approx(single.high, abs=0.06)
    assert figure(CohenKappa(2), [[1, 1], [1, 1]]).low is None  # there is no figure
    rare = figure(CohenKappa(2), [[1, 1]] + [[0, 0]] * 50)  # a third of the samples lacks the code
    assert (rare.value, rare.low) == (1, None)
    assert figure(CohenKappa(2), ratings[:1]).low is None


# --- coders side by side ----------------------------------------------------------------------------------------


def coded(
    text: str, *codes: str, coder: str | None = None, themes: tuple[str, ...] | None = (), **about: Any
) -> CodedExcerpt:
    given = {"stage": BOOK.dimension("stage").in_order(codes)}
    return CodedExcerpt(Excerpt(text, **about), given if themes is None else given | {"theme": themes}, coder)


def test_rows_are_matched_by_document_and_turn() -> None:
    first = [coded(f"text {n}", document="anna", turn=n) for n in range(1, 6)]
    second = [coded(f"text {n}", document="anna", turn=n) for n in (3, 2, 1, 9)]
    found = match([Coder("A", first), Coder("B", second)])
    assert found.by == "document and turn"
    assert [unit[0].excerpt.turn for unit in found.units if unit[0]] == [1, 2, 3]
    assert all(unit[0] and unit[1] and unit[0].excerpt == unit[1].excerpt for unit in found.units)
    assert [[item.excerpt.turn for item in rows] for rows in found.unmatched] == [[4, 5], [9]]


def test_ids_that_are_mere_row_numbers_match_nothing() -> None:
    first = [coded(f"text {n}", id=str(n)) for n in range(20)]
    second = [coded(f"text {n + 7}", id=str(n)) for n in range(20)]
    found = match([Coder("A", first), Coder("B", second)])
    assert found.by == "text"
    assert len(found.units) == 13
    found = match([Coder("A", first), Coder("B", [coded("", id=str(n)) for n in range(20)])])
    assert (found.by, len(found.units)) == ("id", 20)


def test_what_is_said_twice_is_matched_in_order() -> None:
    first = [coded("Yes.", "self_examination"), coded("Größe"), coded("Yes."), coded("Yes.")]
    second = [coded("Yes. ", "self_examination"), coded("Yes."), coded("Gro\u0308ße")]
    found = match([Coder("A", first), Coder("B", second)])
    assert found.by == "text"
    assert [tuple(bool(c and c.codes["stage"]) for c in unit) for unit in found.units] == [
        (True, True), (False, False), (False, False),
    ]  # fmt: skip
    assert [len(rows) for rows in found.unmatched] == [1, 0]


def test_parts_of_one_turn_are_told_apart_by_their_text() -> None:
    first = [coded(part, document="anna", turn=n) for n in (1, 2) for part in (f"begin {n}", f"end {n}")]
    found = match([Coder("A", first), Coder("B", first[::-1])])
    assert found.by == "document and text"
    assert [unit[0] == unit[1] for unit in found.units] == [True] * 4
    # Where there is no text to tell them apart, none is matched with the wrong one.
    bare = [coded("", document="anna", turn=n) for n in (1, 1, 2)]
    found = match([Coder("A", bare), Coder("B", bare)])
    assert (found.by, len(found.units), len(found.unmatched[0])) == ("document and turn", 1, 2)


def test_nothing_in_common_and_other_words() -> None:
    a = [coded(f"said {n}", document="anna", turn=n) for n in range(4)]
    with pytest.raises(InputError, match="no excerpt in common") as caught:
        match([Coder("A", a), Coder("B", [coded(f"else {n}", document="anna", turn=n) for n in range(4)])])
    assert "said" not in str(caught.value)
    other = [coded("corrected" if n == 2 else f"said  {n}\n", document="anna", turn=n) for n in range(4)]
    found = match([Coder("A", a), Coder("B", other)])
    assert (found.by, found.other_words) == ("document and turn", 1)


def test_figures_of_three_coders_one_of_whom_coded_stages_alone() -> None:
    turns = range(12)
    some = [("self_examination",) if n % 3 == 0 else () for n in turns]
    a = [coded(f"t{n}", *some[n], document="d", turn=n, themes=("challenges",) if n < 6 else ()) for n in turns]
    b = [coded(f"t{n}", *some[n], document="d", turn=n, themes=("challenges",) if n < 5 else ()) for n in turns]
    c = [coded(f"t{n}", *some[n - 1], document="d", turn=n, themes=None) for n in turns if n > 3]
    found = match([Coder("A", a), Coder("B", b), Coder("C", c)])
    stage, theme = (agreement(found, dimension) for dimension in BOOK.dimensions)
    assert stage is not None and theme is not None
    assert (stage.coders, stage.excerpts, stage.complete) == (("A", "B", "C"), 12, 8)
    code = next(code for code in stage.codes if code.code == "self_examination")
    assert code.given == (4, 4, 3)
    rows = [[int(bool(some[n])), int(bool(some[n])), int(bool(some[n - 1])) if n > 3 else MISSING] for n in turns]
    assert code.kappa.value == pytest.approx(fleiss_kappa(rows[4:]))
    assert code.alpha.value == pytest.approx(krippendorff_alpha(rows))
    assert [pair.coders for pair in stage.pairs] == list(combinations("ABC", 2))
    assert stage.pairs[0].alpha.value == 1
    # Themes: two coders, eleven of twelve alike.
    assert (theme.coders, theme.pairs, theme.none) == (("A", "B"), (), (6, 7))
    challenges = theme.codes[-1]
    assert challenges.percent == theme.percent == pytest.approx(11 / 12)
    assert challenges.kappa.value == pytest.approx(cohen_kappa([[1, 1]] * 5 + [[1, 0]] + [[0, 0]] * 6))
    assert theme.alpha.value == pytest.approx(challenges.alpha.value)  # sets of one code or none: MASI is nominal
    assert theme.kappa is None


def test_a_dimension_of_one_code_an_excerpt_has_a_kappa_of_its_own() -> None:
    codes = [{"id": "up"}, {"id": "down"}]
    codebook = Codebook.from_dict(
        {"schema": 1, "name": "x", "version": "1", "dimensions": [{"id": "way", "kind": "exclusive", "codes": codes}]}
    )
    cells = [("up", "up")] * 3 + [("down", "down")] * 2 + [("up", None), (None, None), ("down", "up")]

    def column(at: int) -> list[CodedExcerpt]:
        return [
            CodedExcerpt(Excerpt(f"t{n}", id=str(n)), {"way": (pair[at],) if pair[at] else ()})
            for n, pair in enumerate(cells)
        ]

    found = agreement(match([Coder("A", column(0)), Coder("B", column(1))]), codebook.dimension("way"))
    numbers = {"up": 0, "down": 1, None: 2}
    ratings = [[numbers[a], numbers[b]] for a, b in cells]
    assert found is not None and found.kappa is not None
    assert found.kappa.value == pytest.approx(cohen_kappa(ratings))
    assert found.alpha.value == pytest.approx(krippendorff_alpha(ratings))
    assert found.none == (1, 2)


def test_sets_of_codes_are_as_far_apart_as_masi_says() -> None:
    sets = [("ab", "a"), ("a", "a"), ("", ""), ("bc", "ab"), ("c", "")]
    names = dict(zip("abc", ("self_examination", "planning_action", "reintegration"), strict=True))
    rows = [[coded(f"t{n}", *(names[c] for c in pair[at]), id=str(n)) for n, pair in enumerate(sets)] for at in (0, 1)]
    found = agreement(match([Coder("A", rows[0]), Coder("B", rows[1])]), BOOK.dimension("stage"))
    kinds = ["", "a", "ab", "bc", "c"]
    distances = np.array([[masi_distance(a, b) for b in kinds] for a in kinds])
    assert found is not None
    expected = alpha_by_definition(np.array([[kinds.index(a), kinds.index(b)] for a, b in sets]), distances)
    assert found.alpha.value == pytest.approx(expected)
    assert found.percent == pytest.approx(2 / 5)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_disagreements_are_all_there_the_most_contested_code_first(cells: list[tuple[bool, ...]]) -> None:
    names = ("self_examination", "planning_action")
    a, b = (
        [
            coded(f"t{n}", *(name for name, yes in zip(names, row[at : at + 2], strict=True) if yes), id=str(n))
            for n, row in enumerate(cells)
        ]
        for at in (0, 2)
    )
    found = disagreements(match([Coder("A", a), Coder("B", b)]), BOOK)
    assert {int(item.excerpt.id or -1) for item in found} == {n for n, r in enumerate(cells) if r[:2] != r[2:]}
    times = {name: sum(name in item.differing for item in found) for name in names}
    first = [times[item.differing[0]] for item in found]
    assert first == sorted(first, reverse=True)
    for item in found:
        assert item.given[0] is not None and item.given[1] is not None
        assert set(item.differing) == set(item.given[0]) ^ set(item.given[1])


# --- the command ------------------------------------------------------------------------------------------------


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def two_by_two(tmp_path: Path) -> tuple[Path, Path]:
    """Two coders' files with the textbook's table for self_examination."""
    cells = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    files = []
    for at, name in enumerate(("anna.csv", "ben.csv")):
        rows = [
            {
                "document": f"doc{n % 10}", "turn": n // 10, "text": f"SECRET {n}",
                "codes": "; ".join((["self_examination"] if cell[at] else []) + ["challenges"] * (n < 7)),
            }
            for n, cell in enumerate(cells)
        ]  # fmt: skip
        files.append(write_rows(tmp_path / name, rows))
    return files[0], files[1]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["agreement", *map(str, arguments)], env={"COLUMNS": "140"})


def test_the_table(tmp_path: Path) -> None:
    result = run(*two_by_two(tmp_path))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    code = next(line for line in lines if line.startswith("Self-examination"))
    assert code.split()[3:7] == ["25", "30", "70.0%", "0.400"]
    assert "A  anna: 50 rows" in result.stdout
    assert "50 excerpts coded by two or more, matched by document and turn" in result.stdout
    assert "bootstrapped over 10 documents" in result.stdout
    assert "Cohen's kappa" in result.stdout and "Fleiss" not in result.stdout
    assert "SECRET" not in result.output
    never = next(line for line in lines if line.startswith("Reintegration"))
    assert never.split()[-5:] == ["0", "0", "100.0%", "-", "-"]


def test_json_and_disagreements(tmp_path: Path) -> None:
    out = tmp_path / "talk.csv"
    anna, ben = two_by_two(tmp_path)
    with ben.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(["doc0", 99, "SECRET more", ""])
    result = run(anna, ben, "--json", "--disagreements", out)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [coder["name"] for coder in found["coders"]] == ["anna", "ben"]
    assert found["coders"][1]["unmatched"] == [{"id": None, "document": "doc0", "speaker": None, "turn": 99}]
    stage = found["dimensions"]["stage"]
    code = next(code for code in stage["codes"] if code["code"] == "self_examination")
    assert (code["given"], code["percent"], code["kappa"]["value"]) == ([25, 30], 0.7, 0.4)
    assert code["kappa"]["low"] < 0.4 < code["kappa"]["high"]
    assert stage["kappa"] is None
    assert found["dimensions"]["theme"]["percent"] == 1
    assert found["intervals_over"] == {"of": "documents", "count": 10}
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    assert {row["differing"] for row in rows} == {"self_examination"}
    assert (rows[0]["anna"], rows[0]["ben"], rows[0]["text"]) == ("self_examination", "none", "SECRET 20")
    assert run(anna, ben, "--disagreements", out).exit_code == 1
    assert run(anna, ben, "--disagreements", out, "--force").exit_code == 0


def test_disagreements_as_a_workbook_hold_no_formula(tmp_path: Path) -> None:
    files = [
        write_rows(tmp_path / f"{name}.csv", [{"id": "1", "text": "=SUM(1)\x07 and words", "codes": codes}])
        for name, codes in (("anna", "self_examination"), ("ben", "planning_action; self_examination"))
    ]
    out = tmp_path / "talk.xlsx"
    assert run(*files, "--disagreements", out).exit_code == 0
    header, row = openpyxl.load_workbook(out).active.iter_rows()
    cells = {name.value: cell for name, cell in zip(header, row, strict=True)}
    assert cells["text"].value == "=SUM(1)\ufffd and words"
    assert cells["text"].data_type == "s"
    assert cells["differing"].value == "planning_action"


def test_several_coders_in_one_file(tmp_path: Path) -> None:
    rows = [
        {"id": n, "text": f"t {n}", "coder": coder, "stage": "self_examination" if (n + at) % 4 else ""}
        for at, coder in enumerate(("anna", "ben", "cleo"))
        for n in range(8)
    ]
    result = run(write_rows(tmp_path / "all.csv", rows))
    assert result.exit_code == 0, result.output
    assert "Fleiss' kappa" in result.stdout
    assert "Two by two" in result.stdout
    assert "Theme of training" not in result.stdout  # nobody coded it
    assert "bootstrapped over 8 excerpts" in result.stdout


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".xlsx", ".parquet"])
def test_the_model_is_a_coder(tmp_path: Path, ending: str, with_text: bool) -> None:
    turns = range(1, 13)
    scored = tmp_path / f"scored{ending}"
    with writing(scored, BOOK, with_text=with_text) as writer:
        writer.write(
            [
                scored_record(
                    f"words {n}",
                    {"stage": ["self_examination"] if n % 2 else []},
                    document="d",
                    turn=n,
                    with_text=with_text,
                )
                for n in turns
            ]
        )
    rows = [
        {"document": "d", "turn": n, "text": f"words {n}", "stage": "self_examination" if n % 3 else "", "theme": ""}
        for n in turns
    ]
    found = json.loads(run(scored, write_rows(tmp_path / "anna.csv", rows), "--json").stdout)
    assert [coder["name"] for coder in found["coders"]] == ["tiny@1", "anna"]
    assert found["matched_by"] == "document and turn"
    code = next(code for code in found["dimensions"]["stage"]["codes"] if code["code"] == "self_examination")
    assert code["given"] == [6, 8]
    assert code["kappa"]["value"] == pytest.approx(cohen_kappa([[n % 2, int(n % 3 > 0)] for n in turns]), abs=1e-4)


def test_a_result_that_was_corrected_is_the_correctors(tmp_path: Path) -> None:
    for name in ("model.csv", "corrected.csv"):
        with writing(tmp_path / name, BOOK) as writer:
            writer.write([scored_record(f"words {n}", {}, document="d", turn=n) for n in (1, 2)])
    names = [c.name for c in read_coders([tmp_path / "model.csv", tmp_path / "corrected.csv"], BOOK)]
    assert names == ["tiny@1 (model.csv)", "tiny@1 (corrected.csv)"]
    lines = (tmp_path / "corrected.csv").read_text("utf-8-sig").splitlines()
    added = [f"{lines[0]},coder", *(f"{line},anna" for line in lines[1:])]
    (tmp_path / "corrected.csv").write_text("\n".join(added), "utf-8")
    names = [c.name for c in read_coders([tmp_path / "model.csv", tmp_path / "corrected.csv"], BOOK)]
    assert names == ["tiny@1", "anna"]


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    anna, ben = two_by_two(tmp_path)
    with pytest.raises(InputError, match="needs two coders, and here is 'anna'"):
        read_coders([anna], BOOK)
    with pytest.raises(InputError, match="given twice"):
        read_coders([anna, anna], BOOK)
    with pytest.raises(InputError, match="does not exist"):
        read_coders([anna, tmp_path / "none.csv"], BOOK)
    bad = write_rows(tmp_path / "bad.csv", [{"text": "a b", "codes": "self_examinaton"}])
    with pytest.raises(CodebookError, match="nearest is 'self_examination'"):
        read_coders([anna, bad], BOOK)
    stages = write_rows(tmp_path / "s.csv", [{"text": "a b", "stage": "self_examination"}])
    themes = write_rows(tmp_path / "t.csv", [{"text": "a b", "theme": "challenges"}])
    result = run(stages, themes)
    assert isinstance(result.exception, UserError)
    assert "same dimension" in str(result.exception)
    assert isinstance(run(anna, ben, "--disagreements", tmp_path / "x.docx").exception, UserError)


def test_as_a_process(tmp_path: Path) -> None:
    anna, ben = two_by_two(tmp_path)
    (tmp_path / "other.csv").write_text("text,codes\nnot the same,\n", "utf-8")
    command = [sys.executable, "-m", "tl_classifier", "agreement"]
    for files, code, expected in (((anna, ben), 0, ""), ((anna, tmp_path / "other.csv"), 1, "Error: The coders")):
        done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith(expected)
        assert "Traceback" not in done.stderr
        assert "SECRET" not in done.stdout + done.stderr


def test_every_pair_of_cells_is_covered() -> None:
    """The contingency table counts each pair of categories in its own cell."""
    ratings = np.array(list(product(range(3), repeat=2)))
    assert (CohenKappa(3).tallies(ratings) == np.eye(9)).all()

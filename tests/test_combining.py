"""Several coders' codings to one, by a named rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tl_classifier.codebook import Code, Codebook, Dimension
from tl_classifier.corpus.coded import read_coded
from tl_classifier.errors import TrainingError
from tl_classifier.excerpts import CodedExcerpt, Excerpt
from training.combining import Combined, combine

TOPIC = Dimension("topic", "Topic", tuple(Code(c, c, "") for c in ("bus", "tea")))
MOOD = Dimension("mood", "Mood", tuple(Code(c, c, "") for c in ("glad", "lost")), exclusive=True)
BOOK = Codebook("talk", "1", "Talk", (TOPIC, MOOD))

# What each of three coders gave each excerpt, topic / mood.
CODINGS = {
    "took the bus and drank": ["bus tea/glad", "bus/glad", "tea bus/lost"],
    "only one saw this one": ["tea/lost", None, None],
    "nobody agrees on this": ["bus/glad", "/lost", "tea/"],
    "a single bus for two": ["bus/lost", "/lost", None],
}


def coded(coders: tuple[str | None, ...] = ("ann", "ben", "cleo")) -> list[CodedExcerpt]:
    found = []
    for at, coder in enumerate(coders):
        for number, (text, codings) in enumerate(CODINGS.items()):
            told = codings[at]
            if told is not None:
                topic, _, mood = told.partition("/")
                codes = {"topic": TOPIC.in_order(topic.split()), "mood": MOOD.in_order(mood.split())}
                found.append(CodedExcerpt(Excerpt(text, document="d", turn=number + 1), codes, coder))
    return found


def by_text(combined: Combined) -> dict[str, dict[str, tuple[str, ...]]]:
    return {one.excerpt.text: dict(one.codes) for one in combined.coded}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "majority",
            {
                "took the bus and drank": {"topic": ("bus", "tea"), "mood": ("glad",)},
                "only one saw this one": {"topic": ("tea",), "mood": ("lost",)},
                "nobody agrees on this": {"topic": ()},
                "a single bus for two": {"topic": (), "mood": ("lost",)},
            },
        ),
        (
            "union",
            {
                "took the bus and drank": {"topic": ("bus", "tea"), "mood": ("glad",)},
                "only one saw this one": {"topic": ("tea",), "mood": ("lost",)},
                "nobody agrees on this": {"topic": ("bus", "tea")},
                "a single bus for two": {"topic": ("bus",), "mood": ("lost",)},
            },
        ),
        (
            "cleo",
            {
                "took the bus and drank": {"topic": ("bus", "tea"), "mood": ("lost",)},
                "only one saw this one": {"topic": ("tea",), "mood": ("lost",)},
                "nobody agrees on this": {"topic": ("tea",), "mood": ()},
                "a single bus for two": {"topic": (), "mood": ("lost",)},
            },
        ),
    ],
)
def test_rules(rule: str, expected: dict[str, dict[str, tuple[str, ...]]]) -> None:
    combined = combine(coded(), BOOK, rule)
    assert by_text(combined) == expected
    assert [one.excerpt.text for one in combined.coded] == list(CODINGS)
    assert (combined.several, combined.differing) == (3, 3)
    assert combined.undecided == ({} if rule == "cleo" else {"mood": 1})
    assert combined.coders == {"ann": 4, "ben": 3, "cleo": 2}
    labels = combined.labels(combined.coded, BOOK)
    assert set(np.unique(labels[~np.isnan(labels)])) == {0.0, 1.0}


def test_shares_are_what_is_learnt() -> None:
    combined = combine(coded(), BOOK, "shares")
    assert by_text(combined) == by_text(combine(coded(), BOOK, "majority"))
    labels = dict(zip(CODINGS, combined.labels(combined.coded, BOOK), strict=True))
    # topic: bus, tea; mood: glad, lost, none
    assert labels["took the bus and drank"] == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3, 0])
    assert labels["nobody agrees on this"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert labels["a single bus for two"] == pytest.approx([1 / 2, 0, 0, 1, 0])
    assert labels["only one saw this one"] == pytest.approx([0, 1, 0, 1, 0])
    backwards = combined.labels(combined.coded[::-1], BOOK)
    assert np.array_equal(backwards[::-1], combined.labels(combined.coded, BOOK))


def test_a_dimension_counts_where_it_was_coded() -> None:
    rows = [
        CodedExcerpt(Excerpt("took the bus", id="1"), {"topic": ("bus",)}, "ann"),
        CodedExcerpt(Excerpt("took the bus", id="1"), {"mood": ("lost",)}, "ben"),
        CodedExcerpt(Excerpt("took the bus", id="1"), {"mood": ("lost",), "topic": ("bus", "tea")}, "cleo"),
    ]
    combined = combine(rows, BOOK, "shares")
    assert by_text(combined) == {"took the bus": {"topic": ("bus",), "mood": ("lost",)}}
    assert combined.labels(combined.coded, BOOK)[0] == pytest.approx([1, 0.5, 0, 1, 0])


def test_agreement_is_told_before_training() -> None:
    lines = combine(coded(), BOOK).lines()
    assert lines[0] == (
        "3 coders: ann (4), ben (3), cleo (2); 3 excerpts were coded by two or more, 3 of them differently; "
        "combined by the rule 'majority'."
    )
    assert lines[1].startswith("They agree on 'topic' with Krippendorff's alpha ")
    assert lines[-1] == "In 1 excerpts no code of 'mood' has a majority; they count as not coded in it."
    plain = combine(coded(), BOOK).to_dict()
    assert plain["agreement"]["topic"]["coders"] == ["ann", "ben", "cleo"] and plain["rule"] == "majority"
    assert not any(text in str(plain) + str(lines) for text in CODINGS)


def test_one_coder_or_coders_of_different_excerpts_are_left_as_they_are() -> None:
    alone = coded(("ann",))
    assert combine(alone, BOOK).coded == alone
    unnamed = coded((None,))
    assert combine(unnamed, BOOK).lines() == [] and combine(unnamed, BOOK).coders == {}
    others = [CodedExcerpt(Excerpt("something else", document="e", turn=9), {"topic": ()}, "ben")]
    combined = combine(alone + others, BOOK)
    assert combined.coded == alone + others
    assert combined.lines() == ["2 coders, no two of whom coded the same excerpt: ann (4), ben (1)."]


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"'dora' is neither .*majority, union, shares.*'ann', 'ben', 'cleo'"):
        combine(coded(), BOOK, "dora")


def test_coders_arrive_by_a_column(tmp_path: Path) -> None:
    path = tmp_path / "coded.csv"
    path.write_text("text,coder,topic\nthe bus was late,ann,bus\nthe bus was late,ben,\nthe bus was late,cleo,bus\n")
    combined = combine(read_coded([path], BOOK), BOOK)
    assert by_text(combined) == {"the bus was late": {"topic": ("bus",)}}
    assert [one.coder for one in combined.coded] == [None]

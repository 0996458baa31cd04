"""Checks of coded data: everything that is wrong, in one pass, each with its place."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_classifier.codebook import Code, Codebook, Dimension
from tl_classifier.errors import InputError, TrainingError
from tl_classifier.excerpts import Excerpt
from tl_classifier.likeness import features, likeness, near_duplicates
from training.checks import Problem, check, not_language
from training.splitting import Splits

TOPIC = Dimension("topic", "Topic", tuple(Code(c, c, "") for c in ("bus", "tea", "rain")))
BOOK = Codebook("talk", "1", "Talk", (TOPIC,))


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    path.write_text("document,text,topic\n" + "".join(f'{d},"{text}",{codes}\n' for d, text, codes in rows), "utf-8")
    return path


def good(count: int = 40) -> list[tuple[str, str, str]]:
    sentence = "we took it when the others came home and nobody had asked what it meant for her"
    words = sentence.split()
    rng = random.Random(1)
    return [
        (f"d{i % 8}", " ".join(rng.sample(words, 10)) + f" number {i}", ("bus", "tea", "rain")[i % 3])
        for i in range(count)
    ]


def sentences(problems: list[Problem], *words: str) -> list[str]:
    return [problem.sentence for problem in problems if all(word in problem.sentence for word in words)]


def test_good_data_has_no_problems(tmp_path: Path) -> None:
    checked = check([write(tmp_path / "a.csv", good())], BOOK)
    assert checked.problems == [] and len(checked.coded) == 40
    checked.stop_if_broken()


def test_all_unknown_codes_are_named_at_once(tmp_path: Path) -> None:
    first = write(
        tmp_path / "a.csv", [*good(6), ("d", "so it was", "buss"), ("d", "so it was", "bus"), ("d", "", "tea")]
    )
    second = write(tmp_path / "b.csv", [("d", "it was so", "snow"), *good(30)])
    third = write(tmp_path / "c.csv", good())
    checked = check([tmp_path], BOOK)
    assert [(p.file, p.row) for p in checked.errors] == [(first, 8), (first, 10), (second, 2)]
    assert "'buss'" in checked.errors[0].sentence and "'bus'" in checked.errors[0].sentence
    assert all(p.sentence.startswith(f"{p.file}, row {p.row}") and p.sentence.endswith(".") for p in checked.errors)
    with pytest.raises(TrainingError, match=r"3 errors; the first: .*row 8"):
        checked.stop_if_broken()
    # What can be read is checked all the same, whatever else is in its file.
    assert len(checked.coded) == 7 + 30 + 40 and third.exists()
    again = [p for p in check([first, tmp_path / "c.csv"], BOOK).problems if p.severity == "warning"]
    assert again == []
    with first.open("a", encoding="utf-8") as file:
        file.write("d,So it was,tea\n")
    assert [(p.file, p.row) for p in check([first, third], BOOK).problems if p.row == 11] == [(first, 11)]


def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        check([tmp_path / "nothing.csv"], BOOK)


def test_the_same_words_with_other_codes_are_found(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        [*good(), ("d1", "I took the  bus, again", "bus"), ("", "", ""), ("d2", "i took the bus, again", "bus; rain")],
    )
    found = check([path], BOOK).problems
    assert [(p.severity, p.row) for p in found] == [("warning", 44)]
    assert f"{path}, row 44: the same words have other codes of 'topic' in {path}, row 42" in found[0].sentence
    # Two coders may differ: that is for the rule that combines them.
    rows = "document,coder,text,topic\nd,ann,I took the bus,bus\nd,ben,I took the bus,tea\n"
    path.write_text(rows)
    problems = check([path], BOOK).problems
    assert not sentences(problems, "same words") and sentences(problems, "'bus'", "1 example;")


def test_rows_of_lines_and_projects_have_places(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"text": text, "document": d, "topic": [codes]} for d, text, codes in good()]
    records[3:3] = [{"text": "nobody coded me yet"}]
    records += [{"text": "12 34 56 78", "document": "d", "topic": []}]
    path.write_text("\n".join(map(json.dumps, records)) + "\n\n", "utf-8")
    found = check([path], BOOK).problems
    assert [(p.row, p.severity) for p in found] == [(42, "warning")]
    assert f"{path}, line 42: it is numbers" in found[0].sentence


def test_codes_with_too_few_examples_say_how_many_more(tmp_path: Path) -> None:
    rows = [(d, text, codes if codes != "rain" or i < 10 else "") for i, (d, text, codes) in enumerate(good(45))]
    found = check([write(tmp_path / "a.csv", rows)], BOOK).problems
    assert [p.sentence for p in found] == [
        "The code 'rain' of 'topic' has 3 examples; code at least 9 more, so that it can be learnt and tested "
        "(12 in all)."
    ]
    others = check([write(tmp_path / "b.csv", good())], BOOK).coded
    assert check([tmp_path / "a.csv"], BOOK, others=others).problems == []


def test_a_code_that_is_in_one_document_alone(tmp_path: Path) -> None:
    rows = [("d0" if codes == "tea" else d, text, codes) for d, text, codes in good()]
    found = check([write(tmp_path / "a.csv", rows)], BOOK).problems
    assert len(found) == 1 and "All 13 examples of the code 'tea' of 'topic' are in one document" in found[0].sentence


def test_leakage_between_documents_that_train_and_test(tmp_path: Path) -> None:
    passage = "When the training was over I could not go back to how I had worked before, and it showed"
    short = "Yes, I think so."
    rows = [
        *good(),
        ("int-03", passage, "bus"),
        ("int-03", short, "tea"),
        ("int-07", passage.replace("could not", "couldn't") + "!", "bus"),
        ("int-07", short, "tea"),
        ("int-09", passage, "bus"),
    ]
    checked = check([write(tmp_path / "a.csv", rows)], BOOK)
    assert checked.problems == []
    train = [one for one in checked.coded if one.excerpt.document not in ("int-07", "d1")]
    test = [one for one in checked.coded if one.excerpt.document in ("int-07", "d1")]
    found = checked.with_splits(Splits(train, [], test))
    assert {(p.file, p.row) for p in found} == {(tmp_path / "a.csv", 42), (tmp_path / "a.csv", 46)}
    assert (
        "The document 'int-03' (trained on) and the document 'int-07' (tested on) have 1 excerpt " in found[0].sentence
    )
    assert checked.with_splits(Splits(checked.coded, [], [])) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I was lost, and then in 1998 it came to me.", None),
        ("No.", None),
        ("Hmm. Pfff. Tja.", None),
        ("Żółć, naïveté, Übung und Straße, ça va", None),
        ("It's the CBT and DBT, NHS stuff, you know", None),
        ("7 / 12 / 1998 - 44 %", "numbers and signs"),
        ("Так я поехал домой и думал об этом", "script that the model does not know (Cyrillic)"),
        ("我当时很迷茫，不知道该怎么办", "script that the model does not know (Cjk)"),
        ("xkcd qwrt zxcv plmk bnjh", "strings of letters"),
        ("das wÃ¤re schÃ¶n gewesen", "save it again as UTF-8"),
        ("I couldn\ufffdt say what it\ufffds about", "save it again as UTF-8"),
    ],
)
def test_texts_that_are_no_language(text: str, words: str | None) -> None:
    found = not_language(Excerpt(text))
    assert (found is None) if words is None else (found is not None and words in found)


def test_a_multilingual_encoder_knows_all_scripts() -> None:
    assert not_language(Excerpt("Так я поехал домой"), scripts=None) is None


def test_no_problem_holds_interview_text(tmp_path: Path) -> None:
    secret = "Zebulon confessed everything beside the lake"
    rows = [("d1", f"{secret} {i}", "bus") for i in range(3)] + [("d1", secret, "bus"), ("d2", secret, "tea")]
    checked = check([write(tmp_path / "a.csv", rows)], BOOK)
    problems = checked.problems + checked.with_splits(Splits(checked.coded[:4], [], checked.coded[4:]))
    assert len(problems) > 3 and not sentences(problems, "Zebulon")


# --- near duplicates --------------------------------------------------------------------------------------------

WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=14).map(" ".join)


@given(st.lists(WORDS, max_size=14), st.sampled_from([0.3, 0.5, 0.7, 0.9, 1.0]))
@settings(max_examples=50)
def test_all_near_duplicates_are_found_and_nothing_else(texts: list[str], least: float) -> None:
    sets = [features(text) for text in texts]
    expected = {
        (i, j)
        for j in range(len(sets))
        for i in range(j)
        if sets[i] and sets[j] and likeness(sets[i], sets[j]) >= least
    }
    assert {(i, j) for i, j, _ in near_duplicates(sets, least=least)} == expected

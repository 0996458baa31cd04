"""Cleaning and windows: examples, and properties over any Unicode."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_classifier.preprocessing import clean, is_blank

ANY_TEXT = st.text(st.characters(), max_size=80)  # lone surrogates included
TRICKY = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "P1: ",
                "INT: ",
                "[00:12:31] ",
                "00:01:02.500 --> 00:01:04.000",
                "\n",
                "\r\n",
                "\f",
                "Page 3 of 12",
                "42",
                "-\n",
                "\u00ad\n",
                "\u00ad",
                "\ufb01",
                "e\u0301",
                "\u1100\u1161\u11a8",
                "\u201c",
                "\u2014",
                " ",
                "\t",
                "a",
                "Be",
                "know",
                ":",
                "\u212b",
                "\u0344",
                "\u09c7\u09be",
                "\ud800",
                "\u200b",
                "- 7 -",
                "(1:05)",
                "\u2026",
            ]
        ),
        st.text(max_size=4),
    ),
    max_size=14,
).map("".join)


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("I didn\u2019t know \u2014 honestly \u2026", "I didn't know - honestly ..."),
        ("\u201cWhy?\u201d she asked", '"Why?" she asked'),
        ("a re\ufb02ective di\ufb03cult day", "a reflective difficult day"),
        (
            "the trans-\nformation of prac\u00ad\n  tice, co\u00adworker",
            "the transformation of practice, coworker",
        ),
        ("in 2019-\n2020 and Anglo-\nAmerican", "in 2019- 2020 and Anglo- American"),
        ("cafe\u0301  au\tlait\n", "caf\u00e9 au lait"),
        ("[00:12:31] P1: I was lost.", "I was lost."),
        ("00:12:31 INTERVIEWER: And then?", "And then?"),
        ("Speaker 2: well", "well"),
        ("FG2-P3: well", "well"),
        ("I stopped (00:14) and thought", "I stopped and thought"),
        ("it went on\nPage 3 of 12\nand on", "it went on and on"),
        ("it went on\n17\nand on", "it went on and on"),
        ("it went on\f17\nand on", "it went on and on"),
        ("it went on\nPage 3 of 12", "it went on"),
        ("- 3 -\nit went on", "it went on"),
        ("\ufeffhello\x00", "hello"),
        # words that look like furniture stay
        ("42", "42"),
        ("10:30 was when it began", "10:30 was when it began"),
        ("Remember: nobody knows", "Remember: nobody knows"),
        ("I said: P1: no", "I said: P1: no"),
        ("He had one thing to say: go", "He had one thing to say: go"),
        ("NO: never", "NO: never"),
        ("The ratio is 3/4", "The ratio is 3/4"),
    ],
)
def test_examples(original: str, expected: str) -> None:
    assert clean(original).text == expected


@settings(max_examples=400)
@given(st.one_of(ANY_TEXT, TRICKY))
def test_cleaning_is_idempotent_and_never_raises(text: str) -> None:
    once = clean(text).text
    assert clean(once).text == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode("utf-8")  # what reaches the tokenizer can be encoded
    assert once == once.strip()
    assert "  " not in once


@settings(max_examples=400)
@given(st.one_of(ANY_TEXT, TRICKY))
def test_offsets_are_valid_and_in_order(text: str) -> None:
    cleaned = clean(text)
    spans = [cleaned.to_original(i, i + 1) for i in range(len(cleaned.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    for character, (start, end) in zip(cleaned.text, spans, strict=True):
        if character.isascii() and character.isalnum():  # a word's letters point at themselves, or a compatible form
            assert character in unicodedata.normalize("NFKC", text[start:end])


def test_alignment_points_into_the_original() -> None:
    original = "[00:12:31] P1: I didn\u2019t, well\u00ad\ncome it \ufb01rst."
    cleaned = clean(original)
    assert cleaned.text == "I didn't, wellcome it first."
    start = cleaned.text.index("didn't")
    assert original[slice(*cleaned.to_original(start, start + 6))] == "didn\u2019t"
    start = cleaned.text.index("first")
    assert original[slice(*cleaned.to_original(start, start + 5))] == "\ufb01rst"
    with pytest.raises(ValueError, match="span"):
        cleaned.to_original(3, 3)


@pytest.mark.parametrize("text", ["", "  \n", "...", "P1: ", "[00:12:31]", "\u200b", "\u2014"])
def test_blank(text: str) -> None:
    assert is_blank(text)


@settings(max_examples=400)
@given(st.one_of(ANY_TEXT, TRICKY))
def test_blank_is_what_cleaning_leaves_empty(text: str) -> None:
    assert is_blank(text) == (not any(character.isalnum() for character in clean(text).text))


@given(st.text(st.characters(categories=["Ll", "Lu", "Nd", "Zs"]), max_size=40))
def test_words_are_never_removed(text: str) -> None:
    def letters(words: str) -> list[str]:
        return [character for character in unicodedata.normalize("NFKC", words) if character.isalnum()]

    assert letters(clean(text).text) == letters(text)

"""Who speaks, in every style that transcribers and programs write it; and who of them interviews."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_classifier.corpus import inputs
from tl_classifier.corpus.inputs import read_selected
from tl_classifier.corpus.plaintext import Mark
from tl_classifier.corpus.sentences import MAX_WORDS, cut
from tl_classifier.corpus.speakers import LeftOut, Selection, Speaker, asks_by_name, recognise, speakers_of
from tl_classifier.corpus.transcripts import excerpts_of, find_turns
from tl_classifier.excerpts import Excerpt

Spoken = list[tuple[str | None, str]]


def spoken(text: str, marks: tuple[Mark, ...] = ()) -> Spoken:
    return [(turn.speaker, " ".join(text[turn.start : turn.end].split())) for turn in find_turns(text, marks)]


ANNA: Spoken = [("Anna", "And then?"), ("Ben", "I was lost."), ("Anna", "Lost?"), ("Ben", "Yes. All of it.")]

# Each is the same interview.
STYLES = {
    "a name and a colon": "Anna: And then?\nBen: I was lost.\nAnna: Lost?\nBen: Yes.\nAll of it.\n",
    "blank lines between": "Anna: And then?\n\nBen: I was lost.\n\nAnna: Lost?\n\nBen: Yes.\n\nAll of it.",
    "lines that end as on Windows": "Anna: And then?\r\n\r\nBen: I was lost.\r\nAnna: Lost?\r\nBen: Yes.\r\nAll of it.",
    "words on the next line": "Anna:\nAnd then?\n\nBen:\nI was lost.\n\nAnna:\nLost?\n\nBen:\nYes.\nAll of it.",
    "Markdown": "**Anna:** And then?\n\n**Ben:** I was lost.\n\n**Anna**: Lost?\n\n**Ben**: Yes. All of it.",
    "a list": "- Anna: And then?\n- Ben: I was lost.\n- Anna: Lost?\n- Ben: Yes. All of it.",
    "marks of a change of speaker": ">> Anna: And then?\n>> Ben: I was lost.\n>> Anna: Lost?\n>> Ben: Yes. All of it.",
    "brackets": "[Anna]: And then?\n[Ben]: I was lost.\n[Anna]: Lost?\n[Ben]: Yes. All of it.",
    "times before": (
        "[00:12:31] Anna: And then?\n[00:12:33] Ben: I was lost.\n[00:12:40] Anna: Lost?\n"
        "[00:12:41] Ben: Yes. All of it."
    ),
    "times before, with a stroke": (
        "00:12:31 - Anna: And then?\n00:12:33 - Ben: I was lost.\n00:12:40 - Anna: Lost?\n"
        "00:12:41 - Ben: Yes. All of it."
    ),
    "times behind, in brackets": (
        "Anna (00:12): And then?\nBen (00:13): I was lost.\nAnna (00:14): Lost?\nBen (00:15): Yes. All of it."
    ),
    "times behind, words below": (
        "Anna (00:12):\nAnd then?\n\nBen (00:13):\nI was lost.\n\nAnna (00:14):\nLost?\n\nBen (00:15):\nYes. All of it."
    ),
    "as programs export it": (
        "Anna  0:12\nAnd then?\n\nBen  0:13\nI was lost.\n\nAnna  0:14\nLost?\n\nBen  0:15\nYes. All of it."
    ),
    "as programs export it, otherwise": (
        "00:12:31 Anna\nAnd then?\n\n00:12:33 Ben\nI was lost.\n\n00:12:40 Anna\nLost?\n\n00:12:41 Ben\nYes. All of it."
    ),
    "a time in brackets and a name": (
        "[00:12:31] Anna\nAnd then?\n[00:12:33] Ben\nI was lost.\n[00:12:40] Anna\nLost?\n"
        "[00:12:41] Ben\nYes. All of it."
    ),
    "from and to": (
        "00:00:12 --> 00:00:13\nAnna\nAnd then?\n\n00:00:13 --> 00:00:14\nBen\nI was lost.\n\n"
        "00:00:14 --> 00:00:15\nAnna\nLost?\n\n00:00:15 --> 00:00:16\nBen\nYes. All of it."
    ),
    "tabs": "Anna\tAnd then?\nBen\tI was lost.\nAnna\tLost?\nBen\tYes. All of it.",
    "names alone": "Anna\nAnd then?\n\nBen\nI was lost.\n\nAnna\nLost?\n\nBen\nYes. All of it.",
    "times behind the words": (
        "Anna: And then? #00:00:12-1#\n\nBen: I was lost. #00:00:13-5#\n\nAnna: Lost? #00:00:14-0#\n\n"
        "Ben: Yes. All of it. #00:00:15-9#"
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_styles(style: str) -> None:
    assert spoken(STYLES[style]) == ANNA


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "names",
    [
        ("INTERVIEWER", "P1"),
        ("Interviewer", "Participant 12"),
        ("I", "R"),
        ("Dr. Mary-Jane O'Neil", "FG2-P3"),
        ("Speaker 1", "Speaker 2"),
        ("Jürgen von der Au", "Student_4"),
    ],
)
def test_styles_with_other_names(style: str, names: tuple[str, str]) -> None:
    asking, answering = names
    text = STYLES[style].replace("Anna", asking).replace("Ben", answering)
    assert spoken(text) == [(asking if who == "Anna" else answering, words) for who, words in ANNA]


def test_questions_and_answers() -> None:
    text = "Q. And then?\nA. I was lost.\nQ. Lost?\nA. Yes.\n"
    assert spoken(text) == [("Q", "And then?"), ("A", "I was lost."), ("Q", "Lost?"), ("A", "Yes.")]
    assert spoken("A. First we met.\n\nA. Second we ate.\n\nA. Third") == [
        (None, "A. First we met."),
        (None, "A. Second we ate."),
        (None, "A. Third"),
    ]


def test_names_that_a_format_sets_apart() -> None:
    text = "Anna And then?\n\nBen I was lost.\n\nAnna Lost?\n\nBen Yes. All of it."
    places = [text.index(start) for start in ("Anna And", "Ben I", "Anna Lost", "Ben Yes")]
    marks = tuple(Mark(at, at + (4 if text[at] == "A" else 3)) for at in places)
    assert spoken(text, marks) == ANNA
    assert len(spoken(text)) == 4
    assert {who for who, _ in spoken(text)} == {None}


def test_emphasis_is_no_name() -> None:
    text = "Never again did I go.\n\nNever would I.\n\nNever mind."
    starts = [0, text.index("Never would"), text.index("Never mind")]
    marks = (Mark(0, 21), *(Mark(at, at + 5) for at in starts[1:]))
    words = "Never again did I go. It was late, and I was tired.\n\n" * 3
    assert {who for who, _ in spoken(words, (Mark(0, 21),))} == {None}
    assert len(spoken(text, marks)) == 3


PROSE = textwrap.dedent(
    """\
    Minutes of the meeting

    We met at 10:30 in the old hall. Present: all of us.

    For example: nobody said a word. Then the bus came, and we went on to the next place, where it rained.

    Remember: bring a coat.

    Yes

    That was the whole of it. I felt ashamed, and I still do. For example: I never went back.
    """
)


def test_prose_has_no_speakers() -> None:
    assert {who for who, _ in spoken(PROSE)} == {None}
    assert len(spoken(PROSE)) == 6


@pytest.mark.parametrize(
    "line",
    [
        "Yes\nand no",
        "10:30 was when it began",
        "Dear Diary\n",
        "He said it was at 12:45\n",
        "Two things:\tone and two",
        "One\ttwo\tthree",
        "A. This is a list",
        "[laughs] and then",
        "(00:12:33)",
        "NB: never again",
        "Monday 10:30\n",
    ],
)
def test_talk_within_a_transcript(line: str) -> None:
    found = spoken(f"Anna: Hello?\nBen: So.\n{line}\nAnna: And?\nBen: Nothing.\n")
    assert [who for who, _ in found if who != "NB"] == ["Anna", "Ben", "Anna", "Ben"]


def test_paragraphs_where_nobody_is_named() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = end.join(("One line", "and one more.", " ", "", "Another.", ""))
        assert spoken(text) == [(None, "One line and one more."), (None, "Another.")]


def test_what_comes_before_the_first_label_has_no_speaker() -> None:
    found = spoken("Interview 3, Leeds\nRecorded in May\n\nAnna: Hello?\nBen: Hi.\nAnna: So?\nBen: So.")
    assert found[0] == (None, "Interview 3, Leeds Recorded in May")
    assert [who for who, _ in found[1:]] == ["Anna", "Ben", "Anna", "Ben"]


def test_times_are_not_words() -> None:
    text = "P1: [00:00:01] I was lost. [00:00:05]\n\nP2: At 10:30 I went home"
    assert spoken(text) == [("P1", "I was lost."), ("P2", "At 10:30 I went home")]


# --- who interviews ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(
            "INTERVIEWER",
            "Interviewer 2",
            "Int",
            "INT.",
            "I",
            "I1",
            "IV",
            "Int2",
            "Moderator",
            "MOD",
            "Researcher (RB)",
        ),
        *("Interviewerin", "Enquêteur", "Entrevistadora", "Q", "Facilitator_1"),
    ],
)
def test_names_that_say_who_interviews(name: str) -> None:
    assert asks_by_name(name)


@pytest.mark.parametrize(
    "name", ["P1", "Interviewee", "Ian", "Ivy", "Participant", "Respondent 4", "A", "Modesty", "Integra", "R", "F", "B"]
)
def test_names_that_do_not(name: str) -> None:
    assert not asks_by_name(name)


def test_letters_are_read_beside_each_other() -> None:
    assert asks_by_name("F", ["F", "A"])
    assert not asks_by_name("F", ["F", "M"])


def interviewers(text: str, *told: str, skipped: tuple[str, ...] = ()) -> dict[str, str]:
    rows = list(excerpts_of(text, find_turns(text), "d"))
    return dict(recognise(speakers_of(rows), Selection(told, skipped=skipped)).names)


ASKING = "Anna: And then?\nBen: I was lost, for a long time.\n" * 4
BOTH_ASK = "Anna: And then?\nBen: I was lost. Were you not?\n" * 4


def test_who_asks_the_questions() -> None:
    assert interviewers(ASKING) == {"Anna": "questions"}
    assert interviewers(ASKING, "ben") == {"Ben": "told"}
    assert interviewers(ASKING, "Carl") == {"Anna": "questions"}
    assert interviewers(ASKING.replace("Anna", "INT")) == {"INT": "name"}


@pytest.mark.parametrize(
    "text",
    [
        BOTH_ASK,
        "Anna: And then?\nBen: I was lost.\n",  # too little to know
        "Anna: It was late.\nBen: So it was.\n" * 5,
        "Anna: And then?\nBen: I was lost, for long.\nAnna: Oh.\nBen: Yes, I was.\nAnna: Oh.\n" * 3,  # asks at times
        "Anna: What? " + "Words without end. " * 40 + "No?\nBen: No, I was lost.\n" * 4,  # asks, and says more
        "I was lost.\n\nWhere was I?",
        "P1: And then? And then?\n" * 5,  # nobody else
        "Interviewer 1: And then?\nInterviewer 2: Nothing at all.\n" * 4,  # everybody's name says so
    ],
)
def test_nobody_is_taken_for_the_interviewer(text: str) -> None:
    assert interviewers(text) == {}


def test_two_interviewers() -> None:
    text = "Interviewer 1: And then?\nP1: I was lost.\nInterviewer 2: Lost?\nP1: Yes. Was I not?\n" * 3
    assert interviewers(text) == {"Interviewer 1": "name", "Interviewer 2": "name"}
    text = text.replace("Interviewer 1", "Anna").replace("Interviewer 2", "Ben")
    assert interviewers(text, "Anna", "BEN") == {"Anna": "told", "Ben": "told"}


def test_a_focus_group() -> None:
    group = "Maria: And you?\nP1: I was lost, to be honest.\nP2: So was I, and for longer.\nP3: I was not lost.\n"
    assert interviewers(group * 3) == {"Maria": "questions"}
    assert interviewers(group.replace("Maria", "Moderatorin") * 3) == {"Moderatorin": "name"}


def test_who_is_skipped_is_not_recognised_as_well() -> None:
    assert interviewers(ASKING, skipped=("Anna",)) == {}


def test_a_turn_in_pieces_is_one_turn() -> None:
    rows = [Excerpt("Is it?", speaker="A", turn=1), Excerpt("No.", speaker="A", turn=1), Excerpt("Why?", speaker="A")]
    assert speakers_of(rows) == [Speaker("A", 2, 4, 1)]


def chosen(folder: Path, selection: Selection) -> tuple[list[str], LeftOut]:
    left_out = LeftOut()
    rows = inputs.read_selected(inputs.expand([folder]), selection, left_out)
    return [row.text for row in rows if isinstance(row, Excerpt)], left_out


def test_participants_alone_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("INT: Why?\nP1: For fun.\nP2: Indeed.\n")
    (tmp_path / "b.txt").write_text(BOTH_ASK)
    (tmp_path / "c.txt").write_text("One paragraph.\n\nAnother one.")
    (tmp_path / "d.csv").write_text("text,speaker\nWhy not?,Interviewer\nWhy indeed?,P9\nWho?,Ben\n")
    texts, left_out = chosen(tmp_path, Selection())
    assert texts[:2] == ["For fun.", "Indeed."]
    assert texts[-4:] == ["One paragraph.", "Another one.", "Why indeed?", "Who?"]
    assert left_out.interviewers == {("INT", "name"): 1, ("Interviewer", "name"): 1}
    assert list(left_out.unclear) == ["b"]

    texts, left_out = chosen(tmp_path, Selection(interviewers=("BEN",), skipped=("p2",)))
    assert "Were you not?" not in " ".join(texts)
    assert left_out.interviewers == {("INT", "name"): 1, ("Ben", "told"): 5, ("Interviewer", "name"): 1}
    assert left_out.skipped == {"p2": 1}
    assert not left_out.unclear

    texts, left_out = chosen(tmp_path, Selection(include_interviewers=True))
    assert texts[:3] == ["Why?", "For fun.", "Indeed."]
    assert not left_out.interviewers


# --- long turns -------------------------------------------------------------------------------------------------


def test_long_turns_are_cut_at_sentences() -> None:
    said = "I came home late, and Dr. Smith was there. " * 60
    pieces = [said[start:end] for start, end in cut(said, 0, len(said.rstrip()))]
    assert " ".join(pieces) == said.rstrip()
    assert len(pieces) == 3
    assert all(piece.startswith("I came") and piece.endswith("there.") for piece in pieces)
    assert max(len(piece.split()) for piece in pieces) < 1.3 * min(len(piece.split()) for piece in pieces)


def test_long_turns_without_sentences_are_cut_at_clauses_and_else_at_words() -> None:
    clauses = "and then we went on, " * 60
    assert all(clauses[start:end].endswith(",") for start, end in cut(clauses, 0, len(clauses.rstrip())))
    words = "word " * 600
    assert [len(words[start:end].split()) for start, end in cut(words, 0, len(words))] == [200, 200, 200]


def test_pieces_of_a_turn_share_its_number() -> None:
    text = "P1: " + "I came home late. " * 100 + "\nP2: Yes."
    rows = [row for row in excerpts_of(text, find_turns(text), "d") if isinstance(row, Excerpt)]
    assert [(row.speaker, row.turn) for row in rows] == [("P1", 1), ("P1", 1), ("P2", 2)]
    assert all(row.start is not None and text[row.start : row.end] == row.text for row in rows)


@given(st.text(st.sampled_from("ab .,!?\n…。“)"), max_size=300).map(lambda text: text.strip() * 5))
@settings(max_examples=40)
def test_pieces_are_all_of_a_text_in_order(text: str) -> None:
    pieces = cut(text, 0, len(text))
    assert "".join("".join(text[start:end] for start, end in pieces).split()) == "".join(text.split())
    assert all(len(text[start:end].split()) <= MAX_WORDS for start, end in pieces)


# --- questions ----------------------------------------------------------------------------------------------------


def contexts(text: str, tmp_path: Path, **selection: Any) -> list[tuple[str, str | None]]:
    path = tmp_path / "talk.txt"
    path.write_text(text, encoding="utf-8")
    rows = read_selected([path], Selection(**selection), LeftOut())
    return [(row.text, row.context) for row in rows if isinstance(row, Excerpt)]


def test_a_turn_comes_with_the_question_it_answers(tmp_path: Path) -> None:
    talk = "INT: Lost?\n\nINT: Then, I mean.\n\nP1: Not at all.\n\nP2: I was.\n\nINT: Now?\n\nOBS: Hm.\n\nP2: No.\n"
    assert contexts(talk, tmp_path) == [
        ("Not at all.", "Lost? Then, I mean."),
        ("I was.", None),  # said to P1
        ("Hm.", "Now?"),
        ("No.", None),
    ]
    # Somebody who is left out has spoken in between, too.
    assert contexts(talk, tmp_path, skipped=("OBS",))[-1] == ("No.", None)
    assert all(context is None for _, context in contexts(talk, tmp_path, include_interviewers=True))


def test_the_pieces_of_a_long_turn_answer_the_same_question(tmp_path: Path) -> None:
    said = "I came there and sat down. " * (MAX_WORDS // 4)
    found = contexts(f"INT: And then?\n\nP1: {said}\n\nINT: Yes?\n\nP1: No.\n\nP2: Me neither.\n", tmp_path)
    assert len(found) > 3
    assert [context for _, context in found] == [*["And then?"] * (len(found) - 2), "Yes?", None]


def test_a_table_may_name_its_questions(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,speaker,context,document\nWhy?,INT,,d\nSo.,P1,,d\nHm.,P1,Asked?,d\nWhy?,INT,,d\nNo.,P1,,e\n")
    rows = read_selected([path], Selection(), LeftOut())
    assert [row.context for row in rows if isinstance(row, Excerpt)] == ["Why?", "Asked?", None]

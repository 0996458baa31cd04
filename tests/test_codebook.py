"""Codebooks: the one that is shipped, what is read, what is refused and how it is said, and the command."""

from __future__ import annotations

import copy
import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tl_classifier.cli import app
from tl_classifier.codebook import (
    DEFAULT_CODEBOOK,
    Code,
    Codebook,
    Dimension,
    Group,
    gaps,
    parse_codebook,
    read_codebook,
)
from tl_classifier.errors import CodebookError

STAGES = (
    "disorienting_dilemma",
    "self_examination",
    "critical_assessment",
    "shared_recognition",
    "exploring_options",
    "planning_action",
    "acquiring_knowledge_skills",
    "trying_new_roles",
    "building_competence_confidence",
    "reintegration",
)
THEMES = ("transformative_impact", "team_bonding", "preparing_for_practice", "facilitators", "challenges")


def data() -> dict[str, Any]:
    """A small codebook in the form of its file, without problems."""
    return {
        "schema": 1,
        "name": "classroom",
        "version": "2",
        "dimensions": [
            {
                "id": "talk",
                "groups": [{"id": "asking"}, {"id": "telling"}],
                "codes": [
                    {"id": "open_question", "group": "asking", "definition": "Has no one answer."},
                    {"id": "quiz", "group": "asking", "examples": ["Seven eights?"]},
                    {"id": "lecture", "group": "telling"},
                ],
            },
            {
                "id": "mood",
                "kind": "exclusive",
                "optional": False,
                "codes": [{"id": "calm"}, {"id": "tense"}],
            },
        ],
    }


def problems_of(changed: object) -> list[str]:
    codebook, problems = parse_codebook(changed)
    assert (codebook is None) == bool(problems)
    return problems


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "book.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems_in(folder: Path, text: str | bytes) -> list[str]:
    codebook, problems = read_codebook(written(folder, text))
    assert (codebook is None) == bool(problems)
    return problems


class TestShipped:
    def test_codes_stand_in_order(self) -> None:
        codebook = Codebook.default()
        assert [(d.id, d.code_ids, d.exclusive) for d in codebook.dimensions] == [
            ("stage", STAGES, False),
            ("theme", THEMES, False),
        ]
        assert codebook.outputs == 15
        assert codebook.slices == {"stage": slice(0, 10), "theme": slice(10, 15)}

    def test_stages_fall_into_four_movements(self) -> None:
        stage = Codebook.default().dimension("stage")
        members = {group.id: [i for i, c in enumerate(stage.codes, 1) if c.group == group.id] for group in stage.groups}
        assert list(members.values()) == [[1], [2, 3, 4], [5, 6, 7, 8], [9, 10]]
        assert "this project's reading" in stage.note

    def test_themes_have_their_subthemes(self) -> None:
        theme = Codebook.default().dimension("theme")
        assert [code.group for code in theme.codes] == ["experiences_of_training"] * 3 + [
            "developing_beyond_training"
        ] * 2

    def test_is_complete(self) -> None:
        codebook = Codebook.default()
        assert gaps(codebook) == []
        for dimension in codebook.dimensions:
            assert all(group.definition for group in dimension.groups)
            assert all(code.counts and code.excludes for code in dimension.codes)
        for source, work in zip(codebook.sources, ("(1991)", "(2000)", "1432327"), strict=True):
            assert work in source

    def test_rules_name_codes_that_exist(self) -> None:
        codebook = Codebook.default()
        texts = [*codebook.rules, *(t for d in codebook.dimensions for c in d.codes for t in c.counts + c.excludes)]
        words = {word.strip('.,;:()"') for text in texts for word in text.split()}
        assert {word for word in words if "_" in word} <= {*STAGES, *THEMES}


class TestReading:
    def test_small_codebook(self) -> None:
        codebook = Codebook.from_dict(data())
        talk, mood = codebook.dimensions
        assert codebook.title == "Classroom"
        assert (talk.exclusive, talk.optional, talk.outputs) == (False, True, 3)
        assert (mood.exclusive, mood.optional, mood.outputs) == (True, False, 2)
        assert talk.codes[0] == Code("open_question", "Open question", definition="Has no one answer.", group="asking")
        assert talk.groups == (Group("asking", "Asking"), Group("telling", "Telling"))
        assert talk.groups_of(["lecture", "quiz"]) == ("asking", "telling")
        assert talk.in_order(["quiz", "open_question", "quiz"]) == ("open_question", "quiz")

    def test_exclusive_is_optional_unless_it_says_otherwise(self) -> None:
        changed = data()
        del changed["dimensions"][1]["optional"]
        changed["dimensions"][1]["codes"].pop()
        mood = Codebook.from_dict(changed).dimension("mood")
        assert mood.optional
        assert mood.outputs == 2

    def test_white_space_around_texts_is_dropped(self) -> None:
        changed = data()
        changed["title"] = "  A title\n"
        assert Codebook.from_dict(changed).title == "A title"

    def test_key_without_a_value_is_as_good_as_absent(self) -> None:
        changed = data()
        changed["dimensions"][0]["codes"][0] |= {"name": None, "counts": None}
        assert Codebook.from_dict(changed) == Codebook.from_dict(data())

    def test_wording_does_not_change_the_fingerprint_but_order_does(self) -> None:
        worded, turned = data(), data()
        worded["dimensions"][0]["codes"][0]["definition"] = "Another."
        turned["dimensions"][0]["codes"].reverse()
        fingerprint = Codebook.from_dict(data()).fingerprint
        assert Codebook.from_dict(worded).fingerprint == fingerprint
        assert Codebook.from_dict(turned).fingerprint != fingerprint

    def test_byte_order_mark_and_crlf(self, tmp_path: Path) -> None:
        text = yaml.safe_dump(data(), sort_keys=False).replace("\n", "\r\n")
        assert Codebook.load(written(tmp_path, b"\xef\xbb\xbf" + text.encode())) == Codebook.from_dict(data())

    def test_json_is_read_too(self, tmp_path: Path) -> None:
        path = written(tmp_path, json.dumps(Codebook.default().to_dict(), ensure_ascii=False))
        assert Codebook.load(path) == Codebook.default()

    def test_dates_and_equals_signs_are_texts(self, tmp_path: Path) -> None:
        text = yaml.safe_dump(data(), sort_keys=False).replace("version: '2'", "version: 2024-13-45\ntitle: =")
        codebook = Codebook.load(written(tmp_path, text))
        assert (codebook.version, codebook.title) == ("2024-13-45", "=")


STAGE = "dimension 'talk'"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        # the codebook
        (["schema"], ..., "the key 'schema' is missing"),
        (["schema"], 2, "'schema' must be 1, the version of the format that this program reads"),
        (["schema"], "1", "'schema' must be 1, the version of the format that this program reads"),
        (["schema"], True, "'schema' must be 1, the version of the format that this program reads"),
        (["name"], None, "the key 'name' has no value"),
        (["name"], "My Book", "'name' may hold only lower-case letters and digits, and single hyphens between them"),
        (["name"], "", "'name' may hold only lower-case letters and digits, and single hyphens between them"),
        (["version"], 1.0, "'version' must be a text, not a number (put it in quotes)"),
        (["version"], " ", "'version' is empty"),
        (["sources"], "Mezirow", "'sources' must be a list of texts, each beginning with '- ', not a text"),
        (["rules"], ["Read.", None], "'rules', item 2 is empty"),
        (["rules"], ["Read.", "  "], "'rules', item 2 is empty"),
        (["dimensions"], ..., "the key 'dimensions' is missing"),
        (["dimensions"], [], "there must be at least one dimension"),
        (["dimensions"], (), "there must be at least one dimension"),
        (
            ["dimensions"],
            {"talk": {}},
            "'dimensions' must be a list of entries, each beginning with '- ', not a key with a value",
        ),
        (["dimension"], "x", "unknown key 'dimension' (did you mean 'dimensions'?)"),
        ([7], "x", "a key must be a text, not a number (put it in quotes)"),
        # a dimension
        (["dimensions", 0], "talk", "dimension 1: it must have keys with values, such as 'id: ...', not a text"),
        (["dimensions", 0, "id"], ..., "dimension 1: the key 'id' is missing"),
        (["dimensions", 0, "id"], " ", "dimension 1: the id is empty"),
        (["dimensions", 0, "id"], "none", "dimension 'none': the id 'none' is taken: it says that no code applies"),
        (["dimensions", 0, "id"], "mood", "dimension 2 ('mood'): the id is given a second time"),
        (["dimensions", 0, "kind"], "single", f"{STAGE}: the kind must be multi-label or exclusive, not 'single'"),
        (["dimensions", 0, "optional"], "yes", f"{STAGE}: 'optional' must be true or false, not a text"),
        (
            ["dimensions", 0, "optional"],
            False,
            f"{STAGE}: 'optional: false' needs 'kind: exclusive'; a multi-label dimension can always be left empty",
        ),
        (
            ["dimensions", 1, "codes"],
            [{"id": "calm"}],
            "dimension 'mood': with 'optional: false' there must be at least two codes to choose from",
        ),
        (["dimensions", 1, "codes"], [], "dimension 'mood': there must be at least one code"),
        (["dimensions", 1, "codes"], (), "dimension 'mood': there must be at least one code"),
        (["dimensions", 1, "codes"], ..., "dimension 'mood': the key 'codes' is missing"),
        (["dimensions", 1, "code"], [], "dimension 'mood': unknown key 'code' (did you mean 'codes'?)"),
        # groups
        (
            ["dimensions", 0, "groups"],
            [{"id": "asking"}, {"id": "telling"}, {"id": "asking"}],
            f"{STAGE}, group 3 ('asking'): the id is given a second time",
        ),
        (
            ["dimensions", 0, "codes", 2, "group"],
            "asking",
            f"{STAGE}, group 2 ('telling'): no code belongs to this group",
        ),
        (
            ["dimensions", 0, "codes", 1, "group"],
            "askin",
            f"{STAGE}, code 2 ('quiz'): unknown group 'askin' (did you mean 'asking'?)",
        ),
        (
            ["dimensions", 0, "codes", 2, "group"],
            "tellng",
            f"{STAGE}, code 3 ('lecture'): unknown group 'tellng' (did you mean 'telling'?)",
        ),
        (
            ["dimensions", 0, "codes", 1, "group"],
            "x",
            f"{STAGE}, code 2 ('quiz'): unknown group 'x' (the groups here are asking, telling)",
        ),
        (
            ["dimensions", 1, "codes", 1, "group"],
            "x",
            "dimension 'mood', code 2 ('tense'): unknown group 'x' (this dimension has no groups)",
        ),
        (
            ["dimensions", 0, "groups"],
            "asking",
            f"{STAGE}: 'groups' must be a list of entries, each beginning with '- ', not a text",
        ),
        # codes
        (
            ["dimensions", 0, "codes"],
            "quiz",
            f"{STAGE}: 'codes' must be a list of entries, each beginning with '- ', not a text",
        ),
        (
            ["dimensions", 0, "codes", 1, "id"],
            "pop quiz",
            f"{STAGE}, code 2 ('pop quiz'): the id may hold only lower-case letters, digits and _",
        ),
        (
            ["dimensions", 0, "codes", 1, "id"],
            "quiz\n",
            None,  # white space around a text is dropped
        ),
        (
            ["dimensions", 0, "codes", 1, "id"],
            "prüfung",
            f"{STAGE}, code 2 ('prüfung'): the id may hold only lower-case letters, digits and _",
        ),
        (["dimensions", 0, "codes", 1, "id"], "2nd", f"{STAGE}, code 2 ('2nd'): the id must begin with a letter"),
        (["dimensions", 0, "codes", 1, "id"], "_x", f"{STAGE}, code 2 ('_x'): the id must begin with a letter"),
        (
            ["dimensions", 0, "codes", 1, "id"],
            "none",
            f"{STAGE}, code 2 ('none'): the id 'none' is taken: it says that no code applies",
        ),
        (
            ["dimensions", 0, "codes", 1, "id"],
            False,
            f"{STAGE}, code 2: 'id' must be a text, not true or false "
            "(yes, no, on, off, true and false are texts only in quotes)",
        ),
        (
            ["dimensions", 0, "codes", 1, "id"],
            12,
            f"{STAGE}, code 2: 'id' must be a text, not a number (put it in quotes)",
        ),
        (
            ["dimensions", 0, "codes", 1, "id"],
            "lecture",
            f"{STAGE}, code 3 ('lecture'): the id is given a second time",
        ),
        (
            ["dimensions", 0, "codes", 1, "id"],
            "telling",
            f"{STAGE}, code 2 ('telling'): the id is also that of a group; the two must differ",
        ),
        (["dimensions", 1, "codes", 0, "id"], "quiz", None),  # dimensions are independent of each other
        (
            ["dimensions", 0, "codes", 1, "defintion"],
            "x",
            f"{STAGE}, code 2 ('quiz'): unknown key 'defintion' (did you mean 'definition'?)",
        ),
        (
            ["dimensions", 0, "codes", 1, "colour"],
            "x",
            f"{STAGE}, code 2 ('quiz'): unknown key 'colour' "
            "(the keys here are id, name, group, definition, counts, excludes, examples)",
        ),
        (
            ["dimensions", 0, "codes", 1, "examples"],
            [{"She said": "no"}],
            f"{STAGE}, code 2 ('quiz'): 'examples', item 1 must be a text, not a key with a value "
            "(a text with a colon in it needs quotes)",
        ),
        (
            ["dimensions", 0, "codes", 1, "name"],
            "a\x07b",
            f"{STAGE}, code 2 ('quiz'): 'name' holds a control character or half of a character",
        ),
        (
            ["dimensions", 0, "codes", 1, "definition"],
            "\ud83d",
            f"{STAGE}, code 2 ('quiz'): 'definition' holds a control character or half of a character",
        ),
    ],
)
def test_one_mistake_is_one_problem(path: list[Any], value: object, expected: str | None) -> None:
    changed = data()
    inner: Any = changed
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    assert problems_of(changed) == ([expected] if expected else [])


class TestProblems:
    def test_mistaken_key_is_not_missed_as_well(self) -> None:
        changed = data()
        changed["dimensons"] = changed.pop("dimensions")
        assert problems_of(changed) == ["unknown key 'dimensons' (did you mean 'dimensions'?)"]

    def test_missing_ids_are_not_taken_for_equal_ones(self) -> None:
        changed = data()
        changed["dimensions"][0] |= {"groups": [{}, {}], "codes": [{}, {}]}
        assert problems_of(changed) == [
            f"{STAGE}, {entry}: the key 'id' is missing" for entry in ("group 1", "group 2", "code 1", "code 2")
        ]

    def test_all_are_listed_in_one_pass(self) -> None:
        changed = data()
        changed["name"] = "X"
        changed["dimensions"][0]["codes"][0]["id"] = "A"
        changed["dimensions"][0]["codes"].append("quiz")
        changed["dimensions"][0]["groups"].append({"id": "b c", "nam": "x"})
        changed["dimensions"][1]["codes"][1] = {"examples": [1]}
        found = "\n".join(problems_of(changed))
        for part in (
            "'name' may hold",
            "code 1 ('A'): the id",
            "code 4: it must have keys",
            "group 3 ('b c'): the id",
            "group 3 ('b c'): unknown key 'nam'",
            "group 3 ('b c'): no code",
            "dimension 'mood', code 2: the key 'id' is missing",
            "dimension 'mood', code 2: 'examples', item 1 must",
        ):
            assert part in found
        assert found.count("\n") == 7

    @pytest.mark.parametrize("other", [None, 3, "text", [], [data()]])
    def test_not_a_mapping(self, other: object) -> None:
        [problem] = problems_of(other)
        assert problem.startswith("a codebook must have keys with values")

    def test_long_ids_are_shortened_and_kept_on_one_line(self) -> None:
        changed = data()
        changed["dimensions"][0]["id"] = "x\n" * 1000
        assert all(len(problem) < 200 and "\n" not in problem for problem in problems_of(changed))

    def test_errors_name_the_first_problem_and_count_the_rest(self, tmp_path: Path) -> None:
        path = written(tmp_path, "schema: 1\nname: a\n")
        with pytest.raises(CodebookError) as error:
            Codebook.load(path)
        assert str(error.value) == (
            f"{path}: the key 'version' is missing (and 1 more; see: tl-classifier codebook check)."
        )
        with pytest.raises(CodebookError, match=r"'version' is missing \(and 1 more\)\.$"):
            Codebook.from_dict({"schema": 1, "name": "a"})

    def test_gaps_are_no_problems(self) -> None:
        assert gaps(Codebook.from_dict(data())) == [
            "dimension 'talk': no definition for quiz, lecture",
            "dimension 'talk': no example for open_question, lecture",
            "dimension 'mood': no definition for calm, tense",
            "dimension 'mood': no example for calm, tense",
        ]


class TestFiles:
    def test_missing(self, tmp_path: Path) -> None:
        assert read_codebook(tmp_path / "no.yaml") == (None, ["the file does not exist"])

    def test_folder(self, tmp_path: Path) -> None:
        assert read_codebook(tmp_path) == (None, ["this is a folder, not a file"])

    @pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a remark\n", "---\n"])
    def test_empty(self, tmp_path: Path, text: str) -> None:
        assert problems_in(tmp_path, text) == ["the file holds nothing"]

    def test_too_large(self, tmp_path: Path) -> None:
        [problem] = problems_in(tmp_path, "#" * (1024 * 1024 + 1))
        assert problem == "the file is larger than 1,048,576 bytes, too large for a codebook"

    @pytest.mark.parametrize(
        ("content", "line"),
        [("title: Prüfung".encode("latin-1"), 1), ("a: b\ntitle: ü".encode("utf-16"), 1), (b"a: b\nc: \xff\n", 2)],
    )
    def test_wrong_encoding(self, tmp_path: Path, content: bytes, line: int) -> None:
        assert problems_in(tmp_path, content) == [
            f"line {line}: this is not UTF-8 text; save the file with the encoding UTF-8"
        ]

    def test_binary(self, tmp_path: Path) -> None:
        assert problems_in(tmp_path, b"PK\x03\x04") == [
            "line 1, column 3: there is a control character; is this a text file?"
        ]

    @pytest.mark.parametrize(
        ("text", "place", "hint"),
        [
            ("name: a\ntitle: This: that\n", "line 2, column 12", "a colon stands where none can"),
            ("name: a\n\ttitle: b\n", "line 2, column 1", "indent with spaces"),
            ('name: a\ntitle: "so" he said\n', "line 2, column 13", "put the whole of a text in quotes"),
            ("name: a\ntitle: 'so\n", "line 3, column 1", "a quotation mark is opened and never closed"),
            ("name: a\ntitle: @so\n", "line 2, column 8", "put it in quotes"),
            ("name: a\ntitle: *so\n", "line 2, column 8", "a text cannot begin with *"),
            ("name: a\ntitle: !so x\n", "line 2, column 8", "a text cannot begin with !"),
            ("name: a\ntitle: !!python/name:os.system\n", "line 2, column 8", "a text cannot begin with !"),
            ("name: a\nrules: [b, c\n", "line 3, column 1", "a bracket is opened"),
            ("name: a\n---\nname: b\n", "line 2, column 1", "a second document"),
            ("name: a\n? [b]\n: c\n", "line 2, column 3", "a list or mapping stands where a key should"),
            ("name: a\nversion: " + "1" * 5000, "line 2, column 10", "a number that cannot be read"),
            ("%YAML 9.9\n---\nname: a\n", "line 1, column 1", "not valid YAML"),
        ],
    )
    def test_not_yaml(self, tmp_path: Path, text: str, place: str, hint: str) -> None:
        [problem] = problems_in(tmp_path, text)
        assert problem.startswith(f"{place}: ")
        assert hint in problem

    def test_alias_bomb(self, tmp_path: Path) -> None:
        bomb = "a: &a [x, x]\n" + "".join(
            f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        )
        [problem] = problems_in(tmp_path, bomb)
        assert "aliases are not allowed" in problem

    @pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
    def test_nested_too_deeply(self, tmp_path: Path, text: str) -> None:
        assert problems_in(tmp_path, text) == ["lists and mappings are nested too deeply for a codebook"]

    def test_repeated_keys_are_told_along_with_the_rest(self, tmp_path: Path) -> None:
        text = yaml.safe_dump(data(), sort_keys=False) + "name: other\ntitel: x\n"
        line = text.count("\n") - 1
        assert problems_in(tmp_path, text) == [
            f"line {line}, column 1: the key 'name' is given a second time",
            "unknown key 'titel' (did you mean 'title'?)",
        ]

    @pytest.mark.parametrize("word", ["no", "On", "yes", "false", "12", "1e3", "1_0", "1:30", ".inf"])
    def test_ids_that_yaml_takes_for_something_else(self, tmp_path: Path, word: str) -> None:
        text = f"schema: 1\nname: a\nversion: '1'\ndimensions:\n  - id: d\n    codes:\n      - id: {word}\n"
        [problem] = problems_in(tmp_path, text)
        assert problem.startswith("dimension 'd', code 1")

    @pytest.mark.parametrize("word", ["no", "on", "yes", "y", "true", "null"])
    def test_in_quotes_they_are_ids(self, tmp_path: Path, word: str) -> None:
        text = f"schema: 1\nname: a\nversion: '1'\ndimensions:\n  - id: d\n    codes:\n      - id: '{word}'\n"
        codebook = Codebook.load(written(tmp_path, text))
        assert codebook.dimensions[0].code_ids == (word,)
        codebook.save(tmp_path / "again.yaml")
        assert Codebook.load(tmp_path / "again.yaml") == codebook


class TestSaving:
    def test_is_readable(self, tmp_path: Path) -> None:
        changed = data()
        changed["dimensions"][0]["codes"][0] |= {
            "name": "Größe",
            "definition": "It's long: " + "word " * 30,
            "counts": ["One.\n\nTwo: three."],
        }
        path = tmp_path / "book.yaml"
        Codebook.from_dict(changed).save(path)
        text = path.read_text("utf-8")
        assert text.startswith(
            "schema: 1\nname: classroom\nversion: '2'\ntitle: Classroom\ndimensions:\n  - id: talk\n"
        )
        assert "        name: Größe\n" in text
        assert "        definition: >-\n          It's long: word" in text
        assert "          - |-\n            One.\n\n            Two: three.\n" in text
        assert "&id" not in text
        assert max(len(line) for line in text.splitlines()) <= 110

    @pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\ufeff", "\u00a0", "\ufffe", "😀", "\t", "\n", " \n ", "\\"])
    @pytest.mark.parametrize("before", ["so", "so " * 50])
    def test_unusual_signs_come_back(self, tmp_path: Path, sign: str, before: str) -> None:
        changed = data()
        changed["title"] = f"{before}{sign}it is"
        path = tmp_path / "book.yaml"
        Codebook.from_dict(changed).save(path)
        assert Codebook.load(path).title == changed["title"]

    def test_nothing_is_left_beside_and_permissions_are_the_usual(self, tmp_path: Path) -> None:
        path = tmp_path / "book.yaml"
        path.write_text("old")
        Codebook.default().save(path)
        assert [p.name for p in tmp_path.iterdir()] == ["book.yaml"]
        if os.name == "posix":
            umask = os.umask(0)
            os.umask(umask)
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask

    def test_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        target = tmp_path / "book.yaml"
        (target / "inside").mkdir(parents=True)
        with pytest.raises(CodebookError, match=r"book\.yaml cannot be written \(.+\)\.$"):
            Codebook.default().save(target)
        assert [p.name for p in tmp_path.iterdir()] == ["book.yaml"]
        with pytest.raises(CodebookError, match="cannot be written"):
            Codebook.default().save(tmp_path / "missing" / "book.yaml")


# Texts as a codebook holds them: any Unicode without control characters and lone surrogates, no white space around.
TEXTS = (
    st.text(
        st.characters(exclude_categories=("Cc", "Cs"), include_characters="\n\t:#'\"-|>&*!%@`{}[],?="), max_size=120
    )
    .map(str.strip)
    .filter(bool)
)
LISTS = st.lists(TEXTS, max_size=3).map(tuple)
IDS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True) | st.sampled_from(["no", "on", "yes", "null", "y", "true"])
OPTIONAL_TEXTS = st.just("") | TEXTS


@st.composite
def dimensions(draw: st.DrawFn, dimension_id: str) -> Dimension:
    ids = [i for i in draw(st.lists(IDS, min_size=2, max_size=6, unique=True)) if i != "none"]
    cut = draw(st.integers(0, (len(ids) - 1) // 2))
    groups, codes = ids[:cut], ids[cut:]
    exclusive = draw(st.booleans())
    return Dimension(
        id=dimension_id,
        name=draw(TEXTS),
        codes=tuple(
            Code(
                id=code,
                name=draw(TEXTS),
                definition=draw(OPTIONAL_TEXTS),
                counts=draw(LISTS),
                excludes=draw(LISTS),
                examples=draw(LISTS),
                group=groups[number] if number < cut else draw(st.sampled_from([None, *groups])),
            )
            for number, code in enumerate(codes)
        ),
        groups=tuple(Group(group, draw(TEXTS), draw(OPTIONAL_TEXTS)) for group in groups),
        description=draw(OPTIONAL_TEXTS),
        exclusive=exclusive,
        optional=len(codes) == 1 or not exclusive or draw(st.booleans()),
        note=draw(OPTIONAL_TEXTS),
    )


@st.composite
def codebooks(draw: st.DrawFn) -> Codebook:
    ids = [i for i in draw(st.lists(IDS, min_size=1, max_size=2, unique=True)) if i != "none"] or ["d"]
    return Codebook(
        name=draw(st.from_regex("[a-z0-9]+(-[a-z0-9]+)?", fullmatch=True)),
        version=draw(TEXTS),
        title=draw(TEXTS),
        dimensions=tuple(draw(dimensions(i)) for i in ids),
        description=draw(OPTIONAL_TEXTS),
        unit=draw(OPTIONAL_TEXTS),
        sources=draw(LISTS),
        rules=draw(LISTS),
    )


# Anything that YAML or JSON can hold, made of the keys of a codebook more often than not.
KEYS = st.sampled_from(
    [*Codebook.default().to_dict(), "id", "kind", "optional", "groups", "codes", "group", "definition", "examples"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | IDS | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text() | st.integers(), inner, max_size=6),
    max_leaves=20,
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A sound codebook with anything put in one place of it."""
    changed: Any = copy.deepcopy(draw(st.sampled_from([data(), Codebook.default().to_dict()])))
    inner = changed
    while True:
        step = draw(st.sampled_from(list(inner) if isinstance(inner, dict) else list(range(len(inner)))))
        if not isinstance(inner[step], dict | list) or not inner[step] or draw(st.integers(0, 3)) == 0:
            inner[step] = draw(VALUES)
            return changed
        inner = inner[step]


class TestProperties:
    @given(codebooks())
    def test_round_trip(self, tmp_path_factory: pytest.TempPathFactory, codebook: Codebook) -> None:
        assert Codebook.from_dict(codebook.to_dict()) == codebook
        assert Codebook.from_dict(json.loads(json.dumps(codebook.to_dict()))) == codebook
        path = tmp_path_factory.getbasetemp() / "round-trip.yaml"
        codebook.save(path)
        assert Codebook.load(path) == codebook
        assert yaml.safe_load(path.read_text("utf-8")) == codebook.to_dict()  # other programs read the same

    @given(VALUES | damaged())
    def test_any_data_are_read_or_refused(self, anything: object) -> None:
        codebook, problems = parse_codebook(anything)
        assert (codebook is None) == bool(problems)
        assert all(problem and "\n" not in problem and problem[-1] not in ".?" for problem in problems)
        if codebook is not None:
            assert Codebook.from_dict(codebook.to_dict()) == codebook

    @given(st.binary(max_size=60) | st.text("abc:-#'\"|>&*!%@`{}[],?= \n\t~<.019", max_size=60).map(str.encode))
    def test_any_file_is_read_or_refused(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "any.yaml"
        path.write_bytes(content)
        codebook, problems = read_codebook(path)
        assert codebook is None
        assert problems


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["codebook", *map(str, arguments)], env={"COLUMNS": "100"})


def sentence_of(result: Result) -> str:
    assert result.exit_code == 1
    assert isinstance(result.exception, CodebookError)
    return str(result.exception)


class TestShow:
    def test_shipped(self) -> None:
        result = run("show")
        assert result.exit_code == 0
        assert result.stderr == ""
        words = " ".join(result.stdout.split())
        places = []
        for dimension in Codebook.default().dimensions:
            places.append(words.index(f"{dimension.name} {dimension.id}"))
            for code in dimension.codes:
                places.append(words.index(f"{code.name} {code.id} {code.definition}"))
            assert all(f"{group.name} {group.id}" in words for group in dimension.groups)
        assert places == sorted(places)

    def test_own_codebook_with_markup_in_its_texts(self, tmp_path: Path) -> None:
        changed = data()
        changed["dimensions"][0]["codes"][0]["definition"] = "[bold]Not[/] markup [/oops]"
        path = tmp_path / "book.yaml"
        Codebook.from_dict(changed).save(path)
        result = run("show", path)
        assert result.exit_code == 0
        assert "[bold]Not[/] markup [/oops]" in result.stdout
        assert "mood · one code ─" in result.stdout

    def test_json(self) -> None:
        assert json.loads(run("show", "--json").stdout) == Codebook.default().to_dict()

    def test_bad_codebook(self, tmp_path: Path) -> None:
        assert sentence_of(run("show", written(tmp_path, "a: b"))).startswith(f"{tmp_path / 'book.yaml'}: unknown key")


class TestCheck:
    def test_sound(self) -> None:
        result = run("check", DEFAULT_CODEBOOK)
        assert result.exit_code == 0
        assert result.stdout == f"{DEFAULT_CODEBOOK}: 2 dimensions, 15 codes, no problems\n"

    def test_warnings_do_not_fail(self, tmp_path: Path) -> None:
        path = tmp_path / "book.yaml"
        Codebook.from_dict(data()).save(path)
        result = run("check", path)
        assert result.exit_code == 0
        assert f"{path}: warning: dimension 'talk': no definition for quiz, lecture\n" in result.stdout
        assert result.stdout.endswith(f"{path}: 2 dimensions, 5 codes, no problems\n")

    def test_every_problem_has_a_line(self, tmp_path: Path) -> None:
        path = written(tmp_path, "schema: 1\nname: A B\n")
        result = run("check", path)
        assert sentence_of(result) == f"{path} has 3 problems."
        assert result.stdout.splitlines() == [f"{path}: {problem}" for problem in read_codebook(path)[1]]

    def test_missing_file(self, tmp_path: Path) -> None:
        result = run("check", tmp_path / "no.yaml")
        assert sentence_of(result) == f"{tmp_path / 'no.yaml'} has 1 problem."
        assert result.stdout == f"{tmp_path / 'no.yaml'}: the file does not exist\n"

    def test_wrong_usage(self) -> None:
        assert run("check").exit_code == 2


class TestExport:
    def test_yaml_keeps_the_remarks_that_explain_the_format(self, tmp_path: Path) -> None:
        out = tmp_path / "mine.yaml"
        result = run("export", "-o", out)
        assert result.exit_code == 0
        assert (result.stdout, result.stderr) == ("", f"Wrote {out}.\n")
        assert out.read_bytes() == DEFAULT_CODEBOOK.read_bytes()
        assert out.read_text("utf-8").startswith("# A codebook")

    def test_json_and_back_to_yaml(self, tmp_path: Path) -> None:
        assert run("export", "-o", tmp_path / "mine.json").exit_code == 0
        assert "\\u" not in (tmp_path / "mine.json").read_text("utf-8")
        assert json.loads((tmp_path / "mine.json").read_text("utf-8")) == Codebook.default().to_dict()
        assert run("export", "--codebook", tmp_path / "mine.json", "-o", tmp_path / "mine.yml").exit_code == 0
        assert (tmp_path / "mine.yml").read_text("utf-8").startswith("schema: 1\n")
        assert Codebook.load(tmp_path / "mine.yml") == Codebook.default()

    def test_csv_has_one_row_a_code(self, tmp_path: Path) -> None:
        out = tmp_path / "mine.CSV"
        assert run("export", "-o", out).exit_code == 0
        assert out.read_bytes().startswith(b"\xef\xbb\xbf")
        rows = list(csv.DictReader(io.StringIO(out.read_bytes().decode("utf-8-sig"), newline="")))
        expected = [(d.id, c) for d in Codebook.default().dimensions for c in d.codes]
        assert [(row["dimension"], row["code"], row["group"]) for row in rows] == [
            (d, c.id, c.group) for d, c in expected
        ]
        for row, (_, code) in zip(rows, expected, strict=True):
            assert (row["name"], row["definition"]) == (code.name, code.definition)
            assert tuple(row["examples"].split("\n")) == code.examples

    def test_does_not_overwrite_unless_forced(self, tmp_path: Path) -> None:
        out = tmp_path / "mine.yaml"
        out.write_text("mine")
        assert "exists already" in sentence_of(run("export", "-o", out))
        assert out.read_text() == "mine"
        assert run("export", "-o", out, "--force").exit_code == 0
        assert Codebook.load(out) == Codebook.default()

    def test_unknown_ending(self, tmp_path: Path) -> None:
        out = tmp_path / "mine.docx"
        assert sentence_of(run("export", "-o", out)) == (
            f"{out}: the ending of the file must be one of .yaml, .yml, .json, .csv, .qdc."
        )
        assert not out.exists()

    def test_bad_codebook_writes_nothing(self, tmp_path: Path) -> None:
        out = tmp_path / "mine.yaml"
        assert "unknown key" in sentence_of(run("export", "--codebook", written(tmp_path, "a: b"), "-o", out))
        assert not out.exists()

    def test_missing_folder(self, tmp_path: Path) -> None:
        assert "cannot be written" in sentence_of(run("export", "-o", tmp_path / "no" / "mine.yaml"))


@pytest.mark.parametrize(
    ("arguments", "code", "stdout", "stderr"),
    [
        (["check", str(DEFAULT_CODEBOOK)], 0, "no problems\n", ""),
        (
            ["check", "missing.yaml"],
            1,
            "missing.yaml: the file does not exist\n",
            "Error: missing.yaml has 1 problem.\n",
        ),
        (["show", "missing.yaml"], 1, "", "Error: missing.yaml: the file does not exist.\n"),
    ],
)
def test_the_program_itself(tmp_path: Path, arguments: list[str], code: int, stdout: str, stderr: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tl_classifier", "codebook", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stderr) == (code, stderr)
    assert done.stdout.endswith(stdout)

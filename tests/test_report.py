"""The report: what it says is what the file says, in a page that is whole, safe and readable by everybody."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.test_scored import BOOK, scored_record
from tl_classifier.cli import app
from tl_classifier.codebook import Codebook
from tl_classifier.corpus.writers import writing
from tl_classifier.errors import UserError
from tl_classifier.excerpts import Unscorable, record
from tl_classifier.report import sections as sections_module
from tl_classifier.report import survey as survey_module
from tl_classifier.report import write_report
from tl_classifier.report.charts import GROUP_COLOURS
from tl_classifier.report.markup import element, escaped
from tl_classifier.report.survey import CLOSE, MAX_WAYS, STRONGEST, Details, Mark, Survey, Way

ROOT = Path(__file__).parents[1]
VOID = {"meta", "br", "hr", "link", "col"}
STAGES = BOOK.dimension("stage").code_ids


class Page(HTMLParser):
    """A page as a reader meets it: elements, which must nest, with their texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def within(self, *path: str) -> list[str]:
        """The texts within these elements, outer first."""
        found = []
        for opened, text in self.texts:
            rest = iter(opened)
            if all(tag in rest for tag in path):
                found.append(text)
        return found

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def table_rows(html: str) -> list[list[str]]:
    """The rows of all tables, as the texts of their cells."""
    strip = re.compile(r"<[^>]+>")
    return [
        [strip.sub(" ", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.S)
    ]


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', html, re.S)
    return found[0] if found else ""


def save(path: Path, records: Iterable[dict[str, Any]], codebook: Codebook = BOOK, *, with_text: bool = True) -> Path:
    with writing(path, codebook, with_text=with_text) as writer:
        writer.write(list(records))
    return path


def corpus() -> list[dict[str, Any]]:
    """Two interviews and a focus group of two: 24 excerpts, and two rows that were not scored."""
    rows = []
    for document, speakers in (("anna", ["P1"]), ("ben", ["P1"]), ("group", ["P1", "P2"])):
        for n in range(8):
            planning = {0: 0.45, 5: 0.55}.get(n, 0.04)  # withheld, and given, but only just
            stages = [STAGES[n]] + (["reintegration"] if n == 6 else [])
            codes = {"stage": stages if n < 7 else [], "theme": ["challenges"] if n % 2 else []}
            rows.append(
                scored_record(
                    f"In {document} these are the words of turn {n + 1}.", codes,
                    {STAGES[n]: 0.62 + n / 20 if n < 7 else 0.05, "planning_action": planning},
                    document=document, speaker=speakers[n % len(speakers)], turn=2 * n + 1,
                )
            )  # fmt: skip
    rows.append(record(Unscorable("the text is empty", document="ben", turn=99), None, model="tiny@1"))
    rows.append(record(Unscorable("the text has no words"), None, model="tiny@1"))
    return rows


def make(folder: Path, records: Iterable[dict[str, Any]], codebook: Codebook = BOOK, **options: Any) -> str:
    scored = save(folder / "study.jsonl", records, codebook)
    write_report(scored, folder / "out.html", codebook, force=True, **options)
    return (folder / "out.html").read_text("utf-8")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


# --- what it says -----------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    html = make(tmp_path, corpus())
    rows = {row[0]: row for row in table_rows(section(html, "amounts"))}
    assert rows["Disorienting dilemma"][2:] == ["3", "12%", "3–3", "3"]
    assert rows["Reintegration into one&#x27;s life"][2:] == ["3", "12%", "3–3", "3"]
    # Given three times with 0.55, withheld three times with 0.45: each could have gone the other way.
    assert rows["Planning a course of action"][2:] == ["3", "12%", "0–6", "3"]
    assert rows["Critical reflection on assumptions"][2:4] == ["9", "38%"]
    assert rows["Challenges"][2:4] == ["12", "50%"]
    none = [row[2:4] for row in table_rows(section(html, "amounts")) if row[0] == "None of these"]
    assert none == [["3", "12%"], ["12", "50%"]]
    assert rows["the text is empty"] == ["the text is empty", "1"]
    figures = re.findall(r"<li><b>([^<]+)</b><span>([^<]+)</span>", html)
    assert figures[:3] == [("3", "documents"), ("4", "speakers"), ("24", "excerpts coded")]
    assert figures[-1] == ("2", "rows not coded")
    assert "tiny@1" in html and "transformational-learning 1.0" in html


def test_documents_and_speakers(tmp_path: Path) -> None:
    html = make(tmp_path, corpus())
    rows = table_rows(section(html, "documents"))
    assert rows[0][:3] == ["Document", "Excerpts", "Disorienting dilemma"]
    assert [row[0] for row in rows if len(row) == 12] == ["Document", "anna", "ben", "group", "All documents"]
    assert rows[1][1:5] == ["8", "1", "1", "1"]
    assert [row for row in rows if row[0] == "All documents"][1] == ["All documents", "24", "·", "·", "·", "·", "12"]
    # P1 of anna is not P1 of ben; alone, neither is a speaker among speakers.
    speakers = table_rows(section(html, "speakers"))
    assert {row[0] for row in speakers} == {"Speaker", "group · P1", "group · P2"}
    assert next(row for row in speakers if row[0] == "group · P2")[1:4] == ["4", "·", "1"]


def test_codes_found_together(tmp_path: Path) -> None:
    html = make(tmp_path, corpus())
    rows = {row[0]: row for row in table_rows(section(html, "together"))}
    squeezed = {name: [" ".join(cell.split()) for cell in row[1:]] for name, row in rows.items()}
    assert squeezed["Self-examination with feeling"] == ["3", "·", "·", "·", "·", "3 100%"]
    assert squeezed["Disorienting dilemma"] == ["3", "·", "·", "·", "·", "·"]
    assert squeezed["All excerpts"] == ["24", "·", "·", "·", "·", "12 50%"]


def test_ways(tmp_path: Path) -> None:
    html = section(make(tmp_path, corpus()), "ways")
    page = Page(html)
    descriptions = " ".join(page.within("svg", "desc"))
    assert "anna · P1, turns 1 to 15: Disorienting dilemma at 1; Self-examination with feeling at 3;" in descriptions
    assert "group · P2, turns 1 to 15: Self-examination with feeling at 3;" in descriptions
    marks = page.within("circle", "title")
    # 8 codings of stages for each of three documents, and 3 near misses; 4 themes for each interview, and none for P1
    # of the group. Four themes are P2's.
    assert len([mark for mark in marks if "not given" not in mark]) == 3 * 8 + 3 * 4
    assert marks.count("turn 1: Planning a course of action, 0.45, not given") == 3
    assert "turn 1: Disorienting dilemma, 0.62" in marks
    radii = {a["r"] for a in page.named("circle") if a.get("class") == "given"}
    assert len(radii) > 5  # sizes say probabilities


def test_in_a_long_transcript_the_likeliest_of_several_turns_is_drawn() -> None:
    way = Way(("d", None), first=1, last=10_000)
    marks = [
        Mark(turn, 0, p, given) for turn, p, given in ((1, 0.5, True), (2, 0.9, True), (3, 0.95, False), (4, 0.6, True))
    ]
    for mark in marks:
        way.add(mark.turn, [mark])
    assert list(way.marks.values()) == [marks[1]]
    way.add(10_000, [Mark(10_000, 0, 0.7, True)])
    assert sorted(place for place, _ in way.marks) == [0, survey_module.WAY_STEPS - 1]


def test_shades_say_the_share_of_the_row(tmp_path: Path) -> None:
    of_fifty = (40, 30, 12, 6, 3, 1)
    rows = []
    for n in range(100):
        stages = [STAGES[at] for at, excerpts in enumerate(of_fifty) if n % 50 < excerpts]
        rows.append(scored_record(f"words {n}", {"stage": stages}, document=f"d{n // 50}"))
    rows += [scored_record("more", {"stage": [STAGES[0]]}, document="small")] * 4
    html = section(make(tmp_path, rows), "documents")
    large, _, small, *_ = re.findall(r"<tr><th.*?</tr>", html, re.S)[1:]
    assert re.findall(r"cell( h\d)?[^>]*>", large)[:7] == [f" h{n}" for n in (6, 6, 4, 3, 2, 1, 0)]
    assert re.findall(r"cell( h\d)?[^>]*>", small)[:2] == ["", " h0"]  # four excerpts make no share


def test_without_turns_or_documents_there_is_still_a_report(tmp_path: Path) -> None:
    html = make(tmp_path, [scored_record(f"words {n}", {"stage": [STAGES[n % 3]]}) for n in range(9)])
    assert [section(html, name) for name in ("ways", "documents", "speakers")] == ["", "", ""]
    assert "(no document)" in section(html, "strongest")
    Page(html)


def test_the_strongest_come_first_and_once(tmp_path: Path) -> None:
    rows = [
        scored_record(
            f"words {min(n, 7)}", {"stage": ["reintegration"]}, {"reintegration": 0.6 + min(n, 7) / 100}, turn=n
        )
        for n in range(9)
    ]
    html = section(make(tmp_path, rows), "strongest")
    part = html[html.index("Reintegration") :]
    quotes = re.findall(r"<b>([\d.]+)</b>.*?<blockquote[^>]*>([^<]+)</blockquote>", part)
    assert quotes == [
        ("0.67", "words 7"),
        ("0.66", "words 6"),
        ("0.65", "words 5"),
        ("0.64", "words 4"),
        ("0.63", "words 3"),
    ]
    assert len(quotes) == STRONGEST


def test_evidence_is_marked(tmp_path: Path) -> None:
    rows = [
        scored_record(" I was <lost>. Then tea. ", {"stage": ["reintegration"], "theme": ["challenges"]}),
        scored_record("word " * 5_000, {"stage": ["planning_action"]}),
    ]
    rows[0]["evidence"] = {"stage": {"reintegration": [1, 14]}, "theme": {"challenges": [15, 24]}}
    rows[1]["evidence"] = {"stage": {"planning_action": [20_000, 20_004]}, "theme": {}}  # in what is cut away
    html = section(make(tmp_path, rows), "strongest")
    quotes = re.findall(r"<blockquote[^>]*>(.*?)</blockquote>", html)
    assert quotes[1] == "<mark>I was &lt;lost&gt;.</mark> Then tea."
    assert quotes[2] == "I was &lt;lost&gt;. <mark>Then tea.</mark>"
    assert "<mark>" not in quotes[0] and quotes[0].endswith("[…]")
    Page(html)


def test_long_excerpts_are_cut(tmp_path: Path) -> None:
    html = make(tmp_path, [scored_record("word " * 5_000, {"stage": ["reintegration"]})])
    (quote,) = re.findall(r"<blockquote[^>]*>([^<]+)</blockquote>", section(html, "strongest"))
    assert 500 < len(quote) < 1_000
    assert quote.endswith("[…]")


def test_close_decisions_are_sorted_by_closeness(tmp_path: Path) -> None:
    chances = [0.02, 0.48, 0.52, 0.56, 0.41, 0.97, 0.38]
    rows = [
        scored_record(f"words {n}", {"stage": ["reintegration"] if p >= 0.5 else []}, {"reintegration": p}, turn=n)
        for n, p in enumerate(chances)
    ]
    html = section(make(tmp_path, rows), "close")
    found = [(row[1], row[2]) for row in table_rows(html)[1:]]
    assert found == [("no", "0.48"), ("yes", "0.52"), ("yes", "0.56"), ("no", "0.41")]
    assert f"4 decisions were close: a probability within {CLOSE:.2f}" in html


def test_the_threshold_of_a_code_is_read_off_the_file() -> None:
    def threshold(*cells: tuple[float, bool]) -> float:
        survey = Survey(BOOK)
        for p, yes in cells:
            survey.add(scored_record("x", {"stage": ["reintegration"] if yes else []}, {"reintegration": p}))
        return survey.threshold("stage", "reintegration")

    assert threshold((0.3, False), (0.34, True), (0.9, True)) == pytest.approx(0.32)
    assert threshold((0.66, False), (0.7, True)) == pytest.approx(0.68)
    assert threshold((0.1, False), (0.9, True)) == 0.5  # the file does not show it
    assert threshold((0.1, False)) == 0.5
    assert threshold((0.9, False), (0.1, True)) == 0.5  # people corrected codes
    assert threshold((0.8, False), (0.6, False)) > 0.8


EXCLUSIVE = Codebook.from_dict(
    {
        "schema": 1, "name": "moods", "version": "3",
        "dimensions": [
            {"id": "mood", "kind": "exclusive", "codes": [{"id": "up"}, {"id": "down"}, {"id": "level"}]},
            {"id": "tense", "kind": "exclusive", "optional": False, "codes": [{"id": "past"}, {"id": "present"}]},
        ],
    }
)  # fmt: skip


def test_a_codebook_of_ones_own_with_exclusive_dimensions(tmp_path: Path) -> None:
    cells = [
        ("up", {"up": 0.45, "down": 0.41, "level": 0.04, "past": 0.9, "present": 0.1}),  # close between two codes
        (None, {"up": 0.1, "down": 0.4, "level": 0.05, "past": 0.52, "present": 0.48}),  # close to none being none
        ("level", {"up": 0.1, "down": 0.1, "level": 0.7, "past": 0.8, "present": 0.2}),
    ] * 2
    rows = [
        scored_record(
            f"words {n}", {"mood": [mood] if mood else [], "tense": ["past"]}, chances, codebook=EXCLUSIVE,
            document="d", speaker="P1", turn=n + 1,
        )
        for n, (mood, chances) in enumerate(cells)
    ]  # fmt: skip
    html = make(tmp_path, rows, EXCLUSIVE)
    rows_shown = {row[0]: row[2:] for row in table_rows(section(html, "amounts"))}
    assert rows_shown["Up"] == ["2", "33%", "0–2", "1"]
    assert rows_shown["Down"] == ["0", "0%", "0–4", "0"]
    assert rows_shown["None of these"][:2] == ["2", "33%"]  # of mood; a tense is never missing
    assert section(html, "amounts").count("None of these") == 1
    calls = [" ".join(row[0].split()) for row in table_rows(section(html, "close"))[1:]]
    assert sorted(calls) == ["Down or: none of the codes"] * 2 + ["Past or: Present"] * 2 + ["Up or: Down"] * 2
    assert "ways-mood-1" in html and "ways-tense" not in html  # two codes make no way
    assert "moods 3" in html


# --- words, or none ---------------------------------------------------------------------------------------------


def test_no_quotes(tmp_path: Path) -> None:
    html = make(tmp_path, corpus())
    assert "these are the words" in html
    html = make(tmp_path, corpus(), quotes=False, tables=tmp_path / "tables")
    assert "these are the words" not in html
    assert "blockquote" not in html[html.index("</style>") :]
    assert "made without quotations" in section(html, "strongest")
    assert "anna · P1 · turn 1" in section(html, "strongest")
    for table in (tmp_path / "tables").iterdir():
        assert "words of turn" not in table.read_text("utf-8-sig")


def test_a_file_without_texts(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "text"} for row in corpus()]
    scored = save(tmp_path / "study.csv", rows, with_text=False)
    result = run(scored, "-o", tmp_path / "r.html")
    assert result.exit_code == 0, result.output
    html = (tmp_path / "r.html").read_text("utf-8")
    assert "the scored file has no texts" in section(html, "strongest")
    assert "anna · P1 · turn 1" in section(html, "strongest")


# --- a page that is whole and safe ------------------------------------------------------------------------------


def check_page(html: str) -> Page:
    """What holds for every report: it nests, runs nothing, loads nothing, and its policy allows nothing."""
    page = Page(html)
    assert not {name for name, _ in page.elements} & {
        "script",
        "iframe",
        "object",
        "embed",
        "img",
        "form",
        "base",
        "link",
    }
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "src", "xlink:href")], name
        assert (attributes.get("href") or "#").startswith("#")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style[1] and "@import" not in style[1]
    return page


HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)>\'"--> ]]> </style></title></svg>\x00\x1b\u202e'


def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    dimensions = [
        {"id": f"d{n}", "name": f"D{n} {HOSTILE[:60]}", "description": HOSTILE[:60], "note": HOSTILE[:60],
         "groups": [{"id": "g", "name": f"G {HOSTILE[:60]}"}],
         "codes": [
             {"id": f"c{i}", "name": f"C{i} {HOSTILE[:60]}", "group": "g", "definition": HOSTILE[:60]} for i in range(4)
         ]}
        for n in range(2)
    ]  # fmt: skip
    codebook = Codebook.from_dict(
        {
            "schema": 1,
            "name": "x",
            "version": "<b>",
            "title": HOSTILE[:60],
            "sources": [HOSTILE[:60]],
            "dimensions": dimensions,
        }
    )
    rows = [
        scored_record(HOSTILE, {"d0": [f"c{n % 4}"]}, {"c1": 0.45}, codebook=codebook,
                      document=f"{HOSTILE}{n // 4}", speaker=f"{HOSTILE}{n % 2}", id=f"{HOSTILE}{n}", turn=n)
        | {"model": HOSTILE}
        for n in range(12)
    ]  # fmt: skip
    rows.append(record(Unscorable(HOSTILE), None, model=HOSTILE))
    html = make(tmp_path, rows, codebook)
    page = check_page(html)
    assert "<script" not in html and "\x00" not in html and "\x1b" not in html
    quotes = page.within("blockquote")
    assert quotes and all(text.startswith('<script>alert("1")</script>') for text in quotes)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=6))
def test_any_text_makes_a_page(rows: list[tuple[str, str, str]]) -> None:
    from datetime import date

    from tl_classifier.report.page import html
    from tl_classifier.report.parts import Report

    records = [
        scored_record(text, {"stage": STAGES[:3]}, document=document, speaker=speaker, turn=n)
        for n, (text, document, speaker) in enumerate(rows)
    ]
    survey = Survey(BOOK)
    for row in records:
        survey.add(row)
    details = Details(survey)
    for row in records:
        list(details.add(row))
    page = html(Report("t.jsonl", BOOK, survey, details, with_quotes=True, with_tables=False, made=date(2026, 3, 1)))
    check_page(page)
    page.encode("utf-8")
    assert "1 March 2026" in page


def test_the_page_can_be_read_by_everybody(tmp_path: Path) -> None:
    html = make(tmp_path, corpus())
    page = check_page(html)
    assert html.startswith("<!doctype html>\n")
    assert page.named("html") == [{"lang": "en"}]
    assert page.within("head", "title") == ["Coding report: study.jsonl"]
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(cell.get("scope") in ("row", "col", "colgroup") for cell in page.named("th"))
    assert len(page.within("caption")) >= len(page.named("table"))
    ids = {attributes.get("id") for _, attributes in page.elements}
    for drawing in page.named("svg"):
        if drawing.get("role") == "img":
            assert set((drawing["aria-labelledby"] or "").split()) <= ids
        else:
            assert drawing.get("aria-hidden") == "true"
    for link in page.named("a"):
        assert (link["href"] or "")[1:] in ids


def luminance(colour: str) -> float:
    value = colour.lstrip("#")
    value = "".join(c * 2 for c in value) if len(value) == 3 else value
    parts = [int(value[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_told_from_their_ground() -> None:
    style = resources.files("tl_classifier.report").joinpath("report.css").read_text("utf-8")
    shades = re.findall(r"^\.h[1-6] \{ background: (#\w+); color: (#\w+); \}", style, re.M)
    assert len(shades) == 6
    assert all(contrast(ground, ink) >= 4.5 for ground, ink in shades)
    grounds = [luminance(ground) for ground, _ in shades]
    assert grounds == sorted(grounds, reverse=True)  # in black and white too, darker is more
    inks = dict(re.findall(r"--(ink|quiet|accent|faint): (#\w+);", style))
    for ink in [*GROUP_COLOURS, inks["ink"], inks["quiet"], inks["accent"], "#6b7477"]:
        assert contrast(ink, "#fff") >= 4.5
        assert contrast(ink, inks["faint"]) >= 4.3


def test_markup_escapes_all_but_itself() -> None:
    inner = element("b", "<&\"'>")
    assert inner == "<b>&lt;&amp;&quot;&#x27;&gt;</b>"
    assert element("p", inner, [1, None, [2.5]], class_="a", hidden=True, title=None, data_x='"<') == (
        f'<p class="a" hidden data-x="&quot;&lt;">{inner}12.5</p>'
    )
    assert element("p", title=inner) == f'<p title="{escaped(str(inner))}"></p>'  # markup is none in an attribute
    assert escaped("a\x00b\ud800") == "a\ufffdb\ufffd"
    assert element("circle", cx=1.0, cy=2.346) == '<circle cx="1" cy="2.35"/>'


# --- tables, sizes, formats -------------------------------------------------------------------------------------


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_tables(tmp_path: Path) -> None:
    html = make(tmp_path, corpus(), tables=tmp_path / "a" / "tables")
    folder = tmp_path / "a" / "tables"
    assert {path.name for path in folder.iterdir()} == {
        "codes.csv", "documents.csv", "speakers.csv", "ways.csv", "together.csv", "strongest.csv", "close_calls.csv",
    }  # fmt: skip
    codes = {row["code"]: row for row in read_table(folder / "codes.csv")}
    assert [codes["planning_action"][key] for key in ("excerpts", "of", "least", "most")] == ["3", "24", "0", "6"]
    assert codes["critical_reflection"]["excerpts"] == "9"
    documents = read_table(folder / "documents.csv")
    assert [(row["document"], row["excerpts"], row["theme.challenges"]) for row in documents] == [
        (name, "8", "4") for name in ("anna", "ben", "group")
    ]
    assert len(read_table(folder / "speakers.csv")) == 4
    ways = read_table(folder / "ways.csv")
    assert len([row for row in ways if row["given"] == "1"]) == 3 * (8 + 4)
    together = {(row["code"], row["other_code"]): row["excerpts"] for row in read_table(folder / "together.csv")}
    assert together["self_examination", "challenges"] == "3"
    strongest = [row for row in read_table(folder / "strongest.csv") if row["code"] == "disorienting_dilemma"]
    assert [row["document"] for row in strongest] == ["anna", "ben", "group"]
    calls = read_table(folder / "close_calls.csv")
    assert {(row["code"], row["probability"]) for row in calls} == {
        ("planning_action", "0.45"),
        ("planning_action", "0.55"),
    }
    assert "--tables" not in html


@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
def test_every_format_gives_the_same_report(tmp_path: Path, ending: str) -> None:
    expected = make(tmp_path, corpus())
    result = run(save(tmp_path / f"study{ending}", corpus()), "-o", tmp_path / "r.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "r.html").read_text("utf-8") == expected.replace("study.jsonl", f"study{ending}")


def test_large_corpora_are_shown_in_part_and_counted_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (survey_module, sections_module):
        monkeypatch.setattr(module, "MAX_KEPT", 60)
    rows = [
        scored_record(
            f"words {d} {n}",
            {"stage": [STAGES[n]]},
            document=f"d{d:03}",
            speaker="P1",
            turn=1 + n * (1000 if d == 7 else 1),
        )
        for d in range(70)
        for n in range(4)
    ]
    html = make(tmp_path, rows)
    documents = section(html, "documents")
    assert len(re.findall(r">d\d\d\d<", documents)) == 2 * 40
    assert "20 further documents can be had in documents.csv, with the option --tables" in documents
    assert "Only the first 60 documents are counted apart; 40 excerpts of others are in the totals alone" in documents
    assert ("60+", "documents") in re.findall(r"<li><b>([^<]+)</b><span>([^<]+)</span>", html)
    rows_shown = {row[0]: row for row in table_rows(section(html, "amounts"))}
    assert rows_shown["Disorienting dilemma"][2] == "70"
    ways = section(html, "ways")
    assert len(re.findall(r'class="name">', ways)) == MAX_WAYS
    assert f"These are the {MAX_WAYS} with the most codings; 36 further ways can be had in ways.csv" in ways


def test_memory_does_not_grow_with_the_file() -> None:
    survey = Survey(BOOK)
    details = None
    for _ in range(2):
        for n in range(3_000):
            row = scored_record(
                f"{n} " * 400, {"stage": [STAGES[n % 10]]}, {"planning_action": 0.45}, document="d", turn=n
            )
            survey.add(row) if details is None else list(details.add(row))
        details = details or Details(survey)
    kept = [item.source.text for name in survey.codes for item in survey.strongest(*name)]
    kept += [call.source.text for call in details.close_calls()]
    assert len(kept) <= len(survey.codes) * survey_module.STRONGEST + survey_module.MAX_CLOSE
    assert max(len(text or "") for text in kept) <= survey_module.MAX_TEXT
    way = details.ways["stage"]["d", None]
    assert len(way.turns) <= survey_module.WAY_STEPS
    assert len(way.marks) <= survey_module.WAY_STEPS * 10


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_writes_and_says_so(tmp_path: Path) -> None:
    scored = save(tmp_path / "study.csv", corpus())
    out = tmp_path / "r.html"
    done = subprocess.run(
        [sys.executable, "-m", "tl_classifier", "report", str(scored), "-o", str(out), "--tables", str(tmp_path / "t")],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == ""
    assert f"Wrote {out}: 24 excerpts, 2 rows not coded." in done.stderr
    assert "--no-quotes" in done.stderr
    assert "words of turn" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"study.csv", "r.html", "t"}


def test_errors_change_nothing(tmp_path: Path) -> None:
    scored = save(tmp_path / "study.jsonl", corpus())
    out = tmp_path / "r.html"
    out.write_text("as it was")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "codes.csv").write_text("mine")
    broken = tmp_path / "broken.jsonl"
    broken.write_text(scored.read_text("utf-8") + json.dumps({"model": "m", "codes": {}, "probabilities": 3}), "utf-8")
    nothing = save(tmp_path / "nothing.jsonl", [record(Unscorable("the text is empty"), None, model="m")])
    for arguments, message in (
        ((scored, "-o", out), "exists already"),
        ((scored, "-o", tmp_path / "r.pdf"), "ends in .html"),
        ((scored, "-o", tmp_path / "none" / "r.html"), "does not exist"),
        ((scored, "-o", tmp_path / "new.html", "--tables", tmp_path / "t"), "codes.csv exists already"),
        ((broken, "-o", out, "--force"), "line 27"),
        ((nothing, "-o", out, "--force"), "no row that was coded"),
        ((tmp_path / "none.jsonl", "-o", out, "--force"), "does not exist"),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, UserError), (arguments, result.output)
        assert message in str(result.exception)
    assert out.read_text() == "as it was"
    assert (tmp_path / "t" / "codes.csv").read_text() == "mine"
    assert not list(tmp_path.rglob("*.tmp"))
    assert run(scored, "-o", out, "--force").exit_code == 0

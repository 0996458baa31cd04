"""The sections of a report, in the order of its questions; a section that has nothing to say is None."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from itertools import combinations, groupby
from typing import TypeVar

from tl_classifier.codebook import Code, Dimension
from tl_classifier.report import charts
from tl_classifier.report.markup import Content, Markup, element
from tl_classifier.report.parts import (
    HeatRow,
    Report,
    Section,
    block,
    count,
    head,
    heat_maps,
    note,
    number_cell,
    shades,
    share,
    source_line,
    words,
)
from tl_classifier.report.survey import CLOSE, MAX_KEPT, MIN_WAY_CODINGS, SHOWN_FROM, CloseCall, Strong, Tally

SHOWN_ROWS = 40
"""Documents, and speakers, in a heat map."""

SHOWN_CLOSE = 30
"""Close decisions."""

SHOWN_PAIRS = 6
"""Pairs of dimensions that are laid against each other."""

SHOWN_REASONS = 10
"""Reasons why rows were not coded."""

_CLOSE_CHARACTERS = 280

_Key = TypeVar("_Key", bound=Hashable)


def all_sections(report: Report) -> list[Section]:
    """The sections that have something to say."""
    makers: tuple[Callable[[Report], Section | None], ...] = (
        amounts,
        by_document,
        by_speaker,
        ways,
        together,
        strongest,
        close_calls,
        limits,
        codes,
    )
    return [section for make in makers if (section := make(report)) is not None]


# --- how much of what -------------------------------------------------------------------------------------------


def amounts(report: Report) -> Section:
    """How many excerpts carry each code, and which rows were not coded."""
    content: list[Content] = []
    for dimension in report.survey.used():
        question = element("p", dimension.description) if dimension.description else None
        content.append(block(element("h3", dimension.name), question, _amounts_table(report, dimension)))
    content.append(
        note(
            "Shares are of the excerpts that were coded; where an excerpt may carry several codes, they need not add "
            "up. A group is present where one of its codes is.",
            f"“Could be” is what the number would be if every close decision (a probability within {CLOSE:.2f} of the "
            "threshold) had gone one way, or the other.",
        )
    )
    if report.survey.unscored:
        content.append(block(element("h3", "What was not coded, and why"), _unscored_table(report)))
    return Section("amounts", "How much of what", content, on_new_page=False)


def _amounts_table(report: Report, dimension: Dimension) -> Markup:
    survey, details = report.survey, report.details
    rated, none = survey.rated[dimension.id], survey.none[dimension.id]
    groups = {group.id: group for group in dimension.groups}
    by_group = {group: survey.groups[dimension.id, group] for group in groups}
    largest = max(0, *by_group.values(), *(report.count(dimension, code) for code in dimension.codes))

    def row(kind: str | None, name: str, excerpts: int, could_be: str = "", documents: str = "") -> Markup:
        return element(
            "tr",
            element("th", name, scope="row", class_="name"),
            element("td", charts.bar(excerpts, of=largest) if kind != "last" else None, class_="bars"),
            number_cell(f"{excerpts:,}"),
            number_cell(share(excerpts, rated)),
            number_cell(could_be),
            number_cell(documents),
            class_=kind,
        )

    rows = []
    for group, members in groupby(dimension.codes, key=lambda code: code.group):
        if group is not None:
            rows.append(row("group", groups[group].name, by_group[group]))
        for code in members:
            excerpts, name = report.count(dimension, code), (dimension.id, code.id)
            could_be = f"{excerpts - details.close_given[name]:,}–{excerpts + details.close_not[name]:,}"
            with_it = f"{survey.documents_with(*name):,}"
            rows.append(row("member" if group is not None else None, code.name, excerpts, could_be, with_it))
    if dimension.optional:
        rows.append(row("last", "None of these", none))
    numbers = [head(name, number=True) for name in ("Excerpts", "Share", "Could be", "Documents")]
    return element(
        "div",
        element(
            "table",
            element("caption", f"Excerpts that carry each code, of {rated:,}"),
            element("thead", element("tr", head("Code"), element("td", class_="bars"), numbers)),
            element("tbody", rows),
            class_="amounts",
        ),
        class_="scroll",
    )


def _unscored_table(report: Report) -> Markup:
    reasons = report.survey.unscored.most_common()
    hidden = sum(rows for _, rows in reasons[SHOWN_REASONS:])
    shown = reasons[:SHOWN_REASONS] + ([("another reason, told in the scored file", hidden)] if hidden else [])
    return element(
        "table",
        element("caption", "Rows without codes", class_="unseen"),
        element("thead", element("tr", head("Reason"), head("Rows", number=True))),
        element(
            "tbody",
            [element("tr", element("th", reason, scope="row"), number_cell(f"{rows:,}")) for reason, rows in shown],
        ),
    )


# --- by document and by speaker ---------------------------------------------------------------------------------


def by_document(report: Report) -> Section | None:
    """Codes by document; None for a single one."""
    documents = report.survey.documents
    if len(documents) < 2:
        return None
    shown, hidden = _fullest(documents)
    rows = [(name or "(no document)", documents[name]) for name in shown]
    lede = "How many excerpts of each document carry each code. The darker, the larger their share of the document."
    content = _heat_by(report, "Document", rows, lede, with_total=True)
    if hidden:
        content.append(
            note(
                f"The {SHOWN_ROWS} documents with the most excerpts are shown.",
                report.rest(hidden, "document", "documents.csv"),
            )
        )
    if report.survey.documents.beyond:
        content.append(_uncounted(report.survey.documents.beyond, "documents"))
    return Section("documents", "Codes by document", content)


def by_speaker(report: Report) -> Section | None:
    """Codes by speaker in documents that have several; None without, since the document then says it all."""
    speakers_of: dict[str | None, int] = {}
    for document, _ in report.survey.speakers:
        speakers_of[document] = speakers_of.get(document, 0) + 1
    several = {who: tally for who, tally in report.survey.speakers.items() if speakers_of[who[0]] > 1}
    if not several:
        return None
    shown, hidden = _fullest(several)
    rows = [(charts.name_of(who) if who[1] else f"{charts.name_of(who)} · (no speaker)", several[who]) for who in shown]
    lede = (
        "Documents in which several people speak: how many of each speaker’s excerpts carry each code. The same label "
        "in two documents counts as two speakers."
    )
    content = _heat_by(report, "Speaker", rows, lede, with_total=False)
    if hidden:
        content.append(
            note(
                f"The {SHOWN_ROWS} speakers with the most excerpts are shown.",
                report.rest(hidden, "speaker", "speakers.csv"),
            )
        )
    if report.survey.speakers.beyond:
        content.append(_uncounted(report.survey.speakers.beyond, "speakers"))
    return Section("speakers", "Codes by speaker", content, on_new_page=False)


def _heat_by(report: Report, what: str, rows: list[tuple[str, Tally]], lede: str, *, with_total: bool) -> list[Content]:
    content: list[Content] = [element("p", lede), shades(f"the {what.lower()}’s excerpts")]
    total = report.survey.total
    summary = [HeatRow(f"All {what.lower()}s", total.excerpts, total.codes, summary=True)] if with_total else []
    for dimension in report.survey.used():
        heat_rows = [HeatRow(name, tally.excerpts, tally.codes) for name, tally in rows] + summary
        maps = heat_maps(report, dimension, what, heat_rows, f"{dimension.name}, by {what.lower()}")
        content.append(block(element("h3", dimension.name), maps))
    return content


def _fullest(tallies: Mapping[_Key, Tally]) -> tuple[list[_Key], int]:
    """Those with the most excerpts, in their order; and how many others there are."""
    ranked = sorted(tallies, key=lambda key: -tallies[key].excerpts)
    chosen = set(ranked[:SHOWN_ROWS])
    return [key for key in tallies if key in chosen], len(ranked) - len(chosen)


def _uncounted(excerpts: int, what: str) -> Markup:
    return note(
        f"Only the first {MAX_KEPT:,} {what} are counted apart; {count(excerpts, 'excerpt')} of others "
        f"{'is' if excerpts == 1 else 'are'} in the totals alone."
    )


# --- ways -------------------------------------------------------------------------------------------------------


def ways(report: Report) -> Section | None:
    """Ways through the codes of each dimension, along the turns of a transcript."""
    content: list[Content] = []
    for dimension in report.survey.used():
        found = list(report.details.ways[dimension.id].values())
        if not found:
            continue
        hidden = len(report.survey.ways_possible(dimension)) - len(found)
        remarks = [f"Drawn are speakers with {MIN_WAY_CODINGS} codings or more in a document whose turns are numbered."]
        if hidden:
            remarks.append(
                f"These are the {len(found)} with the most codings; " + report.rest(hidden, "way", "ways.csv")
            )
        content += [
            element("h3", dimension.name),
            element("figure", charts.ways(dimension, found, f"ways-{dimension.id}")),
            note(*remarks),
        ]
    if not content:
        return None
    lede = element(
        "p",
        "Each panel is one speaker in one transcript, from the transcript’s first turn on the left to its last on the "
        "right. A mark is a code in a turn; the larger, the more probable. Codes that were not given are seen from a "
        f"probability of {SHOWN_FROM:.2f} on. Colours are the groups of the codebook, as are the bands behind.",
    )
    return Section("ways", "Ways through the transcripts", [lede, charts.key(), *content])


# --- codes of one dimension against those of another ------------------------------------------------------------


def together(report: Report) -> Section | None:
    """Which codes of two dimensions are found in the same excerpts; None for a single dimension."""
    pairs = list(combinations(report.survey.used(), 2))
    if not pairs:
        return None
    content: list[Content] = [
        element(
            "p",
            "Excerpts that carry both codes, and their share of the excerpts in the row. Compare a row with the last "
            "one: a share above it says that the two are found together more often than elsewhere.",
        ),
        shades("the excerpts in the row"),
    ]
    for first, second in pairs[:SHOWN_PAIRS]:
        # The longer one makes the rows, so that the table stays narrow.
        rows_of, columns_of = (first, second) if len(first.codes) >= len(second.codes) else (second, first)
        rows = [
            HeatRow(code.name, report.count(rows_of, code), _beside(report, rows_of, code)) for code in rows_of.codes
        ]
        total = report.survey.total
        rows.append(HeatRow("All excerpts", total.excerpts, total.codes, summary=True))
        caption = f"{rows_of.name} (rows) and {columns_of.name.lower()} (columns) in the same excerpt"
        maps = heat_maps(report, columns_of, "Code", rows, caption, with_shares=True)
        content.append(block(element("h3", f"{rows_of.name} against {columns_of.name.lower()}"), maps))
    if pairs[SHOWN_PAIRS:]:
        content.append(note(report.rest(len(pairs) - SHOWN_PAIRS, "pair", "together.csv")))
    return Section("together", "Codes found together", content, on_new_page=False)


def _beside(report: Report, dimension: Dimension, code: Code) -> list[int]:
    return [int(n) for n in report.survey.together[report.place(dimension, code)]]


# --- excerpts ---------------------------------------------------------------------------------------------------


def strongest(report: Report) -> Section | None:
    """The likeliest excerpts of each code."""
    content: list[Content] = [
        element(
            "p",
            "For each code, the excerpts that carry it with the highest probability: good examples to begin reading "
            "with, and the first place to see whether the model means by a code what you mean. Where the file names "
            "the evidence, the passage without which the model would be least sure is marked.",
        ),
        _without_words(report),
    ]
    for dimension in report.survey.used():
        content.append(element("h3", dimension.name))
        for code in dimension.codes:
            found = report.survey.strongest(dimension.id, code.id)
            content.append(element("h4", code.name))
            content.append(
                element("ul", [_quote(item, report) for item in found], class_="quotes")
                if found
                else element("p", "No excerpt carries this code.", class_="quiet")
            )
    return Section("strongest", "The strongest excerpts of each code", content)


def _quote(item: Strong, report: Report) -> Markup:
    return element(
        "li",
        element("div", element("b", f"{item.probability:.2f}"), source_line(item.source), class_="source"),
        words(item.source, marked=item.evidence) if report.shows_words and item.source.text else None,
    )


def _without_words(report: Report) -> Markup | None:
    """Why there are no words, where there are none."""
    if report.shows_words:
        return None
    reason = "this report was made without quotations" if report.survey.has_text else "the scored file has no texts"
    return element(
        "p", f"The words themselves are not shown, since {reason}. Find them by document and turn.", class_="note"
    )


def close_calls(report: Report) -> Section | None:
    """The decisions that could have gone the other way."""
    calls = report.details.close_calls()
    if not calls:
        return None
    names = {(d.id, code.id): code.name for d in report.codebook.dimensions for code in d.codes}
    total = sum((report.details.close_given + report.details.close_not).values())
    exclusive = ""
    if any(dimension.exclusive for dimension in report.survey.used()):
        exclusive = (
            " Where an excerpt carries one code at most, the threshold is the probability of the next likeliest."
        )
    heads = [head("Code"), head("Given"), head("Probability", number=True), head("Threshold", number=True)]
    table = element(
        "table",
        element("caption", f"The {min(SHOWN_CLOSE, len(calls))} closest decisions, the closest first"),
        element("thead", element("tr", heads, head("Excerpt"))),
        element("tbody", [_call_row(report, call, names) for call in calls[:SHOWN_CLOSE]]),
        class_="closeness wide",
    )
    content: list[Content] = [
        element(
            "p",
            f"{count(total, 'decision')} {'was' if total == 1 else 'were'} close: a probability within {CLOSE:.2f} of "
            "the threshold from which on a code is given. These deserve your eyes first, for here a reader’s judgement "
            f"changes most. The thresholds are read off this file, and so are approximate.{exclusive}",
        ),
        _without_words(report),
        element("div", table, class_="scroll"),
    ]
    if calls[SHOWN_CLOSE:]:
        content.append(note(report.rest(len(calls) - SHOWN_CLOSE, "close decision", "close_calls.csv")))
    return Section("close", "What is uncertain", content)


def _call_row(report: Report, call: CloseCall, names: Mapping[tuple[str, str], str]) -> Markup:
    rival = None
    if call.rival is not None:
        other = names.get((call.dimension, call.rival), "none of the codes")
        rival = element("div", f"or: {other}", class_="quiet")
    shown = words(call.source, _CLOSE_CHARACTERS) if report.shows_words and call.source.text else None
    return element(
        "tr",
        element("th", names[call.dimension, call.code], rival, scope="row"),
        element("td", "yes" if call.given else "no"),
        number_cell(f"{call.probability:.2f}"),
        number_cell(f"{call.against:.2f}"),
        element("td", element("div", source_line(call.source), class_="quiet"), shown),
    )


# --- what it is, and is not -------------------------------------------------------------------------------------


def limits(report: Report) -> Section:
    """What a reader must not take the report for."""
    sentences = (
        "The model is a coder among coders. It is not the truth about these transcripts, and like any coder it has to "
        "be checked: code a part of them yourself and compare (tl-classifier agreement).",
        "It reads one excerpt at a time, without the question before it, and knows nothing of the speaker. Irony, "
        "reported speech and what is meant but not said mislead it.",
        "A code says what an excerpt expresses, not where or who a person is; and how often something is said is not "
        "how much it matters. Numbers help to find where to read. They do not replace the reading.",
        "Probabilities are calibrated on the material that the model was tested on. On talk of another kind they may "
        "be too high or too low throughout.",
    )
    content = [element("p", sentence) for sentence in sentences]
    return Section("limits", "What this report can say, and what not", content, on_new_page=False)


def codes(report: Report) -> Section:
    """The codes with their definitions."""
    content: list[Content] = [
        element("p", f"{report.codebook.title} ({report.codebook.name} {report.codebook.version}).")
    ]
    for dimension in report.survey.used():
        rows = [
            element("tr", element("th", code.name, scope="row"), element("td", code.definition or "–"))
            for code in dimension.codes
        ]
        content += [
            element("h3", dimension.name),
            element(
                "table",
                element("caption", f"Codes of “{dimension.name}”", class_="unseen"),
                element("thead", element("tr", head("Code"), head("Definition"))),
                element("tbody", rows),
                class_="definitions wide",
            ),
            note(dimension.note) if dimension.note else None,
        ]
    if report.codebook.sources:
        content.append(element("h3", "Sources"))
        content += [element("p", source, class_="quiet") for source in report.codebook.sources]
    return Section("codes", "The codes", content, on_new_page=False)

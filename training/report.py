"""Figures for people: tables in the terminal and in Markdown, from one list of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.evaluation import MODEL, REVIEW_PRECISION, TFIDF, Metrics
from training.metrics import Accepted, Bin, Interval
from training.rationales import RationaleMetrics

Row = Sequence[str]

OVERVIEW_HEADER: Row = (
    "dimension",
    "system",
    "macro-F1 [95%]",
    "micro-F1 [95%]",
    "calibration error",
    "coded where none",
    "exact match",
)
CODE_HEADER: Row = ("code", "support", "precision", "recall", "F1 [95%]", "average precision", "kappa")
ACCEPTED_HEADER: Row = ("code", "support", "accepted", "precision", "coverage")
EVIDENCE_HEADER: Row = ("the probability falls", "passage that is named", "another passage")


def overview_rows(systems: Mapping[str, Metrics]) -> list[Row]:
    """One row a dimension and system: the figures over all codes."""
    dimensions = next(iter(systems.values())) if systems else {}
    return [
        (
            dimension,
            name,
            _interval(m[dimension].macro_f1),
            _interval(m[dimension].micro_f1),
            f"{m[dimension].calibration_error:.3f}",
            _number(m[dimension].none_rate),
            _number(m[dimension].accuracy),
        )
        for dimension in dimensions
        for name, m in systems.items()
    ]


def code_rows(metrics: Metrics, dimension: str) -> list[Row]:
    """One row a code."""
    return [
        (
            m.code,
            str(m.support),
            _number(m.precision),
            _number(m.recall),
            _interval(m.f1),
            _number(m.average_precision),
            _number(m.kappa),
        )
        for m in metrics[dimension].codes
    ]


def parts_header(parts: Mapping[str, Mapping[str, Metrics]], *, intervals: bool = True) -> Row:
    """The header of `parts_rows`."""
    figures = ("macro-F1 [95%]" if intervals else "macro-F1", "micro-F1")
    words = tuple(f"{figure}, cue words" for figure in ("macro-F1", "micro-F1")) if _with_cue_words(parts) else ()
    shares = ("coded where none", "given a code", "carry one")
    return ("part", "dimension", "excerpts", *figures, *words, "calibration error", *shares)


def parts_rows(parts: Mapping[str, Mapping[str, Metrics]], *, intervals: bool = True) -> list[Row]:
    """One row a part of the documents and dimension: the model, and cue words (TF-IDF) where they were tried, too.

    Args:
        parts: Name of the part to system to figures.
        intervals: Show those of macro-F1.
    """
    rows: list[Row] = []
    for name, systems in parts.items():
        for dimension, m in systems[MODEL].items():
            words = systems[TFIDF][dimension] if _with_cue_words(parts) else None
            rows.append(
                (
                    name.partition(", ")[2],
                    dimension,
                    f"{m.excerpts:,}",
                    _interval(m.macro_f1) if intervals else _number(m.macro_f1.value),
                    _number(m.micro_f1.value),
                    *((_number(words.macro_f1.value), _number(words.micro_f1.value)) if words is not None else ()),
                    f"{m.calibration_error:.3f}",
                    _number(m.none_rate),
                    _number(m.given_rate),
                    _number(m.carrying_rate),
                )
            )
    return rows


def _with_cue_words(parts: Mapping[str, Mapping[str, Metrics]]) -> bool:
    return all(TFIDF in systems for systems in parts.values())


def accepted_rows(metrics: Metrics, dimension: str) -> list[Row]:
    """One row a code, and one for all: what the review policy accepts; nothing where no precision was asked for."""
    m = metrics[dimension]
    if m.accepted is None:
        return []
    found = [(code.code, code.accepted) for code in m.codes if code.accepted is not None]
    return [_accepted(name, one) for name, one in (*found, ("all codes", m.accepted))]


def _accepted(name: str, one: Accepted) -> Row:
    return (name, str(one.support), str(one.accepted), _number(one.precision), _number(one.coverage))


def accepted_title(dimension: str) -> str:
    """What stands above `accepted_rows`."""
    return f"{dimension}, accepted unseen at --precision {REVIEW_PRECISION:g}"


def reliability_header(metrics: Metrics) -> Row:
    """The header of `reliability_rows`."""
    figures = ("decisions", "predicted", "observed", "observed (█), predicted (¦)")
    return ("probability", *(f"`{dimension}`: {figure}" for dimension in metrics for figure in figures))


def reliability_rows(metrics: Metrics) -> list[Row]:
    """One row a bin of probabilities: a reliability diagram in letters."""
    dimensions = list(metrics.values())
    bins = len(dimensions[0].reliability)
    return [
        (f"{i / bins:.1f} to {(i + 1) / bins:.1f}", *(cell for m in dimensions for cell in _bin(m.reliability[i])))
        for i in range(bins)
    ]


def _bin(one: Bin, width: int = 20) -> Row:
    if not one.decisions:
        return ("0", "-", "-", "")
    bar = list("█" * round(one.observed * width) + "·" * (width - round(one.observed * width)))
    bar.insert(round(one.predicted * width), "¦")
    return (f"{one.decisions:,}", _number(one.predicted), _number(one.observed), f"`{''.join(bar)}`")


def evidence_rows(found: RationaleMetrics) -> list[Row]:
    """Figures of evidence: of the passage that is named and of another one, drawn at random."""
    return [
        (
            "without it (comprehensiveness), by",
            _number(found.comprehensiveness),
            _number(found.comprehensiveness_of_others),
        ),
        (
            "if there is nothing else (sufficiency), by",
            _number(found.sufficiency),
            _number(found.sufficiency_of_others),
        ),
    ]


def evidence_summary(found: RationaleMetrics) -> str:
    """The shares of cases in which the passage that is named beats another one, in a sentence."""
    return (
        f"In {found.beats_others:.1%} of {found.cases:,} cases leaving out the passage that is named lowers the "
        "probability more than leaving out the other (by this passages are chosen); in "
        f"{found.alone_beats_others:.1%} the passage alone has the higher probability (they are not chosen by this)."
    )


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def print_metrics(
    title: str,
    systems: Mapping[str, Metrics],
    parts: Mapping[str, Mapping[str, Metrics]],
    evidence: RationaleMetrics | None = None,
) -> None:
    """Print on standard output: all systems, the parts of the documents, the model's codes, and its evidence."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = 140
    own = systems[MODEL]
    some = next(iter(own.values()))
    console.print(f"[bold]{title}[/bold]: {some.excerpts} excerpts in {some.documents} documents")
    tables = [("", 2, OVERVIEW_HEADER, overview_rows(systems))]
    if parts:
        # Without intervals, which are in the card and in the JSON: they would not fit on a line.
        tables.append(("parts", 2, parts_header(parts, intervals=False), parts_rows(parts, intervals=False)))
    for dimension in own:
        tables.append((f"{dimension}, code by code", 1, CODE_HEADER, code_rows(own, dimension)))
        if accepted := accepted_rows(own, dimension):
            tables.append((accepted_title(dimension), 1, ACCEPTED_HEADER, accepted))
    if evidence is not None:
        tables.append(("evidence", 1, EVIDENCE_HEADER, evidence_rows(evidence)))
    for name, words, header, rows in tables:
        table = Table(*header, title=name or None, title_justify="left")
        if name == "parts":
            table.columns[0].min_width = 22  # their names are long, and have the most to gain from room
        for column in table.columns[words:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if evidence is not None:
        console.print(evidence_summary(evidence))


def _interval(figure: Interval) -> str:
    value = _number(figure.value)
    return value if figure.low is None else f"{value} [{figure.low:.3f}, {figure.high:.3f}]"


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"  # NaN: the figure does not exist

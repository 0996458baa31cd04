"""Figures for people: tables in the terminal and in Markdown, from one list of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.evaluation import Metrics
from training.metrics import Interval

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


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def print_metrics(title: str, systems: Mapping[str, Metrics]) -> None:
    """Print the overview of all systems and the codes of the first one on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = 140
    first = next(iter(systems.values()))
    some = next(iter(first.values()))
    console.print(f"[bold]{title}[/bold]: {some.excerpts} excerpts in {some.documents} documents")
    parts = [("", OVERVIEW_HEADER, overview_rows(systems))]
    parts += [(f"{dimension}, code by code", CODE_HEADER, code_rows(first, dimension)) for dimension in first]
    for name, header, rows in parts:
        table = Table(*header, title=name or None, title_justify="left")
        for column in table.columns[1:] if name else table.columns[2:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _interval(figure: Interval) -> str:
    value = _number(figure.value)
    return value if figure.low is None else f"{value} [{figure.low:.3f}, {figure.high:.3f}]"


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"  # NaN: the figure does not exist

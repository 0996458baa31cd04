"""``tl-classifier models``: which models there are, which is the champion, and how two of them compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tl_classifier.commands.codebooks import CodeMap
from tl_classifier.commands.extras import needs_training
from tl_classifier.registry import Entry, Registry, resolve, shipped

if TYPE_CHECKING:
    from rich.console import Console

commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, compare and promote models. The champion is the one that is used where none is named.",
)

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A model of the list (name@version, or name for its newest), 'default', or a folder."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the command ``models`` to `app`."""
    app.add_typer(commands, name="models")


@commands.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models: when each was made, from what, how good it is, and which is the champion."""
    registry = Registry()
    champion = registry.current()
    entries = [shipped(), *registry.entries()]
    if as_json:
        plain = {
            "folder": str(registry.folder),
            "champion": champion or shipped().id,
            "models": [entry.to_dict() for entry in entries],
            "history": [event.to_dict() for event in registry.history()],
        }
        typer.echo(json.dumps(plain, ensure_ascii=False, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "made", "from", "trained on", "macro-F1, on its own held-out documents", "")
    for entry in entries:
        table.add_row(
            Text(entry.id),
            entry.created[:10],
            Text(entry.parent or entry.base or ""),
            f"{entry.data['train']:,} excerpts" if isinstance(entry.data.get("train"), int) else "",
            Text("\n".join(_figures(entry)) if entry.problem is None else "damaged"),
            "champion" if (entry.id == champion if champion else entry.shipped) else "",
        )
    console = _console()
    console.print(table)
    for entry in entries:
        if entry.problem is not None:
            console.print(Text(f"Damaged: {entry.problem}"))
    console.print(Text(f"The models are in {registry.folder}; the first one ships with the program."))


@commands.command()
def show(model: Model = "champion", as_json: AsJson = False) -> None:
    """Show a model: where it comes from, how good it is, when it was champion. [default: the champion]"""
    registry = Registry()
    current = registry.current()
    entry = registry.get(current or "default") if model == "champion" else _entry(registry, model)
    events = [event for event in registry.history() if event.model == (None if entry.shipped else entry.id)]
    if as_json:
        plain = {**entry.to_dict(), "metrics": entry.metrics, "events": [event.to_dict() for event in events]}
        typer.echo(json.dumps(plain, ensure_ascii=False, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    held_out = entry.data.get("held_out")
    rows = {
        "Model": entry.id + (" (the champion)" if (None if entry.shipped else entry.id) == current else ""),
        "Made": entry.created,
        "Base": entry.base,
        "Parent": entry.parent or "none: trained from the base alone",
        "Data": entry.data.get("description"),
        "Excerpts": "; ".join(
            f"{count:,} {use}"
            for use, count in (
                ("to train on", entry.data.get("train")),
                ("to validate", entry.data.get("validation")),
                *((f"in '{part}'", n) for part, n in (held_out if isinstance(held_out, dict) else {}).items()),
            )
            if isinstance(count, int)
        ),
        "Fingerprint": entry.data.get("fingerprint"),
        "Macro-F1": "\n".join(_figures(entry)),
        "Champion": "\n".join(" ".join(filter(None, (event.at, event.what, event.why))) for event in events),
        "Folder": entry.path,
        "Problem": entry.problem,
    }
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="bold"), Text(str(value)))
    _console().print(table)


@commands.command()
def compare(
    challenger: Model,
    champion: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="What it is compared with, named likewise. [the champion]")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODED",
            help="Coded data that neither was trained on, or corpus:test and the like; may be given again. "
            "[default: corpus:test]",
        ),
    ] = None,
    code_map: CodeMap = None,
    as_json: AsJson = False,
) -> None:
    """Compare two models on the same coded documents, overall and code by code.

    Each difference has a 95% interval of a paired bootstrap over documents: both models are asked about the same drawn
    documents, so that what makes documents easy or hard cancels out.
    """
    with needs_training("models compare"):
        from training.challenge import challenge, print_comparison
        from training.data import read_parts
    from tl_classifier.classifier import Classifier

    registry = Registry()
    new, old = (Classifier.load(resolve(model, registry)) for model in (challenger, champion))
    comparisons = challenge(old, new, read_parts(data or ["corpus:test"], new.codebook, code_map))
    if as_json:
        plain: dict[str, Any] = {
            "challenger": new.model,
            "champion": old.model,
            "comparisons": {found.part: found.to_dict() for found in comparisons},
        }
        typer.echo(json.dumps(plain, indent=2))
        return
    for found in comparisons:
        print_comparison(found, champion=old.model, challenger=new.model)


@commands.command()
def promote(model: Model) -> None:
    """Make a model the champion. A bundle that is not in the list, named by its folder, is copied there first."""
    registry = Registry()
    entry = registry.promote(_entry(registry, model, add=True).id, why="Promoted by hand.")
    typer.echo(f"The champion is {_named(entry)}.")


@commands.command()
def rollback() -> None:
    """Make the one before it the champion again."""
    typer.echo(f"The champion is {_named(Registry().rollback())} again.")


def _entry(registry: Registry, model: str, *, add: bool = False) -> Entry:
    """The model that is meant; one that is named by a folder is added if it is wanted, and must be there else."""
    if not Path(model).is_dir():
        return registry.get(model)
    if add:
        return registry.add(model)
    from tl_classifier.registry import read_entry

    return read_entry(Path(model))


def _named(entry: Entry) -> str:
    return f"{entry.id}, which ships with the program" if entry.shipped else entry.id


def _figures(entry: Entry) -> list[str]:
    """A line for each of the held-out parts."""
    return [
        f"{part}: " + ", ".join(f"{dimension} {value:.3f}" for dimension, value in figures.items())
        for part, figures in entry.macro_f1().items()
    ]


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140
    return console

"""`python -m training.tried BUNDLE`: the models that were tried, for the table in the card of the one that ships.

They stand in a YAML file, one entry each, in the order in which they were tried; the command prints the entry of a
bundle, with its figures and its speed on this machine, to be appended there:

    - run: h
      model: all-MiniLM-L6-v2, taught by g
      command: tl-classifier train --with-corpus --real cered=PATH
      megabytes: 46.5
      per_second: 140
      figures:
        test: [0.887, 0.741]

A figure is one number, or several with a slash between them in the table (stages and themes); what was not measured is
left out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tl_classifier.bundle import Bundle
from tl_classifier.classifier import Classifier
from tl_classifier.errors import InputError, UserError
from training.data import load_corpus
from training.evaluation import MODEL
from training.slices import ORDINARY

_KEYS = {"run", "model", "command", "megabytes", "per_second", "figures"}
_MICRO = ("real-validation", "ordinary")
"""Figures on these documents are micro-F1: several codes have a handful of positives there, or none."""
_NONE = "coded where none"


@dataclass(frozen=True)
class Tried:
    """A model that was tried.

    Attributes:
        run: Its name in the log of experiments.
        model: What it is.
        command: What made it.
        megabytes: Size of its bundle; None where it was not measured.
        per_second: Excerpts of the `test` documents that it codes a second, with their questions; None where that was
            not measured.
        figures: Name of the figures to one number or several.
    """

    run: str
    model: str
    command: str
    megabytes: float | None
    per_second: float | None
    figures: Mapping[str, tuple[float, ...]]


def read_tried(path: Path) -> list[Tried]:
    """Read the file.

    Raises:
        InputError: if it is not such a file.
    """
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the models that were tried cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: this is not YAML in UTF-8; write it as training/tried.py says.") from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: a list of models is needed; write it as training/tried.py says.")
    return [_read(entry, f"{path}, model {number}") for number, entry in enumerate(entries, start=1)]


def _read(entry: Any, place: str) -> Tried:
    if not isinstance(entry, dict) or not {"run", "model", "command"} <= set(entry) or not set(entry) <= _KEYS:
        raise InputError(f"{place}: it needs run, model and command, and may have megabytes, per_second and figures.")
    figures = {}
    for name, value in (entry.get("figures") or {}).items():
        numbers = value if isinstance(value, list) else [value]
        if not numbers or not all(isinstance(number, int | float) for number in numbers):
            raise InputError(f"{place}: the figures of '{name}' are a number or a list of numbers.")
        figures[str(name)] = tuple(map(float, numbers))
    sizes = [entry.get("megabytes"), entry.get("per_second")]
    if not all(size is None or isinstance(size, int | float) for size in sizes):
        raise InputError(f"{place}: megabytes and per_second are numbers.")
    return Tried(str(entry["run"]), str(entry["model"]), str(entry["command"]), sizes[0], sizes[1], figures)


def tried_table(tried: Sequence[Tried]) -> str:
    """One table in Markdown, a row a model; ``-`` for what was not measured."""
    names = list(dict.fromkeys(name for one in tried for name in one.figures))
    header = ["run", "model", "MB", "excerpts a second", *names, "made by"]
    rows = [
        [
            one.run,
            one.model,
            "-" if one.megabytes is None else f"{one.megabytes:g}",
            "-" if one.per_second is None else f"{one.per_second:g}",
            *(" / ".join(f"{n:.3f}" for n in one.figures[name]) if name in one.figures else "-" for name in names),
            f"`{one.command}`" if one.command != "-" else "-",
        ]
        for one in tried
    ]
    about = (
        "In the order in which they were tried. Figures are for stages / themes: macro-F1, and micro-F1 on "
        f"{' and '.join(f'`{name}`' for name in _MICRO)}, where some codes have no positives; - where it was not "
        "measured.\n"
    )
    lines = [header, ["---", "---", "---:", "---:", *("---:" for _ in names), "---"], *rows]
    return (
        about
        + "\n"
        + "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)
        + "\n"
    )


def figures_of(manifest: Mapping[str, Any], system: str = MODEL) -> dict[str, list[float]]:
    """The figures that a bundle's manifest has of a system, by the names that the table gives them."""
    figures: dict[str, list[float]] = {}
    for name, systems in manifest["metrics"].items():
        dimensions = systems.get(system)
        if dimensions is None:
            continue
        average = "micro_f1" if name.startswith(_MICRO) else "macro_f1"
        figures[name] = [round(m[average]["value"], 3) for m in dimensions.values() if m[average]["value"] is not None]
        if name == "real-validation" or name.endswith(f", {ORDINARY}"):
            figures[f"{name}: {_NONE}"] = [round(m["none_rate"], 3) for m in dimensions.values()]
    if system == MODEL and (difficult := manifest.get("difficult")):
        excerpts = sum(outcome["excerpts"] for outcome in difficult.values())
        figures["difficult excerpts: all codes right"] = [
            round(sum(outcome["right"]["all"] for outcome in difficult.values()) / excerpts, 3)
        ]
    return figures


def _per_second(bundle: Path) -> float:
    classifier = Classifier.load(bundle)
    excerpts = [one.excerpt for one in load_corpus("test", classifier.codebook)]
    classifier.predict(excerpts[::20])  # the first ones wait for the graph to be compiled
    started = time.perf_counter()
    classifier.predict(excerpts)
    return len(excerpts) / (time.perf_counter() - started)


def main() -> None:
    """Print the entry of a bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m training.tried", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--run", required=True, help="Its name in the log of experiments.")
    parser.add_argument("--model", required=True, help="What it is.")
    parser.add_argument("--made-by", required=True, help="The command that made it.")
    parser.add_argument("--system", default=MODEL, help="Name of a baseline, for its entry from the same bundle.")
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    entry: dict[str, Any] = {"run": given.run, "model": given.model, "command": given.made_by}
    if given.system == MODEL:
        size = sum((bundle.path / name).stat().st_size for name in bundle.manifest["files"])
        entry |= {"megabytes": round(size / 1e6, 1), "per_second": round(_per_second(given.bundle))}
    entry["figures"] = figures_of(bundle.manifest, given.system)
    yaml.safe_dump([entry], sys.stdout, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")

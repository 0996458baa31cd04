"""`tl-classifier classify TEXT`: one excerpt's codes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tl_classifier.codebook import Codebook
    from tl_classifier.excerpts import Prediction


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("classify")(classify)


def classify(
    text: Annotated[str, typer.Argument(help="The excerpt; - reads it from standard input.")],
    context: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it answers: the interviewer's words just before it.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or name of the model to code with. [default: the champion]")
    ] = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Say in the JSON, too, which passage carries each code.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Code one excerpt and print its codes with their probabilities, and the passage that carries each."""
    from tl_classifier.classifier import Classifier
    from tl_classifier.errors import InputError
    from tl_classifier.excerpts import Excerpt, record
    from tl_classifier.preprocessing import is_blank
    from tl_classifier.registry import resolve

    if text == "-":
        text = sys.stdin.read()
    if is_blank(text):
        raise InputError("The excerpt has no words; give the words of one speaker's turn.")
    classifier = Classifier.load(resolve(model))
    excerpt = Excerpt(text, context=context)
    prediction = classifier.predict([excerpt], evidence=evidence or not as_json)[0]
    if as_json:
        typer.echo(json.dumps(record(excerpt, prediction, model=classifier.model), ensure_ascii=False, indent=2))
    else:
        _print(text, prediction, classifier.codebook)


def _print(text: str, prediction: Prediction, codebook: Codebook) -> None:
    """The codes given, and the likeliest that were not, so that a near miss is seen."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("dimension", "code", "probability", "given", "in these words")
    table.columns[2].justify = "right"
    named = prediction.evidence or {}
    for dimension in codebook.dimensions:
        given = prediction.codes[dimension.id]
        probabilities = prediction.probabilities[dimension.id]
        others = sorted(set(probabilities) - set(given), key=lambda code: -probabilities[code])
        for code in given:
            words = " ".join(text[slice(*named[dimension.id][code])].split())
            table.add_row(dimension.id, code, f"{probabilities[code]:.2f}", "yes", Text(words))
        if not given:
            table.add_row(dimension.id, "(none)", "", "")
        for code in [code for code in others if probabilities[code] >= 0.1][:2]:
            table.add_row(dimension.id, code, f"{probabilities[code]:.2f}", "no")
    Console().print(table)
    typer.echo(f"model: {prediction.model}", err=True)

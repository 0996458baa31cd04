"""`tl-classifier evaluate DATA`: how far a model agrees with coded data."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tl_classifier.commands.codebooks import CodeMap
from tl_classifier.commands.extras import needs_training


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("evaluate")(evaluate)


def evaluate(
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Coded data (.csv .tsv .xlsx .parquet .jsonl), or corpus:test and the like."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or name of the model to evaluate. [default: the champion]")
    ] = None,
    code_map: CodeMap = None,
    baselines: Annotated[
        bool, typer.Option(help="Put simple baselines beside it, trained on the shipped corpus.")
    ] = False,
    real: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="Evaluate on the held-out third of real texts that are coded but not shipped, too: "
            "cered=PATH/train.tsv; the baselines are trained on the rest of them as well.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare a model's codings with a coder's, code by code: support, precision, recall, F1, average precision, kappa.

    corpus:train, corpus:validation, corpus:test and corpus:unseen are the parts of the shipped corpus.
    """
    with needs_training("evaluate"):
        from training.cards import MODEL
        from training.data import load_corpus, read_parts
        from training.evaluation import baselines as fit_baselines
        from training.evaluation import beside
        from training.evaluation import evaluate as figures
        from training.real import REAL_VALIDATION, read_real, weighed
        from training.report import print_metrics
    from tl_classifier.classifier import Classifier
    from tl_classifier.registry import resolve

    classifier = Classifier.load(resolve(model))
    codebook = classifier.codebook
    parts = read_parts(data or [], codebook, code_map)
    texts = [read_real(specification, codebook) for specification in real or ()]
    if texts:
        parts[REAL_VALIDATION] = [one for some in texts for one in some.validation]
    if not parts:
        raise typer.BadParameter("name coded data, a part of the corpus, or --real.", param_hint="DATA")
    fitted = {}
    if baselines:
        validation, weights = weighed(load_corpus("validation", codebook), [some.validation for some in texts])
        train = load_corpus("train", codebook) + [one for some in texts for one in some.train]
        fitted = fit_baselines(train, validation, codebook, weights=weights)
    results = {
        name: {MODEL: figures(classifier, coded), **systems}
        for name, (coded, systems) in beside(fitted, parts, codebook).items()
    }
    if as_json:
        plain = {
            name: {system: {d: m.to_dict() for d, m in metrics.items()} for system, metrics in systems.items()}
            for name, systems in results.items()
        }
        typer.echo(json.dumps({"model": classifier.model, "metrics": plain}, indent=2))
        return
    for name, systems in results.items():
        print_metrics(f"{classifier.model} on {name}", systems)

"""`tl-classifier evaluate DATA`: how far a model agrees with coded data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tl_classifier.commands.codebooks import CodeMap
from tl_classifier.commands.extras import needs_training


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("evaluate")(evaluate)


def evaluate(
    data: Annotated[
        list[str],
        typer.Argument(help="Coded data (.csv .tsv .xlsx .parquet .jsonl), or corpus:test and the like."),
    ],
    model: Annotated[Path | None, typer.Option(help="Bundle to evaluate; the shipped one if left out.")] = None,
    code_map: CodeMap = None,
    baselines: Annotated[
        bool, typer.Option(help="Put simple baselines beside it, trained on the shipped corpus.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare a model's codings with a coder's, code by code: support, precision, recall, F1, average precision, kappa.

    corpus:train, corpus:validation, corpus:test and corpus:unseen are the parts of the shipped corpus.
    """
    with needs_training("evaluate"):
        from training.cards import MODEL
        from training.data import load_corpus, read_parts
        from training.evaluation import baselines as fit_baselines
        from training.evaluation import evaluate as figures
        from training.evaluation import evaluate_baseline
        from training.report import print_metrics
    from tl_classifier.classifier import Classifier

    classifier = Classifier.load(model)
    codebook = classifier.codebook
    parts = read_parts(data, codebook, code_map)
    fitted = {}
    if baselines:
        fitted = fit_baselines(load_corpus("train", codebook), load_corpus("validation", codebook), codebook)
    results = {
        name: {
            MODEL: figures(classifier, coded),
            **{key: evaluate_baseline(baseline, coded, codebook) for key, baseline in fitted.items()},
        }
        for name, coded in parts.items()
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

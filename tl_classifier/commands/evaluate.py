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
    evidence: Annotated[
        bool,
        typer.Option(
            help="Measure the evidence that the model names, too: how far probabilities fall without that sentence, "
            "and with nothing else. Takes several times as long."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare a model's codings with a coder's, code by code: support, precision, recall, F1, average precision, kappa.

    corpus:train, corpus:validation, corpus:test and corpus:unseen are the parts of the shipped corpus.
    """
    with needs_training("evaluate"):
        from training.data import load_corpus, read_parts
        from training.evaluation import baselines as fit_baselines
        from training.evaluation import beside, is_part, whole, with_model
        from training.rationales import rationale_metrics
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
    compared = beside(fitted, parts, codebook)
    results = with_model(classifier, compared)
    wholes = [name for name in results if not is_part(name)]
    found = {}
    if evidence:
        found = {name: rationale_metrics(classifier, [one.excerpt for one in compared[name][0]]) for name in wholes}
    if as_json:
        plain: dict[str, object] = {"model": classifier.model}
        plain["metrics"] = {
            name: {system: {d: m.to_dict() for d, m in metrics.items()} for system, metrics in systems.items()}
            for name, systems in results.items()
        }
        if evidence:
            plain["evidence"] = {name: one.to_dict() if one is not None else None for name, one in found.items()}
        typer.echo(json.dumps(plain, indent=2))
        return
    for name in wholes:
        of_name = {part: systems for part, systems in results.items() if is_part(part) and whole(part) == name}
        print_metrics(f"{classifier.model} on {name}", results[name], of_name, found.get(name))
        if evidence and found[name] is None:
            typer.echo("There is no evidence to measure: no code was given to an excerpt with several passages.")

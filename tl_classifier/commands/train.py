"""`tl-classifier train CODED_DATA...`: coded data to a bundle."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from tl_classifier.commands.codebooks import CodeMap, load_codebook
from tl_classifier.commands.extras import needs_training


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("train")(train)


def train(
    data: Annotated[
        list[Path] | None, typer.Argument(help="Coded data: .csv .tsv .xlsx .parquet .jsonl files or folders.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle to write.")] = Path("model"),
    codebook: Annotated[Path | None, typer.Option(help="Codebook (.yaml); the shipped one if left out.")] = None,
    method: Annotated[
        str,
        typer.Option(
            help="auto (by how much data there is), heads, few-shot, adapters (refine a model) or full (train anew)."
        ),
    ] = "auto",
    preset: Annotated[
        str | None,
        typer.Option(help="Train anew: small (quick to train), distilled (as small, codes better) or accurate (slow)."),
    ] = None,
    code_map: CodeMap = None,
    base: Annotated[
        str | None,
        typer.Option(help="Encoder to start from: a folder, a name on a hub, or 'default' for the shipped model's."),
    ] = None,
    with_corpus: Annotated[
        bool, typer.Option("--with-corpus", help="Add the shipped corpus, to refine the default codes.")
    ] = False,
    real: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="Add real texts that are coded but not shipped: cered=PATH/train.tsv."),
    ] = None,
    combine: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help="Where several people coded the same: majority, union, shares (soft labels), or a coder's name.",
        ),
    ] = "majority",
    promote: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help="Make it this machine's champion: auto (if it is better, with 95% confidence), always or never.",
        ),
    ] = "auto",
    name: Annotated[str | None, typer.Option(help="Name of the model; the output folder's if left out.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many passes over the data.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Excerpts a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    curve: Annotated[
        bool,
        typer.Option("--curve", help="Print what more coded data would buy, in place of training a model."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")] = False,
) -> None:
    """Train a model on coded data, calibrate it, evaluate it on held-out documents, and write it as a bundle.

    Coded data has a column 'text', a column 'document', and one 0/1 column a code or one column 'codes' with codes
    separated by semicolons; or it is .jsonl as 'score' writes it; or a REFI-QDA project. How it is trained depends on
    how much data there is, and is said; --method decides otherwise. Ctrl-C ends a training early and keeps the best
    so far. The new model is compared with the champion, the model that is used if none is named, on the same held-out
    documents; see 'models'.
    """
    _quieten_libraries()
    with needs_training("train"):
        from training.challenge import RULES
        from training.job import Job
        from training.methods import ASKED
        from training.presets import PRESETS
        from training.run import train as run
    rule = next((known for known in RULES if known == promote), None)
    if rule is None:
        raise typer.BadParameter(f"{promote!r} is not one of {', '.join(RULES)}.", param_hint="--promote")
    asked = next((known for known in ASKED if known == method), None)
    if asked is None:
        raise typer.BadParameter(f"{method!r} is not one of {', '.join(ASKED)}.", param_hint="--method")
    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"{preset!r} is not one of {', '.join(PRESETS)}.", param_hint="--preset")
    if preset is not None and asked not in ("auto", "full"):
        raise typer.BadParameter(
            f"a preset trains a model anew, with --method full, not {asked}.", param_hint="--preset"
        )
    changes = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    job = Job(
        data=data or [],
        output=output,
        codebook=load_codebook(codebook),
        code_map=code_map,
        recipe=PRESETS[preset or "small"],
        method=asked if preset is None else "full",
        base=base,
        changes={key: value for key, value in changes.items() if value is not None},
        with_corpus=with_corpus,
        real=real or (),
        name=name,
        combine=combine,
        promote=rule,
        resume=resume,
        overwrite=overwrite,
        quiet=not sys.stderr.isatty(),
        say=lambda line: typer.echo(line, err=True),
    )
    if curve:
        from training.curve import print_curve
        from training.run import curve_of

        print_curve(curve_of(job))
        return
    folder = run(job)
    typer.echo(f"Wrote {folder}; its figures stand in {folder / 'README.md'}.", err=True)
    typer.echo(str(folder))


def _quieten_libraries() -> None:
    """Keep the libraries' own chatter off the terminal; ours says what a user needs."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("datasets").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(torch|transformers|datasets|sklearn)\b")

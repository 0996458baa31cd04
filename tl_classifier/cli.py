"""The command `tl-classifier`."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from tl_classifier.commands import (
    agreement,
    classify,
    codebook,
    evaluate,
    export,
    models,
    report,
    score,
    serve,
    suggest,
    train,
    transcript,
)
from tl_classifier.errors import UserError

app = typer.Typer(
    name="tl-classifier",
    help="Codes interview transcripts for stages of transformational learning and themes of training. "
    "Everything runs on this machine; nothing is sent anywhere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, interview text among them
    rich_markup_mode=None,
)


def _version(show: bool) -> None:
    if show:
        from tl_classifier import __version__

        typer.echo(f"tl-classifier {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


for _command in (
    classify,
    transcript,
    score,
    serve,
    train,
    evaluate,
    export,
    report,
    agreement,
    codebook,
    models,
    suggest,
):
    _command.register(app)


def main() -> None:
    """Run the command; a user's error is one sentence on stderr and exit code 1."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe may have an encoding that cannot say what we print
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()

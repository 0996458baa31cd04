"""``tl-classifier serve``: the model behind HTTP, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_NEW_KEY = """\
{key}

Give this key to whoever may use the server; it is shown only now. The server itself is given its hash, on a line of the
file that --api-keys-file (or --admin-keys-file) names:

{hash}
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(serve)


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; any but this machine's own needs an API key. [default: 127.0.0.1]"),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8000]")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model: a folder, or one of 'tl-classifier models list'. [default: the champion, and each later "
            "one that is promoted]",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where the model runs: cpu, cuda, or auto for a GPU where there is one. [default: auto]",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is calculated in: float32, or bfloat16, which auto takes where it is fast. [default: auto]",
        ),
    ] = None,
    api_keys_file: Annotated[
        Path | None, typer.Option(help="File with the hash of an accepted API key on each line; see --new-key.")
    ] = None,
    admin_keys_file: Annotated[
        Path | None,
        typer.Option(help="File with the hash of an administrator's key on each line; they may change the model."),
    ] = None,
    max_request_bytes: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Largest body of a request. [default: 32MiB]")
    ] = None,
    max_excerpts: Annotated[int | None, typer.Option(help="Most excerpts in a request. [default: 10000]")] = None,
    max_characters: Annotated[
        int | None, typer.Option(help="Longest excerpt, in characters. [default: 100000]")
    ] = None,
    queue_requests: Annotated[
        int | None, typer.Option(help="Most requests at a time; more are told to come back later. [default: 64]")
    ] = None,
    queue_excerpts: Annotated[int | None, typer.Option(help="Most excerpts in these. [default: 20000]")] = None,
    max_streams: Annotated[int | None, typer.Option(help="Most streams at a time. [default: 8]")] = None,
    request_seconds: Annotated[float | None, typer.Option(help="Time limit of a request. [default: 300]")] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="When stopped, how long to go on after /readyz says no. [default: 0]")
    ] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Print a new API key and its hash, and exit.")] = False,
) -> None:
    """Serve the model: a page for people at /, an API for programs at /v1/classify, described at /docs.

    Nothing that is sent to the server is stored, logged or passed on. Each option can be given as an environment
    variable too: TLC_ and its name in capitals (TLC_PORT=9000). As variables alone: TLC_ALLOWED_HOSTS (names by
    which clients may address the server, commas between), TLC_API_KEY_HASHES, TLC_ADMIN_KEY_HASHES,
    TLC_ALLOW_MODEL_FOLDERS (1: administrators may load folders, not the registry's models alone), TLC_MODELS (the
    registry), TLC_CHAMPION_SECONDS (how often to look for a new champion), TLC_MAX_HELD_BYTES (bodies of all requests
    together), TLC_MAX_LINE_BYTES and TLC_STREAM_IDLE_SECONDS (of a stream), TLC_BATCH_EXCERPTS, TLC_BATCH_CHARACTERS
    and TLC_BATCH_WAIT_MS.
    """
    if new_key:
        from serving.security import new_key as make_key

        key, key_hash = make_key()
        typer.echo(_NEW_KEY.format(key=key, hash=key_hash), nl=False)
        return

    from serving.server import serve as run
    from serving.settings import load_settings

    settings = load_settings(
        host=host,
        port=port,
        model=model,
        device=device,
        dtype=dtype,
        api_keys_file=api_keys_file,
        admin_keys_file=admin_keys_file,
        max_request_bytes=max_request_bytes,
        max_excerpts=max_excerpts,
        max_characters=max_characters,
        queue_requests=queue_requests,
        queue_excerpts=queue_excerpts,
        max_streams=max_streams,
        request_seconds=request_seconds,
        drain_seconds=drain_seconds,
    )
    run(settings, lambda sentence: typer.echo(sentence, err=True))

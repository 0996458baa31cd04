"""Runs the application: a socket, the model, signals, and a stop that drops nothing that was accepted."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from serving import logs
from serving.app import create_app
from serving.service import Service
from serving.settings import Settings, SettingsError, is_loopback

_GRACE = 5
"""Seconds added to a request's time limit before a stop no longer waits for it."""


class Server(uvicorn.Server):
    """Uvicorn, with a stop in three steps: readiness goes, new work is refused, accepted work is finished.

    A first signal stops it so; a second interrupt stops it at once.

    Args:
        service: What it serves.
        config: Uvicorn's settings, see `configure`.
        on_ready: Called once it listens.
    """

    def __init__(self, service: Service, config: uvicorn.Config, on_ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and listen."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal; it is not raised again at the end, since a stop that was asked for is no error."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._service.draining = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._service.draining = True
        until = time.monotonic() + self._service.settings.drain_seconds
        while not self.force_exit and time.monotonic() < until:
            await asyncio.sleep(0.05)
        self._service.refuse()
        await super().shutdown(sockets)


def configure(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Uvicorn's settings for an application of `create_app`."""
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=75,  # longer than the customary 60 of a proxy, which else asks where nobody listens any more
        timeout_graceful_shutdown=math.ceil(settings.request_seconds) + _GRACE,
    )


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening yet: clients are refused until the model is there.

    Raises:
        SettingsError: if the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError:
        raise SettingsError(
            f"There is no address {host} to listen on; leave --host out for this machine alone."
        ) from None
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.set_inheritable(True)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            reason = f"Port {port} on {host} is in use by another program; choose another with --port."
        elif error.errno == errno.EACCES:
            reason = f"Port {port} may not be used by this account; choose one from 1024 upwards with --port."
        else:
            reason = f"This machine cannot listen on {host}: it is not an address of its own."
        raise SettingsError(reason) from None
    return bound


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until a signal comes.

    Args:
        settings: The server's settings.
        announce: Given a sentence that says where the server listens, once it does.

    Raises:
        SettingsError: if the settings cannot be used, or the address is taken.
        BundleError: if the model cannot be loaded.
    """
    app = create_app(settings)
    service = app.service
    with bind(settings.host, settings.port) as bound:
        classifier = service.load()  # here and not when the application starts: its errors are the user's to read
        logs.set_up()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{bound.getsockname()[1]}"
        sentence = f"{classifier.model} is served on {address} (page: /, API: /docs); Ctrl-C stops it."
        if not is_loopback(settings.host):
            sentence += " Texts and keys travel unencrypted: put a TLS proxy before it, or keep to a network you trust."
        del classifier  # another may take its place
        Server(service, configure(app, settings), lambda: announce(sentence)).run([bound])

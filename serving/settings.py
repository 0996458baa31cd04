"""What an operator can set: options of ``tl-classifier serve``, or environment variables that begin with ``TLC_``."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tl_classifier.errors import UserError


class SettingsError(UserError):
    """A setting of the server is wrong, or settings contradict each other."""


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _words(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _key_hash(value: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", value := value.lower()):
        raise ValueError("it must be 64 hexadecimal digits, as printed by: tl-classifier serve --new-key")
    return value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
KeyHash = Annotated[str, AfterValidator(_key_hash)]
Bytes = Annotated[ByteSize, Field(ge=1024)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """The server's settings; lists in environment variables are separated by commas or spaces.

    Attributes:
        host: Address to listen on. Any other than a loopback address needs an API key.
        port: Port to listen on; 0 takes a free one.
        model: What to serve: a bundle's folder, or a model of the registry (``name@version``, or ``name`` for its
            newest). None for the champion, and for every later one that is promoted while the server runs.
        models: Folder of the registry; None for the user's.
        champion_seconds: How often a server of the champion looks whether there is another.
        device: Where the model runs, as `Classifier.load` takes it.
        dtype: What it calculates in, likewise.
        api_key_hashes: SHA-256 of each API key that is accepted, in hexadecimal. None set: no key is asked for.
        api_keys_file: A file with one such hash at the start of each line; what follows it, and lines that start
            with ``#``, are remarks.
        admin_key_hashes: As `api_key_hashes`, for administrators, who may change the model. None set: nobody may. An
            administrator's key opens all that an API key does.
        admin_keys_file: A file with such hashes, as `api_keys_file`.
        allow_model_folders: Whether administrators may have any folder of this machine loaded as a model, by its
            absolute path, and not those of the registry alone.
        allowed_hosts: Names under which clients may address the server. None set: the loopback names on a loopback
            address (so that no web page can reach the server through a name of its own), any name elsewhere.
        max_request_bytes: Largest body of a request ("32MiB" is understood).
        max_held_bytes: Largest sum of the bodies of all requests at hand, being received included.
        max_excerpts: Most excerpts in a request.
        max_characters: Longest excerpt, in Unicode code points.
        queue_requests: Most requests that wait or are being scored; more are refused at once. Few: who waits in a
            long queue waits long, and whoever is refused can come back. Half as many while most are refused.
        queue_excerpts: Most excerpts in these requests; a request of no more than one batch is let in beyond it.
        max_streams: Most streams at a time; more are refused at once.
        max_line_bytes: Longest line of a stream; a stream holds little more than twice that, however long it is.
        stream_idle_seconds: A stream is ended when its client sends nothing, or takes nothing, for so long.
        batch_excerpts: Most excerpts that are scored at once.
        batch_characters: Most characters that are scored at once; a longer excerpt is scored alone.
        batch_wait_ms: How long an idle model waits for company of a first excerpt, in milliseconds.
        request_seconds: Time limit of a request: for its body to arrive, and then again for its answer.
        drain_seconds: On shutdown, how long work is still accepted after ``/readyz`` has begun to answer 503, so
            that a load balancer sees it before a client does.
    """

    model_config = SettingsConfigDict(env_prefix="TLC_", frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    model: str | None = None
    models: Path | None = None
    champion_seconds: Seconds = 5.0
    device: str = "auto"
    dtype: str = "auto"
    api_key_hashes: Annotated[tuple[KeyHash, ...], NoDecode, BeforeValidator(_words)] = ()
    api_keys_file: Path | None = None
    admin_key_hashes: Annotated[tuple[KeyHash, ...], NoDecode, BeforeValidator(_words)] = ()
    admin_keys_file: Path | None = None
    allow_model_folders: bool = False
    allowed_hosts: Words = ()
    max_request_bytes: Bytes = ByteSize(32 * 2**20)
    max_held_bytes: Bytes = ByteSize(128 * 2**20)
    max_excerpts: int = Field(default=10_000, ge=1)
    max_characters: int = Field(default=100_000, ge=1)
    queue_requests: int = Field(default=64, ge=1)
    queue_excerpts: int = Field(default=20_000, ge=1)
    max_streams: int = Field(default=8, ge=1)
    max_line_bytes: Bytes = ByteSize(2**20)
    stream_idle_seconds: Seconds = 60.0
    batch_excerpts: int = Field(default=32, ge=1)
    batch_characters: int = Field(default=16_384, ge=1)
    batch_wait_ms: float = Field(default=1.0, ge=0, le=1000)
    request_seconds: Seconds = 300.0
    drain_seconds: float = Field(default=0.0, ge=0, le=3600)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.queue_excerpts < self.max_excerpts:
            raise ValueError(
                f"queue_excerpts ({self.queue_excerpts}) must be at least max_excerpts ({self.max_excerpts}), or the "
                "largest request that is allowed could never be accepted"
            )
        if self.max_held_bytes < self.max_request_bytes:
            raise ValueError(
                f"max_held_bytes ({self.max_held_bytes:d}) must be at least max_request_bytes "
                f"({self.max_request_bytes:d}), or the largest request that is allowed could never be accepted"
            )
        if self.max_held_bytes < 2 * self.max_line_bytes:
            raise ValueError(
                f"max_held_bytes ({self.max_held_bytes:d}) must be at least twice max_line_bytes "
                f"({self.max_line_bytes:d}), or no stream could ever be accepted"
            )
        return self

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which clients may address the server, in lower case; empty for any."""
        if self.allowed_hosts:
            return tuple(host.lower() for host in self.allowed_hosts)
        return ("localhost", "127.0.0.1", "[::1]") if is_loopback(self.host) else ()


def load_settings(**options: Any) -> Settings:
    """The settings from the environment, with `options` going before it; an option that is None does not count.

    Raises:
        SettingsError: if a value is wrong or values contradict each other; the sentence names the setting.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[0].lower() + reason[1:]
        if not first["loc"]:
            raise SettingsError(f"The server's settings contradict each other: {reason}.") from None
        name = str(first["loc"][0])
        option = f"--{name.replace('_', '-')}" if name in given else f"the environment variable TLC_{name.upper()}"
        raise SettingsError(f"The value of {option} cannot be used: {reason}.") from None

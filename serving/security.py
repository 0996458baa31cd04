"""Who may ask: API keys, host names, and the headers that keep browsers from doing harm."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from serving.problems import UNAUTHORIZED, UNKNOWN_HOST, Problem
from serving.settings import Settings, SettingsError, is_loopback

PUBLIC_PATHS = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})
"""Open without a key, as is everything under ``/static/``: they show nothing of anybody's data."""

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
DOCS_POLICY = PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI sets styles from its script."""

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Sent with every answer, beside a Content-Security-Policy."""


def new_key() -> tuple[str, str]:
    """A new API key of 256 random bits, and its hash, which is all that the server is told."""
    key = f"tlc_{secrets.token_urlsafe(32)}"
    return key, key_hash(key)


def key_hash(key: str) -> str:
    """The hash under which a key is known. Keys are long and random, so a plain SHA-256 cannot be searched."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_key_hashes(path: Path) -> list[str]:
    """The hashes in a file of API keys; `Settings` says what it looks like.

    Raises:
        SettingsError: if it cannot be read or a line does not start with a hash.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"The file of API keys {path} cannot be read: {reason}.") from None
    hashes = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if not re.fullmatch("[0-9a-fA-F]{64}", words[0]):
            raise SettingsError(
                f"{path}, line {number}: a line must start with the hash of a key (64 hexadecimal digits), as printed "
                "by: tl-classifier serve --new-key."
            )
        hashes.append(words[0].lower())
    return hashes


class Guard:
    """Lets a request in or not.

    Args:
        key_hashes: Hashes of the keys that are accepted; with none, no key is asked for.
        hosts: Names under which the server may be addressed, in lower case; with none, any.
    """

    def __init__(self, key_hashes: Iterable[str], hosts: Iterable[str]) -> None:
        self._hashes = tuple(key_hashes)
        self._hosts = tuple(hosts)

    @classmethod
    def from_settings(cls, settings: Settings) -> Guard:
        """The guard that settings ask for.

        Raises:
            SettingsError: if the file of keys cannot be used, or others could reach the server without a key.
        """
        hashes = [*settings.api_key_hashes]
        if settings.api_keys_file is not None:
            hashes += read_key_hashes(settings.api_keys_file)
            if not hashes:
                raise SettingsError(f"The file of API keys {settings.api_keys_file} has no key in it.")
        if not hashes and not is_loopback(settings.host):
            raise SettingsError(
                f"Listening on {settings.host} lets other machines in, which needs an API key: make one with "
                "tl-classifier serve --new-key, and give its hash in a file with --api-keys-file."
            )
        return cls(hashes, settings.hosts)

    @property
    def asks_for_key(self) -> bool:
        """Whether a key is needed."""
        return bool(self._hashes)

    def check_host(self, host: str) -> None:
        """Check the header Host; a page of a foreign name that resolves to this machine is stopped here.

        Raises:
            Problem: if the server does not go by that name.
        """
        if not self._hosts:
            return
        name = re.sub(r":\d*\Z", "", host.strip().lower())
        if name not in self._hosts:
            raise Problem(UNKNOWN_HOST, f"Address the server as: {', '.join(self._hosts)}.")

    def check_key(self, path: str, authorization: str) -> None:
        """Check the header Authorization.

        Raises:
            Problem: if a key is needed for `path` and the header holds none that is accepted.
        """
        if not self._hashes or path in PUBLIC_PATHS or path.startswith("/static/"):
            return
        scheme, _, key = authorization.partition(" ")
        given = key_hash(key.strip())
        # Every hash is compared, each in constant time: how long it takes tells nothing.
        accepted = [hmac.compare_digest(given, known) for known in self._hashes]
        if scheme.lower() != "bearer" or not any(accepted):
            raise Problem(
                UNAUTHORIZED,
                "Send an accepted API key in the header: Authorization: Bearer KEY.",
                headers={"WWW-Authenticate": "Bearer"},
            )

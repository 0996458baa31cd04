"""Who may ask: API keys, host names, and the headers that keep browsers from doing harm."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from serving.problems import FORBIDDEN, UNAUTHORIZED, UNKNOWN_HOST, Problem
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
    """The hashes in a file of keys; `Settings` says what it looks like.

    Raises:
        SettingsError: if it cannot be read or a line does not start with a hash.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"The file of keys {path} cannot be read: {reason}.") from None
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
        admin_hashes: Hashes of the keys of administrators; with none, nobody is one.
    """

    def __init__(self, key_hashes: Iterable[str], hosts: Iterable[str], admin_hashes: Iterable[str] = ()) -> None:
        self._hashes = tuple(key_hashes)
        self._hosts = tuple(hosts)
        self._admin_hashes = tuple(admin_hashes)

    @classmethod
    def from_settings(cls, settings: Settings) -> Guard:
        """The guard that settings ask for.

        Raises:
            SettingsError: if the file of keys cannot be used, or others could reach the server without a key.
        """
        hashes = _all_hashes(settings.api_key_hashes, settings.api_keys_file)
        if not hashes and not is_loopback(settings.host):
            raise SettingsError(
                f"Listening on {settings.host} lets other machines in, which needs an API key: make one with "
                "tl-classifier serve --new-key, and give its hash in a file with --api-keys-file."
            )
        admins = _all_hashes(settings.admin_key_hashes, settings.admin_keys_file)
        return cls(hashes, settings.hosts, admins)

    @property
    def asks_for_key(self) -> bool:
        """Whether a key is needed."""
        return bool(self._hashes)

    @property
    def knows_administrators(self) -> bool:
        """Whether anybody may change the model."""
        return bool(self._admin_hashes)

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
        if not _is_one_of(authorization, self._hashes + self._admin_hashes):
            raise _unauthorized("an accepted API key")

    def check_admin(self, authorization: str) -> None:
        """Check that the header Authorization holds an administrator's key.

        Raises:
            Problem: if it does not, or nobody is an administrator.
        """
        if not self._admin_hashes:
            raise Problem(
                FORBIDDEN, "Changing the model needs an administrator's key; the server was started without one."
            )
        if _is_one_of(authorization, self._admin_hashes):
            return
        if _is_one_of(authorization, self._hashes):
            raise Problem(FORBIDDEN, "Changing the model needs an administrator's key; this one is for coding alone.")
        raise _unauthorized("an administrator's key")


def _all_hashes(given: Iterable[str], path: Path | None) -> list[str]:
    hashes = [*given]
    if path is not None:
        hashes += read_key_hashes(path)
        if not hashes:
            raise SettingsError(f"The file of keys {path} has no key in it.")
    return hashes


def _is_one_of(authorization: str, hashes: Iterable[str]) -> bool:
    """Whether the header holds a key with one of these hashes."""
    scheme, _, key = authorization.partition(" ")
    given = key_hash(key.strip())
    # Every hash is compared, each in constant time: how long it takes tells nothing.
    accepted = [hmac.compare_digest(given, known) for known in hashes]
    return scheme.lower() == "bearer" and any(accepted)


def _unauthorized(what: str) -> Problem:
    return Problem(
        UNAUTHORIZED,
        f"Send {what} in the header: Authorization: Bearer KEY.",
        headers={"WWW-Authenticate": "Bearer"},
    )

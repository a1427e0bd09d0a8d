"""From the headers of a request to the key that it carries, and the log-ins of browsers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from typing import Any

from redis import Redis
from starlette.datastructures import Headers

from backend.store.key_records import KeyRecords
from backend.web.access.callers import Identity
from modelshapley.contracts import Key

COOKIE = "modelshapley_login"
LOGIN_TTL_S = 12 * 3600
KEY_CACHE_S = 5.0  # so long a revoked key may still work on a web server that has just seen it
MAX_CACHED = 1000
SERVER_KEY = "server"  # in a log-in: the key of the settings


class Authenticator:
    """Finds out whose a secret or a log-in is. Errors: those of the database; REDIS_DOWN for log-ins."""

    def __init__(self, records: KeyRecords, redis: Redis, server_key: str) -> None:
        self._records, self._redis, self._server_key = records, redis, server_key.encode()
        self._cached: dict[str, tuple[float, Key]] = {}

    def identify(self, headers: Headers) -> Identity | None:
        """Return the caller by `Authorization` or, if there is none, by the cookie of a log-in."""
        if "authorization" in headers:
            secret = _secret_of(headers["authorization"])
            return self.of_secret(secret) if secret is not None else None
        token = token_of(headers)
        return self._of_login(token) if token is not None else None

    def of_secret(self, secret: str) -> Identity | None:
        if secrets.compare_digest(secret.encode(), self._server_key):
            return Identity()
        digest = hashlib.sha256(secret.encode()).hexdigest()
        key = self._fresh(digest) or self._records.key_of(secret)
        if key is None:
            return None
        self._remember(digest, key)
        return Identity(key)

    def log_in(self, identity: Identity) -> str:
        """Begin a log-in; return the token for its cookie."""
        token = secrets.token_urlsafe(32)
        self._redis.set(self._login(token), identity.key.id if identity.key else SERVER_KEY, ex=LOGIN_TTL_S)
        return token

    def log_out(self, token: str) -> None:
        self._redis.delete(self._login(token))

    def _of_login(self, token: str) -> Identity | None:
        stored: Any = self._redis.get(self._login(token))
        if stored is None:
            return None
        key_id = stored.decode()
        if key_id == SERVER_KEY:
            return Identity()
        key = self._fresh(key_id) or self._records.key(key_id)
        if key.revoked is not None:
            return None
        self._remember(key_id, key)
        return Identity(key)

    def _login(self, token: str) -> str:
        """Return where a log-in is stored: by a hash, which also depends on the server's key, so a new one ends all."""
        digest = hashlib.sha256(self._server_key + b"\0" + token.encode()).hexdigest()
        return f"modelshapley:login:{digest}"

    def _fresh(self, name: str) -> Key | None:
        seen, key = self._cached.get(name, (0.0, None))
        return key if time.monotonic() - seen < KEY_CACHE_S else None

    def _remember(self, name: str, key: Key) -> None:
        if self._fresh(name) is None:
            if len(self._cached) >= MAX_CACHED:
                self._cached.clear()
            self._cached[name] = (time.monotonic(), key)


def token_of(headers: Headers) -> str | None:
    """Return the token in the cookie of a log-in."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie is not None else None


def _secret_of(authorization: str) -> str | None:
    """Return the secret of a Bearer token, or the password of HTTP Basic."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2].decode()
    except (binascii.Error, UnicodeDecodeError):
        return None

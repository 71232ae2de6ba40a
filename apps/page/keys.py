"""The key that programs send as `Authorization: Bearer KEY`: how it is read, and how it is compared."""

import hashlib
import hmac
import os

from recsys.errors import ConfigError

KEY, SHORTEST = "PERSONAGEN_KEY", 16
"""The variable that holds it, and its fewest characters."""


def key_from(given: str | None) -> str | None:
    """Return the key that is given, else that of the environment; None where there is none.

    Raises:
        ConfigError: it is short.
    """
    key = os.environ.get(KEY, "").strip() if given is None else given.strip()
    if not key and given is None:
        return None
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable():
        raise ConfigError(f"the key has {len(key)} characters; give {SHORTEST} printable ASCII characters or more")
    return key


class Lock:
    """A key that headers are compared with, in a time that does not depend on them."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.sha256(key.encode()).digest()

    def opens(self, authorization: str) -> bool:
        """Tell whether a header `Authorization` carries the key."""
        given = authorization.removeprefix("Bearer ").strip()
        return hmac.compare_digest(hashlib.sha256(given.encode("latin-1", "replace")).digest(), self._key)

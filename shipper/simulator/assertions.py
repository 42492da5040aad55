"""The tenant's judgement of a client assertion (private_key_jwt), without sockets.

Auth0 docs, "Authenticate with Private Key JWT": which claims, how long, how far the clocks may differ, and that each
assertion counts once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

__all__ = ["Assertions"]

_MAX_BYTES = 2_048
_MAX_CHARACTERS = 64
_MAX_LIFE_SECS = 300
_SKEW_SECS = 10


class Assertions:
    """Knows one client's public key, and each `jti` that it has used."""

    def __init__(self, public_key: bytes, client_id: str, audiences: Iterable[str]) -> None:
        """`public_key`: RSA, PEM. Raises ValueError for anything else."""
        key = load_pem_public_key(public_key)
        if not isinstance(key, RSAPublicKey):
            raise ValueError("public_key_file: not an RSA key")  # noqa: TRY004  about the file, not an argument's type
        self._key = key
        self._client_id = client_id
        self._audiences = frozenset(audiences)
        self._used: set[str] = set()

    def fault(self, assertion: object, now: float) -> str:
        """What is wrong with an assertion at `now` (the tenant's unix seconds); empty: it is taken, and used up."""
        if not isinstance(assertion, str) or len(assertion) > _MAX_BYTES:
            return "no assertion of at most 2048 bytes"
        try:
            signed, _, signature = assertion.rpartition(".")
            head, payload = signed.split(".")
            header, claims = json.loads(_bytes(head)), json.loads(_bytes(payload))
            self._key.verify(_bytes(signature), signed.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return "the signature does not verify"
        except ValueError:
            return "not a JWT"
        if not isinstance(header, dict) or header.get("alg") != "RS256" or not isinstance(claims, dict):
            return "not signed with RS256"
        fault = self._wrong_claim(claims, now)
        if not fault:
            self._used.add(claims["jti"])
        return fault

    def _wrong_claim(self, claims: dict[str, Any], now: float) -> str:
        if not claims.get("iss") == claims.get("sub") == self._client_id:
            return "iss and sub must be the client's id"
        if str(claims.get("aud")) not in self._audiences:
            return "aud must be the tenant's address with a slash at its end"
        jti, exp, iat = claims.get("jti"), claims.get("exp"), claims.get("iat", now)
        if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_CHARACTERS:
            return "jti must have 1 to 64 characters"
        if not isinstance(exp, int | float) or not isinstance(iat, int | float):
            return "exp and iat must be numbers"
        if exp <= now or exp > now + _MAX_LIFE_SECS + _SKEW_SECS or exp - iat > _MAX_LIFE_SECS:
            return "exp must lie within the next five minutes"
        if iat > now + _SKEW_SECS:
            return "iat lies ahead by more than ten seconds"
        return "the assertion was used before" if jti in self._used else ""


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

"""How an application shows who it is with a key instead of a secret: a signed client assertion (private_key_jwt).

Auth0 docs, "Authenticate with Private Key JWT": a JWT of at most 2,048 bytes, signed with RS256, taken once, living for
five minutes at most and better for one; `iat` may lie ahead of the tenant's clock by ten seconds. So each try needs a
fresh one.
"""

import base64
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFE_SECS = 60
MAX_BYTES = 2048
SMALLEST_KEY_BITS = 2048
"""RFC 7518 3.3, for RS256."""
HEADER = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"
"""{"alg":"RS256","typ":"JWT"}, as it stands before the first dot."""


class KeyUnusableError(ValueError):
    """Nothing can be signed with this key. The text says why and holds nothing of it."""


def client_assertion(key: str, *, client_id: str, audience: str, now: int) -> str:
    """A fresh assertion. key: RSA, in PEM. now: the tenant's time, seconds since 1970. Raises KeyUnusableError."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": str(uuid4()),
        "iat": now,
        "exp": now + LIFE_SECS,
    }
    text = f"{HEADER}.{_base64url(msgspec.json.encode(claims))}"
    assertion = f"{text}.{_base64url(_signature(_private_key(key), text.encode()))}"
    if len(assertion) > MAX_BYTES:
        raise KeyUnusableError(f"its assertion has {len(assertion)} bytes, and the tenant takes {MAX_BYTES} at most")
    return assertion


# The library costs 20 ms and 8 MB, which only those pay who sign.


# Remembered, since checking a key of 4,096 bits takes a quarter of a second, and nothing else runs meanwhile.
@lru_cache(maxsize=64)
def _private_key(key: str) -> "RSAPrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(key.encode(), password=None)
    except TypeError:
        raise KeyUnusableError("it is encrypted; give it without a pass phrase, in a file of mode 0600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusableError("it is not a private key in PEM") from None
    if not isinstance(found, RSAPrivateKey):
        raise KeyUnusableError("it is not an RSA key")
    if found.key_size < SMALLEST_KEY_BITS:
        raise KeyUnusableError(f"it has {found.key_size} bits, and RS256 needs {SMALLEST_KEY_BITS}")
    return found


def _signature(key: "RSAPrivateKey", data: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return key.sign(data, PKCS1v15(), SHA256())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

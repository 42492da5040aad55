"""RSA keys for private_key_jwt, made anew for each run."""

from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def rsa_key(name: str = "ours", bits: int = 2048) -> tuple[str, str]:
    """A private key and its other half, both in PEM; the same for the same name."""
    return _rsa_key(name, bits)


@cache
def _rsa_key(_name: str, bits: int) -> tuple[str, str]:
    key = generate_private_key(65537, bits)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), public.decode()


@cache
def encrypted_key() -> str:
    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")).decode()


def registered(folder: Path, name: str = "ours") -> str:
    """The file of a public key, for the tenant's option."""
    path = folder / f"{name}.public.pem"
    path.write_text(rsa_key(name)[1], encoding="utf-8")
    return str(path)

"""Credentials that end: a client certificate, a fixed token, and a configuration that uses both."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

from shipper.config import Settings, load

CONFIG = """
[sources.acme]
type = "auth0"
domain = "acme.us.auth0.com"
token_file = "acme.token"
[sinks.siem]
type = "splunk_hec"
url = "https://splunk.example:8088"
token = "no.web.token"
[sinks.siem.tls]
cert_file = "client.pem"
key_file = "client.key"
[sinks.console]
type = "stdout"
"""


def certificate(place: Path, days: int) -> None:
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=client"]
    files = ["-days", str(days), "-keyout", str(place / "client.key"), "-out", str(place / "client.pem")]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True)


def token(claims: Any) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".c2ln"


def settings(place: Path, old: str = "", new: str = "") -> Settings:
    """new stands in the place of the old words."""
    (place / "config.toml").write_text(CONFIG.replace(old, new) if old else CONFIG)
    return load(place / "config.toml", {})

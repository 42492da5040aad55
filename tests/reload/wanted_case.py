"""Settings from a file that holds nothing but what a test is about."""

from collections.abc import Mapping
from pathlib import Path

from shipper.config import Settings, load

ACME, BETA = {"domain": "acme.us.auth0.com"}, {"domain": "beta.eu.auth0.com"}
SIEM, NEW = {"url": "https://siem.example"}, {"url": "https://new.example"}


def settings(place: Path, tables: Mapping[str, Mapping[str, object]], head: str = "") -> Settings:
    """A file with these sources (those with a domain) and sinks."""
    lines = [head]
    for name, values in tables.items():
        if "domain" in values:
            part, given = "sources", {"type": "auth0", "client_id": "c", "client_secret": "hush", **values}
        else:
            part, given = "sinks", {"type": "splunk_hec", **values}
            if given["type"] == "splunk_hec" and "token_file" not in given:
                given["token"] = "hush"
        lines += [f"[{part}.{name}]", *(f"{key} = {_toml(value)}" for key, value in given.items())]
    file = place / "config.toml"
    file.write_text("\n".join(lines))
    return load(file, {})


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')

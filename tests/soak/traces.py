"""What may stand nowhere: secrets in no byte of log, metrics or journal, events and tracebacks in no log."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

SHORTEST = 12
_PERSONAL = ("user_name", "user_id", "user_agent", "ip", "email")


def secrets_found(secrets: Iterable[str], places: Iterable[Path]) -> list[str]:
    """Each file of these places, or in these folders, that holds a secret, with its first letters."""
    wanted = [secret.encode() for secret in secrets]
    found = []
    for file in _files(places):
        content = file.read_bytes()
        found += [f"{file.name}: {secret[:13].decode()}…" for secret in wanted if secret in content]
    return found


def content_found(events: Iterable[bytes], places: Iterable[Path]) -> list[str]:
    """Each file that holds something personal of these events, or a traceback."""
    wanted = {value.encode() for raw in events for value in _personal(json.loads(raw))}
    wanted.add(b"Traceback (most recent call last)")
    found = []
    for file in _files(places):
        content = file.read_bytes()
        found += [f"{file.name}: {words[:40]!r}" for words in wanted if words in content]
    return found


def _personal(event: Mapping[str, object]) -> list[str]:
    values = [event.get(name) for name in _PERSONAL]
    return [value for value in values if isinstance(value, str) and len(value) >= SHORTEST]


def _files(places: Iterable[Path]) -> Iterable[Path]:
    for place in places:
        yield from (file for file in ([place] if place.is_file() else sorted(place.rglob("*"))) if file.is_file())

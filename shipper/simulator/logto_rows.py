"""The rows of a simulated Logto's audit log: given ones, or any of a million made from its number alone.

A row has a time in microseconds, as the database holds it, of which the API shows milliseconds, rounded.
"""

from __future__ import annotations

import bisect
import json
import random
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from shipper.simulator.options import Options

__all__ = ["GivenRows", "MadeRows", "Row", "Rows"]

_MICRO = 1_000_000
_ODD = 2_654_435_761
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
HIDDEN = ("TriggerHook.", "TrustedDevice.")
"""Keys of rows that are in the table and in no answer: the list of keys that are shown lacks them."""


class Row(NamedTuple):
    """created: microseconds since 1970. visible: unix seconds from which on the row is committed."""

    created: int
    visible: float
    id: str
    key: str
    application: str
    user: str


class Rows(Protocol):
    """All rows by their time, oldest first, whether they are committed or not."""

    def __len__(self) -> int: ...

    def row(self, index: int) -> Row:
        """What a query knows of a row."""

    def raw(self, index: int) -> bytes:
        """Its JSON, as the API sends it."""

    def before(self, created: int) -> int:
        """How many rows are older than this time (microseconds since 1970)."""

    def there(self, now: float) -> int:
        """How many rows there may be at `now` (unix seconds), committed or not."""


class GivenRows:
    """Rows that were given as JSON, and are served as they are."""

    def __init__(self, events: Iterable[bytes]) -> None:
        self._held: list[tuple[int, int, Row, bytes]] = []
        self._created: list[int] = []
        self.committed_by = 0.0
        for raw in events:
            self.add(raw)

    def add(self, raw: bytes, visible: float = 0.0, micro: int = 0) -> None:
        """One more row. visible: unix seconds of its commit. micro: microseconds of its time beyond the millisecond."""
        found: Any = json.loads(raw.decode(errors="surrogateescape"), strict=False)
        payload = found.get("payload") or {}
        key = str(found.get("key", ""))
        if key.startswith(HIDDEN):
            return
        created = int(found.get("createdAt") or 0) * 1_000 + micro
        row = Row(
            created,
            visible,
            str(found.get("id", "")),
            key,
            str(payload.get("applicationId", "")),
            str(payload.get("userId", "")),
        )
        self.committed_by = max(self.committed_by, visible)
        at = bisect.bisect_right(self._created, created)
        self._created.insert(at, created)
        self._held.insert(at, (created, len(self._held), row, raw))

    def __len__(self) -> int:
        """All of them."""
        return len(self._held)

    def row(self, index: int) -> Row:
        """What a query knows of a row."""
        return self._held[index][2]

    def raw(self, index: int) -> bytes:
        """Its JSON."""
        return self._held[index][3]

    def before(self, created: int) -> int:
        """How many rows are older than this time."""
        return bisect.bisect_left(self._created, created)

    def there(self, now: float) -> int:
        """All of them, whatever their times say."""
        del now
        return len(self._held)


class MadeRows:
    """`count` rows: a backlog spread evenly over `history_secs` before `started`, then the rest at `rate` a second."""

    def __init__(self, options: Options, started: float) -> None:
        self._options = options
        self._start = int(started * _MICRO)
        self._history = int(options.history_secs * _MICRO)
        self._backlog = options.backlog if options.rate else options.count
        if options.count:
            self._backlog = min(self._backlog, options.count)
        self._seed = options.seed.to_bytes(8, "big", signed=True)
        chance = random.Random(options.seed)  # noqa: S311 - the same each time is the point
        self._forms = [_form(chance, key) for key, weight in _KEYS for _ in range(weight)]
        chance.shuffle(self._forms)

    def __len__(self) -> int:
        """All that there will ever be."""
        return self._options.count or 1 << 60

    def there(self, now: float) -> int:
        """By their times."""
        if not self._options.rate:
            return self._options.count
        return self.before(int(now * _MICRO) + 1)

    def before(self, created: int) -> int:
        """How many rows are older than this time."""
        most = len(self)
        if self._options.rate:
            ahead = max(0.0, (created - self._start) / _MICRO) * self._options.rate
            most = min(most, self._backlog + int(ahead) + 4)
        return bisect.bisect_left(range(most), created, key=self._time)

    def row(self, index: int) -> Row:
        """What a query knows of a row."""
        time, drawn = self._time(index), self._drawn(index)
        key, application, user, _ = self._forms[index % len(self._forms)]
        late = self._options.commit_secs * drawn[0] / 256
        return Row(time, time / _MICRO + late, _id(drawn), key, application, user)

    def raw(self, index: int) -> bytes:
        """Its JSON."""
        time, drawn = self._time(index), self._drawn(index)
        form = self._forms[index % len(self._forms)][3]
        shown = (time + 500) // 1_000
        return form % {b"id": _id(drawn).encode(), b"n": b"%d" % index, b"ip": b"%d" % drawn[1], b"at": b"%d" % shown}

    def _drawn(self, index: int) -> bytes:
        return blake2b(b"%d" % index, digest_size=32, key=self._seed).digest()

    def _time(self, index: int) -> int:
        # Every seventh is of the same millisecond as the one before it, and one of ten of those of its microsecond.
        if index % 7 == 3:
            return self._time(index - 1) + (index % 70 != 3)
        number = index
        jitter = (number * _ODD >> 17) % 900
        if index < self._backlog:
            step = self._history / self._backlog
            return self._start - self._history + self._history * number // self._backlog + int(step * jitter / 1_000)
        number = max(number, self._backlog) - self._backlog
        return self._start + int((number + jitter / 1_000) * _MICRO / (self._options.rate or 1.0))


def _id(drawn: bytes) -> str:
    """21 characters, as nanoid makes them."""
    return "".join([_ALPHABET[byte % 36] for byte in drawn[2:23]])


# key, how often
_KEYS: Sequence[tuple[str, int]] = (
    ("ExchangeTokenBy.RefreshToken", 40),
    ("ExchangeTokenBy.AuthorizationCode", 20),
    ("ExchangeTokenBy.ClientCredentials", 20),
    ("Interaction.Create", 20),
    ("Interaction.SignIn.Update", 16),
    ("Interaction.SignIn.Verification.Password.Submit", 16),
    ("Interaction.SignIn.Identifier.Submit", 12),
    ("Interaction.SignIn.Submit", 14),
    ("Interaction.SignIn.BindMfa.Totp.Submit", 3),
    ("Interaction.Register.Profile.Update", 4),
    ("Interaction.Register.Submit", 4),
    ("Interaction.ForgotPassword.Submit", 2),
    ("Interaction.End", 14),
    ("RevokeToken", 4),
    ("RevokeGrants", 3),
    ("JwtCustomizer.AccessToken", 3),
    ("JwtCustomizer.ClientCredentials", 1),
    ("SamlApplication.AuthnRequest", 1),
    ("SamlApplication.Callback", 1),
    ("Action.PostSignIn", 1),
    ("Unknown", 1),
)


def _form(chance: random.Random, key: str) -> tuple[str, str, str, bytes]:
    """Key, application, user, and a row's JSON with places for its id, number, address and time."""
    application = f"app{chance.randrange(9):018d}"
    user = "" if key.startswith("ExchangeTokenBy.Client") else f"user{chance.randrange(500):08d}"
    payload: dict[str, Any] = {
        "key": key,
        "result": "Success",
        "ip": "203.0.113.«ip»",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari",
        "userAgentParsed": {
            "os": {"name": "Linux"},
            "browser": {"name": "Chrome", "version": "140.0.0.0", "major": "140"},
            "device": {},
            "engine": {"name": "Blink", "version": "140.0.0.0"},
            "cpu": {"architecture": "amd64"},
        },
        "applicationId": application,
        "sessionId": f"s{chance.randrange(10**12):020d}",
        "params": {"identifier": {"type": "email", "value": f"{user}@example.com"}, "password": "******", "n": "«n»"},
    }
    if user:
        payload["userId"] = user
    if key == "Unknown" or (key.startswith("JwtCustomizer") and chance.random() < 0.5):
        payload |= {"result": "Error", "error": "Error: the script threw “undefined”"}
    elif chance.random() < 0.15:
        error = {"message": "Incorrect account or password.", "code": "session.invalid_credentials", "data": None}
        payload |= {"result": "Error", "error": error}
    event = {"tenantId": "default", "id": "«id»", "key": key, "payload": payload, "createdAt": "«at»"}
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":")).replace("%", "%%")
    text = text.replace('"«at»"', "%(at)b").replace("«id»", "%(id)b").replace("«n»", "%(n)b").replace("«ip»", "%(ip)b")
    return key, application, user, text.encode()

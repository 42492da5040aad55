"""Who acts in a simulated tenant: people, their devices and places, and the applications they use.

Only documentation addresses (RFC 5737, RFC 3849) and example domains (RFC 2606) occur.
"""

from __future__ import annotations

import random

__all__ = ["ACTOR", "People"]

# What the values of one flow are called in the templates, in the order in which `People.in_session` gives them.
ACTOR = (
    "user_id", "email", "full_name", "given", "family", "locale", "phone",
    "ip", "user_agent", "raw_agent", "mobile", "ja3", "ja4",
    "country_code", "country", "city", "latitude", "longitude", "time_zone", "continent",
    "client_id", "client_name", "connection", "connection_id", "strategy", "strategy_type",
    "organization_id", "organization_name", "logins",
    "session", "transaction", "machine_id", "machine_name", "device", "grant",
)  # fmt: skip

_NAMES = """
Ada Zoë José Łukasz Søren Renée Björn Chloë Müge İlker Dmitri Ольга Иван Ελένη 陽子 健太 伟 秀英 지우 ليلى Priya Ngọc
Nováková ÓBriain Muñoz Wójcik Østergaard Lefèvre Jönsson Çelik Петрова Papadópoulos 山田 鈴木 王 李 김 حداد Nguyễn Smith
"""
_GIVEN, _FAMILY = (line.split() for line in _NAMES.strip().splitlines())
_AGENTS = (
    ("Chrome 140.0.0 / Windows 10.0.0", "Chrome/140.0.0.0 Safari/537.36", False),
    ("Chrome 141.0.0 / Mac OS X 10.15.7", "Chrome/141.0.0.0 Safari/537.36", False),
    ("Firefox 143.0.0 / Ubuntu 0.0.0", "Gecko/20100101 Firefox/143.0", False),
    ("Edge 140.0.0 / Windows 10.0.0", "Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", False),
    ("Safari 18.6.0 / Mac OS X 10.15.7", "Version/18.6 Safari/605.1.15", False),
    ("Mobile Safari 18.6.0 / iOS 18.6.0", "Version/18.6 Mobile/15E148 Safari/604.1", True),
    ("Chrome Mobile 140.0.0 / Android 15.0.0", "Chrome/140.0.0.0 Mobile Safari/537.36", True),
    ("Samsung Internet 28.0.0 / Android 14.0.0", "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", True),
)
_PLACES = (
    ("US", "United States", "Chicago", "41.8781", "-87.6298", "America/Chicago", "NA"),
    ("US", "United States", "San José", "37.3382", "-121.8863", "America/Los_Angeles", "NA"),
    ("CA", "Canada", "Montréal", "45.5019", "-73.5674", "America/Toronto", "NA"),
    ("DE", "Germany", "Köln", "50.9375", "6.9603", "Europe/Berlin", "EU"),
    ("PL", "Poland", "Łódź", "51.7592", "19.4560", "Europe/Warsaw", "EU"),
    ("BR", "Brazil", "São Paulo", "-23.5505", "-46.6333", "America/Sao_Paulo", "SA"),
    ("JP", "Japan", "Tokyo", "35.6762", "139.6503", "Asia/Tokyo", "AS"),
    ("IN", "India", "Bengaluru", "12.9716", "77.5946", "Asia/Kolkata", "AS"),
    ("ZA", "South Africa", "Cape Town", "-33.9249", "18.4241", "Africa/Johannesburg", "AF"),
)
_CONNECTIONS = (
    ("Username-Password-Authentication", "auth0", "database", "auth0|"),
    ("google-oauth2", "google-oauth2", "social", "google-oauth2|"),
    ("acme-azure-ad", "waad", "enterprise", "waad|"),
    ("acme-okta", "okta", "enterprise", "okta|acme-okta|"),
    ("email", "email", "passwordless", "email|"),
)
_APPS = ("Acme Web", "Acme Mobile", "Acme Admin Console", "Partner Portal · Größe XL", "Café Loyalty", "社内ポータル")
_MACHINES = ("Nightly Billing Export", "Inventory Sync", "Terraform Provider", "Support Bot")
_ORGANIZATIONS = ("acme-corp", "globex", "initech", "umbrella-health", "hooli")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_HOW_MANY = 2_048


class People:
    """A fixed crowd: the same seed makes the same people, and a person keeps name, place, device and application."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"people {seed}")  # noqa: S311 - the same each time is the point
        apps = [(_letters(chance, 32), name) for name in _APPS]
        connections = [(*each, f"con_{_letters(chance, 16)}") for each in _CONNECTIONS]
        organizations = [(f"org_{_letters(chance, 16)}", name) for name in _ORGANIZATIONS]
        agents = [(*each, chance.randbytes(16).hex(), _ja4(chance)) for each in _AGENTS]
        self._machines = [(_letters(chance, 32).encode(), name.encode()) for name in _MACHINES]
        self._people = [
            _person(chance, number, apps, connections, organizations, agents) for number in range(_HOW_MANY)
        ]

    def in_session(self, drawn: bytes) -> tuple[bytes, ...]:
        """The values of one flow, in the order of ACTOR. `drawn`: 40 random bytes, the same for the same flow."""
        person = self._people[int.from_bytes(drawn[:2], "big") % _HOW_MANY]
        token = drawn[4:].hex().encode()
        machine = self._machines[drawn[2] % len(self._machines)]
        return (*person, token[:32], token[16:40], *machine, b"dev_" + token[40:56], token[48:72])


def _person(
    chance: random.Random,
    number: int,
    apps: list[tuple[str, str]],
    connections: list[tuple[str, str, str, str, str]],
    organizations: list[tuple[str, str]],
    agents: list[tuple[str, str, bool, str, str]],
) -> tuple[bytes, ...]:
    given, family = chance.choice(_GIVEN), chance.choice(_FAMILY)
    connection, strategy, kind, prefix, connection_id = chance.choices(connections, (10, 4, 3, 2, 1))[0]
    agent, raw_agent, mobile, ja3, ja4 = chance.choice(agents)
    texts = (
        prefix + chance.randbytes(12).hex(), f"user{number}@example.com", f"{given} {family}", given, family,
        chance.choice(("en-US", "de-DE", "pl-PL", "ja-JP", "pt-BR")), f"+1202555{100 + number % 100:04d}",
        _address(chance, number), agent, f"Mozilla/5.0 (compatible) AppleWebKit/537.36 {raw_agent}",
        "true" if mobile else "false", ja3, ja4, *chance.choice(_PLACES), *chance.choice(apps),
        connection, connection_id, strategy, kind, *chance.choice(organizations), str(1 + chance.randrange(900)),
    )  # fmt: skip
    return tuple(text.encode() for text in texts)


def _address(chance: random.Random, number: int) -> str:
    if number % 4 == 3:
        return f"2001:db8:{number:x}::{chance.randrange(1, 0xFFFF):x}"
    return f"{chance.choice(('192.0.2', '198.51.100', '203.0.113'))}.{chance.randrange(1, 255)}"


def _letters(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(_ALPHABET, k=length))


def _ja4(chance: random.Random) -> str:
    return f"t13d1516h2_{chance.randbytes(6).hex()}_{chance.randbytes(6).hex()}"

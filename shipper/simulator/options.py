"""What a simulated tenant can be told: one frozen dataclass, whose fields the command line shows as they are."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any

__all__ = ["SCOPES", "Options", "described"]


SCOPES = "read:logs read:logs_users"


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything about one simulated tenant; each field's `metadata["help"]` gives its meaning and unit."""

    kind: str = _option("auth0", "whose service it behaves as: auth0 or logto")
    host: str = _option("127.0.0.1", "address to listen on")
    port: int = _option(0, "TCP port; 0 takes a free one")
    domain: str = _option("acme.us.auth0.com", "default tenant domain: names the audience, not the address")
    client_id: str = _option("simulated-client", "the one client that gets tokens")
    client_secret: str = _option("simulated-secret", "its secret")
    public_key_file: str = _option("", "PEM file of its public key: private_key_jwt in place of the secret")
    custom_domain: str = _option("", "a custom domain of the tenant: another audience of client assertions")
    token: str = _option("", "a token that is accepted without asking for it; empty: none")
    scope: str = _option(SCOPES, "scopes of every token, parted by spaces; for Logto this default stands for: all")
    token_life_secs: float = _option(86_400.0, "seconds until a token expires")
    plan: str = _option("enterprise", "whose rate limits apply; none: no limit and no x-ratelimit headers")
    count: int = _option(1_000, "made events in all; 0: no end, which needs a rate")
    backlog: int = _option(0, "with a rate: how many of them are there from the beginning")
    rate: float = _option(0.0, "events that arrive a second; 0: all are there from the beginning")
    history_secs: float = _option(3_600.0, "seconds before the start over which the first events are spread")
    seed: int = _option(1, "the same seed makes the same events and faults")
    events_file: str = _option("", "file of events (a JSON array or NDJSON) to serve instead of made ones")
    retention_days: float = _option(0.0, "days after which an event vanishes from every answer; 0: never")
    rejects_expired: bool = _option(
        default=False, text="answer 400 to a checkpoint older than the retention, instead of going on silently"
    )
    totals_of_all: bool = _option(
        default=False, text="include_totals counts all results, as before search v3, and not those of the page"
    )
    skew_secs: float = _option(0.0, "seconds by which the tenant's clock is ahead of this machine's")
    latency_secs: float = _option(0.0, "seconds before every answer of the logs endpoint")
    fault: str = _option("", "chances of faults: 429:0.01,500:0.02,reset:0.01,cut:,html:,truncated:,slow:,401:")
    slow_secs: float = _option(5.0, "seconds that the fault `slow` adds")
    link_host: str = _option("", "host (https) or origin named in Link; empty: the one that was asked")
    gzip: bool = _option(default=True, text="compress for clients that accept it")
    resource: str = _option("https://default.logto.app/api", "Logto: the Management API's indicator")
    knows_times: bool = _option(default=True, text="Logto: honour start_time and end_time, as 1.40 and later do")
    inclusive: bool = _option(default=True, text="Logto: their bounds are within, as from 1.42 on")
    commit_secs: float = _option(0.0, "Logto: seconds after its createdAt by which an event is committed at the latest")
    logs_tokens: bool = _option(default=True, text="Logto, events from a file: each token writes one more, as there")

    def __post_init__(self) -> None:
        """Refuse what can't work. Raises ValueError that names the option."""
        if self.kind not in ("auth0", "logto"):
            raise ValueError(f"unknown kind {self.kind!r}; known: auth0, logto")
        if self.count < 0 or self.backlog < 0 or self.rate < 0:
            raise ValueError("count, backlog and rate can't be negative")
        if not self.events_file and self.count == 0 and self.rate == 0:
            raise ValueError("count = 0 (no end) needs a rate")
        if self.token_life_secs <= 0 or self.history_secs < 0 or self.retention_days < 0:
            raise ValueError("token_life_secs must be positive, history_secs and retention_days not negative")


def described() -> dict[str, tuple[Any, str]]:
    """Each option's default and help text, in order: for a command line built from them."""
    every: tuple[Field[Any], ...] = fields(Options)
    return {one.name: (one.default, one.metadata["help"]) for one in every}

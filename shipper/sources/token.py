"""The access token of a tenant's Management API: fetched rarely, kept in memory, renewed once for all who need it.

Each token request writes an event into the tenant's own log (Auth0: `seccft`, Logto:
`ExchangeTokenBy.ClientCredentials`), so there is one for many pages, not one a page.
"""

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import msgspec

from shipper.http import Answer, HttpClient, HttpError, reason_of_status
from shipper.metrics import SourceMetrics
from shipper.retry import retry_after_secs
from shipper.secret import Secret
from shipper.sources.pace import ServerClock
from shipper.sources.trouble import Trouble

RENEW_AT = 0.8
"""Share of a token's life after which the next one is fetched."""
TRY_AGAIN_SECS = 60.0
"""How long a renewal that failed rests while the present token is still valid."""
SKEW_SECS = 5
"""Half of what the tenant allows between the assertion's time and its own."""
MAX_ANSWER_BYTES = 64 * 1024


class TokenRequest(msgspec.Struct, frozen=True):
    """A POST to the token endpoint."""

    url: str
    headers: dict[str, str]
    body: bytes


class Grant(ABC):
    """How the tenants of one kind of source grant a token: what they are sent, and what their refusals mean.

    fixed: a token that nobody renews, in place of all requests. dated: a request says when it was made, and is refused
    where that is wrong. needed: the scopes that reading takes; advice: what to do about any others.
    """

    fixed: Secret | None = None
    dated = False
    needed: frozenset[str]
    advice: str

    @abstractmethod
    def request(self, now: int) -> TokenRequest:
        """One request, made anew for each try. now: the tenant's time, seconds since 1970. Raises Trouble."""

    @abstractmethod
    def refusal(self, status: int, code: str, note: str) -> Trouble | None:
        """What this status and error code mean; None where the status says it all. note: to begin the text with."""


class Token:
    """A source's token. clock: monotonic seconds, since a stepping wall clock must not expire it.

    server: the tenant's time, by which a request is dated; every answer sets it. timeout_secs: for one request.
    """

    def __init__(
        self,
        grant: Grant,
        http: HttpClient,
        metrics: SourceMetrics,
        log: Any,
        *,
        server: ServerClock,
        timeout_secs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grant, self._http, self._metrics, self._log, self._clock = grant, http, metrics, log, clock
        self._server, self._timeout_secs = server, timeout_secs
        self._value = ""
        self._renew_at = self._expires_at = 0.0
        self._one_at_a_time = asyncio.Lock()
        self.scopes: frozenset[str] = frozenset()

    async def get(self) -> str:
        """A token that should be valid. Raises Trouble."""
        if self._grant.fixed is not None:
            return self._grant.fixed.get()
        async with self._one_at_a_time:
            if not self._value:
                await self._fetch()
            elif self._clock() >= self._renew_at:
                await self._renew_early()
            return self._value

    async def renew(self, refused: str) -> str:
        """Another token than the refused one; whoever asks second gets what the first one fetched. Raises Trouble."""
        if self._grant.fixed is not None:
            return self._grant.fixed.get()
        async with self._one_at_a_time:
            if self._value == refused:
                await self._fetch()
            return self._value

    async def _renew_early(self) -> None:
        """Another token before the present one expires; while that can't be had, the present one will do."""
        try:
            await self._fetch()
        except Trouble as trouble:
            now = self._clock()
            if now >= self._expires_at:
                raise
            self._renew_at = min(now + TRY_AGAIN_SECS, self._expires_at)
            self._log.warning(
                "the token can't be renewed; the present one is still valid",
                reason=trouble.reason,
                note=trouble.note,
                valid_for_secs=round(self._expires_at - now),
            )

    async def _fetch(self) -> None:
        answer, dated = await self._ask()
        # A dated request is refused where the clock that dated it is wrong; the answer's Date has set it right.
        if answer.status in (400, 401) and self._grant.dated and abs(dated - self._server_secs()) > SKEW_SECS:
            answer, _ = await self._ask()
        found = _object(answer.body)
        if answer.status != 200:
            raise self._refusal(answer, found)
        self._keep(found)

    async def _ask(self) -> tuple[Answer, int]:
        """One request for a token, and the time that it was made for. Raises Trouble."""
        now = self._server_secs()
        request = self._grant.request(now)
        self._metrics.token_requested()
        try:
            answer = await self._http.exchange(
                "POST",
                request.url,
                headers=request.headers,
                body=request.body,
                max_bytes=MAX_ANSWER_BYTES,
                timeout_secs=self._timeout_secs,
            )
        except HttpError as error:
            raise Trouble(error.reason, f"token request: {error}") from None
        self._server.read(answer.headers)
        return answer, now

    def _refusal(self, answer: Answer, found: dict[str, Any]) -> Trouble:
        """Errors hold a short code in `error` (RFC 6749 5.2); their texts are the server's and not repeated."""
        code = found.get("error")
        code = code if isinstance(code, str) and re.fullmatch(r"[A-Za-z_ ]{1,40}", code) else "no error code"
        note = f"token request: HTTP {answer.status} ({code})"
        meant = self._grant.refusal(answer.status, code, note)
        retry_after = retry_after_secs(answer.headers.get("Retry-After"), time.time())
        return meant or Trouble(reason_of_status(answer.status), note, retry_after=retry_after)

    def _server_secs(self) -> int:
        return self._server.now() // 1000

    def _keep(self, found: dict[str, Any]) -> None:
        value, life = found.get("access_token"), found.get("expires_in")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
            raise Trouble("bad_answer", "token request: the answer holds no access token")
        secs = float(life) if isinstance(life, int | float) and 0 < life < 1e9 else 3600.0
        now = self._clock()
        self._value, self._renew_at, self._expires_at = value, now + RENEW_AT * secs, now + secs
        scope = found.get("scope")
        scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset()
        if scopes != self.scopes and scopes - self._grant.needed:
            self._log.warning(
                "the token may do more than read logs",
                superfluous_scopes=len(scopes - self._grant.needed),
                do=self._grant.advice,
            )
        self.scopes = scopes


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}

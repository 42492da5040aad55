"""The access token of a tenant's Management API: fetched rarely, kept in memory, renewed once for all who need it.

Each token request writes an event into the tenant's own log (`seccft`), so there is one for many pages, not one a page.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from shipper.http import Answer, HttpClient, HttpError, reason_of_status
from shipper.metrics import SourceMetrics
from shipper.retry import retry_after_secs
from shipper.sources.assertion import TYPE, KeyUnusableError, client_assertion
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.pace import ServerClock
from shipper.sources.trouble import Trouble

RENEW_AT = 0.8
"""Share of a token's life after which the next one is fetched."""
TRY_AGAIN_SECS = 60.0
"""How long a renewal that failed rests while the present token is still valid."""
SKEW_SECS = 5
"""Half of what the tenant allows between the assertion's time and its own."""
MAX_ANSWER_BYTES = 64 * 1024
NEEDED_SCOPES = frozenset({"read:logs", "read:logs_users"})


class Token:
    """A source's token. clock: monotonic seconds, since a stepping wall clock must not expire it.

    server: the tenant's time, by which an assertion is dated; every answer sets it.
    """

    def __init__(
        self,
        config: Auth0Config,
        http: HttpClient,
        metrics: SourceMetrics,
        log: Any,
        *,
        server: ServerClock,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._http, self._metrics, self._log, self._clock = config, http, metrics, log, clock
        self._server = server
        self._value = ""
        self._renew_at = self._expires_at = 0.0
        self._one_at_a_time = asyncio.Lock()
        self.scopes: frozenset[str] = frozenset()

    async def get(self) -> str:
        """A token that should be valid. Raises Trouble."""
        if self._config.token is not None:
            return self._config.token.get()
        async with self._one_at_a_time:
            if not self._value:
                await self._fetch()
            elif self._clock() >= self._renew_at:
                await self._renew_early()
            return self._value

    async def renew(self, refused: str) -> str:
        """Another token than the refused one; whoever asks second gets what the first one fetched. Raises Trouble."""
        if self._config.token is not None:
            return self._config.token.get()
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
        # An assertion is refused where the clock that dated it is wrong; the answer's Date has set it right.
        if answer.status in (400, 401) and self._config.private_key and abs(dated - self._server_secs()) > SKEW_SECS:
            answer, _ = await self._ask()
        found = _object(answer.body)
        if answer.status != 200:
            retry_after = retry_after_secs(answer.headers.get("Retry-After"), time.time())
            raise _refusal(answer.status, found, retry_after, self._shown())
        self._keep(found)

    async def _ask(self) -> tuple[Answer, int]:
        """One request for a token, and the time that stands in its assertion. Raises Trouble."""
        config, now = self._config, self._server_secs()
        form = {
            "grant_type": "client_credentials",
            "client_id": config.client_id,
            # Auth0 docs: the audience is the tenant's own domain, even through a custom one, with the slash at its end.
            "audience": f"https://{config.domain}/api/v2/",
            **self._proof(now),
        }
        self._metrics.token_requested()
        try:
            answer = await self._http.exchange(
                "POST",
                f"{config.origin}/oauth/token",
                headers={"Content-Type": "application/json"},
                body=msgspec.json.encode(form),
                max_bytes=MAX_ANSWER_BYTES,
                timeout_secs=config.request.timeout_secs,
            )
        except HttpError as error:
            raise Trouble(error.reason, f"token request: {error}") from None
        self._server.read(answer.headers)
        return answer, now

    def _proof(self, now: int) -> dict[str, str]:
        """What shows that we are this application: made anew for each try, since an assertion is taken once."""
        config = self._config
        if config.client_secret is not None:
            return {"client_secret": config.client_secret.get()}
        assert config.private_key is not None, "the settings allow nothing else"  # noqa: S101  checked by Auth0Config
        try:
            key = config.private_key.get()
            assertion = client_assertion(key, client_id=config.client_id, audience=config.assertion_audience, now=now)
        except KeyUnusableError as error:
            raise Trouble("auth", f"the private key can't be used: {error}") from None
        return {"client_assertion_type": TYPE, "client_assertion": assertion}

    def _server_secs(self) -> int:
        return self._server.now() // 1000

    def _shown(self) -> str:
        return "client secret" if self._config.private_key is None else "private key (is its other half registered?)"

    def _keep(self, found: dict[str, Any]) -> None:
        value, life = found.get("access_token"), found.get("expires_in")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
            raise Trouble("bad_answer", "token request: the answer holds no access token")
        secs = float(life) if isinstance(life, int | float) and 0 < life < 1e9 else 3600.0
        now = self._clock()
        self._value, self._renew_at, self._expires_at = value, now + RENEW_AT * secs, now + secs
        scope = found.get("scope")
        scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset()
        if scopes != self.scopes and scopes - NEEDED_SCOPES:
            self._log.warning(
                "the token may do more than read logs",
                superfluous_scopes=len(scopes - NEEDED_SCOPES),
                do="Grant the application read:logs and read:logs_users only.",
            )
        self.scopes = scopes


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(status: int, found: dict[str, Any], retry_after: float | None, shown: str) -> Trouble:
    """Both shapes of Auth0's errors hold a short code in `error`; its texts are the server's and not repeated.

    shown: what the application showed, in words.
    """
    code = found.get("error")
    code = code if isinstance(code, str) and re.fullmatch(r"[A-Za-z_ ]{1,40}", code) else "no error code"
    note = f"token request: HTTP {status} ({code})"
    if status in (400, 401):
        return Trouble("auth", f"{note}: check domain, client_id and {shown}")
    if status == 403:
        return Trouble("forbidden", f"{note}: authorize the application for the Auth0 Management API with read:logs")
    return Trouble(reason_of_status(status), note, retry_after=retry_after)

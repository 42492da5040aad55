"""Requests to an Auth0 tenant's Management API, and what its refusals mean."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from shipper.http import Answer, HttpClient, reason_of_status
from shipper.metrics import SourceMetrics
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.auth0_grant import Auth0Grant
from shipper.sources.chain import PATH, without_default_port
from shipper.sources.pace import until_next_token
from shipper.sources.tenant_api import TenantApi
from shipper.sources.trouble import Trouble


class _Error(msgspec.Struct):
    message: object = None


class Auth0Api(TenantApi):
    """One tenant's API. clock: monotonic seconds; wall: seconds since 1970. hosts: the names it may call itself."""

    def __init__(
        self,
        config: Auth0Config,
        metrics: SourceMetrics,
        log: Any,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        http: HttpClient | None = None,
    ) -> None:
        super().__init__(config, config.origin, Auth0Grant(config), metrics, log, clock=clock, wall=wall, http=http)
        self._config = config
        origin = urlsplit(config.origin)
        self.hosts = frozenset({without_default_port(origin.scheme, origin.netloc.lower()), config.domain})

    async def event(self, log_id: str) -> bytes:
        """One event's JSON as the tenant sends it. Raises Trouble; not_found where the tenant has none such."""
        return await self.one(f"{PATH}/{quote(log_id, safe='')}")

    def _refusal(self, answer: Answer) -> Trouble:
        status = answer.status
        if status == 400:
            note = "HTTP 400: the tenant rejects the request"
            return Trouble("refused", note, status=status, detail=_message(answer.body))
        if status == 401:
            which = "a fresh" if self._config.token is None else "the configured"
            return Trouble("auth", f"HTTP 401 with {which} token: is it this tenant's, with the scope read:logs?")
        if status == 403:
            return Trouble("forbidden", "HTTP 403: the application needs the scope read:logs on the Management API")
        if status == 429:
            wait = until_next_token(answer.headers, self.server.now())
            if wait is None:
                wait = self._retry_after(answer)
            return Trouble("throttled", "HTTP 429: the tenant's rate limit is used up", retry_after=wait)
        note = f"HTTP {status} from {urlsplit(self._config.origin).netloc}"
        return Trouble(reason_of_status(status), note, status=status)


def _message(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=_Error).message
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""
    return found if isinstance(found, str) else ""

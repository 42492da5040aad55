"""Requests to a Logto tenant: its token, pages of its audit log, and what its refusals mean.

Facts from Logto's source (routes/log.ts, middleware/koa-pagination.ts) and docs: pages begin at 1 and hold 100 at most,
newest first; `Total-Number` counts what the filters let through; times are milliseconds since 1970.
"""

import base64
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import msgspec

from shipper.http import Answer, HttpClient, reason_of_status
from shipper.metrics import SourceMetrics
from shipper.sources.logto_config import LogtoConfig
from shipper.sources.tenant_api import Fetch, TenantApi
from shipper.sources.token import Grant, TokenRequest
from shipper.sources.trouble import Trouble

PATH = "/api/logs"
PAGE_SIZE = 100
"""The most that a page may hold: above it the answer is 400."""
_CODE = re.compile(r"[a-z_.]{1,60}")


class LogtoGrant(Grant):
    """Client credentials at the OpenID Connect provider that Logto is; RFC 6749 2.3.1 says how they are written."""

    needed = frozenset({"all"})
    advice = "Give the application's role the permission `all` of the Management API only."

    def __init__(self, config: LogtoConfig) -> None:
        self._config = config

    def request(self, now: int) -> TokenRequest:
        """A form, with the application in the Authorization header."""
        del now
        config = self._config
        pair = f"{quote_plus(config.app_id)}:{quote_plus(config.app_secret.get())}"
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = {"grant_type": "client_credentials", "resource": config.indicator, "scope": "all"}
        return TokenRequest(f"{config.endpoint}/oidc/token", headers, urlencode(form).encode())

    def refusal(self, status: int, code: str, note: str) -> Trouble | None:
        """The provider's error codes tell the application from the resource."""
        if code == "invalid_target":
            return Trouble("auth", f"{note}: check resource: Logto knows no API {self._config.indicator}")
        if status in (400, 401):
            return Trouble("auth", f"{note}: check endpoint, app_id and app_secret")
        if status == 403:
            return Trouble("forbidden", f"{note}: give the application a role for the Logto Management API")
        return None


class LogtoApi(TenantApi):
    """One tenant's API. clock: monotonic seconds; wall: seconds since 1970."""

    def __init__(
        self,
        config: LogtoConfig,
        metrics: SourceMetrics,
        log: Any,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        http: HttpClient | None = None,
    ) -> None:
        super().__init__(config, config.endpoint, LogtoGrant(config), metrics, log, clock=clock, wall=wall, http=http)
        self._config = config
        filters = {"logKey": config.log_key, "applicationId": config.application_id, "userId": config.user_id}
        self._filters = {name: value for name, value in filters.items() if value}

    def page(self, page: int, size: int, since: int | None = None, upto: int | None = None) -> Fetch:
        """Begins the request for a page of what the settings' filters let through.

        since, upto: milliseconds since 1970, both within the answer or not: that depends on the server's release.
        """
        query: dict[str, str | int] = {"page": page, "page_size": size}
        if since is not None:
            query["start_time"] = since
        if upto is not None:
            query["end_time"] = upto
        return self.start(f"{PATH}?{urlencode({**query, **self._filters})}")

    async def event(self, id_: str) -> bytes:
        """One event's JSON as the tenant sends it. Raises Trouble; not_found where the tenant has none such."""
        return await self.one(f"{PATH}/{quote(id_, safe='')}")

    def _refusal(self, answer: Answer) -> Trouble:
        status = answer.status
        if status == 400:
            return Trouble("refused", f"HTTP 400 ({_code_in(answer.body)}): Logto rejects the request for a page")
        if status == 401:
            do = f"is {self._config.indicator} this Logto's Management API (resource)?"
            return Trouble("auth", f"HTTP 401 with a fresh token: {do}")
        if status == 403:
            return Trouble("forbidden", "HTTP 403: the application needs a role for the Logto Management API")
        if status == 429:
            note = "HTTP 429: the tenant's rate limit is used up"
            return Trouble("throttled", note, retry_after=self._retry_after(answer))
        return Trouble(reason_of_status(status), f"HTTP {status} from {self._config.host}")


def total_of(headers: Mapping[str, str]) -> int:
    """How many events the filters let through. Raises Trouble."""
    text = headers.get("Total-Number", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Trouble("bad_answer", "HTTP 200 without a Total-Number: is endpoint the address of a Logto?")
    return int(text)


def _code_in(body: bytes) -> str:
    """Logto's own short code for an error; its texts are the server's and not repeated."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        found = None
    code = found.get("code") if isinstance(found, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "no error code"

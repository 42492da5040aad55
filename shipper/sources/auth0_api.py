"""Requests to one tenant's Management API: token, deadline, what an answer's status means."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

from multidict import CIMultiDictProxy

from shipper.http import Answer, HttpClient, HttpError, reason_of_status
from shipper.metrics import SourceMetrics
from shipper.retry import retry_after_secs
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.chain import PATH, without_default_port
from shipper.sources.pace import ServerClock, remaining_requests, until_next_token
from shipper.sources.token import Token
from shipper.sources.trouble import Trouble

MAX_PAGE_BYTES = 16 << 20
"""A hundred events of 45 kB are 4.5 MB; beyond this it is an attack or a mistake."""


class Fetch:
    """A request under way: `headers` of a good answer are there before its body. Both raise Trouble."""

    def __init__(self, target: str, read: Callable[["Fetch"], Awaitable[Answer]]) -> None:
        self.target = target
        self.headers: asyncio.Future[CIMultiDictProxy[str]] = asyncio.get_running_loop().create_future()
        self.answer = asyncio.ensure_future(read(self))
        self.answer.add_done_callback(self._ended)

    def _ended(self, answer: asyncio.Future[Answer]) -> None:
        # Asking for the exception marks it as seen: nobody may wait for a request that was started ahead.
        error = None if answer.cancelled() else answer.exception()
        if self.headers.done():
            return
        if error is None:
            self.headers.cancel()
        else:
            self.headers.set_exception(error)
            self.headers.exception()

    async def drop(self) -> None:
        """Ends it, whatever it was doing."""
        self.answer.cancel()
        await asyncio.wait([self.answer])


class Auth0Api:
    """One tenant's API. clock: monotonic seconds; wall: seconds since 1970."""

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
        self._config, self._metrics, self._wall = config, metrics, wall
        self._http = http or HttpClient(proxy=config.proxy, tls=config.tls)
        self.server = ServerClock(clock, wall)
        self.token = Token(config, self._http, metrics, log, server=self.server, clock=clock)
        origin = urlsplit(config.origin)
        self.hosts = frozenset({without_default_port(origin.scheme, origin.netloc.lower()), config.domain})

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    def start(self, target: str) -> Fetch:
        """Begins a request for this path and query."""
        return Fetch(target, self._get)

    async def get(self, target: str) -> Answer:
        """The whole answer, with status 200. Raises Trouble."""
        return await self.start(target).answer

    async def event(self, log_id: str) -> bytes:
        """One event's JSON as the tenant sends it. Raises Trouble; not_found where the tenant has none such."""
        answer = await self.get(f"{PATH}/{quote(log_id, safe='')}")
        if not answer.body.lstrip().startswith(b"{"):
            raise Trouble("bad_answer", f"HTTP 200 but no JSON object: is {self._config.origin} the tenant's address?")
        return answer.body

    async def _get(self, fetch: Fetch) -> Answer:
        token = await self.token.get()
        answer = await self._ask(fetch, token)
        if answer.status == 401:
            renewed = await self.token.renew(token)
            # A fixed token can't be renewed: asking again with it would only double the failures.
            if renewed != token:
                answer = await self._ask(fetch, renewed)
        if answer.status != 200:
            raise self._refusal(answer)
        return answer

    async def _ask(self, fetch: Fetch, token: str) -> Answer:
        def headers_in(status: int, headers: CIMultiDictProxy[str]) -> None:
            self.server.read(headers)
            if status == 200 and not fetch.headers.done():
                fetch.headers.set_result(headers)

        try:
            answer = await self._http.exchange(
                "GET",
                self._config.origin + fetch.target,
                headers={"Authorization": f"Bearer {token}"},
                max_bytes=MAX_PAGE_BYTES,
                timeout_secs=self._config.request.timeout_secs,
                on_headers=headers_in,
            )
        except HttpError as error:
            self._metrics.answered("timeout" if error.reason == "timeout" else "error")
            raise Trouble(error.reason, str(error)) from None
        self._metrics.answered(str(answer.status))
        left = remaining_requests(answer.headers)
        if left is not None:
            self._metrics.remaining(left)
        return answer

    def _refusal(self, answer: Answer) -> Trouble:
        status = answer.status
        if status == 400:
            return Trouble("refused", "HTTP 400: the tenant rejects the request")
        if status == 401:
            which = "a fresh" if self._config.token is None else "the configured"
            return Trouble("auth", f"HTTP 401 with {which} token: is it this tenant's, with the scope read:logs?")
        if status == 403:
            return Trouble("forbidden", "HTTP 403: the application needs the scope read:logs on the Management API")
        if status == 429:
            wait = until_next_token(answer.headers, self.server.now())
            if wait is None:
                wait = retry_after_secs(answer.headers.get("Retry-After"), self._wall())
            return Trouble("throttled", "HTTP 429: the tenant's rate limit is used up", retry_after=wait)
        return Trouble(reason_of_status(status), f"HTTP {status} from {urlsplit(self._config.origin).netloc}")

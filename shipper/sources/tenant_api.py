"""Requests to one tenant's API: token, deadline, limits; what a refusal means is left to the kind of source."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from multidict import CIMultiDictProxy

from shipper.http import Answer, HttpClient, HttpError
from shipper.metrics import SourceMetrics
from shipper.retry import retry_after_secs
from shipper.sources import SourceConfig
from shipper.sources.pace import ServerClock, remaining_requests
from shipper.sources.token import Grant, Token
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


class TenantApi(ABC):
    """One tenant's API. origin: scheme and host of all requests. clock: monotonic seconds; wall: seconds since 1970."""

    def __init__(
        self,
        config: SourceConfig,
        origin: str,
        grant: Grant,
        metrics: SourceMetrics,
        log: Any,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        http: HttpClient | None = None,
    ) -> None:
        self._origin, self._metrics, self._wall = origin, metrics, wall
        self._timeout_secs = config.request.timeout_secs
        self._http = http or HttpClient(proxy=config.proxy, tls=config.tls)
        self.server = ServerClock(clock, wall)
        self.token = Token(
            grant, self._http, metrics, log, server=self.server, timeout_secs=self._timeout_secs, clock=clock
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    def start(self, target: str) -> Fetch:
        """Begins a request for this path and query."""
        return Fetch(target, self._get)

    async def get(self, target: str) -> Answer:
        """The whole answer, with status 200. Raises Trouble."""
        return await self.start(target).answer

    async def one(self, target: str) -> bytes:
        """One event's JSON as the tenant sends it. Raises Trouble; not_found where the tenant has none such."""
        answer = await self.get(target)
        if not answer.body.lstrip().startswith(b"{"):
            raise Trouble("bad_answer", f"HTTP 200 but no JSON object: is {self._origin} the tenant's address?")
        return answer.body

    @abstractmethod
    def _refusal(self, answer: Answer) -> Trouble:
        """What an answer other than 200 means."""

    def _retry_after(self, answer: Answer) -> float | None:
        return retry_after_secs(answer.headers.get("Retry-After"), self._wall())

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
                self._origin + fetch.target,
                headers={"Authorization": f"Bearer {token}"},
                max_bytes=MAX_PAGE_BYTES,
                timeout_secs=self._timeout_secs,
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

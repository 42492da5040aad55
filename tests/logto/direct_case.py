"""The simulated tenant without a socket, for tests that change it between any two of its answers."""

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

from shipper.http import Answer, HttpClient
from shipper.simulator.answer import Asked
from shipper.simulator.logto import LogtoTenant


class DirectHttp(HttpClient):
    """Each request is answered at once. before: called before each answer, with its path."""

    def __init__(self, tenant: LogtoTenant, before: Callable[[str], None]) -> None:
        self._tenant, self._before = tenant, before

    async def close(self) -> None:
        pass

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        max_bytes: int,
        timeout_secs: float | None = None,
        on_headers: Callable[[int, CIMultiDictProxy[str]], None] | None = None,
    ) -> Answer:
        await asyncio.sleep(0)
        parts = urlsplit(url)
        self._before(parts.path)
        named = CIMultiDict({**(headers or {}), "Host": parts.netloc})
        asked = Asked(method, parts.path, dict(parse_qsl(parts.query)), named, self._tenant.now(), body or b"")
        self._tenant.record(asked)
        found = self._tenant.answer(asked)
        sent = CIMultiDictProxy(CIMultiDict(found.headers))
        if on_headers is not None:
            on_headers(found.status, sent)
            await asyncio.sleep(0)
        return Answer(found.status, sent, found.body)

"""A tenant behind a network that fails by a seed: pages by a chain of links, from a log that grows."""

import asyncio
import errno
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random
from types import TracebackType
from typing import Any, cast

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from shipper.http import HttpClient

START = 1_790_000_000
"""The wall clock when virtual time is 0, in seconds since 1970."""
DOMAIN = "acme.us.auth0.com"
TROUBLE = ("429", "500", "401", "reset", "hang", "cut", "again", "no link", "foreign link", "html", "late headers")


class Tenant:
    """The truth. faults: so many of its answers fail. Events are there from their time on; `now` is virtual time.

    wrong: what the destinations noticed, as an exception in a sink would be taken for the sink's bug.
    """

    def __init__(self, draw: Random, faults: int) -> None:
        self._draw, self.faults = draw, faults
        self.page_size = draw.randint(2, 3)
        self.token = 0
        self.last_fault = 0.0
        self.wrong: list[str] = []
        count = draw.choice((3, 3, 4, 5, 9))
        backlog = draw.randint(0, count - 1)
        gap = draw.choice((0.05, 0.3, 1.0))
        self.times = [max(0, n - backlog + 1) * gap for n in range(count)]
        self.ids = [_log_id(n - count + at, n) for n, at in enumerate(self.times)]
        self.events = [_event(id_, n, draw.randint(0, 40)) for n, id_ in enumerate(self.ids)]
        self.index = {id_: n for n, id_ in enumerate(self.ids)}

    def issued(self, now: float) -> int:
        """How many of the events are there."""
        return sum(at <= now for at in self.times)

    def trouble(self) -> str:
        """What becomes of the next answer, "" where nothing does."""
        if not self.faults or self._draw.random() > 0.3:
            return ""
        self.faults -= 1
        return self._draw.choice(TROUBLE)

    def page(self, query: Any, now: float) -> tuple[list[int], str]:
        """The numbers of the events behind `from`, and the id to go on from."""
        behind = [n for n in range(self.issued(now)) if self.ids[n] > query["from"]]
        numbers = behind[: min(self.page_size, int(query.get("take", 50)))]
        return numbers, self.ids[numbers[-1]] if numbers else query["from"]

    def body(self, numbers: list[int]) -> bytes:
        return b"[" + b",".join(self.events[n] for n in numbers) + b"]"


class _Content:
    """The body's pieces, each of which takes its time."""

    def __init__(self, pieces: list[bytes | Exception]) -> None:
        self._pieces = pieces

    def iter_any(self) -> "_Content":
        return self

    def __aiter__(self) -> "_Content":
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


class _Response:
    def __init__(self, status: int, headers: CIMultiDict[str], url: URL, pieces: list[bytes | Exception]) -> None:
        self.status, self.headers, self.url = status, CIMultiDictProxy(headers), url
        self.content = _Content(pieces)


class _Exchange:
    """One request, as aiohttp gives it: `async with` it and read."""

    def __init__(self, tenant: Tenant, draw: Random, url: URL, headers: dict[str, str]) -> None:
        self._tenant, self._draw, self._url, self._asked = tenant, draw, url, headers

    async def __aenter__(self) -> _Response:
        await asyncio.sleep(self._draw.choice((0.0, 0.01, 0.3)))
        now = asyncio.get_running_loop().time()
        trouble = self._tenant.trouble()
        if trouble:
            self._tenant.last_fault = now
        if trouble == "reset":
            raise aiohttp.ClientOSError(errno.ECONNRESET, "connection reset")
        if trouble == "hang":
            self._tenant.last_fault = now + 30
            await asyncio.Event().wait()
        if trouble == "late headers":
            await asyncio.sleep(20)
        headers = CIMultiDict({"Date": format_datetime(datetime.fromtimestamp(int(START + now), UTC), usegmt=True)})
        if trouble == "500":
            return self._answer(500, headers, b"oops")
        if trouble == "429":
            headers["x-ratelimit-reset"] = str(int(START + now) + self._draw.randint(-1, 3))
            return self._answer(429, headers, b"{}")
        if self._url.path == "/oauth/token":
            self._tenant.token += trouble != ""
            return self._answer(200, headers, b'{"access_token":"t%d","expires_in":86400}' % self._tenant.token)
        if trouble == "401":
            self._tenant.token += 1
        if self._asked["Authorization"] != f"Bearer t{self._tenant.token}":
            return self._answer(401, headers, b"{}")
        return self._page(trouble, headers, now)

    def _page(self, trouble: str, headers: CIMultiDict[str], now: float) -> _Response:
        numbers, last = self._tenant.page(self._url.query, now)
        if trouble == "html":
            return self._answer(200, headers, b"<html>please sign in</html>")
        if trouble == "again" and numbers:
            numbers = [max(0, numbers[0] - 1), *numbers, self._draw.choice(numbers)]
        host = "evil.example" if trouble == "foreign link" else DOMAIN
        if trouble != "no link":
            headers["Link"] = f'<https://{host}/api/v2/logs?take={self._tenant.page_size}&from={last}>; rel="next"'
        body = self._tenant.body(numbers)
        if trouble == "cut":
            return self._answer(200, headers, body[: self._draw.randrange(len(body))])
        return self._answer(200, headers, body)

    def _answer(self, status: int, headers: CIMultiDict[str], body: bytes) -> _Response:
        middle = self._draw.randint(0, len(body))
        pieces: list[bytes | Exception] = [body[:middle], body[middle:]]
        if status == 200 and not body.endswith((b"]", b"}", b">")) and self._draw.random() < 0.5:
            pieces[1] = aiohttp.ClientPayloadError("cut off")
        return _Response(status, headers, self._url, pieces)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _Network:
    """Stands where aiohttp's session stands: beyond it is the tenant."""

    def __init__(self, tenant: Tenant, draw: Random) -> None:
        self._tenant, self._draw = tenant, draw

    def request(self, method: str, url: URL, *, headers: dict[str, str], **_: object) -> _Exchange:
        return _Exchange(self._tenant, self._draw, url, headers)

    async def close(self) -> None:
        return None


class SimulatedHttp(HttpClient):
    """The real client, on a network that is the tenant."""

    def __init__(self, tenant: Tenant, draw: Random) -> None:
        self._proxy, self._proxies = "none", {}
        self._session = cast("aiohttp.ClientSession", _Network(tenant, draw))


def _log_id(secs: float, number: int) -> str:
    moment = datetime.fromtimestamp(START + secs, UTC)
    return f"900{moment:%Y%m%d%H%M%S%f}{number:033d}"


def _event(id_: str, number: int, size: int) -> bytes:
    return b'{"log_id":"%s","type":"%s","n":%d,"pad":"%s"}' % (
        id_.encode(),
        type_of(number).encode(),
        number,
        b"x" * size,
    )


def type_of(number: int) -> str:
    """The type of the event with this number."""
    return "abc"[number % 3]

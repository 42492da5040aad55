"""HTTP as both sides need it: one deadline, bounded answers, no redirects, foreign errors by cause.

Everything that is read here was written by a machine that may be hostile or broken: an answer is inflated in small
steps and refused beyond its limit, and nothing is followed anywhere.
"""

import asyncio
import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
import msgspec
from isal import isal_zlib
from isal.igzip_lib import IsalError as _IsalError
from multidict import CIMultiDictProxy
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from yarl import URL

from shipper.reasons import Reason
from shipper.tls import Tls, tls_trouble

# The stub declares an instance where the library has a class.
IsalError = cast("type[Exception]", _IsalError)

INFLATE_STEP = 1 << 20
"""Bytes that one step of decompression may produce: what a bomb costs beyond the answer's limit."""
LARGE_BODY_BYTES = 1 << 20
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_HEADER_BYTES = 32 * 1024
"""Of one header: a longer Link than is ever followed must not make its page unreadable."""


class Proxy(str):
    """The setting `proxy`: an address, "none", or "" for the environment's.

    It may hold a password, so what shows settings (repr, model_dump, JSON) shows stars in its place.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self.masked())

    def masked(self) -> str:
        """Without user name and password."""
        return _USER.sub(r"\1**********@", self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(cls.masked)
        )


_USER = re.compile(r"^(\w*://)?.*@", re.DOTALL)


class Answer(msgspec.Struct, frozen=True):
    """A whole answer: status, headers (any case), the body after decompression."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class HttpError(Exception):
    """No usable answer. `reason` says why; the text names host and cause, never query, headers or content."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class HttpClient:
    """One pool of connections with one trust and one proxy setting.

    proxy: a URL; "" for what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say; "none" for a direct connection.
    cookies: keep them, for load balancers that go by them.
    """

    def __init__(self, *, proxy: str = "", tls: Tls | None = None, cookies: bool = False) -> None:
        self._proxy = proxy
        self._proxies: dict[str, str | None] = {}
        self._tls, self._cookies = tls or Tls(), cookies
        self._files = self._tls.files()
        self._session = self._new_session()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64, ssl=self._tls.context()),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            max_field_size=MAX_HEADER_BYTES,
            cookie_jar=aiohttp.CookieJar(unsafe=True) if self._cookies else aiohttp.DummyCookieJar(),
            headers={"User-Agent": "identity-log-shipper", "Accept-Encoding": "gzip"},
        )

    async def _trust_anew(self) -> None:
        """Where a file of `tls` was replaced since it was read, the next connection goes by the new one."""
        files = self._tls.files()
        if files == self._files:
            return
        try:
            session = self._new_session()
        except OSError:
            return  # half written, perhaps: the next failure looks again
        self._files, before, self._session = files, self._session, session
        await before.close()

    def _proxy_to(self, target: URL) -> str | None:
        # Remembered, since looking through the environment costs as much as all else before the request is sent.
        origin = str(target.origin())
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(origin, self._proxy)
        return self._proxies[origin]

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

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
        """Sends one request once and reads its whole answer.

        max_bytes: the most that the answer may hold after decompression. timeout_secs: for everything together.
        on_headers: called with status and headers before the body is read. Raises HttpError.
        """
        target = URL(url, encoded=True)
        proxy = self._proxy_to(target)
        started = time.monotonic()
        try:
            async with (
                asyncio.timeout(timeout_secs),
                self._session.request(
                    method, target, headers=headers, data=_pieces(body), allow_redirects=False, proxy=proxy
                ) as response,
            ):
                if on_headers is not None:
                    on_headers(response.status, response.headers)
                    # Whoever waits for the headers goes first, and then what that one starts: a request that leaves
                    # before this body is inflated and not after it.
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                data = await _read(response, max_bytes)
                return Answer(response.status, response.headers, data)
        except TimeoutError:
            waited = time.monotonic() - started
            note = f"no whole answer from {target.host} in {waited:.1f} s {_way(proxied=proxy is not None)}"
            raise HttpError("timeout", note) from None
        except (aiohttp.ClientError, IsalError, OSError, ValueError) as error:
            failure = _by_cause(error, str(target.host), proxied=proxy is not None)
            if failure.reason == "tls":
                await self._trust_anew()
            raise failure from None


def _pieces(body: bytes | None) -> bytes | io.BytesIO | None:
    # aiohttp hands bytes over at one go, and warns of it above 1 MiB; a file's it sends piece by piece.
    return io.BytesIO(body) if body is not None and len(body) > LARGE_BODY_BYTES else body


def proxy_for(url: str, setting: str) -> str | None:
    """The proxy that a request to this URL goes through: the setting, else the environment; None for none.

    http on loopback has none, whatever is set: a proxy can't reach it, and would read the credentials.
    """
    parts = urlsplit(url)
    if setting == "none" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return None
    if setting:
        return str(setting)
    proxies = getproxies_environment()
    if not proxies or proxy_bypass_environment(parts.netloc, proxies):
        return None
    found = proxies.get(parts.scheme)
    return f"http://{found}" if found and "://" not in found else found


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise HttpError("bad_answer", f"{response.url.host} answers in an encoding that was not asked for")
    inflate = _Inflate() if encoding.endswith("gzip") else None
    pieces: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        for piece in (chunk,) if inflate is None else inflate.pieces(chunk):
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise HttpError("bad_answer", f"{response.url.host} answers with more than {max_bytes} bytes")
    if inflate is not None and not inflate.whole:
        raise HttpError("bad_answer", f"{response.url.host} sent an incomplete gzip stream")
    return b"".join(pieces)


class _Inflate:
    """Decompresses gzip (one member after another) in steps, so that a bomb never comes out whole."""

    def __init__(self) -> None:
        self._stream = isal_zlib.decompressobj(wbits=31)
        self._begun = False

    @property
    def whole(self) -> bool:
        """Nothing came at all, or the last member has come to its end."""
        return self._stream.eof or not self._begun

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What comes out of these bytes, a step at a time."""
        while chunk:
            self._begun = True
            if self._stream.eof:
                self._stream = isal_zlib.decompressobj(wbits=31)
            yield self._stream.decompress(chunk, INFLATE_STEP)
            chunk = self._stream.unconsumed_tail or self._stream.unused_data


_CAUSES: tuple[tuple[type[BaseException], Reason, str], ...] = (
    (aiohttp.ClientConnectorDNSError, "unreachable", "the name can't be resolved"),
    (aiohttp.ClientProxyConnectionError, "unreachable", "the proxy can't be reached"),
    (aiohttp.ClientHttpProxyError, "unreachable", "the proxy refused the connection"),
    (aiohttp.ClientConnectorError, "unreachable", "no connection"),
    (aiohttp.ClientPayloadError, "bad_answer", "the answer was cut off"),
    (aiohttp.ServerDisconnectedError, "unreachable", "the connection was closed before the answer"),
    (aiohttp.ClientResponseError, "bad_answer", "the answer is no valid HTTP"),
    (aiohttp.InvalidURL, "bad_answer", "the address is no valid URL"),
    (aiohttp.ClientOSError, "unreachable", "the connection was lost"),
    (IsalError, "bad_answer", "the answer is no valid gzip"),
    (OSError, "unreachable", "the connection failed"),
)


def _by_cause(error: BaseException, host: str, *, proxied: bool) -> HttpError:
    if isinstance(error, HttpError):
        return error
    if isinstance(error, aiohttp.ClientHttpProxyError) and error.status == 407:
        return HttpError("auth", f"{host}: the proxy wants a user name and password, or others (HTTP 407)")
    way = f" {_way(proxied=True)}" if proxied else ""
    # Also behind the handshake: in TLS 1.3 a missing client certificate is told after it, as a lost connection.
    if (trouble := tls_trouble(error)) is not None:
        return HttpError("tls", f"{host}{way}: {trouble}")
    for kind, reason, text in _CAUSES:
        if isinstance(error, kind):
            return HttpError(reason, f"{host}: {text}{'' if 'proxy' in text else way}{_cause(error)}")
    return HttpError("bad_answer", f"{host}: the exchange failed{way} ({type(error).__name__})")


def _way(*, proxied: bool) -> str:
    return "through the proxy" if proxied else "without a proxy"


def _cause(error: BaseException) -> str:
    """The system's own word for it, which names no content: an errno's text."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f" (HTTP {error.status})"
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, OSError) and inner.strerror:
        return f" ({inner.strerror[:100]})"
    return ""


def reason_of_status(status: int) -> Reason:
    """What a status other than success means where the service says nothing better: one table for all."""
    if status in _STATUSES:
        return _STATUSES[status]
    if 300 <= status < 400:
        return "redirected"
    return "server_error" if status >= 500 else "bad_answer"


_STATUSES: dict[int, Reason] = {
    401: "auth",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    407: "auth",
    408: "server_error",
    410: "not_found",
    429: "throttled",
}

"""The tenant of a soak: `shipper.simulator` on a thread of its own, with faults that come and go."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

from multidict import CIMultiDict

from shipper.simulator.answer import Answer, Asked
from shipper.simulator.server import serve
from shipper.simulator.tenant import Tenant
from soak.weather import Weather

KINDS = (
    "500", "503", "429", "401", "reset", "cut", "truncated", "html", "slow", "overlap", "no_link", "foreign_link",
    "same_page", "token_500", "token_429", "token_html", "token_reset",
)  # fmt: skip
ELSEWHERE = "https://elsewhere.example/api/v2/logs?from=1&take=100"
HTML = Answer(200, {"Content-Type": "text/html"}, b"<html>Please log in to the hotel's network</html>")
STARTED_WITHIN_SECS = 10.0


class FaultyTenant:
    """Answers as the tenant does, except in foul weather. url: where, once entered."""

    def __init__(self, tenant: Tenant, weather: Weather) -> None:
        self.tenant, self.weather = tenant, weather
        self.url = ""
        self._previous = ""
        self._revoked: object = None

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Listens while the block runs."""
        loop, started = asyncio.new_event_loop(), threading.Event()
        stop = asyncio.Event()

        async def serve_until_stopped() -> None:
            self.tenant.script.append(self._logs)
            self.tenant.token_script.append(self._token)
            async with serve(self.tenant) as running:
                self.url = running.url
                started.set()
                await stop.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=[serve_until_stopped()], name="tenant")
        thread.start()
        try:
            if not started.wait(STARTED_WITHIN_SECS):
                raise RuntimeError("the tenant did not start")
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    @property
    def done(self) -> bool:
        """Whether every event is issued."""
        return self.tenant.count() == self.tenant.options.count

    def _logs(self, asked: Asked) -> Answer | None:
        self.tenant.script.append(self._logs)
        kind = self.weather.fault()
        if not kind:
            self.weather.through()
            self._previous = asked.query.get("from", "")
            return None
        if kind == "401" or kind.startswith("token_"):
            self._revoke_once(kind)
            return None
        return _plain_fault(kind, asked) or self._disturbed(kind, asked)

    def _revoke_once(self, kind: str) -> None:
        """A token lives long: its endpoint is only asked again when those in use count no more."""
        if self._revoked is not self.weather.recovering or kind == "401":
            self._revoked = self.weather.recovering
            self.tenant.revoke_tokens()

    def _token(self, asked: Asked) -> Answer | None:
        self.tenant.token_script.append(self._token)
        kind = self.weather.fault()
        return _plain_fault(kind.removeprefix("token_"), asked) if kind.startswith("token_") else None

    def _disturbed(self, kind: str, asked: Asked) -> Answer:
        headers = CIMultiDict(asked.headers)
        headers.pop("Accept-Encoding", None)
        plain = replace(asked, headers=headers)
        answer = self.tenant.answer(plain)
        if answer.status != 200:
            return answer
        match kind:
            case "cut":
                return replace(answer, cut_after=len(answer.body) // 2)
            case "truncated":
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "slow":
                return replace(answer, delay_secs=1.5)
            case "no_link":
                return replace(answer, headers={k: v for k, v in answer.headers.items() if k != "Link"})
            case "foreign_link":
                return replace(answer, headers={**answer.headers, "Link": f'<{ELSEWHERE}>; rel="next"'})
            case "same_page":
                link = f'<{self.url}{asked.path}?from={asked.query.get("from", "")}&take=100>; rel="next"'
                return replace(answer, headers={**answer.headers, "Link": link})
        return self._overlapping(answer, plain)

    def _overlapping(self, answer: Answer, asked: Asked) -> Answer:
        """The page before it once more, and then the page."""
        # A daemon that was killed asks again for what it had asked for already: then the last page is none before it.
        if self._previous > asked.query.get("from", ""):
            return answer
        earlier = self.tenant.answer(replace(asked, query={**asked.query, "from": self._previous or "0" * 56}))
        if earlier.status != 200 or earlier.body == b"[]" or answer.body == b"[]":
            return answer
        return replace(answer, body=earlier.body[:-1] + b"," + answer.body[1:])


def _plain_fault(kind: str, asked: Asked) -> Answer | None:
    """The faults that need no page."""
    match kind:
        case "reset":
            return Answer(cut_after=-1)
        case "html":
            return HTML
        case "500" | "503":
            return Answer(int(kind), body=b'{"statusCode":500}')
        case "429":
            return Answer(429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(asked.at) + 1)}, b"{}")
    return None

"""What any simulated tenant does, whichever service it belongs to: scripts, faults, its clock, compression."""

from __future__ import annotations

import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import Any, ClassVar

from shipper.simulator.answer import Answer, Asked, Scripted, error
from shipper.simulator.faults import Faults
from shipper.simulator.options import Options
from shipper.simulator.tokens import Tokens, expired

__all__ = ["Served"]

_REQUESTS_KEPT = 20_000


class Served(ABC):
    """One tenant: its events, tokens and limits.

    For tests: `requests` is what came in (the last 10,000 at least); `script` holds answers for the next requests to
    the logs endpoints (an `Answer`, or a callable that gets the `Asked` and may be async; None from it means: as
    usual), `token_script` for those to the token endpoint.
    """

    TOKEN: ClassVar[str]
    tokens: Tokens

    def __init__(self, options: Options, clock: Callable[[], float] = time.time) -> None:
        """Raises ValueError for an option that can't work."""
        self.options = options
        self.requests: list[Asked] = []
        self.script: list[Scripted] = []
        self.token_script: list[Scripted] = []
        self._clock = clock
        self._faults = Faults(options.fault, options.seed)

    @abstractmethod
    def count(self) -> int:
        """How many events the tenant has issued so far, whether they are still retained or not."""

    @abstractmethod
    def issued(self) -> Iterator[tuple[str, bytes]]:
        """(id, exact bytes) of every event issued so far, in the service's order."""

    @abstractmethod
    def ids(self) -> Iterator[str]:
        """The ids alone."""

    @abstractmethod
    def _is_logs(self, path: str) -> bool:
        """Whether this is one of the logs endpoints."""

    @abstractmethod
    def _logs(self, asked: Asked) -> Answer:
        """An undisturbed answer of the logs endpoints."""

    @property
    @abstractmethod
    def described(self) -> str:
        """In some words, for the line that says where it listens."""

    def now(self) -> float:
        """The tenant's own clock, in unix seconds."""
        return self._clock() + self.options.skew_secs

    def revoke_tokens(self) -> None:
        """Every token handed out so far is answered as expired from here on."""
        self.tokens.revoke()

    def issue_token(self) -> str:
        """A valid token, without a request."""
        return self.tokens.issue(self.now())

    def record(self, asked: Asked) -> None:
        """Keep a request for `requests`."""
        self.requests.append(asked)
        if len(self.requests) > _REQUESTS_KEPT:
            del self.requests[: _REQUESTS_KEPT // 2]

    def scripted(self, asked: Asked) -> Scripted | None:
        """Take the next scripted answer, if there is one for this endpoint."""
        script = self.script if self._is_logs(asked.path) else self.token_script if asked.path == self.TOKEN else []
        return script.pop(0) if script else None

    def answer(self, asked: Asked) -> Answer:
        """What the tenant answers to one request, faults included."""
        if asked.path == self.TOKEN:
            answer = _only("POST", asked) or self.tokens.answer(asked)
        elif self._is_logs(asked.path):
            answer = _only("GET", asked) or self._disturbed(asked)
            answer = replace(answer, delay_secs=answer.delay_secs + self.options.latency_secs)
        else:
            answer = error(404, "Not Found", "Not Found")
        return self._finished(answer, asked)

    def _disturbed(self, asked: Asked) -> Answer:
        match self._faults.draw():
            case None:
                return self._logs(asked)
            case "reset":
                return Answer(cut_after=-1)
            case "html":
                page = b"<!doctype html><html><head><title>One moment</title></head><body>Please wait</body></html>"
                return Answer(200, {"Content-Type": "text/html"}, page)
            case "cut":
                answer = self._logs(asked)
                return replace(answer, cut_after=len(answer.body) // 2)
            case "truncated":
                answer = self._logs(asked)
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "slow":
                return replace(self._logs(asked), delay_secs=self.options.slow_secs)
            case "401":
                return expired()
            case "429":
                return self._throttled(asked)
            case status:
                return error(int(status), "Error", "An error of the simulator's own")

    @abstractmethod
    def _throttled(self, asked: Asked) -> Answer:
        """429, with what the service says about when to come again."""

    def _finished(self, answer: Answer, asked: Asked) -> Answer:
        headers: Mapping[str, Any] = {**answer.headers, "Date": formatdate(asked.at, usegmt=True)}
        body = answer.body
        # An answer that will be torn down stays plain, so that the place of the cut is the one that was meant.
        wanted = self.options.gzip and answer.cut_after is None and len(body) > 200
        if wanted and "gzip" in asked.headers.get("Accept-Encoding", ""):
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
            headers = {**headers, "Content-Encoding": "gzip"}
        return replace(answer, headers=headers, body=body)


def _only(method: str, asked: Asked) -> Answer | None:
    return None if asked.method == method else error(405, "Method Not Allowed", f"Use {method}", "", {"Allow": method})

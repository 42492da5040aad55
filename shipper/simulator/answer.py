"""What a tenant was asked and what it answers: plain values, so that the tenant decides and the server only does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Asked", "Scripted", "error", "json_answer"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came in; `headers` looks names up in any case, `at` is the tenant's unix time.

    `target_bytes`: the length of path and query as they were sent.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    at: float
    body: bytes = b""
    target_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; what a test does not set is what an undisturbed answer has."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_secs: float = 0.0
    # Torn down after so many bytes of the body (the header promises all); -1: before the status line.
    cut_after: int | None = None
    # The header goes out at once, the body when this is set.
    body_after: asyncio.Event | None = None


# A callable that returns None lets the tenant answer as usual.
_Perhaps = Answer | None
Scripted = Answer | Callable[[Asked], _Perhaps | Awaitable[_Perhaps]]


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with compact UTF-8 JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, text.encode())


def error(status: int, name: str, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """An error of the Management API; not every one has an errorCode."""
    body: dict[str, Any] = {"statusCode": status, "error": name, "message": message}
    if code:
        body["errorCode"] = code
    return json_answer(status, body, headers)

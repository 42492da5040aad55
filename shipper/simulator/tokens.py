"""The tenant's token endpoint and its judgement of a bearer token, without sockets.

Auth0 docs: "Get Management API Access Tokens for Production" and "Client Credentials Flow".
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from shipper.simulator.answer import Answer, error, json_answer
from shipper.simulator.options import Options

__all__ = ["Tokens"]

_NEEDED = "read:logs"


class Tokens:
    """Gives tokens to the one known client, and knows which of them still count."""

    def __init__(self, options: Options) -> None:
        self.scope = options.scope
        self.requests = 0
        self._options = options
        self._known: dict[str, tuple[float, str]] = {}
        if options.token:
            self._known[options.token] = (float("inf"), options.scope)

    def issue(self, now: float) -> str:
        """A new token, valid from `now` (unix seconds) for the configured life."""
        token = secrets.token_urlsafe(24)
        self._known[token] = (now + self._options.token_life_secs, self.scope)
        return token

    def revoke(self) -> None:
        """Every token so far counts as expired from here on."""
        self._known = {token: (float("-inf"), scope) for token, (_, scope) in self._known.items()}

    def answer(self, body: bytes, content_type: str, now: float) -> Answer:
        """POST /oauth/token with the grant `client_credentials`, as JSON or as a form."""
        self.requests += 1
        asked = _fields(body, content_type)
        if asked is None:
            return _refused(400, "invalid_request", "The body is neither JSON nor a form")
        grant = asked.get("grant_type")
        if grant != "client_credentials":
            return _refused(403, "unsupported_grant_type", f"Unsupported grant type: {grant}")
        known = (self._options.client_id, self._options.client_secret)
        if (asked.get("client_id"), asked.get("client_secret")) != known:
            return _refused(401, "access_denied", "Unauthorized")
        audience = asked.get("audience")
        if audience != f"https://{self._options.domain}/api/v2/":
            return _refused(403, "access_denied", f"Service not enabled within domain: {audience}")
        life = self._options.token_life_secs
        return json_answer(
            200,
            {
                "access_token": self.issue(now),
                "scope": self.scope,
                "expires_in": int(life) if life == int(life) else life,
                "token_type": "Bearer",
            },
        )

    def refusal(self, authorization: str | None, now: float) -> Answer | None:
        """Why a request to the Management API may not pass, or None when it may."""
        if not authorization:
            return error(401, "Unauthorized", "Missing authentication")
        kind, _, token = authorization.partition(" ")
        held = self._known.get(token.strip())
        if kind.lower() != "bearer" or held is None:
            return error(401, "Unauthorized", "Invalid token")
        expires, scope = held
        if now >= expires:
            return expired()
        if _NEEDED not in scope.split():
            return error(403, "Forbidden", f"Insufficient scope, expected any of: {_NEEDED}", "insufficient_scope")
        return None


def expired() -> Answer:
    """401 as the Management API answers it to a token past its life."""
    text = "Expired token received for JSON Web Token validation"
    body = {"statusCode": 401, "error": "Unauthorized", "message": text, "attributes": {"error": text}}
    return json_answer(401, body)


def _refused(status: int, code: str, text: str) -> Answer:
    return json_answer(status, {"error": code, "error_description": text})


def _fields(body: bytes, content_type: str) -> Mapping[str, Any] | None:
    try:
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode()))
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

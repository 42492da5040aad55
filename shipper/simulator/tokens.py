"""The tenant's token endpoint and its judgement of a bearer token, without sockets.

Auth0 docs: "Get Management API Access Tokens for Production", "Client Credentials Flow", and for the host of a token
"Configure Features to Use Custom Domains".
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from shipper.simulator.answer import Answer, Asked, error, json_answer
from shipper.simulator.options import Options

if TYPE_CHECKING:
    from shipper.simulator.assertions import Assertions

__all__ = ["Tokens"]

_NEEDED = "read:logs"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Tokens:
    """Gives tokens to the one known client, and knows which of them still count."""

    def __init__(self, options: Options) -> None:
        """Raises ValueError or OSError for a public key that can't be used."""
        self.scope = options.scope
        self.requests = 0
        self._options = options
        self._known: dict[str, tuple[float, str, str]] = {}
        if options.token:
            self._known[options.token] = (float("inf"), options.scope, "")
        self._assertions = _assertions(options) if options.public_key_file else None

    def issue(self, now: float, host: str = "") -> str:
        """A new token, valid from `now` (unix seconds) for the configured life, at `host` alone where one is named."""
        token = secrets.token_urlsafe(24)
        self._known[token] = (now + self._options.token_life_secs, self.scope, host)
        return token

    def revoke(self) -> None:
        """Every token so far counts as expired from here on."""
        self._known = {token: (float("-inf"), scope, host) for token, (_, scope, host) in self._known.items()}

    def answer(self, asked: Asked) -> Answer:
        """POST /oauth/token with the grant `client_credentials`, as JSON or as a form."""
        self.requests += 1
        form = _fields(asked.body, asked.headers.get("Content-Type", ""))
        if form is None:
            return _refused(400, "invalid_request", "The body is neither JSON nor a form")
        grant = form.get("grant_type")
        if grant != "client_credentials":
            return _refused(403, "unsupported_grant_type", f"Unsupported grant type: {grant}")
        unproven = self._unproven(form, asked.at)
        if unproven is not None:
            return unproven
        audience = form.get("audience")
        if audience != f"https://{self._options.domain}/api/v2/":
            return _refused(403, "access_denied", f"Service not enabled within domain: {audience}")
        life = self._options.token_life_secs
        return json_answer(
            200,
            {
                "access_token": self.issue(asked.at, asked.headers.get("Host", "")),
                "scope": self.scope,
                "expires_in": int(life) if life == int(life) else life,
                "token_type": "Bearer",
            },
        )

    def _unproven(self, form: Mapping[str, Any], now: float) -> Answer | None:
        options = self._options
        if self._assertions is None:
            known = (options.client_id, options.client_secret)
            proven = (form.get("client_id"), form.get("client_secret")) == known
            return None if proven else _refused(401, "access_denied", "Unauthorized")
        if form.get("client_assertion_type") != TYPE or form.get("client_id", options.client_id) != options.client_id:
            return _refused(401, "invalid_client", "This client proves itself by an assertion")
        fault = self._assertions.fault(form.get("client_assertion"), now)
        return _refused(401, "invalid_client", fault) if fault else None

    def refusal(self, asked: Asked) -> Answer | None:
        """Why a request to the Management API may not pass, or None when it may."""
        authorization = asked.headers.get("Authorization")
        if not authorization:
            return error(401, "Unauthorized", "Missing authentication")
        kind, _, token = authorization.partition(" ")
        held = self._known.get(token.strip())
        if kind.lower() != "bearer" or held is None:
            return error(401, "Unauthorized", "Invalid token")
        expires, scope, host = held
        if asked.at >= expires:
            return expired()
        if host and host != asked.headers.get("Host"):
            return error(401, "Unauthorized", "The token was issued through another domain")
        if _NEEDED not in scope.split():
            return error(403, "Forbidden", f"Insufficient scope, expected any of: {_NEEDED}", "insufficient_scope")
        return None


def _assertions(options: Options) -> Assertions:
    # Only those who want it pay for the library.
    from shipper.simulator.assertions import Assertions

    domains = filter(None, (options.domain, options.custom_domain))
    key = Path(options.public_key_file).read_bytes()
    return Assertions(key, options.client_id, [f"https://{domain}/" for domain in domains])


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

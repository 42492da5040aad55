"""A simulated Logto's token endpoint, `/oidc/token`, and its judgement of a bearer token.

Logto docs: "Interact with Management API"; RFC 6749 for the form of requests and errors.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qsl, unquote_plus

from shipper.simulator.answer import Answer, Asked, json_answer
from shipper.simulator.options import SCOPES, Options
from shipper.simulator.tokens import Tokens

__all__ = ["LogtoTokens", "refused"]

_NEEDED = "all"


def refused(status: int, code: str, message: str) -> Answer:
    """An error of Logto's API."""
    return json_answer(status, {"message": message, "code": code})


class LogtoTokens(Tokens):
    """Gives tokens to the one known machine-to-machine application. Where nothing else is said, it may do all."""

    def __init__(self, options: Options) -> None:
        """As that of Auth0's tokens."""
        super().__init__(options)
        self.scope = _NEEDED if options.scope == SCOPES else options.scope

    def answer(self, asked: Asked) -> Answer:
        """POST /oidc/token with client credentials, as a form; the application in it or in the Authorization header."""
        self.requests += 1
        if asked.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return _oidc(400, "invalid_request", "only application/x-www-form-urlencoded content-type bodies")
        form = dict(parse_qsl(asked.body.decode(errors="replace")))
        given = _basic(asked.headers.get("Authorization", "")) or (form.get("client_id"), form.get("client_secret"))
        if given != (self._options.client_id, self._options.client_secret):
            return _oidc(401, "invalid_client", "client authentication failed")
        if form.get("grant_type") != "client_credentials":
            return _oidc(400, "unsupported_grant_type", "unsupported grant_type requested")
        if form.get("resource") != self._options.resource:
            return _oidc(400, "invalid_target", "resource indicator is missing, or unknown")
        # What the application's role does not hold is left out of the token without a word.
        scope = " ".join(one for one in form.get("scope", "").split() if one in self.scope.split())
        life = int(self._options.token_life_secs)
        token = self.issue(asked.at)
        self._known[token] = (asked.at + self._options.token_life_secs, scope, "")
        return json_answer(200, {"access_token": token, "expires_in": life, "token_type": "Bearer", "scope": scope})

    def refusal(self, asked: Asked) -> Answer | None:
        """Why a request to the Management API may not pass, or None when it may."""
        authorization = asked.headers.get("Authorization")
        if not authorization:
            return refused(401, "auth.authorization_header_missing", "Authorization header is missing.")
        kind, _, token = authorization.partition(" ")
        expires, scope, _ = self._known.get(token.strip(), (float("-inf"), "", ""))
        if kind.lower() != "bearer" or asked.at >= expires:
            return refused(401, "auth.unauthorized", "Unauthorized. Please check credentials and its scope.")
        if _NEEDED not in scope.split():
            return refused(403, "auth.forbidden", "Forbidden. Please check your user roles and permissions.")
        return None


def _basic(authorization: str) -> tuple[str, str] | None:
    kind, _, pair = authorization.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(pair, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote_plus(name), unquote_plus(secret)


def _oidc(status: int, code: str, text: str) -> Answer:
    return json_answer(status, {"error": code, "error_description": text, "code": f"oidc.{code}", "message": text})

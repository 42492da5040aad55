"""How an Auth0 tenant grants a token for its Management API: client credentials, by a secret or a signed assertion."""

import msgspec

from shipper.sources.assertion import TYPE, KeyUnusableError, client_assertion
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.token import Grant, TokenRequest
from shipper.sources.trouble import Trouble


class Auth0Grant(Grant):
    """Auth0 docs, "Get Management API Access Tokens for Production"."""

    # read:logs is enough. The reference names the other one beside it, so many applications have it; it is no danger.
    needed = frozenset({"read:logs", "read:logs_users"})
    advice = "Grant the application read:logs only."

    def __init__(self, config: Auth0Config) -> None:
        self._config = config
        self.fixed = config.token
        self.dated = config.private_key is not None

    def request(self, now: int) -> TokenRequest:
        """JSON. The audience is the tenant's own domain, even through a custom one, with the slash at its end."""
        config = self._config
        form = {
            "grant_type": "client_credentials",
            "client_id": config.client_id,
            "audience": f"https://{config.domain}/api/v2/",
            **self._proof(now),
        }
        headers = {"Content-Type": "application/json"}
        return TokenRequest(f"{config.origin}/oauth/token", headers, msgspec.json.encode(form))

    def _proof(self, now: int) -> dict[str, str]:
        """What shows that we are this application: made anew for each try, since an assertion is taken once."""
        config = self._config
        if config.client_secret is not None:
            return {"client_secret": config.client_secret.get()}
        assert config.private_key is not None, "the settings allow nothing else"  # noqa: S101  checked by Auth0Config
        try:
            key = config.private_key.get()
            assertion = client_assertion(key, client_id=config.client_id, audience=config.assertion_audience, now=now)
        except KeyUnusableError as error:
            raise Trouble("auth", f"the private key can't be used: {error}") from None
        return {"client_assertion_type": TYPE, "client_assertion": assertion}

    def refusal(self, status: int, code: str, note: str) -> Trouble | None:
        """Auth0 tells little apart: whatever is wrong with who we are is 400 or 401."""
        del code
        if status in (400, 401):
            key = "private key (is its other half registered?)"
            shown = "client secret" if self._config.private_key is None else key
            return Trouble("auth", f"{note}: check domain, client_id and {shown}")
        if status == 403:
            do = "authorize the application for the Auth0 Management API with read:logs"
            return Trouble("forbidden", f"{note}: {do}")
        return None

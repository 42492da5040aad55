"""The settings of an Auth0 source."""

import re
from typing import Literal, Self

from pydantic import field_validator, model_validator

from shipper.secret import Secret
from shipper.sink import check_url
from shipper.sources import SourceConfig
from shipper.sources.start import check_start

_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")


class Auth0Config(SourceConfig):
    """`[sources.NAME]` with `type = "auth0"`.

    domain: the tenant's default domain, also where base_url is a custom one: the token's audience is made of it.
    client_secret, token: one of them; with a fixed token, nobody renews it. base_url: another address to read from.
    """

    type: Literal["auth0"]
    domain: str
    client_id: str = ""
    client_secret: Secret | None = None
    token: Secret | None = None
    base_url: str = ""

    @field_validator("domain")
    @classmethod
    def _domain_is_a_name(cls, value: str) -> str:
        if not _DOMAIN.fullmatch(value):
            raise ValueError("must be the tenant's domain alone, like acme.us.auth0.com")
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url_is_safe(cls, value: str) -> str:
        return check_url(value) if value else ""

    @field_validator("start")
    @classmethod
    def _start_is_understood(cls, value: str) -> str:
        return check_start(value)

    @model_validator(mode="after")
    def _one_way_to_authenticate(self) -> Self:
        if (self.token is None) == (self.client_secret is None):
            raise ValueError("needs either client_id with client_secret (or client_secret_file), or token")
        if self.client_secret is not None and not self.client_id:
            raise ValueError("needs client_id beside client_secret")
        return self

    @property
    def origin(self) -> str:
        """Scheme and host that every request goes to."""
        return self.base_url or f"https://{self.domain}"

    @property
    def tenant_key(self) -> str:
        """How the journal knows this tenant."""
        return f"auth0:{self.domain}"

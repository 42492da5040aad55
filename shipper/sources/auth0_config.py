"""The settings of an Auth0 source."""

import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from shipper.secret import Secret
from shipper.sink import check_url
from shipper.sources import SourceConfig
from shipper.sources.chain import without_default_port
from shipper.sources.start import check_start

_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")


class Auth0Config(SourceConfig):
    """`[sources.NAME]` with `type = "auth0"`.

    domain: the tenant's default domain, also where base_url is a custom one: the token's audience is made of it.
    client_secret, private_key, token: one of them. private_key: an RSA key in PEM, for private_key_jwt. With a fixed
    token, nobody renews it. base_url: another address to read from. overlap_check_secs: how often, once caught up, the
    last events are read again for some that were indexed behind the checkpoint; 0: never.
    """

    ordered_ids = True

    type: Literal["auth0"]
    domain: str
    client_id: str = ""
    client_secret: Secret | None = None
    private_key: Secret | None = None
    token: Secret | None = None
    base_url: str = ""
    overlap_check_secs: float = Field(default=3600.0, ge=0, le=604_800)

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
        given = [self.client_secret, self.private_key, self.token]
        if given.count(None) != len(given) - 1:
            raise ValueError(
                "needs exactly one of client_secret, private_key and token "
                "(or client_secret_file, private_key_file, token_file)"
            )
        if self.token is None and not self.client_id:
            raise ValueError(f"needs client_id beside {'client_secret' if self.client_secret else 'private_key'}")
        return self

    @property
    def origin(self) -> str:
        """Scheme and host that every request goes to."""
        return self.base_url or f"https://{self.domain}"

    @property
    def fixed_token(self) -> Secret | None:
        """The one in the settings."""
        return self.token

    @property
    def assertion_audience(self) -> str:
        """Whom a client assertion is for: the tenant or its custom domain, with the slash at the end (Auth0 docs).

        http is a simulated tenant, or a way to the real one, on loopback: neither is a name of the tenant's.
        """
        address = urlsplit(self.base_url)
        is_custom = address.scheme == "https"
        return f"https://{without_default_port('https', address.netloc.lower()) if is_custom else self.domain}/"

    @property
    def tenant_key(self) -> str:
        """How the journal knows this tenant."""
        return f"auth0:{self.domain}"

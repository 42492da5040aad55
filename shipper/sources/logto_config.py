"""The settings of a Logto source."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from shipper.secret import Secret
from shipper.sink import check_url
from shipper.sources import SourceConfig
from shipper.sources.chain import without_default_port
from shipper.sources.start import check_start

CLOUD = ".logto.app"
SELF_HOSTED_RESOURCE = "https://default.logto.app/api"
"""Logto docs, "Interact with Management API": so it is called on every self-hosted Logto, whatever its own address."""
MAX_FILTER = 256


class LogtoConfig(SourceConfig):
    """`[sources.NAME]` with `type = "logto"`.

    endpoint: Logto's own address, of which the token and all pages are asked. app_id, app_secret: a machine-to-machine
    application with a role for the Management API. resource: that API's indicator; "" for what the endpoint makes of
    it. window_margin_secs: how old an event must be before it is read, since events of one moment may be committed
    later than others. log_key, application_id, user_id: only events of these; "" for all.
    """

    type: Literal["logto"]
    endpoint: str
    app_id: str = Field(min_length=1)
    app_secret: Secret
    resource: str = ""
    window_margin_secs: float = Field(default=10.0, ge=1, le=600)
    log_key: str = Field(default="", max_length=MAX_FILTER)
    application_id: str = Field(default="", max_length=MAX_FILTER)
    user_id: str = Field(default="", max_length=MAX_FILTER)
    retention_days: float = Field(default=3.0, gt=0, le=3650)

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_an_origin(cls, value: str) -> str:
        parts = urlsplit(check_url(value))
        if parts.path:
            raise ValueError("must be Logto's address without a path, like https://acme.logto.app")
        return f"{parts.scheme}://{without_default_port(parts.scheme, parts.netloc.lower())}"

    @field_validator("start")
    @classmethod
    def _start_is_understood(cls, value: str) -> str:
        return check_start(value, log_ids=cls.ordered_ids)

    @property
    def host(self) -> str:
        """The endpoint's name, with a port where it is not the default."""
        return urlsplit(self.endpoint).netloc

    @property
    def tenant(self) -> str:
        """In Logto's cloud the tenant's id; elsewhere every tenant is called "default", so the host tells more."""
        return self.host.removesuffix(CLOUD)

    @property
    def indicator(self) -> str:
        """Of the Management API, as a token is asked for it."""
        if self.resource:
            return self.resource
        return f"https://{self.host}/api" if self.host.endswith(CLOUD) else SELF_HOSTED_RESOURCE

    @property
    def tenant_key(self) -> str:
        """How the journal knows this tenant."""
        return f"logto:{self.endpoint}"

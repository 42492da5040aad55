"""Where events come from: one module a kind of source, and what all of them have in common."""

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shipper.http import Proxy
from shipper.secret import Secret
from shipper.tls import Tls


class SourceRequest(BaseModel):
    """How a source is asked: one deadline for a whole request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_secs: float = Field(default=30.0, gt=0, le=600)


class SourceConfig(BaseModel, ABC):
    """What every source's settings have; a source adds its own.

    ordered_ids: the source's ids have an order, so that one of them is a place to start behind.
    """

    # A validation error's own text would quote what was given, and that may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ordered_ids: ClassVar[bool] = False

    type: str
    enabled: bool = True
    start: str = "earliest"
    poll_interval_secs: float = Field(default=2.0, ge=0.1, le=3600)
    retention_days: float = Field(default=1.0, gt=0, le=3650)
    proxy: Proxy = Proxy()
    request: SourceRequest = SourceRequest()
    tls: Tls = Tls()

    @property
    @abstractmethod
    def tenant_key(self) -> str:
        """How the journal knows the tenant, whatever its label."""

    @property
    def fixed_token(self) -> Secret | None:
        """The token that is used as it is, and that nobody renews; None where tokens are fetched."""
        return None

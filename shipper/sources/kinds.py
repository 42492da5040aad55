"""The kinds of source: which model reads a source's table, and who reads the tenant.

What reads a tenant is imported only where that is asked for, since every command reads the settings.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from shipper.sources import SourceConfig
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.logto_config import LogtoConfig
from shipper.sources.selection import ALL, Selection

if TYPE_CHECKING:
    from shipper.event import Event, Origin
    from shipper.health import Health
    from shipper.journal import SourceHandle
    from shipper.metrics import SourceMetrics
    from shipper.sources.places import Places


class Source(Protocol):
    """One tenant, as the daemon reads it into the journal."""

    @property
    def health(self) -> "Health":
        """How reading goes."""

    def server_now(self) -> int:
        """The tenant's time, milliseconds since 1970 UTC."""

    async def tell_first_start(self) -> None:
        """Logs how much there is to read, where nothing was read so far. Begun before `run`; nothing waits for it."""

    async def run(self, *, once: bool = False) -> None:
        """Reads and stores, for ever, or until all is read. Trouble is waited out, or for a minute with once."""

    async def close(self) -> None:
        """Ends what is under way and closes the connections."""


class Reread(Protocol):
    """A range of a tenant's time, read anew and stored nowhere: for replay, verify and export.

    missing: so many events of it can't be had; unknown: others can't, and nobody says how many. The log was told.
    """

    missing: int
    unknown: bool

    @property
    def done(self) -> bool:
        """Everything of the range was handed out."""

    @property
    def pause_secs(self) -> float:
        """What the tenant's limits ask for before the next part."""

    async def next(self) -> "tuple[list[Event], list[str]]":
        """The next events, and for each the place to go on behind it. Raises Trouble; then it can be asked again.

        The last place is exact: whoever goes on from there gets none of these again.
        """

    async def close(self) -> None:
        """Closes the connections."""


class Kind(Protocol):
    """How a tenant is read, given its settings. log: takes what a person should know. name: the source's label."""

    def origin(self, name: str) -> "Origin":
        """Whose events these are."""

    def source(
        self,
        name: str,
        journal: "SourceHandle",
        *,
        health: "Health",
        metrics: "SourceMetrics",
        log: Any,
        sleep: Callable[[float], Awaitable[None]],
    ) -> Source:
        """For the daemon."""

    async def check(self, name: str, log: Any) -> str:
        """What a look at the tenant tells, in lines for a person. Raises Trouble."""

    async def event(
        self, name: str, id_: str, log: Any, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> bytes:
        """One event as the tenant sends it; trouble that passes is waited out for a while.

        Raises Trouble; not_found where the tenant has none such.
        """

    def reread(
        self, name: str, since_ms: int, until_ms: int, after: str, log: Any, selection: Selection = ALL
    ) -> Reread:
        """The events with since <= time < until. after: the place behind which, "" for all of them.

        selection: one that is offered.
        """

    def expect_offered(self, selection: Selection) -> None:
        """Raises SelectionError for one that this kind of source does not offer."""


def places_of(tenant: str) -> "Places":
    """How a source writes its checkpoints, by the journal's name of its tenant. Raises ValueError for another kind."""
    kind = tenant.partition(":")[0]
    if kind == "auth0":
        from shipper.sources.chain import ChainPlaces

        return ChainPlaces()
    if kind == "logto":
        from shipper.sources.logto_window import TimePlaces

        return TimePlaces()
    raise ValueError("is of a kind of source that this program does not know")


SOURCE_TYPES: Mapping[str, type[SourceConfig]] = {"auth0": Auth0Config, "logto": LogtoConfig}


def kind_of(config: SourceConfig) -> Kind:
    """How the tenant of these settings is read."""
    if isinstance(config, LogtoConfig):
        from shipper.sources.logto_kind import LogtoKind

        return LogtoKind(config)
    assert isinstance(config, Auth0Config), "the settings know no other kind"  # noqa: S101
    from shipper.sources.auth0_kind import Auth0Kind

    return Auth0Kind(config)

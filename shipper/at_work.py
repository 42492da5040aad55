"""A source, a sink and a lane at work: what belongs to each, how its tasks begin, and how they end."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from shipper.delivery import Delivery, place_of
from shipper.nap import Nap
from shipper.secret import Secret
from shipper.sink import Sink
from shipper.sources.kinds import Source

SINK_CLOSES_WITHIN_SECS = 1.0


@dataclass
class SourceAtWork:
    """A source that is read into the journal."""

    source: Source
    nap: Nap
    secrets: list[Secret]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def begin(self, name: str, group: asyncio.TaskGroup, *, once: bool) -> None:
        """Reads."""
        # First, so that it sees that nothing was read yet.
        self.tasks.append(group.create_task(self.source.tell_first_start(), name=f"first start {name}"))
        self.tasks.append(group.create_task(self.source.run(once=once), name=f"source {name}"))

    def stop(self) -> None:
        """At once: what it reads in this moment comes again."""
        for task in self.tasks:
            task.cancel()


@dataclass
class SinkAtWork:
    """A sink, and what its lanes share."""

    sink: Sink
    slots: asyncio.Semaphore
    secrets: list[Secret]


@dataclass
class LaneAtWork:
    """A lane, and beside it that of its requeued dead letters. beside: what else goes on for it, for ever."""

    own: Delivery
    requeued: Delivery
    naps: list[Nap]
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None
    deliveries: list[tuple[Delivery, asyncio.Task[None]]] = field(default_factory=list)
    others: list[asyncio.Task[None]] = field(default_factory=list)

    def begin(self, name: str, group: asyncio.TaskGroup) -> None:
        """Delivers."""
        for delivery, what in ((self.own, "lane"), (self.requeued, "requeued")):
            self.deliveries.append((delivery, group.create_task(delivery.run(), name=f"{what} {name}")))
        if self.beside is not None:
            self.others.append(group.create_task(self.beside(), name=f"beside {name}"))

    def stop(self) -> None:
        """Lets the writes in hand finish, and their acks; everything else ends at once."""
        for delivery, task in self.deliveries:
            delivery.stop(task)
        for other in self.others:
            other.cancel()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """All of them."""
        return [*(task for _, task in self.deliveries), *self.others]


async def close(name: str, sink: Sink, log: Any) -> None:
    """Closes a sink that nobody uses any more."""
    try:
        async with asyncio.timeout(SINK_CLOSES_WITHIN_SECS):
            await sink.close()
    except Exception as error:  # noqa: BLE001  a sink that can't close must not keep anything else from ending
        log.warning("a sink did not close", sink=name, error=place_of(error))


def secrets_of(config: BaseModel) -> list[Secret]:
    """Every secret of a section and of the sections in it, as they are now: a later change is told by that."""
    found: list[Secret] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Secret):
            value.changed()
            found.append(value)
        elif isinstance(value, BaseModel):
            found += secrets_of(value)
    return found

"""What an operator may ask and do, in one place: the daemon answers it on its Unix socket, a command without a daemon
straight on the journal. Questions and answers are plain data, as JSON has them; an event's bytes are in base64.

All that changes something leaves a line in the audit list.
"""

import asyncio
import secrets
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from shipper.event import Event
from shipper.journal import DeadLetter, SourceFigures, UnknownNameError
from shipper.journal.letters import Chosen
from shipper.journal.sqlite import SqliteJournal
from shipper.tally import HOUR_MS, sum_to_hex

SOCKET_NAME = "control.sock"
"""Beside the journal, where a daemon is asked."""
HOLD_SECS = 60.0
"""A copy that nobody finishes must not let the write-ahead log grow for ever; whoever copies longer asks again."""
TOOK_TOO_LONG = "the copy took too long, and the journal went on: try again"
MOST_EVENTS = 1000
"""In one answer, so that it stays some megabytes."""


class Operated(Protocol):
    """What only a running daemon can do."""

    def retry(self, name: str, accept_dead: int) -> int:
        """Wakes what waits, of one source or sink or of all. Returns how many lanes and sources that were."""

    def in_use(self, name: str) -> bool:
        """Whether a source or sink of this name is running."""


class Desk:
    """Answers. daemon, reload: None where none runs. hold_secs: how long the file stands still for a copy.

    reload: has the configuration read again, and says what is wrong with it: nothing, where it is in force then.
    """

    def __init__(
        self,
        journal: SqliteJournal,
        daemon: Operated | None = None,
        *,
        reload: Callable[[], Awaitable[list[str]]] | None = None,
        hold_secs: float = HOLD_SECS,
    ) -> None:
        self._journal, self._daemon, self._hold_secs = journal, daemon, hold_secs
        self._reload_daemon = reload
        self._holds: dict[str, asyncio.TimerHandle] = {}
        self._holding = asyncio.Lock()
        self._answers: dict[str, Callable[[Mapping[str, Any]], Awaitable[Any]]] = {
            "audit": self._audit,
            "backup.hold": self._backup_hold,
            "backup.release": self._backup_release,
            "checkpoint.import": self._checkpoint_import,
            "checkpoint.set": self._checkpoint_set,
            "checkpoints": self._checkpoints,
            "dead.export": self._dead_export,
            "dead.list": self._dead_list,
            "dead.purge": self._dead_purge,
            "dead.requeue": self._dead_requeue,
            "dead.show": self._dead_show,
            "events": self._events,
            "forget": self._forget,
            "gaps": self._gaps,
            "ledger": self._ledger,
            "reload": self._reload,
            "rename": self._rename,
            "replayed": self._replayed,
            "retry": self._retry,
        }

    async def answer(self, what: str, question: Mapping[str, Any]) -> Any:
        """Raises UnknownNameError, in words for the operator, where it can't be done; else the journal's errors."""
        if what not in self._answers:
            raise UnknownNameError("operator", f"nothing is known of {what!r}: are both of the same version?")
        try:
            return await self._answers[what](question)
        except KeyError as missing:
            raise UnknownNameError("operator", f"{what}: the question lacks {missing}") from None

    # -- dead letters --------------------------------------------------------------------------------------------------

    async def _letters(self, question: Mapping[str, Any], *, whole: bool) -> list[DeadLetter]:
        return await self._journal.dead_letters(
            source=question.get("source", ""),
            sink=question.get("sink", ""),
            reason=question.get("reason", ""),
            after=question.get("after", 0),
            limit=min(question.get("limit", MOST_EVENTS), MOST_EVENTS),
            whole=whole,
        )

    async def _dead_list(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [letter.listed() for letter in await self._letters(question, whole=False)]

    async def _dead_export(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [_shown(letter) for letter in await self._letters(question, whole=True)]

    async def _dead_show(self, question: Mapping[str, Any]) -> dict[str, Any]:
        found = await self._journal.dead_letters(ids=[question["id"]])
        if not found:
            raise UnknownNameError("operator", f"there is no dead letter {question['id']}")
        return _shown(found[0])

    async def _dead_requeue(self, question: Mapping[str, Any]) -> dict[str, int]:
        return {"requeued": await self._journal.requeue(_chosen(question), question["who"])}

    async def _dead_purge(self, question: Mapping[str, Any]) -> dict[str, int]:
        return {"removed": await self._journal.purge(_chosen(question), question["who"])}

    # -- places --------------------------------------------------------------------------------------------------------

    async def _checkpoints(self, _question: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "source": source.name,
                "tenant": source.tenant,
                "checkpoint": None if source.checkpoint is None else b64encode(source.checkpoint).decode(),
                "start": source.start,
                "began": source.began,
                "horizon": source.horizon,
                "stored": source.stored,
                "lanes": {
                    sink: {"lag": lane.lag + lane.queue_last - lane.queue_position}
                    for sink, lane in source.lanes.items()
                },
            }
            for source in self._journal.figures.sources.values()
        ]

    async def _checkpoint_set(self, question: Mapping[str, Any]) -> dict[str, Any]:
        name = question["source"]
        if name not in self._journal.figures.sources:
            known = ", ".join(self._journal.figures.sources) or "none"
            raise UnknownNameError("operator", f"the journal knows no source {name!r} (it knows: {known})")
        self._refuse_in_use(name)
        checkpoint = str(question["checkpoint"]).encode()
        await self._journal.set_checkpoint(
            name, checkpoint, question["audit"], question["who"], question.get("since_ms")
        )
        return {}

    async def _checkpoint_import(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Each tenant's source resumes there; where the journal has no event yet, sources are made. All or none."""
        known = {source.tenant: source for source in self._journal.figures.sources.values()}
        for place in question["sources"]:
            self._expect_importable(place, known.get(place["tenant"]))
        for place in question["sources"]:
            checkpoint = str(place["checkpoint"]).encode()
            source = known.get(place["tenant"])
            if source is None or source.checkpoint is None:
                handle, _ = await self._journal.source(place["source"], place["tenant"])
                await handle.begin("imported", checkpoint, min(place["horizon"], int(time.time() * 1000)))
                await self._journal.audit(question["who"], place["audit"])
            else:
                await self._journal.set_checkpoint(
                    source.name, checkpoint, place["audit"], question["who"], place["horizon"]
                )
        return {}

    def _expect_importable(self, place: Mapping[str, Any], known: SourceFigures | None) -> None:
        sources = self._journal.figures.sources
        if known is not None:
            self._refuse_in_use(known.name)
        elif self._daemon is not None:
            raise UnknownNameError("operator", f"{place['tenant']} is new here: stop the daemon first")
        elif place["source"] in sources:
            of = sources[place["source"]].tenant
            raise UnknownNameError("operator", f"{place['source']} is {of} here, not {place['tenant']}")
        elif any(source.stored for source in sources.values()):
            tenants = ", ".join(source.tenant for source in sources.values())
            raise UnknownNameError(
                "operator", f"the journal knows no tenant {place['tenant']} (it knows: {tenants}), and is not empty"
            )

    async def _forget(self, question: Mapping[str, Any]) -> dict[str, int]:
        self._refuse_in_use(question["name"])
        return {"given_up": await self._journal.forget(question["kind"], question["name"], question["who"])}

    async def _rename(self, question: Mapping[str, Any]) -> dict[str, Any]:
        self._refuse_in_use(question["old"])
        self._refuse_in_use(question["new"])
        await self._journal.rename(question["old"], question["new"], question["who"])
        return {}

    def _refuse_in_use(self, name: str) -> None:
        if self._daemon is not None and self._daemon.in_use(name):
            raise UnknownNameError(
                "operator", f"{name} is in use: stop the daemon, or take {name} out of the configuration and reload"
            )

    async def _retry(self, question: Mapping[str, Any]) -> dict[str, int]:
        if self._daemon is None:
            raise UnknownNameError("operator", "no daemon is running")
        name, accepted = question.get("name", ""), question.get("accept_dead", 0)
        woken = self._daemon.retry(name, accepted)
        if woken and accepted:
            await self._journal.audit(question["who"], f"retry {name or 'all'}: {accepted} refused events may be dead")
        return {"woken": woken}

    async def _reload(self, _question: Mapping[str, Any]) -> dict[str, list[str]]:
        if self._reload_daemon is None:
            raise UnknownNameError("operator", "no daemon is running")
        return {"problems": await self._reload_daemon()}

    # -- what was, and what is -----------------------------------------------------------------------------------------

    async def _audit(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows = await self._journal.audits(question.get("after", 0), question.get("limit", MOST_EVENTS))
        return [{"id": id_, "at": at, "who": who, "what": what} for id_, at, who, what in rows]

    async def _gaps(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        source = question["source"]
        return [
            {"source": source, "since": since, "until": until, "at": at, "may_be_empty": may_be_empty}
            for since, until, at, may_be_empty in await self._journal.gaps(source)
        ]

    async def _ledger(self, question: Mapping[str, Any]) -> dict[str, Any]:
        since, until = question["since_ms"] // HOUR_MS, -(-question["until_ms"] // HOUR_MS)
        stored: list[list[Any]] = []
        lanes: dict[str, dict[str, list[list[Any]]]] = {}
        for entry in await self._journal.ledger(question["source"], since, until):
            t = entry.tally
            rows = lanes.setdefault(entry.sink, {}).setdefault(entry.outcome, []) if entry.sink else stored
            rows.append([entry.hour, t.events, t.first, t.last, sum_to_hex(t.sum)])
        return {"source": stored, "lanes": lanes}

    async def _events(self, question: Mapping[str, Any]) -> dict[str, Any]:
        found, following, whole_from, trimmed = await self._journal.events(
            question["source"],
            question["since_ms"],
            question["until_ms"],
            question.get("after", 0),
            min(question.get("limit", MOST_EVENTS), MOST_EVENTS),
        )
        return {
            "events": [{"number": number, **_event(event)} for number, event in found],
            "next": following,
            "whole_from_ms": whole_from,
            "trimmed": trimmed,
        }

    async def _replayed(self, question: Mapping[str, Any]) -> dict[str, Any]:
        await self._journal.replayed(question["source"], question["sink"], question["events"])
        if "audit" in question:
            await self._journal.audit(question["who"], question["audit"])
        return {}

    # -- backup --------------------------------------------------------------------------------------------------------

    async def _backup_hold(self, question: Mapping[str, Any]) -> dict[str, str]:
        """The file stands still for a minute; to be asked again meanwhile, with its name, by who needs longer."""
        async with self._holding:  # whoever comes second begins to copy when the first one's file stands still, too
            hold = question.get("hold") or secrets.token_hex(8)
            if hold in self._holds:
                self._holds.pop(hold).cancel()
            elif "hold" in question:
                raise UnknownNameError("operator", TOOK_TOO_LONG)
            elif not self._holds:
                await self._journal.hold()
            self._holds[hold] = asyncio.get_running_loop().call_later(self._hold_secs, self._let_go, hold)
        return {"hold": hold}

    async def _backup_release(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if question["hold"] not in self._holds:
            raise UnknownNameError("operator", TOOK_TOO_LONG)
        self._holds[question["hold"]].cancel()
        self._let_go(question["hold"])
        await self._journal.audit(question["who"], "backup")
        return {}

    def _let_go(self, hold: str) -> None:
        del self._holds[hold]
        if not self._holds:
            self._journal.let_go()


def _chosen(question: Mapping[str, Any]) -> Chosen:
    return Chosen(
        question.get("source", ""),
        question.get("sink", ""),
        question.get("reason", ""),
        question.get("ids"),
        question.get("before_ms"),
    )


def _shown(letter: DeadLetter) -> dict[str, Any]:
    return {**letter.listed(), "detail": letter.detail, "raw": b64encode(letter.raw).decode()}


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "time": event.time,
        "date": event.date,
        "type": event.type,
        "raw": b64encode(event.raw).decode(),
    }
